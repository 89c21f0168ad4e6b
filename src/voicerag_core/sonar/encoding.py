"""Text and speech to SONAR's raw vectors, in batches."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import CheckpointError, ConfigError
from voicerag_core.sonar.batches import batches_by_length
from voicerag_core.sonar.checkpoint import (
    fingerprint,
    load_speech_encoder,
    load_text_encoder,
    text_sizes,
)
from voicerag_core.sonar.fbank import STACKED, frame_count, stacked_features
from voicerag_core.sonar.guards import (
    MAX_SPEECH_SECONDS,
    check_clips,
    check_texts,
    finite_rows,
    running,
)
from voicerag_core.sonar.languages import text_code
from voicerag_core.sonar.speech_encoder import SonarSpeechEncoder
from voicerag_core.sonar.text_encoder import MAX_TOKENS, TextEncoder
from voicerag_core.sonar.tokenizer import NllbTokenizer
from voicerag_core.types import Audio, Samples

__all__ = ["SpeechVectors", "TextVectors", "chosen_device", "chosen_dtype"]

CPU_BATCH, CPU_TOKENS, CPU_POSITIONS = 16, 1024, 1500
DEVICE_BATCH, DEVICE_TOKENS, DEVICE_POSITIONS = 512, 16_384, 24_000
"""Most inputs of a batch, and most tokens or positions of 20 ms, padding counted.

On a CPU larger batches are no faster, and a cancelled call waits for the batch in work.
"""

_DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}

_Encoder = TypeVar("_Encoder", bound=nn.Module)
_Raw = NDArray[np.float32]


def chosen_device(name: str) -> torch.device:
    """Return the device of this name; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        ConfigError: The name is unknown, or there is no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"the device {name!r} cannot be used ({reason}); give auto, cpu, cuda or mps"
        ) from error
    return device


def chosen_dtype(name: str) -> torch.dtype:
    """Return the number format of this name.

    Raises:
        ConfigError: The name is unknown.
    """
    if name not in _DTYPES:
        raise ConfigError(f"unknown number format {name!r}; choose of {', '.join(_DTYPES)}")
    return _DTYPES[name]


class _Loaded(Generic[_Encoder]):
    """An encoder that is loaded by the first call. Safe to share between threads."""

    def __init__(self, load: Callable[[], _Encoder]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._encoder: _Encoder | None = None

    def __call__(self) -> _Encoder:
        with self._lock:
            if self._encoder is None:
                self._encoder = self._load()
            return self._encoder


class TextVectors:
    """The text encoder with its tokenizer.

    Args:
        checkpoint: See `load_text_encoder`.
        tokenizer: The sentencepiece model; None looks for it in the folder of the checkpoint.
        device: Where the encoder runs.
        dtype: Data type in which it runs.
        heads: See `load_text_encoder`.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str],
        tokenizer: str | os.PathLike[str] | None,
        device: torch.device,
        dtype: torch.dtype,
        heads: int | None = None,
    ) -> None:
        self.checkpoint = Path(checkpoint)
        self.device = device
        self.tokenizer_path = Path(tokenizer or tokenizer_beside(self.checkpoint))
        self._heads = heads
        self._lock = threading.Lock()
        self._tokenizer: NllbTokenizer | None = None
        self._identity: tuple[int, str] | None = None
        self.load = _Loaded(
            lambda: load_text_encoder(self.checkpoint, device=device, dtype=dtype, heads=heads)
        )

    @property
    def identity(self) -> tuple[int, str]:
        """Width of the vectors, and the fingerprint of the training."""
        with self._lock:
            if self._identity is None:
                sizes, weights = text_sizes(self.checkpoint, heads=self._heads)
                self._identity = sizes.width, fingerprint(weights)
            return self._identity

    @property
    def tokenizer(self) -> NllbTokenizer:
        """The tokenizer, loaded on first use."""
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = NllbTokenizer(self.tokenizer_path)
            return self._tokenizer

    def warm(self) -> None:
        """Load tokenizer and weights now."""
        rows, needed = self.load().sizes.vocabulary, self.tokenizer.least_vocabulary
        if rows < needed:
            raise CheckpointError(
                f"{self.checkpoint} knows {rows} tokens and the tokenizer {needed}; they are not "
                "of one model"
            )

    def vectors(self, texts: Sequence[str], language: str) -> _Raw:
        """Return the raw vectors [N, D] of N texts in a language."""
        ids = self.ids(texts, text_code(language))
        if not ids:
            return np.zeros((0, self.identity[0]), np.float32)
        self.warm()
        return encode_ids(self.load(), ids, self.device)

    def ids(self, texts: Sequence[str], code: str) -> list[list[int]]:
        """Return the token ids of each text; longer ones than `MAX_TOKENS` are cut with a warning.

        Raises:
            ConfigError: A single text was given in place of a list.
        """
        check_texts(texts)
        ids = []
        for place, text in enumerate(texts):  # no comprehension: the warning counts its callers
            ids.append(self._ids(place, text, code))
        return ids

    def _ids(self, place: int, text: str, code: str) -> list[int]:
        ids = self.tokenizer.encode(text, code)
        if len(ids) <= MAX_TOKENS:
            return ids
        cut = self.tokenizer.offset(text, MAX_TOKENS)
        warnings.warn(
            f"text {place} has {len(ids)} tokens and SONAR reads {MAX_TOKENS}: it was cut at "
            f"character {cut} of {len(text)}, behind {text[max(0, cut - 30) : cut]!r}; "
            "embed it in sentences or smaller passages",
            stacklevel=5,
        )
        return ids[:MAX_TOKENS]


class SpeechVectors:
    """A speech encoder with its front end.

    Args:
        checkpoint: See `load_speech_encoder`.
        device: Where the encoder runs.
        dtype: Data type in which it runs; the front end always runs in float32.
        max_seconds: Longest clip, at most `MAX_SPEECH_SECONDS`.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str],
        device: torch.device,
        dtype: torch.dtype,
        max_seconds: float = MAX_SPEECH_SECONDS,
    ) -> None:
        self.checkpoint = Path(checkpoint)
        self.device = device
        self._max_seconds = min(max_seconds, MAX_SPEECH_SECONDS)
        self._dtype = dtype
        self.load: _Loaded[SonarSpeechEncoder] = _Loaded(
            lambda: load_speech_encoder(self.checkpoint, device=device, dtype=dtype)
        )

    def vectors(self, clips: Sequence[Audio]) -> _Raw:
        """Return the raw vectors [N, D] of N clips at 16 kHz."""
        check_clips(clips, self._max_seconds)
        samples = [clip.samples for clip in clips]
        return encode_samples(self.load(), samples, self.device, self._dtype)


