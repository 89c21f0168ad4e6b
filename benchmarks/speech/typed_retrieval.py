"""Is the right passage among the first, for questions in words? By vector, and by words besides.

    python -m benchmarks.speech.typed_retrieval --data DATA --out FILE.md

HeySQuAD in three forms, HotpotQA and RGB share one collection of an embedded Postgres, and XQuAD
has another. Every question is asked in three ways: by the vector alone over vectors of the bare
texts; by that and by words, fused by reciprocal rank; and as `VoiceRAG.retrieve` does it. Half of
each set is for development, where the way was chosen: see `training.thresholds.word_fusion`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import psycopg

from benchmarks import chart
from benchmarks.speech.retrieval_figures import Estimate, estimate
from benchmarks.speech.typed_sets import FORMS, Asked, CachedEmbedder, load_mixed, load_xquad
from voicerag_core import Passage, VoiceRAG, load_settings, open_voicerag
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, migrate
from voicerag_core.testing import FakeVoiceModel

CUTS = (1, 4)
ROUTES = ("vector", "rank fusion", "default")
BARS = {**dict(zip(FORMS, (4, 8, 6), strict=True)), "HotpotQA": 6, "RGB": 4}
"""Points of R@1 that the default has to be ahead of the vector."""
XQUAD_BARS = (0.921, 0.984)
"""Least R@1 and R@4 of the default on XQuAD."""

DEPTH = 50
RANK_CONSTANT = 60
"""Source: Cormack, Clarke and Büttcher, Reciprocal Rank Fusion, SIGIR 2009, section 2 (k = 60)."""

BY_WORDS = """
    WITH terms AS MATERIALIZED (
        SELECT (quote_literal(t.lexeme))::tsquery AS term,
            ln(1 + c.passages / coalesce(l.passages, 1)::float8) AS weight
        FROM voicerag.collections c, unnest(to_tsvector('english', %(text)s)) t
        LEFT JOIN voicerag.lexemes l ON l.lexeme = t.lexeme AND l.collection_id = %(collection)s
        WHERE c.id = %(collection)s)
    SELECT p.id FROM voicerag.passages p JOIN terms ON p.words @@ term
    WHERE p.collection_id = %(collection)s GROUP BY p.id
    ORDER BY sum(weight * ts_rank(p.words, term, 1)) DESC, p.id LIMIT %(depth)s
