"""The language model in this process for many replies at a time: continuous batching."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import torch
from torch import nn

from voicerag_core.cancellation import check_cancelled
from voicerag_core.closing import Closing
from voicerag_core.errors import ConfigError
from voicerag_core.glm.device_memory import nbytes
from voicerag_core.glm.lm.eager_runner import EagerRunner
from voicerag_core.glm.lm.forward import KeyValueCache, RotaryTable, embedding_table
from voicerag_core.glm.lm.fused_forward import has_triton
from voicerag_core.glm.lm.graph_runner import GraphRunner
from voicerag_core.glm.lm.interleave import AllowedTokens, Grammar, TokenKind
from voicerag_core.glm.lm.language_model import check_request
from voicerag_core.glm.lm.loading import Quantization, lm_memory, load_model
from voicerag_core.glm.lm.rows import Reply, Runner
from voicerag_core.glm.lm.sampler import uniform_noise
from voicerag_core.glm.lm.scheduler import LONG_PART, Scheduler, long_part
from voicerag_core.glm.lm.weight_only import WeightOnlyLinear
from voicerag_core.glm.pace import Pace
from voicerag_core.glm.turns import turns_on
from voicerag_core.glm.weights.configs import CONTEXT_TOKENS
from voicerag_core.types import Sampling

if TYPE_CHECKING:
    from transformers import GlmForCausalLM

__all__ = ["BatchedLM"]

MOST_ROWS = 64
"""Replies at a time, unless told otherwise."""
CPU_ROWS = 4
RESERVED_BYTES = 4_000_000_000
"""Of a GPU's free memory, left to the other networks and to what a step computes."""
PART_TOKENS = 960
"""Prompt tokens in a step; about 30 ms on an H200. 1,344 where many prompts wait."""
POLL_SECONDS = 0.05
"""How often a waiting thread checks whether its call was cancelled, and whether text has come."""


