"""The configuration of a session, and how a partial update changes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from voicerag_core import Strategy, TurnRules
from voicerag_core.serving import Where
from voicerag_web.errors import RequestError

__all__ = [
    "MOST_INSTRUCTIONS",
    "SessionConfig",
    "TurnDetection",
    "merged",
    "padding_ms",
    "silence_ms",
    "turn_rules",
]

MOST_INSTRUCTIONS: Final = 8000
"""Characters of instructions."""

_CLEARED: Final = frozenset({"turn_detection", "transcription", "noise_reduction"})
"""Fields that null clears; elsewhere null counts as not given."""

_LEAST_THRESHOLD: Final = 0.01
_PAUSE_SHARE: Final = 0.6
"""Most of the silence of a stop that a pause may take."""

_EAGERNESS_MS: Final = {"low": 900, "medium": 500, "auto": 500, "high": 300}
"""Silence that ends a turn for `semantic_vad`, which has no model of turns here."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class SoundForm(_Part):
    """Raw sound: 16-bit, mono, little-endian."""

    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Annotated[int, Field(ge=8_000, le=48_000)] = 24_000


class Wording(_Part):
    """How the user's speech is transcribed; the model is that of the stack."""

    model: str | None = Field(default=None, max_length=200)
    language: str | None = Field(default=None, max_length=35)
    prompt: str | None = Field(default=None, max_length=MOST_INSTRUCTIONS)


class NoiseReduction(_Part):
    """Accepted for clients that ask for it; browsers reduce noise themselves."""

    type: Literal["near_field", "far_field"] = "near_field"


class TurnDetection(_Part):
    """When a turn of the user begins and ends."""

    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: float | None = Field(default=None, ge=0, le=1)
    prefix_padding_ms: int | None = Field(default=None, ge=0, le=2000)
    silence_duration_ms: int | None = Field(default=None, ge=200, le=6000)
    eagerness: Literal["low", "medium", "high", "auto"] | None = None
    create_response: bool = True
    interrupt_response: bool = True
    idle_timeout_ms: int | None = None


class InputConfig(_Part):
    """What the client sends."""

    format: SoundForm = SoundForm()
    transcription: Wording | None = None
    noise_reduction: NoiseReduction | None = None
    turn_detection: TurnDetection | None = TurnDetection()


class OutputConfig(_Part):
    """What the client gets."""

    format: SoundForm = SoundForm()
    voice: str | dict[str, Any] = "default"
    speed: float = Field(default=1.0, ge=0.25, le=1.5)


class AudioConfig(_Part):
    """Sound in both directions."""

    input: InputConfig = InputConfig()
    output: OutputConfig = OutputConfig()


class OwnConfig(_Part):
    """What this server knows besides OpenAI's fields."""

    collection: str | None = Field(default=None, min_length=1, max_length=200)
    limit: int | None = Field(default=None, ge=1, le=50)
    where: Where | None = None
    strategy: Strategy | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    sources: bool = Field(default=False, description="Send `voicerag.sources` events")
    timing: bool = Field(default=False, description="Send `voicerag.timing` events")
    candidates: bool = Field(default=False, description="Send `voicerag.candidates` events")
    binary: bool = Field(default=False, description="Send sound as binary frames")


class SessionConfig(_Part):
    """The configuration of a session."""

    output_modalities: Annotated[
        list[Literal["text", "audio"]], Field(min_length=1, max_length=2)
    ] = ["audio"]
    instructions: str = Field(default="", max_length=MOST_INSTRUCTIONS)
    max_output_tokens: Annotated[int, Field(ge=1, le=100_000)] | Literal["inf"] = "inf"
    audio: AudioConfig = AudioConfig()
    voicerag: OwnConfig = OwnConfig()

    @property
    def speaks(self) -> bool:
        """Whether answers are spoken."""
        return "audio" in self.output_modalities

    @property
    def most_tokens(self) -> int | None:
        """Most tokens of an answer."""
        return None if self.max_output_tokens == "inf" else self.max_output_tokens

    def described(self, name: str, model: str, expires_at: int) -> dict[str, object]:
        """Return the whole session as clients know it.

        `tools` is always empty: tools are accepted and never called.
        """
        shown = self.model_dump()
        own = shown.pop("voicerag")
        detection = self.audio.input.turn_detection
        if detection is not None:
            shown["audio"]["input"]["turn_detection"] = _described(detection)
        changed = {key: value for key, value in own.items() if value != _DEFAULTS[key]}
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": name,
            "model": model,
            **shown,
            "tools": [],
            "tool_choice": "auto",
            "expires_at": expires_at,
            **({"voicerag": changed} if changed else {}),
        }


_DEFAULTS: Final = OwnConfig().model_dump()


def _described(detection: TurnDetection) -> dict[str, object]:
    shared = {
        "type": detection.type,
        "create_response": detection.create_response,
        "interrupt_response": detection.interrupt_response,
    }
    if detection.type == "semantic_vad":
        return {**shared, "eagerness": detection.eagerness or "auto"}
    return {
        **shared,
        "threshold": 0.5 if detection.threshold is None else detection.threshold,
        "prefix_padding_ms": padding_ms(detection),
        "silence_duration_ms": silence_ms(detection),
        "idle_timeout_ms": detection.idle_timeout_ms,
    }


def silence_ms(detection: TurnDetection) -> int:
    """Return the silence that ends a turn, in milliseconds."""
    if detection.type == "semantic_vad":
        return _EAGERNESS_MS[detection.eagerness or "auto"]
    return detection.silence_duration_ms or 500


def turn_rules(detection: TurnDetection) -> TurnRules:
    """Return the rules of the core's detector for what a client asks for."""
    given = TurnRules()
    stop = silence_ms(detection) / 1000
    threshold = given.threshold if detection.threshold is None else detection.threshold
    return TurnRules(
        min(max(threshold, _LEAST_THRESHOLD), 1 - _LEAST_THRESHOLD),
        given.start_seconds,
        min(given.pause_seconds, stop * _PAUSE_SHARE),
        stop,
    )


def padding_ms(detection: TurnDetection) -> int:
    """Return how much sound before the start belongs to a turn, in milliseconds."""
    given = detection.prefix_padding_ms
    return 300 if given is None else given


def merged(current: SessionConfig, update: Mapping[str, object]) -> SessionConfig:
    """Return the configuration after a partial update: what it does not name stays as it is.

    Raises:
        RequestError: A field is not valid; it names the field.
    """
    whole = _merge(current.model_dump(), update)
    try:
        return SessionConfig.model_validate(whole)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RequestError(f"session.{place}: {first['msg']}", f"session.{place}") from error


def _merge(current: dict[str, Any], update: Mapping[str, object]) -> dict[str, Any]:
    result = dict(current)
    for key, value in update.items():
        if key not in current:
            continue
        before = current[key]
        if value is None:
            if key in _CLEARED:
                result[key] = None
        elif isinstance(value, Mapping) and key != "where":
            base = before if isinstance(before, dict) else {}
            if key == "turn_detection" and value.get("type", base.get("type")) != base.get("type"):
                base = TurnDetection().model_dump()
            elif not base and key in _EMPTY:
                base = _EMPTY[key]
            result[key] = _merge(base, value)
        else:
            result[key] = value
    return result


_EMPTY: Final = {
    "transcription": Wording().model_dump(),
    "noise_reduction": NoiseReduction().model_dump(),
    "turn_detection": TurnDetection().model_dump(),
}
