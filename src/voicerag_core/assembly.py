"""Where concrete parts meet: the only module that knows the stack, the store and their settings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voicerag_core.errors import ConfigError, StoreError
from voicerag_core.filters import Filter
from voicerag_core.ports import Embedder
from voicerag_core.rag import VoiceRAG
from voicerag_core.settings import Settings, load_settings
from voicerag_core.types import (
    Answer,
    Audio,
    Embedding,
    Embeddings,
    Hit,
    Passage,
    Question,
    Sampling,
    Transcription,
    Turn,
)

if TYPE_CHECKING:
    from voicerag_core.glm.voice import GLMVoice
    from voicerag_core.local.embedder import LocalEmbedder
    from voicerag_core.local.hearing.whisper import WhisperTranscriber
    from voicerag_core.local.reading.chat import ChatFunction
    from voicerag_core.ports import Speaker, VoiceModel
    from voicerag_core.sonar import SonarEmbedder, SonarTranscriber
    from voicerag_core.sonar.files import SonarFiles
    from voicerag_core.store import CollectionInfo, PgVectorStore

__all__ = [
    "LazyStore",
    "LazyVoice",
    "OpenedVoiceRAG",
    "list_collections",
    "open_database",
    "open_store",
    "open_voicerag",
    "sonar_folder",
]


class LazyStore:
    """A store that is opened by the first call that needs it. Safe to share between threads.

    Args:
        opener: Opens the store; called once, and again only if it raised.
    """

    def __init__(self, opener: Callable[[], PgVectorStore]) -> None:
        self._opener = opener
        self._lock = threading.Lock()
        self._store: PgVectorStore | None = None
        self._closed = False

    def close(self) -> None:
        """Let no later call open the store; the opener closes what it opened."""
        with self._lock:
            self._closed = True

    def warm(self) -> None:
        """Open the store now."""
        self._opened()

    def _opened(self) -> PgVectorStore:
        with self._lock:
            if self._closed:
                raise StoreError("the stack of this store was closed; open it again")
            if self._store is None:
                self._store = self._opener()
            return self._store

    def add(
        self,
        passages: Sequence[Passage],
        embeddings: Embeddings,
        *,
        owners: NDArray[np.int64] | None = None,
    ) -> int:
        """See `PassageStore.add`."""
        return self._opened().add(passages, embeddings, owners=owners)

    def search(
        self,
        embedding: Embedding | None,
        *,
        text: str | None = None,
        limit: int,
        where: Filter | None = None,
        min_score: float | None = None,
        with_vectors: bool = False,
    ) -> tuple[Hit, ...]:
        """See `PassageStore.search`."""
        return self._opened().search(
            embedding,
            text=text,
            limit=limit,
            where=where,
            min_score=min_score,
            with_vectors=with_vectors,
        )

    def search_many(
        self, embeddings: Embeddings, *, limit: int, where: Filter | None = None
    ) -> list[tuple[Hit, ...]]:
        """See `PassageStore.search_many`."""
        return self._opened().search_many(embeddings, limit=limit, where=where)

    def get(self, ids: Sequence[str]) -> list[Passage]:
        """See `PassageStore.get`."""
        return self._opened().get(ids)

    def delete(self, ids: Sequence[str] | None = None, *, where: Filter | None = None) -> int:
        """See `PassageStore.delete`."""
        return self._opened().delete(ids, where=where)

    def count(self, *, where: Filter | None = None) -> int:
        """See `PassageStore.count`."""
        return self._opened().count(where=where)

    def document_digests(self) -> Mapping[str, str]:
        """See `DocumentStore.document_digests`."""
        return self._opened().document_digests()

    def replace_document(
        self,
        source: str,
        digest: str,
        passages: Sequence[Passage],
        embeddings: Embeddings,
        *,
        owners: NDArray[np.int64] | None = None,
    ) -> int:
        """See `DocumentStore.replace_document`."""
        return self._opened().replace_document(source, digest, passages, embeddings, owners=owners)

    def remove_documents(self, sources: Sequence[str]) -> int:
        """See `DocumentStore.remove_documents`."""
        return self._opened().remove_documents(sources)


class LazyVoice:
    """GLM-4-Voice, loaded by the first call that needs it. Safe to share between threads.

    Args:
        opener: Loads it; called once, and again only if it raised.
    """

    def __init__(self, opener: Callable[[], GLMVoice]) -> None:
        self._opener = opener
        self._lock = threading.Lock()
        self._voice: GLMVoice | None = None

    def warm(self) -> None:
        """Load it now."""
        self.opened().warm()

    def opened(self) -> GLMVoice:
        """Return it, loaded."""
        with self._lock:
            if self._voice is None:
                self._voice = self._opener()
            return self._voice

    def respond(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        sampling: Sampling,
        transcript: Transcription | None = None,
        history: Sequence[Turn] = (),
    ) -> Generator[Answer, None, None]:
        """See `VoiceModel.respond`."""
        yield from self.opened().respond(
            question, passages, sampling=sampling, transcript=transcript, history=history
        )

    def transcribe(self, audio: Audio) -> Transcription:
        """See `Transcriber.transcribe`."""
        return self.opened().transcribe(audio)


class OpenedVoiceRAG(VoiceRAG):
    """A `VoiceRAG` whose parts were assembled from settings and load when they are first used.

    `speaker` turns text into speech, and is None when the settings want none; `text_model` is the
    answering model without it.
    """

    speaker: Speaker | None
    text_model: VoiceModel
    _loads: Mapping[str, Callable[[], object]] = MappingProxyType({})

    def warm(self, *, models: bool = True, hearing: bool = True, speech: bool = True) -> None:
        """Load now what later calls need, side by side.

        Args:
            models: The models, not the store alone.
            hearing: What the strategy needs for spoken questions too.
            speech: The answering voice too.

        Raises:
            VoiceRAGError: The first part that could not be loaded, the store before the models.
        """
        unwanted = set() if models else {"embedder", "model", "reader"}
        if not models or not hearing:
            unwanted |= {"transcriber", "speech encoder"}
        if not models or not speech:
            unwanted.add("speaker")
        loads = [load for part, load in self._loads.items() if part not in unwanted]
        with ThreadPoolExecutor(max(1, len(loads))) as threads:
            for done in [threads.submit(load) for load in loads]:
                done.result()


@contextmanager
def open_voicerag(
    settings: Settings | None = None, *, chat: ChatFunction | None = None, read_only: bool = False
) -> Iterator[OpenedVoiceRAG]:
    """Assemble the stack that the settings name, and close it at the end of the ``with`` block.

    Nothing is loaded, connected or started before it is first used; `OpenedVoiceRAG.warm` forces
    it. What is given may be shared between threads.

    Args:
        settings: None reads the environment. With the stack ``glm``, GLM-4-Voice answers, and the
            embedder that they name finds the passages.
        chat: A chat model that words the answers instead of the reader of the local stack.
        read_only: Connect as a role that can only read.

    Raises:
        ConfigError: The settings contradict each other.
    """
    chosen = load_settings() if settings is None else settings
    if chat is not None and chosen.stack == "glm":
        raise ConfigError("a chat model words the answers of the stack 'local', not of 'glm'")
    from voicerag_core.local.model import LocalVoiceModel
    from voicerag_core.local.reading.answer_scorer import AnswerScorer
    from voicerag_core.local.reading.chat import ChatReader
    from voicerag_core.local.reading.reader import Reader
    from voicerag_core.local.speaking.speaker import PiperSpeaker

    weights = chosen.data_dir / "weights"
    with ExitStack() as stack:
        loads: dict[str, Callable[[], object]] = {}
        transcriber = _transcriber(chosen, stack, loads)
        embedder = _embedder(chosen, stack, loads)
        speaks = chosen.speak and chosen.stack == "local"
        speaker = stack.enter_context(PiperSpeaker(data_dir=weights)) if speaks else None
        scorer = AnswerScorer(threads=chosen.threads, data_dir=weights)
        reader = Reader(scorer) if chat is None else ChatReader(chat)
        model: VoiceModel = LocalVoiceModel(reader, speaker, transcriber)
        text_model: VoiceModel = LocalVoiceModel(reader, None, transcriber)
        if chosen.stack == "glm":
            voice = LazyVoice(lambda: _glm_voice(chosen))
            model, text_model = voice, LazyVoice(lambda: voice.opened().silent())
            loads["model"] = voice.warm
        elif chat is None:
            loads["reader"] = scorer.warm
        store = LazyStore(
            lambda: stack.enter_context(open_store(chosen, embedder, read_only=read_only))
        )
        stack.callback(store.close)
        rag = OpenedVoiceRAG(
            embedder,
            store,
            model,
            transcriber,
            strategy=chosen.question_strategy,
            limit=chosen.limit,
            sentence_vectors=chosen.sentence_vectors,
            max_question_seconds=chosen.max_question_seconds,
        )
        rag.speaker = speaker
        rag.text_model = text_model
        rag._loads = {
            "store": store.warm,
            **loads,
            **({} if speaker is None else {"speaker": speaker.warm}),
        }
        yield rag


def _glm_voice(settings: Settings) -> GLMVoice:
    """Load GLM-4-Voice as the settings say."""
    from voicerag_core.glm import GLMVoice

    return GLMVoice.load(
        settings.glm_dir or settings.data_dir / "weights" / "glm",
        device=settings.glm_device,
        dtype=settings.glm_dtype,
        quantization=settings.glm_quantization,
        speak=settings.speak,
        english_only=settings.glm_english_only,
        max_context=settings.glm_max_context,
    )


def _transcriber(
    settings: Settings, stack: ExitStack, loads: dict[str, Callable[[], object]]
) -> WhisperTranscriber | SonarTranscriber:
    """Make what turns speech into words; `loads` gets what loads it, `stack` what closes it."""
    if settings.embedder == "sonar" and settings.sonar_transcribes:
        reading = _sonar_transcriber(settings)
        loads["transcriber"] = reading.warm
        return reading
    from voicerag_core.local.hearing.whisper import WhisperTranscriber

    whisper = WhisperTranscriber(threads=settings.threads, data_dir=settings.data_dir / "weights")
    stack.callback(whisper.close)
    loads["transcriber"] = whisper.warm
    return whisper


def _embedder(
    settings: Settings, stack: ExitStack, loads: dict[str, Callable[[], object]]
) -> LocalEmbedder | SonarEmbedder:
    """Make what makes vectors; `loads` gets what loads it, `stack` what closes it."""
    if settings.embedder == "sonar":
        sonar = _sonar(settings)
        loads["embedder"] = sonar.warm
        return sonar
    from voicerag_core.local.embedder import LocalEmbedder
    from voicerag_core.local.hearing.ctc_recognizer import CTCRecognizer
    from voicerag_core.local.minilm import MiniLMEmbedder

    encoder = CTCRecognizer(threads=settings.threads, data_dir=settings.data_dir / "weights")
    stack.callback(encoder.close)
    local = LocalEmbedder(MiniLMEmbedder(threads=settings.threads), encoder)
    loads["embedder"] = local.warm
    if settings.question_strategy != "asr":
        loads["speech encoder"] = local.warm_speech
    return local


def sonar_folder(settings: Settings) -> Path:
    """Return the folder of SONAR's files."""
    return settings.sonar_weights or settings.data_dir / "weights" / "sonar"


