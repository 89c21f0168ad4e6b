"""Instrumentation events of voicerag, beside those that every LlamaIndex component fires."""

from __future__ import annotations

from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.events.base import BaseEvent

__all__ = ["SpeechAnswerEvent", "SpeechRetrievalEvent", "dispatcher"]

dispatcher = get_dispatcher("voicerag_integrations.llamaindex")


class SpeechRetrievalEvent(BaseEvent):
    """A question was searched.

    Args:
        strategy: How.
        transcript: What was heard, if the strategy needed words.
        hits: How many passages were found.
        timings: Seconds by stage.
    """

    strategy: str
    transcript: str | None
    hits: int
    timings: dict[str, float]

    @classmethod
    def class_name(cls) -> str:
        """Return the name in traces."""
        return "SpeechRetrievalEvent"


class SpeechAnswerEvent(BaseEvent):
    """A question was answered, or its answer abandoned.

    Args:
        text: The answer's words.
        answered: False when the documents do not answer.
        audio_seconds: Length of its speech.
        timings: Seconds by stage.
        complete: False when the stream was closed early.
    """

    text: str
    answered: bool
    audio_seconds: float
    timings: dict[str, float]
    complete: bool

    @classmethod
    def class_name(cls) -> str:
        """Return the name in traces."""
        return "SpeechAnswerEvent"
