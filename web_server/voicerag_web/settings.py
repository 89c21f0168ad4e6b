"""Settings of the web server, given as options or as ``VOICERAG_SERVE_*`` variables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from voicerag_core.serving import Exposure, Limits
from voicerag_core.serving.exposure import web_address, web_origin
from voicerag_core.settings import make_settings

__all__ = ["WebSettings", "load_web_settings"]

_PREFIX = "VOICERAG_SERVE_"


class WebSettings(BaseSettings):
    """Settings of the server; those of models and database are `voicerag_core.Settings`."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, extra="forbid", frozen=True, env_ignore_empty=True
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8090, ge=0, le=65535, description="Port to listen on.")
    allow_ingest: bool = Field(
        default=False, description="Let callers who may write add documents to the collection."
    )
    mcp: bool = Field(default=False, description="Offer the MCP server at /mcp as well.")
    wyoming: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Port to offer Wyoming, Home Assistant's protocol, on; extra `wyoming`.",
    )
    wyoming_open: bool = Field(
        default=False,
        description="Offer Wyoming to other machines too. It has no authentication: whoever "
        "reaches the port reads the documents.",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Accepted Host headers, separated by ','."
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Accepted origins of web pages besides the server's own, separated by ','.",
    )
    public_url: str | None = Field(
        default=None,
        description="URL by which clients reach the server, such as https://kb.example.com.",
    )
    token_file: Path | None = Field(default=None, description="TOML file with the accepted tokens.")
    issuer: str | None = Field(
        default=None, description="OAuth issuer whose access tokens are accepted."
    )
    tenant_claim: str = Field(
        default="tenant", min_length=1, description="Claim of an OAuth token that names the tenant."
    )
    max_body_bytes: int = Field(
        default=26_000_000, ge=1000, description="Largest request body, in bytes."
    )
    max_audio_bytes: int = Field(
        default=25_000_000, ge=1000, description="Largest accepted clip, in bytes."
    )
    max_recording_seconds: float = Field(
        default=900, gt=0, description="Longest recording to transcribe, in seconds."
    )
    max_question_chars: int = Field(
        default=4000, ge=1, description="Longest typed question, in characters."
    )
    max_speech_chars: int = Field(
        default=4096, ge=1, description="Longest text to speak, in characters."
    )
    max_text_chars: int = Field(
        default=2_000_000, ge=1, description="Longest text to ingest in one call, in characters."
    )
    clip_minutes: float = Field(
        default=60, gt=0, description="Minutes for which spoken answers can be referred to."
    )
    clip_bytes: int = Field(
        default=64_000_000, ge=1000, description="Memory for clips per tenant, in bytes."
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        le=512,
        description="Calls processed concurrently; default: 4, and the number of answers that the "
        "model writes at a time, if it writes several.",
    )
    max_waiting: int = Field(
        default=64, ge=0, description="Calls that may wait; further calls are asked to retry."
    )
    open_stores: int = Field(
        default=8, ge=1, description="Collections kept open at a time, over all tenants."
    )
    calls_per_minute: int = Field(
        default=1200, ge=1, description="Requests and new sessions per client and minute."
    )
    connections: int = Field(
        default=1000,
        ge=1,
        description="Open connections; fewer if the process may open fewer files.",
    )
    request_seconds: float = Field(
        default=10,
        gt=0,
        description="Seconds in which a request's head, and the beginning of its body, must "
        "have arrived.",
    )
    sessions: int = Field(default=64, ge=1, description="Realtime sessions open at a time.")
    sessions_per_token: int = Field(
        default=4, ge=1, description="Realtime sessions that a token may have open at a time."
    )
    session_minutes: float = Field(
        default=60, gt=0, description="Minutes after which a session is closed."
    )
    idle_minutes: float = Field(
        default=10, gt=0, description="Minutes without an event after which a session is closed."
    )
    warm: bool = Field(
        default=True, description="Load the models at the start rather than for the first question."
    )

    @field_validator("allowed_hosts", "allowed_origins", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("public_url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        return web_address(value) if value else None

    @field_validator("allowed_origins")
    @classmethod
    def _as_browsers_send(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(web_origin(one) for one in value)

    @property
    def exposure(self) -> Exposure:
        """Who may reach the server."""
        return Exposure(
            self.host,
            _PREFIX,
            self.allowed_hosts,
            self.allowed_origins,
            self.public_url,
            self.token_file,
            self.issuer,
            self.tenant_claim,
        )

    def limits(self) -> Limits:
        """Return the limits of the server: sizes, lifetimes and concurrency."""
        return Limits(
            prefix=_PREFIX,
            max_audio_bytes=self.max_audio_bytes,
            max_speech_chars=self.max_speech_chars,
            max_text_chars=self.max_text_chars,
            clip_seconds=self.clip_minutes * 60,
            clip_bytes=self.clip_bytes,
            workers=self.workers,
            max_waiting=self.max_waiting,
            open_stores=self.open_stores,
            read_only=not self.allow_ingest,
        )


def load_web_settings(**values: object) -> WebSettings:
    """Build settings from the environment and from keyword arguments, which take precedence.

    Values that are None count as not given.

    Raises:
        ConfigError: A value is unknown or out of its range; the message names the setting.
    """
    return make_settings(WebSettings, values, "an option")
