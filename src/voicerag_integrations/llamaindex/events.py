"""Instrumentation events of voicerag, in addition to those of LlamaIndex."""

from __future__ import annotations

from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.events.base import BaseEvent

__all__ = ["SpeechAnswerEvent", "SpeechRetrievalEvent", "dispatcher"]

dispatcher = get_dispatcher("voicerag_integrations.llamaindex")


class SpeechRetrievalEvent(BaseEvent):
    """Fired when a question was searched.

    Args:
        strategy: The search strategy.
        transcript: The transcript, if the strategy needed one.
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
    """Fired when a question was answered, or the answer was abandoned.

    Args:
        text: The answer's text.
        answered: False if the documents do not answer.
        audio_seconds: Length of its speech.
        timings: Seconds by stage.
        complete: False if the stream was closed early.
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
