"""How fast are documents indexed on a Ray cluster of this machine, beside the plain command?

    pip install -e '.[local,documents,ray]'
    python -m benchmarks.adapters.ray_index --out benchmarks/results/ray_index.md

The paragraphs of the sample, one a file, are indexed into a fresh database each time: by this
process, and on a cluster of two nodes with one CPU each, by one worker and by two. The start of the
cluster is not counted, that of the workers and of their models is, once each.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from benchmarks import chart
from benchmarks.sample import read_rows
from tests.tcp import reached_by_tcp
from voicerag_core import load_settings, open_voicerag
from voicerag_core.ingest import index_files
from voicerag_core.store import EmbeddedPostgres, migrate


def indexed(dsn: str, folder: Path, address: str, workers: int) -> tuple[int, float]:
    """Index the files into a fresh database; return passages and seconds."""
    name = f"run_{workers}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    own = make_conninfo(dsn, dbname=name)
    migrate(own)
    settings = load_settings(database_url=own, speak=False, threads=1, sentence_vectors=False)
    with ExitStack() as opened:
        engine = None
        if workers:
            from voicerag_integrations.ray import ray_engine

            engine = opened.enter_context(ray_engine(settings, address=address, workers=workers))
        rag = opened.enter_context(open_voicerag(settings))
        start = time.perf_counter()
        report = index_files(rag, [folder], engine=engine)
        return report.passages, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--copies", type=int, default=1, help="of the sample's paragraphs")
    parser.add_argument("--out", type=Path, help="Markdown file")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        server = stack.enter_context(EmbeddedPostgres(Path(folder) / "pg"))
        dsn = stack.enter_context(reached_by_tcp(server.dsn))
        files = Path(folder) / "documents"
        files.mkdir()
        for copy in range(given.copies):
            for number, row in enumerate(read_rows("passages.jsonl")):
                (files / f"{copy}-{number}.txt").write_text(f"{row['text']}\n\nCopy {copy}.")
        from ray.cluster_utils import Cluster

        cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
        )
        stack.callback(cluster.shutdown)
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        for workers in (0, 1, 2):
            passages, seconds = indexed(dsn, files, cluster.address, workers)
            name = f"{workers} worker" + ("s" if workers > 1 else "") if workers else "plain"
            rows.append([name, f"{passages:,}", f"{seconds:.0f}", f"{passages / seconds:.1f}"])
    load = os.getloadavg()[1]
    when = f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} shared cores, load average {load:.1f}"
    text = [
        "# Indexing on a Ray cluster, beside the plain command",
        "",
        f"{when}. Command:",
        "",
        f"    python -m benchmarks.adapters.ray_index --copies {given.copies}",
        "",
        *chart.paragraph(
            "Two nodes of this machine with one CPU each; MiniLM with one thread, a vector a "
            "passage, one document a file."
        ),
        *chart.table(["", "passages", "seconds", "passages a second"], rows),
    ]
    print("\n".join(text))
    if given.out:
        given.out.write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
