"""What stands before the server over HTTP: web pages, paths, methods, liveness, shares."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.mcp.conftest import Open, Serve
from tests.mcp.test_http import ACCEPT, answer_of, message, post, tokens_for
from tests.waiting import PATIENCE, wait_until
from voicerag_core import ConfigError
from voicerag_mcp.settings import load_server_settings

pytestmark = pytest.mark.enable_socket

PAGE = "https://app.example.com"
HELLO = message(
    "initialize",
    protocolVersion="2025-06-18",
    capabilities={},
    clientInfo={"name": "page", "version": "1"},
)


def request(method: str, url: str, **headers: str) -> httpx2.Response:
    with httpx2.Client(timeout=PATIENCE) as http:
        return http.request(method, url, headers={**ACCEPT, **headers})


def preflight(url: str, origin: str, headers: str = "content-type,authorization") -> Any:
    return request(
        "OPTIONS",
        url,
        Origin=origin,
        **{"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": headers},
    )


@pytest.mark.parametrize("sessions", [False, True])
def test_a_named_web_page_may_call_and_read(
    opened: Open, serve: Serve, tmp_path: Path, wav: bytes, sessions: bool
) -> None:
    file, (alice,) = tokens_for(tmp_path, ("alice", "default", True))
    with serve(
        opened(token_file=file, allowed_origins=f"{PAGE},http://localhost:*", sessions=sessions)
    ) as url:
        for origin in (PAGE, "http://localhost:6274"):
            for path in ("/mcp", "/clips", "/mcp/"):
                names = "content-type,authorization,mcp-protocol-version,mcp-session-id"
                reply = preflight(url + path, origin, names)
                assert reply.status_code == 200
                assert reply.headers["access-control-allow-origin"] == origin
                allowed = reply.headers["access-control-allow-headers"].lower()
                assert set(names.split(",")) <= {one.strip() for one in allowed.split(",")}
                assert "POST" in reply.headers["access-control-allow-methods"]
        whoever = post(url, HELLO, Origin=PAGE)
        assert whoever.status_code == 401
        assert whoever.headers["access-control-allow-origin"] == PAGE, "a page reads its refusal"
        answer = post(url, HELLO, Origin=PAGE, Authorization=f"Bearer {alice}")
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "origin" in answer.headers["vary"].lower()
        exposed = answer.headers["access-control-expose-headers"].lower()
        assert {"mcp-session-id", "www-authenticate"} <= {one.strip() for one in exposed.split(",")}
        assert ("mcp-session-id" in answer.headers) is sessions
        with httpx2.Client(timeout=PATIENCE) as http:
            kept = http.post(
                f"{url}/clips",
                content=wav,
                headers={
                    "Origin": PAGE,
                    "Authorization": f"Bearer {alice}",
                    "Content-Type": "audio/wav",
                },
            )
        assert (kept.status_code, kept.headers["access-control-allow-origin"]) == (201, PAGE)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.example",
        "https://evil-app.example.com",
        "http://localhostile:6274",
        "http://localhost:6274.evil.example",
        "null",
    ],
)
def test_no_other_page_is_let_in(opened: Open, serve: Serve, origin: str) -> None:
    with serve(opened(allowed_origins=f"{PAGE},http://localhost:*")) as url:
        for reply in (preflight(f"{url}/mcp", origin), post(url, HELLO, Origin=origin)):
            assert reply.status_code in (400, 403)
            assert "access-control-allow-origin" not in reply.headers


def test_pages_of_this_machine_are_let_in_only_when_they_are_named(
    opened: Open, serve: Serve
) -> None:
    with serve(opened()) as url:
        assert preflight(f"{url}/mcp", "http://localhost:6274").status_code == 405
        reply = post(url, HELLO, Origin="http://localhost:6274")
        assert "access-control-allow-origin" not in reply.headers


def test_an_origin_is_kept_as_browsers_send_it() -> None:
    settings = load_server_settings(
        allowed_origins="HTTPS://App.Example.com/, https://a.example:443,http://b.example:80,"
        "http://[::1]:5173,http://localhost:*"
    )
    assert settings.allowed_origins == (
        "https://app.example.com",
        "https://a.example",
        "http://b.example",
        "http://[::1]:5173",
        "http://localhost:*",
    )


@pytest.mark.parametrize(
    "wrong", ["*", "null", "app.example.com", "https://*.example.com", "https://a.example/page",
              "ftp://a.example", "https://", "https://user@a.example", "https://a.example:x"],
)  # fmt: skip
def test_what_is_no_origin_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"allowed_origins.*is not the origin"):
        load_server_settings(allowed_origins=wrong)


def test_without_sessions_there_is_no_stream_to_get(opened: Open, serve: Serve) -> None:
    with serve(opened()) as url:
        for method in ("GET", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"):
            for path in ("/mcp", "/mcp/"):
                reply = request(method, url + path)
                assert reply.status_code == 405, method
                assert reply.headers["allow"] == "POST"
                assert "mcp-session-id" not in reply.headers


def test_with_sessions_there_is_one_and_other_methods_open_none(opened: Open, serve: Serve) -> None:
    with serve(opened(sessions=True)) as url:
        session = post(url, HELLO).headers["mcp-session-id"]
        with (
            httpx2.Client(timeout=PATIENCE) as http,
            http.stream(
                "GET", f"{url}/mcp", headers={**ACCEPT, "Mcp-Session-Id": session}
            ) as stream,
        ):
            assert stream.status_code == 200
        for method in ("OPTIONS", "PUT", "HEAD"):
            reply = request(method, f"{url}/mcp")
            assert reply.status_code == 405
            assert "mcp-session-id" not in reply.headers
        assert request("DELETE", f"{url}/mcp", **{"Mcp-Session-Id": session}).status_code == 200


@pytest.mark.parametrize("forwarded", [{}, {"X-Forwarded-Proto": "https"}])
def test_a_trailing_slash_is_no_other_address(
    opened: Open, serve: Serve, wav: bytes, forwarded: dict[str, str]
) -> None:
    with serve(opened()) as url, httpx2.Client(timeout=PATIENCE) as http:
        for path in ("/mcp", "/mcp/", "/mcp//"):
            reply = http.post(url + path, json=HELLO, headers={**ACCEPT, **forwarded})
            assert reply.status_code == 200
            assert "result" in answer_of(reply)
        sound = {"Content-Type": "audio/wav", **forwarded}
        assert http.post(f"{url}/clips/", content=wav, headers=sound).status_code == 201
        for path in ("/nothing", "/nothing/", "/mcp/more", "//mcp", "/"):
            reply = http.post(url + path, json=HELLO, headers={**ACCEPT, **forwarded})
            assert reply.status_code == 404, path
            assert "location" not in reply.headers


def test_health_is_told_to_whoever_asks(opened: Open, serve: Serve, tmp_path: Path) -> None:
    file, _ = tokens_for(tmp_path, ("alice", "default", True))
    with serve(opened(token_file=file, calls_per_minute=1)) as url:
        for _ in range(5):
            for headers in ({}, {"Host": "10.1.2.3:8000"}, {"Origin": "https://evil.example"}):
                reply = request("GET", f"{url}/health", **headers)
                assert (reply.status_code, reply.json()) == (200, {"status": "ok"})
                assert "access-control-allow-origin" not in reply.headers
        assert request("HEAD", f"{url}/health").content == b""
        assert request("GET", f"{url}/health/").status_code == 200
        refused = request("POST", f"{url}/health")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


def test_the_tokens_of_a_tenant_share_its_rate(opened: Open, serve: Serve, tmp_path: Path) -> None:
    file, (one, two, bob) = tokens_for(
        tmp_path, ("one", "acme", True), ("two", "acme", True), ("bob", "other", True)
    )
    with serve(opened(token_file=file, calls_per_minute=4, tenant_calls_per_minute=6)) as url:
        codes = [post(url, Authorization=f"Bearer {token}").status_code for token in (one, two) * 4]
        assert codes[:6] == [200] * 6
        assert codes[6:] == [429] * 2
        assert post(url, Authorization=f"Bearer {bob}").status_code == 200


def _sent(url: str, *parts: bytes) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), PATIENCE)
    for part in parts:
        connection.sendall(part)
    return connection


def _head(path: str, length: int, **headers: str) -> bytes:
    lines = {"Host": "127.0.0.1", "Content-Length": str(length), **ACCEPT, **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode()


@pytest.mark.parametrize(
    ("path", "kind"), [("/mcp", "application/json"), ("/clips", "audio/wav"),
                       ("/clips", "multipart/form-data; boundary=x"), ("/clips", "text/plain")],
)  # fmt: skip
def test_a_client_that_leaves_in_its_body_leaves_no_trace(
    opened: Open, serve: Serve, caplog: pytest.LogCaptureFixture, path: str, kind: str
) -> None:
    service = opened()
    with serve(service) as url:
        for _ in range(3):
            _sent(url, _head(path, 500, **{"Content-Type": kind}), b'{"jsonrpc"').close()
        assert post(url).status_code == 200
        wait_until(lambda: service.serving.workers.unfinished == 0)
    assert "Traceback" not in caplog.text
    assert "Exception" not in caplog.text


def test_the_bodies_that_a_tenant_sends_at_once_are_bounded(opened: Open, serve: Serve) -> None:
    size = 50_000
    with serve(opened(max_body_bytes=size, max_audio_bytes=1000)) as url:
        half = _head("/mcp", size, **{"Content-Type": "application/json"}), b"x" * (size - 1)
        held = [_sent(url, *half) for _ in range(8)]
        try:
            refused = post(url, message("tools/list", filler="x" * 1000))
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        finally:
            for connection in held:
                connection.close()
        wait_until(lambda: post(url).status_code == 200)
