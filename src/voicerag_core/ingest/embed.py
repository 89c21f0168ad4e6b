"""Stage 3, embed: compute vectors of passages, in batches across documents.

The model is a callable from `Batch` to `Vectors`, both plain values. In this process it is
`BatchEmbedding`; a distributed engine may pass whole documents to workers that each run
`embed_documents` with their local embedder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from voicerag_core import telemetry
from voicerag_core.errors import AudioError
from voicerag_core.ingest.read import CutDocument
from voicerag_core.ports import Embedder
from voicerag_core.rag import embed_passages
from voicerag_core.types import Audio, Embeddings, Passage

__all__ = [
    "Batch",
    "BatchEmbedding",
    "Embed",
    "EmbeddedDocument",
    "EmbeddedPart",
    "Vectors",
    "embed_documents",
]

GROUP = 24
"""Passages embedded together, across documents: enough to fill the embedder's batches, few enough
for regular progress and quick cancellation."""

WINDOWS = 16
"""Windows of a recording embedded together."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Passages that are embedded together.

    Args:
        passages: Passages of one document or several.
        clips: None: the texts are embedded. Otherwise the sound of each passage, to be embedded.
    """

    passages: tuple[Passage, ...]
    clips: tuple[Audio, ...] = ()


class Vectors(NamedTuple):
    """The vectors of a batch.

    Row i of `embeddings` [M, D] belongs to passage ``owners[i]`` of the batch; owners [M] are in
    ascending order. A passage that owns no row, such as a clip without speech, is left out.
    """

    embeddings: Embeddings
    owners: NDArray[np.int64]


Embed: TypeAlias = Callable[[Batch], Vectors]


@runtime_checkable
class _Warm(Protocol):
    """An embedder that can load its model before it is needed."""

    def warm(self) -> None:
        """Load it now."""
        ...


@dataclass(frozen=True, slots=True)
class BatchEmbedding:
    """Embeds batches in this process.

    Args:
        embedder: Computes the vectors.
        sentences: Embed each sentence of a text as well.
    """

    embedder: Embedder
    sentences: bool = False

    def warm(self) -> None:
        """Load the model now, if it can be loaded beforehand.

        Raises:
            ModelError: The model cannot be loaded.
        """
        if isinstance(self.embedder, _Warm):
            self.embedder.warm()

    def __call__(self, batch: Batch) -> Vectors:
        """Embed a batch.

        Raises:
            ModelError: The model cannot be loaded or failed.
        """
        about: dict[str, str | int] = {
            "gen_ai.operation.name": "embeddings",
            "gen_ai.request.model": self.embedder.model_id,
            "gen_ai.embeddings.dimension.count": self.embedder.dim,
        }
        with telemetry.stage("voicerag.embed", about) as told:
            vectors = self._vectors(batch)
            told.set(voicerag__vectors=len(vectors.owners))
            return vectors

    def _vectors(self, batch: Batch) -> Vectors:
        if not batch.clips:
            return Vectors(*embed_passages(self.embedder, batch.passages, sentences=self.sentences))
        try:
            embeddings = self.embedder.embed_speech(batch.clips)
        except AudioError:
            return self._one_by_one(batch.clips)
        return Vectors(embeddings, np.arange(len(embeddings), dtype=np.int64))

    def _one_by_one(self, clips: tuple[Audio, ...]) -> Vectors:
        """Embed the clips that contain speech."""
        rows = [np.zeros((0, self.embedder.dim), np.float32)]
        owners = []
        for number, clip in enumerate(clips):
            with suppress(AudioError):
                rows.append(self.embedder.embed_speech([clip]))
                owners.append(number)
        return Vectors(np.concatenate(rows), np.asarray(owners, np.int64))


@dataclass(frozen=True, slots=True)
class EmbeddedDocument:
    """A document that is ready to write.

    Args:
        source: Its key in the store.
        digest: Digest of its content.
        passages: The passages that have vectors.
        embeddings: [M, D], L2-normalised.
        owners: [M]; row i belongs to ``passages[owners[i]]``.
    """

    source: str
    digest: str
    passages: tuple[Passage, ...]
    embeddings: Embeddings
    owners: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EmbeddedPart:
    """The share of a document in a batch that was embedded.

    Args:
        passages: How many passages of the document were in the batch.
        vectors: How many vectors were made of them.
        size: The share of the document's bytes.
        document: The document, when this part completed it.
    """

    passages: int
    vectors: int
    size: float
    document: EmbeddedDocument | None


def embed_documents(documents: Iterable[CutDocument], embed: Embed) -> Iterator[EmbeddedPart]:
    """Embed documents, many small ones in one batch and a long one in several.

    Documents are read on demand; those in progress are held until they are complete.

    Args:
        documents: Read and split; each yields at least one part.
        embed: Computes the vectors of a batch.
    """
    waiting: list[tuple[_InWork, Passage]] = []
    for document in documents:
        in_work = _InWork(document)
        if document.clips or not document.passages:
            yield from _embed_windows(in_work, embed)
        else:
            for passage in document.passages:
                waiting.append((in_work, passage))
                if len(waiting) == GROUP:
                    yield from _embed_group(waiting, embed)
                    waiting.clear()
    if waiting:
        yield from _embed_group(waiting, embed)


@dataclass(slots=True)
class _InWork:
    """A document that is partly embedded."""

    document: CutDocument
    done: int = 0
    embeddings: list[Embeddings] = field(default_factory=list)
    owners: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, passages: int, vectors: Vectors) -> EmbeddedPart:
        """Add the vectors of the next passages."""
        self.embeddings.append(vectors.embeddings)
        self.owners.append(vectors.owners + self.done)
        self.done += passages
        share = passages / len(self.document.passages) if passages else 1.0
        return EmbeddedPart(
            passages, len(vectors.owners), share * self.document.size, self._complete()
        )

    def _complete(self) -> EmbeddedDocument | None:
        document, passages = self.document, self.document.passages
        if self.done < len(passages):
            return None
        owners = np.concatenate(self.owners)
        heard, owners = np.unique(owners, return_inverse=True)
        return EmbeddedDocument(
            document.source,
            document.digest,
            tuple(passages[number] for number in heard),
            np.concatenate(self.embeddings),
            owners.astype(np.int64),
        )


def _embed_windows(in_work: _InWork, embed: Embed) -> Iterator[EmbeddedPart]:
    """Embed a recording alone; a document without passages yields one empty part."""
    document = in_work.document
    for first in range(0, max(1, len(document.passages)), WINDOWS):
        window = slice(first, first + WINDOWS)
        batch = Batch(document.passages[window], document.clips[window])
        yield in_work.add(len(batch.passages), embed(batch))


def _embed_group(waiting: list[tuple[_InWork, Passage]], embed: Embed) -> Iterator[EmbeddedPart]:
    """Embed the waiting passages together and assign the vectors to their documents."""
    vectors = embed(Batch(tuple(passage for _, passage in waiting)))
    first = 0
    for _, group in groupby(waiting, key=lambda entry: id(entry[0])):
        entries = list(group)
        last = first + len(entries)
        rows = slice(*np.searchsorted(vectors.owners, [first, last]))
        own = Vectors(vectors.embeddings[rows], vectors.owners[rows] - first)
        yield entries[0][0].add(len(entries), own)
        first = last