"""
"""Passages by inverse document frequency times `ts_rank`, as they were ranked for rank fusion."""

Answers = dict[str, list[tuple[str, ...]]]
"""The first ids of every question, by route."""


def ask(
    dsn: str, name: str, embedder: CachedEmbedder, passages: Sequence[Passage],
    asked: Sequence[Asked],
) -> Answers:  # fmt: skip
    """Index passages with titles and without, and ask every question in every way."""
    bare = [replace(passage, metadata={}) for passage in passages]
    answers: Answers = {route: [] for route in ROUTES}

    def opened(collection: str) -> PgVectorStore:
        return PgVectorStore.open(
            dsn, collection=collection, model_id=embedder.model_id, dim=embedder.dim
        )

    with (
        opened(name) as store,
        opened(f"{name}-bare") as plain,
        psycopg.connect(dsn) as connection,
    ):
        rag = VoiceRAG(embedder, store, FakeVoiceModel(), sentence_vectors=True, strategy="asr")
        VoiceRAG(embedder, plain, FakeVoiceModel(), sentence_vectors=True).index(bare)
        rag.index(passages)
        query = "SELECT id FROM voicerag.collections WHERE name = %s"
        row = connection.execute(query, (f"{name}-bare",)).fetchone()
        assert row is not None
        for one in asked:
            vector = embedder.embed_passages([one.question])[0]
            near = [hit.passage.id for hit in plain.search(vector, limit=DEPTH)]
            values = {"text": one.question, "collection": row[0], "depth": DEPTH}
            by_words = [str(key) for (key,) in connection.execute(BY_WORDS, values)]
            hits = rag.retrieve(one.question, limit=max(CUTS)).hits
            answers["vector"].append(tuple(near[: max(CUTS)]))
            answers["rank fusion"].append(fused(near, by_words)[: max(CUTS)])
            answers["default"].append(tuple(hit.passage.id for hit in hits))
    return answers


def fused(*rankings: Sequence[str]) -> tuple[str, ...]:
    """Fuse rankings by reciprocal rank."""
    score: dict[str, float] = {}
    for ranking in rankings:
        for place, key in enumerate(ranking, start=1):
            score[key] = score.get(key, 0.0) + 1 / (RANK_CONSTANT + place)
    return tuple(sorted(score, key=lambda key: (-score[key], key)))


def found(asked: Sequence[Asked], answers: Sequence[tuple[str, ...]], cut: int) -> list[float]:
    """Return 1 for every question of which a right passage is among the first."""
    return [
        float(any(key in one.right for key in answer[:cut]))
        for one, answer in zip(asked, answers, strict=True)
    ]


def recall_rows(
    asked: Sequence[Asked], answers: Answers, chosen: Callable[[Asked], bool]
) -> list[list[str]]:
    """Return the rows of a table: set, route, number, R@1 and R@4, R@1 ahead of the vector."""
    rows = []
    for name in dict.fromkeys(one.set for one in asked):
        own = [i for i, one in enumerate(asked) if one.set == name and chosen(one)]
        figures = {
            (route, cut): [found(asked, answers[route], cut)[i] for i in own]
            for route in ROUTES
            for cut in CUTS
        }
        for route in ROUTES:
            ahead = [a - b for a, b in zip(figures[route, 1], figures["vector", 1], strict=True)]
            points = "" if route == "vector" else estimate(ahead).points()
            recalls = [str(estimate(figures[route, cut])) for cut in CUTS]
            rows.append([name, route, str(len(own)), *recalls, points])
    return rows


def bar_rows(asked: Sequence[Asked], answers: Answers) -> list[list[str]]:
    """Return the rows of the table of bars that the default has to reach."""
    rows = []
    for name, least in BARS.items():
        own = [i for i, one in enumerate(asked) if one.set == name]
        by_route = [found(asked, answers[route], 1) for route in ("default", "vector")]
        ahead: Estimate = estimate([by_route[0][i] - by_route[1][i] for i in own])
        reached = "yes" if 100 * ahead.mean >= least else "no"
        rows.append([f"{name}, R@1 ahead of the vector", f"+{least}", ahead.points(), reached])
    for part, development in (("development", True), ("report", False)):
        own = [
            i
            for i, one in enumerate(asked)
            if one.set == "XQuAD" and one.development == development
        ]
        for cut, bar in zip(CUTS, XQUAD_BARS, strict=True):
            share = estimate([found(asked, answers["default"], cut)[i] for i in own])
            rows.append(
                [f"XQuAD, {part} part, R@{cut}", str(bar), str(share),
                 "yes" if share.mean >= bar else "no"]
            )  # fmt: skip
    return rows


def report(asked: Sequence[Asked], answers: Answers, counts: str) -> list[str]:
    heads = ["set", "way", "questions", *(f"R@{cut}" for cut in CUTS), "R@1 ahead, points"]
    parts = {
        "All questions": lambda one: True,
        "Report part": lambda one: not one.development,
        "Development part": lambda one: one.development,
    }
    when = f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores"
    lines = [
        "# Is the right passage among the first, for questions in words?",
        "",
        f"{when}, load average {os.getloadavg()[0]:.1f} at the end. Command:",
        "",
        "    python -m benchmarks.speech.typed_retrieval --data DATA",
        "",
        *chart.paragraph(
            f"{counts} One vector a passage and one a sentence. 95 % bootstrap intervals; those of "
            "differences are paired. Of HotpotQA one of the two supporting paragraphs counts. "
            "'vector': the vector alone, over vectors without titles. 'rank fusion': that and "
            "words of the text, by reciprocal rank. 'default': what `VoiceRAG.retrieve` does."
        ),
        *chart.table(["bar", "at least", "measured", "reached"], bar_rows(asked, answers)),
    ]
    for title, chosen in parts.items():
        lines += [f"## {title}", "", *chart.table(heads, recall_rows(asked, answers, chosen))]
    return lines


def plotted(asked: Sequence[Asked], answers: Answers) -> chart.Panel:
    rows = [
        chart.Bar(f"{name}, {route}", {"R@1": 100 * float(figures)})
        for name, route, _, figures in (
            (*row[:3], row[3].split()[0]) for row in recall_rows(asked, answers, lambda _: True)
        )
    ]
    return chart.bars("Right passage first, % of all questions", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with heysquad, hotpotqa, rgb and xquad"
    )
    parser.add_argument("--vectors", type=Path, help=".npz file that keeps vectors between runs")
    parser.add_argument("--out", type=Path, help="write the report, and its plot beside it")
    given = parser.parse_args()
    sets = {
        "mixed": load_mixed(given.data),
        "xquad": load_xquad(given.data / "xquad" / "xquad.en.json"),
    }
    every: list[Asked] = []
    answers: Answers = {route: [] for route in ROUTES}
    with (
        tempfile.TemporaryDirectory() as folder,
        open_voicerag(load_settings(data_dir=Path(folder), speak=False)) as opened,
        EmbeddedPostgres(Path(folder) / "sets") as server,
    ):
        embedder = CachedEmbedder(opened.embedder, given.vectors)
        migrate(server.dsn)
        for name, (passages, asked) in sets.items():
            own = ask(server.dsn, name, embedder, passages, asked)
            embedder.keep()
            every += asked
            for route in ROUTES:
                answers[route] += own[route]
    mixed, xquad = (len(passages) for passages, _ in sets.values())
    text = report(
        every, answers,
        f"HeySQuAD, HotpotQA and RGB in one collection of {mixed:,} passages, XQuAD in another of "
        f"{xquad:,}. `{embedder.model_id}`.",
    )  # fmt: skip
    if given.out:
        plot = f"![R@1 by set and way]({given.out.with_suffix('.svg').name})"
        chart.write_report(given.out, [*text, plot], [plotted(every, answers)])
    print("\n".join(text))


if __name__ == "__main__":
    main()
