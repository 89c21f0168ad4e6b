"""Callers of an emulated voice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.glm.callers import Call, Engine, Reply, calls_within, run_calls
from benchmarks.glm.emulated.device import ROWS
from benchmarks.glm.many_callers.crowds import figures_of
from benchmarks.glm.many_callers.engine import Scale
from benchmarks.glm.many_callers.soak import Plan, last_to_first, mixed_calls

__all__ = ["brief", "crowd", "soak"]

WITHIN = {"burst16": 0.1, "burst64": 1.0}
RAMP = 5.0


def cached_crowd(engine: Engine, count: int, run: int, seconds: float) -> list[Call]:
    """Let some prompts be read, and return the calls of a crowd that begins with them."""
    known = calls_within(count, 0.1, 500 + run, reply_seconds=seconds)
    run_calls(engine, [replace(call, at=0.0, reply_seconds=0.8) for call in known])
    new = calls_within(ROWS - count, 1.0, 700 + run, reply_seconds=seconds)
    return known + [replace(call, at=call.at + 0.15) for call in new]


def crowd(engine: Engine, name: str, run: int, seconds: float) -> dict[str, Any]:
    """Let a crowd call; return what all, and those whose prompts were known, saw."""
    engine.lm._scheduler.forget()
    known = int(name.removeprefix("cached")) if name.startswith("cached") else 0
    if known:
        calls = cached_crowd(engine, known, run, seconds)
    else:
        calls = calls_within(int(name[5:]), WITHIN[name], 100 + run, reply_seconds=seconds)
    before = engine.lm._runner.tokens
    replies, took = run_calls(engine, calls)
    found = {"read": engine.lm._runner.tokens - before, **said(replies, took)}
    if known:
        found |= {"cached": said(replies[:known], took), "new": said(replies[known:], took)}
    return found


def said(replies: Sequence[Reply], seconds: float) -> dict[str, Any]:
    found = figures_of(replies)
    speech = round(sum(reply.speech for reply in replies) / seconds, 1)
    return {**found, "speech_s_per_s": speech}


def soak(engine: Engine, seconds: float) -> dict[str, Any]:
    plan = Plan(seconds, RAMP)
    replies, took = run_calls(engine, mixed_calls(Scale(), plan))
    thirds = [[one for one in replies if plan.of_third(one.call) == n] for n in range(3)]
    return {**said(replies, took), "last_to_first": last_to_first(thirds)}


def brief(found: dict[str, Any]) -> str:
    sound = found["first_audio_ms"]
    return (
        f"first sound p50 {sound.get('p50')} p95 {sound.get('p95')} max {sound.get('max')} · "
        f"{found['underruns']} stopped, {found['stalled_s_max']} s at most, least ahead "
        f"{found['least_ahead_s']} s · {found['speech_s_per_s']} s/s · {found['errors']} errors"
    )
