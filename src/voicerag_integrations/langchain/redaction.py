"""Redact sound from the inputs and outputs that tracers see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import PromptValue

from voicerag_core import Answer, Audio

__all__ = ["redacted"]

_AUDIO_DATA = ("base64", "data")


def redacted(value: Any) -> Any:  # noqa: ANN401, PLR0911
    """Return a copy of an input or output with sound replaced by a description.

    Bytes, `Audio` and the data of audio blocks become a description, and an `Answer` loses its
    audio. Lists, dicts and messages are traversed; anything else is returned unchanged. Fits
    LangSmith's ``Client(hide_inputs=redacted, hide_outputs=redacted)``.
    """
    match value:
        case bytes() | bytearray() | memoryview():
            return f"<audio: {len(value)} bytes>"
        case Audio():
            return f"<{value!r}>"
        case Answer():
            return replace(value, audio=None)
        case BaseMessage():
            artifact = getattr(value, "artifact", None)
            update: dict[str, Any] = {"content": redacted(value.content)}
            if artifact is not None:
                update["artifact"] = redacted(artifact)
            if value.additional_kwargs:
                update["additional_kwargs"] = redacted(value.additional_kwargs)
            return value.model_copy(update=update)
        case PromptValue():
            return [redacted(message) for message in value.to_messages()]
        case Mapping():
            return {key: _entry(value, key, entry) for key, entry in value.items()}
        case list() | tuple():
            return [redacted(entry) for entry in value]
        case str() if value.startswith("data:"):
            return f"<data: {len(value)} characters>"
    return value


def _entry(block: Mapping[Any, Any], key: object, entry: object) -> object:
    """Redact an entry of a dict, including the encoded sound of an audio block."""
    held = "audio" in str(block.get("type", "")) or "format" in block
    if held and key in _AUDIO_DATA and isinstance(entry, str) and not entry.startswith("<"):
        return f"<audio: {len(entry)} characters of base64>"
    return redacted(entry)
