"""Speed of `voicerag index`, and of this tree beside another one.

python -m benchmarks.main_job.index_speed FOLDER... [--rival TREE] [--runs 3] [--out FILE]

Every run indexes a folder into an empty collection, in a process of its own; the trees take turns,
and each has its own embedded database. CPU seconds are those of the command and of the processes
that it starts and waits for, without the database server's.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sample import ROOT

THREADS = "2"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the command.

    Args:
        wall: Seconds.
        cpu: Seconds of the process and of those it waited for.
        passages: Written.
    """

    wall: float
    cpu: float
    passages: int


def index(tree: Path, data: Path, folder: Path, collection: str) -> Run:
    """Index a folder with the sources of a tree.

    Raises:
        SystemExit: The command failed in another way than at single files.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree / "src"),
        "VOICERAG_DATA_DIR": str(data),
        "VOICERAG_THREADS": THREADS,
    }
    command = [sys.executable, "-m", "voicerag_core.cli", "index", str(folder)]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--collection", collection],
        env=environment,
        cwd=data,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    told = process.stdout.read()
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0  # waited for
    wall = time.perf_counter() - start
    found = re.search(r"passages written or deleted: (\d+)", told)
    if found is None:
        raise SystemExit(f"{' '.join(command)} with {tree}/src told: {told}")
    return Run(wall, used.ru_utime + used.ru_stime, int(found[1]))


def measured(trees: dict[str, Path], folders: list[Path], runs: int) -> list[str]:
    """Return the rows of the report."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        made = {name: Path(scratch, name.replace(" ", "-")) for name in trees}
        for name, tree in trees.items():
            made[name].mkdir()
            seed = Path(scratch, "seed.txt")
            seed.write_text("The office opens at nine.")
            index(tree, made[name], seed, "seed")  # makes the database
        for folder in folders:
            taken: dict[str, list[Run]] = {name: [] for name in trees}
            for turn in range(runs):
                for name in trees if turn % 2 == 0 else reversed(trees):
                    collection = f"{folder.name}-{turn}"
                    taken[name].append(index(trees[name], made[name], folder, collection))
                    print(folder.name, name, taken[name][-1], flush=True)
            rows += _rows(folder, taken)
    return rows


def _rows(folder: Path, taken: dict[str, list[Run]]) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()] or [folder]
    size = sum(path.stat().st_size for path in files)
    rows = []
    for name, runs in taken.items():
        passages = runs[0].passages
        wall = statistics.median(run.wall for run in runs)
        cpu = statistics.median(run.cpu for run in runs)
        rows.append(
            f"| {folder.name}: {len(files)} files, {size / 1000:,.0f} kB | {name} | {passages} | "
            f"{wall:.1f} ({min(run.wall for run in runs):.1f}) | "
            f"{cpu:.1f} ({min(run.cpu for run in runs):.1f}) | "
            f"{1000 * cpu / max(1, passages):.0f} | {size / 1000 / cpu:.1f} |"
        )
    return rows


def main() -> None:
    """Measure the folders, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--rival", type=Path, metavar="TREE", help="another checkout")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, metavar="FILE")
    given = parser.parse_args()
    trees = {"this tree": ROOT}
    if given.rival is not None:
        trees["the other"] = given.rival
    rows = measured(trees, [folder.resolve() for folder in given.folders], given.runs)
    head = (
        "| folder | tree | passages | wall s: median (best) | CPU s: median (best) "
        "| CPU ms a passage | kB per CPU s |\n|---|---|---|---|---|---|---|"
    )
    report = "\n".join([head, *rows])
    print(report)
    if given.out is not None:
        given.out.write_text(f"{report}\n")


if __name__ == "__main__":
    main()
