"""How does the store grow? Ingest, index build, memory, recall and latency at one size.

    python -m benchmarks.store.scale --rows 200000 --out benchmarks/results/store_scale.json

Rows come from `benchmarks.store.clustered`, in batches, and are made before the clock runs. They
are loaded with the default settings of the store, in a `bulk_load`, and then asked for by questions
that are no stored rows. With ``--kind bit`` the same is done with the index over signs; with
``--parts`` the questions are asked again once the vectors are spread over partitions. Each run adds
an entry to the file; ``--report`` prints the table of all.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from benchmarks import chart
from benchmarks.store.clustered import Clustered, Rows, key_of
from voicerag_core.filters import Eq, Filter
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, migrate, partition
from voicerag_core.types import Embeddings

LIMIT = 10
OWNER = 7
WARM_UP = 30


class ServerMemory:
    """The most memory that the processes of a server had at once, besides its shared buffers.

    That is the private memory of each, and the shared memory in which parallel workers meet.
    """

    def __init__(self, data_dir: Path) -> None:
        pid = (data_dir / "pgdata" / "postmaster.pid").read_text(encoding="utf-8").split()[0]
        self._children = Path(f"/proc/{pid}/task/{pid}/children")
        self.peak = 0

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Look at it ten times a second until the end of the block."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.1):
                self.peak = max(self.peak, self.now())

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def now(self) -> int:
        """Return it in bytes."""
        private, segments = 0, {}
        for pid in self._children.read_text(encoding="ascii").split():
            with contextlib.suppress(OSError, IndexError):
                status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
                private += 1024 * int(status.split("RssAnon:")[1].split()[0])
                for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
                    if "/dev/shm/PostgreSQL." in line:
                        name = line.split()[-1]
                        segments[name] = 512 * Path(name).stat().st_blocks
        return private + sum(segments.values())


def timed(
    store: PgVectorStore, questions: Embeddings, where: Filter | None
) -> tuple[dict[str, float], list[list[str]]]:
    """Ask every question once; return milliseconds and the ids found."""
    for question in questions[:WARM_UP]:
        store.search(question, limit=LIMIT, where=where)
    spent, answers = [], []
    for question in questions:
        start = time.perf_counter()
        hits = store.search(question, limit=LIMIT, where=where)
        spent.append(1000 * (time.perf_counter() - start))
        answers.append([hit.passage.id for hit in hits])
    return {f"p{q}": float(np.percentile(spent, q)) for q in (50, 95)}, answers


def recall(answers: list[list[str]], nearest: np.ndarray[Any, Any]) -> float:
    """Return the share of the nearest rows that was found."""
    right = sum(
        len(set(found) & {key_of(int(number)) for number in wanted})
        for found, wanted in zip(answers, nearest, strict=True)
    )
    return right / nearest.size


def batches(data: Clustered) -> list[Rows] | Iterator[Rows]:
    """Return all batches, made beforehand unless they need too much memory."""
    return list(data.batches()) if data.rows * data.dim <= 100_000_000 else data.batches()


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Load one store, and ask it."""
    data = Clustered(given.rows, given.dim)
    with EmbeddedPostgres(folder) as server:
        migrate(server.dsn)
        memory = ServerMemory(folder)
        with PgVectorStore.open(
            server.dsn, model_id="benchmark", dim=given.dim, index_kind=given.kind,
            index_memory=None if given.memory is None else given.memory * 2**20,
            auto_index=False,
        ) as store:  # fmt: skip
            made = batches(data)
            start, writing = time.perf_counter(), 0.0
            with store.bulk_load():
                for rows in made:
                    passages = rows.passages()
                    begun = time.perf_counter()
                    store.add(passages, rows.vectors)
                    writing += time.perf_counter() - begun
                begun = time.perf_counter()
            words = time.perf_counter() - begun
            idle = memory.now()
            begun = time.perf_counter()
            with memory.watched():
                store.build_index(workers=given.workers, tune=False)
            building = time.perf_counter() - begun
            begun = time.perf_counter()
            tuning = store.tune()
            tuned = time.perf_counter() - begun
            whole = time.perf_counter() - start
            assert tuning is not None
            found: dict[str, Any] = {
                "rows/s in": given.rows / writing,
                "seconds": {"rows": writing, "words": words, "index": building, "tuning": tuned},
                "rows/s in, indexed and tuned": given.rows / (writing + words + building + tuned),
                "whole seconds, with the making of rows": whole,
                "memory of the build, MiB": (memory.peak - idle) / 2**20,
                "ef_search": tuning.ef_search,
                "recall measured by tuning": tuning.recall,
            }
            found |= sizes(server.dsn)
            questions = data.questions(given.questions)
            for name, where, owner in (
                ("", None, None),
                ("1 % filter ", Eq("owner", OWNER), OWNER),
            ):
                times, answers = timed(store, questions, where)
                found[f"{name}ms"] = times
                found[f"{name}recall@10"] = recall(answers, data.nearest(questions, LIMIT, owner))
                found[f"{name}too short"] = sum(len(answer) < LIMIT for answer in answers)
            if given.parts is not None:
                begun = time.perf_counter()
                partition(server.dsn, given.parts)
                seconds = time.perf_counter() - begun
                times, answers = timed(store, questions, None)
                found["partitioned"] = {
                    "parts": given.parts,
                    "seconds": seconds,
                    "ms": times,
                    "recall@10": recall(answers, data.nearest(questions, LIMIT, None)),
                }
    return found


