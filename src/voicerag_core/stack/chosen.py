"""Parts that the settings choose by a folder, a hub name or a URL."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from voicerag_core.errors import CheckpointError, ConfigError
from voicerag_core.files import read_json
from voicerag_core.languages import ANY, ENGLISH, language_name
from voicerag_core.ports import Reranker, Speaker, TextEmbedder, Transcriber
from voicerag_core.settings import Part, Settings
from voicerag_core.stack.remote import HTTP, endpoint

if TYPE_CHECKING:
    from voicerag_core.local.hearing.whisper import WhisperTranscriber
    from voicerag_core.local.reading.answer_scorer import AnswerScorer

__all__ = [
    "chosen_folder",
    "chosen_reranker",
    "chosen_speaker",
    "chosen_text_embedder",
    "chosen_transcriber",
    "lacks_voice",
    "no_voice",
    "spoken_language",
    "usual_prefixes",
]

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")

_ESPEAK_CODES: Final = MappingProxyType({"cmn": "zh"})
"""espeak-ng's names of languages that have another ISO 639-1 code."""

_USUAL_PREFIXES: Final = (
    # Source: the model cards on the hub: "How to use", "Usage".
    (r"\be5-(?!mistral).*(?<!instruct)$", ("query: ", "passage: ")),
    (r"\bnomic-embed-text", ("search_query: ", "search_document: ")),
    (
        r"\bbge-(small|base|large)-en|\bmxbai-embed|\bsnowflake-arctic-embed(?!.*v2)",
        ("Represent this sentence for searching relevant passages: ", ""),
    ),
)
"""Families of models whose files do not name the prefixes that they were trained with."""


def usual_prefixes(name: str) -> tuple[str, str]:
    """Return the prefixes of questions and documents that a family of models was trained with."""
    for pattern, prefixes in _USUAL_PREFIXES:
        if re.search(pattern, name.lower().rpartition("/")[2]):
            return prefixes
    return "", ""


def chosen_text_embedder(settings: Settings, stack: ExitStack) -> TextEmbedder:
    """Create the model that embeds texts; `stack` closes it.

    Raises:
        ConfigError: The settings of the model are missing or contradict each other.
        CheckpointError: The folder holds no such model.
    """
    if settings.multilingual:
        from voicerag_core.local.multilingual.embedder import MultilingualEmbedder

        return MultilingualEmbedder(settings.threads, data_dir=settings.data_dir / "weights")
    if settings.embedder == "local":
        from voicerag_core.local.minilm import MiniLMEmbedder

        return MiniLMEmbedder(threads=settings.threads)
    query = _prefix(settings.embedder_query_prefix)
    passage = _prefix(settings.embedder_passage_prefix)
    if settings.embedder == HTTP:
        from voicerag_core.remote.embedder import EmbeddingEndpoint

        usual = usual_prefixes(settings.embedder_model)
        return stack.enter_context(
            EmbeddingEndpoint(
                endpoint(settings, "embedder"),
                dim=settings.embedder_dim,
                query_prefix=usual[0] if query is None else query,
                passage_prefix=usual[1] if passage is None else passage,
                most_texts=settings.embedder_batch,
            )
        )
    from voicerag_core.local.onnx_embedder import OnnxEmbedder

    folder = chosen_folder(settings, "embedder", ("local", "multilingual", "sonar", HTTP))
    name = settings.embedder if _is_hub_name(settings.embedder) else folder.resolve().name
    return OnnxEmbedder(
        folder,
        name=name,
        query_prefix=query,
        passage_prefix=passage,
        usual=usual_prefixes(name),
        threads=settings.threads,
    )


def chosen_transcriber(settings: Settings, stack: ExitStack) -> Transcriber:
    """Create a recogniser behind a URL or in a folder; `stack` closes it.

    Raises:
        ConfigError: The settings of the model are missing or contradict each other.
        CheckpointError: The folder holds no such model.
    """
    language = None if settings.language == ANY else settings.language
    if settings.chosen_transcriber == HTTP:
        from voicerag_core.remote.transcriber import TranscriptionEndpoint

        return stack.enter_context(
            TranscriptionEndpoint(endpoint(settings, "transcriber"), language=language)
        )
    from voicerag_core.local.hearing.whisper import WhisperTranscriber

    folder = chosen_folder(settings, "transcriber", ("local", "glm", "sonar", HTTP))
    for name in ("model.bin", "tokenizer.json"):
        if not os.path.isfile(folder / name):
            raise CheckpointError(
                f"{folder} (VOICERAG_TRANSCRIBER) has no {name}; a Whisper model for CTranslate2 "
                "has model.bin, config.json, a vocabulary and tokenizer.json"
            )
    whisper: WhisperTranscriber = WhisperTranscriber(
        threads=settings.threads, folder=folder, language=language
    )
    stack.callback(whisper.close)
    return whisper


def lacks_voice(settings: Settings) -> bool:
    """Return whether there is no voice for the language of the settings in a package."""
    return settings.voice == "local" and settings.language not in (ENGLISH, ANY)


