"""Passages as train.py reads them: their sentences as tokens, cut as the reader cuts them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from voicerag_core.local.reading.features import Candidate, candidates
from voicerag_core.local.reading.windows import (
    MOST_HEADING_TOKENS,
    heading_line,
    read_passage,
)
from voicerag_core.local.weights.files import weight_path
from voicerag_core.types import Passage

__all__ = ["Book"]


class Book:
    """Collects passages.

    Each is an object of the file: `s` token ids of each sentence, `m` the mark in front of it or
    0, `k` kind of its block, `h` index of its headings in `heads`, which are token ids.
    """

    def __init__(self) -> None:
        self.passages: list[dict[str, Any]] = []
        self._held: list[tuple[Passage, list[Candidate]]] = []
        path = weight_path("minilm-tokenizer/minilm_tokenizer.json")
        self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def tokens(self, text: str) -> tuple[list[int], NDArray[np.int64]]:
        """Return token ids, and [T, 2] the characters of each."""
        coded = self._tokenizer.encode(text, add_special_tokens=False)
        return coded.ids, np.array(coded.offsets, np.int64).reshape(-1, 2)

    def add(self, passage: Passage) -> int:
        """Add a passage and return its number."""
        sentences = candidates([passage])
        pieces = read_passage(self.tokens, passage, sentences)
        heads: dict[str, int] = {}
        lines = [heading_line(passage, sentence) for sentence in sentences]
        for line in lines:
            heads.setdefault(line, len(heads))
        self.passages.append(
            {
                "s": [ids for ids, _ in pieces],
                "m": [mark or 0 for _, mark in pieces],
                "k": [sentence.kind for sentence in sentences],
                "h": [heads[line] for line in lines],
                "heads": [self.tokens(line)[0][-MOST_HEADING_TOKENS:] for line in heads],
            }
        )
        self._held.append((passage, sentences))
        return len(self.passages) - 1

    def sentences(self, number: int) -> list[Candidate]:
        """Return the sentences of a passage."""
        return self._held[number][1]

    def located(self, number: int, start: int, end: int) -> tuple[list[int], list[int]]:
        """Return the sentences that hold characters start..end, and the very tokens.

        Returns:
            Indices of the sentences; and sentence and token of the first and of the last token.
        """
        passage, sentences = self._held[number]
        own = [i for i, one in enumerate(sentences) if one.start < end and one.end > start]
        if not own:
            return [], []
        places = self.tokens(passage.text)[1]
        touched = np.flatnonzero((places[:, 1] > start) & (places[:, 0] < end))
        ends = []
        for i, token in ((own[0], touched[0]), (own[-1], touched[-1])):
            opened = int(np.flatnonzero(places[:, 1] > sentences[i].start)[0])
            last = len(self.passages[number]["s"][i]) - 1
            ends += [i, min(max(0, int(token) - opened), last)]
        return own, ends
