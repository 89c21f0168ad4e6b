"""Plots as plain SVG, and the files of a report: Markdown, plot and figures."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

__all__ = [
    "Bar",
    "Panel",
    "bars",
    "lines",
    "paragraph",
    "table",
    "write_json",
    "write_plot",
    "write_report",
    "write_text",
]

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 760, 250, 60, 56, 46
ROW, PLOT = 30, 260
COLOURS = ("#1d4ed8", "#c2410c", "#15803d", "#7e22ce", "#6b7280", "#0e7490")
REMARKS = "## Remarks"
"""What stands below this heading is written by hand, and kept."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a bar plot.

    Args:
        label: Left of the bar.
        parts: Length of each stacked part by its name.
        bound: Drawn as a marker, if given.
    """

    label: str
    parts: Mapping[str, float]
    bound: float | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """A plot of `WIDTH`, to be put below another.

    Args:
        height: In the units of the page.
        drawn: Its elements.
    """

    height: int
    drawn: tuple[str, ...]


def bars(title: str, rows: Sequence[Bar], *, mark: tuple[str, float] | None = None) -> Panel:
    """Draw horizontal bars on an axis that starts at zero.

    Args:
        title: Above the plot, with the unit.
        rows: From the top.
        mark: Name and place of a line across all bars.
    """
    names = list(dict.fromkeys(name for row in rows for name in row.parts))
    sums = [sum(row.parts.values()) for row in rows]
    most = max(*sums, *(row.bound or 0.0 for row in rows), mark[1] if mark else 0.0)
    step = _step(most)
    end = step * math.ceil(most / step)
    bottom = TOP + ROW * len(rows)

    def across(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value / end

    drawn = [_text(20, 24, title, size=14)]
    for number in range(round(end / step) + 1):
        x = across(number * step)
        drawn.append(_stroke(f"M{x:.1f} {TOP}V{bottom}", "#ddd"))
        drawn.append(_text(x, bottom + 16, f"{number * step:g}", anchor="middle"))
    for number, (row, total) in enumerate(zip(rows, sums, strict=True)):
        y = TOP + ROW * number + 6
        drawn.append(_text(LEFT - 8, y + 13, row.label, anchor="end"))
        begin = 0.0
        for name, value in row.parts.items():
            drawn.append(
                f'<rect x="{across(begin):.1f}" y="{y}" width="{across(value) - LEFT:.1f}" '
                f'height="18" fill="{COLOURS[names.index(name) % len(COLOURS)]}"/>'
            )
            begin += value
        if row.bound:
            drawn.append(_stroke(f"M{across(row.bound):.1f} {y - 4}v26", "black", width=2.5))
        x, figure = across(total), f"{total:.0f}" if total >= 100 else f"{total:.1f}"
        inside = x - LEFT > 44
        drawn.append(
            _text(x - 6, y + 13, figure, anchor="end", colour="white")
            if inside
            else _text(x + 12, y + 13, figure)
        )
    legend = [(name, COLOURS[names.index(name) % len(COLOURS)]) for name in names]
    if any(row.bound for row in rows):
        legend.append(("bound", "black"))
    if mark:
        legend.append((mark[0], "#15803d"))
        drawn.append(_stroke(f"M{across(mark[1]):.1f} {TOP}V{bottom}", "#15803d", dashed=True))
    return Panel(bottom + BOTTOM, (*drawn, *_legend(legend)))


def lines(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    across: str,
    up: str,
) -> Panel:
    """Draw line plots on two logarithmic axes.

    Args:
        title: Above the plot.
        series: Points by name.
        across: What the horizontal axis shows; its ticks are the points' own.
        up: What the vertical axis shows.
    """
    points = [point for one in series.values() for point in one]
    left, right = 70, WIDTH - 240
    places = sorted({x for x, _ in points})
    levels = _ticks(min(y for _, y in points), max(y for _, y in points))
    at = _logarithmic((places[0], places[-1]), (left, right))
    height = _logarithmic((levels[0], levels[-1]), (TOP + PLOT, TOP))
    bottom = TOP + PLOT
    drawn = [_text(20, 24, title, size=14), _text(left, TOP - 8, up)]
    for level in levels:
        y = height(level)
        drawn.append(_stroke(f"M{left} {y:.1f}H{right}", "#ddd"))
        drawn.append(_text(left - 8, y + 4, f"{level:g}", anchor="end"))
    drawn += [_text(at(place), bottom + 16, f"{place:g}", anchor="middle") for place in places]
    drawn.append(_text((left + right) / 2, bottom + 34, across, anchor="middle"))
    ends: list[float] = []
    for (name, one), colour in zip(series.items(), COLOURS, strict=False):
        path = "L".join(f"{at(x):.1f} {height(y):.1f}" for x, y in one)
        drawn.append(_stroke(f"M{path}", colour, width=2))
        drawn += [
            f'<circle cx="{at(x):.1f}" cy="{height(y):.1f}" r="3" fill="{colour}"/>' for x, y in one
        ]
        y = TOP + 4 + 20 * len(ends)
        ends.append(y)
        drawn.append(_stroke(f"M{right + 14} {y}h22", colour, width=2))
        drawn.append(_text(right + 42, y + 4, name))
    return Panel(bottom + BOTTOM + 8, tuple(drawn))


def paragraph(text: str) -> list[str]:
    """Return the lines of a Markdown paragraph."""
    return [*textwrap.wrap(text, 100, break_long_words=False, break_on_hyphens=False), ""]


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
        "",
    ]


def write_report(path: Path, text: Sequence[str], panels: Sequence[Panel]) -> None:
    """Write a report and its plot under one name; the remarks of an earlier report are kept.

    Args:
        path: Of the Markdown file.
        text: Its lines.
        panels: From the top.
    """
    write_text(path, text)
    write_plot(path.with_suffix(".svg"), panels)


def write_plot(path: Path, panels: Sequence[Panel]) -> None:
    """Write panels, from the top, as an SVG file."""
    path.write_text(_page(panels), encoding="utf-8")


def write_text(path: Path, text: Sequence[str]) -> None:
    """Write a report without a plot; the remarks of an earlier report are kept."""
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    _, heading, remarks = old.partition(REMARKS)
    whole = "\n".join(text).rstrip() + "\n"
    path.write_text(whole + (f"\n{heading}{remarks}" if heading else ""), encoding="utf-8")


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write figures atomically: an interrupted program keeps the previous ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".part")
    fresh.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    fresh.replace(path)


def _page(panels: Sequence[Panel]) -> str:
    height = sum(panel.height for panel in panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
        '<g font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    top = 0
    for panel in panels:
        parts += [f'<g transform="translate(0 {top})">', *panel.drawn, "</g>"]
        top += panel.height
    return "\n".join([*parts, "</g></svg>"]) + "\n"


def _legend(names: Sequence[tuple[str, str]]) -> list[str]:
    drawn, x = [], 20.0
    for name, colour in names:
        drawn.append(f'<rect x="{x:.1f}" y="34" width="10" height="10" fill="{colour}"/>')
        drawn.append(_text(x + 15, 43, name))
        x += 15 + 6.6 * len(name) + 18
    return drawn


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, colour: str = "black"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{colour}">'
        f"{escape(text)}</text>"
    )


def _stroke(path: str, colour: str, *, width: float = 1, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dash}/>'


def _step(most: float) -> float:
    """Return a round step with four to ten steps up to the largest value."""
    power = 10.0 ** math.floor(math.log10(most))
    return power * next(part for part in (0.1, 0.2, 0.5, 1.0) if most / (power * part) <= 10)


def _ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 of every power of ten, from the last below to the first above."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [round(digit * 10.0**power, 9) for power in powers for digit in (1, 2, 5)]
    below = max(tick for tick in ticks if tick <= low)
    above = min(tick for tick in ticks if tick >= high)
    return [tick for tick in ticks if below <= tick <= above]


def _logarithmic(
    values: tuple[float, float], places: tuple[float, float]
) -> Callable[[float], float]:
    """Return the place of a value, from the places of two."""
    low, high = map(math.log, values)
    span = (high - low) or 1.0
    return lambda value: places[0] + (places[1] - places[0]) * (math.log(value) - low) / span