def no_voice(settings: Settings) -> tuple[str, str]:
    """Return that there is no voice for the language of the settings, and what to do about it."""
    language = f"{language_name(settings.language)} (VOICERAG_LANGUAGE={settings.language})"
    cure = "set VOICERAG_VOICE to a Piper voice (.onnx), or to 'http' with VOICERAG_VOICE_URL"
    return f"no package holds a voice for {language}", cure


def spoken_language(settings: Settings) -> str | None:
    """Return the code of the only language that the voice of the settings speaks, or None."""
    return ENGLISH if settings.voice == "local" else None


def _language_of_voice(path: Path, otherwise: str) -> str:
    """Return the code of the language that a Piper voice's settings name, if they name one."""
    try:
        said = read_json(path)
        name = said.get("language", {}).get("family") or said["espeak"]["voice"]
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return otherwise
    code = re.split("[-_]", str(name))[0]
    return _ESPEAK_CODES.get(code, code)


def chosen_speaker(settings: Settings, stack: ExitStack) -> Speaker:
    """Create the voice of the local stack; `stack` closes it.

    Raises:
        ConfigError: The settings of the voice are missing or contradict each other.
        CheckpointError: There is no such voice.
    """
    if settings.voice == HTTP:
        from voicerag_core.local.speaking.segments import read_line, spoken_line
        from voicerag_core.remote.speaker import SpeechEndpoint

        in_words = partial(spoken_line, language=settings.language)
        return stack.enter_context(
            SpeechEndpoint(
                endpoint(settings, "voice"),
                voice=settings.voice_name,
                rate=settings.voice_rate,
                form=in_words if settings.voice_in_words else read_line,
            )
        )
    from voicerag_core.local.speaking.speaker import PiperSpeaker

    if lacks_voice(settings):
        raise ConfigError("; ".join(no_voice(settings)))
    voice: Path | None = None
    language = ENGLISH
    if settings.voice != "local":
        voice = Path(settings.voice).expanduser()
        for path in (voice, Path(f"{voice}.json")):
            if not os.path.isfile(path):
                raise CheckpointError(
                    f"VOICERAG_VOICE is 'local', 'http' or the .onnx file of a Piper voice with "
                    f"its .onnx.json beside it; not found: {path}"
                )
        language = _language_of_voice(Path(f"{voice}.json"), settings.language)
    return stack.enter_context(
        PiperSpeaker(voice, data_dir=settings.data_dir / "weights", language=language)
    )


def chosen_reranker(
    settings: Settings, stack: ExitStack, scorer: AnswerScorer | None = None
) -> Reranker | None:
    """Create the model that sorts passages anew, or none; `stack` closes it.

    Args:
        settings: Say which.
        stack: Closes it.
        scorer: That of the reader, which then does not read again what was sorted.

    Raises:
        ConfigError: The settings of the model are missing or contradict each other.
        CheckpointError: The folder holds no such model.
    """
    chosen = settings.chosen_reranker
    if chosen == "none":
        return None
    if chosen == HTTP:
        from voicerag_core.remote.reranker import RerankEndpoint

        return stack.enter_context(RerankEndpoint(endpoint(settings, "reranker")))
    if chosen == "local":
        from voicerag_core.local.reading.answer_scorer import AnswerScorer
        from voicerag_core.local.reading.reranker import ReaderReranker

        weights = settings.data_dir / "weights"
        return ReaderReranker(scorer or AnswerScorer(settings.threads, weights))
    from voicerag_core.local.cross_encoder import CrossEncoder

    return CrossEncoder(
        chosen_folder(settings, "reranker", ("none", "local", HTTP)), threads=settings.threads
    )


def chosen_folder(settings: Settings, part: Part, others: Sequence[str]) -> Path:
    """Return the folder of a part that is chosen by a folder or by a name on the hub.

    Args:
        settings: Choose it.
        part: The part.
        others: What else may be chosen, for messages.

    Raises:
        ConfigError: The choice is none of them.
        CheckpointError: The model was not downloaded, or another revision of it.
    """
    choice = settings.choice(part)
    folder = Path(choice).expanduser()
    if os.path.isdir(folder):
        return folder
    if not _is_hub_name(choice):
        raise ConfigError(
            f"VOICERAG_{part.upper()} is {', '.join(map(repr, others))}, an existing folder or a "
            f"name on the hub (OWNER/NAME), not {choice!r}"
        )
    from voicerag_core.local.weights.hub import downloaded

    revision: str | None = getattr(settings, f"{part}_revision")
    return downloaded(choice, settings.data_dir / "weights", revision=revision)


def _is_hub_name(choice: str) -> bool:
    return _HUB_NAME.fullmatch(choice) is not None and not os.path.isdir(Path(choice).expanduser())


def _prefix(given: str | None) -> str | None:
    """Return a given prefix; "none" stands for an empty one, which no variable can hold."""
    return "" if given == "none" else given
