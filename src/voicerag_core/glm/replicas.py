"""Several GLM-4-Voices behind one: each question goes to the one with the least to do."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

from voicerag_core.errors import ConfigError, ModelError
from voicerag_core.glm.device_memory import current_device
from voicerag_core.glm.voice import GLMVoice
from voicerag_core.types import (
    Answer,
    Audio,
    Passage,
    Question,
    Sampling,
    Transcription,
    Turn,
)

__all__ = ["ReplicatedGLMVoice"]

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class _Replica:
    """One voice on its device.

    Args:
        name: Its device, for messages.
        voice: Answers in text and speech.
        silent: The same, in text alone.
        active: Calls that it runs now.
        broken: What is wrong with its device, if it must not be used any more.
    """

    name: str
    voice: GLMVoice
    silent: GLMVoice
    active: int = 0
    broken: str | None = None

    def device(self) -> AbstractContextManager[object]:
        """Make its device the current one of this thread for a block."""
        return current_device(self.name)


class ReplicatedGLMVoice:
    """GLM-4-Voice on several devices, each with all its networks. Safe to share between threads.

    A question goes to the replica that runs the fewest calls; a conversation stays with the one
    that remembers its last reply. When a device fails, its replica is taken out of service until
    the process starts again; the questions that it had not begun to answer go to another.

    Args:
        voices: One on each device, of the same checkpoint.
        names: Their devices.

    Raises:
        ConfigError: There is no voice, or not a name for each.
    """

    def __init__(self, voices: Sequence[GLMVoice], names: Sequence[str]) -> None:
        if not voices or len(voices) != len(names):
            raise ConfigError(f"give a name for each replica: {len(voices)} and {len(names)} given")
        self._replicas = [
            _Replica(name, voice, voice.silent()) for name, voice in zip(names, voices, strict=True)
        ]
        self._lock = threading.Lock()
        self._speaks = True

    def silent(self) -> ReplicatedGLMVoice:
        """Return the same replicas without their decoders; the weights are shared."""
        made = copy.copy(self)
        made._speaks = False
        return made

    def warm(self) -> None:
        """Prepare now, one replica after another, what the first replies would wait for."""
        for replica in self._replicas:
            with replica.device():
                replica.voice.warm()

    @property
    def capacity(self) -> int:
        """Most answers at a time, of the replicas in service."""
        return sum(one.voice.capacity for one in self._replicas if one.broken is None)

    @property
    def running(self) -> int:
        """Answers that are being written."""
        return sum(one.voice.running for one in self._replicas)

    @property
    def waiting(self) -> int:
        """Questions that wait for their turn."""
        return sum(one.voice.waiting for one in self._replicas)

    @property
    def out_of_service(self) -> tuple[str, ...]:
        """Devices that failed, and how."""
        return tuple(f"{one.name}: {one.broken}" for one in self._replicas if one.broken)

    @property
    def end_token(self) -> int:
        """See `GLMVoice.end_token`."""
        return self._replicas[0].voice.end_token

    def respond(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        sampling: Sampling,
        transcript: Transcription | None = None,
        history: Sequence[Turn] = (),
        instructions: str = "",
    ) -> Generator[Answer, None, None]:
        """See `GLMVoice.respond`."""

        def answer(voice: GLMVoice) -> Generator[Answer, None, None]:
            return voice.respond(
                question,
                passages,
                sampling=sampling,
                transcript=transcript,
                history=history,
                instructions=instructions,
            )

        yield from self._streamed(answer, history)

    def tokens(self, prompt: str, *, sampling: Sampling) -> Generator[int, None, None]:
        """See `GLMVoice.tokens`."""
        yield from self._streamed(lambda voice: voice.tokens(prompt, sampling=sampling))

    def cut(self, turn: Turn, heard: Turn, *, seconds: float) -> None:
        """Remember of a reply only what was heard; see `RemembersReplies.cut`."""
        for replica in self._replicas:
            replica.voice.cut(turn, heard, seconds=seconds)

    def transcribe(self, audio: Audio) -> Transcription:
        """See `GLMVoice.transcribe`."""
        return self._called(lambda voice: voice.transcribe(audio))

    def further_query(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        transcript: Transcription | None = None,
        only_unsure: bool = False,
    ) -> str | None:
        """See `GLMVoice.further_query`."""
        return self._called(
            lambda voice: voice.further_query(
                question, passages, transcript=transcript, only_unsure=only_unsure
            )
        )

    def _called(self, call: Callable[[GLMVoice], _T]) -> _T:
        """Return what a replica returns; another one's if its device fails."""
        while True:
            with self._chosen(()) as replica:
                try:
                    with replica.device():
                        return call(replica.voice)
                except Exception as error:
                    if not self._fails(replica, error):
                        raise

    def _streamed(
        self, start: Callable[[GLMVoice], Generator[_T, None, None]], history: Sequence[Turn] = ()
    ) -> Generator[_T, None, None]:
        """Yield what a replica yields; another one's if its device fails before the first piece."""
        begun = False
        while True:
            with self._chosen(history) as replica:
                voice = replica.voice if self._speaks else replica.silent
                try:
                    with closing(_on_device(start(voice), replica)) as pieces:
                        for piece in pieces:
                            begun = True
                            yield piece
                    return
                except Exception as error:
                    if not self._fails(replica, error):
                        raise
                    if begun:
                        raise ModelError(
                            f"{replica.name} failed in the middle of the answer and is out of "
                            "service; ask again"
                        ) from error

    @contextmanager
    def _chosen(self, history: Sequence[Turn]) -> Iterator[_Replica]:
        """Choose a replica, and count the call of the block as its own.

        Raises:
            ModelError: All are out of service.
        """
        with self._lock:
            alive = [one for one in self._replicas if one.broken is None]
            if not alive:
                raise ModelError(
                    f"every replica is out of service ({'; '.join(self.out_of_service)}); restart "
                    "the process, and look into its log"
                )
            known = [one for one in alive if history and one.voice.remembers(history[-1])]
            replica = min(known or alive, key=lambda one: one.active)
            replica.active += 1
        try:
            yield replica
        finally:
            with self._lock:
                replica.active -= 1

    def _fails(self, replica: _Replica, error: BaseException) -> bool:
        """Return whether an error is the device's; then take its replica out of service."""
        cause = _device_failure(error)
        if cause is None:
            return False
        with self._lock:
            replica.broken = replica.broken or f"{type(cause).__name__}: {cause}".splitlines()[0]
        _logger.error("%s is out of service", replica.name, exc_info=error)
        return True


def _on_device(pieces: Generator[_T, None, None], replica: _Replica) -> Generator[_T, None, None]:
    """Run each step of a generator, and its closing, with the replica's device as the current."""
    try:
        while True:
            with replica.device():
                piece = next(pieces, pieces)
            if piece is pieces:
                return
            yield piece  # type: ignore[misc]
    finally:
        with replica.device():
            pieces.close()


def _device_failure(error: BaseException | None) -> BaseException | None:
    """Return the error of a device that is behind another error, or None.

    After such an error a CUDA device answers nothing more in this process. Memory that ran out is
    no failure.
    """
    while error is not None:
        if isinstance(error, torch.AcceleratorError):
            return error
        if isinstance(error, RuntimeError) and "CUDA error" in str(error):
            return error
        error = error.__cause__
    return None
