"""Fit the weights and the threshold of the Chinese reader, and measure it on other titles.

    python -m training.thresholds.chinese_reader --data DATA [--kept FILE.npz]

XQuAD zh: each question with the four best of the 240 paragraphs by vector and words, and once more
with its own paragraph removed. Fitted on the first 24 titles; the figures are those of the last 300
questions of the other titles, by the constants in `voicerag_core.local.reading.chinese`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.speech.typed_sets import Asked, load_xquad
from voicerag_core import Passage
from voicerag_core.chunking import split_sentences
from voicerag_core.local.multilingual.embedder import MultilingualEmbedder
from voicerag_core.local.reading.chinese import (
    MEASURES,
    MOST_PASSAGES,
    WEIGHTS,
    ChineseReader,
    measure_chinese,
)
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, migrate
from voicerag_core.types import Embeddings

CHOICE = ("below", "share", "fit", "first")
ANSWERED = ("share", "similarity", "around", "unknown")
"""Measures that each decision uses."""
PENALTY = 1e-3
TESTED = 300
DECLINED = (0.85, 0.9, 0.95)

Figures: TypeAlias = NDArray[np.float64]
Case: TypeAlias = tuple[Asked, tuple[list[Passage], list[Passage]]]
"""A question with the passages found, and those found without its own."""


class Remembering:
    """Embeds each text once.

    Args:
        path: File that vectors are kept in; None keeps none.
    """

    def __init__(self, path: Path | None) -> None:
        self._embedder = MultilingualEmbedder()
        self.model_id, self.dim = self._embedder.model_id, self._embedder.dim
        self._path = path
        self._known: dict[str, NDArray[np.float32]] = {}
        if path is not None and path.is_file():
            with np.load(path) as kept:
                self._known = dict(zip(kept["keys"].tolist(), kept["rows"], strict=True))

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts of documents."""
        return self._rows("p", texts)

    def embed_questions(self, texts: Sequence[str]) -> Embeddings:
        """Embed questions."""
        return self._rows("q", texts)

    def _rows(self, kind: str, texts: Sequence[str]) -> Embeddings:
        fresh = [text for text in dict.fromkeys(texts) if kind + text not in self._known]
        embed = getattr(self._embedder, "embed_passages" if kind == "p" else "embed_questions")
        self._known |= dict(zip([kind + text for text in fresh], embed(fresh), strict=True))
        return np.stack([self._known[kind + text] for text in texts])

    def keep(self) -> None:
        """Write the file."""
        if self._path is not None:
            rows = np.stack([*self._known.values()])
            np.savez(self._path, keys=np.array(list(self._known)), rows=rows)


def found(
    passages: Sequence[Passage], asked: Sequence[Asked], embedder: Remembering
) -> Iterator[tuple[list[Passage], list[Passage]]]:
    """Yield for each question the passages found, with its own paragraph and without it."""
    with tempfile.TemporaryDirectory() as place, EmbeddedPostgres(Path(place)) as server:
        migrate(server.dsn)
        with PgVectorStore.open(
            server.dsn, model_id=embedder.model_id, dim=embedder.dim, language="simple"
        ) as store:
            parts = [
                [one.text, *(own if len(own := split_sentences(one.text)) > 1 else [])]
                for one in passages
            ]
            owners = np.repeat(np.arange(len(parts)), [len(own) for own in parts])
            rows = embedder.embed_passages([text for own in parts for text in own])
            store.add(passages, rows, owners=owners.astype(np.int64))
            questions = embedder.embed_questions([one.question for one in asked])
            for one, row in zip(asked, questions, strict=True):
                hits = store.search(row, text=one.question, limit=MOST_PASSAGES + 1)
                near = [hit.passage for hit in hits]
                others = [passage for passage in near if passage.id != one.right[0]]
                yield near[:MOST_PASSAGES], others[:MOST_PASSAGES]


