"""What serves callers otherwise: one after another, and the batching of transformers."""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch

from benchmarks.glm.callers import Call, calls_within, run_calls
from benchmarks.glm.lm import RANKS, TINY, random_lm
from benchmarks.glm.many_callers.alone import stream_speed
from benchmarks.glm.many_callers.crowds import figures_of
from benchmarks.glm.many_callers.engine import PROMPT, Scale, engine_on
from voicerag_core.glm.weights.configs import LMConfig

__all__ = ["sequential", "transformers_batching"]


def sequential(options: argparse.Namespace, scale: Scale) -> dict[str, Any]:
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
