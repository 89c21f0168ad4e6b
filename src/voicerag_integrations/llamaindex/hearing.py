"""Spoken questions for retrievers and query engines that know only words and vectors."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.response.schema import RESPONSE_TYPE, StreamingResponse
from llama_index.core.callbacks import CallbackManager
from llama_index.core.indices.base import BaseIndex
from llama_index.core.prompts.mixin import PromptMixinType
from llama_index.core.schema import NodeWithScore, QueryBundle

from voicerag_core import (
    Answer,
    Audio,
    ConfigError,
    Ears,
    Embedder,
    HearingEmbedder,
    Speaker,
    VoiceRAG,
    ears_of,
    speak_answer,
)
from voicerag_core.aio import run_in_thread
from voicerag_integrations.llamaindex.bundle import ClipSource, SpeechQueryBundle, as_bundle
from voicerag_integrations.llamaindex.embedding import VoiceRAGEmbedding
from voicerag_integrations.llamaindex.models import LlamaIndexEmbedder
from voicerag_integrations.llamaindex.response import (
    METADATA_KEY,
    AnswerFeed,
    AsyncStreamingSpeechResponse,
    SpeechResponse,
    StreamingSpeechResponse,
)

__all__ = [
    "Hearing",
    "HearingQueryEngine",
    "HearingRetriever",
    "hearing_query_engine",
    "hearing_retriever",
]

_BY_VECTOR_ALONE = ("default", "mmr", "svm", "logistic_regression", "linear_regression")
"""Query modes of a vector store that do not look at the words."""


class Hearing:
    """Fills spoken questions in for a retriever that knows only words and vectors.

    Args:
        retriever: It, or None where only the words are wanted.
        ears: Hear.
    """

    def __init__(self, retriever: BaseRetriever | None, ears: Ears) -> None:
        self.ears = ears
        model = getattr(retriever, "_embed_model", None)
        self.embedder: Embedder | None = None
        if isinstance(model, VoiceRAGEmbedding):
            self.embedder = model.embedder
        elif isinstance(model, BaseEmbedding) and ears.recognizer is not None:
            self.embedder = HearingEmbedder(LlamaIndexEmbedder(model), ears)
        mode = getattr(retriever, "_vector_store_query_mode", "default")
        self.needs_words = self.embedder is None or str(getattr(mode, "value", mode)) not in (
            _BY_VECTOR_ALONE
        )

    def filled(self, bundle: QueryBundle, *, words: bool = False) -> QueryBundle:
        """Return a question with its vector and its words.

        The words are the transcript where the retriever looks at them, and else the likeliest
        wording. The given bundle learns them too, for the components that follow.

        Args:
            bundle: A question that is not spoken comes back as it is.
            words: Transcribe whatever the retriever needs.

        Raises:
            AudioError: The sound cannot be used, or contains no speech.
        """
        if not isinstance(bundle, SpeechQueryBundle) or bundle.audio is None:
            return bundle
        clip = bundle.clip(max_seconds=self.ears.max_question_seconds)
        assert clip is not None
        embedding = bundle.embedding
        if embedding is None and self.embedder is not None:
            checked = self.ears.checked(clip)
            embedding = self.embedder.embed_speech([checked])[0].tolist()
        if not bundle.query_str:
            self._listen(bundle, clip, words=words or self.needs_words)
        return SpeechQueryBundle(
            bundle.query_str,
            embedding=embedding,
            audio=bundle.audio,
            transcription=bundle.transcription,
        )

    def _listen(self, bundle: SpeechQueryBundle, clip: Audio, *, words: bool) -> None:
        if words:
            bundle.hear(bundle.transcription or self.ears.transcribe(clip))
        else:
            bundle.query_str = "" if self.ears.recognizer is None else self.ears.hear(clip).text


class HearingRetriever(BaseRetriever):
    """Lets an app's retriever or index be asked by sound; made by `SpeechRetriever.over`.

    A retriever of an index of vectors is asked by the sound itself: likely wordings are embedded
    with the index's own model. Any other gets the transcript. Typed questions go through as they
    are.

    Args:
        retriever: The app's.
        ears: Hear.
        callback_manager: Notified of every retrieval.
    """

    def __init__(
        self,
        retriever: BaseRetriever,
        ears: Ears,
        *,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        self._retriever = retriever
        self._hearing = Hearing(retriever, ears)
        super().__init__(callback_manager=callback_manager or retriever.callback_manager)

    @property
    def retriever(self) -> BaseRetriever:
        """The app's retriever."""
        return self._retriever

    @property
    def by_sound(self) -> bool:
        """Whether spoken questions are searched by a vector, without a transcript."""
        return not self._hearing.needs_words

    def retrieve(self, str_or_query_bundle: str | QueryBundle | ClipSource) -> list[NodeWithScore]:
        """Find nodes, best first.

        Raises:
            AudioError: The sound cannot be used.
            ModelError: A model failed.
        """
        return super().retrieve(as_bundle(str_or_query_bundle))

    async def aretrieve(
        self, str_or_query_bundle: str | QueryBundle | ClipSource
    ) -> list[NodeWithScore]:
        """Find nodes, best first; see `retrieve`."""
        return await super().aretrieve(as_bundle(str_or_query_bundle))

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._retriever.retrieve(self._hearing.filled(query_bundle))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        filled = await run_in_thread(lambda: self._hearing.filled(query_bundle))
        return await self._retriever.aretrieve(filled)


