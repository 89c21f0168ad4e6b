"""The language model for many callers, at full size with random weights on one GPU.

    PYTHONPATH=src python -m benchmarks.glm.batching --out DIR [--bits 8] [--seconds 120]
    PYTHONPATH=src python -m benchmarks.glm.batching --out DIR --from FILE.json

Measures, in one run: the read bandwidth of the GPU; one stream with `TorchLM` and with
`BatchedLM`; how far the scores of a batch are from those of one row; steps of 1 to 64 rows with
contexts of 1,250 tokens, against the time that reading the weights and the caches takes; steps
that also read texts; the sampler; then callers in threads: tokens per second, first tokens, and the
longest wait for a next one; and first tokens of texts of lengths that were not seen before. Parts
that would start after `--seconds` are left out. `--tiny` tries the script on a CPU.
glm_batching.json is written after every part, and the report at the end; `--from` rewrites it.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.glm.lm import (
    RANKS,
    TINY,
    Clock,
    bandwidth,
    clear,
    gigabytes,
    machine,
    random_lm,
    read_bytes,
    strict_form,
    text_tokenizer,
)
from voicerag_core.glm.lm.batched_lm import BatchedLM
from voicerag_core.glm.lm.cuda_graphs import seconds_as_graph
from voicerag_core.glm.lm.forward import KeyValueCache
from voicerag_core.glm.lm.interleave import Interleave, ReplyForm
from voicerag_core.glm.lm.sampler import sample, sample_top
from voicerag_core.glm.lm.torch_lm import TorchLM
from voicerag_core.glm.weights.configs import LMConfig
from voicerag_core.types import Sampling

CONTEXT = 1250
CALLERS = (1, 16, 64)
ROWS = (1, 2, 4, 8, 16, 32, 64)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--bits", type=int, choices=(4, 8))
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--from", dest="source", type=Path, help="figures to report again")
    options = parser.parse_args()
    name = f"glm_batching{f'_int{options.bits}' if options.bits else ''}.json"
    if options.source:
        found = json.loads(options.source.read_text())
    else:
        found = measure(options, options.out / name)
    (options.out / name).with_suffix(".md").write_text(report(found))


def measure(options: argparse.Namespace, figures: Path) -> dict[str, Any]:
    device = torch.device(options.device)
    config = TINY if options.tiny else LMConfig()
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    clock = Clock(options.seconds, figures)
    clock.found["machine"] = machine(device, config)
    clock.found["options"] = f" --bits {options.bits}" if options.bits else ""
    clock.part("read_bandwidth", lambda: bandwidth(device, tiny=options.tiny))
    speed = (clock.found["read_bandwidth"].get("gb_per_s") or 1.0) * 1e9
    form = strict_form(text_tokenizer(), config.vocab_size)
    model = random_lm(config, device, dtype, options.bits)
    alone: list[int] = []
    clock.part("torch_lm", lambda: one_stream(TorchLM(model), form, options.tokens, alone))
    clear(device)
    lm = BatchedLM(model, rows=4 if options.tiny else 64)
    clock.part("warm", lambda: warm(lm, form))
    clock.part("one_stream", lambda: one_stream(lm, form, options.tokens, alone))
    if device.type == "cuda":
        for part in (agreement, steps, mixed, samplers):
            clock.part(part.__name__, partial(on_device, lm, part, speed))
    for count in CALLERS:
        clock.part(f"callers_{count}", partial(callers, lm, form, count, options.tokens, speed))
    clock.part("unseen_lengths", lambda: unseen_lengths(lm, form))
    lm.close()
    return clock.found


def report(found: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    place = found["machine"]
    reading = found["read_bandwidth"].get("gb_per_s") or 0.0
    ran = (
        f"{place['device']}, torch {place['torch']}, {place['date']}; random weights of the "
        f"released size ({place['layers']} layers of {place['hidden']}), 64 rows of 8,192 tokens, "
        "sampling at temperature 0.2 and top-p 0.8. One run of\n"
        f"`PYTHONPATH=src python -m benchmarks.glm.batching --out DIR{found.get('options', '')}`. "
        "Bound: the bytes of the "
        f"weights and of the caches that a step reads, over {reading:,.0f} GB/s, measured in the "
        "same run."
    )
    parts = ["# The language model of GLM-4-Voice for many callers", ran]
    parts += ["## One stream", table([
        ["", "tokens/s", "step p50", "first token, prompt of 700"],
        *(
            [label, f"{one['tokens_per_s']}", f"{one['step_ms_p50']} ms",
             f"{one['first_token_ms'][-1]} ms"]
            for label, part in (("`TorchLM`", "torch_lm"), ("`BatchedLM`", "one_stream"))
            if "tokens_per_s" in (one := found[part])
        ),
    ])]  # fmt: skip
    same = found.get("agreement", {})
    if "batch_from_one" in same:
        parts.append(
            f"Scores of one row in a batch of 8 are {100 * same['batch_from_one']:.1f} % of their "
            "norm from those of the row alone, those of a text's part "
            f"{100 * same['part_from_one']:.1f} %; "
            f"the best id is {'the same' if same['same_best_id'] else 'another'}."
        )
    if "1" in found.get("steps", {}):
        parts += [f"## Steps, each row with a context of {CONTEXT:,} tokens", table([
            ["rows", "step", "tokens/s", "bound", "of the bound"],
            *(
                [rows, f"{one['ms']} ms", f"{one['tokens_per_s']:,}", f"{one['bound_ms']} ms",
                 f"{100 * one['share_of_bound']:.0f} %"]
                for rows, one in found["steps"].items()
            ),
        ])]  # fmt: skip
    if "960_tokens_ms" in found.get("mixed", {}):
        lengths = {name.split("_")[0]: ms for name, ms in found["mixed"].items()}
        parts += ["## Steps of 64 rows that also read prompts", table([
            ["prompt tokens", *lengths], ["ms", *(f"{ms}" for ms in lengths.values())],
        ])]  # fmt: skip
    draws = found.get("samplers", {})
    if "top_ms" in draws:
        parts.append(
            f"The sampler for 64 rows takes {draws['top_ms']} ms, and {draws['sort_ms']} ms with a "
            f"complete sort; {draws['same']} of 64 ids are the same."
        )
    parts += ["## Callers who ask at once, each in a thread, prompts of 900 ids and more", table([
        ["callers", "tokens/s, all running", "of the bound", "first token p50", "last first token",
         "wait for a next token p50", "p99", "longest"],
        *(
            [f"{count}", f"{one['tokens_per_s']:,}", f"{100 * one['share_of_bound']:.0f} %",
             f"{one['first_token_ms_p50']} ms", f"{one['first_token_ms_max']} ms",
             f"{one['gap_ms_p50']} ms", f"{one['gap_ms_p99']} ms", f"{one['gap_ms_max']} ms"]
            for count in CALLERS if "gap_ms_max" in (one := found[f"callers_{count}"])
        ),
    ])]  # fmt: skip
    unseen = found["unseen_lengths"]
    if "each" in unseen:
        parts.append(
            f"After `warm()` ({found['warm']['seconds']} s), first token of {len(unseen['each'])} "
            f"prompts of random lengths from 60 to 1,900 ids, none shared: p50 "
            f"{unseen['first_token_ms_p50']} ms, p95 {unseen['first_token_ms_p95']} ms, longest "
            f"{unseen['first_token_ms_max']} ms. 960 ids are one step, more are several."
        )
    if peak := found["callers_64"].get("peak_gb"):
        parts.append(
            f"GPU memory: {found['warm']['cache_gb']} GB of caches, {peak} GB at most in use."
        )
    return "\n\n".join(parts) + "\n"


def table(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def prompt(seed: int, length: int) -> list[int]:
    ids: list[int] = np.random.default_rng(seed).integers(0, RANKS, length).tolist()
    return ids


def warm(lm: BatchedLM, form: ReplyForm) -> dict[str, Any]:
    begun = time.perf_counter()
    lm.warm((form.text, form.audio))
    return {
        "seconds": round(time.perf_counter() - begun, 1),
        "cache_gb": round(2 * lm._cache.keys.nbytes / 1e9, 2),
        **gigabytes(lm.device),
    }


def one_stream(
    lm: TorchLM | BatchedLM, form: ReplyForm, tokens: int, alone: list[int]
) -> dict[str, Any]:
    """Time one stream after a prompt of 700 ids."""
    if isinstance(lm, TorchLM):
        lm.warm((form.text, form.audio))
    ids, times = list[int](), list[float]()
    first = []
    for seed in (5, 6, 1):  # the first two warm up
        sampling = Sampling(seed=seed, max_new_tokens=tokens if seed == 1 else 8)
        ids, times = [], []
        begun = time.perf_counter()
        with closing(
            lm.stream(prompt(seed, 700), grammar=Interleave(form), sampling=sampling)
        ) as stream:
            for token in stream:
                ids.append(token)
                times.append(time.perf_counter())
        first.append(round(1000 * (times[0] - begun), 1))
    alone = alone or alone.__iadd__(ids)
    steps = np.diff(times[10:])
    same = next((n for n, (a, b) in enumerate(zip(ids, alone, strict=True)) if a != b), len(ids))
    return {
        "tokens_per_s": round(1 / float(np.mean(steps)), 1),
        "step_ms_p50": round(1000 * float(np.median(steps)), 3),
        "first_token_ms": first,
        "same_ids": same,
        "of": len(ids),
        **gigabytes(lm.device),
    }


def on_device(
    lm: BatchedLM, part: Callable[[BatchedLM, float], dict[str, Any]], speed: float
) -> dict[str, Any]:
    """Run a part in the thread that owns the device."""
    found: dict[str, Any] = {}
    lm._scheduler.call(lambda: found.update(part(lm, speed)))
    lm._scheduler.forget()
    return found


def replayed(graph: torch.cuda.CUDAGraph, runs: int) -> float:
    """Return the seconds of a replay."""
    graph.replay()
    ends = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
    ends[0].record()
    for _ in range(runs):
        graph.replay()
    ends[1].record()
    torch.cuda.synchronize()
    return float(ends[0].elapsed_time(ends[1])) / 1000 / runs


def agreement(lm: BatchedLM, speed: float) -> dict[str, Any]:
    """Compare scores after one token: as a batch, as one row, and as part of a text."""
    del speed
    runner: Any = lm._runner
    lm._cache.keys[:, 3, :, :300].normal_()
    lm._cache.values[:, 3, :, :300].normal_()
    device = lm.device
    ids = torch.tensor(prompt(2, 8), device=device)
    rows = torch.tensor([3, 64, 64, 64, 64, 64, 64, 64], device=device)[: len(ids)]
    rows[1:] = lm.capacity
    positions = torch.tensor([300] + 7 * [0], device=device)
    many = runner._many(ids, None, rows, positions, torch.tensor([0], device=device))
    many = many[0].float().clone()
    runner._token[0, 0], runner._position[0], runner._row[0] = ids[0], 300, 3
    one = runner._one(0)[0].float().clone()
    block = torch.tensor([[3], [300], [1]], device=device)
    part = runner._many(
        torch.nn.functional.pad(ids[:1], (0, 63)), block, rows[:0], positions[:0],
        torch.tensor([0], device=device),
    )[0].float()  # fmt: skip
    return {
        "batch_from_one": float((many - one).norm() / one.norm()),
        "part_from_one": float((part - one).norm() / one.norm()),
        "same_best_id": bool(many.argmax() == one.argmax() == part.argmax()),
    }


def steps(lm: BatchedLM, speed: float) -> dict[str, Any]:
    """Time steps of some rows, each with a context of `CONTEXT` tokens."""
    runner: Any = lm._runner
    weights = read_bytes(lm)  # type: ignore[arg-type]
    each = KeyValueCache.row_bytes(lm.model, CONTEXT)
    found = {}
    for count in ROWS:
        runner._show(list(range(count)))
        runner._positions.fill_(CONTEXT - 10)
        runner._numbers.zero_()
        graph = runner._graph(0, count, 0, by_sort=count == 1)
        runner._show(list(range(count)))
        seconds = replayed(graph, 10)
        bound = (weights + count * each) / speed
        found[str(count)] = {
            "ms": round(1000 * seconds, 3),
            "tokens_per_s": round(count / seconds),
            "bound_ms": round(1000 * bound, 3),
            "share_of_bound": round(bound / seconds, 3),
        }
    runner._positions.zero_()
    return found


def mixed(lm: BatchedLM, speed: float) -> dict[str, Any]:
    """Time steps that read a text at position 0 while 64 rows get one more token each."""
    del speed
    runner: Any = lm._runner
    found = {}
    for length in runner._lengths:
        graph = runner._graph(length, runner._counts[-1], 0, by_sort=False)
        runner._show(list(range(1, lm.capacity)))
        runner._positions[1:-1] = CONTEXT - 10
        runner._numbers.zero_()
        blocks = runner._blocks[length]
        runner._ends.zero_()
        blocks[0], blocks[2] = 0, 64
        blocks[1] = 64 * torch.arange(blocks.shape[1], device=lm.device)
        found[f"{length}_tokens_ms"] = round(1000 * replayed(graph, 5), 2)
    runner._positions.zero_()
    return found


def samplers(lm: BatchedLM, speed: float) -> dict[str, Any]:
    """Time the sampler alone for 64 rows."""
    del speed
    logits = 3 * torch.randn(64, lm.table_size, device=lm.device, dtype=torch.bfloat16)
    allowed = torch.ones_like(logits, dtype=torch.bool)
    noise = torch.rand(64, device=lm.device)
    temperature, top_p = torch.full((2, 64), 0.8, device=lm.device)
    args = (logits, allowed, noise, 0.25 * temperature, top_p)
    return {
        "top_ms": round(1000 * seconds_as_graph(lambda: sample_top(*args)), 3),
        "sort_ms": round(1000 * seconds_as_graph(lambda: sample(*args)), 3),
        "same": int((sample_top(*args) == sample(*args)).sum()),
    }


def callers(
    lm: BatchedLM, form: ReplyForm, count: int, tokens: int, speed: float
) -> dict[str, Any]:
    """Let callers ask at once, each in a thread, with prompts of 900 to 1,000 ids."""
    times: list[list[float]] = [[] for _ in range(count)]
    start = threading.Barrier(count + 1)

    def ask(number: int) -> None:
        sampling = Sampling(seed=number, max_new_tokens=tokens)
        ids = prompt(100 + number, 900 + number)
        start.wait()
        for _ in lm.stream(ids, grammar=Interleave(form), sampling=sampling):
            times[number].append(time.perf_counter())

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    start.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.join()
    first = np.array([one[0] for one in times]) - begun
    every = np.sort(np.concatenate([np.array(one) for one in times]))
    all_run = max(one[0] for one in times)
    until = min(one[-1] for one in times)
    steady = ((every > all_run) & (every < until)).sum() / max(until - all_run, 1e-9)
    gaps = np.concatenate([np.diff(one) for one in times])
    context = 950 + tokens / 2
    weights = read_bytes(lm)  # type: ignore[arg-type]
    bound = count / ((weights + count * KeyValueCache.row_bytes(lm.model, int(context))) / speed)
    return {
        "tokens_per_s": round(float(steady)),
        "share_of_bound": round(float(steady / bound), 3),
        "whole_tokens_per_s": round(len(every) / (every[-1] - begun)),
        "first_token_ms_p50": round(1000 * float(np.median(first)), 1),
        "first_token_ms_max": round(1000 * float(first.max()), 1),
        "gap_ms_p50": round(1000 * float(np.median(gaps)), 2),
        "gap_ms_p99": round(1000 * float(np.quantile(gaps, 0.99)), 2),
        "gap_ms_max": round(1000 * float(gaps.max()), 2),
        **gigabytes(lm.device),
    }


def unseen_lengths(lm: BatchedLM, form: ReplyForm) -> dict[str, Any]:
    """Time the first token of prompts of 40 random lengths, up to 1,900 ids."""
    draw = np.random.default_rng(9)
    firsts = []
    for number in range(4 if lm.device.type == "cpu" else 40):
        ids = prompt(1000 + number, int(draw.integers(60, 1900)))
        begun = time.perf_counter()
        sampling = Sampling(seed=number, max_new_tokens=5)
        with closing(lm.stream(ids, grammar=Interleave(form), sampling=sampling)) as stream:
            next(stream)
            firsts.append((len(ids), 1000 * (time.perf_counter() - begun)))
    found = [ms for _, ms in firsts]
    return {
        "first_token_ms_p50": round(float(np.median(found)), 1),
        "first_token_ms_p95": round(float(np.quantile(found, 0.95)), 1),
        "first_token_ms_max": round(max(found), 1),
        "each": [[length, round(ms, 1)] for length, ms in firsts],
    }


if __name__ == "__main__":
    main()
