"""Who is let in: Host, Origin, token, rate and size, for requests and for sockets alike."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from tests.serving.fakes import fake_tenants
from tests.waiting import PATIENCE
from tests.web.conftest import Running, Serve
from voicerag_core.errors import ConfigError
from voicerag_core.serving import Exposure
from voicerag_core.serving.auth import new_entry
from voicerag_core.serving.tickets import Tickets

pytestmark = pytest.mark.enable_socket

DOORS = [
    ("GET", "/"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/metrics"),
    ("GET", "/v1/status"),
    ("GET", "/v1/models"),
    ("GET", "/v1/search?q=rhine"),
    ("POST", "/v1/search"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/audio/speech"),
    ("POST", "/v1/audio/transcriptions"),
    ("POST", "/v1/realtime/client_secrets"),
    ("GET", "/v1/realtime"),
    ("GET", "/nowhere"),
]


@pytest.fixture
def tokens(tmp_path: Path) -> dict[str, str]:
    """A token file with two tenants; the tokens by tenant, and the file's path."""
    file = tmp_path / "tokens.toml"
    entries, made = [], {}
    for tenant in ("acme", "other"):
        made[tenant], entry = new_entry(tenant, tenant, write=False)
        entries.append(entry)
    file.write_text("\n".join(entries))
    file.chmod(0o600)
    return {**made, "file": str(file)}


@pytest.fixture
def closed(serve: Serve, tokens: dict[str, str]) -> Iterator[Running]:
    """A server that asks for tokens; tenant acme has documents."""
    tenants, database = fake_tenants()
    database.fill("acme", **{"secret.txt": "The vault opens at nine."})
    with serve(tenants=tenants, token_file=tokens["file"]) as started:
        yield started


@pytest.mark.parametrize(("method", "path"), DOORS)
def test_no_door_answers_for_another_host_or_a_foreign_page(
    server: Running, method: str, path: str
) -> None:
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        rebound = client.request(method, path, headers={"Host": "evil.test"})
        assert rebound.status_code == 421
        assert "VOICERAG_SERVE_ALLOWED_HOSTS" in rebound.json()["error"]["message"]
        for origin in (
            "http://evil.test", "null", "http://127.0.0.1.evil.test", "file://", "http://[", "%",
        ):  # fmt: skip
            foreign = client.request(method, path, headers={"Origin": origin})
            assert foreign.status_code == 403, origin
            assert "VOICERAG_SERVE_ALLOWED_ORIGINS" in foreign.json()["error"]["message"]
            assert "access-control-allow-origin" not in foreign.headers


@pytest.mark.parametrize(("method", "path"), DOORS)
def test_every_door_but_health_page_and_voices_asks_for_a_token(
    closed: Running, method: str, path: str
) -> None:
    is_open = path in {"/", "/docs", "/health", "/ready"}
    with httpx.Client(base_url=closed.url, timeout=PATIENCE) as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}):
            answer = client.request(method, path, headers=headers)
            assert (answer.status_code == 401) is not is_open, (path, headers)
            if not is_open:
                assert answer.headers["www-authenticate"] == "Bearer"
                assert answer.json()["error"]["type"] == "authentication_error"


def test_a_token_opens_the_documents_of_its_tenant_alone(
    closed: Running, tokens: dict[str, str]
) -> None:
    with httpx.Client(base_url=closed.url, timeout=PATIENCE) as client:
        mine = client.get(
            "/v1/search?q=vault", headers={"Authorization": f"Bearer {tokens['acme']}"}
        )
        assert mine.json()["passages"][0]["text"] == "The vault opens at nine."
        theirs = client.get(
            "/v1/search?q=vault", headers={"Authorization": f"Bearer {tokens['other']}"}
        )
        assert theirs.status_code == 404
        assert "vault" not in theirs.text


async def refused(url: str, **how: object) -> int:
    """Return the status with which a socket is refused."""
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url, **how):  # type: ignore[arg-type]
            pass
    return caught.value.response.status_code


@pytest.mark.parametrize("path", ["/v1/realtime", "/realtime"])
async def test_a_page_from_elsewhere_cannot_open_a_session(server: Running, path: str) -> None:
    for origin in ("http://evil.test", "http://127.0.0.1:1", "null"):
        assert await refused(server.ws + path, origin=Origin(origin)) == 403
    port = int(server.url.rpartition(":")[2])
    assert await refused(f"ws://evil.test{path}", host="127.0.0.1", port=port) == 421
    async with connect(server.ws + path, origin=Origin(server.url)) as socket:
        assert json.loads(await socket.recv())["type"] == "session.created"


async def test_a_socket_without_a_valid_token_is_refused_before_it_is_accepted(
    closed: Running, tokens: dict[str, str]
) -> None:
    url = f"{closed.ws}/v1/realtime"
    assert await refused(url) == 401
    assert await refused(url, additional_headers={"Authorization": "Bearer wrong"}) == 401
    wrong = [Subprotocol("realtime"), Subprotocol("openai-insecure-api-key.wrong")]
    assert await refused(url, subprotocols=wrong) == 401
    right = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{tokens['acme']}")]
    async with connect(url, subprotocols=right) as socket:
        assert socket.subprotocol == "realtime"  # never the token
        assert json.loads(await socket.recv())["type"] == "session.created"
    headers = {"Authorization": f"Bearer {tokens['acme']}"}
    async with connect(url, additional_headers=headers) as socket:
        assert json.loads(await socket.recv())["type"] == "session.created"
    assert await refused(f"{url}?api_key={tokens['acme']}") == 401  # never in a URL


