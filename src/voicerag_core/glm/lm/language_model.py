"""What the rest of GLM-4-Voice needs of a language model, wherever it runs."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol, runtime_checkable

from voicerag_core.errors import GenerationError
from voicerag_core.glm.lm.interleave import AllowedTokens, Grammar
from voicerag_core.glm.lm.sampler import checked_sampling
from voicerag_core.glm.pace import Pace
from voicerag_core.types import Sampling

__all__ = ["BatchingModel", "LanguageModel", "PacedModel", "check_request"]


class LanguageModel(Protocol):
    """A model that continues a prompt of token ids. Safe to share between threads.

    A reply has a form, which a `Grammar` describes. A model can honour it on two levels, and
    `masks_tokens` says on which:

    - Masked (True): before each id is drawn, the model asks `Grammar.allowed`, and no other id can
      be drawn. It takes a model whose sampler is in this process, or one that takes a logits
      processor.
    - Checked (False): ids are drawn elsewhere, behind an HTTP endpoint for instance, and the form
      is only checked as they arrive. The first id that is not allowed ends the reply with a
      `GenerationError`.

    On both levels `Grammar.push` is called with every id before it is yielded, so what is read from
    a stream always has the form.
    """

    @property
    def masks_tokens(self) -> bool:
        """Whether ids that the grammar does not allow are masked, and not only refused."""
        ...

    @property
    def max_context(self) -> int:
        """Most tokens of prompt and reply together."""
        ...

    @property
    def table_size(self) -> int:
        """Rows of the output table; ids are below it."""
        ...

    def warm(self, masks: Sequence[AllowedTokens]) -> None:
        """Prepare now what the first reply would otherwise wait for; may do nothing.

        Args:
            masks: The masks that replies will need.
        """
        ...

    def stream(
        self, prompt: Sequence[int], *, grammar: Grammar, sampling: Sampling
    ) -> Generator[int, None, None]:
        """Yield the ids of the reply as they come, the stop id included when one came.

        The reply ends after an id that the grammar takes for a stop, after `max_new_tokens`, or
        when the context is full. Closing the generator stops the model.

        Raises:
            GenerationError: The prompt leaves no room, or the scores are not numbers.
            ModelError: The device has too little memory.
        """
        ...

    def generate(
        self, prompts: Sequence[Sequence[int]], *, grammars: Sequence[Grammar], sampling: Sampling
    ) -> list[list[int]]:
        """Return the whole replies to a batch of prompts, one grammar each."""
        ...


@runtime_checkable
class BatchingModel(Protocol):
    """What a `LanguageModel` has besides that writes several replies at a time."""

    @property
    def capacity(self) -> int:
        """Most replies at a time."""
        ...

    @property
    def running(self) -> int:
        """Replies that are being written now."""
        ...

    @property
    def waiting(self) -> int:
        """Replies that wait for their turn."""
        ...


@runtime_checkable
class PacedModel(Protocol):
    """What a `LanguageModel` has besides that hands several ids over at a time."""

    def batches(
        self, prompt: Sequence[int], *, grammar: Grammar, sampling: Sampling, pace: Pace
    ) -> Generator[Sequence[int], None, None]:
        """Yield the ids of `LanguageModel.stream`, as many at a time as the reader waits for.

        All that have come are yielded then; none when the reader was woken before one came.
        """
        ...


def check_request(lm: LanguageModel, prompt: Sequence[int], sampling: Sampling) -> None:
    """Return if a model in this process can continue a prompt.

    Raises:
        ConfigError: A value of the sampling is out of its range.
        GenerationError: The prompt is empty, leaves no room, or holds an id that there is not.
    """
    checked_sampling(sampling)
    if not prompt:
        raise GenerationError("the prompt holds no token")
    if len(prompt) >= lm.max_context:
        raise GenerationError(
            f"the prompt has {len(prompt)} tokens and the model takes {lm.max_context} with "
            "the reply; give fewer passages or turns, or a shorter question"
        )
    if min(prompt) < 0 or max(prompt) >= lm.table_size:
        raise GenerationError(
            f"the prompt holds id {max(prompt) if min(prompt) >= 0 else min(prompt)}; ids are "
            f"0 to {lm.table_size - 1}"
        )
