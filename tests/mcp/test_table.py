"""A server on a table that another program fills: it only reads, and each tenant its own rows."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from mcp import Client

from tests.conftest import new_database
from tests.mcp.test_tools import text_of
from voicerag_core import ConfigError, ForbiddenError, load_settings
from voicerag_core.local.minilm import MiniLMEmbedder
from voicerag_core.serving import Job, open_tenants
from voicerag_mcp.cli import _parser
from voicerag_mcp.server import build_server, open_service
from voicerag_mcp.settings import load_server_settings

ROWS = [
    ("docs", "acme", "The bakery opens at seven."),
    ("docs", "other", "The Rhine rises in the Swiss Alps."),
    ("letters", "acme", "Penicillin was discovered by Alexander Fleming."),
]


@pytest.fixture(scope="module")
def url(server: str) -> str:
    dsn = new_database(server)
    vectors = MiniLMEmbedder().embed_passages([text for _, _, text in ROWS])
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(
            "CREATE TABLE document_chunk (id text PRIMARY KEY, vector vector(384), collection_name "
            "text NOT NULL, text text, vmetadata jsonb, org text)"
        )
        for (collection, org, text), row in zip(ROWS, vectors, strict=True):
            connection.execute(
                "INSERT INTO document_chunk VALUES (%s, %s::real[]::vector, %s, %s, '{}', %s)",
                (text[:8], row.tolist(), collection, text, org),
            )
    return dsn


@pytest.fixture(autouse=True)
def _environment(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DATABASE_URL": url, "TABLE": "document_chunk", "DATA_DIR": str(tmp_path), "SPEAK": "false"
    }.items():  # fmt: skip
        monkeypatch.setenv(f"VOICERAG_{name}", value)


async def test_tools_search_it_and_none_writes() -> None:
    assert _parser().parse_args(["--table", "document_chunk"]).table == "document_chunk"
    with open_service(load_settings(), load_server_settings()) as service:
        async with Client(build_server(service)) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert "voice_ingest" not in names
            listed = await client.call_tool("voice_collections", {})
            assert text_of(listed).splitlines() == ["docs: 2 passages", "letters: 1 passages"]
            question = {"text": "who discovered penicillin"}
            found = await client.call_tool("voice_search", question)
            assert "Fleming" in text_of(found)
            within = {**question, "collection": "docs"}
            assert "Fleming" not in text_of(await client.call_tool("voice_search", within))
            asked = await client.call_tool("voice_ask", question)
            assert "Fleming" in text_of(asked)
            absent = await client.call_tool("voice_search", {**question, "collection": "absent"})
            assert absent.is_error
            assert "docs, letters" in text_of(absent)
            status = await client.call_tool("voice_status", {})
            assert not status.is_error, text_of(status)


def test_without_a_column_of_tenants_it_is_that_of_one() -> None:
    with open_tenants(load_settings(tenant="acme")) as tenants:
        with tenants.rag(Job(), "acme", None) as rag:
            assert rag.store.count() == 3
        with (
            pytest.raises(ForbiddenError, match="VOICERAG_TABLE_TENANT_COLUMN"),
            tenants.rag(Job(), "other", None),
        ):
            pass
        with pytest.raises(ForbiddenError), tenants.rag(Job(), "acme", None, write=True):
            pass


def test_with_one_each_tenant_sees_its_rows() -> None:
    with open_tenants(load_settings(table_tenant_column="org")) as tenants:
        for tenant, collection, rows in (
            ("acme", None, 2), ("other", None, 1), ("acme", "docs", 1), ("x' OR true --", None, 0)
        ):  # fmt: skip
            with tenants.rag(Job(), tenant, collection) as rag:
                assert rag.store.count() == rows
        assert [one.passages for one in tenants.collections("other")] == [1]
    with (
        open_tenants(load_settings(table_tenant_column="nothing")) as tenants,
        pytest.raises(ConfigError, match="no column 'nothing'"),
        tenants.rag(Job(), "acme", None),
    ):
        pass
