"""The retriever: a question as text, sound or vector in, scored nodes out."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.indices.base import BaseIndex
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters

from voicerag_core import (
    Audio,
    ConfigError,
    Ears,
    Embedding,
    Retrieved,
    Strategy,
    VoiceRAG,
    check_audio,
    ears_of,
)
from voicerag_core.aio import run_in_thread
from voicerag_core.filters import Filter
from voicerag_integrations.llamaindex.bundle import ClipSource, SpeechQueryBundle, as_bundle
from voicerag_integrations.llamaindex.events import SpeechRetrievalEvent, dispatcher
from voicerag_integrations.llamaindex.filters import to_filter
from voicerag_integrations.llamaindex.hearing import HearingRetriever, hearing_retriever
from voicerag_integrations.llamaindex.nodes import NodeClass, node_of_hit, unit

__all__ = ["SpeechRetriever"]

_FUSING: tuple[Strategy, ...] = ("asr", "hybrid", "adaptive", "two_round")
"""Strategies that may search by text in addition to a vector."""


class SpeechRetriever(BaseRetriever):
    """Finds passages for spoken and typed questions.

    Accepts a str, which is always text, a `QueryBundle`, a `SpeechQueryBundle`, or sound itself: an
    `Audio`, the bytes of an audio file, or a path. A ready vector (``QueryBundle(embedding=...)``)
    is searched as it is. Every node carries its score and, in its metadata, ``passage_id``.

    Args:
        rag: Finds the passages; must stay open while the retriever is used.
        similarity_top_k: Maximum number of nodes; None uses the limit of `rag`.
        filters: Metadata filters, of LlamaIndex or of voicerag.
        min_score: Minimum cosine similarity.
        strategy: How a spoken question is searched; None uses that of `rag`.
        node_class: ``text``, or ``multimodal`` for nodes with the address of their sound.
        callback_manager: Notified of every retrieval.
        verbose: As in every retriever.

    Raises:
        ConfigError: An option has an invalid value.
    """

    def __init__(
        self,
        rag: VoiceRAG,
        *,
        similarity_top_k: int | None = None,
        filters: MetadataFilters | Filter | None = None,
        min_score: float | None = None,
        strategy: Strategy | None = None,
        node_class: NodeClass = "text",
        callback_manager: CallbackManager | None = None,
        verbose: bool = False,
    ) -> None:
        if not isinstance(rag, VoiceRAG):
            raise ConfigError(
                f"rag is a VoiceRAG, not a {type(rag).__name__}; for an index or a retriever of "
                "your own use SpeechRetriever.over(retriever)"
            )
        if node_class not in get_args(NodeClass):
            raise ConfigError(
                f"unknown node_class {node_class!r}; choose of {', '.join(get_args(NodeClass))}"
            )
        if similarity_top_k is not None and similarity_top_k < 0:
            raise ConfigError(f"similarity_top_k is 0 or more, not {similarity_top_k}")
        self._rag = rag
        self._similarity_top_k = similarity_top_k
        self._where = to_filter(filters)
        self._min_score = min_score
        self._strategy: Strategy = rag.strategy if strategy is None else strategy
        self._node_class: NodeClass = node_class
        super().__init__(callback_manager=callback_manager, verbose=verbose)

    @classmethod
    def over(
        cls,
        target: BaseIndex[Any] | BaseRetriever,
        *,
        hear: Ears | VoiceRAG | None = None,
        similarity_top_k: int | None = None,
    ) -> HearingRetriever:
        """Put ears in front of an index or a retriever of an app; no database is touched.

        A retriever of an index of vectors is searched by the sound itself, with the index's own
        embedding model and nothing indexed anew; any other retriever gets the transcript.

        Args:
            target: The app's index or retriever.
            hear: Ears, or a pipeline; None opens new ones, which are closed with the retriever.
            similarity_top_k: Maximum number of nodes of an index.

        Raises:
            ConfigError: It is neither.
        """
        return hearing_retriever(target, ears_of(hear), similarity_top_k)

    @property
    def rag(self) -> VoiceRAG:
        """The pipeline that finds the passages."""
        return self._rag

    def retrieve(self, str_or_query_bundle: str | QueryBundle | ClipSource) -> list[NodeWithScore]:
        """Find nodes, best first.

        Raises:
            AudioError: The sound cannot be used.
            ConfigError: The question is empty.
            StoreError: The store failed, or was closed.
        """
        return super().retrieve(as_bundle(str_or_query_bundle))

    async def aretrieve(
        self, str_or_query_bundle: str | QueryBundle | ClipSource
    ) -> list[NodeWithScore]:
        """Find nodes, best first; see `retrieve`."""
        return await super().aretrieve(as_bundle(str_or_query_bundle))

    def to_bundle(self, audio: ClipSource, *, words: bool = True) -> SpeechQueryBundle:
        """Create a query from sound that any built-in component can use.

        With its `embedding`, vector retrievers search by the sound; its `query_str` is the
        transcript for routers, rerankers and language models. The store is not touched.

        Args:
            audio: The question.
            words: Transcribe it if `rag` has a transcriber. With False it is transcribed only where
                its vector is that of a transcript.

        Raises:
            AudioError: The sound cannot be used.
        """
        rag = self._rag
        bundle = SpeechQueryBundle(audio=audio)
        clip = check_audio(self._clip(bundle), max_seconds=rag.max_question_seconds)
        by_words = self._strategy == "asr" and rag.transcriber is not None
        if rag.transcriber is not None and (words or by_words):
            bundle.hear(rag.transcriber.transcribe(clip))
        if by_words:
            vector = rag.embedder.embed_questions([bundle.query_str])[0]
        else:
            vector = rag.embedder.embed_speech([clip])[0]
        bundle.embedding = vector.tolist()
        return bundle

    async def ato_bundle(self, audio: ClipSource, *, words: bool = True) -> SpeechQueryBundle:
        """Create a query from sound; see `to_bundle`."""
        return await run_in_thread(lambda: self.to_bundle(audio, words=words))

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        if self._similarity_top_k == 0:
            return []
        found = self._find(query_bundle)
        heard = found.transcription
        if heard is not None and isinstance(query_bundle, SpeechQueryBundle):
            query_bundle.hear(heard)
        dispatcher.event(
            SpeechRetrievalEvent(
                strategy=self._strategy,
                transcript=None if heard is None else heard.text,
                hits=len(found.hits),
                timings=dict(found.timings),
            )
        )
        return [node_of_hit(hit, self._node_class) for hit in found.hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await run_in_thread(lambda: self._retrieve(query_bundle))

    def _find(self, bundle: QueryBundle) -> Retrieved:
        return self._rag.retrieve(
            self._question(bundle),
            limit=self._similarity_top_k,
            where=self._where,
            min_score=self._min_score,
            strategy=self._strategy,
        )

    def _question(self, bundle: QueryBundle) -> Audio | str | Embedding:
        """Choose what to search by: sound if the strategy may fuse, else the vector or text."""
        spoken = isinstance(bundle, SpeechQueryBundle) and bundle.audio is not None
        if bundle.embedding is not None and not (spoken and self._strategy in _FUSING):
            return unit(bundle.embedding)
        if isinstance(bundle, SpeechQueryBundle) and bundle.audio is not None:
            return self._clip(bundle)
        if bundle.custom_embedding_strs:
            rows = self._rag.embedder.embed_questions(bundle.custom_embedding_strs)
            return unit(np.mean(rows, axis=0))
        if not bundle.query_str.strip():
            raise ConfigError(
                "the question is empty; give words, sound (SpeechQueryBundle(audio=...)) or a "
                "vector (QueryBundle('', embedding=...))"
            )
        return bundle.query_str

    def _clip(self, bundle: SpeechQueryBundle) -> Audio:
        clip = bundle.clip(max_seconds=self._rag.max_question_seconds)
        if clip is None:
            raise ConfigError("the question has no sound")
        return clip
