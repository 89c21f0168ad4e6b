"""Results of the tools: typed values, and text for the assistant."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Literal, TypeAlias
from urllib.parse import quote, urlencode

from mcp_types import (
    Annotations,
    AudioContent,
    CallToolResult,
    ContentBlock,
    ResourceLink,
    TextContent,
)
from pydantic import BaseModel, Field

from voicerag_core import Answer, Hit, cited_place
from voicerag_core.serving import KeptSpeech

__all__ = [
    "AskResult",
    "AudioOutput",
    "CitedSource",
    "CollectionsResult",
    "FoundPassage",
    "IngestResult",
    "SearchResult",
    "SpeakResult",
    "SpokenAudio",
    "StatusResult",
    "TranscribeResult",
    "answer_text",
    "cited_sources",
    "found_passages",
    "listed",
    "result",
    "source_uri",
    "speech_content",
    "spoken_audio",
    "where_spoken",
]

AudioOutput: TypeAlias = Literal["link", "none", "inline", "file"]

MOST_CHARS = 16_000
"""Characters of passages in one result; it is sent as text and as structured content."""

MOST_INLINE_BYTES = 2_000_000
"""Bytes of sound in one result; longer speech is linked."""


class FoundPassage(BaseModel):
    """A passage that a search found."""

    id: str
    title: str = Field(description="Title of the passage's document, or its source")
    source: str = Field(description="Where the document comes from: a path, a URL or a name")
    uri: str = Field(description="Resource with the passage and its surroundings")
    text: str
    score: float = Field(description="Cosine similarity to the question, -1..1")
    rank: int = Field(description="Position in the ranking by vector and words, from 1")
    found_by: list[str] = Field(description="Nearest vector, matching words, or both")


class SearchResult(BaseModel):
    """The passages found for a question."""

    passages: list[FoundPassage] = Field(description="Best first")
    collection: str
    transcript: str | None = Field(
        default=None, description="Transcript of the spoken question, if known"
    )
    notes: list[str] = Field(
        default_factory=list, description="What of the search did not go as it was set"
    )
    seconds: float


class CitedSource(BaseModel):
    """A passage that the answer is based on."""

    passage_id: str
    title: str
    source: str = Field(description="File, URL or name, with the fragment of the quote's place")
    path: list[str] = Field(default_factory=list, description="Headings above the quote")
    link: str | None = Field(default=None, description="URL that opens the document at the quote")
    uri: str
    quote: str


class SpokenAudio(BaseModel):
    """Location of the speech."""

    uri: str | None = Field(default=None, description="Resource with the sound, kept temporarily")
    clip_id: str | None = Field(default=None, description="Id of the clip, for other tools")
    path: str | None = Field(default=None, description="File on the server's machine")
    mime_type: str = "audio/wav"
    seconds: float
    bytes: int


class AskResult(BaseModel):
    """An answer with its sources."""

    answer: str
    answered: bool = Field(description="False when the documents do not answer the question")
    asked_back: bool = Field(
        default=False,
        description="True when the spoken question was not heard well and the answer asks back",
    )
    sources: list[CitedSource]
    passages: list[FoundPassage] = Field(description="The passages that the answer is based on")
    collection: str
    transcript: str | None = None
    notes: list[str] = Field(
        default_factory=list, description="What could not be done as it was asked or set"
    )
    audio: SpokenAudio | None = None
    seconds: float


class TranscribeResult(BaseModel):
    """The transcript of a clip."""

    text: str
    audio_seconds: float
    seconds: float


class SpeakResult(BaseModel):
    """Location of the speech."""

    audio: SpokenAudio
    seconds: float


class IngestResult(BaseModel):
    """The result of an ingestion."""

    collection: str
    sources: int = Field(description="Documents that were new or changed")
    unchanged: int
    removed: int = Field(description="Documents whose files were deleted")
    passages: int = Field(description="Passages written or deleted")
    failures: list[str] = Field(description="What could not be used, and why")
    seconds: float


class CollectionEntry(BaseModel):
    """A collection of the knowledge base."""

    name: str
    passages: int
    documents: int
    default: bool


class CollectionsResult(BaseModel):
    """The collections that the caller may ask."""

    collections: list[CollectionEntry]


class StatusResult(BaseModel):
    """The state of the server."""

    version: str
    stack: str
    database: str = Field(description="'ok', or what is wrong with it")
    collection: str = Field(description="The default collection")
    passages: int | None = Field(default=None, description="Passages in the default collection")
    strategy: str
    speaks: bool
    read_only: bool
    may_write: bool
    takes_paths: bool = Field(description="Whether calls may name files of the server")
    max_question_seconds: float
    max_audio_bytes: int
    clip_minutes: float
    workers: int = Field(description="Calls that may run at this moment")
    running: int = Field(description="Calls that run")
    waiting: int = Field(description="Calls that wait for a worker")
    model_capacity: int = Field(description="Answers that the model writes at a time")
    model_running: int
    model_waiting: int
    out_of_service: tuple[str, ...] = Field(description="Parts of the model that failed")


def result(value: BaseModel, text: str, *, links: Sequence[ContentBlock] = ()) -> CallToolResult:
    """Return a result of text, the typed value and links; none of them contains sound."""
    return CallToolResult(
        content=[TextContent(type="text", text=text), *links],
        structured_content=value.model_dump(mode="json"),
    )


def source_uri(passage_id: str, collection: str | None) -> str:
    """Return the URI of a passage; None is the default collection."""
    query = f"?{urlencode({'collection': collection}, quote_via=quote)}" if collection else ""
    return f"voicerag://source/{quote(passage_id, safe='')}{query}"


def found_passages(hits: Sequence[Hit], collection: str | None) -> list[FoundPassage]:
    """Return hits as values, with texts shortened so that all of them fit into a result."""
    room = MOST_CHARS // max(1, len(hits))
    return [
        FoundPassage(
            id=hit.passage.id,
            title=_cut(hit.passage.title, 200),
            source=_cut(hit.passage.source, 500),
            uri=source_uri(hit.passage.id, collection),
            text=_cut(hit.passage.text, room),
            score=round(hit.score, 4),
            rank=hit.rank,
            found_by=list(hit.matched_by),
        )
        for hit in hits
    ]


def cited_sources(answer: Answer, collection: str | None) -> list[CitedSource]:
    """Return the citations of an answer with their sources."""
    passages = {hit.passage.id: hit.passage for hit in answer.hits}
    sources = []
    for citation in answer.citations[:20]:
        passage = passages.get(citation.passage_id)
        if passage is None:
            continue
        place = cited_place(passage, citation)
        sources.append(
            CitedSource(
                passage_id=passage.id,
                title=_cut(passage.title, 200),
                source=_cut(place.source, 500),
                path=[_cut(name, 200) for name in place.path],
                link=place.link or None,
                uri=source_uri(passage.id, collection),
                quote=_cut(place.quote, 1000),
            )
        )
    return sources


def listed(passages: Sequence[FoundPassage]) -> str:
    """Return passages as text that an assistant can cite from."""
    if not passages:
        return "Nothing was found."
    return "\n\n".join(
        f"[{number}] {one.title} (score {one.score:.3f}, {one.uri})\n{one.text}"
        for number, one in enumerate(passages, 1)
    )


def answer_text(value: AskResult) -> str:
    """Return an answer as text: the answer, its sources, and the location of its speech."""
    lines = [value.answer]
    if value.sources:
        lines += ["", "Sources:"]
        lines += [
            f"[{number}] {' > '.join(dict.fromkeys([one.title, *one.path[-2:]]))} ({one.uri}): "
            f"“{one.quote}”"
            for number, one in enumerate(value.sources, 1)
        ]
    if value.notes:
        lines += ["", *value.notes]
    if value.audio is not None:
        lines += ["", where_spoken(value.audio)]
    return "\n".join(lines)


def where_spoken(spoken: SpokenAudio) -> str:
    """Return a line with the location of speech."""
    return f"Speech, {spoken.seconds:.1f} s: {spoken.path or spoken.uri}"


def spoken_audio(speech: KeptSpeech) -> SpokenAudio:
    """Return the location of speech, as a value."""
    return SpokenAudio(
        uri=None if speech.clip is None else speech.clip.uri,
        clip_id=None if speech.clip is None else speech.clip.id,
        path=None if speech.path is None else str(speech.path),
        seconds=round(speech.seconds, 3),
        bytes=speech.size,
    )


def speech_content(speech: KeptSpeech | None, name: str, *, inline: bool) -> list[ContentBlock]:
    """Return the link to stored speech, or the sound itself; nothing for a file.

    Many clients cannot handle sound, so it is sent only on request.
    """
    if speech is None or speech.clip is None:
        return []
    if inline and speech.size <= MOST_INLINE_BYTES:
        data = base64.b64encode(speech.clip.wav).decode()
        return [AudioContent(type="audio", data=data, mime_type="audio/wav")]
    return [
        ResourceLink(
            type="resource_link",
            uri=speech.clip.uri,
            name=f"{name}.wav",
            title=f"Speech, {speech.seconds:.1f} s",
            mime_type="audio/wav",
            size=speech.size,
            annotations=Annotations(audience=["user"]),
        )
    ]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
