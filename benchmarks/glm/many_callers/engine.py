"""Voices under test with random weights, and the memory that they take."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.glm.callers import Engine
from benchmarks.glm.random_voice import random_voice
from voicerag_core.glm.lm.batched_lm import BatchedLM
from voicerag_core.glm.lm.torch_lm import TorchLM
from voicerag_core.types import Sampling

__all__ = [
    "DRY",
    "PROMPT",
    "Recorder",
    "Scale",
    "allocated_gb",
    "engine_on",
    "memory_needed",
    "peak_gb",
]

CONTEXT = 8192
PROMPT = 700
"""Ids of a prompt where the language model is alone."""


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
