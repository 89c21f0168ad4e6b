"""Many callers of GLM-4-Voice at once, at full size with random weights on one or two GPUs.

    PYTHONPATH=src python -m benchmarks.glm.many_callers --out DIR
    PYTHONPATH=src python -m benchmarks.glm.many_callers --out DIR --parts one burst16 burst64
    PYTHONPATH=src python -m benchmarks.glm.many_callers --out DIR --parts soak
    PYTHONPATH=src python -m benchmarks.glm.many_callers --out DIR --parts replicas
    PYTHONPATH=src python -m benchmarks.glm.many_callers --out DIR --from FILE.json

A call is a spoken question of 5 s with four passages that no other call has, and a reply of 30 s:
a fixed number of ids in the form of a reply, as random weights would never stop. Every caller reads
its reply as fast as it comes; a reply that is at some time shorter than what its caller would have
played since the first sound is an underrun. Parts:

- `one`: one caller. 40 questions of 0.5 to 30 s with 0 to 8 passages right after `warm()`, and the
  speed of one stream.
- `burst16`, `burst64`: 16 callers within 100 ms, 64 within 1 s, `--runs` times.
- `lm`: the language model alone, 16 and 64 prompts of 700 ids, against its bound: the weights and
  the cache that a step reads, over the read bandwidth measured in the run.
- `sequential`: `TorchLM`, which serves callers one after another, in the same `GLMVoice`.
- `transformers`: the continuous batching of transformers, the language model alone.
- `soak`: calls of random lengths that come at random for `--soak-seconds`, of which 30 % leave
  early, half of them by a lost connection.
- `replicas`: 64 and 128 callers, of one voice in this process and of two replicas in processes of
  their own, each on its GPU. The callers are in this process.

Parts that would start after `--seconds` are skipped with a note. `--tiny` tries the script on a
CPU. many_callers.json is written after every part, the report and its plot at the end.
"""

from __future__ import annotations

import argparse
import gc
import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.glm.callers import Call, Engine, Reply, calls_within, percentiles, run_calls
from benchmarks.glm.lm import (
    RANKS,
    TINY,
    Clock,
    bandwidth,
    clear,
    machine,
    random_lm,
    read_bytes,
    text_tokenizer,
)
from benchmarks.glm.many_callers_report import report
from benchmarks.glm.random_voice import random_voice
from voicerag_core.glm.lm.batched_lm import BatchedLM
from voicerag_core.glm.lm.interleave import Interleave
from voicerag_core.glm.lm.torch_lm import TorchLM
from voicerag_core.glm.replicas import ReplicatedGLMVoice
from voicerag_core.glm.text_tokenizer import TextTokenizer
from voicerag_core.glm.weights.configs import LMConfig
from voicerag_core.types import Sampling

PARTS = ("one", "burst16", "burst64", "lm", "sequential", "transformers", "soak", "replicas")
CONTEXT = 8192
PROMPT = 700


@dataclass(frozen=True)
class Scale:
    """How much is asked for; a dry run on a CPU asks for less."""

    context: int = CONTEXT
    reply: float = 30.0
    questions: int = 40
    longest: float = 30.0
    most_passages: int = 8
    many: int = 64
    some: int = 16
    ids: int = 256
    sequential: int = 8
    rate: float = 2.0
    usual: int = 10


DRY = Scale(1536, 1.0, 2, 1.0, 1, 3, 2, 8, 2, 2.0, 1)


def main() -> None:
    options = parsed()
    figures = options.out / f"{options.name}.json"
    options.out.mkdir(parents=True, exist_ok=True)
    found = json.loads(options.source.read_text()) if options.source else measure(options, figures)
    report(figures.with_suffix(".md"), found)
    print(figures.with_suffix(".md").read_text())


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    parser.add_argument("--name", default="glm_many_callers", help="of the files")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS[:-2])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--other-device", help="of the second replica; default: the next GPU")
    parser.add_argument("--runs", type=int, default=5, help="of each burst")
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--soak-seconds", type=float, default=240)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--from", dest="source", type=Path, help="figures to report again")
    return parser.parse_args()


