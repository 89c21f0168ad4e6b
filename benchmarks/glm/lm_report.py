"""The report of `lm.py`: Markdown and a plot from its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.chart import Bar, Panel, bars, paragraph, table, write_report

__all__ = ["REALTIME", "report"]

REALTIME = 12.5 * 39 / 26
"""Tokens per second needed for speech at 12.5 tokens per second with interleaved text."""
VARIANTS = {
    "bf16_without_triton": "ours, bfloat16, without Triton",
    "bf16": "ours, bfloat16",
    "int8": "ours, int8",
    "int4": "ours, int4",
    "upstream": "upstream, bfloat16",
}
UPSTREAM_DECODER = (
    "its decoder's first sample, of 25 speech tokens, is that of [the decoder's report]"
    "(glm_decoder.md)"
)

Figures = Mapping[str, Any]


def report(
    path: Path, found: Figures, others: Sequence[Figures] = (), decoder: Figures | None = None
) -> None:
    """Write the report and its plot.

    Args:
        path: Of the Markdown file.
        found: Figures of the run.
        others: Figures of earlier runs, for comparison.
        decoder: Figures of `decoder.py`, for upstream's first sample.
    """
    sample = None if decoder is None else upstream_first_sample(decoder)
    text = [
        "# GLM-4-Voice: the language model and the time to the first sound",
        "",
        *heading(found),
        *bar_table(found, others, sample),
        f"![tokens a second, and time to the first sound]({path.stem}.svg)",
        "",
        *speeds(found),
        *first_sound(found, sample),
        *inside(found),
        *(line for number, one in enumerate(others, 2) for line in other_run(one, number)),
    ]
    write_report(path, text, plots(found, sample))


def heading(found: Figures) -> list[str]:
    machine = found["machine"]
    reference = " --reference PATH" if "upstream" in found else ""
    return [
        *paragraph(
            f"{machine.get('date', '')} · {machine['device']}, {machine['cpus']} CPU cores · torch "
            f"{machine['torch']}, transformers {machine['transformers']} · {machine['layers']} "
            f"layers, {machine['hidden']} wide, random weights · read bandwidth measured in the "
            f"run: {found['read_bandwidth'].get('gb_per_s', 0):.0f} GB/s. Command:"
        ),
        f"    PYTHONPATH=src python -m benchmarks.glm.lm --out DIR{reference}",
        "",
    ]


def bar_table(found: Figures, others: Sequence[Figures], sample_ms: float | None) -> list[str]:
    rows: list[tuple[str, str, str]] = []
    runs = (found, *others)
    share = measured(found, "bf16", "share_of_bound")
    if share:
        what = "bfloat16, one stream: at least 80 % of what reading the weights allows"
        rows.append((what, f"{100 * share:.1f} %", met(share >= 0.8)))
    gains = [gain for one in runs if (gain := times_upstream(one, "bf16"))]
    if gains:
        every = ", ".join(f"{gain:.2f}" for gain in gains)
        said = f"{min(gains):.2f} times" + (f" (by run: {every})" if len(gains) > 1 else "")
        rows.append(("at least 3 times upstream's loop", said, met(min(gains) >= 3)))
    held = measured(found, "int4", "allocated_gb")
    if held:
        peak = measured(found, "int4", "peak_gb") or 0.0
        rows.append(("int4 holds less than 9 GB", f"{held:.2f} GB", met(held < 9)))
        what = "int4 below 9 GB at its peak, quantizing included"
        rows.append((what, f"{peak:.2f} GB", met(peak < 9)))
    speed = measured(found, "int4", "times_real_time")
    if speed:
        rows.append(("int4 faster than real time", f"{speed:.2f} times", met(speed > 1)))
    first = measured(found, "first_audio", "first_audio_ms_p50")
    if first:
        p95 = measured(found, "first_audio", "first_audio_ms_p95") or 0.0
        what = "end of a 5 s question with four passages to the first sample under 250 ms, p50"
        beside = [
            f"{value:.1f} in run {number}"
            for number, one in enumerate(others, 2)
            if (value := measured(one, "first_audio", "first_audio_ms_p50"))
        ]
        said = f"{first:.1f} ms (p95 {p95:.1f}{''.join(f'; {one}' for one in beside)})"
        rows.append((what, said, met(first < 250)))
    theirs = measured(found, "upstream", "prompt_to_38_tokens_ms")
    if theirs and sample_ms:
        rows.append(("upstream's beside it", f"{theirs + sample_ms:.0f} ms, see below", ""))
    return table(("bar", "figure", "met"), rows)


def speeds(found: Figures) -> list[str]:
    """Tabulate decoding; the peaks of variants that share a process with others are not theirs."""
    rows = []
    for name, said in VARIANTS.items():
        one = found.get(name, {})
        if "tokens_per_s" not in one:
            rows.append((said, one.get("left_out") or one.get("failed") or "not run", *"-------"))
            continue
        share = one.get("share_of_bound")
        gain = times_upstream(found, name)
        own = name != "bf16_without_triton"
        rows.append((
            said, one["tokens_per_s"], one["step_ms_p50"], one.get("bound_tokens_per_s", "-"),
            f"{100 * share:.1f} %" if share else "-",
            f"{one['tokens_per_s'] / REALTIME:.2f}", f"{gain:.2f}" if gain else "-",
            one.get("allocated_gb", "-"), one.get("peak_gb", "-") if own else "-",
        ))  # fmt: skip
    heads = (
        "language model", "tokens/s", "step p50, ms", "bound, tokens/s", "share of the bound",
        "times real time", "times upstream", "held, GB", "at the peak, GB",
    )  # fmt: skip
    return [
        "## Decoding, one stream",
        "",
        *paragraph(
            f"Real time is {REALTIME:g} tokens/s: 26 speech tokens and 13 of text are 2.08 s of "
            "sound. The bound is the read bandwidth over the bytes of all weights but the input "
            "table. The prompt has 700 tokens, upstream's 750."
        ),
        *table(heads, rows),
    ]


def first_sound(found: Figures, sample_ms: float | None) -> list[str]:
    one, theirs = found.get("first_audio", {}), found.get("upstream", {})
    if "first_audio_ms_p50" not in one:
        return []
    rows: list[tuple[str, str]] = [
        ("question to speech tokens", f"{one['encode_ms_p50']:.1f}"),
        (
            f"prompt to first words ({one['tokens_at_first_audio']} tokens with the reply)",
            f"{one['first_text_ms_p50'] - one['encode_ms_p50']:.1f}",
        ),
        (
            "to the first sample: rest of 13 text and 10 speech tokens, first block",
            f"{one['from_text_to_audio_ms_p50']:.1f}",
        ),
        ("**in all, p50**", f"**{one['first_audio_ms_p50']:.1f}**"),
        ("in all, p95", f"{one['first_audio_ms_p95']:.1f}"),
    ]
    if "prompt_to_23_tokens_ms" in theirs:
        sample = f" + decoder {sample_ms:.0f}" if sample_ms else ""
        rows += [
            (f"upstream: prompt to {count} tokens{why}", f"{theirs[key]:.1f}{end}")
            for count, why, key, end in (
                (23, " (13 text, 10 speech), model alone", "prompt_to_23_tokens_ms", ""),
                (38, " (13 text, 25 speech), as its demo", "prompt_to_38_tokens_ms", sample),
            )
        ]
    lines = [
        "## End of a 5 s question with four passages to the first sample",
        "",
        *paragraph(
            f"{one['runs']} questions, no passage in common, system prompt cached; medians, so "
            "parts need not add up to the whole. Upstream is measured without its speech tokenizer"
            + (f"; {UPSTREAM_DECODER}." if sample_ms else ".")
        ),
        *table(("part", "ms"), rows),
    ]
    if "allocated_gb" in one:
        lines += paragraph(
            f"Language model in bfloat16, speech tokenizer and decoder hold {one['allocated_gb']} "
            "GB together."
        )
    return lines


def inside(found: Figures) -> list[str]:
    kinds = list(found.get("bf16", {}).get("kernel_us", {}))
    if not kinds:
        return []
    rows = [
        (VARIANTS[name], *(found[name]["kernel_us"][kind] for kind in kinds),
         " / ".join(map(str, found[name].get("graph_ms", {}).values())))
        for name in ("bf16", "int8", "int4") if "kernel_us" in found.get(name, {})
    ]  # fmt: skip
    lines = [
        "## Where a step's time goes",
        "",
        *paragraph(
            "Microseconds of each kernel a layer; the output table whole and its speech rows "
            "alone, once a step; and the whole graph in ms, for text and for speech."
        ),
        *table(("", *(kind.replace("_", " ") for kind in kinds), "graph"), rows),
    ]
    prompts = {
        name.removesuffix("_tokens_ms"): value
        for name, value in found.get("prefill", {}).items()
        if name.endswith("_tokens_ms")
    }
    if prompts:
        heads = ("tokens of a prompt", *prompts)
        lines += table(heads, [("ms to read it", *prompts.values())])
    agreement = found.get("agreement", {})
    if "kernels_from_float32" in agreement:
        lines += paragraph(
            "Scores after a prompt of 300 tokens differ from those of float32 by "
            f"{100 * agreement['kernels_from_float32']:.1f} % of their norm with the kernels, "
            f"{100 * agreement['plain_from_float32']:.1f} % without."
        )
    return lines


def other_run(found: Figures, number: int) -> list[str]:
    machine = found["machine"]
    rows = [
        (said, found[name]["tokens_per_s"], f"{gain:.2f}" if gain else "-")
        for name, said in VARIANTS.items()
        if "tokens_per_s" in found.get(name, {})
        for gain in (times_upstream(found, name),)
    ]
    first = found.get("first_audio", {}).get("first_audio_ms_p50", "-")
    theirs = found.get("upstream", {})
    return [
        f"## Run {number}",
        "",
        *paragraph(
            f"{machine.get('date', '')} · {machine['device']}, {machine.get('note', 'another run')}"
            f" · read bandwidth {found['read_bandwidth'].get('gb_per_s', 0):.0f} GB/s · first "
            f"sample after {first} ms, p50 · upstream's model alone "
            f"{theirs.get('prompt_to_23_tokens_ms', '-')} ms to 23 tokens, "
            f"{theirs.get('prompt_to_38_tokens_ms', '-')} to 38."
        ),
        *table(("language model", "tokens/s", "times upstream"), rows),
    ]


def plots(found: Figures, sample_ms: float | None) -> list[Panel]:
    rows = [
        Bar(
            said,
            {"upstream" if name == "upstream" else "ours": found[name]["tokens_per_s"]},
            found[name].get("bound_tokens_per_s"),
        )
        for name, said in VARIANTS.items()
        if "tokens_per_s" in found.get(name, {})
    ]
    panels = []
    if rows:
        mark = ("real time", REALTIME)
        panels.append(bars("Language model, one stream, tokens a second", rows, mark=mark))
    one, theirs = found.get("first_audio", {}), found.get("upstream", {})
    if "first_audio_ms_p50" not in one:
        return panels
    voices = [Bar("ours, the whole way", {"ours": one["first_audio_ms_p50"]})]
    if "prompt_to_23_tokens_ms" in theirs:
        more = {"its decoder": sample_ms} if sample_ms else {}
        model = "upstream's language model"
        voices += [
            Bar("upstream to 10 speech tokens", {model: theirs["prompt_to_23_tokens_ms"]}),
            Bar("upstream's demo, 25", {model: theirs["prompt_to_38_tokens_ms"]} | more),
        ]
    panels.append(bars("End of a 5 s question to the first sample, ms, p50", voices))
    parts = {
        "question to speech tokens": one["encode_ms_p50"],
        "prompt to first words": one["first_text_ms_p50"] - one["encode_ms_p50"],
        "23 tokens and first block": one["from_text_to_audio_ms_p50"],
    }
    ours = [Bar(name, {"ours": value}) for name, value in parts.items()]
    panels.append(bars("Ours by its parts, ms, p50", ours))
    return panels


def upstream_first_sample(decoder: Figures) -> float | None:
    """Return the ms to the first sample of upstream's decoder, for the shortest reply measured."""
    rows = [row for row in decoder["rows"] if row["who"].startswith("upstream")]
    shortest = min(rows, key=lambda row: float(row["seconds"]), default=None)
    return None if shortest is None else float(shortest["first_ms"])


def measured(found: Figures, part: str, name: str) -> float | None:
    value = found.get(part, {}).get(name)
    return None if value is None else float(value)


def times_upstream(found: Figures, name: str) -> float | None:
    ours, theirs = (measured(found, part, "tokens_per_s") for part in (name, "upstream"))
    return ours / theirs if ours and theirs else None


def met(yes: bool) -> str:
    return "yes" if yes else "**no**"
