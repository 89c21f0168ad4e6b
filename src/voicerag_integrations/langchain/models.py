"""LangChain's embeddings and chat models as parts of voicerag."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel, BaseLLM

from voicerag_core import ConfigError, FunctionEmbedder

__all__ = ["LangChainChat", "LangChainEmbedder"]

_NAMES = ("model_name", "model", "model_id", "deployment", "repo_id")


class _Message(Protocol):
    @property
    def role(self) -> str: ...
    @property
    def content(self) -> str: ...


class LangChainEmbedder(FunctionEmbedder):
    """An app's embeddings as a `voicerag_core.TextEmbedder`.

    ``embed_documents`` makes the vectors of passages, ``embed_query`` those of questions. Pass it
    to `voicerag_core.open_voicerag` or to `voicerag_core.HearingEmbedder`, which adds speech.

    Args:
        embeddings: The embeddings.
        model_id: Name of the model; None takes that of the embeddings.
        query_prefix: Put before questions, where the embeddings do not add what the model expects.
        passage_prefix: Put before texts of documents.

    Raises:
        ConfigError: Something else than LangChain's embeddings was given.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        *,
        model_id: str | None = None,
        query_prefix: str = "",
        passage_prefix: str = "",
    ) -> None:
        if not isinstance(embeddings, Embeddings):
            raise ConfigError(
                f"LangChainEmbedder takes LangChain's Embeddings, not a {type(embeddings).__name__}"
            )
        self.embeddings = embeddings
        super().__init__(
            embeddings.embed_documents,
            embeddings.embed_query,
            model_id=model_id or _name(embeddings),
            query_prefix=query_prefix,
            passage_prefix=passage_prefix,
        )


class LangChainChat:
    """An app's chat model for `voicerag_core.open_voicerag(chat=...)`, streamed.

    Args:
        model: A chat model, or an LLM.

    Raises:
        ConfigError: Something else than a model was given.
    """

    def __init__(self, model: BaseChatModel | BaseLLM) -> None:
        if not isinstance(model, BaseChatModel | BaseLLM):
            raise ConfigError(
                f"LangChainChat takes a chat model of LangChain, not a {type(model).__name__}; a "
                "chain is given a voice by SpeechRunnable.over(chain)"
            )
        self.model = model

    def __call__(self, messages: Sequence[_Message]) -> Iterator[str]:
        """Stream the reply to messages."""
        asked = [(message.role, message.content) for message in messages]
        for chunk in self.model.stream(asked):
            yield chunk if isinstance(chunk, str) else chunk.text


def _name(embeddings: Embeddings) -> str:
    """Return the model's name, or that of the class where it has none."""
    for attribute in _NAMES:
        name = getattr(embeddings, attribute, None)
        if isinstance(name, str) and name:
            return name
    return type(embeddings).__name__
