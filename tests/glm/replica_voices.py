"""Voices for the child processes of replicas: they do as the question says, and need no torch."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from voicerag_core import Answer, Audio, Passage, Question, Sampling, Transcription, Turn
from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import (
    AudioError,
    BusyError,
    CheckpointError,
    GenerationError,
    MissingExtraError,
    VoiceRAGError,
)
from voicerag_core.glm.replicas import child

TONE = Audio(np.linspace(-1, 1, 50, dtype=np.float32), 22_050)


class TwoPartsError(VoiceRAGError):
    """Cannot be made again from its message alone, and so not be unpickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


ERRORS: dict[str, Exception] = {
    "busy": BusyError("64 wait", retry_after=3.5),
    "extra": MissingExtraError("glm", "GLM-4-Voice"),
    "audio": AudioError("no words were heard"),
    "value": ValueError("a bug"),
    "parts": TwoPartsError("this", "that"),
    "memory": MemoryError("full"),
}


class ScriptedVoice:
    """Takes the first word of a question as an order, the rest as what belongs to it."""

    capacity, end_token = 3, 77

    def __init__(self, warms: float = 0.0) -> None:
        self.warms = warms
        self.speaks = True
        self.running = 0
        self.waiting = 0
        self.worked = 0
        self.cuts: list[tuple[str, str, float]] = []

    def silent(self) -> ScriptedVoice:
        other = ScriptedVoice()
        other.speaks = False
        return other

    def warm(self) -> None:
        time.sleep(self.warms)
        self.cuts.append(("warm", "", 0.0))

    def respond(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        sampling: Sampling,
        history: Sequence[Turn] = (),
        instructions: str = "",
    ) -> Generator[Answer, None, None]:
        if not isinstance(question, str):
            yield Answer(f"{question.seconds} s", TONE)
            return
        order, _, rest = question.partition(" ")
        self.running += 1
        try:
            yield from getattr(self, f"_{order}")(rest, passages, history)
        finally:
            self.running -= 1

    def tokens(self, prompt: str, *, sampling: Sampling) -> Generator[int, None, None]:
        yield from range(sampling.max_new_tokens)

    def transcribe(self, audio: Audio) -> Transcription:
        if audio.sample_rate == 1:
            self._gone("transcribing")
        return Transcription(f"{len(audio.samples)} samples", confidence=0.5)

    def further_query(
        self, question: Question, passages: Sequence[Passage], *, only_unsure: bool = False
    ) -> str | None:
        return None if only_unsure else f"{question} beyond {len(passages)}"

    def cut(self, turn: Turn, heard: Turn, *, seconds: float) -> None:
        self.cuts.append((turn.answer.text, heard.answer.text, seconds))

    def _pid(self, rest: str, *_: object) -> Generator[Answer, None, None]:
        yield Answer(f"{os.getpid()}")
        yield Answer(" is my number")

    def _threads(self, rest: str, *_: object) -> Generator[Answer, None, None]:
        yield Answer(str(threading.active_count()))

    def _frozen(self, rest: str, *_: object) -> Generator[Answer, None, None]:
        yield Answer(str(gc.get_freeze_count()))

    def _tell(
        self, rest: str, passages: Sequence[Passage], history: Sequence[Turn]
    ) -> Generator[Answer, None, None]:
        """Say all that is known of the call."""
        told = [(one.id, one.text, sorted(one.metadata.items())) for one in passages]
        said = [(one.question, one.answer.text, one.answer.audio) for one in history]
        yield Answer(repr((told, said, self.cuts)), TONE if self.speaks else None)

    def _count(self, rest: str, *_: object) -> Generator[Answer, None, None]:
        """Count to a number, and note in a file what is made, and that it was left."""
        number, file = rest.split(" ", 1)
        with Path(file).open("a", buffering=1) as log:
            try:
                for n in range(int(number)):
                    log.write(f"{n}\n")
                    yield Answer(f"{n} ")
            finally:
                log.write("over\n")

    def _wait(self, file: str, *_: object) -> Generator[Answer, None, None]:
        """Begin, then write nothing until the call is cancelled."""
        yield Answer("well")
        try:
            while True:
                check_cancelled()
                time.sleep(0.01)
        finally:
            Path(file).write_text("over")

    def _work(self, seconds: str, *_: object) -> Generator[Answer, None, None]:
        """Begin, then work for some seconds before the next word."""
        yield Answer("well")
        end = time.monotonic() + float(seconds)
        while time.monotonic() < end:
            self.worked += 1
            time.sleep(0.02)
        yield Answer(f" {os.getpid()}")

    def _nap(self, seconds: str, *_: object) -> Generator[Answer, None, None]:
        """Do nothing for some seconds."""
        time.sleep(float(seconds))
        yield Answer(f"{os.getpid()}")

    def _stick(self, file: str, *_: object) -> Generator[Answer, None, None]:
        """Begin, then wait for a lock that nobody gives back; only the first one who is asked."""
        if self._gone(file):
            yield Answer("well")
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
        yield Answer(f"{os.getpid()}")

    def _die(self, rest: str, *_: object) -> Generator[Answer, None, None]:
        """Die after some pieces; with a file, only the first one who is asked."""
        pieces, file = f"{rest} ".split(" ", 1)
        for n in range(int(pieces)):
            yield Answer(f"{n} ")
        if self._gone(file.strip()):
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        yield Answer(f"{os.getpid()}")

    def _break(self, file: str, *_: object) -> Generator[Answer, None, None]:
        """Let the device fail, of the first one who is asked."""
        if self._gone(file):
            told = GenerationError("the language model stopped; ask again")
            raise told from RuntimeError("CUDA error: device-side assert triggered\nmore of it")
        yield Answer(f"{os.getpid()}")

    def _raise(self, name: str, *_: object) -> Generator[Answer, None, None]:
        if name in ERRORS:
            raise ERRORS[name]
        yield Answer()

    def _print(self, rest: str, *_: object) -> Generator[Answer, None, None]:
        print("on the standard output", flush=True)  # noqa: T201 - it is what is tested
        logging.getLogger("voicerag_core.glm.voice").warning("left out %d passages", 3)
        yield Answer("printed")

    def _gone(self, file: str) -> bool:
        """Return whether this is the first call with a file; without a file it always is."""
        if not file:
            return True
        try:
            Path(file).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def scripted(stack: ExitStack) -> ScriptedVoice:
    """Load at once."""
    return ScriptedVoice()


