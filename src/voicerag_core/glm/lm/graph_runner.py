"""Steps of a batch as CUDA graphs that follow each reply's grammar and noise on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from voicerag_core.glm.lm.batch_forward import BatchForward
from voicerag_core.glm.lm.cuda_graphs import warmed_and_captured
from voicerag_core.glm.lm.forward import KeyValueCache, RotaryTable
from voicerag_core.glm.lm.fused_forward import FusedForward
from voicerag_core.glm.lm.interleave import AllowedTokens, GrammarTable
from voicerag_core.glm.lm.rows import AUDIO, STOP, TEXT, Batch, Part, Reply
from voicerag_core.glm.lm.sampler import sample, sample_top
from voicerag_core.glm.lm.steps import TokenMasks

if TYPE_CHECKING:
    from transformers import GlmForCausalLM

__all__ = ["GraphRunner"]

BLOCK = 64
"""Tokens of a text are run in blocks of this many; see `batch_kernels.BLOCK`."""
STATES, MASKS, KINDS = 64, 4, 3
"""Most states and masks of a grammar that the device follows, and the kinds of ids."""


class GraphRunner:
    """See `Runner`: a graph for one row, for 2, 4, 8, ... rows, and for lengths of texts.

    Everything that a step needs of a reply is on the device, in the entry of its row: the last id,
    its position, the number of the next one, its noise, and the state of its grammar. So the next
    step can be launched before the ids of the last one are known. One entry more than there are
    rows takes what fills a batch up; no row of the cache belongs to it.

    Args:
        model: The language model; query, key and value are fused in place.
        cache: Its rows.
        rotary: Of the model.
        part_tokens: Most tokens of texts in a step, a multiple of `BLOCK`.
    """

    ahead = 1
    block = BLOCK

    def __init__(
        self,
        model: GlmForCausalLM,
        cache: KeyValueCache,
        rotary: RotaryTable,
        part_tokens: int,
    ) -> None:
        device = cache.keys.device
        self._cache, self._device = cache, device
        self._none = cache.keys.shape[1]
        entries, vocabulary = self._none + 1, model.lm_head.out_features
        self._grammars = _DeviceGrammars(entries, vocabulary, device)

        def whole(*shape: int) -> torch.Tensor:
            return torch.zeros(shape, dtype=torch.int64, device=device)

        self._tokens, self._positions, self._numbers = (whole(entries) for _ in range(3))
        self._states = self._grammars.unguided.clone()
        self._temperatures, self._top_ps = torch.ones(2, entries, device=device)
        self._noise = torch.zeros(entries, cache.slots, device=device)
        self._counts = [1]
        while self._counts[-1] < self._none:
            self._counts.append(2 * self._counts[-1])
        self._lengths = _lengths(part_tokens)
        most, longest = self._counts[-1], self._lengths[-1]
        self._rows = torch.full((most,), self._none, device=device)
        self._ids, self._numbered = whole(longest), torch.arange(longest + most, device=device)
        self._blocks = {length: whole(3, length // BLOCK) for length in self._lengths}
        self._ends = whole(longest // BLOCK)
        self._end_rows = torch.full_like(self._ends, self._none)
        self._sampled = whole(longest // BLOCK + most)
        self._token, self._position, self._row = whole(1, 1), whole(1), whole(1)
        self._one = FusedForward(model, cache, rotary, self._token, self._position, self._row)
        self._many = BatchForward(model, self._one.layers, rotary, longest, most)
        self._graphs: dict[tuple[int, int, int, bool], torch.cuda.CUDAGraph] = {}
        self._shown: list[int] = []
        self._prepared: tuple[Batch, _Ready] | None = None
        on_gpu = device.type == "cuda"
        self._pool = torch.cuda.graph_pool_handle() if on_gpu else None
        self._stream = torch.cuda.Stream(device, priority=-1) if on_gpu else None  # type: ignore[no-untyped-call]

    @contextmanager
    def working(self) -> Iterator[None]:
        """See `Runner.working`."""
        with torch.cuda.stream(self._stream):
            yield

    def warm(self, masks: Sequence[AllowedTokens]) -> None:
        """Capture the graphs of all batches; `masks` say from which ids on one row is scored."""
        for start in sorted({0, *(mask.start for mask in masks)}):
            self._graph(0, 1, start, by_sort=True)
        for count in self._counts[1:]:
            self._graph(0, count, 0, by_sort=False)
        for length in self._lengths:
            self._graph(length, self._counts[-1], 0, by_sort=False)

    def seat(self, reply: Reply) -> None:
        """See `Runner.seat`."""
        assert reply.row is not None
        entry = reply.row.index
        state = self._grammars.seat(reply)
        for values, value in (
            (self._tokens, reply.text[-1]),
            (self._positions, len(reply.text) - 1),
            (self._numbers, reply.number),
            (self._temperatures, reply.sampling.temperature),
            (self._top_ps, reply.sampling.top_p),
            (self._states, state),
        ):
            values[entry].fill_(value)  # to assign it would wait for the step that runs
        _upload(reply.noise[: reply.room], self._noise[entry, : reply.room])

    def copy(self, source: int, target: int, count: int) -> None:
        """See `Runner.copy`."""
        for side in (self._cache.keys, self._cache.values):
            side[:, target, :, :count].copy_(side[:, source, :, :count])

    def prepare(self, batch: Batch) -> None:
        """See `Runner.prepare`."""
        self._prepared = batch, self._made_ready(batch)

    def launch(self, batch: Batch) -> _Step:
        """See `Runner.launch`."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None and prepared[0] is batch:
            ready = prepared[1]
        else:
            ready = self._made_ready(batch)
        ready.graph.replay()
        return _Step(self._sampled, *ready.sampled)

    def _made_ready(self, batch: Batch) -> _Ready:
        """Put what a step reads where its graph reads it."""
        for reply in batch.sampled:
            if reply.table is None:
                self._grammars.show(reply)
        entries = [_entry(reply) for reply in batch.replies]
        by_sort = any(reply.by_sort for reply in batch.sampled)
        blocks = [block for part in batch.parts for block in _blocks(part)]
        length = next(n for n in (0, *self._lengths) if n >= BLOCK * len(blocks))
        if length:
            graph = self._graph(length, self._counts[-1], 0, by_sort=by_sort)
        elif len(entries) == 1:
            graph = self._graph(0, 1, _first_id(batch.replies[0]), by_sort=True)
        else:
            count = next(count for count in self._counts if count >= len(entries))
            graph = self._graph(0, count, 0, by_sort=by_sort)
        if length:
            self._put(blocks, length)
        self._show(entries)
        ends = sum(part.samples for part in batch.parts)
        return _Ready(graph, (ends, length // BLOCK, len(entries)))

    def _put(self, blocks: list[_Block], length: int) -> None:
        """Put parts of texts where the graph of a length reads them."""
        ids = [token for block in blocks for token in (*block.ids, *[0] * (BLOCK - len(block.ids)))]
        last = [
            (BLOCK * number + len(block.ids) - 1, block.entry)
            for number, block in enumerate(blocks)
            if block.samples
        ]
        count = length // BLOCK
        last += [(0, self._none)] * (count - len(last))
        ends, entries = zip(*last, strict=True)
        read = [(block.entry, block.start, len(block.ids)) for block in blocks]
        read += [(self._none, 0, 0)] * (count - len(read))
        _upload(torch.tensor(ids), self._ids[: len(ids)])
        _upload(torch.tensor(read).T.contiguous(), self._blocks[length])
        _upload(torch.tensor(ends), self._ends[:count])
        _upload(torch.tensor(entries), self._end_rows[:count])

    def _show(self, entries: list[int]) -> None:
        """Say which rows get one more token."""
        padded = entries + [self._none] * (len(self._rows) - len(entries))
        if padded != self._shown:
            _upload(torch.tensor(padded), self._rows)
            self._shown = padded

    def _graph(self, length: int, count: int, start: int, *, by_sort: bool) -> torch.cuda.CUDAGraph:
        """Return the graph of a batch; capturing it changes nothing but the entry of no row.

        Args:
            length: Tokens of texts.
            count: Rows that get one more token.
            start: First id that is scored; 0 unless it is one row alone.
            by_sort: Sample by a complete sort.
        """
        key = length, count, start, by_sort
        if key not in self._graphs:
            self._show([])
            self._ends.zero_()
            self._end_rows.fill_(self._none)
            for blocks in self._blocks.values():
                blocks[0].fill_(self._none)
                blocks[1:].zero_()
            if length or count > 1:
                run = partial(self._run_many, length, count, by_sort=by_sort)
            else:
                run = partial(self._run_one, start)
            self._graphs[key] = warmed_and_captured(run, self._pool)
        return self._graphs[key]

    def _run_one(self, start: int) -> None:
        rows = self._rows[:1]
        self._row.copy_(rows)
        self._token[0].copy_(self._tokens.index_select(0, rows))
        self._position.copy_(self._positions.index_select(0, rows))
        logits = self._one(start)
        ids = sample(logits, self._grammars.allowed(self._states[rows])[:, start:], *self._of(rows))
        self._go_on(rows, torch.where(ids >= 0, ids + start, ids))

    def _run_many(self, length: int, count: int, *, by_sort: bool) -> None:
        rows, blocks = self._rows[:count], length // BLOCK
        entries = torch.cat((self._end_rows[:blocks], rows))
        logits = self._many(
            torch.cat((self._ids[:length], self._tokens.index_select(0, rows))),
            self._blocks[length] if length else None,
            rows,
            self._positions.index_select(0, rows),
            torch.cat((self._ends[:blocks], self._numbered[length : length + count])),
        )
        allowed = self._grammars.allowed(self._states.index_select(0, entries))
        draw = sample if by_sort else sample_top
        self._go_on(entries, draw(logits, allowed, *self._of(entries)))

    def _of(self, entries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return noise, temperature and nucleus."""
        return (
            self._noise[entries, self._numbers[entries]],
            self._temperatures[entries],
            self._top_ps[entries],
        )

    def _go_on(self, entries: torch.Tensor, ids: torch.Tensor) -> None:
        """Take the sampled ids; where there is none, the next step does the same again."""
        real = (ids >= 0) & (entries < self._none)
        states = self._states.index_select(0, entries)
        after = self._grammars.after(states, ids.clamp(min=0))
        self._states.index_copy_(0, entries, torch.where(real, after, states))
        tokens = torch.where(real, ids, self._tokens.index_select(0, entries))
        self._tokens.index_copy_(0, entries, tokens)
        for counter in (self._positions, self._numbers):
            counter.index_copy_(0, entries, counter.index_select(0, entries) + real)
        self._sampled[: len(ids)].copy_(ids)


class _Block(NamedTuple):
    """Tokens of a text that are run together, and whether an id is sampled after them."""

    entry: int
    start: int
    ids: list[int]
    samples: bool


class _Ready(NamedTuple):
    """A graph whose inputs are in place, and what `_Step` needs to know."""

    graph: torch.cuda.CUDAGraph
    sampled: tuple[int, int, int]


class _Step:
    """A graph that was launched, and the copy of its ids to the host."""

    def __init__(self, sampled: torch.Tensor, ends: int, room: int, rows: int) -> None:
        self._ends, self._room, self._rows = ends, room, rows
        device = sampled.device.type == "cuda"
        self._ids = torch.empty(room + rows, dtype=torch.int64, pin_memory=device)
        self._ids.copy_(sampled[: room + rows], non_blocking=True)
        self._done = torch.cuda.Event() if device else None  # type: ignore[no-untyped-call]
        if self._done is not None:
            self._done.record()

    def wait(self) -> None:
        """See `Launched.wait`."""
        if self._done is not None:
            self._done.synchronize()

    def ids(self) -> list[int]:
        """See `Launched.ids`."""
        self.wait()
        ids = self._ids.tolist()
        return ids[: self._ends] + ids[self._room :]


class _DeviceGrammars:
    """Masks, kinds and transitions of the grammars of the replies in the rows.

    Each entry also has a state without a transition, whose mask the host writes.

    Args:
        entries: Rows, and the entry of no row.
        vocabulary: Ids.
        device: Where.
    """

    def __init__(self, entries: int, vocabulary: int, device: torch.device) -> None:
        guided = entries * STATES
        states = torch.arange(guided + entries, device=device)
        self.unguided = states[guided:]
        self._masks = torch.ones(entries * (MASKS + 1), vocabulary, dtype=torch.bool, device=device)
        self._own = entries * MASKS
        self._mask_of = (states - guided + self._own).clamp(min=0)
        self._following = states[:, None].repeat(1, KINDS)
        self._kinds = torch.zeros(entries, vocabulary, dtype=torch.int8, device=device)
        self._kinds_of = (states // STATES).clamp(max=entries - 1)
        self._of_allowed = TokenMasks(device)
        self._guided, self._tables = guided, [_NO_TABLE] * entries
        self._table_of = [-1] * entries
        self._shown: list[AllowedTokens | None] = [None] * entries

    def seat(self, reply: Reply) -> int:
        """Return the state in which a reply starts."""
        entry, table = _entry(reply), reply.table
        if table is None:
            self._table_of[entry], self._shown[entry] = -1, None
            return self._guided + entry
        self._table_of[entry] = -1
        place = next((n for n, known in enumerate(self._tables) if table.same(known)), None)
        if place is None:
            place = next(n for n in range(len(self._tables)) if n not in self._table_of)
            self._put(place, table)
        self._table_of[entry] = place
        return place * STATES + reply.state

    def show(self, reply: Reply) -> None:
        """Allow next what the reader of a reply said."""
        entry = _entry(reply)
        if reply.allowed is not self._shown[entry] and reply.allowed is not None:
            self._masks[self._own + entry].copy_(self._of_allowed.of(reply.allowed))
            self._shown[entry] = reply.allowed

    def allowed(self, states: torch.Tensor) -> torch.Tensor:
        """Return the masks [N, V] of states [N]."""
        return self._masks.index_select(0, self._mask_of.index_select(0, states))

    def after(self, states: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Return the states [N] after ids [N]."""
        kinds = self._kinds[self._kinds_of.index_select(0, states), ids]
        return self._following[states, kinds.long()]

    def _put(self, place: int, table: GrammarTable) -> None:
        masks = list(dict.fromkeys(table.allowed))
        assert len(masks) <= MASKS, "the masks of an Interleave"
        assert len(table.allowed) <= STATES, "the states of an Interleave"
        self._tables[place] = table
        for number, allowed in enumerate(masks, place * MASKS):
            self._masks[number].copy_(self._of_allowed.of(allowed))
        states = slice(place * STATES, place * STATES + len(table.allowed))
        chosen = [place * MASKS + masks.index(allowed) for allowed in table.allowed]
        _upload(torch.tensor(chosen), self._mask_of[states])
        _upload(torch.from_numpy(table.following + place * STATES), self._following[states])
        _upload(torch.from_numpy(table.kinds).to(torch.int8), self._kinds[place])


_NO_TABLE = GrammarTable((), np.zeros((0, KINDS), np.int64), np.zeros(0, np.int64))


def _upload(values: torch.Tensor, target: torch.Tensor) -> None:
    """Copy from the host without waiting for what runs on the device."""
    if target.device.type == "cuda":
        values = values.pin_memory()
    target.copy_(values, non_blocking=True)


def _entry(reply: Reply) -> int:
    assert reply.row is not None
    return reply.row.index


def _blocks(part: Part) -> list[_Block]:
    """Cut a part of a text into blocks."""
    return [
        _Block(
            _entry(part.reply),
            start,
            part.reply.text[start : min(start + BLOCK, part.stop)],
            part.samples and start + BLOCK >= part.stop,
        )
        for start in range(part.start, part.stop, BLOCK)
    ]


def _lengths(most: int) -> list[int]:
    """Return the lengths that parts of texts are padded to: with 64 rows, multiples of 128."""
    lengths = list(range(BLOCK, most, 2 * BLOCK))
    return [*lengths, most]


def _first_id(reply: Reply) -> int:
    """Return the first id that is scored for the next token, whatever those in flight are."""
    assert reply.allowed is not None
    allowed, table = reply.allowed, reply.table
    if not reply.flying or table is None:
        return allowed.start
    kinds = (TEXT, AUDIO, STOP)[bool(allowed.start) :]
    following: list[int] = table.following[reply.state].tolist()
    return min(table.allowed[following[kind]].start for kind in kinds)
