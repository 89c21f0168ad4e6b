"""Stages 2 to 4 by somebody else: an engine runs read, embed and write in processes of its own.

The driver plans, hands the sources to the engine, counts what comes back, and removes what
vanished. A worker of the engine calls `index_sources` with a store and a model of its own. Doing a
source twice changes nothing, so an engine may repeat what was lost with a machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from voicerag_core.errors import VoiceRAGError
from voicerag_core.ingest.digests import Cutting
from voicerag_core.ingest.embed import BatchEmbedding, embed_documents
from voicerag_core.ingest.plan import Source
from voicerag_core.ingest.read import CutDocument, read_sources
from voicerag_core.ingest.write import write_document
from voicerag_core.ports import DocumentStore

__all__ = ["Engine", "Indexed", "index_sources"]


@dataclass(frozen=True, slots=True)
class Indexed:
    """What became of one source.

    Args:
        source: Its key in the store.
        size: Bytes.
        passages: How many it has.
        changed: How many of them were written, or deleted.
        vectors: How many were computed.
        failure: Why it could not be read; then its content in the store is as before.
        notices: What of it was not read or had to be guessed.
    """

    source: str
    size: int
    passages: int = 0
    changed: int = 0
    vectors: int = 0
    failure: VoiceRAGError | None = None
    notices: tuple[str, ...] = ()


Engine: TypeAlias = Callable[[Sequence[Source], Cutting], Iterator[Indexed]]
"""Reads, embeds and writes sources, in any order, and yields what became of each, once."""


def index_sources(
    store: DocumentStore, embed: BatchEmbedding, sources: Sequence[Source], cutting: Cutting
) -> Iterator[Indexed]:
    """Read, embed and write sources in this process; yield each when it is written.

    Raises:
        ModelError: The embedder failed.
        StoreError: The database failed.
    """
    sizes = {source.source: source.size for source in sources}
    notices: dict[str, tuple[str, ...]] = {}
    failed: list[Indexed] = []

    def fail(source: Source, error: VoiceRAGError) -> None:
        failed.append(Indexed(source.source, source.size, failure=error))

    def noted() -> Iterator[CutDocument]:
        for document in read_sources(sources, cutting, fail):
            notices[document.source] = document.notices
            yield document

    for part in embed_documents(noted(), embed):
        document = part.document
        if document is None:
            continue
        changed = write_document(store, document)
        yield Indexed(
            document.source,
            sizes[document.source],
            len(document.passages),
            changed,
            len(document.owners),
            notices=notices[document.source],
        )
    yield from failed
