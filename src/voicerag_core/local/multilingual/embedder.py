"""Text embeddings in a hundred languages by multilingual-e5-small, with weights of 4 bits."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import MissingExtraError, ModelError
from voicerag_core.local.multilingual.network import EMBEDDED, LENGTHS, STATES, network
from voicerag_core.local.multilingual.packed_file import PackedFile, read_packed
from voicerag_core.local.onnx_session import open_session
from voicerag_core.local.threads import model_threads
from voicerag_core.local.weights.files import weight_path
from voicerag_core.types import Embedding, Embeddings

if TYPE_CHECKING:
    import tokenizers

__all__ = ["MultilingualEmbedder", "moved"]

WEIGHTS = "multilingual-e5-small-q4/e5-small-q4.bin"
QUERY_PREFIX, PASSAGE_PREFIX = "query: ", "passage: "
"""Source: the card of intfloat/multilingual-e5-small: the model was trained with both."""
SHIFT = "multilingual-shift/chinese_shift.npy"
MODEL_ID = "multilingual-e5-small-q4-mean-shift1+'query: '+'passage: '"
"""Model, quantisation, pooling, shift and prefixes: a change of any is another vector space."""
DIM = 384
MAX_BATCH = 16
MAX_BATCH_TOKENS = 1024
"""Tokens of a batch, including padding."""

_SPACES = re.compile(" +")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


class MultilingualEmbedder:
    """Embeds texts in about a hundred languages, 384 dimensions; a `TextEmbedder`.

    Questions find passages in other languages, too. The model sets texts in Chinese apart from
    those in English whatever they say, so Chinese ones are moved by the mean difference of the two
    (training/thresholds/chinese_shift.py). The model is loaded by the first call that needs it.
    Thread-safe.

    Args:
        threads: Threads of one call, at least 1; None uses the cores available, at most 4.
        data_dir: Folder of downloaded weights; None: the user's data folder.
        weights: A file of the same form instead of the packaged one; its vectors are not moved.

    Raises:
        ConfigError: `threads` is below 1.
    """

    sure_gap = 0.01
    """Lead in cosine similarity that makes the best passage sure: the model sets all texts close
    together (training/thresholds/adaptive.py; benchmarks/results/languages.md)."""

    def __init__(
        self,
        threads: int | None = None,
        *,
        data_dir: Path | None = None,
        weights: Path | None = None,
    ) -> None:
        self._threads = model_threads(threads)
        self._data_dir = data_dir
        self._weights = weights
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None

    @property
    def model_id(self) -> str:
        """Model, quantisation, pooling, shift and prefixes."""
        return MODEL_ID

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return DIM if self._weights is None else self._model().packed.sizes.width

    def warm(self) -> None:
        """Load tokenizer and network now.

        Raises:
            MissingExtraError: The extra ``multilingual`` is not installed.
            CheckpointError: The weights are altered or of another form.
        """
        self._model()

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        """Embed N texts of documents as [N, 384]; texts over 512 tokens are truncated.

        Raises:
            ModelError: The model cannot be loaded or failed.
            CancelledError: The running call was cancelled; the current batch ends first.
        """
        return self._rows(texts, PASSAGE_PREFIX)

    def embed_questions(self, texts: Sequence[str]) -> Embeddings:
        """Embed N questions as [N, 384].

        Raises:
            ModelError: The model cannot be loaded or failed.
            CancelledError: The running call was cancelled; the current batch ends first.
        """
        return self._rows(texts, QUERY_PREFIX)

    def _model(self) -> _Loaded:
        with self._lock:
            if self._loaded is None:
                path = self._weights or weight_path(WEIGHTS, data_dir=self._data_dir)
                shift = None
                if self._weights is None:
                    shift = np.load(weight_path(SHIFT, data_dir=self._data_dir))
                self._loaded = _Loaded(path, self._threads, shift)
            return self._loaded

    def _rows(self, texts: Sequence[str], prefix: str) -> Embeddings:
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        model = self._model()
        tokens = [model.tokenize(prefix + text) for text in texts]
        rows = np.zeros((len(texts), model.packed.sizes.width), np.float32)
        for batch in _batches(tokens):
            check_cancelled()
            rows[batch] = model.embed([tokens[i] for i in batch])
        return rows if model.shift is None else moved(rows, texts, model.shift)


class _Loaded:
    """Tokenizer and network in memory; of the table of words only what is used is read.

    Args:
        path: The packed weights.
        threads: Threads of one call.
        shift: What vectors of Chinese texts are moved by.
    """

    def __init__(self, path: Path, threads: int, shift: Embedding | None) -> None:
        self.shift = shift
        self.packed = read_packed(path)
        self._tokenizer = _tokenizer(self.packed)
        self._session = open_session(
            network(self.packed), "the multilingual embedder", threads=threads
        )
        width = self.packed.sizes.width
        first_type = self.packed.floats("emb.type")[:width]
        self._places = self.packed.floats("emb.pos").reshape(-1, width) + first_type

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of a text with those that begin and end it, 512 at most."""
        # A lone surrogate (a file name, a broken JSON escape) has no UTF-8 form.
        clean = text.encode("utf-8", "replace").decode("utf-8").translate(self.packed.characters)
        first, last, _ = self.packed.specials
        ids: list[int] = self._tokenizer.encode(
            _SPACES.sub(" ", clean).strip(), add_special_tokens=False
        ).ids
        return [first, *ids[: self.packed.sizes.most_tokens - 2], last]

    def embed(self, tokens: Sequence[Sequence[int]]) -> Embeddings:
        """Run one batch: the mean over each row's own tokens, of unit length."""
        lengths = np.array([len(own) for own in tokens], np.int32)
        ids = np.zeros((len(tokens), int(lengths.max())), np.int64)
        for row, own in enumerate(tokens):
            ids[row, : len(own)] = own
        mask = np.arange(ids.shape[1]) < lengths[:, None]
        embedded = self.packed.rows("emb.word", ids) + self._places[: ids.shape[1]]
        try:
            states = self._session.run([STATES], {EMBEDDED: embedded, LENGTHS: lengths})[0]
        except Exception as error:
            raise ModelError(
                f"the multilingual embedder failed on a batch of {len(tokens)} texts: {error}"
            ) from error
        means: NDArray[np.float32] = (states * mask[:, :, None]).sum(axis=1) / lengths[:, None]
        norms = np.linalg.norm(means, axis=1, keepdims=True)
        rows: Embeddings = (means / np.maximum(norms, 1e-12)).astype(np.float32)
        return rows


