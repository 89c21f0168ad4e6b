"""A small cross-encoder that scores how well each sentence of a passage answers a question.

The network reads question and passage together and predicts for every token whether the answer
starts there, ends there, or lies in its sentence; its first token stands for "no answer here". It
is MiniLM with trained layers; the embeddings are those of the packaged MiniLM
(docs/reader-model-card.md).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import CheckpointError, MissingExtraError, ModelError
from voicerag_core.local.onnx_session import open_session
from voicerag_core.local.onnx_tensors import read_tensors
from voicerag_core.local.reading.features import Candidate
from voicerag_core.local.reading.windows import Window, windows
from voicerag_core.local.threads import model_threads
from voicerag_core.local.weights.files import weight_path
from voicerag_core.types import Passage

if TYPE_CHECKING:
    import onnxruntime
    import tokenizers

__all__ = ["SCORES", "AnswerScorer"]

SCORES = ("sentence", "span")
"""Columns of `AnswerScorer.score`: log odds of the sentence, and of an answer's start and end in
it, against "no answer here"."""

MOST_TOKENS = 320
"""Maximum tokens of a question with a window of a passage, as in training."""
MOST_QUESTION_TOKENS = 64
TOKENS_A_QUESTION = 1280
"""Maximum tokens per question: four full windows."""
RECENT_WINDOWS = 32
"""Windows whose scores are kept: a further search for a question finds many passages again."""
STARTS, ENDS, INSIDE = 0, 1, 2
CLS, SEP = 101, 102
EMBEDDINGS = "inner.embeddings."


class AnswerScorer:
    """Scores sentences against a question.

    The model is loaded by the first call that needs it. Thread-safe.

    Args:
        threads: Threads of one call, at least 1; None uses the cores available to this process, at
            most 4.
        data_dir: Folder of downloaded weights; None: the user's data folder.

    Raises:
        ConfigError: `threads` is below 1.
    """

    def __init__(self, threads: int | None = None, data_dir: Path | None = None) -> None:
        self._threads = model_threads(threads)
        self._data_dir = data_dir
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None
        self._recent: OrderedDict[tuple[int, ...], NDArray[np.float32]] = OrderedDict()

    def warm(self) -> None:
        """Load tokenizer, embeddings and model now.

        Raises:
            MissingExtraError: The extra ``local`` is not installed.
            CheckpointError: A weight file is absent, altered or of another form.
        """
        with self._lock:
            if self._loaded is None:
                self._loaded = _load(self._threads, self._data_dir)

    def score(
        self,
        question: str,
        passages: Sequence[Passage],
        sentences: Sequence[Candidate],
        preview: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Score sentences by reading the question with the passages around them.

        A passage is read in windows of whole sentences, each behind its headings. If all windows
        together are longer than 1,280 tokens, those with the best `preview` are read.

        Args:
            question: As text; truncated to 64 tokens.
            passages: The passages of the sentences.
            sentences: `voicerag_core.local.reading.features.candidates` of the passages.
            preview: [N], how likely each sentence is before reading.

        Returns:
            Shape [N, 2], columns as in `SCORES`; NaN for a sentence that was not read.

        Raises:
            ModelError: The model cannot be loaded or failed.
            CancelledError: The running call was cancelled.
        """
        scores = np.full((len(sentences), len(SCORES)), np.nan)
        if not sentences:
            return scores
        self.warm()
        assert self._loaded is not None
        head = [CLS, *self._loaded.tokens(question)[0][:MOST_QUESTION_TOKENS], SEP]
        room = MOST_TOKENS - len(head) - 1
        found = list(windows(self._loaded.tokens, passages, sentences, room))
        found.sort(key=lambda window: -preview[list(window.sentences)].max())
        left = TOKENS_A_QUESTION
        for window in found:
            left -= len(head) + len(window.ids) + 1
            if left < 0:
                break
            check_cancelled()
            logits = self._read(self._loaded, head, window.ids)
            scores[list(window.sentences)] = _summed(logits, window, len(head))
        return scores

    def _read(self, loaded: _Loaded, head: list[int], body: list[int]) -> NDArray[np.float32]:
        """Run the network on question and window, or remember what it said, [T, 3]."""
        key = (len(head), *head, *body)
        with self._lock:
            if key in self._recent:
                self._recent.move_to_end(key)
                return self._recent[key]
        logits = loaded.read(head, body)
        with self._lock:
            self._recent[key] = logits
            while len(self._recent) > RECENT_WINDOWS:
                self._recent.popitem(last=False)
        return logits


