"""Where a model is, what it is called, and what it is asked with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from voicerag_core.errors import ConfigError

__all__ = ["Endpoint", "read_key", "shown"]

TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model behind a URL.

    Args:
        url: Base of the API, such as ``http://127.0.0.1:11434/v1``, or the whole address of a call.
        what: What the model is, for messages: "the chat model".
        setting: Prefix of its settings, for messages: ``VOICERAG_CHAT``.
        model: Name of the model; "" leaves it out.
        key: Sent as a bearer token; "" sends none. Never shown.
        timeout: Longest wait in seconds for a response, retries included; in a stream for the first
            piece, and then for each next one.
    """

    url: str = field(repr=False)
    what: str
    setting: str
    model: str = ""
    key: str = field(default="", repr=False)
    timeout: float = TIMEOUT_SECONDS

    def __post_init__(self) -> None:
        """Refuse what is no HTTP address."""
        try:
            parts = urlsplit(self.url)
            port_is_number = parts.port is None or parts.port >= 0
        except ValueError:
            port_is_number = False
            parts = urlsplit("")
        if not port_is_number or parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"{self.setting}_URL is an address such as http://127.0.0.1:8000/v1, not "
                f"{shown(self.url)!r}"
            )
        if self.timeout <= 0:
            raise ConfigError(f"{self.setting}_TIMEOUT is above 0 seconds, not {self.timeout}")
        if not self.key.isprintable() or not self.key.isascii():
            raise ConfigError(
                f"the key of {self.what} has characters that no HTTP header can carry; check "
                f"{self.setting}_KEY or {self.setting}_KEY_FILE"
            )

    @property
    def shown(self) -> str:
        """The URL without user name, password, query and fragment."""
        return shown(self.url)

    @property
    def host(self) -> str:
        """The machine that receives the data."""
        return urlsplit(self.url).hostname or ""

    @property
    def is_here(self) -> bool:
        """Whether that is this machine."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    def address(self, path: str) -> str:
        """Return the URL of a call, such as ``/chat/completions``; the query is kept."""
        parts = urlsplit(self.url)
        base = parts.path.rstrip("/")
        for known in ENDINGS:
            base = base.removesuffix(known)
        return urlunsplit((parts.scheme, parts.netloc, base + path, parts.query, ""))


ENDINGS = (
    "/chat/completions",
    "/audio/transcriptions",
    "/audio/speech",
    "/embeddings",
    "/rerank",
)
"""Paths of calls, which people may have copied into the URL."""


def read_key(key: str | None, file: Path | None, setting: str) -> str:
    """Return a key that is given as itself or in a file; "" if neither is given.

    Raises:
        ConfigError: Both are given, or the file cannot be read or is empty.
    """
    if key and file is not None:
        raise ConfigError(f"give {setting}_KEY or {setting}_KEY_FILE, not both")
    if file is None:
        return (key or "").strip()
    try:
        text = file.expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"the key in {file} ({setting}_KEY_FILE) cannot be read: {reason}") from (
            None
        )
    if not text:
        raise ConfigError(f"the file {file} ({setting}_KEY_FILE) is empty; write the key into it")
    return text


def shown(url: str) -> str:
    """Return a URL without the places where people put secrets."""
    text = url.split("?", 1)[0].split("#", 1)[0]
    scheme, separator, rest = text.partition("://")
    host, slash, path = (rest if separator else scheme).partition("/")
    host = host.rpartition("@")[2]
    return f"{scheme}://{host}{slash}{path}" if separator else f"{host}{slash}{path}"
