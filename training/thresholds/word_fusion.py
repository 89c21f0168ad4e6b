"""Choose how words and vector make one ranking, on the development half of four sets.

    python -m training.thresholds.word_fusion --data DATA --out benchmarks/results/word_fusion.md

Tries reciprocal ranks, and sums of the cosine and a weighted share of the question's words, with
several saturations and weights of length (k1 and b of BM25). The share is BM25 over its greatest
possible value, or over the best passage's. Words are those that Postgres makes of title, headings
and text. Chosen: `voicerag_core/store/word_sql.py` and the sum in `search_sql.py`. Measured on all
questions: `benchmarks.speech.typed_retrieval`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from benchmarks import chart
from benchmarks.speech.typed_sets import Asked, CachedEmbedder, load_mixed, load_xquad
from voicerag_core import Passage, load_settings, open_voicerag
from voicerag_core.rag import embed_passages
from voicerag_core.store import EmbeddedPostgres, migrate

SHAPES = ((0.6, 0.6), (0.6, 0.4), (0.9, 0.4), (1.2, 0.75))
"""k1 and b."""
OF_MAXIMUM = (0.2, 0.3, 0.4, 0.5)
OF_POSSIBLE = (0.3, 0.5, 0.7, 1.0, 1.4)
"""Weights of the words' part, where it is over the best passage's and over the possible."""
CUTS = (1, 4)
DEPTH, RANK_CONSTANT = 50, 60

LEXEMES = """
    SELECT lexeme, cardinality(positions) FROM
    unnest(voicerag.passage_words('english', %(text)s, %(metadata)s::jsonb))
"""

Scores = NDArray[np.float64]
"""[questions, passages]."""


@dataclass(frozen=True, slots=True)
class Base:
    """The development questions of a collection, compared with all of its passages.

    Args:
        asked: The questions.
        right: For each the columns of the passages that answer it.
        cosines: [Q, P], of the nearest vector of each passage.
        rarity: For each question the weight of each of its words.
        counts: For each question how often each of its words stands in each passage, [W, P].
        lengths: Different words of each passage, [P].
    """

    asked: list[Asked]
    right: list[list[int]]
    cosines: Scores
    rarity: list[NDArray[np.float64]]
    counts: list[Scores]
    lengths: NDArray[np.float64]

    def words(self, k1: float, b: float) -> tuple[Scores, Scores]:
        """Return the words' part of each passage, and the greatest possible of each question."""
        stretch = k1 * (1 - b + b * self.lengths / self.lengths.mean())
        scores = [w @ (n / (n + stretch)) for w, n in zip(self.rarity, self.counts, strict=True)]
        return np.stack(scores), np.array([[max(w.sum(), 1e-9)] for w in self.rarity])

    def ranks(self, scores: Scores) -> NDArray[np.int64]:
        """Return for each question how many passages are ahead of the best right one."""
        return np.array(
            [min((row > row[own]).sum() for own in right)
             for row, right in zip(scores, self.right, strict=True)]
        )  # fmt: skip


def compared(
    connection: psycopg.Connection[tuple[object, ...]], embedder: CachedEmbedder,
    passages: Sequence[Passage], asked: Sequence[Asked],
) -> Base:  # fmt: skip
    """Embed passages and questions, and count their words."""
    held: dict[str, dict[int, int]] = {}
    lengths = np.zeros(len(passages))
    for column, passage in enumerate(passages):
        metadata = Jsonb(dict(passage.metadata))
        for word, count in _lexemes(connection, passage.text, metadata):
            held.setdefault(word, {})[column] = count
            lengths[column] += 1
    chosen = [one for one in asked if one.development]
    rarity, counts = [], []
    for one in chosen:
        words = [word for word, _ in _lexemes(connection, one.question, Jsonb({}))]
        table = np.zeros((len(words), len(passages)))
        for row, word in enumerate(words):
            for column, count in held.get(word, {}).items():
                table[row, column] = count
        counts.append(table)
        rarity.append(np.log(1 + len(passages) / np.maximum((table > 0).sum(axis=1), 1)))
    vectors, owners = embed_passages(embedder, passages, sentences=True)
    similar = embedder.embed_passages([one.question for one in chosen]) @ vectors.T
    starts = np.searchsorted(owners, np.arange(len(passages)))
    columns = {passage.id: column for column, passage in enumerate(passages)}
    return Base(
        chosen, [[columns[key] for key in one.right] for one in chosen],
        np.maximum.reduceat(similar, starts, axis=1).astype(np.float64), rarity, counts, lengths,
    )  # fmt: skip


