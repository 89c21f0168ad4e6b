"""The query engine: a spoken question in, an answer in text and speech out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.response.schema import RESPONSE_TYPE
from llama_index.core.callbacks import CallbackManager
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.instrumentation.events.synthesis import (
    SynthesizeEndEvent,
    SynthesizeStartEvent,
)
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.prompts.mixin import PromptMixinType
from llama_index.core.schema import NodeWithScore, QueryBundle

from voicerag_core import (
    Answer,
    Audio,
    ConfigError,
    Ears,
    Retrieved,
    Sampling,
    Speaker,
    VoiceRAG,
    ears_of,
)
from voicerag_core.aio import run_in_thread
from voicerag_integrations.llamaindex.bundle import ClipSource, SpeechQueryBundle, as_bundle
from voicerag_integrations.llamaindex.events import SpeechAnswerEvent, dispatcher
from voicerag_integrations.llamaindex.hearing import (
    Hearing,
    HearingQueryEngine,
    HearingRetriever,
    hearing_query_engine,
)
from voicerag_integrations.llamaindex.nodes import node_hit
from voicerag_integrations.llamaindex.response import (
    METADATA_KEY,
    AnswerFeed,
    AsyncStreamingSpeechResponse,
    SpeechResponse,
    StreamingSpeechResponse,
)
from voicerag_integrations.llamaindex.retriever import SpeechRetriever

__all__ = ["SpeechQueryEngine"]


class SpeechQueryEngine(BaseQueryEngine):
    """Answers spoken and typed questions with the voice model of a `VoiceRAG`.

    Args:
        rag: Answers, and finds the passages unless `retriever` does.
        retriever: Any retriever, which spoken questions reach as `SpeechRetriever.over` makes them
            reach it; None uses a `SpeechRetriever` over `rag`.
        node_postprocessors: Applied to the found nodes, in order.
        streaming: Answer with a streaming response.
        sampling: For models that generate.
        callback_manager: Notified of every query.
    """

    def __init__(
        self,
        rag: VoiceRAG,
        *,
        retriever: BaseRetriever | None = None,
        node_postprocessors: Sequence[BaseNodePostprocessor] = (),
        streaming: bool = False,
        sampling: Sampling | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        self._rag = rag
        if not isinstance(rag, VoiceRAG):
            raise ConfigError(
                f"rag is a VoiceRAG, not a {type(rag).__name__}; for a query engine of your own "
                "use SpeechQueryEngine.over(query_engine)"
            )
        self._retriever = retriever or SpeechRetriever(rag, callback_manager=callback_manager)
        self._hearing: Hearing | None = None
        if not isinstance(self._retriever, SpeechRetriever | HearingRetriever):
            self._hearing = Hearing(self._retriever, ears_of(rag))
        self._node_postprocessors = tuple(node_postprocessors)
        self._streaming = streaming
        self._sampling = sampling
        super().__init__(callback_manager)

    @classmethod
    def over(
        cls,
        query_engine: BaseQueryEngine,
        *,
        hear: Ears | VoiceRAG | None = None,
        speak: Speaker | VoiceRAG | None = None,
        streaming: bool = False,
    ) -> HearingQueryEngine:
        """Put ears and a voice around a query engine of an app; no database is touched.

        The engine words the answer itself. If its retriever searches vectors, it searches by the
        sound, with its own embedding model.

        Args:
            query_engine: The app's.
            hear: Ears, or a pipeline; None opens new ones.
            speak: A speaker, or a pipeline with one; None answers in text alone.
            streaming: Answer with a streaming response; the app's engine streams if it was made to.

        Raises:
            ConfigError: It is no query engine, or there is no speaker in what was given.
        """
        return hearing_query_engine(query_engine, hear=hear, speak=speak, streaming=streaming)

    @property
    def retriever(self) -> BaseRetriever:
        """The retriever of the nodes."""
        return self._retriever

    def query(self, str_or_query_bundle: str | QueryBundle | ClipSource) -> RESPONSE_TYPE:
        """Answer a question given as text, sound, or a bundle of both.

        Returns:
            `SpeechResponse`, or `StreamingSpeechResponse` when streaming.

        Raises:
            AudioError: The sound cannot be used.
            ConfigError: The question is empty.
            StoreError: Nothing has been indexed, or the store failed.
            ModelError: The model failed.
        """
        return super().query(as_bundle(str_or_query_bundle))

    async def aquery(self, str_or_query_bundle: str | QueryBundle | ClipSource) -> RESPONSE_TYPE:
        """Answer a question; see `query`.

        Returns:
            `SpeechResponse`, or `AsyncStreamingSpeechResponse` when streaming.
        """
        return await super().aquery(as_bundle(str_or_query_bundle))

    def retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Find the nodes for a question."""
        nodes = self._retriever.retrieve(self._heard(query_bundle))
        for postprocessor in self._node_postprocessors:
            nodes = postprocessor.postprocess_nodes(nodes, query_bundle=query_bundle)
        return nodes

    async def aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Find the nodes for a question."""
        heard = query_bundle
        if self._hearing is not None:
            heard = await run_in_thread(lambda: self._heard(query_bundle))
        nodes = await self._retriever.aretrieve(heard)
        for postprocessor in self._node_postprocessors:
            nodes = await postprocessor.apostprocess_nodes(nodes, query_bundle=query_bundle)
        return nodes

    def synthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """Answer a question from nodes."""
        return self._synthesis(query_bundle, nodes, additional_source_nodes, in_loop=False)

    async def asynthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """Answer a question from nodes."""
        return await run_in_thread(
            lambda: self._synthesis(query_bundle, nodes, additional_source_nodes, in_loop=True)
        )

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        with self.callback_manager.event(
            CBEventType.QUERY, payload={EventPayload.QUERY_STR: query_bundle.query_str}
        ) as event:
            response = self.synthesize(query_bundle, self.retrieve(query_bundle))
            event.on_end(payload={EventPayload.RESPONSE: response})
        return response

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        with self.callback_manager.event(
            CBEventType.QUERY, payload={EventPayload.QUERY_STR: query_bundle.query_str}
        ) as event:
            if type(self._retriever) is SpeechRetriever and not self._node_postprocessors:
                response = await run_in_thread(lambda: self._answered(query_bundle))
            else:  # another retriever or postprocessor may be natively asynchronous
                nodes = await self.aretrieve(query_bundle)
                response = await self.asynthesize(query_bundle, nodes)
            event.on_end(payload={EventPayload.RESPONSE: response})
        return response

    def _heard(self, query_bundle: QueryBundle) -> QueryBundle:
        """Fill a spoken question in for a retriever that knows only words and vectors."""
        if self._hearing is None:
            return query_bundle
        if self._hearing.embedder is None and self._hearing.ears.transcriber is None:
            return query_bundle
        return self._hearing.filled(query_bundle)

    def _answered(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        return self._synthesis(query_bundle, self.retrieve(query_bundle), None, in_loop=True)

    def _get_prompt_modules(self) -> PromptMixinType:
        return {}

    def _synthesis(
        self,
        bundle: QueryBundle,
        nodes: list[NodeWithScore],
        more: Sequence[NodeWithScore] | None,
        *,
        in_loop: bool,
    ) -> RESPONSE_TYPE:
        dispatcher.event(SynthesizeStartEvent(query=bundle))
        with self.callback_manager.event(
            CBEventType.SYNTHESIZE, payload={EventPayload.QUERY_STR: bundle.query_str}
        ) as event:
            response = self._respond(bundle, nodes, [*nodes, *(more or ())], in_loop=in_loop)
            event.on_end(payload={EventPayload.RESPONSE: response})
        dispatcher.event(SynthesizeEndEvent(query=bundle, response=response))
        return response

    def _respond(
        self,
        bundle: QueryBundle,
        nodes: list[NodeWithScore],
        sources: list[NodeWithScore],
        *,
        in_loop: bool,
    ) -> RESPONSE_TYPE:
        question = self._question(bundle)
        heard = bundle.transcription if isinstance(bundle, SpeechQueryBundle) else None
        found = Retrieved(tuple(node_hit(node, rank) for rank, node in enumerate(nodes, 1)), heard)
        metadata: dict[str, Any] = {source.node.node_id: source.node.metadata for source in sources}
        metadata[METADATA_KEY] = {"transcript": None, "complete": False}
        pieces = self._rag.respond(question, found, sampling=self._sampling)
        feed = AnswerFeed(pieces, metadata, _announce)
        feed.pull()  # the piece with the hits; an invalid question raises here
        if not self._streaming:
            while feed.pull():
                pass
            return SpeechResponse(feed.answer(), sources, metadata)
        if in_loop:
            return AsyncStreamingSpeechResponse(feed, sources, metadata)
        return StreamingSpeechResponse(feed, sources, metadata)

    def _question(self, bundle: QueryBundle) -> Audio | str:
        if isinstance(bundle, SpeechQueryBundle):
            clip = bundle.clip(max_seconds=self._rag.max_question_seconds)
            if clip is not None:
                return clip
        if not bundle.query_str.strip():
            raise ConfigError(
                "a vector alone can be searched and not answered; give the question's words or "
                "sound too"
            )
        return bundle.query_str


def _announce(answer: Answer, complete: bool) -> None:
    dispatcher.event(
        SpeechAnswerEvent(
            text=answer.text,
            answered=answer.answered,
            audio_seconds=0.0 if answer.audio is None else answer.audio.seconds,
            timings=dict(answer.timings),
            complete=complete,
        )
    )
