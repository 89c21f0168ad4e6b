"""Settings of the MCP server, given as options or as ``VOICERAG_MCP_*`` variables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from voicerag_core.serving import Exposure, Limits
from voicerag_core.serving.exposure import web_address, web_origin
from voicerag_core.settings import make_settings

__all__ = ["ServerSettings", "load_server_settings"]


_PREFIX = "VOICERAG_MCP_"


class ServerSettings(BaseSettings):
    """Settings of the server; those of models and database are `voicerag_core.Settings`."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, extra="forbid", frozen=True, env_ignore_empty=True
    )

    read_only: bool = Field(
        default=False, description="Offer no tool that writes, and connect as the read-only role."
    )
    allowed_paths: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="Folders whose files calls may name, separated by ':'; default: none.",
    )
    output_dir: Path | None = Field(
        default=None, description="Folder for spoken answers saved as files."
    )
    max_audio_bytes: int = Field(
        default=8_000_000, ge=1000, description="Largest accepted clip, in bytes."
    )
    max_speech_chars: int = Field(
        default=2000, ge=1, description="Longest text to speak, in characters."
    )
    max_text_chars: int = Field(
        default=500_000, ge=1, description="Longest text to ingest in one call, in characters."
    )
    clip_minutes: float = Field(default=60, gt=0, description="Minutes for which a clip is kept.")
    clip_bytes: int = Field(
        default=64_000_000, ge=1000, description="Memory for clips per tenant, in bytes."
    )
    clip_bytes_total: int = Field(
        default=512_000_000, ge=1000, description="Memory for clips of all tenants, in bytes."
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
    host: str = Field(default="127.0.0.1", description="Address to listen on (HTTP).")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on (HTTP).")
    sessions: bool = Field(
        default=False, description="Keep sessions, for older clients that require them (HTTP)."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Accepted Host headers, separated by ',' (HTTP)."
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Accepted origins of web pages, separated by ',' (HTTP)."
    )
    public_url: str | None = Field(
        default=None,
        description="URL by which clients reach the server, such as https://kb.example.com/mcp.",
    )
    token_file: Path | None = Field(
        default=None, description="TOML file with the accepted tokens (HTTP)."
    )
    issuer: str | None = Field(
        default=None, description="OAuth issuer whose access tokens are accepted (HTTP)."
    )
    tenant_claim: str = Field(
        default="tenant", min_length=1, description="Claim of an OAuth token that names the tenant."
    )
    max_body_bytes: int = Field(
        default=12_000_000, ge=1000, description="Largest request body, in bytes (HTTP)."
    )
    calls_per_minute: int = Field(
        default=1200, ge=1, description="Requests per client and minute (HTTP)."
    )
    tenant_calls_per_minute: int = Field(
        default=6000,
        ge=1,
        description="Requests per tenant and minute, over all of its tokens (HTTP).",
    )
    connections: int = Field(
        default=1000,
        ge=1,
        description="Open connections; fewer if the process may open fewer files (HTTP).",
    )
    request_seconds: float = Field(
        default=10,
        gt=0,
        description="Seconds in which a request's head, and the beginning of its body, must "
        "have arrived (HTTP).",
    )

    @field_validator("allowed_paths", mode="before")
    @classmethod
    def _split_paths(cls, value: object) -> object:
        return _parts(value, os.pathsep)

    @field_validator("allowed_hosts", "allowed_origins", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        return _parts(value, ",")

    @field_validator("public_url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        return web_address(value) if value else None

    @field_validator("allowed_origins")
    @classmethod
    def _as_browsers_send(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(web_origin(one) for one in value)

    @property
    def authenticates(self) -> bool:
        """Whether HTTP requests need a token."""
        return self.token_file is not None or self.issuer is not None

    def limits(self) -> Limits:
        """Return the limits of the server: sizes, lifetimes and concurrency."""
        return Limits(
            prefix=_PREFIX,
            allowed_paths=self.allowed_paths,
            output_dir=self.output_dir,
            max_audio_bytes=self.max_audio_bytes,
            max_speech_chars=self.max_speech_chars,
            max_text_chars=self.max_text_chars,
            clip_seconds=self.clip_minutes * 60,
            clip_bytes=self.clip_bytes,
            clip_bytes_total=self.clip_bytes_total,
            workers=self.workers,
            max_waiting=self.max_waiting,
            open_stores=self.open_stores,
            read_only=self.read_only,
        )

    @property
    def exposure(self) -> Exposure:
        """Who may reach the server over HTTP."""
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

    def check_exposure(self) -> None:
        """Reject settings that would expose the server over HTTP without authentication.

        Raises:
            ConfigError: The settings would do that, or contradict each other.
        """
        self.exposure.check()


def load_server_settings(**values: object) -> ServerSettings:
    """Build settings from the environment and from keyword arguments, which take precedence.

    Values that are None count as not given.

    Raises:
        ConfigError: A value is unknown or out of its range; the message names the setting.
    """
    return make_settings(ServerSettings, values, "an option")


def _parts(value: object, separator: str) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(separator) if part.strip())
    return value