def _sonar(settings: Settings) -> SonarEmbedder:
    from voicerag_core.sonar import SonarEmbedder

    spoken = settings.sonar_speech_language
    files = _sonar_files(settings)
    return SonarEmbedder(
        files.text,
        files.speech,
        files.tokenizer,
        language=settings.sonar_language,
        speech_language=spoken,
        cross_lingual=spoken is not None,
        device=settings.sonar_device,
        dtype=settings.sonar_dtype,
        heads=settings.sonar_heads,
    )


def _sonar_transcriber(settings: Settings) -> SonarTranscriber:
    from voicerag_core.sonar import SonarTranscriber

    files = _sonar_files(settings)
    if files.speech is None:
        raise ConfigError(
            "there is no SONAR speech encoder for the language of questions; set "
            "VOICERAG_SONAR_SPEECH_LANGUAGE, or leave hearing to Whisper"
        )
    return SonarTranscriber(
        files.speech,
        files.decoder,
        files.tokenizer,
        language=settings.sonar_language,
        device=settings.sonar_device,
        dtype=settings.sonar_dtype,
        heads=settings.sonar_heads,
    )


def _sonar_files(settings: Settings) -> SonarFiles:
    from voicerag_core.sonar.files import SonarFiles

    language = settings.sonar_speech_language or settings.sonar_language
    return SonarFiles.in_folder(sonar_folder(settings), language)


