"""Calls of all kinds that come at random for minutes: does anything leak, or grow slower?

How long a caller waits hangs on who else comes in the same third of a second. So the same calls
come at the same times in every third of a soak, with other questions and passages: then a
difference between the thirds is one of the engine. Before them comes a stated time of such calls,
which belongs to no third: a soak begins with nobody there.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from benchmarks.glm.callers import Call, Engine, Reply, run_calls
from benchmarks.glm.many_callers.crowds import figures_of
from benchmarks.glm.many_callers.engine import Scale, allocated_gb
from voicerag_core.glm.lm.torch_lm import TorchLM

__all__ = ["Plan", "mixed_calls", "soak"]

NEAR_SECONDS = 0.3
"""Calls within this time of each other are read, and sound, at the same time."""
SLOWEST = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """When calls come.

    Args:
        seconds: Of the three thirds together.
        ramp: Seconds of calls before them.
        arrivals: "repeated" lets the same calls come in every third, as in the ramp's part of one;
            "random" draws them all.
    """

    seconds: float
    ramp: float
    arrivals: Literal["repeated", "random"] = "repeated"

    @property
    def third(self) -> float:
        """Seconds of a third."""
        return self.seconds / 3

    def of_third(self, call: Call) -> int:
        """Return the third in which a call comes, from 0; -1 in the ramp."""
        return int((call.at - self.ramp) // self.third) if call.at >= self.ramp else -1


def soak(engine: Engine, scale: Scale, plan: Plan) -> dict[str, Any]:
    """Let calls of all kinds come, and compare some replies with the same asked alone."""
    device = engine.devices[0]
    before = (allocated_gb(device), threading.active_count())
    calls = mixed_calls(scale, plan)
    replies, took = run_calls(engine, calls)
    gc.collect()
    engine.wait()
    thirds = [[r for r in replies if plan.of_third(r.call) == third] for third in range(3)]
    whole = plan.ramp + plan.seconds
    with_ramp = [
        [r for r in replies if third <= 3 * r.call.at / whole < third + 1] for third in range(3)
    ]
    return {
        "calls": len(calls),
        "left_early": sum(reply.left for reply in replies),
        "seconds": round(took, 1),
        "ramp_seconds": plan.ramp,
        "arrivals": plan.arrivals,
        **figures_of(replies),
        "thirds": [figures_of(some) for some in thirds],
        "speech_s_per_s": round(sum(reply.speech for reply in replies) / took, 1),
        "allocated_gb": [before[0], allocated_gb(device)],
        "threads": [before[1], threading.active_count()],
        "running_waiting": [getattr(engine.lm, name, 0) for name in ("running", "waiting")],
        "p95_last_third_to_first": last_to_first(thirds),
        "p95_last_third_to_first_with_ramp": last_to_first(with_ramp),
        "slowest": slowest(replies),
        "same_as_alone": alone_again(engine, replies),
    }


def last_to_first(thirds: Sequence[Sequence[Reply]]) -> float | None:
    """Return how many times longer the p95 of first sounds is in the last third."""
    first, last = (figures_of(thirds[n])["first_audio_ms"].get("p95", 0.0) for n in (0, -1))
    return round(last / first, 2) if first else None


def mixed_calls(scale: Scale, plan: Plan) -> list[Call]:
    """Draw the calls of a soak, the ramp's first; no two have a question or a passage in common."""
    whole = plan.ramp + plan.seconds
    if plan.arrivals == "random":
        drawn = some_calls(scale, whole)
    else:
        some = some_calls(scale, plan.third)
        turns = int(-(-whole // plan.third))
        drawn = [
            replace(call, at=call.at + plan.third * turn - (plan.third * turns - whole))
            for turn in range(turns)
            for call in some
        ]
    came = [call for call in drawn if 0 <= call.at < whole]
    return [
        replace(call, seed=20_000 + number, greedy=number % 10 == 0)
        for number, call in enumerate(came)
    ]


def some_calls(scale: Scale, seconds: float) -> list[Call]:
    """Draw calls that come in some seconds; 30 % leave early, half of them by a lost connection."""
    draw = np.random.default_rng(99)
    calls: list[Call] = []
    at = 0.0
    while at < seconds:
        reply = float(draw.uniform(scale.reply / 6, scale.reply))
        leaves = draw.random() < 0.3
        calls.append(
            Call(
                0,
                at,
                question_seconds=float(draw.uniform(0.5, max(1.0, scale.longest / 3))),
                passages=int(draw.integers(0, scale.most_passages + 1)),
                reply_seconds=reply,
                leaves_after=float(draw.uniform(0.05, 4.0)) if leaves else None,
                hangs_up=bool(draw.random() < 0.5),
            )
        )
        at += float(draw.exponential(1 / scale.rate))
    return calls


def slowest(replies: Sequence[Reply]) -> dict[str, Any]:
    """Return what the calls that waited longest for their sound were, beside the median of all."""
    heard = [reply for reply in replies if reply.first_audio is not None]
    facts = [facts_of(reply, replies) for reply in heard]
    order = np.argsort([-one["first_audio_ms"] for one in facts])[:SLOWEST]
    return {
        "calls": [facts[place] for place in order],
        "median": {
            name: round(float(np.median([one[name] for one in facts])), 1)
            for name in (facts[0] if facts else ())
        },
    }


def facts_of(reply: Reply, replies: Sequence[Reply]) -> dict[str, float]:
    """Return what may have made a call slow.

    `near` counts other calls within 0.3 s, `written` the replies that were written when it came.
    """
    call, at = reply.call, reply.call.at
    others = [other for other in replies if other is not reply]
    return {
        "at_s": round(at, 1),
        "first_audio_ms": round(1000 * (reply.first_audio or 0.0), 1),
        "near": sum(abs(other.call.at - at) < NEAR_SECONDS for other in others),
        "written": sum(other.call.at <= at < other.call.at + other.done for other in others),
        "passages": call.passages,
        "question_s": round(call.question_seconds, 1),
        "reply_s": round(call.reply_seconds, 1),
    }


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
