"""One caller, and callers who come at about the same time."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.glm.callers import Call, Engine, Reply, calls_within, percentiles, run_calls
from benchmarks.glm.many_callers.alone import stream_speed
from benchmarks.glm.many_callers.engine import Scale, peak_gb

__all__ = ["burst", "figures_of", "one_caller"]


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
