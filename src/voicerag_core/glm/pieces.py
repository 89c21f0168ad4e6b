"""What the pieces of an answer say: the words of its sound, and the times of its stages."""

from __future__ import annotations

import time
from collections.abc import Iterator

from voicerag_core.glm.lm.interleave import AUDIO_BLOCK, TEXT_BLOCK
from voicerag_core.glm.memory import TOKENS_PER_SECOND
from voicerag_core.types import Answer

__all__ = ["StageClock", "Unspoken"]


class Unspoken:
    """The text that was written and is not spoken yet."""

    def __init__(self) -> None:
        self._tokens: list[str] = []
        self._given = 0
        self._seconds = 0.0

    def add(self, text: str) -> str:
        """Take the text of the next token, and return it."""
        self._tokens.append(text)
        return text

    def said(self, seconds: float, *, last: bool) -> str:
        """Return the words of the next seconds of speech.

        Args:
            seconds: How much speech it is.
            last: Whether no more follows, so that it must have said everything.
        """
        self._seconds += seconds
        # 13 text tokens come with 26 speech tokens.
        due = int(self._seconds * TOKENS_PER_SECOND * TEXT_BLOCK / AUDIO_BLOCK + 1e-6)
        end = len(self._tokens) if last else min(due, len(self._tokens))
        said = "".join(self._tokens[self._given : end])
        self._given = max(self._given, end)
        return said


class StageClock:
    """Times of the stages of a reply, each reported once."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._noted: dict[str, float] = {}
        self._given: set[str] = set()

    def note(self, stage: str) -> None:
        """Note the time of a stage, to be reported with the first text."""
        self._noted[stage] = time.perf_counter() - self._start

    def once(self, stage: str) -> dict[str, float]:
        """Return the time of a stage on the first call, and nothing later."""
        if stage in self._given:
            return {}
        self._given.add(stage)
        return {stage: time.perf_counter() - self._start}

    def text(self, words: str) -> Iterator[Answer]:
        """Yield a piece of text, unless it is empty."""
        if words:
            timings = self._noted | self.once("first_text")
            self._noted = {}
            yield Answer(words, timings=timings)
