"""Transcripts from SONAR's vectors, without a speech recogniser."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import torch

from voicerag_core.errors import AudioError, ConfigError
from voicerag_core.sonar.checkpoint import load_text_decoder
from voicerag_core.sonar.encoding import (
    SpeechVectors,
    chosen_device,
    chosen_dtype,
    tokenizer_beside,
)
from voicerag_core.sonar.guards import running
from voicerag_core.sonar.languages import text_code
from voicerag_core.sonar.text_decoder import MAX_DECODED, TextDecoder, beam_search
from voicerag_core.sonar.tokenizer import NllbTokenizer
from voicerag_core.types import Audio, Embedding, Transcription

__all__ = ["SonarTranscriber"]


class SonarTranscriber:
    """Transcriber that decodes SONAR's vector of a clip into any language of its text encoder.

    It renders the meaning rather than the exact words: good enough for keyword search, and a
    translation when `language` is not that of the speech. Files are loaded by the first call. Safe
    to share between threads.

    Args:
        speech: Speech encoder, a file.
        decoder: Text decoder, a file.
        tokenizer: sentencepiece model; None looks for it in the folder of the decoder.
        language: To write in, by either code.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        beams: Width of the beam search.
        max_tokens: Longest transcript in tokens, 3 to 512.
        heads: Attention heads of a decoder that is not 1024 wide, as SONAR's own is.

    Raises:
        ConfigError: The language, device or number format is unknown, or a number is out of range.
    """

    def __init__(
        self,
        speech: str | os.PathLike[str],
        decoder: str | os.PathLike[str],
        tokenizer: str | os.PathLike[str] | None = None,
        *,
        language: str = "eng_Latn",
        device: str = "auto",
        dtype: str = "float32",
        beams: int = 5,
        max_tokens: int = 128,
        heads: int | None = None,
    ) -> None:
        if beams < 1 or not 3 <= max_tokens <= MAX_DECODED:  # noqa: PLR2004 - prompt and end
            raise ConfigError(
                f"a transcript takes at least 1 beam and 3 to {MAX_DECODED} tokens, "
                f"not {beams} and {max_tokens}"
            )
        self.language = text_code(language)
        self._device, self._dtype = chosen_device(device), chosen_dtype(dtype)
        self._speech = SpeechVectors(speech, self._device, self._dtype)
        self._decoder_path = Path(decoder)
        self._tokenizer_path = tokenizer
        self._beams, self._limit = beams, max_tokens
        self._heads = heads
        self._lock = threading.Lock()
        self._loaded: tuple[TextDecoder, NllbTokenizer] | None = None

    def warm(self) -> None:
        """Load everything now.

        Raises:
            MissingExtraError: The extra ``sonar`` is not installed.
            CheckpointError: A file is absent, unsafe, incomplete, or of another model.
        """
        self._speech.load()
        self._parts()

    def transcribe(self, audio: Audio) -> Transcription:
        """Return the transcript of a clip at 16 kHz.

        Raises:
            AudioError: The clip is not at 16 kHz, or contains no speech.
            ModelError: The model cannot be loaded or failed.
        """
        try:
            vector = self._speech.vectors([audio])[0]
        except AudioError as error:
            raise AudioError(f"no speech was heard: {error}") from error
        text = self.decode(vector)
        if not text:
            raise AudioError("no speech was heard in the clip: its vector stands for no words")
        return Transcription(text, language=self.language)

    def decode(self, vector: Embedding) -> str:
        """Return the text of a raw vector of SONAR's space.

        Args:
            vector: [D], as the encoders return it, before it is scaled to length 1.
        """
        decoder, tokenizer = self._parts()
        with running("text decoder", self._device):
            raw = torch.from_numpy(vector)[None].to(self._device, self._dtype)
            language = tokenizer.language_token(self.language)
            found = beam_search(decoder, raw, language, beams=self._beams, limit=self._limit)
        return tokenizer.decode(found.tokens).strip()

    def _parts(self) -> tuple[TextDecoder, NllbTokenizer]:
        with self._lock:
            if self._loaded is None:
                path = self._tokenizer_path or tokenizer_beside(self._decoder_path)
                decoder = load_text_decoder(
                    self._decoder_path,
                    device=self._device,
                    dtype=self._dtype,
                    heads=self._heads,
                )
                self._loaded = decoder, NllbTokenizer(path)
            return self._loaded
