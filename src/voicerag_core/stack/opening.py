"""The whole pipeline, assembled from settings."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from voicerag_core.errors import ConfigError
from voicerag_core.ports import (
    Embedder,
    PassageStore,
    TextEmbedder,
    Transcriber,
    VocabularyEmbedder,
    VoiceModel,
    WordStore,
)
from voicerag_core.rag import VoiceRAG
from voicerag_core.settings import Settings, load_settings
from voicerag_core.stack.database import existing_table, late_store
from voicerag_core.stack.parts import GivenParts, Load, Parts, open_parts

if TYPE_CHECKING:
    from voicerag_core.local.reading.chat import ChatFunction

__all__ = ["OpenedVoiceRAG", "open_voicerag"]


class OpenedVoiceRAG(VoiceRAG):
    """A `VoiceRAG` of a stack's parts, which are loaded on first use.

    In addition to a `VoiceRAG`, it has a `speaker` for text to speech, None if the settings turn
    speech off, a `text_model`, the answering model without speech, and `ears`, which hear without
    searching.

    Args:
        parts: The models; several of these may share them.
        store: Keeps and finds the passages; opened for the embedder's model and width.
        settings: How questions are searched and passages indexed.
        speak: Answer in speech, if the parts can.
    """

    def __init__(
        self, parts: Parts, store: PassageStore, settings: Settings, *, speak: bool = True
    ) -> None:
        super().__init__(
            parts.embedder,
            store,
            parts.model if speak else parts.text_model,
            parts.transcriber,
            strategy=settings.question_strategy,
            limit=settings.limit,
            sentence_vectors=settings.sentence_vectors,
            max_question_seconds=settings.max_question_seconds,
            reranker=parts.reranker,
            reranked=settings.reranked,
            rerank_fallback=settings.reranker_fallback,
            second_round=settings.second_round,
            instructions=settings.instructions,
            sampling=settings.sampling,
        )
        self.speaker = parts.speaker
        self.text_model = parts.text_model
        self.ears = parts.ears
        self._loads = parts.loads

    def warm(self, *, models: bool = True, hearing: bool = True, speech: bool = True) -> None:
        """Load in parallel what later calls need.

        Args:
            models: Load the models as well as the store.
            hearing: Load what the strategy needs for spoken questions too.
            speech: Load the answering voice too.

        Raises:
            VoiceRAGError: The first part that could not be loaded, the store before the models.
        """
        unwanted: set[Load] = set() if models else {"embedder", "model", "reader"}
        if not models or not hearing:
            unwanted |= {"transcriber", "speech encoder"}
        if not models or not speech:
            unwanted.add("speaker")
        loads = [load for part, load in self._loads.items() if part not in unwanted]
        with ThreadPoolExecutor(max(1, len(loads))) as threads:
            for done in [threads.submit(load) for load in loads]:
                done.result()
        embedder: object = self.embedder
        store: object = self.store
        if not (models and hearing):
            return
        if isinstance(embedder, VocabularyEmbedder) and isinstance(store, WordStore):
            embedder.expect(store.vocabulary())


@contextmanager
def open_voicerag(
    settings: Settings | None = None,
    *,
    chat: ChatFunction | None = None,
    embedder: Embedder | TextEmbedder | None = None,
    store: PassageStore | None = None,
    transcriber: Transcriber | None = None,
    model: VoiceModel | None = None,
    table: str | None = None,
    read_only: bool = False,
) -> Iterator[OpenedVoiceRAG]:
    """Open the stack of the settings, and close it at the end of the ``with`` block.

    Nothing is loaded, connected or started before its first use; `OpenedVoiceRAG.warm` does it in
    advance. The pipeline is thread-safe. Parts that are given replace those of the settings, and
    their owner closes them.

    Args:
        settings: None reads the environment. With the stack ``glm``, GLM-4-Voice answers, and the
            selected embedder finds the passages.
        chat: A chat model that writes the answers instead of the reader of the local stack.
        embedder: Embeds passages and questions; one that embeds texts alone hears by the
            recogniser of the local stack.
        store: Keeps and finds the passages; no database is opened.
        transcriber: Transcribes spoken questions.
        model: Answers.
        table: A Postgres table that another program fills, in the database of the settings; see
            `ExistingTable`.
        read_only: Connect as a role that can only read.

    Raises:
        ConfigError: The settings contradict each other, or the parts do.
    """
    chosen = load_settings() if settings is None else settings
    given = GivenParts(embedder, transcriber, model, chat)
    if store is not None and table is not None:
        raise ConfigError("give a store or the name of a table, not both")
    if table is not None:
        chosen = chosen.model_copy(update={"table": table})
    with open_parts(chosen, given=given) as parts:
        if chosen.strategy is None and embedder is not None and parts.embedder.needs_transcriber:
            chosen = chosen.model_copy(update={"strategy": "asr"})
        with _passages(chosen, parts.embedder, store, read_only=read_only) as passages:
            warm = getattr(passages, "warm", None)
            loads = parts.loads if warm is None else {"store": warm, **parts.loads}
            yield OpenedVoiceRAG(replace(parts, loads=loads), passages, chosen)


@contextmanager
def _passages(
    settings: Settings,
    embedder: Embedder,
    store: PassageStore | None,
    *,
    read_only: bool,
) -> Iterator[PassageStore]:
    """Yield the store to search: the given one, a table of another program, or a collection."""
    if store is not None:
        check = getattr(store, "check_model", None)
        if check is not None:  # a table of another program: its vectors must be of this embedder
            check(embedder)
        yield store
        return
    if settings.table is not None:
        with existing_table(settings, embedder) as table:
            yield table
        return
    with late_store(settings, embedder, read_only=read_only) as late:
        yield late
