"""The report of `encoders.py`: targets, differences of the vectors, and a plot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.chart import Bar, Panel, bars, paragraph, table, write_report

__all__ = ["Ratio", "ratios", "report", "write"]

TEXTS, TEXT = "texts per second", "ms for one text of 14 tokens"
SPEECH, QUESTION = "seconds of speech per second", "ms for one question of 5 s"
SINGLE, BULK = 1.0, 1.5
"""Times as fast as transformers: what is asked of one input, and of many."""
POSITIONS_PER_SECOND = 50
"""Positions of the speech encoder, 20 ms each."""
TABLE = 256_206 * 1024
"""Parameters of the text encoder that are looked up and not multiplied."""

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ratio:
    """One comparison with a target.

    Args:
        what: What is measured, and where.
        ours: The figure, in `unit`.
        theirs: The figure of transformers.
        times: Speed relative to transformers.
        least: Target for `times`.
    """

    what: str
    ours: float
    theirs: float
    times: float
    least: float


def ratios(figures: Figures) -> Iterator[Ratio]:
    """Yield each comparison, one input first."""
    for what, part, key, ours, theirs in (
        ("one question of 5 s, ms", "speech", QUESTION, "ours", "transformers"),
        ("the same from ready features, ms", "speech", QUESTION, "ours, from features",
         "transformers, from features"),
        ("one text of 14 tokens, ms", "text", TEXT, "ours", "transformers"),
        ("texts/s, against a loop in order", "text", TEXTS, "ours", "transformers, in order"),
        ("texts/s, against sorted batches", "text", TEXTS, "ours", "transformers, sorted"),
        ("speech s/s, from sound", "speech", SPEECH, "ours", "transformers"),
        ("from features, against a loop", "speech", SPEECH, "ours, from features",
         "transformers, from features, in order"),
        ("from features, against sorted", "speech", SPEECH, "ours, from features",
         "transformers, from features, sorted"),
        ("from features, both sorted by 8", "speech", SPEECH,
         "ours, from features, by 8", "transformers, from features, sorted"),
    ):  # fmt: skip
        sides = figures[part][key]
        if ours not in sides:  # an earlier run did not measure it
            continue
        mine, other = sides[ours], sides[theirs]
        single = key in (QUESTION, TEXT)
        times = other / mine if single else mine / other
        yield Ratio(what, mine, other, times, SINGLE if single else BULK)


def vectors_table(runs: list[Figures]) -> list[str]:
    """Tabulate how much the sides differ, and how much two inputs do."""
    rows = [
        [
            f"{run['device']}, {run['dtype']}",
            f"{kind}, {run[kind]['parameters']:,} parameters",
            f"{run[kind]['difference']:.1e}",
            *(_exponent(run[kind].get(key)) for key in ("difference, same batches", "least gap")),
        ]
        for kind in ("text", "speech")
        for run in runs
    ]
    heads = ["run", "encoder", "sides differ by", "in the same batches", "nearest two inputs"]
    return [
        "## Are the vectors the same?",
        "",
        *paragraph(
            "Largest difference of a number between the two sides' vectors, scaled to length 1; as "
            "a yardstick, the same between the two most alike vectors of different inputs. A dash: "
            "not asked in that run."
        ),
        *table(heads, rows),
    ]


def report(figures: Figures, plot: str) -> tuple[list[str], list[Panel]]:
    """Return the lines of the report and its plot.

    Args:
        figures: Of `encoders.py`; ``controls`` may hold those of further runs.
        plot: Name of the plot's file.
    """
    found = list(ratios(figures))
    text, speech = figures["text"], figures["speech"]
    options = "" if figures["device"] != "CPU" else f" --tiny --dtype {figures['dtype']}"
    lines = [
        "# SONAR compared with transformers",
        "",
        *paragraph(
            f"{figures['date']}, {figures['device']}, torch {figures['torch']}, transformers "
            f"{figures['transformers']}, {figures['dtype']}, {figures['seconds in all']:.0f} s in "
            "all. Command:"
        ),
        f"    PYTHONPATH=src python -m benchmarks.sonar.encoders --out FOLDER{options}",
        "",
        *paragraph(
            f"Random weights, the same on both sides: a text encoder of {text['parameters']:,} "
            f"parameters and a speech encoder of {speech['parameters']:,}. In bulk "
            f"{text['texts']:,} texts of {text['tokens']:,} tokens, and {speech['clips']} clips of "
            f"{speech['seconds of speech']:.0f} s. Medians of runs that alternate, but for "
            "transformers from sound in bulk: one run."
        ),
        *table(
            ["what", "ours", "transformers", "times as fast", "bar", "met"],
            [
                [one.what, f"{one.ours:,.1f}", f"{one.theirs:,.1f}", f"{one.times:.2f}",
                 f"{one.least:g}", "yes" if one.times >= one.least else "**no**"]
                for one in found
            ],
        ),
        f"![times as fast as transformers]({plot})",
        "",
        *paragraph(
            "In order: a loop over batches of 64 texts or 8 clips as they come. Sorted: by length, "
            "texts with our own budget of a batch, clips by 8. transformers' features are made on "
            "the CPU, the only place where its extractor works; that is most of its time from "
            "sound, and part of its time for one question. The rows from ready features compare "
            "the encoders alone."
        ),
    ]  # fmt: skip
    lines += paragraph(
        "Small sizes on the CPU: this shows that it runs, and its times mean nothing."
        if figures["device"] == "CPU"
        else _work(figures)
    )
    lines += vectors_table([figures, *figures.get("controls", [])])
    panels = [
        bars(
            f"{title}: times as fast as transformers",
            [
                Bar(one.what, {"SONAR in voicerag": one.times})
                for one in found
                if one.least == least
            ],
            mark=(f"bar, {least:g}", least),
        )
        for title, least in (("One input", SINGLE), ("Bulk", BULK))
    ]
    return lines, panels


def write(figures: Figures, path: Path) -> None:
    """Write the report and its plot."""
    lines, panels = report(figures, path.with_suffix(".svg").name)
    write_report(path, lines, panels)


def _work(figures: Figures) -> str:
    text, speech = figures["text"], figures["speech"]
    per_text = 2 * (text["parameters"] - TABLE) * text["tokens"] / text["texts"]
    per_second = 2 * speech["parameters"] * POSITIONS_PER_SECOND
    rates = per_text * text[TEXTS]["ours"], per_second * speech[SPEECH]["ours, from features"]
    return (
        f"In bulk our text encoder works at {rates[0] / 1e12:.0f} TFLOP/s and our speech encoder "
        f"at {rates[1] / 1e12:.0f}: two operations a parameter and position, padding and attention "
        "not counted."
    )


def _exponent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"
