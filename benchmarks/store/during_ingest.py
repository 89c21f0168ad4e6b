"""How long do searches take while another process loads the same collection? Idle beside loading.

    python -m benchmarks.store.during_ingest --rows 20000 --out benchmarks/results/during_ingest.md

The collection is there with its index, which is kept up: one writer, a process of its own, adds
batch after batch of vectors that were made beforehand. Idle and loading take turns, so that other
work on the machine meets both.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

from benchmarks import chart
from benchmarks.store.clustered import BATCH, Clustered
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, migrate
from voicerag_core.types import Embeddings

TURNS = 4
BAR = 3.0


def write(
    dsn: str, data: Clustered, size: int, told: tuple[Event, Event], count: Synchronized[int]
) -> None:
    """Add rows beyond those that are there, whenever told, until done."""
    go, done = told
    batches = [(rows.passages(), rows.vectors) for rows in data.batches(data.rows - 4 * BATCH)]
    with PgVectorStore.open(dsn, model_id="benchmark", dim=data.dim) as store, store.bulk_load():
        for passages, vectors in batches:
            for first in range(0, len(passages), size):
                while not go.wait(0.05):
                    if done.is_set():
                        return
                store.add(passages[first : first + size], vectors[first : first + size])
                count.value += len(passages[first : first + size])
                if done.is_set():
                    return


def timed(store: PgVectorStore, questions: Embeddings) -> list[float]:
    """Ask every question; return milliseconds."""
    spent = []
    for question in questions:
        start = time.perf_counter()
        store.search(question, limit=10)
        spent.append(1000 * (time.perf_counter() - start))
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=20_000, help="rows that are there before")
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--batch", type=int, default=1000, help="rows of one write")
    parser.add_argument("--questions", type=int, default=250, help="for each turn")
    parser.add_argument("--out", type=Path, help="Markdown file")
    given = parser.parse_args()
    data = Clustered(given.rows + 4 * BATCH, given.dim)
    questions = data.questions(given.questions)
    context = multiprocessing.get_context("spawn")
    go, done, count = context.Event(), context.Event(), context.Value("q", 0)
    idle: list[float] = []
    loading: list[float] = []
    written, writing = 0, 0.0
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "pg") as server:
        migrate(server.dsn)
        with PgVectorStore.open(server.dsn, model_id="benchmark", dim=given.dim) as store:
            with store.bulk_load():
                for number, rows in enumerate(data.batches()):
                    if number * BATCH < given.rows:
                        store.add(rows.passages(), rows.vectors)
            writer = context.Process(
                target=write, args=(server.dsn, data, given.batch, (go, done), count)
            )
            writer.start()
            timed(store, questions)
            for _ in range(TURNS):
                idle += timed(store, questions)
                before, start = count.value, time.perf_counter()
                go.set()
                loading += timed(store, questions)
                while count.value == before and writer.is_alive():
                    loading += timed(store, questions)
                go.clear()
                writing += time.perf_counter() - start
                written += count.value - before
            done.set()
            go.set()
            writer.join()
            kept = store.index_info().built
    ratio = float(np.percentile(loading, 95) / np.percentile(idle, 95))
    rows_of = [
        [name, *(f"{np.percentile(spent, q):.2f}" for q in (50, 95)), f"{len(spent):,}"]
        for name, spent in (("idle", idle), ("while rows are added", loading))
    ]
    load = os.getloadavg()[1]
    when = f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} shared cores, load average {load:.1f}"
    text = [
        "# Searches while rows are added",
        "",
        f"{when}. Command:",
        "",
        f"    python -m benchmarks.store.during_ingest --rows {given.rows}",
        "",
        *chart.paragraph(
            f"{given.rows:,} rows x {given.dim} with their index; one writer adds batches of "
            f"{given.batch:,} to it ({written / max(writing, 1e-9):,.0f} rows/s), and the index is "
            f"{'kept up' if kept else 'NOT kept'}. {TURNS} turns of each."
        ),
        *chart.table(["searches", "p50, ms", "p95, ms", "searches timed"], rows_of),
        *chart.paragraph(
            f"p95 is {ratio:.1f} times that of idle (at most {BAR:.0f}: "
            f"{'reached' if ratio <= BAR else 'not reached'})."
        ),
    ]
    print("\n".join(text))
    if given.out:
        given.out.write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
