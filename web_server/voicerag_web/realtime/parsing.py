"""What clients send, read and checked."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final

from voicerag_core import SPEECH_RATE_HZ, Audio, resample
from voicerag_core.serving import samples_of_pcm16
from voicerag_web.errors import RequestError
from voicerag_web.realtime.config import MOST_INSTRUCTIONS
from voicerag_web.realtime.events import new_id
from voicerag_web.realtime.hearing import MOST_SECONDS
from voicerag_web.realtime.items import Content, Item

__all__ = [
    "RESPONSE_FIELDS",
    "check_metadata",
    "field_object",
    "field_text",
    "item_of",
    "json_object",
    "sound_bytes",
]

_MOST_METADATA: Final = 16
_MOST_VALUE: Final = 512

RESPONSE_FIELDS: Final = (
    "output_modalities", "instructions", "max_output_tokens", "audio", "voicerag",
)  # fmt: skip
"""Fields of a session that a response may have otherwise."""


def json_object(message: str) -> dict[str, Any]:
    """Return the event of a message.

    Raises:
        RequestError: It is no JSON object.
    """
    try:
        given = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"an event is a JSON object ({error})", None, "invalid_json") from error
    if not isinstance(given, dict):
        raise RequestError("an event is a JSON object with a type", None, "invalid_json")
    return given


def field_object(given: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a field that is an object.

    Raises:
        RequestError: There is none.
    """
    part = given.get(name)
    if not isinstance(part, dict):
        raise RequestError(f"the event has an object {name!r}", name, "missing_field")
    return part


def field_text(given: dict[str, Any], name: str) -> str:
    """Return a field that is a text.

    Raises:
        RequestError: There is none.
    """
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise RequestError(f"the event has a text {name!r}", name, "missing_field")
    return value


def sound_bytes(value: object, param: str) -> bytes:
    """Return the bytes of 16-bit PCM in base64.

    Raises:
        RequestError: It is no base64.
    """
    if not isinstance(value, str):
        raise RequestError("sound is sent as base64 of 16-bit PCM", param, "invalid_base64")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(
            f"the sound is not base64 ({error}); encode 16-bit PCM in the standard alphabet",
            param,
            "invalid_base64",
        ) from error


def check_metadata(given: object) -> None:
    """Refuse metadata that is not a few short texts.

    Raises:
        RequestError: It is not.
    """
    if given is None:
        return
    fits = isinstance(given, dict) and len(given) <= _MOST_METADATA
    if not fits or not all(
        isinstance(value, str) and len(value) <= _MOST_VALUE
        for value in given.values()  # type: ignore[attr-defined]
    ):
        raise RequestError(
            f"metadata is up to {_MOST_METADATA} texts of {_MOST_VALUE} characters each",
            "response.metadata",
        )


def item_of(given: dict[str, Any], *, rate: int, most_chars: int) -> Item:
    """Return the item that a client describes.

    Args:
        given: As it came.
        rate: Of sound in it, in Hz.
        most_chars: Longest text in it.

    Raises:
        RequestError: It is no item.
    """
    name = given.get("id") or new_id("item")
    if not isinstance(name, str) or len(name) > 64:  # noqa: PLR2004
        raise RequestError("an id has at most 64 characters", "item.id")
    kind = given.get("type", "message")
    if kind == "function_call_output":
        output = str(given.get("output", ""))[:most_chars]
        return Item(name, "user", output=(str(given.get("call_id", ""))[:64], output))
    role = given.get("role", "user")
    if kind != "message" or role not in {"user", "assistant", "system"}:
        raise RequestError(
            f"an item is a message of user, assistant or system, not {kind!r} of {role!r}",
            "item.type",
        )
    parts = given.get("content")
    if not isinstance(parts, list) or not parts:
        raise RequestError("a message has content: a list of parts", "item.content")
    return Item(name, role, [_content(part, rate, most_chars) for part in parts[:100]])


def _content(part: object, rate: int, most_chars: int) -> Content:
    if not isinstance(part, dict):
        raise RequestError("a part of a message is an object", "item.content")
    kind = part.get("type")
    if kind == "input_audio":
        data = sound_bytes(part.get("audio"), "item.content.audio")
        return Content(
            "input_audio",
            str(part.get("transcript") or ""),
            _clip(data, rate),
            known=bool(part.get("transcript")),
        )
    if kind in {"input_text", "output_text", "text"}:
        text = part.get("text")
    elif kind in {"output_audio", "audio"}:
        text = part.get("transcript")
    else:
        raise RequestError(
            f"a part of a message is input_text, input_audio, output_text or output_audio, "
            f"not {kind!r}",
            "item.content.type",
        )
    if not isinstance(text, str):
        raise RequestError("a part of a message has words", "item.content.text")
    if len(text) > max(most_chars, MOST_INSTRUCTIONS):
        raise RequestError(
            f"the text has {len(text)} characters, and {most_chars} are taken; shorten it",
            "item.content.text",
            "text_too_long",
        )
    return Content("input_text" if kind in {"input_text", "text"} else "output_text", text)


def _clip(data: bytes, rate: int) -> Audio:
    if len(data) < 2 or len(data) > 2 * rate * MOST_SECONDS:  # noqa: PLR2004 - one sample
        raise RequestError(
            f"a clip has 1 sample to {MOST_SECONDS:g} s of sound", "item.content.audio"
        )
    return resample(Audio(samples_of_pcm16(data[: len(data) & ~1]), rate), SPEECH_RATE_HZ)
