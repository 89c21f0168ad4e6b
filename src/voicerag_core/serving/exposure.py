"""Who may reach a server: its address, its names, and the web pages that may call it."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from voicerag_core.errors import ConfigError
from voicerag_core.serving.auth import SignedTokens, TokenFile, TokenTable

__all__ = ["Exposure", "is_loopback", "web_address", "web_origin"]

_LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def web_address(given: str) -> str:
    """Return an address at which browsers and clients reach a server.

    Raises:
        ValueError: It is none.
    """
    try:
        parts = urlsplit(given)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # a bracket too many, a port beyond 65535
        usable = False
    if not usable or any(c.isspace() for c in given):
        raise ValueError(f"{given!r} is not an address, such as https://kb.example.com/mcp")
    return given


def web_origin(given: str) -> str:
    """Write an origin as browsers send it: lower case, no path, no default port.

    Raises:
        ValueError: It is not the origin of a web page.
    """
    parts = urlsplit(given.lower())
    port = parts.netloc.rpartition(":")[2] if ":" in parts.netloc.rpartition("]")[2] else ""
    if (
        parts.scheme not in {"http", "https"}
        or not parts.netloc
        or "*" in parts.netloc.removesuffix(":*")
        or "@" in parts.netloc
        or parts.path not in {"", "/"}
        or parts.query
        or parts.fragment
        or not (port in {"", "*"} or port.isdecimal())
    ):
        raise ValueError(
            f"{given!r} is not the origin of a web page, such as https://app.example.com, "
            "http://localhost:6274 or, for any port, http://localhost:*"
        )
    netloc = parts.netloc
    if port == {"http": "80", "https": "443"}[parts.scheme]:
        netloc = netloc.removesuffix(f":{port}")
    return f"{parts.scheme}://{netloc}"


@dataclass(frozen=True, slots=True)
class Exposure:
    """Who may reach a server.

    Args:
        host: Address that it listens on.
        prefix: Prefix of the variables that set the rest; messages name them.
        allowed_hosts: Accepted Host headers; a port of ``*`` is any.
        allowed_origins: Accepted origins of web pages besides the server's own.
        public_url: URL by which clients reach it, if a proxy stands before it.
        token_file: TOML file of accepted tokens.
        issuer: OAuth issuer whose access tokens are accepted.
        tenant_claim: Claim of such a token that names the tenant.
    """

    host: str
    prefix: str
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    public_url: str | None = None
    token_file: Path | None = None
    issuer: str | None = None
    tenant_claim: str = "tenant"

    @property
    def authenticates(self) -> bool:
        """Whether callers need a token."""
        return self.token_file is not None or self.issuer is not None

    def hosts(self) -> list[str]:
        """Return the accepted Host headers: the given ones, else those of the address.

        Raises:
            ConfigError: The address is reachable from outside, and no host was named.
        """
        if self.allowed_hosts:
            return list(self.allowed_hosts)
        here = [f"{name}{port}" for name in _LOOPBACK_NAMES for port in ("", ":*")]
        if self.public_url:
            host = urlsplit(self.public_url).netloc
            return [host, *(here if is_loopback(self.host) else ())]
        if is_loopback(self.host):
            return here
        raise ConfigError(
            f"the server would listen on {self.host}, which others can reach, without knowing its "
            f"own name; set {self.prefix}ALLOWED_HOSTS (kb.example.com) or {self.prefix}PUBLIC_URL"
        )

    def origins(self) -> list[str]:
        """Return the accepted web origins: the given ones, else those of this machine."""
        if self.allowed_origins:
            return list(self.allowed_origins)
        names = _LOOPBACK_NAMES if is_loopback(self.host) else ()
        return [f"http://{name}{port}" for name in names for port in ("", ":*")]

    def tokens(self) -> TokenTable | None:
        """Return the table of accepted tokens; None if callers need none.

        Raises:
            ConfigError: The token file cannot be used.
        """
        if self.token_file is not None:
            return TokenFile(self.token_file)
        if self.issuer is not None:
            assert self.public_url is not None
            return SignedTokens(self.issuer, self.public_url, tenant_claim=self.tenant_claim)
        return None

    def check(self) -> None:
        """Reject settings that would expose the server without authentication.

        Raises:
            ConfigError: The settings would do that, or contradict each other.
        """
        if self.token_file is not None and self.issuer is not None:
            raise ConfigError("a token file and an issuer were given; choose one of them")
        if self.issuer is not None and self.public_url is None:
            raise ConfigError(
                f"an issuer was given without {self.prefix}PUBLIC_URL, the URL that its tokens "
                "have to be issued for, such as https://kb.example.com"
            )
        if not is_loopback(self.host) and not self.authenticates:
            raise ConfigError(
                f"the server would listen on {self.host}, which others can reach, without asking "
                f"for a token; set {self.prefix}TOKEN_FILE or {self.prefix}ISSUER, or listen on "
                "127.0.0.1"
            )
        self.hosts()