def damaged(stack: ExitStack) -> ScriptedVoice:
    """Find a bad file."""
    raise CheckpointError("model.safetensors is missing; voicerag download glm gets it")


def killed(stack: ExitStack) -> ScriptedVoice:
    """Die while loading."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
    return ScriptedVoice()


def held(file: Path, warms: float, stack: ExitStack) -> ScriptedVoice:
    """Be held up while loading, with all threads, until a signal comes; then take long to warm."""
    temporary = file.with_suffix(".new")
    temporary.write_text(str(os.getpid()))
    temporary.rename(file)
    os.kill(os.getpid(), signal.SIGSTOP)
    return ScriptedVoice(warms)


def hasty(stack: ExitStack) -> ScriptedVoice:
    """Let a reply stand still among others for twice the usual time at most."""
    vars(child)["PATIENCE"] = 2.0
    return ScriptedVoice()


def stopped(stack: ExitStack) -> ScriptedVoice:
    """Be stopped while loading."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return ScriptedVoice()


def flaky(file: Path, stack: ExitStack) -> ScriptedVoice:
    """Load well the first time, then fail once, then well again."""
    with file.open("a") as log:
        log.write("x")
    if file.stat().st_size == 2:
        raise CheckpointError("not now")
    return ScriptedVoice()
