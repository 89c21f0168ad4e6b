"""Two replicas in processes of their own beside one voice in this process."""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from typing import Any

import torch

from benchmarks.glm.callers import Engine, calls_within, run_calls
from benchmarks.glm.many_callers.crowds import figures_of
from benchmarks.glm.many_callers.engine import Scale, allocated_gb
from benchmarks.glm.random_voice import random_voice
from voicerag_core.glm.replicas import ReplicatedGLMVoice

__all__ = ["replicas", "some_callers"]


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
