"""How many answers over a firm's documents are right, by kind of question?

    python -m benchmarks.answers.realdocs FOLDER [--answers answers.jsonl] [--out FILE.md]

FOLDER has `docs`, `questions.jsonl` and `score.py`, which indexes the documents, asks every
question and judges the answers. Without `--answers` it is run first, with the options that stand
behind `--`. Questions with even numbers may be fitted on; those with odd numbers stand apart.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import chart
from benchmarks.answers.shares import share

Row = dict[str, Any]
"""A line of the answers file: id, kind, lang, verdict, rank, answer."""

VERDICTS = ("right", "right_marred", "wrong", "declined", "error")
ELSEWHERE = "followup"
"""Kind of question that needs the one before it; the scorer asks that first, and hands its answer
over as history."""


def number(row: Row) -> int:
    """Return the number in a question's id."""
    digits = re.search(r"\d+", row["id"])
    return int(digits[0]) if digits else 0


def is_even(row: Row) -> bool:
    """Whether something may be fitted on a question."""
    return number(row) % 2 == 0


def is_alone(row: Row) -> bool:
    """Whether a question is English and needs no other before it."""
    return bool(row["lang"] == "en" and row["kind"] != ELSEWHERE)


def answerable_row(name: str, rows: Sequence[Row]) -> list[str]:
    """Return a row of the table of questions that the documents answer."""
    counts = [sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS]
    ranks = [share(1 <= row["rank"] <= cut for row in rows) for cut in (1, 4)]
    return [
        name,
        *(str(share(row["verdict"] == verdict for row in rows)) for verdict in VERDICTS[:1]),
        *map(str, counts[1:]),
        *map(str, ranks),
    ]


def tables(rows: Sequence[Row]) -> list[str]:
    """Return the tables of the report."""
    answerable = [row for row in rows if row["rank"] is not None]
    alone = [row for row in answerable if is_alone(row)]
    groups: list[tuple[str, list[Row]]] = [
        ("all", answerable),
        ("English, no follow-ups", alone),
        ("of these even", [row for row in alone if is_even(row)]),
        ("of these odd", [row for row in alone if not is_even(row)]),
        ("follow-ups", [row for row in answerable if row["kind"] == ELSEWHERE]),
    ]
    heads = ["questions", "right", "marred", "wrong", "declined", "error", "R@1", "R@4"]
    lines = chart.table(heads, [answerable_row(name, own) for name, own in groups])
    lines += ["## By kind, English, no follow-ups", ""]
    lines += chart.table(heads, _by_kind(alone, answerable_row))
    lines += ["## By kind, all that the documents answer", ""]
    lines += chart.table(heads, _by_kind(answerable, answerable_row))
    lines += ["## Not answered by the documents", ""]
    rest = [row for row in rows if row["rank"] is None]
    groups = [
        ("all", rest),
        ("even", [row for row in rest if is_even(row)]),
        ("odd", [row for row in rest if not is_even(row)]),
    ]
    lines += chart.table(
        ["questions", "rightly declined"],
        [*([name, declined(own)] for name, own in groups), *_by_kind(rest, refused_row)],
    )
    return lines


def refused_row(name: str, rows: Sequence[Row]) -> list[str]:
    """Return a row of the table of questions that the documents do not answer."""
    return [name, declined(rows)]


def declined(rows: Sequence[Row]) -> str:
    """Return how many were rightly declined."""
    return str(share(row["verdict"] == "declined_rightly" for row in rows))


def _by_kind(
    rows: Sequence[Row], row_of: Callable[[str, Sequence[Row]], list[str]]
) -> list[list[str]]:
    kinds = sorted({row["kind"] for row in rows})
    return [row_of(kind, [row for row in rows if row["kind"] == kind]) for kind in kinds]


def scored(folder: Path, options: Sequence[str]) -> list[Row]:
    """Run `score.py` of a folder and return the lines of its answers file."""
    with tempfile.TemporaryDirectory() as kept:
        answers = Path(kept) / "answers.jsonl"
        command = [sys.executable, str(folder / "score.py"), "--out", str(answers), *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return read(answers)


def read(path: Path) -> list[Row]:
    """Read an answers file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]


def report(rows: Sequence[Row]) -> list[str]:
    """Return the lines of the report."""
    when = f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores"
    return [
        "# Answers over a firm's documents",
        "",
        f"{when}, load average {os.getloadavg()[0]:.1f} at the end. Command:",
        "",
        "    python -m benchmarks.answers.realdocs FOLDER",
        "",
        *chart.paragraph(
            f"{len(rows)} questions asked typed, with no chat model: handbooks, manuals, policies, "
            "FAQs, tables, office files. Shares with Wilson's interval of 95 %. 'marred': right, "
            "with mark-up or a whole table in it. R@1, R@4: a file with the answer is the first "
            "hit, or among the first four. Weights may be fitted on questions with even numbers."
        ),
        *tables(rows),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder with docs, questions.jsonl and score.py")
    parser.add_argument("--answers", type=Path, help="answers file of an earlier run of score.py")
    parser.add_argument("--limit", type=int, help="ask only the first questions")
    parser.add_argument("--out", type=Path, help="write the report")
    own, options = sys.argv[1:], []
    if "--" in own:
        own, options = own[: own.index("--")], own[own.index("--") + 1 :]
    given = parser.parse_args(own)
    limit = [] if given.limit is None else ["--limit", str(given.limit)]
    rows = read(given.answers) if given.answers else scored(given.folder, [*limit, *options])
    text = report(rows)
    if given.out:
        chart.write_text(given.out, text)
    print("\n".join(text))


if __name__ == "__main__":
    main()
