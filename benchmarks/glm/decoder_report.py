"""The report of `decoder.py`: Markdown and a plot from its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.chart import Bar, bars, lines, paragraph, table, write_report

__all__ = ["UPSTREAM", "report"]

UPSTREAM = "upstream demo"
BAR_SECONDS = 30.0
LINEAR = 1.5
"""Most that the dearest further second may cost of the cheapest one."""

Row = Mapping[str, Any]


def report(path: Path, found: Mapping[str, Any]) -> None:
    """Write the report and its plot.

    Args:
        path: Of the Markdown file.
        found: Figures of the run.
    """
    rows: list[Row] = found["rows"]
    names = list(dict.fromkeys(row["who"] for row in rows))
    ours = [name for name in names if name != UPSTREAM]
    best = ours[-1] if ours else ""
    machine = found["machine"]
    reference = " --reference PATH --reference-seconds 10 30" if UPSTREAM in names else ""
    text = [
        "# GLM-4-Voice: the decoder",
        "",
        *paragraph(
            f"{machine.get('date', '')} · {machine['device']} · torch {machine['torch']}, Python "
            f"{machine['python']} · {machine['sizes']} sizes, random weights, the same for both; "
            "all speech tokens are there from the start; medians of three replies. Command:"
        ),
        f"    PYTHONPATH=src python -m benchmarks.glm.decoder --out OUT.md{reference}",
        "",
        *table(("bar", "figure", "met"), bar_rows(rows, best)),
        f"![milliseconds by seconds of reply, and the first sample]({path.stem}.svg)",
        "",
        *measurements(rows),
        "## Notes of the run",
        "",
        *(f"- {note}" for note in found["notes"]),
    ]
    long = {name: [(row["seconds"], row["total_ms"]) for row in of(rows, name)] for name in names}
    first = [
        Bar(name, {"upstream" if name == UPSTREAM else "ours": of(rows, name)[0]["first_ms"]})
        for name in names
    ]
    title = "Whole reply, ms by seconds of sound"
    panels = [
        lines(title, long, across="seconds of reply", up="ms"),
        bars(f"First sample of a reply of {rows[0]['seconds']:g} s, ms", first),
    ]
    write_report(path, text, panels)


def bar_rows(rows: Sequence[Row], best: str) -> list[tuple[str, str, str]]:
    found = []
    for row in of(rows, UPSTREAM):
        same = [one for one in of(rows, best) if one["seconds"] == row["seconds"]]
        if not same:
            continue
        gain = row["total_ms"] / same[0]["total_ms"]
        bar = row["seconds"] == BAR_SECONDS
        what = f"a reply of {row['seconds']:g} s against upstream" + (
            ": at least 5 times" if bar else ""
        )
        found.append((what, f"{gain:.1f} times", met(gain >= 5) if bar else ""))
    further = [
        (later["total_ms"] - one["total_ms"]) / (later["seconds"] - one["seconds"])
        for one, later in pairwise(of(rows, best))
    ]
    if further:
        ends = [of(rows, best)[place]["seconds"] for place in (0, -1)]
        found.append(
            (
                f"linear from {ends[0]:g} to {ends[1]:g} s",
                f"a further second costs {min(further):.1f} to {max(further):.1f} ms",
                met(max(further) < LINEAR * min(further)),
            )
        )
    if any(row["peak_mib"] for row in rows):
        peaks = [
            f"{name}: {max(row['peak_mib'] for row in of(rows, name)):.0f} MiB"
            for name in (best, UPSTREAM)
            if of(rows, name)
        ]
        found.append(("peak GPU memory", "; ".join(peaks), ""))
    return found


def measurements(rows: Sequence[Row]) -> list[str]:
    heads = (
        "decoder", "reply, s", "whole reply, ms", "ms a second of sound", "first sample, ms",
        "tokens it needs", "peak GPU memory, MiB",
    )  # fmt: skip
    return table(
        heads,
        [
            (
                row["who"], f"{row['seconds']:g}", f"{row['total_ms']:.0f}",
                f"{row['total_ms'] / row['seconds']:.2f}", f"{row['first_ms']:.1f}",
                row["first_tokens"], f"{row['peak_mib']:.0f}",
            )
            for row in rows
        ],
    )  # fmt: skip


def of(rows: Sequence[Row], name: str) -> list[Row]:
    """Return the rows of a decoder, the shortest reply first."""
    return sorted(
        (row for row in rows if row["who"] == name), key=lambda row: float(row["seconds"])
    )


def met(yes: bool) -> str:
    return "yes" if yes else "**no**"
