"""Tokens are granted by file or issuer, each for one tenant, and can be taken back."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from voicerag_core import ConfigError, ForbiddenError
from voicerag_core.serving import WRITE, Caller, Grant, SignedTokens, TokenFile
from voicerag_core.serving.auth import new_entry


def written(file: Path, *entries: str) -> Path:
    file.write_text("\n".join(entries))
    file.chmod(0o600)
    return file


def test_a_token_of_the_file_is_granted_its_tenant(tmp_path: Path) -> None:
    alice, first = new_entry("alice b", "acme", write=True)
    bob, second = new_entry("bob", "other", write=False)
    tokens = TokenFile(written(tmp_path / "tokens.toml", first, second))
    assert tokens.grant(alice) == Grant("acme", (WRITE,), "token:alice b", "acme")
    assert tokens.grant(bob) == Grant("other", (), "token:bob", "other")
    for unknown in ("", "vr_none", alice[:-1], "\ud800"):
        assert tokens.grant(unknown) is None


def test_a_token_is_taken_back_with_its_entry(tmp_path: Path) -> None:
    alice, entry = new_entry("alice", "acme", write=True)
    file = written(tmp_path / "tokens.toml", entry)
    tokens = TokenFile(file)
    assert tokens.grant(alice) is not None
    written(file, "# nobody")
    assert tokens.grant(alice) is None
    written(file, entry)
    assert tokens.grant(alice) is not None
    file.unlink()
    assert tokens.grant(alice) is None, "without its file nobody is let in"


@pytest.mark.parametrize(
    "content", ["[alice]\ntenant = 'a'\n", "not toml", "[a]\nsha256='x'\ntenant='t'"]
)
def test_a_bad_token_file_is_refused(tmp_path: Path, content: str) -> None:
    file = written(tmp_path / "tokens.toml", content)
    with pytest.raises(ConfigError, match="token file"):
        TokenFile(file)
    file.write_text("")
    file.chmod(0o666)
    with pytest.raises(ConfigError, match="chmod"):
        TokenFile(file)


def test_an_issuer_is_reached_safely() -> None:
    with pytest.raises(ConfigError, match="https"):
        SignedTokens("http://id.example", "https://kb.example.com/mcp")


RESOURCE = "https://kb.example.com/mcp"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Issuer:
    """An authorization server; `documents` are what it serves, an address is a redirect."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.documents: dict[str, dict[str, Any] | str] = {}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = issuer.documents.get(self.path)
                if isinstance(found, str):
                    self.send_response(302)
                    self.send_header("Location", found)
                    self.end_headers()
                    return
                self.send_response(404 if found is None else 200)
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def keys(self) -> dict[str, Any]:
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
        return {"keys": [{**public, "kid": "one", "alg": "RS256", "use": "sig"}]}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def token_of(issuer: str, kid: str = "one") -> str:
    claims = {"iss": issuer, "aud": RESOURCE, "exp": time.time() + 600, "sub": "u", "tenant": "t"}
    return jwt.encode(claims, KEY, "RS256", headers={"kid": kid})


@pytest.fixture
def issuers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Issuer, Issuer]]:
    """Give an issuer that speaks https, and a server that speaks plain http."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, KEY.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(KEY, hashes.SHA256())
    )
    file = tmp_path / "issuer.pem"
    file.write_bytes(
        KEY.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    private, plain = Issuer(file), Issuer()
    yield private, plain
    private.close()
    plain.close()


@pytest.mark.enable_socket
def test_keys_come_over_https_as_their_issuer_does(issuers: tuple[Issuer, Issuer]) -> None:
    private, plain = issuers
    metadata = "/.well-known/oauth-authorization-server"
    plain.documents = {
        "/keys": plain.keys(),
        "/meta": {"issuer": private.url, "jwks_uri": f"{private.url}/keys"},
    }

    def granted(jwks_uri: str, **documents: dict[str, Any] | str) -> bool:
        private.documents = {
            metadata: {"issuer": private.url, "jwks_uri": jwks_uri},
            "/keys": private.keys(),
            **{f"/{name}": value for name, value in documents.items()},
        }
        return SignedTokens(private.url, RESOURCE).grant(token_of(private.url)) is not None

    assert granted(f"{private.url}/keys")
    assert granted(f"{private.url}/moved", moved=f"{private.url}/keys")
    assert not granted(f"{plain.url}/keys")
    assert not granted(f"{private.url}/moved", moved=f"{plain.url}/keys")
    assert not granted("file:///etc/passwd")
    assert not granted(f"{private.url}/moved", moved="ftp://127.0.0.1/keys")
    private.documents = {metadata: f"{plain.url}/meta", "/keys": private.keys()}
    assert SignedTokens(private.url, RESOURCE).grant(token_of(private.url)) is None


@pytest.mark.enable_socket
def test_a_token_of_a_known_key_does_not_wait_for_the_issuer(
    issuers: tuple[Issuer, Issuer], monkeypatch: pytest.MonkeyPatch
) -> None:
    private, _ = issuers
    private.documents = {
        "/.well-known/oauth-authorization-server": {
            "issuer": private.url,
            "jwks_uri": f"{private.url}/keys",
        },
        "/keys": private.keys(),
    }
    tokens = SignedTokens(private.url, RESOURCE)
    assert tokens.grant(token_of(private.url)) is not None
    asked, answers = threading.Event(), threading.Event()

    def slowly() -> dict[str | None, Any]:
        asked.set()
        answers.wait(300)
        raise OSError("no answer")

    monkeypatch.setattr("voicerag_core.serving.auth._RETRY_SECONDS", 0.0)
    monkeypatch.setattr(tokens, "_fetch_keys", slowly)
    stranger = threading.Thread(target=tokens.grant, args=(token_of(private.url, "other"),))
    stranger.start()
    assert asked.wait(300)
    assert tokens.grant(token_of(private.url)) is not None
    answers.set()
    stranger.join(300)


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c.d", "x" * 9000 + ".b.c"])
def test_what_is_no_signed_token_is_never_looked_at(token: str) -> None:
    tokens = SignedTokens("https://id.example", "https://kb.example.com/mcp")
    tokens._key = None  # type: ignore[assignment] # asking for a key would fail
    assert tokens.grant(token) is None


def test_who_may_not_write_is_told() -> None:
    Caller("acme", may_write=True).check_may_write()
    with pytest.raises(ForbiddenError, match="lacks the scope 'voicerag:write'"):
        Caller("acme", may_write=False).check_may_write()


@pytest.mark.parametrize("issuer", ["https://[", "https://[::1", "http://[::1", "https://", "x"])
def test_an_issuer_that_is_no_address_is_refused(issuer: str) -> None:
    with pytest.raises(ConfigError, match="https URL"):
        SignedTokens(issuer, "https://kb.example.com/mcp")