def sizes(dsn: str) -> dict[str, float]:
    """Return megabytes of the vectors and of their index."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT pg_table_size('voicerag.vectors'), pg_relation_size('voicerag.vectors_hnsw_1')"
        ).fetchone()
    assert row is not None
    return {"vectors, MB": row[0] / 1e6, "index, MB": row[1] / 1e6}


def report(entries: list[dict[str, Any]]) -> str:
    """Write the table."""
    rows = [
        [
            f"{entry['rows']:,} x {entry['dim']}, {entry['kind']}",
            f"{entry['rows/s in']:,.0f}",
            f"{entry['seconds']['index']:.0f}",
            f"{entry['rows/s in, indexed and tuned']:,.0f}",
            f"{entry['memory of the build, MiB']:,.0f}",
            f"{entry['index, MB']:,.0f}",
            f"{entry['ef_search']}",
            f"{entry['recall@10']:.3f}",
            f"{entry['ms']['p50']:.1f} / {entry['ms']['p95']:.1f}",
            f"{entry['1 % filter recall@10']:.3f}",
            f"{entry['1 % filter ms']['p50']:.1f} / {entry['1 % filter ms']['p95']:.1f}",
            f"{entry['load']:.0f}",
            entry["date"],
        ]
        for entry in entries
    ]
    head = ["rows, index over", "rows/s in", "build, s", "rows/s in, indexed and tuned",
            "build memory, MiB", "index, MB", "ef_search", "recall@10", "p50 / p95, ms",
            "1 % filter: recall@10", "p50 / p95, ms", "load", "date"]  # fmt: skip
    return "\n".join(chart.table(head, rows))


def plot(entries: list[dict[str, Any]]) -> chart.Panel:
    """Draw how the times of a search grow with the rows."""
    series: dict[str, list[tuple[float, float]]] = {}
    for entry in sorted(entries, key=lambda one: int(one["rows"])):
        for name in ("p50", "p95"):
            line = series.setdefault(f"{entry['dim']} {entry['kind']}, {name}", [])
            line.append((entry["rows"], entry["ms"][name]))
    return chart.lines("Milliseconds of a search for ten", series, across="rows", up="ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--kind", choices=["halfvec", "bit"], default="halfvec")
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--memory", type=int, help="MiB that the index may take while it is built")
    parser.add_argument("--workers", type=int, help="processes that help to build it")
    parser.add_argument("--parts", type=int, help="ask again with so many partitions")
    parser.add_argument("--folder", type=Path, help="where the database is made; must be absent")
    parser.add_argument("--out", type=Path, help="JSON file to add the result to")
    parser.add_argument("--report", type=Path, help="print the table of this JSON file, and end")
    parser.add_argument("--plot", type=Path, help="SVG file of the report's times by rows")
    given = parser.parse_args()
    if given.report is not None:
        entries = json.loads(given.report.read_text(encoding="utf-8"))
        print(report(entries))
        if given.plot is not None:
            chart.write_plot(given.plot, [plot(entries)])
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        found = measure(given, Path(folder) / "postgres")
    command = f"--rows {given.rows} --dim {given.dim} --kind {given.kind}"
    command += f" --memory {given.memory}" if given.memory else ""
    entry = {
        "command": f"python -m benchmarks.store.scale {command}",
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[1],
        "rows": given.rows,
        "dim": given.dim,
        "kind": given.kind,
        **found,
    }
    print(json.dumps(entry, indent=1))
    if given.out:
        known = json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else []
        given.out.write_text(json.dumps([*known, entry], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
