"""The whole pipeline as a LangChain runnable."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Any, cast

from pydantic import Field

from voicerag_core import Answer, Strategy, VoiceRAG, check_cancelled
from voicerag_integrations.langchain.questions import VoiceInput, read_question
from voicerag_integrations.langchain.searching import search_options
from voicerag_integrations.langchain.streaming import AnswersInPieces

__all__ = ["VoiceRAGRunnable"]


class VoiceRAGRunnable(AnswersInPieces):
    """Answers a spoken or typed question from passages, in text and speech.

    The input is that of `SpeechRetriever`, or a conversation whose last message is the question.
    The sum of the outputs of `stream` equals that of `invoke`, with identical sound. Callbacks,
    tracers and events see a description in place of the sound; only `stream` and `invoke` return
    the sound itself.

    Args:
        rag: The pipeline; its owner closes it.
        output: ``answer`` for `voicerag_core.Answer`, ``message`` for an AIMessage.
        k: Maximum number of passages; None uses the pipeline's limit.
        filter: Metadata filter, as a dict or as a node of `voicerag_core.filters`.
        strategy: How a spoken question is searched; None uses the pipeline's.
        min_score: Minimum cosine similarity.
    """

    rag: VoiceRAG = Field(exclude=True, repr=False)
    k: int | None = Field(default=None, ge=1)
    filter: Any = None
    strategy: Strategy | None = None
    min_score: float | None = None

    def _pieces(self, given: VoiceInput, options: dict[str, Any]) -> Generator[Answer, None, None]:
        rag = self.rag
        asked = read_question(given, max_seconds=rag.max_question_seconds)
        chosen = search_options(self, {**asked.options, **options})
        check_cancelled()
        pieces = rag.stream(asked.question, history=asked.history, **chosen)
        with closing(cast("Generator[Answer, None, None]", pieces)):
            for piece in pieces:
                yield piece
                check_cancelled()
