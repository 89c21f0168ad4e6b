"""Replies in the making, and the rows of the cache that they are written in."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Protocol

import torch

from voicerag_core.glm.lm.interleave import AllowedTokens, Grammar, GrammarTable, Interleave
from voicerag_core.types import Sampling

__all__ = [
    "AUDIO",
    "STOP",
    "TEXT",
    "Batch",
    "Launched",
    "Part",
    "Reply",
    "Row",
    "Runner",
    "common_prefix",
]

TEXT, AUDIO, STOP = range(3)
"""Numbers of the kinds of `GrammarTable`."""
COMPARED = 64
"""Ids that are compared at once: those of two prompts mostly differ behind the system prompt."""
SORTED_TOP_P = 0.999
"""From here on the likeliest ids alone cannot decide what is drawn."""


@dataclass(slots=True, eq=False)
class Row:
    """A row of the cache.

    Args:
        index: Its number.
        ids: The tokens whose keys and values it holds, from its first slot on.
        used: When it was last given back, by `time.monotonic`.
        reply: The reply that is written in it.
    """

    index: int
    ids: list[int] = field(default_factory=list)
    used: float = 0.0
    reply: Reply | None = None


class Reply:
    """A reply in the making; its grammar is followed here where it is an `Interleave`.

    Args:
        prompt: Token ids.
        grammar: Of the reply.
        sampling: Temperature and nucleus.
        noise: [steps] float32 of `uniform_noise`, one number per token.
        room: Most tokens of the reply.
    """

    events: SimpleQueue[Reply | None]
    """Where its reader is told to look at it; set by the reader."""

    def __init__(
        self,
        prompt: Sequence[int],
        grammar: Grammar,
        sampling: Sampling,
        noise: torch.Tensor,
        room: int,
    ) -> None:
        self.text = list(prompt)
        """The prompt and what was generated so far."""
        self.prompt_size = len(self.text)
        self.sampling, self.noise, self.room = sampling, noise, room
        self.table: GrammarTable | None = None
        self.state = 0
        self.allowed: AllowedTokens | None = None
        """What may come next; None until the reader of the reply has said it."""
        if isinstance(grammar, Interleave):
            self.table = grammar.table()
            self.allowed = self.table.allowed[0]
        else:
            self.allowed = grammar.allowed()
        self.row: Row | None = None
        self.found = 0
        """Tokens of the text that were in the cache, if it was most of them: not the system prompt
        alone, which all have in common."""
        self.flying = 0
        """Steps that were launched and whose ids are not known yet."""
        self.cancelled = self.ended = False
        self.by_sort = sampling.temperature > 0 and sampling.top_p >= SORTED_TOP_P
        self.error: BaseException | None = None
        """What ended it; None unless it failed."""
        self.reader = 0
        self.admitted = 0.0
        self.came = -math.inf
        """When its last token came, by `Turns.free`."""
        self.due: float = 1
        """Tokens generated from which on the reader is told; inf once it was told, until it says
        what it waits for next."""
        self.in_text = False
        """Whether it is also told of the next speech token."""

    @property
    def number(self) -> int:
        """Tokens generated so far."""
        return len(self.text) - self.prompt_size

    @property
    def unread(self) -> int:
        """Tokens of the text whose keys and values are not in the row."""
        assert self.row is not None
        return len(self.text) - len(self.row.ids)

    @property
    def reading(self) -> bool:
        """Whether more is to be run than the last token that was generated."""
        return self.unread > 1 or not self.number

    def took(self, token: int) -> bool:
        """Add an id; return whether the reply ends with it."""
        self.text.append(token)
        kind = TEXT
        if self.table is None:
            self.allowed = None
            stopped = False
        else:
            kind = int(self.table.kinds[token])
            self.state = int(self.table.following[self.state, kind])
            self.allowed = self.table.allowed[self.state]
            stopped = kind == STOP
        if self.number >= self.due or (self.in_text and kind == AUDIO):
            self.due, self.in_text = math.inf, False
            self.events.put(self)
        return stopped or self.number == self.room

    def end(self, error: BaseException | None = None) -> None:
        """Tell the reader that nothing follows."""
        if not self.ended:
            self.error, self.ended = error, True
            self.events.put(self)

    def leave_row(self) -> None:
        """Give the row back; what it holds stays for a later prompt."""
        if self.row is not None:
            self.row.used, self.row.reply, self.row = time.monotonic(), None, None


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens of a reply's text that are run in one step.

    Args:
        reply: Has a row.
        start: Number of the first.
        stop: One past the last.
        samples: Whether that is the end of the text, and an id is sampled after it.
    """

    reply: Reply
    start: int
    stop: int
    samples: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step runs.

    Args:
        parts: Of texts that are being read.
        replies: One more token each.
    """

    parts: Sequence[Part]
    replies: Sequence[Reply]

    @property
    def sampled(self) -> list[Reply]:
        """The replies that an id is sampled for, in the order of the ids."""
        return [part.reply for part in self.parts if part.samples] + list(self.replies)


class Launched(Protocol):
    """A step that may still run on the device."""

    def wait(self) -> None:
        """Wait for the step."""
        ...

    def ids(self) -> list[int]:
        """Wait for the step; return an id for each of `Batch.sampled`.

        An id is `NOT_FINITE` where scores were no numbers, and `UNDECIDED` where the step has to
        be done again with `Reply.by_sort`.
        """
        ...


class Runner(Protocol):
    """Runs steps on a device."""

    @property
    def ahead(self) -> int:
        """Steps that may be launched before the ids of an earlier one are known."""
        ...

    @property
    def block(self) -> int:
        """Parts of texts take room in multiples of this."""
        ...

    def working(self) -> AbstractContextManager[None]:
        """Make ready for the thread that runs the steps."""
        ...

    def warm(self, masks: Sequence[AllowedTokens]) -> None:
        """Prepare all that steps with these masks need."""
        ...

    def seat(self, reply: Reply) -> None:
        """Prepare a reply's row for its sampling."""
        ...

    def copy(self, source: int, target: int, count: int) -> None:
        """Copy the first slots of a row into another."""
        ...

    def prepare(self, batch: Batch) -> None:
        """Do what can be done for a step before the last one is over; `launch` does it otherwise.

        The batch may be dropped.
        """
        ...

    def launch(self, batch: Batch) -> Launched:
        """Start a step."""
        ...


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many first ids two lists share."""
    count = min(len(one), len(other))
    start = 0
    while start < count and one[start : start + COMPARED] == other[start : start + COMPARED]:
        start += COMPARED
    places = range(start, min(start + COMPARED, count))
    return next((place for place in places if one[place] != other[place]), count)