class BatchedLM(Closing):
    """GLM-4 in this process, on the CPU or one GPU, for many replies at a time.

    Its tokens are those of `TorchLM`, up to rounding: each reply has its own row of the cache, its
    own noise, and its own masks. A reply joins at the next step after it was asked for, if a row
    is free, and otherwise waits its turn. The cache of a finished reply is kept until its row is
    needed: a prompt that begins as it does is not computed again.

    Args:
        model: On its device; must not be used elsewhere at the same time.
        max_context: Most tokens of prompt and reply together.
        rows: Most replies at a time; None takes as many as fit into the free memory, 64 at most on
            a GPU and 4 on a CPU. A row takes 41 kB a token at the released size, in bfloat16.
        max_waiting: Most replies that wait for a row.
        part_tokens: Most prompt tokens in a step, and 1.4 times as many where four times as many
            wait to be read, unless weights have 8 or 4 bits; bounds how long other replies wait.

    Raises:
        ConfigError: A number is below 1.
        ModelError: The device has too little memory for the cache.
    """

    def __init__(
        self,
        model: GlmForCausalLM,
        *,
        max_context: int = CONTEXT_TOKENS,
        rows: int | None = None,
        max_waiting: int = MOST_ROWS,
        part_tokens: int = PART_TOKENS,
    ) -> None:
        for name, value in (("rows", rows), ("part_tokens", part_tokens)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} is at least 1, not {value}")
        self.model = model.train(mode=False)
        self.device = embedding_table(model).device
        self._max_context = max_context
        memory = partial(
            lm_memory,
            self.device,
            nbytes((*model.parameters(), *model.buffers())),
            max_context,
        )
        with memory(), torch.inference_mode():
            self._rows = rows or fitting_rows(model, max_context)
            self._cache = KeyValueCache.allocate(model, max_context, self._rows)
            rotary = RotaryTable.of(model, max_context)
            parts = 1.0 if _is_quantized(model) else LONG_PART
            most = long_part(part_tokens, GraphRunner.block, parts)
            runner: Runner = (
                GraphRunner(model, self._cache, rotary, most)
                if self.device.type == "cuda" and has_triton()
                else EagerRunner(model, self._cache, rotary)
            )
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
        self._runner = runner
        self._scheduler = Scheduler(
            runner,
            self._rows,
            part_tokens=part_tokens,
            parts=parts,
            max_waiting=max_waiting,
            memory=memory,
            turns=turns_on(self.device),
        )
        weakref.finalize(self, self._scheduler.close)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        quantization: Quantization = "none",
        max_context: int | None = None,
        rows: int | None = None,
        max_waiting: int = MOST_ROWS,
        check_finite: bool = False,
    ) -> BatchedLM:
        """Load glm-4-voice-9b, as released or converted; see `TorchLM.load` and the class."""
        model, context = load_model(
            folder,
            device=device,
            dtype=dtype,
            quantization=quantization,
            max_context=max_context,
            check_finite=check_finite,
        )
        return cls(model, max_context=context, rows=rows, max_waiting=max_waiting)

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

    @property
    def capacity(self) -> int:
        """Most replies at a time."""
        return self._rows

    @property
    def running(self) -> int:
        """Replies that are being written now."""
        return self._scheduler.running

    @property
    def waiting(self) -> int:
        """Replies that wait for a row."""
        return self._scheduler.waiting

    def warm(self, masks: Sequence[AllowedTokens]) -> None:
        """Capture now the graphs that replies need; nothing on the CPU."""
        self._scheduler.call(lambda: self._runner.warm(masks))

    def close(self) -> None:
        """End all replies and the thread."""
        self._scheduler.close()

    def stream(
        self, prompt: Sequence[int], *, grammar: Grammar, sampling: Sampling
    ) -> Generator[int, None, None]:
        """See `LanguageModel.stream`. Closing the generator frees the row within one step.

        Raises:
            BusyError: As many replies wait as may; says when to come back.
        """
        ids = self.batches(prompt, grammar=grammar, sampling=sampling, pace=Pace())
        with closing(ids) as batches:
            for batch in batches:
                yield from batch

    def batches(
        self, prompt: Sequence[int], *, grammar: Grammar, sampling: Sampling, pace: Pace
    ) -> Generator[Sequence[int], None, None]:
        """See `PacedModel.batches`; closing and errors are as of `stream`."""
        check_request(self, prompt, sampling)
        reply = self._reply(prompt, grammar, sampling, uniform_noise(sampling)[:, 0])
        with _Reader(self._scheduler) as reader:
            reader.ask(reply)
            pace.ring = reader.ring
            pace.progress = lambda: (reader.left(reply), reply.came)
            while (ids := reader.waited(reply, pace)) is not None:
                kinds = [grammar.push(token) for token in ids]
                if ids and reply.table is None and kinds[-1] is not TokenKind.STOP:
                    reply.allowed = grammar.allowed()
                    self._scheduler.allow(reply)
                yield ids
                if kinds and kinds[-1] is TokenKind.STOP:
                    return

    def generate(
        self, prompts: Sequence[Sequence[int]], *, grammars: Sequence[Grammar], sampling: Sampling
    ) -> list[list[int]]:
        """See `LanguageModel.generate`; as many as there are rows are asked for at a time."""
        for prompt in prompts:
            check_request(self, prompt, sampling)
        noise = uniform_noise(sampling, len(prompts))
        waiting = deque(
            self._reply(prompt, grammar, sampling, noise[:, number])
            for number, (prompt, grammar) in enumerate(zip(prompts, grammars, strict=True))
        )
        asked = dict(zip(waiting, grammars, strict=True))
        with _Reader(self._scheduler) as reader:
            for _ in range(min(self._rows, len(waiting))):
                reader.ask(waiting.popleft())
            while reader.replies:
                reply, ids = reader.next()
                if ids is None:
                    if waiting:
                        reader.ask(waiting.popleft())
                    continue
                stopped = TokenKind.STOP in [asked[reply].push(token) for token in ids]
                if reply.table is None and stopped:
                    self._scheduler.cancel(reply)
                elif reply.table is None and ids:
                    reply.allowed = asked[reply].allowed()
                    self._scheduler.allow(reply)
        return [reply.text[reply.prompt_size :] for reply in asked]

    def _reply(
        self, prompt: Sequence[int], grammar: Grammar, sampling: Sampling, noise: torch.Tensor
    ) -> Reply:
        room = min(sampling.max_new_tokens, self._max_context - len(prompt))
        return Reply(prompt, grammar, sampling, noise, room)


