"""Passages and sources of an answer as plain JSON."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from pydantic import BaseModel, Field, JsonValue

from voicerag_core import Answer, Hit, cited_place

__all__ = ["FoundPassage", "Source", "found_passages", "sources_of", "url_citations"]


class FoundPassage(BaseModel):
    """A passage that a search found."""

    id: str
    title: str = Field(description="Title of the passage's document, or its source")
    source: str = Field(description="Where the document comes from: a path, a URL or a name")
    text: str
    score: float = Field(description="Cosine similarity to the question, -1..1")
    rank: int = Field(description="Position in the ranking by vector and words, from 1")
    found_by: list[str] = Field(description="Nearest vector, matching words, or both")
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


class Source(BaseModel):
    """A place that an answer is based on."""

    passage_id: str
    title: str
    source: str = Field(description="File, URL or name, with the fragment of the quote's place")
    path: list[str] = Field(default_factory=list, description="Headings above the quote")
    link: str | None = Field(default=None, description="URL that opens the document at the quote")
    quote: str
    start: int = Field(description="First character of the quote in the passage's text")
    end: int = Field(description="One past its last character")
    start_seconds: float | None = Field(
        default=None, description="Where the passage begins in its recording"
    )


def found_passages(hits: Sequence[Hit]) -> list[FoundPassage]:
    """Return hits as JSON values."""
    return [
        FoundPassage(
            id=hit.passage.id,
            title=hit.passage.title,
            source=hit.passage.source,
            text=hit.passage.text,
            score=round(hit.score, 4),
            rank=hit.rank,
            found_by=list(hit.matched_by),
            metadata=dict(hit.passage.metadata),
        )
        for hit in hits
    ]


def sources_of(answer: Answer) -> list[Source]:
    """Return the cited places of an answer."""
    passages = {hit.passage.id: hit.passage for hit in answer.hits}
    found = []
    for citation in answer.citations:
        passage = passages.get(citation.passage_id)
        if passage is None:
            continue
        place = cited_place(passage, citation)
        seconds = passage.metadata.get("start_seconds")
        found.append(
            Source(
                passage_id=passage.id,
                title=passage.title,
                source=place.source,
                path=list(place.path),
                link=place.link or None,
                quote=place.quote,
                start=citation.start,
                end=citation.end,
                start_seconds=float(seconds) if isinstance(seconds, int | float) else None,
            )
        )
    return found


def url_citations(answer: Answer) -> list[dict[str, object]]:
    """Return the sources as annotations of a chat message, in OpenAI's form."""
    return [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": 0,
                "end_index": len(answer.text),
                "title": source.title,
                "url": source.link or f"voicerag://passage/{quote(source.passage_id, safe='')}",
            },
        }
        for source in sources_of(answer)
    ]