def _summed(logits: NDArray[np.float32], window: Window, shift: int) -> NDArray[np.float64]:
    """Sum the network's scores over each sentence's tokens, relative to "no answer here"."""
    none, tokens = logits[0].astype(np.float64), logits[shift:-1].astype(np.float64)
    rows = np.full((len(window.spans), len(SCORES)), np.nan)
    for row, (first, last) in enumerate(window.spans):
        if own := tokens[first:last].tolist():
            odds = np.logaddexp.reduce(own, axis=0) - none
            rows[row] = odds[INSIDE], (odds[STARTS] + odds[ENDS]) / 2
    return rows


@dataclass(frozen=True, slots=True)
class _Loaded:
    """Tokenizer, embeddings and model in memory."""

    tokenizer: tokenizers.Tokenizer
    tables: dict[str, NDArray[Any]]
    session: onnxruntime.InferenceSession

    def tokens(self, text: str) -> tuple[list[int], NDArray[np.int64]]:
        """Return token ids, and [T, 2] the characters of each."""
        # A lone surrogate has no UTF-8 form; "?" is as long.
        clean = text.encode("utf-8", "replace").decode("utf-8")
        coded = self.tokenizer.encode(clean, add_special_tokens=False)
        return coded.ids, np.array(coded.offsets, np.int64).reshape(-1, 2)

    def read(self, head: list[int], body: list[int]) -> NDArray[np.float32]:
        """Run the network on question and window, [T, 3]."""
        ids = np.array([*head, *body, SEP])
        words, positions = self._rows("word", ids), self._rows("position", np.arange(len(ids)))
        kinds = self.tables[EMBEDDINGS + "token_type_embeddings.weight"]
        embedded = words + positions + kinds[(np.arange(len(ids)) >= len(head)).astype(int)]
        try:
            logits: NDArray[np.float32] = self.session.run(["logits"], {"embedded": embedded})[0]
        except Exception as error:
            raise ModelError(f"the reader failed on {len(ids)} tokens: {error}") from error
        return logits

    def _rows(self, table: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        stem = f"{EMBEDDINGS}{table}_embeddings.weight"
        whole, scale = self.tables[f"{stem}_q"], self.tables[f"{stem}_scale"]
        values: NDArray[np.float32] = whole[rows].astype(np.float32) * scale[rows]
        return values


def _load(threads: int, data_dir: Path | None) -> _Loaded:
    """Read tokenizer, embeddings and weights."""
    try:
        import tokenizers
    except ImportError as error:
        raise MissingExtraError("local", "the reader") from error
    vocabulary = weight_path("minilm-tokenizer/minilm_tokenizer.json", data_dir=data_dir)
    weights = weight_path("reader-int8/reader.onnx", data_dir=data_dir)
    parts = ("word_embeddings.weight_q", "word_embeddings.weight_scale",
             "position_embeddings.weight_q", "position_embeddings.weight_scale",
             "token_type_embeddings.weight")  # fmt: skip
    tables = read_tensors(
        weight_path("minilm-int8/model.onnx", data_dir=data_dir),
        {EMBEDDINGS + part for part in parts},
    )
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(vocabulary))
    except Exception as error:
        raise CheckpointError(
            f"the reader's tokenizer cannot be loaded from {vocabulary}: {error}; "
            "reinstall voicerag-core"
        ) from error
    session = open_session(weights, "the reader", threads=threads)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return _Loaded(tokenizer, tables, session)
