"""Many callers of GLM-4-Voice at once, at full size with random weights on one or two GPUs.

    PYTHONPATH=src python -m benchmarks.glm.many_callers --out DIR
    PYTHONPATH=src python -m benchmarks.glm.many_callers --out DIR --parts one burst16 burst64
    PYTHONPATH=src python -m benchmarks.glm.many_callers --out DIR --parts soak
    PYTHONPATH=src python -m benchmarks.glm.many_callers --out DIR --name glm_soak --parts soak \
        --soak-seconds 330
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
- `soak`: calls of random lengths that come at random, of which 30 % leave early, half of them by a
  lost connection. `--soak-seconds` have three thirds, in which the same calls come at the same
  times (`--soak-arrivals random`: others), after `--ramp-seconds` that are in none; see `soak.py`.
  The command above lets calls come for six minutes: with loading and warming (90 s) and the
  questions that are asked again, 8 to 9 minutes.
- `replicas`: 64 and 128 callers, of one voice in this process and of two replicas in processes of
  their own, each on its GPU. The callers are in this process.

Parts that would start after `--seconds` are skipped with a note. `--tiny` tries the script on a
CPU. glm_many_callers.json is written after every part, the report and its plot at the end.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.glm.lm import TINY, Clock, bandwidth, clear, machine
from benchmarks.glm.many_callers.alone import lm_alone
from benchmarks.glm.many_callers.crowds import burst, one_caller
from benchmarks.glm.many_callers.engine import DRY, Scale, engine_on, memory_needed, peak_gb
from benchmarks.glm.many_callers.replicas import replicas, some_callers
from benchmarks.glm.many_callers.report import report
from benchmarks.glm.many_callers.rivals import sequential, transformers_batching
from benchmarks.glm.many_callers.soak import Plan, soak
from voicerag_core.glm.weights.configs import LMConfig
from voicerag_core.heaps import settle

PARTS = ("one", "burst16", "burst64", "lm", "sequential", "transformers", "soak", "replicas")


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
    parser.add_argument("--soak-seconds", type=float, default=240, help="of its three thirds")
    parser.add_argument("--ramp-seconds", type=float, default=30, help="of calls before them")
    parser.add_argument("--soak-arrivals", choices=("repeated", "random"), default="repeated")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--from", dest="source", type=Path, help="figures to report again")
    return parser.parse_args()


def measure(options: argparse.Namespace, figures: Path) -> dict[str, Any]:
    device = torch.device(options.device)
    scale = DRY if options.tiny else Scale()
    clock = Clock(options.seconds, figures)
    clock.found["machine"] = machine(device, TINY if options.tiny else LMConfig())
    clock.found["command"] = {
        "parts": list(options.parts),
        "runs": options.runs,
        "soak_seconds": options.soak_seconds,
        "ramp_seconds": options.ramp_seconds,
        "soak_arrivals": options.soak_arrivals,
    }
    clock.part("read_bandwidth", lambda: bandwidth(device, tiny=options.tiny))
    per_second = (clock.found["read_bandwidth"].get("gb_per_s") or 1.0) * 1e9
    chosen = [part for part in options.parts if part not in ("sequential", "transformers")]
    if chosen:
        batched(clock, options, scale, per_second)
    one = clock.found.get("replicas", {})
    if one and not {"failed", "left_out"} & one.keys():
        clear(device)
        clock.part("replicas", lambda: replicas(options, scale, one))
    if "sequential" in options.parts:
        clear(device)
        clock.part("sequential", lambda: sequential(options, scale))
    if "transformers" in options.parts:
        clear(device)
        clock.part("transformers", lambda: transformers_batching(options, scale))
    return clock.found


def batched(
    clock: Clock,
    options: argparse.Namespace,
    scale: Scale,
    per_second: float,
) -> None:
    """Run the parts that share the engine of the present code."""
    device = torch.device(options.device)
    plan = Plan(options.soak_seconds, options.ramp_seconds, options.soak_arrivals)
    begun = time.perf_counter()
    until = begun + options.seconds
    engine = engine_on(device, options, scale)
    made = time.perf_counter() - begun
    begun = time.perf_counter()
    engine.voice.warm()
    settle()
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
        "lm": lambda: lm_alone(engine, scale, per_second),
        "soak": lambda: soak(engine, scale, plan),
        "replicas": lambda: some_callers(engine, "one", scale),
    }
    for name, run in runs.items():
        if name in options.parts:
            clock.part(name, run)
    clock.found["engine"]["peak_gb"] = peak_gb(device)
    gc.unfreeze()


if __name__ == "__main__":
    main()
