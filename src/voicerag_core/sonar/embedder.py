"""SONAR as an embedder: text and speech of many languages in one space, in plain torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from voicerag_core.errors import CheckpointError
from voicerag_core.sonar.encoding import (
    SpeechVectors,
    TextVectors,
    chosen_device,
    chosen_dtype,
)
from voicerag_core.sonar.guards import MAX_SPEECH_SECONDS, no_speech_encoder, unit_rows
from voicerag_core.sonar.languages import language_pair
from voicerag_core.sonar.licences import licence_of
from voicerag_core.types import Audio, Embeddings

__all__ = ["SonarEmbedder"]


class SonarEmbedder:
    """Embedder of text and speech that needs no transcript.

    It takes the checkpoints that SONAR's authors publish, unchanged; they are loaded by the first
    call that needs them. Safe to share between threads.

    Args:
        text: Text encoder: a ``.pt`` or ``.safetensors`` file, or a folder of transformers'
            `M2M100Encoder`.
        speech: Speech encoder of one language, a file; None embeds text only.
        tokenizer: sentencepiece model; None looks for it in the folder of the text encoder.
        language: Language of texts, by either code: ``eng_Latn`` or ``eng``.
        speech_language: Language of the speech encoder; None takes that of the texts.
        cross_lingual: Allow two languages: questions in one, documents in the other.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        heads: Attention heads of the text encoder; needed where it is not 1024 wide, as SONAR's
            own is, and is no folder with a config.json.
        max_seconds: Longest clip of `embed_speech`.

    Raises:
        ConfigError: A language is unknown or has no speech encoder, the two differ, or the speech
            encoder's file is named as one of another language; device or number format is unknown.
    """

    def __init__(
        self,
        text: str | os.PathLike[str],
        speech: str | os.PathLike[str] | None = None,
        tokenizer: str | os.PathLike[str] | None = None,
        *,
        language: str = "eng_Latn",
        speech_language: str | None = None,
        cross_lingual: bool = False,
        device: str = "auto",
        dtype: str = "float32",
        heads: int | None = None,
        max_seconds: float = MAX_SPEECH_SECONDS,
    ) -> None:
        self.language, self.speech_language = language_pair(
            language,
            None if speech is None else Path(speech).name,
            speech_language,
            cross_lingual=cross_lingual,
        )
        where, kept = chosen_device(device), chosen_dtype(dtype)
        self._text = TextVectors(text, tokenizer, where, kept, heads)
        self._speech = None if speech is None else SpeechVectors(speech, where, kept, max_seconds)

    @property
    def model_id(self) -> str:
        """Id of the vector space, that of the text encoder; SONAR's speech encoders share it.

        Raises:
            CheckpointError: The text encoder cannot be read.
        """
        width, training = self._text.identity
        return f"sonar-{width}-{training}"

    @property
    def dim(self) -> int:
        """Width of the vectors, 1024 for the published encoders."""
        return self._text.identity[0]

    @property
    def needs_transcriber(self) -> bool:
        """False: a clip is embedded without a transcript."""
        return False

    @property
    def licences(self) -> dict[str, str]:
        """Licence of each checkpoint, by the name of its file."""
        paths = [self._text.checkpoint, *([self._speech.checkpoint] if self._speech else [])]
        return {path.name: licence_of(path.name) for path in paths}

    def warm(self) -> None:
        """Load everything now.

        Raises:
            MissingExtraError: The extra ``sonar`` is not installed.
            CheckpointError: A file is absent, unsafe, incomplete, or of another model.
        """
        self._text.warm()
        if self._speech is not None:
            width = self._speech.load().sizes.width
            if width != self.dim:
                raise CheckpointError(
                    f"{self._speech.checkpoint} makes vectors of width {width}, and "
                    f"{self._text.checkpoint} of width {self.dim}; they are not of one space"
                )

    def embed_passages(self, texts: Sequence[str], *, language: str | None = None) -> Embeddings:
        """Embed N texts; texts longer than 514 tokens are truncated, with a warning.

        Args:
            texts: Any strings; a string that looks like a path is a text, too.
            language: Of these texts, None for that of the embedder.

        Returns:
            Shape [N, D], float32, L2-normalised.

        Raises:
            ConfigError: The language is unknown.
            ModelError: The model cannot be loaded or failed.
        """
        return unit_rows(self._text.vectors(texts, language or self.language))

    def embed_questions(self, texts: Sequence[str], *, language: str | None = None) -> Embeddings:
        """Embed N questions, which SONAR treats as any other text; see `embed_passages`."""
        return self.embed_passages(texts, language=language)

    def embed_speech(self, clips: Sequence[Audio]) -> Embeddings:
        """Embed N clips of speech at 16 kHz, one vector each, as [N, D].

        A recording longer than a question is better cut with
        `voicerag_core.recordings.speech_windows` and kept as several vectors.

        Raises:
            ConfigError: The embedder was made without a speech encoder.
            AudioError: A clip is not at 16 kHz, silent, not finite, below 35 ms or too long.
            ModelError: The model cannot be loaded or failed.
        """
        if self._speech is None:
            raise no_speech_encoder("SonarEmbedder")
        if not clips:
            return np.zeros((0, self.dim), np.float32)
        return unit_rows(self._speech.vectors(clips))