def columns(table: Figures, names: Sequence[str]) -> Figures:
    """Return some measures."""
    return table[:, [MEASURES.index(name) for name in names]]


def fitted(rows: Figures, right: NDArray[np.bool_]) -> tuple[Figures, float]:
    """Fit a logistic regression; return its weights and offset."""
    mean, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-9
    scaled = np.hstack(((rows - mean) / spread, np.ones((len(rows), 1))))
    weights = np.zeros(scaled.shape[1])
    penalty = PENALTY * len(rows) * np.array([1.0] * (len(weights) - 1) + [0.0])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-scaled @ weights))
        slope = scaled.T @ (chance - right) + penalty * weights
        curve = (scaled * (chance * (1 - chance))[:, None]).T @ scaled + np.diag(penalty + 1e-9)
        weights -= np.linalg.solve(curve, slope)
    plain = weights[:-1] / spread
    return plain, float(weights[-1] - plain @ mean)


def fit(cases: Sequence[Case], embedder: Remembering) -> None:
    """Fit choice and decision on development questions, and print both."""
    tables, rights = [], []
    without = []
    for one, (whole, others) in cases:
        seen = measure_chinese(one.question, whole, embedder)
        sentences = [seen.sentences[index] for index in seen.read]
        gold = [
            whole[sentence.passage].id == one.right[0] and one.gold[0] in sentence.text
            for sentence in sentences
        ]
        tables.append(seen.table)
        rights.append(np.array(gold))
        without.append(measure_chinese(one.question, others, embedder).table)
    weights, _ = fitted(columns(np.vstack(tables), CHOICE), np.hstack(rights))
    print("choice", dict(zip(CHOICE, weights.round(2).tolist(), strict=True)))

    def best(table: Figures) -> int:
        return int((columns(table, CHOICE) @ weights).argmax())

    chosen = [
        (table[best(table)], right[best(table)])
        for table, right in zip(tables, rights, strict=True)
    ]
    wrong = np.array([table[best(table)] for table in without])
    rows = np.vstack((np.array([row for row, _ in chosen]), wrong))
    right = np.array([answers for _, answers in chosen] + [False] * len(wrong))
    decision, offset = fitted(columns(rows, ANSWERED), right)
    print(
        "answered", dict(zip(ANSWERED, decision.round(2).tolist(), strict=True)), round(offset, 2)
    )
    odds = columns(wrong, ANSWERED) @ decision + offset
    for share in DECLINED:
        print(f"declined {share}: probability {1 / (1 + np.exp(-np.quantile(odds, share))):.3f}")


def measure(cases: Sequence[Case], embedder: Remembering) -> None:
    """Print what the reader does with its constants."""
    reader = ChineseReader(embedder)
    right = answered = declined = 0
    for one, (whole, others) in cases:
        reading = reader.read(one.question, whole)
        answered += reading.answered
        right += reading.answered and one.gold[0] in reading.text
        declined += not reader.read(one.question, others).answered
    count = len(cases)
    print(
        f"{count} questions: {right / count:.3f} answered with the gold, {answered / count:.3f} "
        f"answered; {declined / count:.3f} declined without their paragraph"
    )


def main() -> None:
    """Fit and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with xquad/")
    parser.add_argument("--kept", type=Path, help="file of vectors")
    arguments = parser.parse_args()
    passages, asked = load_xquad(arguments.data / "xquad" / "xquad.zh.json")
    embedder = Remembering(arguments.kept)
    near = list(found([replace(one, metadata={}) for one in passages], asked, embedder))
    cases = list(zip(asked, near, strict=True))
    development = [case for case in cases if case[0].development]
    others = [case for case in cases if not case[0].development]
    fit(development, embedder)
    print("in use", dict(zip(MEASURES, WEIGHTS.tolist(), strict=True)))
    for measured in (development, others[-TESTED:], others):
        measure(measured, embedder)
    embedder.keep()


if __name__ == "__main__":
    main()
