"""Passages as LangChain documents, and back."""

from __future__ import annotations

from langchain_core.documents import Document

from voicerag_core import Hit, Passage

__all__ = ["found_document", "passage_document"]


def passage_document(passage: Passage) -> Document:
    """Return a passage as stored: id, text and metadata."""
    return Document(id=passage.id, page_content=passage.text, metadata=dict(passage.metadata))


def found_document(hit: Hit) -> Document:
    """Return a hit, with ``score``, ``rank`` and ``passage_id`` added to its metadata."""
    found = {
        **hit.passage.metadata,
        "score": hit.score,
        "rank": hit.rank,
        "passage_id": hit.passage.id,
    }
    return Document(id=hit.passage.id, page_content=hit.passage.text, metadata=found)
