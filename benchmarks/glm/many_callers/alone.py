"""The language model without speech."""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.glm.callers import Engine, percentiles
from benchmarks.glm.lm import RANKS, read_bytes
from benchmarks.glm.many_callers.engine import PROMPT, Scale
from voicerag_core.glm.lm.interleave import Interleave
from voicerag_core.types import Sampling

__all__ = ["lm_alone", "stream_speed"]


def lm_alone(engine: Engine, scale: Scale, per_second: float) -> dict[str, Any]:
    """Time the steps in which all replies run, against what reading weights and cache allows."""
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


def stream_speed(engine: Engine, scale: Scale) -> float:
    """Return the ids a second of one stream of the language model alone."""
    times = ids_of_streams(engine, 1, scale.ids)[0]
    skipped = len(times) // 20
    return round((len(times) - 1 - skipped) / (times[-1] - times[skipped]), 1)


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
