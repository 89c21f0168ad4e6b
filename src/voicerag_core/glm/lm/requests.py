"""What every language model refuses before it runs."""

from __future__ import annotations

from collections.abc import Sequence

from voicerag_core.errors import GenerationError

__all__ = ["check_prompt"]


def check_prompt(prompt: Sequence[int], *, max_context: int, table_size: int) -> None:
    """Return if a model can continue a prompt.

    Args:
        prompt: Its ids.
        max_context: Most tokens of prompt and reply together.
        table_size: Ids are below it.

    Raises:
        GenerationError: It is empty, leaves no room for a reply, or holds an id that is none.
    """
    if not prompt:
        raise GenerationError("the prompt holds no token")
    if len(prompt) >= max_context:
        raise GenerationError(
            f"the prompt has {len(prompt)} tokens and the model takes {max_context} with the "
            "reply; give fewer passages or turns, or a shorter question"
        )
    if min(prompt) < 0 or max(prompt) >= table_size:
        raise GenerationError(
            f"the prompt holds id {max(prompt) if min(prompt) >= 0 else min(prompt)}; ids are 0 to "
            f"{table_size - 1}"
        )
