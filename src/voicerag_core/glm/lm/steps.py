"""One more token for a single reply: eagerly, or as a CUDA graph of fused kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

import torch

from voicerag_core.glm.lm.cuda_graphs import warmed_and_captured
from voicerag_core.glm.lm.forward import KeyValueCache, RotaryTable, forward
from voicerag_core.glm.lm.fused_forward import FusedForward
from voicerag_core.glm.lm.interleave import AllowedTokens
from voicerag_core.glm.lm.sampler import sample
from voicerag_core.types import Sampling

if TYPE_CHECKING:
    from transformers import GlmForCausalLM

__all__ = ["DecodingStep", "EagerStep", "GraphStep", "PlainForward", "TokenMasks"]


class DecodingStep(Protocol):
    """Samples the token that follows one token."""

    def begin(self, sampling: Sampling, noise: torch.Tensor) -> None:
        """Start a reply.

        Args:
            sampling: Temperature and nucleus.
            noise: [steps] float32 of `uniform_noise`, one number per token.
        """
        ...

    def __call__(self, token: int, position: int, number: int, allowed: AllowedTokens) -> int:
        """Run a token and sample the next.

        Args:
            token: The last id.
            position: Its position and slot.
            number: Which number of the noise to use.
            allowed: What may come next.

        Returns:
            The id, or `sampler.NOT_FINITE`.
        """
        ...


class TokenMasks:
    """Masks of allowed tokens on a device, each made once.

    Args:
        device: Where.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._kept: WeakKeyDictionary[AllowedTokens, torch.Tensor] = WeakKeyDictionary()

    def of(self, allowed: AllowedTokens) -> torch.Tensor:
        """Return the mask [V] bool."""
        mask = self._kept.get(allowed)
        if mask is None:
            mask = self._kept[allowed] = torch.from_numpy(allowed.mask.copy()).to(self._device)
        return mask


class EagerStep:
    """A step in plain torch, for the CPU.

    Args:
        model: The language model.
        cache: Of batch 1.
        rotary: Of the model.
        masks: On the model's device.
    """

    def __init__(
        self, model: GlmForCausalLM, cache: KeyValueCache, rotary: RotaryTable, masks: TokenMasks
    ) -> None:
        self._model, self._cache, self._rotary, self._masks = model, cache, rotary, masks
        self._device = cache.keys.device

    def begin(self, sampling: Sampling, noise: torch.Tensor) -> None:
        """See `DecodingStep.begin`."""
        self._noise = noise
        self._temperature = torch.tensor(sampling.temperature)
        self._top_p = torch.tensor(sampling.top_p)

    def __call__(self, token: int, position: int, number: int, allowed: AllowedTokens) -> int:
        """See `DecodingStep`."""
        place = torch.tensor([position], device=self._device)
        hidden = forward(
            self._model,
            torch.tensor([[token]], device=self._device),
            positions=place[None],
            slots=place,
            filled=position + 1,
            mask=None,
            cache=self._cache,
            rotary=self._rotary,
        )
        return int(
            sample(
                self._model.lm_head(hidden[:, -1]),
                self._masks.of(allowed),
                self._noise[number : number + 1],
                self._temperature,
                self._top_p,
            )
        )


class GraphStep:
    """A step as CUDA graphs: one over all ids, one over the ids from the first special one on.

    In a block of speech only speech and stop ids are allowed, so the text rows of the output table
    need not be read. With Triton the graphs contain the kernels of `kernels`; without it,
    the plain forward pass.

    Args:
        model: The language model; query, key and value are fused in place.
        cache: Of batch 1.
        rotary: Of the model.
        masks: On the model's device.
        kernels: Whether to use Triton's kernels.
    """

    def __init__(
        self,
        model: GlmForCausalLM,
        cache: KeyValueCache,
        rotary: RotaryTable,
        masks: TokenMasks,
        *,
        kernels: bool = True,
    ) -> None:
        self._masks = masks
        device = cache.keys.device
        rows = model.lm_head.out_features
        self._token = torch.zeros(1, 1, dtype=torch.int64, device=device)
        self._position = torch.zeros(1, dtype=torch.int64, device=device)
        self._noise_now = torch.zeros(1, device=device)
        self._temperature = torch.zeros((), device=device)
        self._top_p = torch.ones((), device=device)
        self._mask = torch.ones(rows, dtype=torch.bool, device=device)
        self._shown: AllowedTokens | None = None
        self._sampled: dict[int, torch.Tensor] = {}
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self._run = (
            FusedForward(
                model, cache, rotary, self._token, self._position, torch.zeros_like(self._position)
            )
            if kernels
            else PlainForward(model, cache, rotary, self._token, self._position)
        )

    def begin(self, sampling: Sampling, noise: torch.Tensor) -> None:
        """See `DecodingStep.begin`."""
        self._noise = noise.to(self._noise_now.device)
        self._temperature.fill_(sampling.temperature)
        self._top_p.fill_(sampling.top_p)

    def __call__(self, token: int, position: int, number: int, allowed: AllowedTokens) -> int:
        """See `DecodingStep`."""
        start = allowed.start
        if allowed is not self._shown:
            self._mask.copy_(self._masks.of(allowed))
            self._shown = allowed
        self._token.fill_(token)
        self._position.fill_(position)
        self._noise_now.copy_(self._noise[number : number + 1])
        if start not in self._graphs:
            # only now: its runs write this token's key and value into the cache, at this position
            self._capture(start)
        self._graphs[start].replay()
        sampled = int(self._sampled[start])
        return sampled + start if sampled >= 0 else sampled

    def warm(self, masks: Sequence[AllowedTokens]) -> None:
        """Capture the graphs that these need."""
        for allowed in masks:
            if allowed.start not in self._graphs:
                self._capture(allowed.start)

    def _capture(self, start: int) -> None:
        def run() -> None:
            logits = self._run(start)
            self._sampled[start] = sample(
                logits, self._mask[start:], self._noise_now, self._temperature, self._top_p
            )

        self._graphs[start] = warmed_and_captured(run)


class PlainForward:
    """The plain forward pass at fixed shapes: every slot is attended to, under a mask."""

    def __init__(
        self,
        model: GlmForCausalLM,
        cache: KeyValueCache,
        rotary: RotaryTable,
        token: torch.Tensor,
        position: torch.Tensor,
    ) -> None:
        self._model, self._cache, self._rotary = model, cache, rotary
        self._token, self._position = token, position
        self._slots = torch.arange(cache.slots, device=token.device)

    def __call__(self, start: int) -> torch.Tensor:
        """Return the logits [1, V - start]."""
        hidden = forward(
            self._model,
            self._token,
            positions=self._position[None],
            slots=self._position,
            filled=self._cache.slots,
            mask=(self._slots <= self._position)[None, None, None],
            cache=self._cache,
            rotary=self._rotary,
        )
        logits: torch.Tensor = self._model.lm_head(hidden[:, -1])
        return logits[:, start:]
