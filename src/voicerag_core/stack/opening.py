"""The whole pipeline, assembled from settings."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from voicerag_core.ports import PassageStore, VocabularyEmbedder, WordStore
from voicerag_core.rag import VoiceRAG
from voicerag_core.settings import Settings, load_settings
from voicerag_core.stack.database import late_store
from voicerag_core.stack.parts import Load, Parts, open_parts

if TYPE_CHECKING:
    from voicerag_core.local.reading.chat import ChatFunction

__all__ = ["OpenedVoiceRAG", "open_voicerag"]


class OpenedVoiceRAG(VoiceRAG):
    """A `VoiceRAG` of a stack's parts, which are loaded on first use.

    In addition to a `VoiceRAG`, it has a `speaker` for text to speech, None if the settings turn
    speech off, and a `text_model`, the answering model without speech.

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
        )
        self.speaker = parts.speaker
        self.text_model = parts.text_model
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
    settings: Settings | None = None, *, chat: ChatFunction | None = None, read_only: bool = False
) -> Iterator[OpenedVoiceRAG]:
    """Open the stack of the settings, and close it at the end of the ``with`` block.

    Nothing is loaded, connected or started before its first use; `OpenedVoiceRAG.warm` does it in
    advance. The pipeline is thread-safe.

    Args:
        settings: None reads the environment. With the stack ``glm``, GLM-4-Voice answers, and the
            selected embedder finds the passages.
        chat: A chat model that writes the answers instead of the reader of the local stack.
        read_only: Connect as a role that can only read.

    Raises:
        ConfigError: The settings contradict each other.
    """
    chosen = load_settings() if settings is None else settings
    with (
        open_parts(chosen, chat=chat) as parts,
        late_store(chosen, parts.embedder, read_only=read_only) as store,
    ):
        everything = replace(parts, loads={"store": store.warm, **parts.loads})
        yield OpenedVoiceRAG(everything, store, chosen)