def _lexemes(
    connection: psycopg.Connection[tuple[object, ...]], text: str, metadata: object
) -> Iterator[tuple[str, int]]:
    for word, count in connection.execute(LEXEMES, {"text": text, "metadata": metadata}):
        yield str(word), int(str(count))


def reciprocal(cosines: Scores, words: Scores) -> Scores:
    """Sum the reciprocal ranks of the best `DEPTH` of both."""
    fused = np.zeros_like(cosines)
    for scores, least in ((cosines, -2.0), (words, 0.0)):
        for row, own in enumerate(scores):
            best = np.argsort(-own, kind="stable")[:DEPTH]
            best = best[own[best] > least]
            fused[row, best] += 1 / (RANK_CONSTANT + 1 + np.arange(len(best)))
    return fused


def ways(base: Base) -> Iterator[tuple[str, Scores]]:
    """Yield every way that is tried, by name."""
    yield "vector alone", base.cosines
    for k1, b in SHAPES:
        words, possible = base.words(k1, b)
        shape = f"k1 {k1}, b {b}"
        yield f"words alone, {shape}", words
        yield f"reciprocal ranks, {shape}", reciprocal(base.cosines, words)
        best = np.maximum(words.max(axis=1, keepdims=True), 1e-9)
        for weight in OF_MAXIMUM:
            yield (
                f"sum, {weight} of the best passage's, {shape}",
                base.cosines + weight * words / best,
            )
        for weight in OF_POSSIBLE:
            yield (
                f"sum, {weight} of the possible, {shape}",
                base.cosines + weight * words / possible,
            )


def tried(bases: Sequence[Base]) -> list[tuple[str, dict[str, list[float]]]]:
    """Return R@1 and R@4 of each way by set."""
    found: dict[str, dict[str, list[float]]] = {}
    for base in bases:
        sets = np.array([one.set for one in base.asked])
        for name, scores in ways(base):
            ranks = base.ranks(scores)
            for own in dict.fromkeys(sets):
                part = ranks[sets == own]
                found.setdefault(name, {})[own] = [float((part < cut).mean()) for cut in CUTS]
    return list(found.items())


def mean(figures: dict[str, list[float]], cut: int) -> float:
    return float(np.mean([own[cut] for own in figures.values()]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with heysquad, hotpotqa, rgb and xquad"
    )
    parser.add_argument("--vectors", type=Path, help=".npz file that keeps vectors between runs")
    parser.add_argument("--out", type=Path, help="Markdown file")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        open_voicerag(load_settings(data_dir=Path(folder), speak=False)) as opened,
        EmbeddedPostgres(Path(folder) / "words") as server,
    ):
        migrate(server.dsn)
        embedder = CachedEmbedder(opened.embedder, given.vectors)
        with psycopg.connect(server.dsn) as connection:
            bases = [
                compared(connection, embedder, *pair)
                for pair in (load_mixed(given.data), load_xquad(given.data / "xquad/xquad.en.json"))
            ]
        embedder.keep()
    found = tried(bases)
    sets = list(found[0][1])
    counts = [sum(one.set == name for base in bases for one in base.asked) for name in sets]
    heads = [f"{name} ({count})" for name, count in zip(sets, counts, strict=True)]
    text = [
        "# How words and vector make one ranking",
        "",
        f"{time.strftime('%Y-%m-%d')}. R@1 / R@4 on the development questions of a set. Command:",
        "",
        "    python -m training.thresholds.word_fusion --data DATA",
        "",
        *chart.table(
            ["way", *heads, "mean"],
            [
                [name, *(f"{own[0]:.3f} / {own[1]:.3f}" for own in figures.values()),
                 f"{mean(figures, 0):.3f} / {mean(figures, 1):.3f}"]
                for name, figures in found
            ],
        ),
    ]  # fmt: skip
    print("\n".join(text))
    if given.out:
        given.out.write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