def encode_ids(encoder: TextEncoder, ids: Sequence[list[int]], device: torch.device) -> _Raw:
    """Return the raw vectors [N, D] of N texts, given as token ids."""
    most, budget = (
        (CPU_BATCH, CPU_TOKENS) if device.type == "cpu" else (DEVICE_BATCH, DEVICE_TOKENS)
    )
    rows = np.empty((len(ids), encoder.sizes.width), np.float32)
    done = []
    for batch in batches_by_length([len(one) for one in ids], most=most, budget=budget):
        check_cancelled()
        with running("text encoder", device):
            tokens, lengths = _padded_ids([ids[place] for place in batch], device)
            done.append((batch, encoder(tokens, lengths)))
    for batch, found in done:  # copied at the end, so that a device need not wait for each batch
        rows[batch] = found.cpu().numpy()
    return finite_rows(rows, "text")


def encode_samples(
    encoder: SonarSpeechEncoder,
    samples: Sequence[Samples],
    device: torch.device,
    dtype: torch.dtype,
) -> _Raw:
    """Return the raw vectors [N, D] of N clips at 16 kHz, which were checked before."""
    most, budget = (
        (CPU_BATCH, CPU_POSITIONS) if device.type == "cpu" else (DEVICE_BATCH, DEVICE_POSITIONS)
    )
    front = "cpu" if device.type == "mps" else device
    rows = np.empty((len(samples), encoder.sizes.width), np.float32)
    lengths = [frame_count(len(one)) // STACKED for one in samples]
    done = []
    for batch in batches_by_length(lengths, most=most, budget=budget):
        check_cancelled()
        with running("speech encoder", device):
            features = stacked_features([samples[place] for place in batch], front)
            padded, sizes = _padded_features(features, device, dtype)
            done.append((batch, encoder(padded, sizes)))
    for batch, found in done:
        rows[batch] = found.cpu().numpy()
    return finite_rows(rows, "speech")


def tokenizer_beside(checkpoint: Path) -> Path:
    folder = checkpoint if os.path.isdir(checkpoint) else checkpoint.parent
    names = ("sentencepiece.source.256000.model", "sentencepiece.bpe.model")
    return next(
        (folder / name for name in names if os.path.isfile(folder / name)), folder / names[0]
    )


def _padded_ids(ids: list[list[int]], device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Pad token ids to [N, S]; return the lengths [N] too, unless all are equal."""
    lengths = [len(one) for one in ids]
    width = max(lengths)
    tokens = torch.tensor([one + [0] * (width - len(one)) for one in ids], device=device)
    return tokens, None if min(lengths) == width else torch.tensor(lengths, device=device)


def _padded_features(
    features: list[Tensor], device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """Pad features to [N, S, F]; return the lengths [N] too, unless all are equal."""
    lengths = [len(one) for one in features]
    padded = nn.utils.rnn.pad_sequence(features, batch_first=True).to(device, dtype)
    equal = min(lengths) == max(lengths)
    return padded, None if equal else torch.tensor(lengths, device=device)
