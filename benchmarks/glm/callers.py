"""Callers of a voice: what they ask, when, and what each of them sees of its answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from voicerag_core import Answer, Audio, Cancellation, CancelledError, Passage
from voicerag_core.errors import VoiceRAGError
from voicerag_core.glm.voice import GLMVoice
from voicerag_core.types import Sampling

__all__ = ["Call", "Engine", "Reply", "calls_within", "percentiles", "run_calls"]

TEXT_BLOCK, AUDIO_BLOCK, AUDIO_PER_SECOND = 13, 26, 12.5
RATE = 16_000


@dataclass
class Engine:
    """A voice under test.

    Args:
        name: In the report.
        voice: Answers.
        lm: Its language model, for figures.
        devices: Where it runs.
    """

    name: str
    voice: Any
    lm: Any
    devices: tuple[torch.device, ...]

    def wait(self) -> None:
        """Wait until the devices have nothing left to do."""
        for device in self.devices:
            if device.type == "cuda":
                torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Call:
    """A question, and what its caller does.

    Args:
        seed: Of question, passages and reply.
        at: Seconds after the start of the run.
        question_seconds: Length of the question.
        passages: How many it comes with.
        reply_seconds: Length of the reply.
        leaves_after: Seconds after which the caller has enough; None listens to the end.
        hangs_up: Whether it then cancels from another thread, as a lost connection does, or closes
            the reply itself.
        greedy: Whether the likeliest ids are taken.
    """

    seed: int
    at: float = 0.0
    question_seconds: float = 5.0
    passages: int = 4
    reply_seconds: float = 30.0
    leaves_after: float | None = None
    hangs_up: bool = False
    greedy: bool = False

    def question(self) -> Audio:
        """Return noise: the speech tokenizer takes as long for it as for words."""
        samples = np.random.default_rng(self.seed).standard_normal(
            int(RATE * self.question_seconds)
        )
        return Audio((0.1 * samples).astype(np.float32), RATE)

    def given(self) -> list[Passage]:
        """Passages that no other call has."""
        return [
            Passage(
                f"p{self.seed}-{number}",
                f"Run {self.seed}, passage {number}. " + "The voltage is held. " * 16,
                {"title": f"Manual {number}"},
            )
            for number in range(self.passages)
        ]

    def sampling(self) -> Sampling:
        """Return how its reply is sampled, with the ids of its length."""
        ids = ids_of(self.reply_seconds)
        if self.greedy:
            return Sampling(temperature=0.0, top_p=1.0, max_new_tokens=ids, seed=self.seed)
        return Sampling(max_new_tokens=ids, seed=self.seed)


@dataclass
class Reply:
    """What a caller saw, in seconds from its question.

    Args:
        call: The question.
        first_text: Until the first words.
        first_audio: Until the first sound.
        done: Until the end.
        speech: Seconds of sound.
        ahead: Least seconds by which the sound was ahead of its playing; below 0 it stopped.
        stalled: Seconds of silence that playing ran into.
        left: Whether the caller left early.
        error: What went wrong.
    """

    call: Call
    first_text: float | None = None
    first_audio: float | None = None
    done: float = 0.0
    speech: float = 0.0
    ahead: float = float("inf")
    stalled: float = 0.0
    left: bool = False
    error: str | None = None
    ended_at: float = 0.0


def ids_of(seconds: float) -> int:
    """Return the ids of a reply with so much speech, of 13 text and 26 speech ids in turn."""
    speech = round(seconds * AUDIO_PER_SECOND)
    return speech + TEXT_BLOCK * -(-speech // AUDIO_BLOCK)


def calls_within(count: int, seconds: float, seed: int, *, reply_seconds: float) -> list[Call]:
    """Return calls that come within some seconds, evenly spread by chance; the first at 0."""
    places = np.sort(np.random.default_rng(seed).uniform(0, seconds, count))
    places -= places[0]
    return [
        Call(seed * 1000 + n, float(at), reply_seconds=reply_seconds) for n, at in enumerate(places)
    ]


def run_calls(engine: Engine, calls: Sequence[Call]) -> tuple[list[Reply], float]:
    """Let every caller ask in a thread of its own; return the replies and the seconds of the run.

    Questions and passages are made before the first call.
    """
    engine.wait()
    prepared = [(call, call.question(), call.given()) for call in calls]
    replies = [Reply(call) for call in calls]
    start = time.perf_counter() + 0.05
    threads = [
        threading.Thread(target=_ask, args=(engine.voice, one, reply, start), daemon=True)
        for one, reply in zip(prepared, replies, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies, max(reply.ended_at for reply in replies) - start


def _ask(
    voice: GLMVoice, asked: tuple[Call, Audio, list[Passage]], reply: Reply, start: float
) -> None:
    call, question, passages = asked
    time.sleep(max(0.0, start + call.at - time.perf_counter()))
    begun = time.perf_counter()
    try:
        with _leaving(call) as leaving:
            pieces = voice.respond(question, passages, sampling=call.sampling())
            _listen(pieces, reply, begun, leaving)
    except CancelledError:
        reply.left = True
    except VoiceRAGError as error:
        reply.error = f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 - the others go on, and the report says it
        reply.error = f"{type(error).__name__}: {error}"
    reply.ended_at = time.perf_counter()
    reply.done = reply.ended_at - begun


@contextmanager
def _leaving(call: Call) -> Generator[float]:
    """Yield when the caller closes its reply; cancel the block if it hangs up instead."""
    if call.leaves_after is None or not call.hangs_up:
        yield float("inf") if call.leaves_after is None else call.leaves_after
        return
    cancellation = Cancellation()
    timer = threading.Timer(call.leaves_after, cancellation.cancel)
    timer.start()
    try:
        with cancellation.active():
            yield float("inf")
    finally:
        timer.cancel()


def _listen(
    pieces: Generator[Answer, None, None], reply: Reply, begun: float, leaving: float
) -> None:
    """Read a reply, and follow how far its playing would have come."""
    with closing(pieces):
        for piece in pieces:
            now = time.perf_counter() - begun
            if piece.text and reply.first_text is None:
                reply.first_text = now
            if piece.audio is not None:
                _heard(reply, piece.audio.seconds, now)
            if now > leaving:
                reply.left = True
                return


def _heard(reply: Reply, seconds: float, now: float) -> None:
    if reply.first_audio is None:
        reply.first_audio = now
    else:
        ahead = reply.first_audio + reply.speech + reply.stalled - now
        reply.ahead = min(reply.ahead, ahead)
        reply.stalled += max(0.0, -ahead)
    reply.speech += seconds


def percentiles(values: Sequence[float | None], digits: int = 1) -> dict[str, float]:
    """Return p50, p95 and the largest of seconds, as milliseconds."""
    known = [1000 * value for value in values if value is not None]
    if not known:
        return {}
    return {
        "p50": round(float(np.quantile(known, 0.5)), digits),
        "p95": round(float(np.quantile(known, 0.95)), digits),
        "max": round(max(known), digits),
        "n": len(known),
    }
