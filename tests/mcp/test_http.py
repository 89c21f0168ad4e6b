"""The server over HTTP: who gets in, what is refused, and that it stays up."""

from __future__ import annotations

import base64
import errno
import gc
import json
import os
import random
import resource
import time
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from tests.mcp.conftest import Open, Serve
from tests.waiting import PATIENCE
from voicerag_core import ConfigError
from voicerag_core.serving.auth import new_entry
from voicerag_mcp.server import build_server
from voicerag_mcp.service import Service
from voicerag_mcp.settings import load_server_settings

pytestmark = pytest.mark.enable_socket

ACCEPT = {"Accept": "application/json, text/event-stream"}


def message(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def post(url: str, body: Any = None, **headers: str) -> httpx2.Response:
    with httpx2.Client(timeout=PATIENCE) as http:
        return http.post(
            f"{url}/mcp", json=body or message("tools/list"), headers={**ACCEPT, **headers}
        )


def answer_of(response: httpx2.Response) -> dict[str, Any]:
    """The JSON-RPC answer, whether it came as JSON or as an event."""
    for line in response.text.splitlines():
        if line.startswith("data: {"):
            return json.loads(line[6:])  # type: ignore[no-any-return]
    return response.json()  # type: ignore[no-any-return]


def is_up(url: str, **headers: str) -> bool:
    answer = answer_of(
        post(
            url, message("tools/call", name="voice_search", arguments={"text": "rhine"}), **headers
        )
    )
    return "Swiss Alps" in answer["result"]["content"][0]["text"]


def test_a_foreign_host_is_misdirected(service: Service, serve: Serve) -> None:
    with serve(service) as url:
        foreign = post(url, Host="evil.example")
        assert foreign.status_code == 421
        assert "VOICERAG_MCP_ALLOWED_HOSTS" in foreign.json()["error"]
        assert post(url, Host="127.0.0.1.evil.example:80").status_code == 421
        assert post(url, Origin="https://evil.example").status_code == 403
        with httpx2.Client(timeout=PATIENCE) as http:
            refused = http.post(f"{url}/clips", headers={"Host": "evil.example"}, content=b"x")
            assert refused.status_code == 421
        assert is_up(url)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "kb.example.com"])