def measure(options: argparse.Namespace, figures: Path) -> dict[str, Any]:
    device = torch.device(options.device)
    scale = DRY if options.tiny else Scale()
    clock = Clock(options.seconds, figures)
    clock.found["machine"] = machine(device, TINY if options.tiny else LMConfig())
    clock.found["command"] = {"parts": list(options.parts), "runs": options.runs}
    tokenizer = text_tokenizer()
    clock.part("read_bandwidth", lambda: bandwidth(device, tiny=options.tiny))
    per_second = (clock.found["read_bandwidth"].get("gb_per_s") or 1.0) * 1e9
    chosen = [part for part in options.parts if part not in ("sequential", "transformers")]
    if chosen:
        batched(clock, options, scale, tokenizer, per_second)
    one = clock.found.get("replicas", {})
    if one and not {"failed", "left_out"} & one.keys():
        clear(device)
        clock.part("replicas", lambda: replicas(options, scale, one))
    if "sequential" in options.parts:
        clear(device)
        clock.part("sequential", lambda: sequential(options, scale, tokenizer))
    if "transformers" in options.parts:
        clear(device)
        clock.part("transformers", lambda: transformers_batching(options, scale))
    return clock.found


def batched(
    clock: Clock,
    options: argparse.Namespace,
    scale: Scale,
    tokenizer: TextTokenizer,
    per_second: float,
) -> None:
    """Run the parts that share the engine of the present code."""
    device = torch.device(options.device)
    begun = time.perf_counter()
    until = begun + options.seconds
    engine = engine_on(device, options, scale)
    made = time.perf_counter() - begun
    begun = time.perf_counter()
    engine.voice.warm()
    engine.wait()
    clock.found["engine"] = {
        "language_model": type(engine.lm).__name__,
        "made_s": round(made, 1),
        "warm_s": round(time.perf_counter() - begun, 1),
        "capacity": getattr(engine.lm, "capacity", 1),
        **memory_needed(engine, scale),
    }
    runs: dict[str, Callable[[], dict[str, Any]]] = {
        "one": lambda: one_caller(engine, scale),
        "burst16": lambda: burst(engine, scale, (scale.some, 0.1, options.runs), until),
        "burst64": lambda: burst(engine, scale, (scale.many, 1.0, options.runs), until),
        "lm": lambda: lm_alone(engine, scale, tokenizer, per_second),
        "soak": lambda: soak(engine, scale, options.soak_seconds, tokenizer),
        "replicas": lambda: some_callers(engine, "one", scale),
    }
    for name, run in runs.items():
        if name in options.parts:
            clock.part(name, run)
    clock.found["engine"]["peak_gb"] = peak_gb(device)


def engine_on(
    device: torch.device,
    options: argparse.Namespace,
    scale: Scale,
    kind: str = "batched",
) -> Engine:
    """Create a voice with random weights on a device."""

    def lm(network: Any) -> Recorder:  # noqa: ANN401
        if kind == "sequential":
            return Recorder(TorchLM(network, max_context=scale.context))
        return Recorder(BatchedLM(network, max_context=scale.context, rows=scale.many))

    voice = random_voice(
        str(device), tiny=options.tiny, context=scale.context, rows=scale.many, lm=lm
    )
    recorder: Any = voice._lm
    return Engine(kind, voice, recorder.lm, (device,))


