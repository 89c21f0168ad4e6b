"""Write the figures of docs/evaluation.md from the saved runs: python scripts/evaluation_page.py.

A block of the page begins with ``<!-- RUN: TITLE -->``: the table of that title of the run in
``benchmarks/results/evaluation/RUN``, and ends with ``<!-- end -->``.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

from voicerag_core.evaluation.report import tables
from voicerag_core.evaluation.runs import RunFolder

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "evaluation.md"
RUNS: Final = ROOT / "benchmarks" / "results" / "evaluation"
_BLOCK = re.compile(r"<!-- ([\w-]+): (.+?) -->\n.*?<!-- end -->", re.DOTALL)


def written(text: str) -> str:
    """Return the page with the figures of the saved runs, each of which is read once."""
    of_run = cache(lambda run: tables(RunFolder(RUNS / run).records()))

    def block(found: re.Match[str]) -> str:
        run, title = found[1], found[2]
        by_title = {table.title: table for table in of_run(run)}
        table = by_title[title]
        rows = (table.head, ["---"] * len(table.head), *table.lines)
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([f"<!-- {run}: {title} -->", "", *lines, "", "<!-- end -->"])

    return _BLOCK.sub(block, text)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
