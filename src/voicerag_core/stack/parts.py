"""The concrete parts of each stack, built from settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

from voicerag_core.errors import ConfigError
from voicerag_core.ports import AnswerWriter, Embedder, Speaker, Transcriber, VoiceModel
from voicerag_core.settings import Settings
from voicerag_core.stack.late import LateVoice
from voicerag_core.stack.remote import chat_writer

if TYPE_CHECKING:
    from voicerag_core.glm.voice import GLMVoice
    from voicerag_core.local.reading.chat import ChatFunction
    from voicerag_core.sonar import SonarEmbedder, SonarTranscriber
    from voicerag_core.sonar.files import SonarFiles

__all__ = ["Load", "Loads", "Parts", "open_parts", "sonar_folder"]

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
    """

    embedder: Embedder
    model: VoiceModel
    text_model: VoiceModel
    transcriber: Transcriber | None = None
    speaker: Speaker | None = None
    loads: Loads = field(default_factory=lambda: MappingProxyType({}))


@contextmanager
def open_parts(settings: Settings, *, chat: ChatFunction | None = None) -> Iterator[Parts]:
    """Create the parts of the settings' stack, and close them at the end of the block.

    Nothing is loaded or started before its first use. If a part cannot be created, those created
    before it are closed.

    Args:
        settings: Which stack, and how its parts run.
        chat: A chat model that writes the answers instead of the reader of the local stack.

    Raises:
        ConfigError: The settings contradict each other.
    """
    with ExitStack() as stack:
        if settings.stack == "glm":
            if chat is not None or settings.chat != "none":
                raise ConfigError(
                    "a chat model writes the answers of the stack 'local', not of 'glm'"
                )
            yield _glm_parts(settings, stack)
        else:
            yield _local_parts(settings, stack, chat)


def _local_parts(settings: Settings, stack: ExitStack, chat: ChatFunction | None) -> Parts:
    """Create a stack that quotes documents or lets a chat model answer, and speaks with Piper."""
    from voicerag_core.local.model import LocalVoiceModel

    embedder, loads = _embedder(settings, stack)
    transcriber, hearing = _transcriber(settings, stack)
    weights = settings.data_dir / "weights"
    writer, reading = _writer(settings, stack, weights, chat)
    speaker, speaking = _speaker(stack, weights) if settings.speak else (None, {})
    english_only = chat is None and settings.chat == "none"
    return Parts(
        embedder,
        LocalVoiceModel(writer, speaker, transcriber, english_only=english_only),
        LocalVoiceModel(writer, None, transcriber, english_only=english_only),
        transcriber,
        speaker,
        {**loads, **hearing, **reading, **speaking},
    )


def _glm_parts(settings: Settings, stack: ExitStack) -> Parts:
    """Create a stack in which GLM-4-Voice answers, speaks and, if selected, transcribes."""
    embedder, loads = _embedder(settings, stack)
    voice = LateVoice(lambda: _glm_voice(settings))
    transcriber: Transcriber = voice
    hearing: Loads = {}
    if settings.chosen_transcriber != "glm":
        transcriber, hearing = _transcriber(settings, stack)
    return Parts(
        embedder,
        voice,
        LateVoice(lambda: voice.opened().silent()),
        transcriber,
        loads={**loads, **hearing, "model": voice.warm},
    )


def _glm_voice(settings: Settings) -> GLMVoice:
    """Load GLM-4-Voice according to the settings."""
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


def _writer(
    settings: Settings, stack: ExitStack, weights: Path, chat: ChatFunction | None
) -> tuple[AnswerWriter, Loads]:
    """Create the writer of the answers: the chat model of the caller or the settings, or a reader.

    The reader that answers when a chat model fails is loaded by the first failure.
    """
    if chat is not None:
        return _chat_reader(chat)
    reader, reading = _reader(settings, weights)
    if settings.chat == "none":
        return reader, reading
    return chat_writer(settings, stack, reader), {}


def _reader(settings: Settings, weights: Path) -> tuple[AnswerWriter, Loads]:
    """Create the reader that quotes the answer from the passages."""
    from voicerag_core.local.reading.answer_scorer import AnswerScorer
    from voicerag_core.local.reading.reader import Reader

    scorer = AnswerScorer(threads=settings.threads, data_dir=weights)
    return Reader(scorer), {"reader": scorer.warm}


def _speaker(stack: ExitStack, weights: Path) -> tuple[Speaker, Loads]:
    """Create the speaker of the local stack; `stack` closes it."""
    from voicerag_core.local.speaking.speaker import PiperSpeaker

    piper = stack.enter_context(PiperSpeaker(data_dir=weights))
    return piper, {"speaker": piper.warm}


def _chat_reader(chat: ChatFunction) -> tuple[AnswerWriter, Loads]:
    """Create the writer that lets a chat model write the answer."""
    from voicerag_core.local.reading.chat import ChatReader

    return ChatReader(chat), {}


def _transcriber(settings: Settings, stack: ExitStack) -> tuple[Transcriber, Loads]:
    """Create a transcriber that is not the answering model; `stack` closes it."""
    if settings.chosen_transcriber == "glm":
        raise ConfigError(
            "GLM-4-Voice transcribes in the stack 'glm' alone; set VOICERAG_STACK=glm, or "
            "VOICERAG_TRANSCRIBER to 'local' or 'sonar'"
        )
    if settings.chosen_transcriber == "sonar":
        sonar = _sonar_transcriber(settings)
        return sonar, {"transcriber": sonar.warm}
    from voicerag_core.local.hearing.whisper import WhisperTranscriber

    whisper = WhisperTranscriber(threads=settings.threads, data_dir=settings.data_dir / "weights")
    stack.callback(whisper.close)
    return whisper, {"transcriber": whisper.warm}


def _embedder(settings: Settings, stack: ExitStack) -> tuple[Embedder, Loads]:
    """Create the embedder of text and speech; `stack` closes it."""
    if settings.embedder == "sonar":
        sonar = _sonar_embedder(settings)
        return sonar, {"embedder": sonar.warm}
    from voicerag_core.local.embedder import LocalEmbedder
    from voicerag_core.local.hearing.ctc_recognizer import CTCRecognizer
    from voicerag_core.local.minilm import MiniLMEmbedder

    recognizer = CTCRecognizer(threads=settings.threads, data_dir=settings.data_dir / "weights")
    stack.callback(recognizer.close)
    local = LocalEmbedder(MiniLMEmbedder(threads=settings.threads), recognizer)
    if settings.question_strategy == "asr":  # speech is never embedded then
        return local, {"embedder": local.warm}
    return local, {"embedder": local.warm, "speech encoder": local.warm_speech}


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
