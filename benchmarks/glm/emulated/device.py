"""A device that sleeps for as long as an H200 computes, and networks on it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.glm.callers import Engine
from benchmarks.glm.random_voice import random_voice
from voicerag_core.glm.decoder import service
from voicerag_core.glm.decoder.blocks import Block, Decoded, flow_length
from voicerag_core.glm.decoder.shapes import BATCHES
from voicerag_core.glm.lm import batched_lm
from voicerag_core.glm.lm.rows import Batch

__all__ = ["ROWS", "emulated"]

ROWS = 64
SLICES = 10
"""Euler steps of a block: between them the language model gets its turn."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds on an H200 in bfloat16: see results/glm_*.md.

    Args:
        step: Of the language model.
        row: That a reply adds to a step.
        read: That a token of a prompt adds to a step.
        decode: Of a batch of blocks.
        frame: That a row's mel frame adds to a batch.
        encode: Of a batch of clips.
        clip: That a clip adds to a batch.
    """

    step: float = 4.9e-3
    row: float = 4.5e-5
    read: float = 2.32e-5
    decode: float = 1.8e-2
    frame: float = 1.5e-5
    encode: float = 6e-3
    clip: float = 1e-3


COSTS = Costs()


class Device:
    """Sleeps for what it is given, of two streams in turn, slice by slice."""

    def __init__(self) -> None:
        self._work: dict[str, deque[tuple[float, threading.Event | None]]] = {
            "lm": deque(), "sound": deque(),
        }  # fmt: skip
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="emulated-device", daemon=True).start()

    def add(self, stream: str, seconds: float, slices: int = 1) -> threading.Event:
        """Queue work; return what is set when it is over."""
        over = threading.Event()
        with self._changed:
            last: list[tuple[float, threading.Event | None]] = [(seconds / slices, over)]
            self._work[stream].extend([(seconds / slices, None)] * (slices - 1) + last)
            self._changed.notify()
        return over

    def _run(self) -> None:
        until, names = 0.0, ["lm", "sound"]
        while True:
            with self._changed:
                while not any(self._work.values()):
                    self._changed.wait()
                names.reverse()
                name = next(one for one in names if self._work[one])
                seconds, over = self._work[name].popleft()
            now = time.monotonic()
            # What came while it slept a little too long follows without a gap.
            until = (until if now - until < 0.002 else now) + seconds
            time.sleep(max(0.0, until - now))
            if over is not None:
                over.set()


DEVICE = Device()


class _Step:
    """A step that was launched."""

    def __init__(self, over: threading.Event, ids: list[int]) -> None:
        self._over, self._ids = over, ids

    def wait(self) -> None:
        self._over.wait()

    def ids(self) -> list[int]:
        self._over.wait()
        return self._ids


class _Runner:
    """See `voicerag_core.glm.lm.rows.Runner`; writes the first id that is allowed."""

    ahead, block = 1, 64

    def __init__(self, *_: object) -> None:
        self._states: dict[object, int] = {}
        self.tokens = 0
        """Of prompts that were read."""

    def working(self) -> AbstractContextManager[None]:
        return nullcontext()

    def warm(self, masks: object) -> None:
        pass

    def seat(self, reply: Any) -> None:  # noqa: ANN401
        self._states[reply] = 0

    def copy(self, source: int, target: int, count: int) -> None:
        pass

    def prepare(self, batch: Batch) -> None:
        pass

    def launch(self, batch: Batch) -> _Step:
        blocks = sum(-(-(part.stop - part.start) // self.block) for part in batch.parts)
        tokens = self.block * blocks
        self.tokens += tokens
        seconds = COSTS.step + COSTS.row * len(batch.replies) + COSTS.read * tokens
        return _Step(DEVICE.add("lm", seconds), [self._next(one) for one in batch.sampled])

    def _next(self, reply: Any) -> int:  # noqa: ANN401
        state = self._states[reply]
        token = int(np.argmax(reply.table.allowed[state].mask))
        self._states[reply] = int(reply.table.following[state, int(reply.table.kinds[token])])
        return token


def decode(
    networks: Any,  # noqa: ANN401
    blocks: Sequence[Block],
    *,
    between: Callable[[], None] = lambda: None,
) -> list[Decoded]:
    """See `voicerag_core.glm.decoder.blocks.decode`: silence of the right length."""
    length = flow_length(networks, blocks[0]) or 72
    rows = next(size for size in BATCHES if size >= len(blocks))
    for _ in range(SLICES):
        between()
    DEVICE.add("sound", COSTS.decode + COSTS.frame * rows * length, SLICES).wait()
    made = []
    for block in blocks:
        vocoder: Any = block.vocoder
        rate, hop = networks.config.sample_rate, networks.config.hop_samples
        stop = networks.flow.frames(block.first + len(block.tokens)) * hop
        final = stop if block.last else stop - int(0.64 * rate)
        sound = np.zeros(max(0, final - getattr(vocoder, "emitted", 0)), np.float32)
        vocoder.emitted = final
        made.append(Decoded(sound, block.past, block.held, vocoder))
    return made


def encode(_: object, pieces: Sequence[Any]) -> list[list[int]]:
    """See `SpeechTokenizer._encode`."""
    DEVICE.add("sound", COSTS.encode + COSTS.clip * len(pieces)).wait()
    return [[0] * -(-len(piece.samples) // 1280) for piece in pieces]


@contextmanager
def emulated() -> Iterator[Engine]:
    """Open a voice whose networks are emulated."""
    with patch.object(batched_lm, "EagerRunner", _Runner), patch.object(service, "decode", decode):
        voice: Any = random_voice("cpu", tiny=True, context=8192, rows=ROWS)
        with patch.object(type(voice._encoder), "_encode", encode), voice._lm as lm:
            yield Engine("emulated", voice, lm, ())
