"""The concrete parts of each stack, built from settings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from voicerag_core.errors import ConfigError, EndpointError
from voicerag_core.heaps import share_heaps
from voicerag_core.languages import ANY, ENGLISH
from voicerag_core.ports import (
    AnswerWriter,
    Embedder,
    Reranker,
    Speaker,
    TextEmbedder,
    Transcriber,
    VoiceModel,
)
from voicerag_core.settings import Settings, load_settings
from voicerag_core.stack.chosen import (
    chosen_reranker,
    chosen_speaker,
    chosen_text_embedder,
    chosen_transcriber,
    lacks_voice,
    spoken_language,
)
from voicerag_core.stack.glm_voice import open_glm_voice
from voicerag_core.stack.late import LateVoice
from voicerag_core.stack.readers import reader_of_languages
from voicerag_core.stack.remote import HTTP, chat_reader, chosen_chat, endpoint, with_fallback
from voicerag_core.types import Strategy

if TYPE_CHECKING:
    from voicerag_core.local.hearing.ctc_recognizer import CTCRecognizer
    from voicerag_core.local.hearing.ears import Ears
    from voicerag_core.local.reading.answer_scorer import AnswerScorer
    from voicerag_core.local.reading.chat import ChatFunction
    from voicerag_core.sonar import SonarEmbedder, SonarTranscriber
    from voicerag_core.sonar.files import SonarFiles

__all__ = ["GivenParts", "Load", "Loads", "Parts", "open_ears", "open_parts", "sonar_folder"]

_logger = logging.getLogger(__name__)

Load: TypeAlias = Literal[
    "store", "embedder", "speech encoder", "transcriber", "model", "reader", "speaker"
]
"""The parts that can be loaded in advance."""

Loads: TypeAlias = Mapping[Load, Callable[[], object]]
"""The function that loads each of them."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The models of a stack; they are loaded on first use.

    Args:
        embedder: Embeds text and speech.
        model: Answers, in speech too unless the settings turn it off.
        text_model: Answers in text only.
        transcriber: Transcribes speech; None if the stack has no transcriber.
        speaker: Synthesizes speech; None if the settings turn it off, or if the model itself
            speaks.
        loads: What loads each part now.
        ears: Hear spoken questions without a search.
        reranker: Sorts the passages found anew; None leaves them as they were found.
    """

    embedder: Embedder
    model: VoiceModel
    text_model: VoiceModel
    transcriber: Transcriber | None = None
    speaker: Speaker | None = None
    loads: Loads = field(default_factory=lambda: MappingProxyType({}))
    ears: Ears | None = None
    reranker: Reranker | None = None


@dataclass(frozen=True, slots=True)
class GivenParts:
    """Parts that an app brings along, used in place of those of the settings; it closes them.

    Args:
        embedder: An `Embedder`, or a `TextEmbedder`, which then hears by a `HearingEmbedder`.
        transcriber: Transcribes speech.
        model: Answers.
        chat: Writes the answers instead of the reader of the local stack.
    """

    embedder: Embedder | TextEmbedder | None = None
    transcriber: Transcriber | None = None
    model: VoiceModel | None = None
    chat: ChatFunction | None = None

    def __post_init__(self) -> None:
        """Refuse what no answer can be made with.

        Raises:
            ConfigError: A model and a chat model, or a chat model that is not a function.
        """
        if self.chat is not None and self.model is not None:
            raise ConfigError("give a model, which answers, or chat, which words the answers")
        if self.chat is not None and not callable(self.chat):
            raise ConfigError(
                f"chat is a function from messages to text, not a {type(self.chat).__name__}; wrap "
                "a model of a framework: LangChainChat(model) of voicerag_integrations.langchain, "
                "or LlamaIndexChat(llm) of voicerag_integrations.llamaindex"
            )


_NOTHING_GIVEN = GivenParts()


@contextmanager
def open_parts(
    settings: Settings, *, chat: ChatFunction | None = None, given: GivenParts = _NOTHING_GIVEN
) -> Iterator[Parts]:
    """Create the parts of the settings' stack, and close them at the end of the block.

    Nothing is loaded or started before its first use. If a part cannot be created, those created
    before it are closed.

    Args:
        settings: Which stack, and how its parts run.
        chat: A chat model that writes the answers instead of the reader of the local stack.
        given: Parts to use in place of those of the settings.

    Raises:
        ConfigError: The settings contradict each other.
    """
    given = given if chat is None else replace(given, chat=chat)
    with ExitStack() as stack:
        if settings.stack == "glm" and given.model is None:
            if given.chat is not None or settings.chat != "none":
                raise ConfigError(
                    "a chat model writes the answers of the stack 'local', not of 'glm'"
                )
            yield _glm_parts(settings, stack, given)
        else:
            share_heaps()  # before there are threads that would have heaps of their own
            yield _local_parts(settings, stack, given)


@contextmanager
def open_ears(settings: Settings | None = None) -> Iterator[Ears]:
    """Open what hears spoken questions, and nothing else: no database, no embedder, no voice.

    The models are loaded by the first clip, and closed at the end of the block.

    Args:
        settings: None reads the environment.

    Raises:
        ConfigError: The settings contradict each other.
    """
    chosen = load_settings() if settings is None else settings
    with ExitStack() as stack:
        recognizer = _recognizer(chosen, stack)
        yield _ears(chosen, recognizer, _transcriber(chosen, stack, recognizer)[0])


def _local_parts(settings: Settings, stack: ExitStack, given: GivenParts) -> Parts:
    """Create a stack that quotes documents or lets a chat model answer, and speaks with Piper."""
    from voicerag_core.local.model import LocalVoiceModel

    recognizer = _recognizer(settings, stack)
    embedder, loads = _embedder(settings, stack, recognizer, given)
    transcriber, hearing = _transcriber(settings, stack, recognizer, given)
    reading: Loads
    scorer: AnswerScorer | None = None
    if given.model is None:
        writer, reading, scorer = _writer(settings, stack, embedder, given.chat)
    else:
        reading = _warm("model", given.model)
    unasked = settings.reranker is None and scorer is None  # nothing else needs its network
    has_voice = settings.speak and not lacks_voice(settings)
    voice = chosen_speaker(settings, stack) if has_voice else None
    may_fall_silent = settings.voice == HTTP and settings.voice_fallback
    speaking: Loads = {}
    if voice is not None:
        speaking = {"speaker": _forgiven(voice.warm) if may_fall_silent else voice.warm}

    def answering(speaker: Speaker | None) -> VoiceModel:
        return given.model or LocalVoiceModel(
            writer,
            speaker,
            transcriber,
            english_only=(
                given.chat is None and settings.chat == "none" and settings.language == ENGLISH
            ),
            language=settings.language,
            spoken=spoken_language(settings),
            voice_fallback=may_fall_silent,
        )

    return Parts(
        embedder,
        answering(voice),
        answering(None),
        transcriber,
        voice,
        {**loads, **hearing, **reading, **speaking},
        _ears(settings, recognizer, transcriber),
        None if unasked else chosen_reranker(settings, stack, scorer),
    )


def _forgiven(warm: Callable[[], None]) -> Callable[[], None]:
    """Return what warms a part that may fail later: a server that is not there yet is no error."""

    def forgiving() -> None:
        try:
            warm()
        except EndpointError as error:
            _logger.warning("the voice is not ready: %s", error)

    return forgiving


def _glm_parts(settings: Settings, stack: ExitStack, given: GivenParts) -> Parts:
    """Create a stack in which GLM-4-Voice answers, speaks and, if selected, transcribes."""
    recognizer = _recognizer(settings, stack)
    embedder, loads = _embedder(settings, stack, recognizer, given)
    served = endpoint(settings, "glm_server") if settings.glm_lm == "vllm" else None
    voice = LateVoice(lambda: open_glm_voice(settings, served, stack))
    transcriber: Transcriber = voice
    hearing: Loads = {}
    if given.transcriber is not None or settings.chosen_transcriber != "glm":
        transcriber, hearing = _transcriber(settings, stack, recognizer, given)
    return Parts(
        embedder,
        voice,
        LateVoice(lambda: voice.opened().silent()),
        transcriber,
        ears=_ears(settings, recognizer, transcriber),
        reranker=chosen_reranker(settings, stack),
        loads={**loads, **hearing, "model": voice.warm},
    )


def _writer(
    settings: Settings, stack: ExitStack, embedder: Embedder, given: ChatFunction | None
) -> tuple[AnswerWriter, Loads, AnswerScorer | None]:
    """Create what writes the answer: the reader, a chat model, or one that rewords the other.

    The chat model is that of the caller or of the settings.

    Returns:
        The writer, what warms it, and the network that reads for every question, if one does.
    """
    chat = chosen_chat(settings, stack) if given is None else given
    if given is not None and not settings.chat_rewords:
        from voicerag_core.local.reading.chat import ChatReader

        return ChatReader(given), {}, None
    from voicerag_core.local.reading.answer_scorer import AnswerScorer
    from voicerag_core.local.reading.reader import Reader

    scorer = AnswerScorer(threads=settings.threads, data_dir=settings.data_dir / "weights")
    english = Reader(scorer)
    loads: Loads = {"reader": scorer.warm}
    reader = reader_of_languages(settings, english, embedder)
    if chat is None:
        return reader, loads, scorer
    if settings.chat_rewords:
        from voicerag_core.local.reading.rewording import RewordingReader

        return with_fallback(settings, RewordingReader(english, chat), reader), loads, scorer
    # The reader that answers when a chat model fails is loaded by the first failure.
    return with_fallback(settings, chat_reader(settings, chat), reader), {}, None


def _recognizer(settings: Settings, stack: ExitStack) -> CTCRecognizer:
    """Create the recogniser that proposes wordings; `stack` closes it."""
    from voicerag_core.local.hearing.ctc_recognizer import CTCRecognizer

    recognizer = CTCRecognizer(threads=settings.threads, data_dir=settings.data_dir / "weights")
    stack.callback(recognizer.close)
    return recognizer


def _ears(settings: Settings, recognizer: CTCRecognizer | None, transcriber: Transcriber) -> Ears:
    from voicerag_core.local.hearing.ears import Ears

    return Ears(recognizer, transcriber, max_question_seconds=settings.max_question_seconds)


def _transcriber(
    settings: Settings,
    stack: ExitStack,
    recognizer: CTCRecognizer,
    given: GivenParts = _NOTHING_GIVEN,
) -> tuple[Transcriber, Loads]:
    """Create a transcriber that is not the answering model; `stack` closes it."""
    if given.transcriber is not None:
        return given.transcriber, _warm("transcriber", given.transcriber)
    if settings.chosen_transcriber == "glm":
        raise ConfigError(
            "GLM-4-Voice transcribes in the stack 'glm' alone; set VOICERAG_STACK=glm, or "
            "VOICERAG_TRANSCRIBER to 'local' or 'sonar'"
        )
    if settings.chosen_transcriber == "sonar":
        sonar = _sonar_transcriber(settings)
        return sonar, {"transcriber": sonar.warm}
    if settings.chosen_transcriber != "local":
        chosen = chosen_transcriber(settings, stack)
        return chosen, _warm("transcriber", chosen)
    from voicerag_core.local.hearing.whisper import WhisperTranscriber

    foreign = settings.language != ENGLISH
    whisper = WhisperTranscriber(
        threads=settings.threads,
        data_dir=settings.data_dir / "weights",
        listener=None if foreign else recognizer,
        multilingual=foreign,
        language=None if settings.language == ANY else settings.language,
    )
    stack.callback(whisper.close)
    return whisper, {"transcriber": whisper.warm}


def _embedder(
    settings: Settings, stack: ExitStack, recognizer: CTCRecognizer, given: GivenParts
) -> tuple[Embedder, Loads]:
    """Create the embedder of text and speech; `stack` closes it."""
    from voicerag_core.local.embedder import HearingEmbedder

    texts: object = given.embedder
    if texts is None and settings.embedder == "sonar":
        sonar = _sonar_embedder(settings)
        return sonar, {"embedder": sonar.warm}
    if hasattr(texts, "embed_speech"):
        return cast("Embedder", texts), _warm("embedder", texts)
    if texts is None:
        texts = chosen_text_embedder(settings, stack)
    elif not hasattr(texts, "embed_passages"):
        raise ConfigError(
            f"a {type(texts).__name__} does not embed for voicerag; wrap a model of a framework: "
            "LangChainEmbedder(embeddings) of voicerag_integrations.langchain, or "
            "LlamaIndexEmbedder(embed_model) of voicerag_integrations.llamaindex"
        )
    if settings.language not in (ENGLISH, ANY):
        from voicerag_core.local.multilingual.hearing import TranscriptEmbedder

        by_words = TranscriptEmbedder(cast("TextEmbedder", texts), settings.language)
        _check_strategy(settings, ("e2e", "adaptive"), by_words.why_not_by_sound)
        return by_words, {"embedder": by_words.warm}
    local = HearingEmbedder(cast("TextEmbedder", texts), recognizer, language=settings.language)
    if local.why_not_by_sound is not None:
        _check_strategy(settings, ("e2e",), local.why_not_by_sound)
    return local, {"embedder": local.warm, "speech encoder": local.warm_speech}


def _check_strategy(settings: Settings, refused: Sequence[Strategy], why: str) -> None:
    """Refuse strategies that search by the sound of a question in the language of the settings."""
    if settings.question_strategy in refused:
        raise ConfigError(
            f"the strategy {settings.question_strategy!r} searches by the sound of a question, and "
            f"{why}"
        )


def _warm(part: Load, given: object) -> Loads:
    """Return what loads a given part now, if it can be."""
    warm = getattr(given, "warm", None)
    return {} if warm is None else {part: warm}


def sonar_folder(settings: Settings) -> Path:
    """Return the folder of SONAR's files."""
    return settings.sonar_weights or settings.data_dir / "weights" / "sonar"


def _sonar_embedder(settings: Settings) -> SonarEmbedder:
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
            "VOICERAG_SONAR_SPEECH_LANGUAGE, or VOICERAG_TRANSCRIBER to 'local'"
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
