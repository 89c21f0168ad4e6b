"""How long a run will take, from a timed sample of its own files."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from voicerag_core.errors import AudioError, DocumentError, MissingExtraError
from voicerag_core.ingest.digests import Cutting
from voicerag_core.ingest.embed import Batch, BatchEmbedding
from voicerag_core.ingest.plan import FileSource, Plan, Source
from voicerag_core.ingest.progress import kind_of
from voicerag_core.ingest.read import CutDocument, read_beginning, read_source

__all__ = ["Estimate", "OnEstimate", "Sample", "estimated", "is_large"]

LARGE_BYTES = 5_000_000
"""A run over fewer bytes is not worth a sample: it takes minutes."""

SAMPLED_PASSAGES = 32
"""Passages that are embedded for the sample: some seconds."""

SAMPLED_BYTES = 300_000
"""Read of each kind of file, as long as whole files are not larger."""

MOST_READING = 10.0
"""Seconds after which no further file is read for the sample."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run is going to do.

    Args:
        files: New and changed files.
        passages: In all of them, about.
        seconds: How long it will take on this machine, about.
    """

    files: int
    passages: int
    seconds: float


OnEstimate: TypeAlias = Callable[[Estimate], None]


def is_large(plan: Plan) -> bool:
    """Return whether a plan is large enough to be estimated before it is begun."""
    return sum(source.size for source in plan.differing) >= LARGE_BYTES


class Sample:
    """An even sample of the passages of many documents, to be embedded for the time it takes.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._kept: list[Batch] = []
        self._seen = 0
        self._random = random.Random(0)  # noqa: S311 - a sample, no secret

    def add(self, document: CutDocument) -> None:
        """Let each passage of a document have the same chance as all others."""
        for number, passage in enumerate(document.passages):
            self._seen += 1
            place = len(self._kept)
            if place == SAMPLED_PASSAGES:
                place = self._random.randrange(self._seen)
            if place < SAMPLED_PASSAGES:
                one = Batch((passage,), document.clips[number : number + 1])
                self._kept[place : place + 1] = [one]

    def seconds_each(self, embed: BatchEmbedding) -> float:
        """Embed the sample, after the model is loaded, and return the seconds per passage.

        Raises:
            ModelError: The model cannot be loaded or failed.
        """
        if not self._kept:
            return 0.0
        embed.warm()
        texts = [one for one in self._kept if not one.clips]
        batches = [one for one in self._kept if one.clips]
        if texts:
            batches.append(Batch(tuple(passage for one in texts for passage in one.passages)))
        start = self._clock()
        for batch in batches:
            embed(batch)
        return (self._clock() - start) / len(self._kept)


@dataclass(frozen=True, slots=True)
class _Density:
    """What sources of one kind take and give, per byte."""

    seconds: float
    passages: float


def estimated(
    plan: Plan,
    cutting: Cutting,
    embed: BatchEmbedding,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Estimate:
    """Estimate the work of a plan: read a few files of each kind, and embed some passages of them.

    Args:
        plan: Of the run.
        cutting: How sources are split.
        embed: Computes vectors.
        clock: Seconds.

    Raises:
        ModelError: The embedder failed.
    """
    kinds: dict[str, list[Source]] = {}
    for source in plan.differing:
        kinds.setdefault(kind_of(source.source), []).append(source)
    sizes = {kind: sum(one.size for one in sources) for kind, sources in kinds.items()}
    densities: dict[str, _Density] = {}
    sample = Sample(clock)
    start = clock()
    for kind in sorted(kinds, key=lambda kind: -sizes[kind]):
        if densities and clock() - start > MOST_READING:
            break
        if (density := _density(kinds[kind], cutting, sample, clock)) is not None:
            densities[kind] = density
    if not densities:
        return Estimate(len(plan.differing), 0, 0.0)
    others = _Density(
        sum(one.seconds for one in densities.values()) / len(densities),
        sum(one.passages for one in densities.values()) / len(densities),
    )
    passages = sum(size * densities.get(kind, others).passages for kind, size in sizes.items())
    reading = sum(size * densities.get(kind, others).seconds for kind, size in sizes.items())
    seconds = reading + passages * sample.seconds_each(embed)
    return Estimate(len(plan.differing), round(passages), seconds)


def _density(
    sources: list[Source], cutting: Cutting, sample: Sample, clock: Callable[[], float]
) -> _Density | None:
    """Read sources of one kind; None when none of those that were tried could be read."""
    size = passages = 0
    start = clock()
    for source in _typical(sources):
        try:
            document = _read(source, cutting)
        except (AudioError, DocumentError, MissingExtraError):
            continue
        size += document.size
        passages += len(document.passages)
        sample.add(document)
    return _Density((clock() - start) / size, passages / size) if size else None


def _typical(sources: list[Source]) -> Iterator[Source]:
    """Yield sources around the middle in size, as long as they are small; at least one."""
    ordered = sorted(sources, key=lambda source: source.size)
    small = [source for source in ordered if 0 < source.size <= SAMPLED_BYTES]
    if not small:
        yield ordered[0]
        return
    middle = len(small) // 2
    order = sorted(range(len(small)), key=lambda place: abs(place - middle))
    taken = 0
    for place in order:
        taken += small[place].size
        if taken > SAMPLED_BYTES and place != middle:
            return
        yield small[place]


def _read(source: Source, cutting: Cutting) -> CutDocument:
    """Read a source, or only the beginning of a large one where that can be read by itself."""
    if isinstance(source, FileSource) and source.size > SAMPLED_BYTES:
        beginning = read_beginning(source, cutting, SAMPLED_BYTES)
        if beginning is not None:
            return beginning
    document = read_source(source, cutting)
    return replace(document, size=max(1, source.size))