def moved(rows: Embeddings, texts: Sequence[str], shift: Embedding) -> Embeddings:
    """Move each vector by a shift times the share of Chinese characters among the letters."""
    shares = np.array([_chinese_share(text) for text in texts], np.float32)
    sums = rows + shares[:, None] * shift
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    found: Embeddings = (sums / np.maximum(norms, 1e-12)).astype(np.float32)
    return found


def _chinese_share(text: str) -> float:
    return len(_HAN.findall(text)) / max(1, sum(letter.isalpha() for letter in text))


def _tokenizer(packed: PackedFile) -> tokenizers.Tokenizer:
    """Make the unigram tokenizer of the file's pieces."""
    try:
        from tokenizers import Tokenizer, models, pre_tokenizers
    except ImportError as error:
        raise MissingExtraError("multilingual", "the multilingual embedder") from error
    tokenizer = Tokenizer(models.Unigram(packed.pieces, packed.specials[2], byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    return tokenizer


def _batches(tokens: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the indices of the texts, longest first, in batches of bounded size."""
    order = sorted(range(len(tokens)), key=lambda i: -len(tokens[i]))
    at = 0
    while at < len(order):
        size = max(1, min(MAX_BATCH, MAX_BATCH_TOKENS // len(tokens[order[at]])))
        yield order[at : at + size]
        at += size
