"""What a token allows: tokens from a file, or access tokens of an OAuth issuer.

Each token is bound to one tenant. This module is independent of any web framework: a server passes
the token of a request and gets a `Grant`, or None if the token is not accepted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import threading
import time
import tomllib
from dataclasses import dataclass
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from voicerag_core.errors import ConfigError, ForbiddenError
from voicerag_core.files import parsed_json

__all__ = ["WRITE", "Caller", "Grant", "SignedTokens", "TokenFile", "TokenTable", "new_entry"]

WRITE = "voicerag:write"
"""Scope that a token needs to write."""

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
_DISCOVERY = ("oauth-authorization-server", "openid-configuration")
_MOST_TOKEN_CHARS = 8192
_FETCH_SECONDS = 5.0
_RETRY_SECONDS = 30.0
_LEEWAY_SECONDS = 30

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request.

    Args:
        tenant: Tenant whose data it may read.
        may_write: Whether it may change the data.
    """

    tenant: str
    may_write: bool

    def check_may_write(self) -> None:
        """Return only if the caller may write.

        Raises:
            ForbiddenError: It may not.
        """
        if not self.may_write:
            raise ForbiddenError(f"this token may not write: it lacks the scope {WRITE!r}")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token allows.

    Args:
        tenant: Tenant whose data it gives access to.
        scopes: What it permits.
        client: The client that it was issued to.
        subject: The user on whose behalf it is used.
        expires_at: When it expires, in seconds since the epoch; None: never.
    """

    tenant: str
    scopes: tuple[str, ...]
    client: str
    subject: str
    expires_at: int | None = None


class TokenTable(Protocol):
    """Looks tokens up; thread-safe."""

    def grant(self, token: str) -> Grant | None:
        """Return what a token allows, or None if it is not accepted; may block."""
        ...


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    tenant: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$")
    write: bool = False


@dataclass(frozen=True, slots=True)
class _Known:
    name: str
    entry: _Entry


class TokenFile:
    """Accepts the tokens whose SHA-256 is listed in a TOML file; a `TokenTable`.

    The file is read again when it changes, so a token can be revoked at once::

        [alice]
        tenant = "acme"
        sha256 = "…"      # of the token; `voicerag-mcp token` creates both
        write = true

    Args:
        path: The file.

    Raises:
        ConfigError: It cannot be read, others may write to it, or an entry is not valid.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int] = (0, 0)
        self._known: dict[str, _Known] = {}
        self._reload()

    def grant(self, token: str) -> Grant | None:
        """Return what a token allows, or None."""
        try:
            self._reload()
        except ConfigError as error:
            _logger.error("nobody is let in: %s", error)
            return None
        known = self._known.get(hashlib.sha256(token.encode(errors="replace")).hexdigest())
        if known is None:
            return None
        return Grant(
            known.entry.tenant,
            scopes=(WRITE,) if known.entry.write else (),
            client=f"token:{known.name}",
            subject=known.entry.tenant,
        )

    def _reload(self) -> None:
        with self._lock:
            try:
                found = self._path.stat()
                seen = (found.st_mtime_ns, found.st_size)
                if seen == self._seen:
                    return
                if found.st_mode & 0o022:
                    raise ConfigError(
                        f"others may write to the token file {self._path}; chmod 600 it"
                    )
                self._known = _entries(tomllib.loads(self._path.read_text()), self._path)
                self._seen = seen
            except (OSError, ValueError) as error:
                if isinstance(error, ConfigError):
                    raise
                raise ConfigError(
                    f"the token file {self._path} cannot be read: {error}; "
                    "`voicerag-mcp token NAME --tenant TENANT` prints an entry for it"
                ) from error


def _entries(tables: dict[str, Any], path: Path) -> dict[str, _Known]:
    known = {}
    for name, table in tables.items():
        try:
            entry = _Entry.model_validate(table)
        except ValidationError as error:
            where = ", ".join(".".join(map(str, one["loc"])) for one in error.errors())
            raise ConfigError(
                f"the entry {name!r} of the token file {path} is not valid ({where}); it has "
                "tenant, sha256 and perhaps write = true"
            ) from None
        known[entry.sha256] = _Known(name, entry)
    return known


