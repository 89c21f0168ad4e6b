"""Stage 4, write: each document in one transaction."""

from __future__ import annotations

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
    return store.replace_document(
        document.source,
        document.digest,
        document.passages,
        document.embeddings,
        owners=document.owners,
    )
