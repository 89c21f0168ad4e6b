"""A LangChain retriever that takes spoken and typed questions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.runnables import RunnableConfig
from langchain_core.vectorstores import VectorStore
from pydantic import Field, field_validator, model_validator

from voicerag_core import ConfigError, Ears, Strategy, VoiceRAG, ears_of
from voicerag_core.aio import run_in_thread
from voicerag_integrations.langchain.components import TakesQuestions
from voicerag_integrations.langchain.documents import found_document
from voicerag_integrations.langchain.hearing import (
    QUESTION,
    HearingRetriever,
    hearing_retriever,
)
from voicerag_integrations.langchain.questions import VoiceInput, read_question
from voicerag_integrations.langchain.redaction import redacted
from voicerag_integrations.langchain.searching import search_options

__all__ = ["SpeechRetriever"]


class SpeechRetriever(TakesQuestions, BaseRetriever):
    """Finds passages for a spoken or typed question.

    The question may be words, a sound file as bytes or path, `voicerag_core.Audio`, a human message
    or a content block with text or audio, or a dict with ``question``. A document carries ``score``
    and ``passage_id`` in its metadata, and ``question``, the words of a spoken question, if the
    search needed them. Tracers see a description in place of the sound. `k`,
    `filter`, `strategy` and `min_score` may also be passed to each call.

    Args:
        rag: The pipeline; its owner closes it.
        k: Maximum number of documents; None uses the pipeline's limit.
        filter: Metadata filter, as a dict or as a node of `voicerag_core.filters`.
        strategy: How a spoken question is searched; None uses the pipeline's.
        min_score: Minimum cosine similarity.
        diversity: 0..1; above 0 re-ranks by maximal marginal relevance.
    """

    rag: VoiceRAG = Field(exclude=True, repr=False)
    k: int | None = Field(default=None, ge=1)
    filter: Any = None
    strategy: Strategy | None = None
    min_score: float | None = None
    diversity: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, values: dict[str, Any]) -> dict[str, Any]:
        if "rag" not in values and {"retriever", "vectorstore"} & values.keys():
            raise ConfigError(
                "SpeechRetriever has no parameter for a retriever of your own; did you mean "
                "SpeechRetriever.over(retriever)?"
            )
        return values

    @field_validator("rag", mode="before")
    @classmethod
    def _check_rag(cls, given: object) -> object:
        if isinstance(given, VectorStore | BaseRetriever):
            raise ConfigError(
                f"rag is a VoiceRAG, not a {type(given).__name__}; did you mean "
                f"SpeechRetriever.over({type(given).__name__}(...))?"
            )
        return given

    @classmethod
    def over(
        cls,
        target: VectorStore | BaseRetriever,
        *,
        hear: Ears | VoiceRAG | None = None,
        search_kwargs: Mapping[str, Any] | None = None,
    ) -> HearingRetriever:
        """Put ears in front of a vector store or retriever of an app; no database is touched.

        A vector store, or a retriever made by its ``as_retriever``, is searched by the sound
        itself, with its own embeddings and nothing indexed anew; any other retriever gets the
        transcript.

        Args:
            target: The app's vector store or retriever.
            hear: Ears, or a pipeline; None opens new ones, which are closed with the retriever.
            search_kwargs: Options of every search in a vector store, such as k and filter.

        Raises:
            ConfigError: It is neither.
        """
        return hearing_retriever(target, ears_of(hear), search_kwargs or {})

    def invoke(
        self,
        input: VoiceInput,  # noqa: A002 - named by LangChain
        config: RunnableConfig | None = None,
        **kwargs: Any,  # noqa: ANN401 - k, filter, strategy, min_score
    ) -> list[Document]:
        """Find the documents for a question.

        Raises:
            AudioError: The sound cannot be used.
            ConfigError: The question is empty or of an unknown form, or an option is unknown.
            FilterError: The filter is invalid.
            StoreError: The store is closed or failed.
        """
        return super().invoke(redacted(input), config, asked=input, **kwargs)

    async def ainvoke(
        self,
        input: VoiceInput,  # noqa: A002 - named by LangChain
        config: RunnableConfig | None = None,
        **kwargs: Any,  # noqa: ANN401 - k, filter, strategy, min_score
    ) -> list[Document]:
        """Find the documents for a question in a thread; see `invoke`."""
        return await super().ainvoke(redacted(input), config, asked=input, **kwargs)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun | None = None,
        asked: VoiceInput | None = None,
        **options: Any,  # noqa: ANN401
    ) -> list[Document]:
        del run_manager
        return self._documents(query if asked is None else asked, options)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun | None = None,
        asked: VoiceInput | None = None,
        **options: Any,  # noqa: ANN401
    ) -> list[Document]:
        del run_manager
        return await run_in_thread(self._documents, query if asked is None else asked, options)

    def _documents(self, given: VoiceInput, options: dict[str, Any]) -> list[Document]:
        rag = self.rag
        asked = read_question(given, max_seconds=rag.max_question_seconds)
        chosen = search_options(self, {**asked.options, **options})
        found = rag.retrieve(asked.question, **chosen)
        documents = [found_document(hit) for hit in found.hits]
        if found.transcription is not None:
            for document in documents:
                document.metadata[QUESTION] = found.transcription.text
        return documents

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:  # noqa: ANN401
        del kwargs
        return LangSmithRetrieverParams(
            ls_retriever_name="voicerag",
            ls_vector_store_provider=type(self.rag.store).__name__,
            ls_embedding_provider=type(self.rag.embedder).__name__,
            ls_embedding_model=self.rag.embedder.model_id,
        )
