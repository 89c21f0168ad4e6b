"""The ears of an app: those it opened, those of a pipeline, or new ones."""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from typing import TYPE_CHECKING

from voicerag_core.errors import ConfigError
from voicerag_core.rag import VoiceRAG
from voicerag_core.stack.parts import open_ears

if TYPE_CHECKING:
    from voicerag_core.local.hearing.ears import Ears

__all__ = ["ears_of"]


def ears_of(hear: Ears | VoiceRAG | None) -> Ears:
    """Return ears; no database is touched.

    Args:
        hear: Ears, a pipeline whose parts hear, or None for new ones of the environment's settings,
            which are closed when nobody holds them any more.

    Raises:
        ConfigError: Something else was given.
    """
    from voicerag_core.local.hearing.ears import Ears

    if isinstance(hear, Ears):
        return hear
    if hear is None:
        stack = ExitStack()
        opened = stack.enter_context(open_ears())
        weakref.finalize(opened, stack.close)
        return opened
    if not isinstance(hear, VoiceRAG):
        raise ConfigError(
            f"hear takes the ears of open_ears(), a VoiceRAG or None, not a {type(hear).__name__}"
        )
    ears: Ears | None = getattr(hear, "ears", None)
    if ears is not None:
        return ears
    return Ears(None, hear.transcriber, max_question_seconds=hear.max_question_seconds)
