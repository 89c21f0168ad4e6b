"""The language model in this process: token ids in, token ids out, streamed and cancellable."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import ModelError
from voicerag_core.glm.device_memory import nbytes
from voicerag_core.glm.lm.fair_lock import FairLock, Ticket
from voicerag_core.glm.lm.forward import (
    KeyValueCache,
    RotaryTable,
    embedding_table,
    forward,
    left_padded_mask,
)
from voicerag_core.glm.lm.fused_forward import has_triton
from voicerag_core.glm.lm.interleave import AllowedTokens, Grammar
from voicerag_core.glm.lm.language_model import check_request
from voicerag_core.glm.lm.loading import Quantization, lm_memory, load_model
from voicerag_core.glm.lm.sampler import finite, sample, uniform_noise
from voicerag_core.glm.lm.steps import DecodingStep, EagerStep, GraphStep, TokenMasks
from voicerag_core.glm.weights.configs import CONTEXT_TOKENS
from voicerag_core.types import Sampling

if TYPE_CHECKING:
    from transformers import GlmForCausalLM

__all__ = ["TorchLM"]

PREFILL_TOKENS = 2048
"""Prompt tokens per forward pass; bounds the memory of a long prompt."""


class TorchLM:
    """GLM-4 in this process, on the CPU or one GPU; replies are served one at a time.

    The cache is kept between replies: the prefix that a prompt shares with the previous tokens,
    such as the system prompt or the conversation so far, is not computed again.

    Args:
        model: On its device; must not be used elsewhere at the same time.
        max_context: Most tokens of prompt and reply together; sets the size of the cache.
        graphs: Use CUDA graphs on a GPU.
        kernels: Use Triton's kernels in them where Triton is installed.

    Raises:
        ModelError: The device has too little memory for the cache.
    """

    def __init__(
        self,
        model: GlmForCausalLM,
        *,
        max_context: int = CONTEXT_TOKENS,
        graphs: bool = True,
        kernels: bool = True,
    ) -> None:
        self.model = model.train(mode=False)
        self._weight_bytes = nbytes((*model.parameters(), *model.buffers()))
        self.device = embedding_table(model).device
        self._max_context = max_context
        self._lock = FairLock()
        self._masks = TokenMasks(self.device)
        self._cached: list[int] = []
        with lm_memory(self.device, self._weight_bytes, max_context), torch.inference_mode():
            self._rotary = RotaryTable.of(model, max_context)
            self._cache = KeyValueCache.allocate(model, max_context)
            self._step: DecodingStep = (
                GraphStep(
                    model, self._cache, self._rotary, self._masks, kernels=kernels and has_triton()
                )
                if graphs and self.device.type == "cuda"
                else EagerStep(model, self._cache, self._rotary, self._masks)
            )

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        quantization: Quantization = "none",
        max_context: int | None = None,
        check_finite: bool = False,
    ) -> TorchLM:
        """Load glm-4-voice-9b, as released or converted.

        Args:
            folder: Its tree.
            device: "cpu", "cuda" or "cuda:1".
            dtype: Of activations, and of the weights unless quantized; None keeps the file's.
            quantization: Bits of the weights; "int4" takes widths that are multiples of 128.
            max_context: Most tokens of prompt and reply; None takes what the config says, 8192 at
                most: the cache grows with it.
            check_finite: Refuse weights that are NaN or infinite.

        Raises:
            CheckpointError: A file is missing, damaged, or of another network.
            ConfigError: The quantization is unknown or does not take the model's widths, or
                `max_context` is not positive.
            ModelError: The device has too little memory; the message says what to choose.
            MissingExtraError: The extra ``glm`` is not installed.
        """
        model, context = load_model(
            folder,
            device=device,
            dtype=dtype,
            quantization=quantization,
            max_context=max_context,
            check_finite=check_finite,
        )
        return cls(model, max_context=context)

    @property
    def masks_tokens(self) -> bool:
        """True: the masks of the grammar are applied before an id is sampled."""
        return True

    @property
    def max_context(self) -> int:
        """Most tokens of prompt and reply together."""
        return self._max_context

    @property
    def table_size(self) -> int:
        """Rows of the output table."""
        return int(self.model.config.vocab_size)

    def warm(self, masks: Sequence[AllowedTokens]) -> None:
        """Capture now the graphs that these masks need; nothing on the CPU."""
        if isinstance(self._step, GraphStep):
            with self._lock.acquire(), torch.inference_mode(), self._memory():
                self._step.warm(masks)
                self._cached.clear()

    def stream(
        self, prompt: Sequence[int], *, grammar: Grammar, sampling: Sampling
    ) -> Generator[int, None, None]:
        """See `LanguageModel.stream`."""
        check_request(self, prompt, sampling)
        with self._lock.acquire() as ticket:
            yield from self._reply(list(prompt), grammar, sampling, ticket)

    def generate(
        self, prompts: Sequence[Sequence[int]], *, grammars: Sequence[Grammar], sampling: Sampling
    ) -> list[list[int]]:
        """See `LanguageModel.generate`; the prompts are padded on the left."""
        if not prompts:
            return []
        for prompt in prompts:
            check_request(self, prompt, sampling)
        with self._lock.acquire(), self._memory(), torch.inference_mode():
            return self._batch(prompts, grammars, sampling)

    @torch.inference_mode()
    def logits(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the logits after every token of a text.

        Args:
            ids: [T] int64.

        Returns:
            [T, V].
        """
        with self._lock.acquire():
            self._cached.clear()
            hidden = self._prefill(ids.tolist(), 0)
            return self.model.lm_head(hidden)[0]  # type: ignore[no-any-return]

    def _reply(
        self, prompt: list[int], grammar: Grammar, sampling: Sampling, ticket: Ticket
    ) -> Iterator[int]:
        """Yield the ids of a reply; nothing runs between two of them."""
        noise = uniform_noise(sampling)[:, 0]
        room = min(sampling.max_new_tokens, self._max_context - len(prompt))
        token = self._first(prompt, grammar.allowed(), noise, sampling)
        for number in range(1, room + 1):
            kind = grammar.push(token)
            yield token
            if number == room or kind.value == "stop":
                return
            check_cancelled()
            ticket.touch()
            with self._memory(), torch.inference_mode():
                self._cached.append(token)
                token = finite(self._step(token, len(self._cached) - 1, number, grammar.allowed()))

    def _first(
        self, prompt: list[int], allowed: AllowedTokens, noise: torch.Tensor, sampling: Sampling
    ) -> int:
        """Read the prompt, except what the cache holds of it, and sample the first id."""
        with self._memory(), torch.inference_mode():
            shared = _common_prefix(prompt[:-1], self._cached)
            del self._cached[shared:]
            last = self._prefill(prompt[shared:], shared, last_only=True)
            self._step.begin(sampling, noise)
            sampled = sample(
                self.model.lm_head(last[:, -1]),
                self._masks.of(allowed),
                noise[:1].to(self.device),
                torch.tensor(sampling.temperature, device=self.device),
                torch.tensor(sampling.top_p, device=self.device),
            )
            return finite(int(sampled))

    def _prefill(self, tokens: list[int], start: int, *, last_only: bool = False) -> torch.Tensor:
        """Run prompt tokens from a slot on, in chunks; return their hidden states."""
        found = []
        for first in range(0, len(tokens), PREFILL_TOKENS):
            check_cancelled()
            piece = tokens[first : first + PREFILL_TOKENS]
            slots = torch.arange(start + first, start + first + len(piece), device=self.device)
            filled = start + first + len(piece)
            every = torch.arange(filled, device=self.device)
            plain = start + first == 0 or len(piece) == 1
            hidden = forward(
                self.model,
                torch.tensor([piece], device=self.device),
                positions=slots[None],
                slots=slots,
                filled=filled,
                mask=None if plain else (every <= slots[:, None])[None, None],
                cache=self._cache,
                rotary=self._rotary,
            )
            self._cached.extend(piece)
            found.append(hidden[:, -1:] if last_only else hidden)
        return found[-1] if last_only else torch.cat(found, dim=1)

    def _batch(
        self, prompts: Sequence[Sequence[int]], grammars: Sequence[Grammar], sampling: Sampling
    ) -> list[list[int]]:
        longest = max(map(len, prompts))
        room = min(sampling.max_new_tokens, self._max_context - longest)
        cache = KeyValueCache.allocate(self.model, longest + room, len(prompts))
        noise = uniform_noise(sampling, len(prompts)).to(self.device)
        scales = [
            torch.tensor(value, device=self.device)
            for value in (sampling.temperature, sampling.top_p)
        ]
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.device)
        padding = int(prompts[0][0])
        ids = torch.tensor(
            [[padding] * (longest - len(prompt)) + list(prompt) for prompt in prompts],
            device=self.device,
        )
        replies: list[list[int]] = [[] for _ in prompts]
        running = [True] * len(prompts)
        first = 0
        for number in range(room):
            check_cancelled()
            filled = first + ids.shape[1]
            slots = torch.arange(first, filled, device=self.device)
            hidden = forward(
                self.model,
                ids,
                positions=(slots - (longest - lengths)[:, None]).clamp(min=0),
                slots=slots,
                filled=filled,
                mask=left_padded_mask(lengths, longest, first, filled),
                cache=cache,
                rotary=self._rotary,
            )
            allowed = torch.stack([self._masks.of(grammar.allowed()) for grammar in grammars])
            sampled = sample(self.model.lm_head(hidden[:, -1]), allowed, noise[number], *scales)
            for row, token in enumerate(sampled.tolist()):
                if running[row]:
                    replies[row].append(finite(token))
                    running[row] = grammars[row].push(token).value != "stop"
            if not any(running):
                break
            ids, first = sampled[:, None].clamp(min=0), filled
        return replies

    @contextmanager
    def _memory(self) -> Iterator[None]:
        """Clear the cache, and say what to choose, when memory runs out in the block."""
        try:
            with lm_memory(self.device, self._weight_bytes, self._max_context):
                yield
        except ModelError:
            self._cached.clear()
            raise


def _common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    shared = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        shared += 1
    return shared
