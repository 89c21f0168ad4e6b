"""Tokens are granted by file or issuer, each for one tenant, and can be taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

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


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c.d", "x" * 9000 + ".b.c"])
def test_what_is_no_signed_token_is_never_looked_at(token: str) -> None:
    tokens = SignedTokens("https://id.example", "https://kb.example.com/mcp")
    tokens._key = None  # type: ignore[assignment] # asking for a key would fail
    assert tokens.grant(token) is None


def test_who_may_not_write_is_told() -> None:
    Caller("acme", may_write=True).check_may_write()
    with pytest.raises(ForbiddenError, match="lacks the scope 'voicerag:write'"):
        Caller("acme", may_write=False).check_may_write()