def test_a_public_address_needs_tokens_and_a_name(host: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without asking for a token"):
        load_server_settings(host=host).check_exposure()
    tokens = tmp_path / "tokens.toml"
    with pytest.raises(ConfigError, match="its own name"):
        load_server_settings(host=host, token_file=tokens).check_exposure()
    load_server_settings(host=host, token_file=tokens, allowed_hosts="kb.example").check_exposure()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_this_machine_needs_none(host: str) -> None:
    load_server_settings(host=host).check_exposure()


def tokens_for(folder: Path, *who: tuple[str, str, bool]) -> tuple[Path, list[str]]:
    file, tokens = folder / "tokens.toml", []
    with file.open("w") as lines:
        for name, tenant, write in who:
            token, entry = new_entry(name, tenant, write=write)
            tokens.append(token)
            lines.write(entry + "\n")
    file.chmod(0o600)
    return file, tokens


def test_a_token_is_needed_and_names_the_tenant(
    opened: Open, serve: Serve, tmp_path: Path, wav: bytes
) -> None:
    file, (alice, bob) = tokens_for(tmp_path, ("alice", "default", True), ("bob", "other", False))
    service = opened(token_file=file, public_url="https://kb.example.com/mcp")
    with serve(service) as url:
        for header in ({}, {"Authorization": "Bearer no"}, {"Authorization": f"Basic {alice}"}):
            refused = post(url, **header)
            assert refused.status_code == 401
            asked = refused.headers["www-authenticate"]
            where = "https://kb.example.com/.well-known/oauth-protected-resource/mcp"
            assert f'resource_metadata="{where}"' in asked
        with httpx2.Client(timeout=PATIENCE) as http:
            assert http.post(f"{url}/clips", content=wav).status_code == 401
            metadata = http.get(f"{url}/.well-known/oauth-protected-resource/mcp").json()
        assert metadata["resource"] == "https://kb.example.com/mcp"
        assert is_up(url, Authorization=f"Bearer {alice}")
        bobs = {"Authorization": f"Bearer {bob}"}
        call = message("tools/call", name="voice_search", arguments={"text": "rhine"})
        assert "nothing has been indexed" in post(url, call, **bobs).text
        call = message("tools/call", name="voice_ingest", arguments={"text": "x", "source": "s"})
        assert "may not write" in post(url, call, **bobs).text
        with httpx2.Client(timeout=PATIENCE, headers={"Authorization": f"Bearer {alice}"}) as http:
            clip = http.post(f"{url}/clips", files={"file": wav}).json()["clip"]
        call = message("tools/call", name="voice_transcribe", arguments={"clip": clip})
        assert "there is no clip" in post(url, call, **bobs).text
        assert "rhine" in post(url, call, Authorization=f"Bearer {alice}").text
        call = message("resources/read", uri=f"voicerag://clip/{clip}")
        assert "there is no clip" in post(url, call, **bobs).text


def test_a_token_is_taken_back_at_once(opened: Open, serve: Serve, tmp_path: Path) -> None:
    file, (alice,) = tokens_for(tmp_path, ("alice", "default", True))
    with serve(opened(token_file=file)) as url:
        assert is_up(url, Authorization=f"Bearer {alice}")
        file.write_text("# nobody")
        assert post(url, Authorization=f"Bearer {alice}").status_code == 401
        file.unlink()
        assert post(url, Authorization=f"Bearer {alice}").status_code == 401


class Issuer:
    """An authorization server: metadata, keys, and tokens signed by them."""

    def __init__(self, serve_files: Any) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.url = serve_files(self)

    def document(self, path: str) -> dict[str, Any] | None:
        if path == "/.well-known/oauth-authorization-server":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        if path == "/keys":
            public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
            return {"keys": [{**public, "kid": "one", "alg": "RS256", "use": "sig"}]}
        return None

    def token(self, key: Any = None, algorithm: str = "RS256", **claims: Any) -> str:
        body = {
            "iss": self.url,
            "aud": RESOURCE,
            "exp": time.time() + 60,
            "sub": "u1",
            "tenant": "default",
            "scope": "openid voicerag:write",
        }
        signing: Any = None if algorithm == "none" else key or self.key
        return jwt.encode({**body, **claims}, signing, algorithm, headers={"kid": "one"})


RESOURCE = "https://kb.example.com/mcp"


@pytest.fixture
def issuer() -> Any:
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    started: list[ThreadingHTTPServer] = []

    def serve_files(of: Issuer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = of.document(self.path)
                self.send_response(200 if found else 404)
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield Issuer(serve_files)
    for server in started:
        server.shutdown()
        server.server_close()


def test_tokens_of_an_issuer_are_verified(opened: Open, serve: Serve, issuer: Issuer) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    bad = {
        "expired": issuer.token(exp=time.time() - 600),
        "for another server": issuer.token(aud="https://other.example/mcp"),
        "of another issuer": issuer.token(iss="https://evil.example"),
        "signed by another key": issuer.token(key=other),
        "signed by a shared secret": issuer.token(key="x" * 64, algorithm="HS256"),
        "not signed": issuer.token(algorithm="none"),
        "without tenant": issuer.token(tenant=None),
        "with an odd tenant": issuer.token(tenant=["default"]),
        "garbage": "a.b.c",
    }  # fmt: skip
    with serve(opened(issuer=issuer.url, public_url=RESOURCE)) as url:
        for what, token in bad.items():
            assert post(url, Authorization=f"Bearer {token}").status_code == 401, what
        assert is_up(url, Authorization=f"Bearer {issuer.token()}")
        reader = issuer.token(scope="openid")
        call = message("tools/call", name="voice_ingest", arguments={"text": "x", "source": "s"})
        assert "may not write" in post(url, call, Authorization=f"Bearer {reader}").text
        stranger = issuer.token(tenant="other")
        call = message("tools/call", name="voice_search", arguments={"text": "rhine"})
        assert "nothing has been" in post(url, call, Authorization=f"Bearer {stranger}").text
        with httpx2.Client(timeout=PATIENCE) as http:
            metadata = http.get(f"{url}/.well-known/oauth-protected-resource/mcp").json()
    assert metadata["authorization_servers"] == [issuer.url]
    assert metadata["resource"] == RESOURCE


def test_an_issuer_needs_our_url() -> None:
    with pytest.raises(ConfigError, match="PUBLIC_URL"):
        load_server_settings(issuer="https://id.example").check_exposure()
    with pytest.raises(ConfigError, match="choose one"):
        load_server_settings(
            issuer="https://id.example", public_url=RESOURCE, token_file="t"
        ).check_exposure()


def test_clips_are_uploaded(opened: Open, serve: Serve, wav: bytes) -> None:
    with serve(opened(max_audio_bytes=50_000)) as url, httpx2.Client(timeout=PATIENCE) as http:
        for sent in ({"files": {"any": ("q.wav", wav)}}, {"content": wav}):
            kind = {} if "files" in sent else {"Content-Type": "audio/wav"}
            kept = http.post(f"{url}/clips", headers=kind, **sent)
            assert kept.status_code == 201, kept.text
            assert kept.json()["seconds"] == 1.0
            call = message(
                "tools/call", name="voice_search", arguments={"clip": kept.json()["uri"]}
            )
            assert "Swiss Alps" in post(url, call).text
        sound = {"Content-Type": "audio/wav"}
        assert http.post(f"{url}/clips", content=b"no sound", headers=sound).status_code == 400
        assert http.post(f"{url}/clips", content=b"", headers=sound).status_code == 400
        assert http.post(f"{url}/clips", content=b"x" * 80_000, headers=sound).status_code == 413
        assert http.post(f"{url}/clips", content=wav).status_code == 415
        assert http.post(f"{url}/clips", files={"a": wav, "b": wav}).status_code == 400
        assert http.post(f"{url}/clips", data={"a": "text"}).status_code == 415
        assert http.get(f"{url}/clips").status_code == 405
        broken = {"Content-Type": "multipart/form-data; boundary=x"}
        assert (
            http.post(f"{url}/clips", content=b"--x\r\nbroken", headers=broken).status_code == 400
        )
        assert is_up(url)


def test_an_upload_that_finds_no_room_is_told(
    opened: Open, serve: Serve, wav: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("starlette.datastructures.UploadFile.read", full)
    with serve(opened()) as url, httpx2.Client(timeout=PATIENCE) as http:
        refused = http.post(f"{url}/clips", files={"a": wav})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "60")
        assert is_up(url)


def test_a_body_too_large_is_refused(opened: Open, serve: Serve) -> None:
    with serve(opened(max_body_bytes=100_000)) as url:
        large = base64.b64encode(os.urandom(200_000)).decode()
        call = message("tools/call", name="voice_search", arguments={"audio_base64": large})
        assert post(url, call).status_code == 413
        assert is_up(url)


def test_a_client_that_calls_too_often_waits(opened: Open, serve: Serve) -> None:
    with serve(opened(calls_per_minute=5)) as url:
        codes = [post(url).status_code for _ in range(7)]
        refused = post(url)
    assert codes[:5] == [200] * 5
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60


async def test_a_token_works_with_the_official_client(
    opened: Open, serve: Serve, tmp_path: Path
) -> None:
    file, (alice, bob) = tokens_for(tmp_path, ("alice", "default", True), ("bob", "b", False))
    for sessions in (False, True):
        with serve(opened(token_file=file, sessions=sessions)) as url:
            headers = {"Authorization": f"Bearer {alice}"}
            async with (
                httpx2.AsyncClient(timeout=PATIENCE, headers=headers) as http,
                Client(
                    streamable_http_client(f"{url}/mcp", http_client=http),
                    mode="legacy" if sessions else "auto",
                ) as client,
            ):
                result = await client.call_tool("voice_ask", {"text": "where does the rhine rise"})
                assert "Swiss Alps" in str(result.content)
                http.headers["Authorization"] = f"Bearer {bob}"
                if sessions:
                    with pytest.raises(MCPError):
                        await client.call_tool("voice_status", {})
            headers = {"Authorization": f"Bearer {bob}"}
            async with (
                httpx2.AsyncClient(timeout=PATIENCE, headers=headers) as http,
                Client(
                    streamable_http_client(f"{url}/mcp", http_client=http),
                    mode="legacy" if sessions else "auto",
                ) as client,
            ):
                result = await client.call_tool("voice_search", {"text": "rhine"})
                assert "nothing has been indexed" in str(result.content)
                result = await client.call_tool("voice_ingest", {"text": "x"})
                assert "may not write" in str(result.content)


async def test_a_call_that_lost_its_token_is_nobodys(opened: Open, tmp_path: Path) -> None:
    file, _ = tokens_for(tmp_path, ("alice", "default", True))
    async with Client(build_server(opened(token_file=file))) as client:
        for tool in ("voice_search", "voice_ingest"):
            result = await client.call_tool(tool, {"text": "rhine"})
            assert result.is_error
            assert "without a token" in str(result.content)


def malformed(random_: random.Random) -> bytes:
    good = json.dumps(message("tools/call", name="voice_search", arguments={"text": "rhine"}))
    kinds: list[bytes] = [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 2000, b"1e999", b'{"jsonrpc":"1.0"}',
        b'{"jsonrpc":"2.0","id":{},"method":"tools/list"}',
        b'{"jsonrpc":"2.0","id":1,"method":7}',
        b'{"jsonrpc":"2.0","id":1,"method":"no/such"}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"none"}}',
        json.dumps(message("tools/call", name="voice_search", arguments={"text": [], "limit": "x"}))
        .encode(),
        b'{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"voicerag://"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":1}}',
    ]  # fmt: skip
    if random_.random() < 0.5:
        return random_.choice(kinds)
    cut = bytearray(good.encode())
    for _ in range(random_.randint(1, 8)):
        cut[random_.randrange(len(cut))] = random_.randrange(256)
    return bytes(cut[: random_.randrange(len(cut))])


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_malformed_messages_change_nothing(opened: Open, serve: Serve) -> None:
    random_ = random.Random(4)
    with (
        serve(opened(calls_per_minute=1_000_000)) as url,
        httpx2.Client(
            timeout=PATIENCE, headers={**ACCEPT, "Content-Type": "application/json"}
        ) as http,
    ):

        def send(count: int) -> None:
            for number in range(count):
                era = {"MCP-Protocol-Version": "2026-07-28"} if number % 3 == 0 else {}
                code = http.post(f"{url}/mcp", content=malformed(random_), headers=era).status_code
                assert code < 500

        send(200)
        gc.collect()
        before = resident_bytes()
        send(1000)
        gc.collect()
        assert resident_bytes() - before < 20_000_000
        assert is_up(url)


def test_nothing_that_was_asked_is_logged(
    opened: Open, serve: Serve, wav: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with serve(opened()) as url:
        for tool in ("voice_search", "voice_ask"):
            arguments = {"text": "rhine swordfish"}
            post(url, message("tools/call", name=tool, arguments=arguments))
            sound = base64.b64encode(wav).decode()
            post(url, message("tools/call", name=tool, arguments={"audio_base64": sound}))
    assert "swordfish" not in caplog.text
    assert "UklGR" not in caplog.text


@pytest.mark.parametrize("address", ["https://[", "x", "http://a b", "https://h:99999", "ftp://h"])
def test_a_public_address_that_is_none_is_refused_as_a_setting(address: str) -> None:
    with pytest.raises(ConfigError, match=r"public_url.*is not an address"):
        load_server_settings(public_url=address)