async def test_a_client_secret_opens_one_socket_from_its_origin(
    closed: Running, tokens: dict[str, str]
) -> None:
    def secret() -> str:
        answer = httpx.post(
            f"{closed.url}/v1/realtime/client_secrets",
            headers={"Authorization": f"Bearer {tokens['acme']}", "Origin": closed.url},
            json={"session": {"type": "realtime"}},
            timeout=PATIENCE,
        )
        return str(answer.json()["value"])

    async def session(value: str, origin: str) -> str:
        offered = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{value}")]
        url = f"{closed.ws}/v1/realtime"
        async with connect(url, subprotocols=offered, origin=Origin(origin)) as socket:
            return str(json.loads(await socket.recv())["type"])

    value = await asyncio.to_thread(secret)
    assert await session(value, closed.url) == "session.created"
    with pytest.raises(InvalidStatus):
        await session(value, closed.url)  # used
    value = await asyncio.to_thread(secret)
    with pytest.raises(InvalidStatus):
        await session(value, closed.url.replace("127.0.0.1", "localhost"))
    with httpx.Client(base_url=closed.url, timeout=PATIENCE) as client:
        value = await asyncio.to_thread(secret)
        answer = client.get("/v1/models", headers={"Authorization": f"Bearer {value}"})
        assert answer.status_code == 401  # for sockets alone


def test_a_client_secret_expires() -> None:
    from voicerag_core.serving import Caller

    now = [0.0]
    tickets = Tickets(60, clock=lambda: now[0])
    value, expires = tickets.issue(Caller("a", may_write=False), "c", "http://o")
    assert expires == 60
    now[0] = 60
    assert tickets.use(value, "http://o") is None


def test_pages_of_listed_origins_may_read_and_ask(serve: Serve) -> None:
    with (
        serve(allowed_origins="https://app.example.com") as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE) as client,
    ):
        origin = {"Origin": "https://app.example.com"}
        preflight = client.options(
            "/v1/chat/completions",
            headers={
                **origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type",
            },
        )
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == origin["Origin"]
        assert preflight.headers["access-control-allow-headers"] == "authorization,content-type"
        answer = client.get("/v1/models", headers=origin)
        assert answer.headers["access-control-allow-origin"] == origin["Origin"]
        foreign = client.options(
            "/v1/models",
            headers={"Origin": "https://evil.test", "Access-Control-Request-Method": "GET"},
        )
        assert foreign.status_code == 403


async def test_calls_and_sessions_are_limited_for_each_client(serve: Serve) -> None:
    with serve(calls_per_minute=3) as server:
        async with httpx.AsyncClient(base_url=server.url) as client:
            statuses = [(await client.get("/health")).status_code for _ in range(4)]
            assert statuses == [200, 200, 200, 429]
            late = await client.get("/health")
            assert int(late.headers["retry-after"]) > 0
            assert late.json()["error"]["code"] == "rate_limit_exceeded"
        assert await refused(f"{server.ws}/v1/realtime") == 429


async def test_a_token_has_so_many_sessions(closed: Running, tokens: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {tokens['acme']}"}
    url = f"{closed.ws}/v1/realtime"
    sockets = [await connect(url, additional_headers=headers) for _ in range(4)]
    for socket in sockets:
        assert json.loads(await socket.recv())["type"] == "session.created"
    async with connect(url, additional_headers=headers) as fifth:
        told = json.loads(await fifth.recv())
        assert told["error"]["code"] == "server_busy"
        await fifth.wait_closed()
        assert fifth.close_code == 1013
    other = {"Authorization": f"Bearer {tokens['other']}"}
    async with connect(url, additional_headers=other) as theirs:
        assert json.loads(await theirs.recv())["type"] == "session.created"
    for socket in sockets:
        await socket.close()


def test_a_body_that_is_too_large_is_refused_whatever_its_header_says(serve: Serve) -> None:
    with (
        serve(max_body_bytes=10_000) as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE) as client,
    ):
        body = b"x" * 20_000
        assert client.post("/v1/search", content=body).status_code == 413
        chunked = client.post("/v1/search", content=iter([body[:8000], body[:8000]]))
        assert chunked.status_code == 413
        assert chunked.json()["error"]["code"] == "request_too_large"


def test_a_page_gets_the_headers_that_keep_strangers_out(server: Running) -> None:
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        for path in ("/", "/docs", "/page/docs.js", "/v1/models"):
            headers = client.get(path).headers
            assert "default-src 'self'" in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["permissions-policy"].startswith("microphone=(self)")
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "given",
    [
        {"host": "0.0.0.0"},
        {"host": "0.0.0.0", "allowed_hosts": ("kb.example.com",)},
        {"host": "0.0.0.0", "token_file": Path("t.toml")},
        {"host": "::"},
        {"host": "127.0.0.1", "issuer": "https://id.example.com"},
        {"host": "127.0.0.1", "issuer": "https://i", "token_file": Path("t.toml")},
    ],
)
def test_a_server_is_not_exposed_without_tokens_and_names(given: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"X_|choose one"):
        Exposure(prefix="X_", **given).check()  # type: ignore[arg-type]
