"""The MCP server in the process of the web server."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from mcp import Client

from tests.web.conftest import Serve
from voicerag_core.serving.auth import new_entry

pytestmark = pytest.mark.enable_socket

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
ACCEPT = {"Accept": "application/json, text/event-stream"}


async def test_a_client_of_mcp_asks_the_same_documents(serve: Serve) -> None:
    with serve(mcp=True) as server:
        async with Client(f"{server.url}/mcp") as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            found = await client.call_tool("voice_search", {"text": "where does the rhine rise"})
        assert "voice_ask" in names
        assert "voice_ingest" not in names
        assert "Swiss Alps" in str(found.content)
        assert server.service.serving.workers.unfinished == 0


def test_the_guard_stands_before_it(serve: Serve, tmp_path: Path) -> None:
    token, entry = new_entry("a", "default", write=False)
    file = tmp_path / "tokens.toml"
    file.write_text(entry)
    file.chmod(0o600)
    with serve(mcp=True, token_file=file) as server:
        for path in ("/mcp", "/clips"):
            url = server.url + path
            assert httpx.post(url, json=LIST).status_code == 401
            assert httpx.post(url, json=LIST, headers={"Host": "evil.test"}).status_code == 421
            foreign = httpx.post(url, json=LIST, headers={"Origin": "http://evil.test"})
            assert foreign.status_code == 403
        mine = {"Authorization": f"Bearer {token}", **ACCEPT}
        assert "voice_ask" in httpx.post(f"{server.url}/mcp", json=LIST, headers=mine).text


def test_without_the_option_there_is_none(serve: Serve) -> None:
    with serve() as server:
        assert httpx.post(f"{server.url}/mcp", json=LIST, headers=ACCEPT).status_code == 404
