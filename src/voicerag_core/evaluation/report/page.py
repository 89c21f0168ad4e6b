"""One self-contained HTML page: tables, plots, and the worst cases to listen to."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from voicerag_core.evaluation.judging import PROMPT, agreement
from voicerag_core.evaluation.report.figures import Row, counted, rows
from voicerag_core.evaluation.report.tables import Table, tables
from voicerag_core.evaluation.runs.config import RunConfig
from voicerag_core.evaluation.runs.records import Record

__all__ = ["page", "worst"]

WORST = 12
MOST_CLIP_BYTES = 600_000
"""Longer clips are named but not put into the page."""

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem}
table{border-collapse:collapse;margin:.5rem 0 1rem;font-size:13px}th,td{border:1px solid #d6d3d1;
padding:.2rem .5rem;text-align:left;vertical-align:top}th{background:#f5f5f4}.wide{overflow-x:auto}
.warn{background:#fef3c7;border:1px solid #d97706;padding:.6rem 1rem}
article{border:1px solid #d6d3d1;padding:.6rem 1rem;margin:.6rem 0}
.note{color:#57534e}ol{margin:.2rem 0 .2rem 1.2rem;padding:0}
"""
COLOURS = ("#c2410c", "#1d4ed8", "#15803d", "#7e22ce", "#0e7490", "#a16207")


def page(
    records: Sequence[Record],
    config: RunConfig,
    about: Mapping[str, Any],
    sets: Mapping[str, Mapping[str, Any]],
    *,
    seen: bool = False,
) -> str:
    """Return the report of a run as HTML that loads nothing from elsewhere.

    Args:
        records: Of the run.
        config: What was asked.
        about: Models, hardware and date.
        sets: What is known of the sets.
        seen: See `tables`.
    """
    parts = ["<h1>Evaluation</h1>", _about(about, config)]
    if config.tiny:
        parts.append(
            '<p class="warn">The weights of this run are random: it shows that the command works, '
            "and its figures mean nothing.</p>"
        )
    if config.passages is not None:
        parts.append(
            f'<p class="warn">A quick look: each set is cut to {config.passages} passages, which '
            "makes its questions easier. These figures are not those of the sets.</p>"
        )
    if not records:
        parts.append('<p class="warn">Nothing has been asked yet.</p>')
    parts.append(_table(_sets(sets)))
    parts += _problems(sets)
    found = rows(records if seen else counted(records))
    parts.append(_left_out(records, seen=seen))
    for name, title in (("R@1", "Right passage first"), ("contained", "Answer contained")):
        parts.append(_bars(found, name, title))
    parts += [_table(table) for table in tables(records, seen=seen)]
    parts.append(_judge(records))
    parts.append("<h2>Worst cases</h2>")
    parts += [_case(one) for one in worst(records)]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>voicerag evaluation</title><style>{STYLE}</style></head>"
        f"<body>{body}</body></html>\n"
    )


def _left_out(records: Sequence[Record], *, seen: bool) -> str:
    """Say what became of questions that something was chosen by."""
    asked = {(one.set, one.question) for one in records}
    old = asked - {(one.set, one.question) for one in counted(records)}
    if not old:
        return ""
    told = "are counted" if seen else "are left out of the figures (--seen counts them)"
    return (
        f'<p class="note">{len(old)} of {len(asked)} questions were seen by training, thresholds '
        f"or earlier development, and {told}.</p>"
    )


def _judge(records: Sequence[Record]) -> str:
    """Say how far a judge agrees with the gold, and what it was told."""
    same = agreement(records)
    if same is None:
        return ""
    return (
        f'<p class="note">The judge agrees with the gold answers that it did not see in '
        f"{same.share:.3f} of {same.count} answers; Cohen's kappa {same.kappa:.3f}.</p>"
        f"<details><summary>What the judge was told</summary><pre>{escape(PROMPT)}</pre></details>"
    )


def worst(records: Sequence[Record], most: int = WORST) -> list[Record]:
    """Return the records that went most wrong, of different questions.

    A question that was not heard comes first, then right passages that were not found, then
    questions that were answered although nothing answers them, then wrong answers; spoken ones
    before typed ones.
    """

    def badness(one: Record) -> tuple[float, float]:
        if one.refused:
            return (4.0, 0.0)
        missed = bool(one.sources) and not set(one.sources) & set(one.found)
        if missed:
            return (3.0, one.measures.get("wrong", 0.0))
        if one.answer is not None and not one.answerable and one.answered:
            return (2.0, 0.0)
        if "f1" in one.measures:
            return (1.0 - one.measures["f1"], 0.0)
        return (0.0, 0.0)

    bad = [one for one in records if badness(one) > (0.0, 0.0)]
    bad.sort(key=lambda one: (badness(one), bool(one.clip)), reverse=True)
    kept: dict[tuple[str, str], Record] = {}
    for one in bad:
        kept.setdefault((one.set, one.question), one)
    return list(kept.values())[:most]


