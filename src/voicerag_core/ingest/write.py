"""Stage 4, write: each document in one transaction."""

from __future__ import annotations

from voicerag_core import telemetry
from voicerag_core.ingest.embed import EmbeddedDocument
from voicerag_core.ports import DocumentStore

__all__ = ["write_document"]


def write_document(store: DocumentStore, document: EmbeddedDocument) -> int:
    """Replace the passages of a document's source.

    Writing the same document twice changes nothing, so an interrupted worker may repeat it.

    Returns:
        How many passages were new, changed or deleted.

    Raises:
        StoreError: The database failed.
    """
    with telemetry.stage("voicerag.write", {"db.operation.name": "replace_document"}):
        changed = store.replace_document(
            document.source,
            document.digest,
            document.passages,
            document.embeddings,
            owners=document.owners,
        )
    telemetry.count("voicerag.index.documents", 1)
    telemetry.count("voicerag.index.passages", len(document.passages))
    return changed
