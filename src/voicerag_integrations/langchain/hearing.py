"""Spoken questions for retrievers, vector stores and chains that know only words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from langchain_core.vectorstores import VectorStore, VectorStoreRetriever
from pydantic import ConfigDict, Field, PrivateAttr

from voicerag_core import Audio, ConfigError, Ears, HearingEmbedder, ears_of
from voicerag_core.aio import run_in_thread
from voicerag_integrations.langchain.components import TakesQuestions
from voicerag_integrations.langchain.models import LangChainEmbedder
from voicerag_integrations.langchain.questions import VoiceInput, read_question
from voicerag_integrations.langchain.redaction import redacted

__all__ = ["QUESTION", "HearingRetriever", "SpeechToQuestion", "hearing_retriever"]

QUESTION = "question"
"""Metadata key of the words of a spoken question."""

_BY_VECTOR = {
    "similarity": "similarity_search_by_vector",
    "mmr": "max_marginal_relevance_search_by_vector",
}
"""Search types that a vector store offers for a ready vector, and the method of each."""


class HearingRetriever(TakesQuestions, BaseRetriever):
    """Lets an app's retriever or vector store be asked by sound; made by `SpeechRetriever.over`.

    A vector store is searched by the sound itself: likely wordings are embedded with the store's
    own embeddings. Any other retriever gets the transcript. Typed questions go through as they are.
    The documents found for a spoken question carry its words in their metadata, as ``question``.

    Args:
        retriever: The app's.
        ears: Hear.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    retriever: BaseRetriever = Field(exclude=True, repr=False)
    ears: Ears = Field(exclude=True, repr=False)
    _embedder: HearingEmbedder | None = PrivateAttr(default=None)

    def model_post_init(self, context: object) -> None:
        """Find out whether the retriever can be asked by a vector."""
        super().model_post_init(context)
        found = self.retriever
        if (
            isinstance(found, VectorStoreRetriever)
            and found.search_type in _BY_VECTOR
            and self.ears.recognizer is not None
            and found.vectorstore.embeddings is not None
        ):
            self._embedder = HearingEmbedder(
                LangChainEmbedder(found.vectorstore.embeddings), self.ears
            )

    @property
    def by_sound(self) -> bool:
        """Whether spoken questions are searched by a vector, without a transcript."""
        return self._embedder is not None

    def invoke(
        self,
        input: VoiceInput,  # noqa: A002 - named by LangChain
        config: RunnableConfig | None = None,
        **kwargs: Any,  # noqa: ANN401 - options of the app's retriever
    ) -> list[Document]:
        """Find the documents for a question.

        Raises:
            AudioError: The sound cannot be used.
            ConfigError: The question is empty or of an unknown form.
            ModelError: A model failed.
        """
        return super().invoke(redacted(input), config, asked=input, **kwargs)

    async def ainvoke(
        self,
        input: VoiceInput,  # noqa: A002 - named by LangChain
        config: RunnableConfig | None = None,
        **kwargs: Any,  # noqa: ANN401 - options of the app's retriever
    ) -> list[Document]:
        """Find the documents for a question; see `invoke`."""
        return await super().ainvoke(redacted(input), config, asked=input, **kwargs)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun | None = None,
        asked: VoiceInput | None = None,
        **options: Any,  # noqa: ANN401
    ) -> list[Document]:
        question = self._question(query if asked is None else asked)
        config: RunnableConfig = {"callbacks": run_manager.get_child()} if run_manager else {}
        if isinstance(question, str):
            return self.retriever.invoke(question, config, **options)
        if self._embedder is not None:
            return self._by_sound(question, options)
        words = self.ears.transcribe(question).text
        return _with_question(self.retriever.invoke(words, config, **options), words)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun | None = None,
        asked: VoiceInput | None = None,
        **options: Any,  # noqa: ANN401
    ) -> list[Document]:
        question = await run_in_thread(self._question, query if asked is None else asked)
        config: RunnableConfig = {"callbacks": run_manager.get_child()} if run_manager else {}
        if isinstance(question, str):
            return await self.retriever.ainvoke(question, config, **options)
        if self._embedder is not None:
            return await run_in_thread(self._by_sound, question, options)
        heard = await run_in_thread(self.ears.transcribe, question)
        found = await self.retriever.ainvoke(heard.text, config, **options)
        return _with_question(found, heard.text)

    def _question(self, given: VoiceInput) -> Audio | str:
        asked = read_question(given, max_seconds=self.ears.max_question_seconds)
        if asked.options:
            raise ConfigError(
                f"the option {', '.join(sorted(asked.options))} is for a voicerag pipeline; give "
                "the options of this retriever to the retriever, or to invoke"
            )
        question = asked.question
        return self.ears.checked(question) if isinstance(question, Audio) else question

    def _by_sound(self, clip: Audio, options: Mapping[str, Any]) -> list[Document]:
        assert self._embedder is not None
        assert isinstance(self.retriever, VectorStoreRetriever)
        vector = self._embedder.embed_speech([clip])[0].tolist()
        search = getattr(self.retriever.vectorstore, _BY_VECTOR[self.retriever.search_type])
        found: list[Document] = search(vector, **{**self.retriever.search_kwargs, **options})
        return _with_question(found, self.ears.hear(clip).text)


