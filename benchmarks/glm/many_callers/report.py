"""The report: Markdown and a plot from the figures of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.chart import Bar, Panel, bars, paragraph, table, write_report

__all__ = ["report"]

Figures = Mapping[str, Any]


def report(path: Path, found: Figures) -> None:
    """Write the report and its plot.

    Args:
        path: Of the Markdown file.
        found: Figures of the run.
    """
    drawn = plots(found)
    text = [
        "# GLM-4-Voice: many callers at once",
        "",
        *heading(found),
        *table(("bar", "figure", "met"), bar_rows(found)),
        *([f"![first sound, and speech a second]({path.stem}.svg)", ""] if drawn else []),
        *callers(found),
        *alone(found),
        *soaked(found),
        *others(found),
    ]
    write_report(path, text, drawn)


def heading(found: Figures) -> list[str]:
    machine, engine = found["machine"], found.get("engine", {})
    command = found.get("command", {})
    said = " ".join(command.get("parts", ()))
    if "soak" in found and "ramp_seconds" in command:
        said += " --soak-seconds {soak_seconds:g} --ramp-seconds {ramp_seconds:g}".format(**command)
        said += f" --soak-arrivals {command['soak_arrivals']}"
    return [
        *paragraph(
            f"{machine.get('date', '')} · {machine['device']}, {machine['cpus']} CPU cores · torch "
            f"{machine['torch']}, transformers {machine['transformers']} · {machine['layers']} "
            f"layers, {machine['hidden']} wide, random weights · read bandwidth measured in the "
            f"run: {found['read_bandwidth'].get('gb_per_s', 0):.0f} GB/s · language model: "
            f"{engine.get('language_model', 'not run')}, {engine.get('capacity', 1)} replies at a "
            f"time, warmed in {engine.get('warm_s', 0)} s. Command:"
        ),
        f"    PYTHONPATH=src python -m benchmarks.glm.many_callers --out DIR --parts {said}",
        "",
    ]


def bar_rows(found: Figures) -> list[tuple[str, str, str]]:
    """Compare what was measured with what was asked for."""
    rows: list[tuple[str, str, str]] = []

    def bar(what: str, value: float | None, unit: str, met: bool) -> None:
        if value is not None:
            rows.append((what, f"{value:g}{unit}", "yes" if met else "no"))

    for part, count, p50, p95 in (("burst16", 16, 600, 900), ("burst64", 64, None, 1800)):
        one = found.get(part, {})
        heard = one.get("first_audio_ms", {})
        if p50:
            value = heard.get("p50")
            bar(f"{count} callers, first sound p50 <= {p50} ms", value, " ms", (value or 0) <= p50)
        value = heard.get("p95")
        bar(f"{count} callers, first sound p95 <= {p95} ms", value, " ms", (value or 0) <= p95)
        value = one.get("underruns")
        bar(f"{count} callers, replies that fell behind their playing: 0", value, "", not value)
    value = found.get("burst64", {}).get("speech_s_per_s")
    bar("64 callers, speech a second >= 100 s", value, " s", (value or 0) >= 100)
    lm = found.get("lm", {})
    for count_of in ("16", "64"):
        value = lm.get(count_of, {}).get("share_of_bound")
        bar(
            f"language model, {count_of} rows, share of its bound >= 0.5",
            value,
            "",
            (value or 0) > 0.5,
        )
    one = found.get("one", {}).get("first_audio_ms", {})
    if one:
        bar(
            "one caller, any length, first sound p50 <= 250 ms",
            one["p50"],
            " ms",
            one["p50"] <= 250,
        )
        spread = round(one["p95"] / one["p50"], 2)
        bar("its p95 <= 1.3 times p50", spread, "", spread <= 1.3)
    before = found.get("sequential", {}).get("tokens_per_s")
    now = found.get("one", {}).get("tokens_per_s")
    if before and now:
        share = round(now / before, 3)
        bar("one stream, tokens/s against the sequential engine >= 0.97", share, "", share >= 0.97)
    value = found.get("replicas", {}).get("gain")
    bar("two GPUs, times the throughput of one >= 1.8", value, "", (value or 0) >= 1.8)
    value = found.get("soak", {}).get("p95_last_third_to_first")
    bar("soak, p95 of the last third to the first <= 1.2", value, "", (value or 0) <= 1.2)
    engine = found.get("engine", {})
    if engine.get("peak_gb"):
        share = round(engine["peak_gb"] / engine["calculated_gb"], 3)
        bar("peak memory to that of weights and caches, within 10 %", share, "", share <= 1.1)
    return rows


def callers(found: Figures) -> list[str]:
    """Tabulate the bursts, run by run."""
    rows = []
    for part in ("burst16", "burst64"):
        for number, one in enumerate(found.get(part, {}).get("runs", ()), 1):
            rows.append((f"{part} {number}", *row_of(one), one["speech_s_per_s"]))
    if "first_audio_ms" in found.get("sequential", {}):
        one = found["sequential"]
        rows.append((f"one after another, {one['callers']}", *row_of(one), one["speech_s_per_s"]))
    if not rows:
        return []
    heads = (
        "run", "first text p50, ms", "first sound p50", "p95", "max", "underruns",
        "longest stall, s", "least ahead, s", "errors", "speech s/s",
    )  # fmt: skip
    return ["## Callers at about the same time", "", *table(heads, rows)]


def row_of(one: Figures) -> tuple[object, ...]:
    sound = one["first_audio_ms"]
    return (
        one["first_text_ms"].get("p50", "-"), sound.get("p50", "-"), sound.get("p95", "-"),
        sound.get("max", "-"), one["underruns"], one["stalled_s_max"], one["least_ahead_s"],
        one["errors"],
    )  # fmt: skip


def alone(found: Figures) -> list[str]:
    lines = []
    one = found.get("one", {})
    if "first_audio_ms" in one:
        rows = [
            (what, *(figures[kind].get(name, "-") for kind in ("first_text_ms", "first_audio_ms")
                     for name in ("p50", "p95", "max")))
            for what, figures in (("lengths at random", one), ("5 s, four passages", one["usual"]))
        ]  # fmt: skip
        heads = ("question", "first text p50", "p95", "max", "first sound p50", "p95", "max")
        lines += [
            "## One caller",
            "",
            *paragraph(
                f"In milliseconds. {one['tokens_per_s']} tokens/s in one stream; a whole reply at "
                f"{one['speech_s_per_s']} s of speech a second."
            ),
            *table(heads, rows),
        ]
    lm = {name: row for name, row in found.get("lm", {}).items() if isinstance(row, Mapping)}
    if lm:
        rows = [
            (name, row["tokens_per_s"], row["bound_tokens_per_s"], f"{row['share_of_bound']:.1%}",
             row["with_prompts_tokens_per_s"], row["gap_ms"].get("p95", "-"),
             row["gap_ms"].get("max", "-"))
            for name, row in lm.items()
        ]  # fmt: skip
        heads = (
            "rows", "tokens/s", "bound", "share", "with prompts, tokens/s",
            "gap between ids p95, ms", "max",
        )  # fmt: skip
        lines += ["## The language model alone", "", *table(heads, rows)]
    return lines


def soaked(found: Figures) -> list[str]:
    one = found.get("soak", {})
    if "thirds" not in one:
        return []
    rows = [(f"third {n}", *row_of(third)) for n, third in enumerate(one["thirds"], 1)]
    heads = (
        "", "first text p50, ms", "first sound p50", "p95", "max", "underruns",
        "longest stall, s", "least ahead, s", "errors",
    )  # fmt: skip
    again = one["same_as_alone"]
    gaps = ", ".join(f"{p['gap']} at id {p['at']}" for p in again["parted"]) or "none"
    return [
        "## Soak",
        "",
        *paragraph(
            f"{one['calls']} calls in {one['seconds']} s, {one['left_early']} left early, "
            f"{one['speech_s_per_s']} s of speech a second. Allocated before and after: "
            f"{one['allocated_gb'][0]} and {one['allocated_gb'][1]} GB; threads "
            f"{one['threads'][0]} and {one['threads'][1]}; running and waiting at the end: "
            f"{one['running_waiting']}. Of {again['compared']} greedy replies {again['same']} are "
            f"those of the same question alone; the others part where two scores are near each "
            f"other (differences: {gaps}); parted for no such reason: {again['unexplained']}."
        ),
        *(thirds_said(one) if "ramp_seconds" in one else ()),
        *table(heads, rows),
        *(slowest(one["slowest"]) if "slowest" in one else ()),
    ]


def thirds_said(one: Figures) -> list[str]:
    """Say what the thirds are, and both ratios."""
    same = {
        "repeated": "The same calls come at the same times in each third, with other questions",
        "random": "Each third has calls of its own, so they differ in load, too",
    }
    return paragraph(
        f"The first {one['ramp_seconds']:g} s of calls are in no third: a soak begins with nobody "
        f"there. {same[one['arrivals']]}. First sound p95 of the last third to the first: "
        f"{one['p95_last_third_to_first']}; of thirds of the whole time, those seconds included: "
        f"{one['p95_last_third_to_first_with_ramp']}."
    )


def slowest(found: Figures) -> list[str]:
    """Tabulate the calls that waited longest, and the median of all."""
    calls = [*found["calls"], found["median"]]
    rows = [
        (
            "median of all" if one is found["median"] else f"at {one['at_s']} s",
            one["first_audio_ms"], one["near"], one["written"], one["passages"], one["question_s"],
            one["reply_s"],
        )
        for one in calls if one
    ]  # fmt: skip
    heads = (
        "slowest calls", "first sound, ms", "others within 0.3 s", "replies written then",
        "passages", "question, s", "reply, s",
    )  # fmt: skip
    return table(heads, rows)


def others(found: Figures) -> list[str]:
    lines = []
    rival = found.get("transformers", {})
    rows = [
        (name, row["with_prompts_tokens_per_s"], found.get("lm", {}).get(name, {}).get(
            "with_prompts_tokens_per_s", "-"))
        for name, row in rival.items() if isinstance(row, Mapping)
    ]  # fmt: skip
    if rows:
        heads = ("prompts", "transformers, tokens/s", "ours")
        lines += [
            "## Continuous batching of transformers, prompts included",
            "",
            *table(heads, rows),
        ]
    two = found.get("replicas", {})
    rows = [(name.replace("_", " replica(s), "), *row_of(row), row["speech_s_per_s"],
             row.get("callers_cpu", "-"))
            for name, row in two.items() if isinstance(row, Mapping)]  # fmt: skip
    if rows:
        columns = (
            "callers", "first text p50, ms", "first sound p50", "p95", "max", "underruns",
            "longest stall, s", "least ahead, s", "errors", "speech s/s", "callers' process, cores",
        )  # fmt: skip
        lines += [
            "## Two replicas",
            "",
            "One is a voice in the process of the callers; two are in processes of their own.",
            "",
            *table(columns, rows),
        ]
    missing = {
        name: row.get("failed") or row.get("left_out")
        for name, row in found.items()
        if isinstance(row, Mapping) and ("failed" in row or "left_out" in row)
    }
    if missing:
        lines += ["## Not measured", "", *table(("part", "why"), list(missing.items()))]
    return lines


def plots(found: Figures) -> Sequence[Panel]:
    sounds, speech = [], []
    rows = (
        ("sequential", "one after another"),
        ("burst16", "16 callers"),
        ("burst64", "64 callers"),
    )
    for part, said in rows:
        one = found.get(part, {})
        heard = one.get("first_audio_ms")
        if not heard:
            continue
        label = f"{said}, {one['callers']}" if part == "sequential" else said
        rest = {"p50": heard["p50"], "p95": heard["p95"] - heard["p50"]}
        sounds.append(Bar(label, rest))
        speech.append(Bar(label, {"speech": one["speech_s_per_s"]}))
    for name, row in found.get("replicas", {}).items():
        if isinstance(row, Mapping):
            speech.append(
                Bar(name.replace("_", " replica(s), "), {"speech": row["speech_s_per_s"]})
            )
    if not sounds and not speech:
        return ()
    drawn = []
    if sounds:
        drawn.append(bars("time to the first sound, ms: p50, then p95", sounds))
    drawn.append(bars("seconds of speech made in a second", speech))
    return drawn
