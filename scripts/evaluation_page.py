"""Write the figures of the evaluation pages from the saved runs: python scripts/evaluation_page.py.

A block of a page begins with ``<!-- RUN: TITLE -->``: the table of that title of the run in
``benchmarks/results/evaluation/RUN``, and ends with ``<!-- end -->``. Behind the title may stand
the rows that are shown, as ``| asked: typed, clean | store: shared``, and ``| seen: yes`` where the
questions count that training, thresholds or earlier development saw.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

from voicerag_core.evaluation.report import Table, tables
from voicerag_core.evaluation.runs import RunFolder

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = tuple(ROOT / "docs" / name for name in ("evaluation.md", "evaluation-figures.md"))
RUNS: Final = ROOT / "benchmarks" / "results" / "evaluation"
SEEN: Final = "seen: yes"
_BLOCK = re.compile(r"<!-- ([\w-]+): (.+?) -->\n.*?<!-- end -->", re.DOTALL)


@cache
def _of_run(run: str, seen: bool) -> dict[str, Table]:
    """Return the tables of a saved run by title; they are made once."""
    return {table.title: table for table in tables(RunFolder(RUNS / run).records(), seen=seen)}


def _shown(table: Table, filters: list[str]) -> list[tuple[str, ...]]:
    """Return the rows that have one of the wanted values in every column that is named."""
    lines = list(table.lines)
    for one in filters:
        column, _, wanted = one.partition(":")
        place = table.head.index(column.strip())
        values = {value.strip() for value in wanted.split(",")}
        lines = [line for line in lines if line[place] in values]
    if not lines:
        raise ValueError(f"no row of {table.title!r} is left by {filters}")
    return lines


def written(text: str) -> str:
    """Return a page with the figures of the saved runs."""

    def block(found: re.Match[str]) -> str:
        title, *filters = (part.strip() for part in found[2].split(" | "))
        seen = SEEN in filters
        table = _of_run(found[1], seen)[title]
        filters = [one for one in filters if one != SEEN]
        rows = (table.head, ["---"] * len(table.head), *_shown(table, filters))
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([f"<!-- {found[1]}: {found[2]} -->", "", *lines, "", "<!-- end -->"])

    return _BLOCK.sub(block, text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(written(page.read_text("utf-8")), "utf-8")
