"""A query bundle that carries sound through components that only handle text."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeAlias

from llama_index.core.schema import QueryBundle

from voicerag_core import MAX_SECONDS, SPEECH_RATE_HZ, Audio, Transcription, read_audio, resample

__all__ = ["ClipSource", "SpeechQueryBundle", "as_bundle", "read_clip"]

ClipSource: TypeAlias = Audio | bytes | os.PathLike[str]
"""Sound as `Audio`, as the bytes of an audio file, or as a path. A str is always text."""


@dataclass
class SpeechQueryBundle(QueryBundle):
    """A spoken question for routers, fusion, transforms and query engines.

    Events and traces serialized as JSON contain only the fields of `QueryBundle`, never the sound.

    Args:
        query_str: The question as text if known; "" until then. `SpeechRetriever`
            sets it to the transcript if its strategy makes one.
        audio: The question as sound.
        transcription: The transcription, so that nothing is transcribed twice.
    """

    query_str: str = ""
    audio: ClipSource | None = None
    transcription: Transcription | None = None

    def clip(self, *, max_seconds: float = MAX_SECONDS) -> Audio | None:
        """Read the sound at 16 kHz; None if there is none.

        Raises:
            AudioError: It cannot be used.
        """
        return None if self.audio is None else read_clip(self.audio, max_seconds=max_seconds)

    def hear(self, transcription: Transcription) -> None:
        """Record the transcription, for the components that follow."""
        self.transcription = transcription
        self.query_str = self.query_str or transcription.text

    def __repr__(self) -> str:
        """Show the set fields, but not the sound."""
        sound = f"{len(self.audio)} bytes" if isinstance(self.audio, bytes) else repr(self.audio)
        vector = "" if self.embedding is None else f", embedding=[{len(self.embedding)}]"
        return f"SpeechQueryBundle({self.query_str!r}, audio={sound}{vector})"

    def __str__(self) -> str:
        """Show only the text."""
        return self.query_str


def read_clip(source: ClipSource, *, max_seconds: float = MAX_SECONDS) -> Audio:
    """Return sound at 16 kHz; `VoiceRAG` checks whether it is a valid question.

    Raises:
        AudioError: It cannot be read, or is too long.
    """
    if isinstance(source, Audio):
        return resample(source, SPEECH_RATE_HZ)
    return read_audio(source, max_seconds=max_seconds)


def as_bundle(question: str | QueryBundle | ClipSource) -> QueryBundle:
    """Wrap a question of any form."""
    if isinstance(question, QueryBundle):
        return question
    if isinstance(question, str):
        return QueryBundle(question)
    return SpeechQueryBundle(audio=question)