class _Reader(Closing):
    """Asks for replies and reads them as they come; what is left of them ends with it."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._events: SimpleQueue[Reply | None] = SimpleQueue()
        self.replies: dict[Reply, int] = {}
        """Those that have not ended, and how many of their ids were taken."""

    def ask(self, reply: Reply) -> None:
        reply.events = self._events
        self._scheduler.submit(reply)
        self.replies[reply] = 0

    def left(self, reply: Reply) -> int:
        """Return how many ids of a reply have come and were not taken; from any thread."""
        return max(0, reply.number - self.replies.get(reply, reply.number))

    def ring(self) -> None:
        """End the waiting; from any thread."""
        self._events.put(None)

    def waited(self, reply: Reply, pace: Pace) -> list[int] | None:
        """Wait as long as a pace says, and take the ids that have come; None: it has ended.

        Text waits `POLL_SECONDS` or two for more, lest it come in leaps from a slow model.
        """
        in_text = pace.in_text()
        self._wait_for(reply, pace.wanted(), in_text=in_text)
        while True:
            told = self._next(lambda: in_text and self.left(reply) > 0)
            ids = self._taken(reply)
            if ids or ids is None or told is None:
                return ids

    def next(self) -> tuple[Reply, list[int] | None]:
        """Wait for ids of one of the replies, or for the end of one: None."""
        while True:
            reply = self._next()
            if reply in self.replies:
                ids = self._taken(reply)
                if ids is not None:
                    self._wait_for(reply, 1)
                return reply, ids

    def _wait_for(self, reply: Reply, count: int, *, in_text: bool = False) -> None:
        due = self.replies[reply] + count
        reply.due, reply.in_text = due, in_text
        if reply.number >= due:  # it came before it was waited for
            self._events.put(reply)

    def _taken(self, reply: Reply) -> list[int] | None:
        over = reply.ended  # asked first: then all of its ids are there
        start = reply.prompt_size + self.replies[reply]
        ids = reply.text[start:]
        self.replies[reply] += len(ids)
        if ids and over:
            self._events.put(reply)
        if ids or not over:
            return ids
        del self.replies[reply]
        if reply.error is not None:
            raise reply.error
        return None

    def _next(self, enough: Callable[[], bool] = lambda: False) -> Reply | None:
        """Wait until there is something to see of a reply; None: `ring` was called, or enough."""
        check_cancelled()
        while True:
            try:
                return self._events.get(timeout=POLL_SECONDS)
            except Empty:
                check_cancelled()
                for reply in self.replies:
                    self._scheduler.check(reply)
                if enough():
                    return None

    def close(self) -> None:
        for reply in self.replies:
            self._scheduler.cancel(reply)


def fitting_rows(model: GlmForCausalLM, max_context: int) -> int:
    """Return how many rows of the cache fit into the free memory, at least 1."""
    device = embedding_table(model).device
    if device.type != "cuda":
        return CPU_ROWS
    one = KeyValueCache.row_bytes(model, max_context)
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(MOST_ROWS, (free - RESERVED_BYTES) // one))


def _is_quantized(model: nn.Module) -> bool:
    return any(isinstance(layer, WeightOnlyLinear) for layer in model.modules())