class Recorder:
    """A language model that notes the prompt and the ids of greedy replies, by their seed."""

    def __init__(self, lm: Any) -> None:  # noqa: ANN401
        self.lm = lm
        self.prompts: dict[int, list[int]] = {}
        self.ids: dict[int, list[int]] = {}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self.lm, name)

    def stream(self, prompt: Sequence[int], *, grammar: Any, sampling: Sampling) -> Any:  # noqa: ANN401
        """See `LanguageModel.stream`."""
        ids = self.lm.stream(prompt, grammar=grammar, sampling=sampling)
        if sampling.temperature > 0 or sampling.seed is None:
            return ids
        self.prompts[sampling.seed] = list(prompt)
        noted = self.ids[sampling.seed] = []
        return self._noting(ids, noted)

    def batches(
        self,
        prompt: Sequence[int],
        *,
        grammar: Any,  # noqa: ANN401
        sampling: Sampling,
        pace: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """See `PacedModel.batches`."""
        ids = self.lm.batches(prompt, grammar=grammar, sampling=sampling, pace=pace)
        if sampling.temperature > 0 or sampling.seed is None:
            return ids
        self.prompts[sampling.seed] = list(prompt)
        noted = self.ids[sampling.seed] = []
        return self._noting(ids, noted)

    def _noting(self, ids: Any, noted: list[int]) -> Any:  # noqa: ANN401
        with closing(ids):
            for some in ids:
                noted.extend([some] if isinstance(some, int) else some)
                yield some


def memory_needed(engine: Engine, scale: Scale) -> dict[str, float]:
    """Calculate what weights and caches take."""
    config = engine.lm.model.config
    item = next(engine.lm.model.parameters()).element_size()
    token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * item
    rows = getattr(engine.lm, "capacity", 1)
    weights = sum(one.nbytes for one in engine.lm.model.parameters())
    return {
        "weights_gb": round(weights / 1e9, 2),
        "cache_gb": round(rows * scale.context * token / 1e9, 2),
        "calculated_gb": round((weights + rows * scale.context * token) / 1e9, 2),
        "allocated_gb": allocated_gb(engine.devices[0]),
    }


def allocated_gb(device: torch.device) -> float:
    return round(torch.cuda.memory_allocated(device) / 1e9, 2) if device.type == "cuda" else 0.0


def peak_gb(device: torch.device) -> float:
    if device.type != "cuda":
        return 0.0
    return round(torch.cuda.max_memory_allocated(device) / 1e9, 2)


def one_caller(engine: Engine, scale: Scale) -> dict[str, Any]:
    """Ask questions of random lengths one after another, then time a whole reply."""
    draw = np.random.default_rng(40)
    replies = []
    for number in range(scale.questions):
        call = Call(
            number,
            question_seconds=float(draw.uniform(0.5, scale.longest)),
            passages=int(draw.integers(0, scale.most_passages + 1)),
            reply_seconds=1.6,
        )
        replies += run_calls(engine, [call])[0]
    whole, seconds = run_calls(engine, [Call(5000, reply_seconds=scale.reply)])
    usual = [
        run_calls(engine, [Call(6000 + n, reply_seconds=1.6)])[0][0] for n in range(scale.usual)
    ]
    return {
        **figures_of(replies),
        "usual": figures_of(usual),
        "whole_reply_s": round(seconds, 2),
        "speech_s_per_s": round(whole[0].speech / seconds, 2),
        "tokens_per_s": stream_speed(engine, scale),
    }


def stream_speed(engine: Engine, scale: Scale) -> float:
    """Return the ids a second of one stream of the language model alone."""
    times = ids_of_streams(engine, 1, scale.ids)[0]
    skipped = len(times) // 20
    return round((len(times) - 1 - skipped) / (times[-1] - times[skipped]), 1)


def burst(
    engine: Engine, scale: Scale, bursts: tuple[int, float, int], until: float
) -> dict[str, Any]:
    """Let some callers come at about the same time, several times.

    Args:
        engine: Under test.
        scale: How much is asked for.
        bursts: How many callers come, within how many seconds, and how many times.
        until: No run starts after this time, but for the first.
    """
    count, within, runs = bursts
    every: list[dict[str, Any]] = []
    replies: list[Reply] = []
    for run in range(runs):
        if every and time.perf_counter() > until:
            break
        calls = calls_within(count, within, 100 + run, reply_seconds=scale.reply)
        answered, seconds = run_calls(engine, calls)
        replies += answered
        speech = sum(reply.speech for reply in answered)
        every.append({**figures_of(answered), "speech_s_per_s": round(speech / seconds, 1)})
        print("   ", json.dumps(every[-1]), flush=True)
    return {
        **figures_of(replies),
        "speech_s_per_s": round(float(np.median([one["speech_s_per_s"] for one in every])), 1),
        "runs": every,
        "peak_gb": peak_gb(engine.devices[0]),
    }


def figures_of(replies: Sequence[Reply]) -> dict[str, Any]:
    """Summarise what callers saw; times in milliseconds."""
    heard = [reply for reply in replies if reply.error is None]
    ahead = [reply.ahead for reply in heard if reply.ahead != float("inf")]
    errors = [reply.error for reply in replies if reply.error is not None]
    return {
        "first_text_ms": percentiles([reply.first_text for reply in heard]),
        "first_audio_ms": percentiles([reply.first_audio for reply in heard]),
        "underruns": sum(reply.stalled > 0 for reply in heard),
        "stalled_s_max": round(max((reply.stalled for reply in heard), default=0.0), 2),
        "least_ahead_s": round(min(ahead), 2) if ahead else None,
        "errors": len(errors),
        **({"error": errors[0]} if errors else {}),
    }


def ids_of_streams(engine: Engine, count: int, ids: int, seed: int = 0) -> list[list[float]]:
    """Continue prompts of 700 random ids at the same time; return when each id came."""
    form = engine.voice._form
    times: list[list[float]] = [[] for _ in range(count)]
    failed: list[BaseException] = []

    def follow(number: int) -> None:
        draw = np.random.default_rng((seed, count, number))
        prompt = draw.integers(0, RANKS, PROMPT).tolist()
        sampling = Sampling(seed=number, max_new_tokens=ids)
        try:
            stream = engine.lm.stream(prompt, grammar=Interleave(form), sampling=sampling)
            with closing(stream):
                for _ in stream:
                    times[number].append(time.perf_counter())
        except BaseException as error:  # noqa: BLE001 - raised by the part
            failed.append(error)

    threads = [threading.Thread(target=follow, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return times


def lm_alone(
    engine: Engine, scale: Scale, tokenizer: TextTokenizer, per_second: float
) -> dict[str, Any]:
    """Time the steps in which all replies run, against what reading weights and cache allows."""
    del tokenizer
    config = engine.lm.model.config
    item = next(engine.lm.model.parameters()).element_size()
    token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * item
    weights, found = read_bytes(engine.lm), {}
    for count in sorted({1, scale.some, scale.many}):
        begun = time.perf_counter()
        times = ids_of_streams(engine, count, scale.ids)
        took = time.perf_counter() - begun
        start, end = max(one[0] for one in times), min(one[-1] for one in times)
        both = [at for one in times for at in one if start < at <= end]
        gaps = [b - a for one in times for a, b in pairwise(one[1:])]
        speed = len(both) / (end - start) if end > start else 0.0
        cached = PROMPT + scale.ids / 2
        bound = count * per_second / (weights + count * cached * token)
        found[str(count)] = {
            "tokens_per_s": round(speed, 1),
            "bound_tokens_per_s": round(bound, 1),
            "share_of_bound": round(speed / bound, 3),
            "with_prompts_tokens_per_s": round(count * scale.ids / took, 1),
            "gap_ms": percentiles(gaps),
        }
        print("   ", json.dumps({count: found[str(count)]}), flush=True)
    return found


def sequential(
    options: argparse.Namespace, scale: Scale, tokenizer: TextTokenizer
) -> dict[str, Any]:
    """Let callers come to an engine that serves one after another."""
    device = torch.device(options.device)
    engine = engine_on(device, options, scale, "sequential")
    engine.voice.warm()
    alone = [run_calls(engine, [Call(n, reply_seconds=1.6)])[0][0] for n in range(scale.usual + 2)]
    speed = stream_speed(engine, scale)
    calls = calls_within(scale.sequential, 0.1, 7, reply_seconds=scale.reply)
    replies, seconds = run_calls(engine, calls)
    speech = sum(reply.speech for reply in replies)
    return {
        "callers": len(calls),
        "one": figures_of(alone[2:]),
        "tokens_per_s": speed,
        **figures_of(replies),
        "speech_s_per_s": round(speech / seconds, 1),
    }


def transformers_batching(options: argparse.Namespace, scale: Scale) -> dict[str, Any]:
    """Time transformers' continuous batching on the same prompts, language model alone."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    device = torch.device(options.device)
    config = TINY if options.tiny else LMConfig()
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    model = random_lm(config, device, dtype).eval()
    model.model.rotary_emb = type(model.model.rotary_emb)(model.config).to(device)
    model.set_attn_implementation("sdpa")
    model.generation_config = GenerationConfig(
        max_new_tokens=scale.ids // 2, do_sample=False, eos_token_id=-1, pad_token_id=0
    )
    # On a GPU it finds out by itself how much fits; on a CPU it would take most of the memory.
    batching = ContinuousBatchingConfig(num_blocks=256) if device.type == "cpu" else None
    found = {}
    for count in (scale.some, scale.many):
        prompts = [
            np.random.default_rng((0, count, n)).integers(0, RANKS, PROMPT).tolist()
            for n in range(count)
        ]
        begun = time.perf_counter()
        replies = model.generate_batch(
            inputs=prompts,
            generation_config=model.generation_config,
            continuous_batching_config=batching,
        )
        took = time.perf_counter() - begun
        ids = sum(len(one.generated_tokens) for one in replies.values())
        found[str(count)] = {"with_prompts_tokens_per_s": round(ids / took, 1), "ids": ids}
    return found


def soak(engine: Engine, scale: Scale, seconds: float, tokenizer: TextTokenizer) -> dict[str, Any]:
    """Let calls of all kinds come at random, and compare some replies with the same asked alone."""
    del tokenizer
    device = engine.devices[0]
    before = (allocated_gb(device), threading.active_count())
    calls = mixed_calls(scale, seconds)
    replies, took = run_calls(engine, calls)
    gc.collect()
    engine.wait()
    thirds = [
        figures_of([r for r in replies if third <= 3 * r.call.at / seconds < third + 1])
        for third in range(3)
    ]
    gone = [reply for reply in replies if reply.left]
    found = {
        "calls": len(calls),
        "left_early": len(gone),
        "seconds": round(took, 1),
        **figures_of(replies),
        "thirds": thirds,
        "speech_s_per_s": round(sum(reply.speech for reply in replies) / took, 1),
        "allocated_gb": [before[0], allocated_gb(device)],
        "threads": [before[1], threading.active_count()],
        "running_waiting": [getattr(engine.lm, name, 0) for name in ("running", "waiting")],
    }
    first, last = (third["first_audio_ms"].get("p95", 0.0) for third in (thirds[0], thirds[-1]))
    found["p95_last_third_to_first"] = round(last / first, 2) if first else None
    return {**found, "same_as_alone": alone_again(engine, replies)}


def mixed_calls(scale: Scale, seconds: float) -> list[Call]:
    draw = np.random.default_rng(99)
    calls: list[Call] = []
    at = 0.0
    while at < seconds:
        number = len(calls)
        reply = float(draw.uniform(scale.reply / 6, scale.reply))
        leaves = draw.random() < 0.3
        calls.append(
            Call(
                20_000 + number,
                at,
                question_seconds=float(draw.uniform(0.5, max(1.0, scale.longest / 3))),
                passages=int(draw.integers(0, scale.most_passages + 1)),
                reply_seconds=reply,
                leaves_after=float(draw.uniform(0.05, 4.0)) if leaves else None,
                hangs_up=bool(draw.random() < 0.5),
                greedy=number % 10 == 0,
            )
        )
        at += float(draw.exponential(1 / scale.rate))
    return calls


def alone_again(engine: Engine, replies: Sequence[Reply], most: int = 12) -> dict[str, Any]:
    """Ask some questions again, alone, and see where and why the ids part.

    Where they part, the scores of the two ids after the same beginning are computed by the plain
    forward pass: rounding decides if they are closer than four steps of bfloat16.
    """
    recorder = engine.voice._lm
    whole = [r for r in replies if r.call.greedy and not r.left and r.error is None][:most]
    among = {r.call.seed: list(recorder.ids[r.call.seed]) for r in whole}
    same, parted, unexplained = 0, [], 0
    for reply in whole:
        seed = reply.call.seed
        run_calls(engine, [replace(reply.call, at=0.0)])
        alone = recorder.ids[seed]
        if alone == among[seed]:
            same += 1
            continue
        pairs = zip(alone, among[seed], strict=False)
        place = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(alone), 1))
        ids = recorder.prompts[seed] + alone[:place]
        gap, step = score_gap(engine, ids, alone[place], among[seed][place])
        parted.append({"at": place, "gap": round(gap, 4), "rounding_step": round(step, 4)})
        unexplained += gap > 4 * step
    return {"compared": len(whole), "same": same, "parted": parted, "unexplained": unexplained}


def score_gap(engine: Engine, ids: list[int], one: int, other: int) -> tuple[float, float]:
    """Return how far apart two ids' scores are after a text, and the spacing of such numbers."""
    plain = TorchLM(engine.lm.model, max_context=len(ids) + 1, graphs=False)
    scores = plain.logits(torch.tensor(ids))[-1]
    a, b = float(scores[one]), float(scores[other])
    largest = max(abs(a), abs(b), 1e-6)
    bits = 23 if scores.dtype == torch.float32 else 7
    return abs(a - b), float(2.0 ** (np.floor(np.log2(largest)) - bits))


def some_callers(engine: Engine, name: str, scale: Scale) -> dict[str, Any]:
    """Let 64 and 128 callers come within a second.

    `callers_cpu` is the share of one core that this process took, where the callers are.
    """
    found = {}
    for count in (scale.many, 2 * scale.many):
        calls = calls_within(count, 1.0, 300 + count, reply_seconds=scale.reply)
        before = time.process_time()
        replies, seconds = run_calls(engine, calls)
        speech = sum(reply.speech for reply in replies)
        found[f"{name}_{count}"] = {
            **figures_of(replies),
            "speech_s_per_s": round(speech / seconds, 1),
            "callers_cpu": round((time.process_time() - before) / seconds, 2),
        }
        print("   ", name, count, json.dumps(found[f"{name}_{count}"]), flush=True)
    return found


def replicas(
    options: argparse.Namespace, scale: Scale, one: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Compare the throughput of two replicas, each in a process of its own, with that of one.

    Args:
        options: Of the command.
        scale: How much is asked for.
        one: What `some_callers` found of one voice in this process.
    """
    other = options.other_device or ("cpu" if options.device == "cpu" else "cuda:1")
    first = "cuda:0" if options.device == "cuda" else options.device
    places = (first, other)
    loaders = [
        partial(random_voice, place, tiny=options.tiny, context=scale.context, rows=scale.many)
        for place in places
    ]
    left = allocated_gb(torch.device(options.device))
    begun = time.perf_counter()
    with ReplicatedGLMVoice(loaders, places) as voice:
        made = time.perf_counter() - begun
        voice.warm()
        warm = time.perf_counter() - begun - made
        two = some_callers(Engine("two replicas", voice, None, ()), "two", scale)
    best = [max(row["speech_s_per_s"] for row in rows.values()) for rows in (one, two)]
    return {
        **one,
        **two,
        "gain": round(best[1] / best[0], 2),
        "made_s": round(made, 1),
        "warm_s": round(warm, 1),
        "left_of_the_first_gb": left,
    }


if __name__ == "__main__":
    main()
