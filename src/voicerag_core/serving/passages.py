"""A passage with its surroundings in the document."""

from __future__ import annotations

from collections.abc import Sequence

from voicerag_core.errors import ConfigError, NotFoundError
from voicerag_core.filters import Eq
from voicerag_core.rag import VoiceRAG
from voicerag_core.serving.values import PassageInDocument
from voicerag_core.types import Passage

__all__ = ["passage_in_document"]

_MOST_NEIGHBOURS = 40
_MOST_CHARS = 40_000


def passage_in_document(rag: VoiceRAG, passage_id: str) -> PassageInDocument:
    """Return a passage and its surroundings in the document.

    Raises:
        ConfigError: The id is not valid.
        NotFoundError: There is no such passage.
    """
    if "\0" in passage_id:
        raise ConfigError("the id of a passage holds no NUL character")
    passages = rag.store.get([passage_id])
    if not passages:
        raise NotFoundError(f"there is no passage {passage_id[:200]!r}")
    (passage,) = passages
    document = [passage]
    if passage.source:
        found = rag.store.search(
            rag.embedder.embed_passages([passage.text])[0],
            limit=_MOST_NEIGHBOURS,
            where=Eq("source", passage.source),
        )
        document = sorted((hit.passage for hit in found), key=_position)
    return PassageInDocument(passage, _around(passage, document))


def _around(passage: Passage, document: Sequence[Passage]) -> tuple[Passage, ...]:
    """Return as many passages of a document around the given one as fit."""
    ids = [one.id for one in document]
    middle = ids.index(passage.id) if passage.id in ids else 0
    chosen = {}
    room = _MOST_CHARS
    for index in sorted(range(len(document)), key=lambda i: abs(i - middle)):
        room -= len(document[index].text)
        if room < 0:
            break
        chosen[index] = document[index]
    return tuple(chosen[index] for index in sorted(chosen))


def _position(passage: Passage) -> float:
    place = passage.metadata.get("position")
    return float(place) if isinstance(place, int | float) else 0.0
