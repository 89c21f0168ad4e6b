"""SONAR as its authors run it: sonar-space's own pipelines, behind the same guards.

It needs a separate environment, since fairseq2 pins torch and transformers: the extra
``fairseq2``. Vectors are those of `SonarEmbedder`, beyond rounding, and so is the space's name.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from voicerag_core.errors import CheckpointError, MissingExtraError
from voicerag_core.sonar.checkpoint import speech_sizes, text_sizes
from voicerag_core.sonar.encoding import TextVectors, chosen_device
from voicerag_core.sonar.guards import (
    MAX_SPEECH_SECONDS,
    check_clips,
    finite_rows,
    no_speech_encoder,
    running,
    unit_rows,
)
from voicerag_core.sonar.languages import TEXT_CODES, language_pair, text_code
from voicerag_core.sonar.licences import licence_of
from voicerag_core.text import clean_text
from voicerag_core.types import Audio, Embeddings

__all__ = ["Fairseq2SonarEmbedder"]

BATCH = 8


class Fairseq2SonarEmbedder:
    """Embedder over sonar-space's pipelines, in float32.

    fairseq2 is imported and the models are loaded by the first call that needs them. Safe to share
    between threads; one call runs at a time.

    Args:
        text: Text encoder, a ``.pt`` or ``.safetensors`` file.
        speech: Speech encoder of one language, a file; None embeds text only.
        tokenizer: sentencepiece model; None looks for it in the folder of the text encoder.
        language: Language of texts, by either code: ``eng_Latn`` or ``eng``.
        speech_language: Language of the speech encoder; None takes that of the texts.
        cross_lingual: Allow two languages: questions in one, documents in the other.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        heads: Attention heads of a text encoder that is not 1024 wide, as SONAR's own is.
        max_seconds: Longest clip of `embed_speech`.

    Raises:
        ConfigError: See `SonarEmbedder`.
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
        heads: int | None = None,
        max_seconds: float = MAX_SPEECH_SECONDS,
    ) -> None:
        self._speech_path = None if speech is None else Path(speech)
        self.language, self.speech_language = language_pair(
            language,
            None if self._speech_path is None else self._speech_path.name,
            speech_language,
            cross_lingual=cross_lingual,
        )
        self._device = chosen_device(device)
        # our own reader of the same files: names the space, counts tokens, and is never loaded
        self._text = TextVectors(text, tokenizer, self._device, torch.float32, heads)
        self._heads = heads
        self._max_seconds = min(max_seconds, MAX_SPEECH_SECONDS)
        self._lock = threading.Lock()
        self._text_pipeline: Any = None
        self._speech_pipeline: Any = None

    @property
    def model_id(self) -> str:
        """Names the space, as `SonarEmbedder.model_id`."""
        width, training = self._text.identity
        return f"sonar-{width}-{training}"

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self._text.identity[0]

    @property
    def needs_transcriber(self) -> bool:
        """False: a clip is embedded without a transcript."""
        return False

    @property
    def licences(self) -> dict[str, str]:
        """Licence of each checkpoint, by the name of its file."""
        paths = [self._text.checkpoint, *([self._speech_path] if self._speech_path else [])]
        return {path.name: licence_of(path.name) for path in paths}

    def warm(self) -> None:
        """Load everything now.

        Raises:
            MissingExtraError: The extra ``fairseq2`` is not installed.
            CheckpointError: A file is absent or of another model.
        """
        with self._lock:
            if self._text_pipeline is None:
                self._text_pipeline = _loaded(self._text.checkpoint, self._load_text)
            if self._speech_pipeline is None and self._speech_path is not None:
                self._speech_pipeline = _loaded(self._speech_path, self._load_speech)

    def embed_passages(self, texts: Sequence[str], *, language: str | None = None) -> Embeddings:
        """Embed N texts as [N, D]; see `SonarEmbedder.embed_passages`.

        Raises:
            ConfigError: The language is unknown.
            ModelError: The model cannot be loaded or failed.
        """
        code = text_code(language or self.language)
        self._text.ids(texts, code)  # refuses what is no list, warns of what will be cut
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        self.warm()
        clean = [clean_text(text) for text in texts]
        with self._lock, running("text encoder", self._device), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*the length was truncated")
            found = self._text_pipeline.predict(clean, source_lang=code, batch_size=BATCH)
        return unit_rows(finite_rows(found.cpu().numpy(), "text"))

    def embed_questions(self, texts: Sequence[str], *, language: str | None = None) -> Embeddings:
        """Embed N questions, which SONAR treats as any other text; see `embed_passages`."""
        return self.embed_passages(texts, language=language)

    def embed_speech(self, clips: Sequence[Audio]) -> Embeddings:
        """Embed N clips of speech at 16 kHz, one vector each, as [N, D].

        Raises:
            ConfigError: The embedder was made without a speech encoder.
            AudioError: A clip is not at 16 kHz, silent, not finite, below 35 ms or too long.
            ModelError: The model cannot be loaded or failed.
        """
        if self._speech_path is None:
            raise no_speech_encoder("Fairseq2SonarEmbedder")
        if not clips:
            return np.zeros((0, self.dim), np.float32)
        check_clips(clips, self._max_seconds)
        self.warm()
        waves = [torch.from_numpy(clip.samples)[None] for clip in clips]
        with self._lock, running("speech encoder", self._device):
            found = self._speech_pipeline.predict(waves, batch_size=BATCH)
        return unit_rows(finite_rows(found.cpu().numpy(), "speech"))

    def _load_text(self) -> Any:  # noqa: ANN401 - a type of sonar-space
        from fairseq2.models.nllb import get_nllb_tokenizer_hub
        from fairseq2.models.nllb.tokenizer import NllbTokenizerConfig
        from sonar.inference_pipelines.text import TextToEmbeddingModelPipeline
        from sonar.models.sonar_text import get_sonar_text_encoder_hub

        sizes, weights = text_sizes(self._text.checkpoint, heads=self._heads)
        hub = get_sonar_text_encoder_hub()
        config = hub.get_arch_config("basic")
        config.model_dim, config.ffn_inner_dim = sizes.width, sizes.inner
        config.num_encoder_layers = config.num_decoder_layers = sizes.layers
        config.num_encoder_attn_heads = config.num_decoder_attn_heads = sizes.heads
        config.vocab_info = replace(config.vocab_info, size=sizes.vocabulary)
        model = hub.load_custom_model(
            weights.path, config, device=self._device, dtype=torch.float32, progress=False
        )
        tokenizer = get_nllb_tokenizer_hub().load_custom_tokenizer(
            self._text.tokenizer_path,
            NllbTokenizerConfig(langs=list(TEXT_CODES), default_lang=self.language),
        )
        return TextToEmbeddingModelPipeline(model, tokenizer, device=self._device)

    def _load_speech(self) -> Any:  # noqa: ANN401 - a type of sonar-space
        from sonar.inference_pipelines.speech import SpeechToEmbeddingModelPipeline
        from sonar.models.sonar_speech import get_sonar_speech_encoder_hub

        assert self._speech_path is not None
        sizes, weights = speech_sizes(self._speech_path)
        hub = get_sonar_speech_encoder_hub()
        config = hub.get_arch_config("non_english")
        config.model_dim, config.ffn_inner_dim = sizes.width, sizes.pooler_inner
        config.num_decoder_layers = sizes.pooler_layers
        config.num_decoder_attn_heads = sizes.heads
        encoder = config.w2v2_encoder_config
        encoder.model_dim, encoder.ffn_inner_dim = sizes.width, sizes.inner
        encoder.num_encoder_layers = sizes.layers
        encoder.num_encoder_attn_heads = sizes.heads
        model = hub.load_custom_model(
            weights.path, config, device=self._device, dtype=torch.float32, progress=False
        )
        return SpeechToEmbeddingModelPipeline(model, device=self._device)


def _loaded(path: Path, load: Callable[[], Any]) -> Any:  # noqa: ANN401 - a type of sonar-space
    """Start fairseq2, once per process, and load; raise errors of our tree."""
    try:
        import sonar  # noqa: F401 - as the import is what is tried
        from fairseq2 import init_fairseq2
        from fairseq2.error import InvalidOperationError
    except (ImportError, RuntimeError, OSError) as error:  # RuntimeError: beside another torch
        raise MissingExtraError("fairseq2", "Fairseq2SonarEmbedder") from error
    with suppress(InvalidOperationError):  # the program did it before
        init_fairseq2(no_progress=True)
    try:
        return load()
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{path} cannot be loaded by fairseq2: {error}") from error