def _about(about: Mapping[str, Any], config: RunConfig) -> str:
    told = ", ".join(f"{escape(str(key))}: {escape(str(value))}" for key, value in about.items())
    settings = ", ".join(
        f"{name} = {escape(str(value))}"
        for name, value in config.values().items()
        if value is not None
    )
    summary = "<summary>Settings of the run</summary>"
    return f'<p class="note">{told}</p><details>{summary}{settings}</details>'


def _sets(sets: Mapping[str, Mapping[str, Any]]) -> Table:
    keys = ("questions", "passages", "asked", "spoken", "language", "passage_language")
    lines = [
        (name, *(str(told.get(key, "")) for key in keys),
         str(len(told.get("problems", ()))), str(told.get("seen", "")))
        for name, told in sets.items()
    ]  # fmt: skip
    head = ("set", "questions", "passages", "asked", "spoken", "asked in", "passages in",
            "problems", "seen by training, thresholds or development")  # fmt: skip
    return Table("Sets", head, tuple(lines))


def _problems(sets: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    for name, told in sets.items():
        problems = told.get("problems", ())
        if problems:
            items = "".join(f"<li>{escape(one)}</li>" for one in problems)
            yield (
                f"<details><summary>{escape(name)}: problems ({len(problems)})</summary>"
                f"<ul>{items}</ul></details>"
            )


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in table.head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>"
        for line in table.lines
    )
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<h2>{escape(table.title)}</h2>{note}<div class="wide"><table><thead><tr>{head}</tr>'
        f"</thead><tbody>{lines}</tbody></table></div>"
    )


def _bars(found: Sequence[Row], name: str, title: str) -> str:
    """Draw one score of every row as a bar with its interval."""
    shown = [row for row in found if name in row.scores]
    if not shown:
        return ""
    step, left, width = 22, 360, 420
    strategies = list(dict.fromkeys(row.group[3] for row in shown))
    parts = []
    for place, row in enumerate(shown):
        y, score = 30 + place * step, row.scores[name]
        colour = COLOURS[strategies.index(row.group[3]) % len(COLOURS)]
        low, high = left + width * score.low, left + width * score.high
        parts.append(
            f'<text x="{left - 8}" y="{y + 11}" text-anchor="end">'
            f"{escape(' · '.join(row.group))}</text>"
            f'<rect x="{left}" y="{y}" width="{max(width * score.mean, 1):.1f}" height="14" '
            f'fill="{colour}" opacity=".75"/>'
            f'<path d="M{low:.1f} {y + 7}H{high:.1f}" stroke="#000"/>'
            f'<text x="{left + width + 8}" y="{y + 11}">{score.mean:.3f}</text>'
        )
    height = 40 + len(shown) * step
    return (
        f"<h2>{escape(title)}</h2>"
        f'<svg viewBox="0 0 {left + width + 60} {height}" width="100%" role="img" '
        f'aria-label="{escape(title)}" font-size="11" font-family="sans-serif">'
        f"{''.join(parts)}</svg>"
    )


def _case(one: Record) -> str:
    sound = _sound(one)
    passages = "".join(f"<li>{escape(text[:300])}</li>" for text in one.shown)
    gold = "; ".join(one.answers) or "unknown"
    if not one.answerable:
        gold = "none: it cannot be answered"
    answer = "" if one.answer is None else f"<p>Answer: <b>{escape(one.answer)}</b></p>"
    heard = "" if one.heard is None else f"<p>Heard: {escape(one.heard)}</p>"
    refused = f"<p>Not searched: {escape(one.refused)}</p>" if one.refused else ""
    return (
        f"<article><p>{escape(one.set)} · {escape(one.question)} · {escape(one.form)} · "
        f"{escape(one.strategy)} · {escape(one.voice)}</p>"
        f"<p>Question: <b>{escape(one.text)}</b></p>"
        f"{sound}{heard}{refused}<p>Right: {escape(', '.join(one.sources)) or 'unknown'}; found: "
        f"{escape(', '.join(one.found[:5])) or 'nothing'}</p><ol>{passages}</ol>"
        f"<p>Gold: {escape(gold)}</p>{answer}</article>"
    )


def _sound(one: Record) -> str:
    """Return a player for the clean clip of a record."""
    file = Path(one.clip) if one.clip else None
    if file is None or not os.path.isfile(file) or file.stat().st_size > MOST_CLIP_BYTES:
        return ""
    kind = {".wav": "wav", ".flac": "flac", ".ogg": "ogg", ".mp3": "mpeg"}.get(file.suffix)
    if kind is None:
        return ""
    data = base64.b64encode(file.read_bytes()).decode()
    note = "" if one.form == "clean" else f" (before: {escape(one.form)})"
    return f'<p><audio controls src="data:audio/{kind};base64,{data}"></audio>{note}</p>'
