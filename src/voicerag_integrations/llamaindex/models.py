"""LlamaIndex's embedding models and LLMs as parts of voicerag."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.llms import LLM

from voicerag_core import ConfigError, FunctionEmbedder

__all__ = ["LlamaIndexChat", "LlamaIndexEmbedder"]


class _Message(Protocol):
    @property
    def role(self) -> str: ...
    @property
    def content(self) -> str: ...


class LlamaIndexEmbedder(FunctionEmbedder):
    """An app's embedding model as a `voicerag_core.TextEmbedder`.

    ``get_text_embedding_batch`` makes the vectors of passages, ``get_query_embedding`` those of
    questions. Pass it to `voicerag_core.open_voicerag` or to `voicerag_core.HearingEmbedder`, which
    adds speech.

    Args:
        embed_model: The model.
        model_id: Name of the model; None takes that of the model.
        query_prefix: Put before questions, where the model does not add what it expects.
        passage_prefix: Put before texts of documents.

    Raises:
        ConfigError: Something else than an embedding model of LlamaIndex was given.
    """

    def __init__(
        self,
        embed_model: BaseEmbedding,
        *,
        model_id: str | None = None,
        query_prefix: str = "",
        passage_prefix: str = "",
    ) -> None:
        if not isinstance(embed_model, BaseEmbedding):
            raise ConfigError(
                "LlamaIndexEmbedder takes an embedding model of LlamaIndex, not a "
                f"{type(embed_model).__name__}"
            )
        self.embed_model = embed_model
        named = embed_model.model_name not in ("", "unknown")
        super().__init__(
            embed_model.get_text_embedding_batch,
            embed_model.get_query_embedding,
            model_id=model_id or (embed_model.model_name if named else type(embed_model).__name__),
            query_prefix=query_prefix,
            passage_prefix=passage_prefix,
        )


class LlamaIndexChat:
    """An app's LLM for `voicerag_core.open_voicerag(chat=...)`, streamed.

    Args:
        llm: The language model.

    Raises:
        ConfigError: Something else than an LLM was given.
    """

    def __init__(self, llm: LLM) -> None:
        if not isinstance(llm, LLM):
            raise ConfigError(
                f"LlamaIndexChat takes an LLM of LlamaIndex, not a {type(llm).__name__}; a query "
                "engine is given a voice by SpeechQueryEngine.over(query_engine)"
            )
        self.llm = llm

    def __call__(self, messages: Sequence[_Message]) -> Iterator[str]:
        """Stream the reply to messages."""
        asked = [
            ChatMessage(role=MessageRole(message.role), content=message.content)
            for message in messages
        ]
        for chunk in self.llm.stream_chat(asked):
            yield chunk.delta or ""