def hearing_retriever(
    target: BaseIndex[Any] | BaseRetriever, ears: Ears, similarity_top_k: int | None
) -> HearingRetriever:
    """Put ears in front of an index or a retriever.

    Raises:
        ConfigError: It is neither.
    """
    if isinstance(target, BaseIndex):
        options: dict[str, Any] = {}
        if similarity_top_k is not None:
            options["similarity_top_k"] = similarity_top_k
        target = target.as_retriever(**options)
    elif similarity_top_k is not None:
        raise ConfigError("similarity_top_k is for an index; a retriever has its own, set it there")
    if not isinstance(target, BaseRetriever):
        raise ConfigError(
            f"SpeechRetriever.over takes an index or a retriever of LlamaIndex, not a "
            f"{type(target).__name__}; for a query engine use SpeechQueryEngine.over(query_engine)"
        )
    return HearingRetriever(target, ears)


class HearingQueryEngine(BaseQueryEngine):
    """Lets an app's query engine be asked by sound and answer in speech too.

    Made by `SpeechQueryEngine.over`. The engine's own synthesizer words the answer, which is spoken
    sentence by sentence. An engine whose retriever searches vectors searches by the sound.

    Args:
        query_engine: The app's.
        ears: Hear.
        speaker: Speaks; None answers in text alone.
        streaming: Answer with a streaming response.
    """

    def __init__(
        self,
        query_engine: BaseQueryEngine,
        ears: Ears,
        *,
        speaker: Speaker | None = None,
        streaming: bool = False,
    ) -> None:
        self._engine = query_engine
        self._speaker = speaker
        self._streaming = streaming
        found = getattr(query_engine, "retriever", None) or getattr(
            query_engine, "_retriever", None
        )
        self._hearing = Hearing(found, ears)
        super().__init__(query_engine.callback_manager)

    def query(self, str_or_query_bundle: str | QueryBundle | ClipSource) -> RESPONSE_TYPE:
        """Answer a question given as text, sound, or a bundle of both.

        Returns:
            `SpeechResponse`, or `StreamingSpeechResponse` when streaming.

        Raises:
            AudioError: The sound cannot be used.
            ModelError: A model failed.
        """
        return super().query(as_bundle(str_or_query_bundle))

    async def aquery(self, str_or_query_bundle: str | QueryBundle | ClipSource) -> RESPONSE_TYPE:
        """Answer a question in a thread; see `query`.

        Returns:
            `SpeechResponse`, or `AsyncStreamingSpeechResponse` when streaming.
        """
        return await super().aquery(as_bundle(str_or_query_bundle))

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        return self._answered(query_bundle, in_loop=False)

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        return await run_in_thread(lambda: self._answered(query_bundle, in_loop=True))

    def _get_prompt_modules(self) -> PromptMixinType:
        return {"query_engine": self._engine}

    def _answered(self, bundle: QueryBundle, *, in_loop: bool) -> RESPONSE_TYPE:
        asked = self._hearing.filled(bundle, words=True)
        spoken = isinstance(asked, SpeechQueryBundle) and asked.audio is not None
        response = self._engine.query(asked)
        sources = list(response.source_nodes)
        metadata: dict[str, Any] = dict(response.metadata or {})
        metadata[METADATA_KEY] = {"transcript": None, "complete": False}
        written = _written(response, asked.query_str if spoken else None)
        feed = AnswerFeed(speak_answer(written, self._speaker), metadata)
        if not self._streaming:
            while feed.pull():
                pass
            return SpeechResponse(feed.answer(), sources, metadata)
        if in_loop:
            return AsyncStreamingSpeechResponse(feed, sources, metadata)
        return StreamingSpeechResponse(feed, sources, metadata)


def hearing_query_engine(
    query_engine: BaseQueryEngine,
    *,
    hear: Ears | VoiceRAG | None,
    speak: Speaker | VoiceRAG | None,
    streaming: bool,
) -> HearingQueryEngine:
    """Put ears and a voice around a query engine.

    Raises:
        ConfigError: It is none, or there is no speaker in what was given.
    """
    if not isinstance(query_engine, BaseQueryEngine):
        raise ConfigError(
            f"SpeechQueryEngine.over takes a query engine, not a {type(query_engine).__name__}; "
            "for an index or a retriever use SpeechRetriever.over, or index.as_query_engine()"
        )
    speaker = speak
    if isinstance(speaker, VoiceRAG):
        speaker = getattr(speaker, "speaker", None)
        if speaker is None:
            raise ConfigError(
                "this pipeline has no speaker; open_voicerag() has, unless VOICERAG_SPEAK is false"
            )
    return HearingQueryEngine(query_engine, ears_of(hear), speaker=speaker, streaming=streaming)


def _written(response: RESPONSE_TYPE, heard: str | None) -> Generator[Answer, None, None]:
    """Yield the transcript of a spoken question, and the text of a response as it comes."""
    if heard is not None:
        yield Answer(transcript=heard)
    if isinstance(response, StreamingResponse) and response.response_txt is None:
        with closing(response.response_gen) as texts:
            for text in texts:
                yield Answer(text)
        return
    yield Answer(str(response))
