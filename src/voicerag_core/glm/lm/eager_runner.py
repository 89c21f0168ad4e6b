"""Steps of a batch in plain torch, on any device."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch

from voicerag_core.glm.lm.forward import KeyValueCache, RotaryTable, Run, forward_runs
from voicerag_core.glm.lm.interleave import AllowedTokens
from voicerag_core.glm.lm.rows import Batch, Reply
from voicerag_core.glm.lm.sampler import sample
from voicerag_core.glm.lm.steps import TokenMasks

if TYPE_CHECKING:
    from transformers import GlmForCausalLM

__all__ = ["EagerRunner"]


class EagerRunner:
    """See `Runner`; a step is over when it was launched.

    Args:
        model: The language model.
        cache: Its rows.
        rotary: Of the model.
    """

    ahead = 0
    block = 1

    def __init__(self, model: GlmForCausalLM, cache: KeyValueCache, rotary: RotaryTable) -> None:
        self._model, self._cache, self._rotary = model, cache, rotary
        self._device = cache.keys.device
        self._masks = TokenMasks(self._device)

    def working(self) -> AbstractContextManager[None]:
        """See `Runner.working`."""
        return nullcontext()

    def warm(self, masks: Sequence[AllowedTokens]) -> None:
        """See `Runner.warm`: nothing."""

    def seat(self, reply: Reply) -> None:
        """See `Runner.seat`."""

    def copy(self, source: int, target: int, count: int) -> None:
        """See `Runner.copy`."""
        for side in (self._cache.keys, self._cache.values):
            side[:, target, :, :count] = side[:, source, :, :count]

    def prepare(self, batch: Batch) -> None:
        """See `Runner.prepare`: nothing."""

    def launch(self, batch: Batch) -> _Done:
        """See `Runner.launch`."""
        runs = [_run(part.reply, part.start, part.stop) for part in batch.parts]
        runs += [_run(reply, len(reply.text) - 1, len(reply.text)) for reply in batch.replies]
        hidden = forward_runs(self._model, runs, self._cache, self._rotary)
        ends = torch.tensor([len(run.ids) for run in runs]).cumsum(0) - 1
        sampled = [part.samples for part in batch.parts] + [True] * len(batch.replies)
        replies = batch.sampled
        if not replies:
            return _Done([])
        last = hidden[ends[torch.tensor(sampled)].to(self._device)]
        ids = sample(
            self._model.lm_head(last),
            torch.stack([self._mask(reply) for reply in replies]),
            self._numbers([float(reply.noise[reply.number]) for reply in replies]),
            self._numbers([reply.sampling.temperature for reply in replies]),
            self._numbers([reply.sampling.top_p for reply in replies]),
        )
        return _Done(ids.tolist())

    def _mask(self, reply: Reply) -> torch.Tensor:
        assert reply.allowed is not None
        return self._masks.of(reply.allowed)

    def _numbers(self, values: list[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self._device)


class _Done:
    """A step that is over."""

    def __init__(self, ids: list[int]) -> None:
        self._ids = ids

    def wait(self) -> None:
        """See `Launched.wait`."""

    def ids(self) -> list[int]:
        """See `Launched.ids`."""
        return self._ids


def _run(reply: Reply, start: int, stop: int) -> Run:
    assert reply.row is not None
    return Run(reply.row.index, start, reply.text[start:stop])
