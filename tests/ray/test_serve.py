"""The example that runs the MCP server on Ray Serve answers a client."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import new_database
from tests.tcp import reached_by_tcp
from voicerag_core.store import migrate

pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

ROOT = Path(__file__).parents[2]
PORT = 18_437


@pytest.fixture
def url(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    import ray
    from ray import serve

    with reached_by_tcp(new_database(server)) as dsn:
        migrate(dsn)
        monkeypatch.setenv("VOICERAG_DATABASE_URL", dsn)
        monkeypatch.setenv("VOICERAG_DATA_DIR", str(tmp_path))
        monkeypatch.setenv("VOICERAG_SPEAK", "false")
        path = [str(ROOT / "src"), str(ROOT / "mcp_server"), str(ROOT)]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")]))
        monkeypatch.syspath_prepend(str(ROOT))
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        try:
            from examples.ray_serve import app

            serve.start(http_options={"host": "127.0.0.1", "port": PORT})
            serve.run(app, name="voicerag", route_prefix="/")
            yield f"http://127.0.0.1:{PORT}/mcp"
        finally:
            serve.shutdown()
            ray.shutdown()


async def test_a_client_gives_it_a_document_and_asks_it(url: str) -> None:
    from mcp import Client

    async with Client(url) as client:
        document = {"text": "The Rhine rises in the Swiss Alps.", "source": "rhine.txt"}
        await client.call_tool("voice_ingest", document)
        answer = await client.call_tool("voice_ask", {"text": "Where does the Rhine rise?"})
    told = " ".join(part.text for part in answer.content if part.type == "text")
    assert "Swiss Alps" in told
