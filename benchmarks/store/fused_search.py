"""What does a search by words cost beside one by the vector? The same questions, in turn.

    python -m benchmarks.store.fused_search --out benchmarks/results/fused_search.md

Passages are three to eight sentences of the sample each, drawn at random; a passage's vector is the
mean of theirs, with some noise. Every typed question of the sample is asked by its vector alone and
then by vector and words, in an order that alternates. Beside the clock it shows what the server's
process computed, which other work on the machine does not spoil.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from psycopg import sql
from psycopg.rows import scalar_row

from benchmarks import chart
from benchmarks.sample import read_rows
from voicerag_core import Passage, load_settings, open_voicerag
from voicerag_core.chunking import split_sentences
from voicerag_core.ports import Embedder
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, migrate
from voicerag_core.types import Embedding, Embeddings

WAYS = ("vector", "vector and words")
BAR_MS = 3.0


def made(embedder: Embedder, count: int) -> tuple[list[Passage], Embeddings]:
    """Make passages with words and vectors that are distributed like those of real ones."""
    rows = read_rows("passages.jsonl")
    sentences = [text for row in rows for text in split_sentences(row["text"])]
    vectors = embedder.embed_passages(sentences)
    random = np.random.default_rng(0)
    passages, means = [], []
    for number in range(count):
        drawn = random.choice(len(sentences), int(random.integers(3, 9)), replace=False)
        text = " ".join(sentences[i] for i in drawn)
        passages.append(Passage(f"p{number}", text, {"title": rows[number % len(rows)]["title"]}))
        means.append(vectors[drawn].sum(axis=0) + random.normal(0, 0.02, vectors.shape[1]))
    stacked = np.stack(means)
    unit = stacked / np.linalg.norm(stacked, axis=1, keepdims=True)
    return passages, unit.astype(np.float32)


class Computed:
    """The time that the server's process computed for us, in seconds."""

    def __init__(self, store: PgVectorStore) -> None:
        query = sql.SQL("SELECT pg_backend_pid()")
        ((number,),) = store._database.read((query, {}), rows=scalar_row)
        self._path = Path(f"/proc/{number}/schedstat")

    def now(self) -> float:
        """Return what it computed so far."""
        return int(self._path.read_text(encoding="ascii").split()[0]) / 1e9


@contextmanager
def filled(count: int) -> Iterator[tuple[PgVectorStore, list[tuple[str, Embedding]]]]:
    """Open a store of so many passages, and questions with their vectors."""
    with (
        tempfile.TemporaryDirectory() as folder,
        open_voicerag(load_settings(data_dir=Path(folder), speak=False)) as rag,
        EmbeddedPostgres(Path(folder) / "timed") as server,
    ):
        migrate(server.dsn)
        passages, vectors = made(rag.embedder, count)
        texts = [row["question"] for row in read_rows("questions.jsonl")]
        questions = list(zip(texts, rag.embedder.embed_passages(texts), strict=True))
        with PgVectorStore.open(
            server.dsn, model_id=rag.embedder.model_id, dim=rag.embedder.dim, pool_size=1
        ) as store:
            store.add(passages, vectors)
            yield store, questions


def timed(
    store: PgVectorStore, questions: list[tuple[str, Embedding]], rounds: int
) -> dict[str, tuple[list[float], list[float]]]:
    """Ask every question in both ways; return milliseconds by the clock and of the server."""
    computed = Computed(store)
    spent: dict[str, tuple[list[float], list[float]]] = {way: ([], []) for way in WAYS}
    for turn in range(rounds + 1):
        for number, (text, vector) in enumerate(questions):
            for way in WAYS if (turn + number) % 2 else WAYS[::-1]:
                words = text if way == WAYS[1] else None
                before, start = computed.now(), time.perf_counter()
                store.search(vector, text=words, limit=4)
                clock = time.perf_counter() - start
                if turn:  # the first round warms caches and plans
                    spent[way][0].append(1000 * clock)
                    spent[way][1].append(1000 * (computed.now() - before))
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000, help="passages, one vector each")
    parser.add_argument("--rounds", type=int, default=10, help="times that each question is asked")
    parser.add_argument("--out", type=Path, help="Markdown file")
    given = parser.parse_args()
    with filled(given.rows) as (store, questions):
        index = store.index_info().index
        dim = len(questions[0][1])
        spent = timed(store, questions, given.rounds)
    rows = []
    for way, (clock, server) in spent.items():
        rows.append([way, *(f"{np.percentile(clock, q):.2f}" for q in (50, 95)),
                     *(f"{np.percentile(server, q):.2f}" for q in (50, 95))])  # fmt: skip
    more = [np.array(spent[WAYS[1]][i]) - np.array(spent[WAYS[0]][i]) for i in (0, 1)]
    middle = [float(np.median(part)) for part in more]
    reached = "reached" if middle[0] <= BAR_MS else "not reached"
    when = f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores"
    text = [
        "# What a search by words costs beside one by the vector",
        "",
        f"{when}, load average {os.getloadavg()[0]:.1f} at the end. Command:",
        "",
        f"    python -m benchmarks.store.fused_search --rows {given.rows}",
        "",
        *chart.paragraph(
            f"{given.rows:,} passages x {dim}, {'HNSW index' if index else 'no index'}; "
            f"{len(questions)} questions, {given.rounds} times each, four passages asked for."
        ),
        *chart.table(["way", "p50, ms", "p95, ms", "server computes p50, ms", "p95, ms"], rows),
        *chart.paragraph(
            f"More with words, median over the questions: {middle[0]:.2f} ms by the clock (at most "
            f"{BAR_MS:.0f}: {reached}), {middle[1]:.2f} ms of the server's computing."
        ),
    ]
    print("\n".join(text))
    if given.out:
        given.out.write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
