"""Input and output as JSON schemas for tools, servers and graphs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

__all__ = ["VoiceAnswer", "VoiceQuestion"]


class AudioBlock(BaseModel):
    """A sound file in base64, or bare PCM with ``audio/pcm;rate=16000``."""

    model_config = ConfigDict(extra="allow")

    type: Literal["audio"]
    base64: str
    mime_type: str


class QuestionWithOptions(BaseModel):
    """A question with its search options."""

    model_config = ConfigDict(extra="forbid")

    question: str | AudioBlock
    history: list[Any] = []
    k: int | None = Field(default=None, ge=1)
    filter: dict[str, Any] | None = None
    strategy: str | None = None
    min_score: float | None = None


class VoiceQuestion(RootModel[str | AudioBlock | QuestionWithOptions | list[Any]]):
    """Text, an audio block, a question with options, or messages that end in a question."""


class Source(BaseModel):
    """A passage that was found."""

    passage: dict[str, Any]
    score: float


class VoiceAnswer(BaseModel):
    """An answer: `voicerag_core.Answer` without its sound."""

    text: str
    hits: list[Source]
    answered: bool
    transcript: str | None = None