def hearing_retriever(
    target: VectorStore | BaseRetriever, ears: Ears, search_kwargs: Mapping[str, Any]
) -> HearingRetriever:
    """Put ears in front of a vector store or a retriever.

    Raises:
        ConfigError: It is neither.
    """
    if isinstance(target, VectorStore):
        target = target.as_retriever(search_kwargs=dict(search_kwargs))
    elif search_kwargs:
        raise ConfigError(
            "search options are for a vector store; a retriever has its own, set them there"
        )
    if not isinstance(target, BaseRetriever):
        raise ConfigError(
            f"SpeechRetriever.over takes a vector store or a retriever of LangChain, not a "
            f"{type(target).__name__}; for a chain use SpeechRunnable.over(chain)"
        )
    return HearingRetriever(retriever=target, ears=ears)


class SpeechToQuestion(TakesQuestions, RunnableSerializable[Any, str]):
    """Turns a spoken question into its words; typed ones pass through.

    The input is that of `SpeechRetriever`. Put it beside the retriever, so that the question
    reaches the prompt: ``{"context": retriever, "question": SpeechToQuestion(hear=rag)}``.

    Args:
        hear: Ears, or a pipeline; None opens new ones with the first clip.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    hear: Any = Field(default=None, exclude=True, repr=False)
    _ears: Ears | None = PrivateAttr(default=None)

    def invoke(
        self,
        input: VoiceInput,  # noqa: A002 - named by LangChain
        config: RunnableConfig | None = None,
        **kwargs: Any,  # noqa: ANN401 - named by LangChain
    ) -> str:
        """Return the words of a question.

        Raises:
            AudioError: The sound cannot be used, or contains no speech.
            ConfigError: The question is of an unknown form.
            ModelError: The transcriber failed.
        """
        del kwargs
        words: str = self._call_with_config(lambda _: self._words(input), redacted(input), config)
        return words

    async def ainvoke(
        self,
        input: VoiceInput,  # noqa: A002 - named by LangChain
        config: RunnableConfig | None = None,
        **kwargs: Any,  # noqa: ANN401 - named by LangChain
    ) -> str:
        """Return the words of a question, in a thread; see `invoke`."""
        del kwargs

        async def work(_: object) -> str:
            return await run_in_thread(self._words, input)

        words: str = await self._acall_with_config(work, redacted(input), config)
        return words

    def _words(self, given: VoiceInput) -> str:
        if self._ears is None:
            self._ears = ears_of(self.hear)
        asked = read_question(given, max_seconds=self._ears.max_question_seconds)
        question = asked.question
        return question if isinstance(question, str) else self._ears.transcribe(question).text


def _with_question(documents: list[Document], words: str) -> list[Document]:
    """Return documents whose metadata holds the words of the question; the store's stay as is."""
    return [
        document.model_copy(update={"metadata": {**document.metadata, QUESTION: words}})
        for document in documents
    ]