class SignedTokens:
    """Accepts signed access tokens (JWT) of one OAuth issuer; a `TokenTable`.

    Issuer, signature, expiry and audience are checked (RFC 9068, RFC 8707), with the keys from the
    issuer's metadata (RFC 8414).

    Args:
        issuer: URL of the issuer, as in the tokens.
        resource: URL of this server, for which the tokens must be issued.
        tenant_claim: Claim that names the tenant; a token without it is not accepted.

    Raises:
        ConfigError: The issuer is not an https URL, nor one on this machine.
    """

    def __init__(self, issuer: str, resource: str, *, tenant_claim: str = "tenant") -> None:
        if not _is_private(issuer, plain_here=True):
            raise ConfigError(f"an issuer is an https URL, not {issuer!r}")
        self._issuer = issuer
        self._resource = resource
        self._tenant_claim = tenant_claim
        self._plain_here = urlsplit(issuer).scheme == "http"
        self._lock = threading.Lock()
        self._keys: dict[str | None, Any] = {}
        self._fetched = float("-inf")

    def grant(self, token: str) -> Grant | None:
        """Return what a token allows, or None; may fetch the issuer's keys."""
        if len(token) > _MOST_TOKEN_CHARS or token.count(".") != 2:  # noqa: PLR2004 - a JWS
            return None
        import jwt

        try:
            key = self._key(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                return None
            claims = jwt.decode(
                token,
                key,
                algorithms=list(_ALGORITHMS),
                issuer=self._issuer,
                audience=[self._resource, self._resource.rstrip("/")],
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            _logger.info("an access token was refused: %s", type(error).__name__)
            return None
        tenant = claims.get(self._tenant_claim)
        if not isinstance(tenant, str) or not 1 <= len(tenant) <= 200 or "\0" in tenant:  # noqa: PLR2004
            _logger.warning("an access token names no tenant in its claim %r", self._tenant_claim)
            return None
        scope = claims.get("scope", "")
        return Grant(
            tenant,
            scopes=tuple(scope.split()) if isinstance(scope, str) else (),
            client=str(claims.get("client_id") or claims.get("azp") or "unknown"),
            subject=str(claims.get("sub") or tenant),
            expires_at=int(claims["exp"]) + _LEEWAY_SECONDS,
        )

    def _key(self, kid: str | None) -> Any:  # noqa: ANN401 - PyJWT's key
        """Return the key of an id; the issuer is asked again for unknown ones, but not often.

        Tokens of known keys never wait for the issuer.
        """
        if kid not in self._keys:
            with self._lock:
                if kid not in self._keys and time.monotonic() - self._fetched > _RETRY_SECONDS:
                    self._fetched = time.monotonic()
                    try:
                        self._keys = self._fetch_keys()
                    except (OSError, ValueError, KeyError, TypeError) as error:
                        _logger.error("the keys of %s cannot be fetched: %s", self._issuer, error)
        keys = self._keys
        if kid is None and len(keys) == 1:
            return next(iter(keys.values()))
        return keys.get(kid)

    def _fetch_keys(self) -> dict[str | None, Any]:
        import jwt

        found = self._fetch_json(self._metadata()["jwks_uri"])
        keys: dict[str | None, Any] = {}
        for key in found["keys"]:
            try:
                keys[key.get("kid")] = jwt.PyJWK(key)
            except jwt.PyJWTError:
                continue  # of a kind that is not known here
        return keys

    def _metadata(self) -> dict[str, Any]:
        parts = urlsplit(self._issuer)
        root, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
        problem: Exception = ValueError("no metadata")
        for url in (
            *(f"{root}/.well-known/{name}{path}" for name in _DISCOVERY),
            f"{root}{path}/.well-known/{_DISCOVERY[1]}",
        ):
            try:
                found = self._fetch_json(url)
            except (OSError, ValueError) as error:
                problem = error
                continue
            if found.get("issuer") == self._issuer:
                return found
            problem = ValueError(f"{url} speaks of the issuer {found.get('issuer')!r}")
        raise problem

    def _fetch_json(self, url: str) -> dict[str, Any]:
        _check_private(url, plain_here=self._plain_here)
        opener = build_opener(_PrivateRedirects(plain_here=self._plain_here))
        request = Request(url, headers={"Accept": "application/json"})  # noqa: S310 - checked above
        try:
            response = opener.open(request, timeout=_FETCH_SECONDS)
        except HTTPError as error:
            error.close()  # it holds the connection until it is collected
            raise
        with response:
            found = parsed_json(response.read(1_000_000))
        if not isinstance(found, dict):
            raise ValueError(f"{url} gave no JSON object")
        return found


def _is_private(url: str, *, plain_here: bool) -> bool:
    """Return whether what a URL gives cannot be changed on its way: https, or on this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as an address of IPv6 without its end
        return False
    if parts.scheme == "https":
        return parts.hostname is not None
    local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    return plain_here and parts.scheme == "http" and local


class _PrivateRedirects(HTTPRedirectHandler):
    """Follows only redirects to addresses that are as private as the first one."""

    def __init__(self, *, plain_here: bool) -> None:
        self._plain_here = plain_here

    def redirect_request(  # noqa: PLR0917 - urllib's signature
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> Request | None:
        _check_private(newurl, plain_here=self._plain_here)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_private(url: object, *, plain_here: bool) -> None:
    if not isinstance(url, str) or not _is_private(url, plain_here=plain_here):
        raise ValueError(
            f"{url!r} is not an https URL; signing keys are taken over https alone, for whoever "
            "changes them on their way could sign any token"
        )


def new_entry(name: str, tenant: str, *, write: bool) -> tuple[str, str]:
    """Create a token, and its entry for the token file."""
    token = "vr_" + secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).hexdigest()
    lines = [f"[{json.dumps(name)}]", f"tenant = {json.dumps(tenant)}", f'sha256 = "{digest}"']
    return token, os.linesep.join([*lines, "write = true"] if write else lines)