@contextmanager
def open_database(settings: Settings) -> Iterator[str]:
    """Yield the DSN of the database: the one in the settings, or of a started embedded server.

    The schema of an embedded database is kept up to date; a server of yours is changed only by
    ``voicerag db migrate``.
    """
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    from voicerag_core.store import EmbeddedPostgres, migrate

    with EmbeddedPostgres(embedded_folder(settings)) as server:
        migrate(server.dsn)
        yield server.dsn


def embedded_folder(settings: Settings) -> Path:
    """Return the folder of the embedded server."""
    return settings.data_dir / "postgres"


def list_collections(settings: Settings) -> tuple[CollectionInfo, ...]:
    """Return the collections of the settings' tenant, by name.

    Raises:
        SchemaError: The schema is missing, older or newer.
        StoreUnavailableError: The database cannot be reached.
    """
    from voicerag_core.store import list_collections as listed

    with open_database(settings) as dsn:
        return listed(dsn, tenant=settings.tenant)


@contextmanager
def open_store(
    settings: Settings, embedder: Embedder, *, read_only: bool = False
) -> Iterator[PgVectorStore]:
    """Open the collection of the settings' tenant for the vectors of an embedder.

    With it, a program that serves several tenants or collections loads its models once.

    Args:
        settings: Which database, tenant and collection.
        embedder: Its model and width are compared with those that filled the collection.
        read_only: Connect as a role that can only read; the collection must exist.
    """
    from voicerag_core.store import PgVectorStore

    with (
        open_database(settings) as dsn,
        PgVectorStore.open(
            dsn,
            collection=settings.collection,
            tenant=settings.tenant,
            model_id=embedder.model_id,
            dim=embedder.dim,
            read_only=read_only,
        ) as store,
    ):
        yield store
