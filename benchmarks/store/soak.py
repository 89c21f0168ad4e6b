"""Write and read from many threads while the embedded server is killed; count what was lost.

    python -m benchmarks.store.soak --minutes 3 --out benchmarks/results/soak.md

The server is killed without notice at random moments and started again by whichever call needs it
first. A write is acknowledged when `add` returns; each such passage has to be there at the end,
with its text and its vector. A call that fails is counted, and repeated by its thread.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from voicerag_core.errors import StoreError
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, migrate
from voicerag_core.types import Embeddings, Passage

DIM = 64
BATCH = 5


@dataclass(slots=True)
class Soak:
    """What happened so far.

    Args:
        acknowledged: Ids of the passages whose `add` returned.
        failed: How many calls raised, by their error.
        searches: How many searches gave an answer.
        kills: How often the server was killed.
    """

    acknowledged: set[str] = field(default_factory=set)
    failed: Counter[str] = field(default_factory=Counter)
    searches: int = 0
    kills: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def vectors(seed: int) -> Embeddings:
    """Return the unit vectors of a batch, [BATCH, DIM]."""
    made = np.random.default_rng(seed).standard_normal((BATCH, DIM)).astype(np.float32)
    unit: Embeddings = made / np.linalg.norm(made, axis=1, keepdims=True)
    return unit


def write(store: PgVectorStore, number: int, soak: Soak, done: threading.Event) -> None:
    """Add batches until told to stop."""
    turn = 0
    while not done.is_set():
        batch = [Passage(f"{number}-{turn}-{i}", f"{number} {turn} {i}") for i in range(BATCH)]
        if tried(lambda batch=batch, turn=turn: store.add(batch, vectors(turn)), soak):
            with soak.lock:
                soak.acknowledged.update(passage.id for passage in batch)
            turn += 1


def read(store: PgVectorStore, number: int, soak: Soak, done: threading.Event) -> None:
    """Search until told to stop."""
    turn = number
    while not done.is_set():
        turn += 1
        if tried(lambda turn=turn: store.search(vectors(turn)[0], text="1", limit=4), soak):
            with soak.lock:
                soak.searches += 1


def tried(call: object, soak: Soak) -> bool:
    """Make a call, and count it if it fails."""
    assert callable(call)
    try:
        call()
    except StoreError as error:
        with soak.lock:
            soak.failed[f"{type(error).__name__}: {str(error).partition(':')[2][:60]}"] += 1
        return False
    return True


def kill(server: EmbeddedPostgres, every: float, soak: Soak, done: threading.Event) -> None:
    """Kill the server again and again, once it has come back."""
    chance = random.Random(1)
    last = 0
    while not done.wait(chance.uniform(0.5, 1.5) * every):
        try:
            pid = int((server.data_dir / "pgdata" / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            continue  # not up again yet
        if pid != last:
            os.kill(pid, signal.SIGKILL)
            last = pid
            soak.kills += 1


def lost(store: PgVectorStore, soak: Soak) -> int:
    """Count acknowledged passages that are absent, altered or have lost their vector."""
    missing = 0
    ids = sorted(soak.acknowledged)
    for start in range(0, len(ids), 1000):
        chosen = ids[start : start + 1000]
        found = {passage.id: passage.text for passage in store.get(chosen)}
        missing += sum(found.get(key) != key.replace("-", " ") for key in chosen)
    for key in random.Random(2).sample(ids, min(len(ids), 200)):
        _, turn, place = key.split("-")
        hits = store.search(vectors(int(turn))[int(place)], limit=1, ids=[key], min_score=1.0)
        missing += len(hits) != 1
    return missing


def soaked(folder: Path, *, seconds: float, threads: int, every: float) -> tuple[Soak, int]:
    """Run it, and return what happened and how many acknowledged passages were lost.

    Args:
        folder: Of the server.
        seconds: How long.
        threads: Writers and readers in all; half of them write.
        every: Seconds between kills, on average.
    """
    soak, done = Soak(), threading.Event()
    with EmbeddedPostgres(folder) as server:
        migrate(server.dsn)
        with PgVectorStore.open(
            server.dsn, model_id="soak", dim=DIM, pool_size=threads, timeout=30
        ) as store:
            running = [
                threading.Thread(target=work, args=(store, number, soak, done))
                for number in range(threads // 2)
                for work in (write, read)
            ]
            running.append(threading.Thread(target=kill, args=(server, every, soak, done)))
            for thread in running:
                thread.start()
            time.sleep(seconds)
            done.set()
            for thread in running:
                thread.join()
            return soak, lost(store, soak)


def main() -> None:
    """Run the soak that the arguments describe, and print or keep its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--threads", type=int, default=24)
    parser.add_argument("--every", type=float, default=15, help="seconds between kills")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak") as folder:
        soak, missing = soaked(
            Path(folder) / "postgres", seconds=given.minutes * 60, threads=given.threads,
            every=given.every,
        )  # fmt: skip
    how = (
        f"`python -m benchmarks.store.soak --minutes {given.minutes:g} --threads {given.threads} "
        f"--every {given.every:g}`, {time.strftime('%Y-%m-%d')}, {os.cpu_count()} shared cores"
    )
    table = "\n".join(
        [
            f"# {given.threads} writers and readers, {given.minutes:g} minutes, server killed",
            "",
            how,
            "",
            "| | |",
            "|---|---|",
            f"| times the server was killed and came back | {soak.kills} |",
            f"| passages acknowledged | {len(soak.acknowledged)} |",
            f"| of them lost or altered | {missing} |",
            f"| searches answered | {soak.searches} |",
            f"| calls that failed and were repeated | {sum(soak.failed.values())} |",
            *(f"| - {told} | {count} |" for told, count in soak.failed.most_common()),
        ]
    )
    print(table)
    if given.out is not None:
        given.out.write_text(table + "\n")
    raise SystemExit(missing > 0)


if __name__ == "__main__":
    main()
