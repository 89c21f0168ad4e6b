"""Measure searches under filters that let through different shares of a collection.

Rows are those of `benchmarks.store.clustered`, with an index and the default settings; the nearest
rows that pass are known from comparing all.

    python -m benchmarks.store.filtered --rows 50000 --out benchmarks/results/store_filters.md
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import chart
from benchmarks.store.clustered import Clustered
from voicerag_core.filters import Filter, In, Lt
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, migrate
from voicerag_core.types import Embeddings, Passage

LIMIT = 10
PARTS = 1000
SHARES = (0.001, 0.01, 0.02, 0.04, 0.05, 0.1, 0.3)


def fill(store: PgVectorStore, data: Clustered) -> Embeddings:
    """Add all rows, each in one of `PARTS` parts by chance, and build the index."""
    kept = []
    random = np.random.default_rng(4)
    with store.bulk_load():
        for rows in data.batches():
            parts = random.integers(0, PARTS, len(rows.ids))
            passages = [
                Passage(key, text, {"part": int(part)})
                for key, text, part in zip(rows.ids, rows.texts, parts, strict=True)
            ]
            store.add(passages, rows.vectors)
            kept.append(np.column_stack([parts, rows.vectors]))
    return np.concatenate(kept)


def measured(
    store: PgVectorStore, rows: Embeddings, ids: Sequence[str], asked: Embeddings, where: Filter
) -> list[object]:
    """Ask every question, and return the cells of a row."""
    most = where.value if isinstance(where, Lt) else len(getattr(where, "values", ()))
    passing = np.flatnonzero(rows[:, 0] < float(most))
    scores = asked @ rows[passing, 1:].T
    spent, right, short = [], 0, 0
    for number in range(-20, len(asked)):
        start = time.perf_counter()
        hits = store.search(asked[number], limit=LIMIT, where=where)
        if number < 0:
            continue
        spent.append(1000 * (time.perf_counter() - start))
        nearest = passing[np.argsort(-scores[number])[:LIMIT]]
        right += len({ids[place] for place in nearest} & {hit.passage.id for hit in hits})
        short += len(hits) < min(LIMIT, len(passing))
    p50, p95 = np.percentile(spent, [50, 95])
    return [
        f"{len(passing):,}",
        f"{right / LIMIT / len(asked):.4f}",
        short,
        f"{p50:.2f}",
        f"{p95:.2f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    data = Clustered(given.rows, given.dim)
    asked = data.questions(given.questions)
    ids = [key for rows in data.batches() for key in rows.ids]
    cells: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "pg") as server:
        migrate(server.dsn)
        with PgVectorStore.open(server.dsn, model_id="benchmark", dim=given.dim) as store:
            rows = fill(store, data)
            for share in SHARES:
                count = round(share * PARTS)
                for name, where in (
                    ("values of a list", In("part", tuple(range(count)))),
                    ("below a bound", Lt("part", count)),
                ):
                    found = measured(store, rows, ids, asked, where)
                    cells.append([f"{100 * share:g} %", name, *found])
                    print(*cells[-1], flush=True)
            width = store.index_info().ef_search
    load = os.getloadavg()[1]
    about = (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} shared cores, load average {load:.1f}, "
        f"embedded Postgres; {given.rows:,} x {given.dim} clustered vectors, index over halfvec, "
        f"ef_search {width} as tuned, {given.questions} questions. Command:"
    )
    heads = ["passes", "filter", "rows", "recall@10", "too short", "p50, ms", "p95, ms"]
    text = [
        "# Searches under a filter",
        "",
        about,
        "",
        f"    python -m benchmarks.store.filtered --rows {given.rows} --dim {given.dim}",
        "",
        *chart.table(heads, cells),
    ]
    if given.out is not None:
        chart.write_text(given.out, text)
    print("\n".join(text))


if __name__ == "__main__":
    main()
