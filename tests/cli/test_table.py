"""``voicerag table``, and ``--table``, on a database that only another program has ever written."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.conftest import new_database
from voicerag_core.local.minilm import MiniLMEmbedder

Voicerag = Callable[..., "subprocess.CompletedProcess[str]"]

TEXTS = [
    ("The bakery opens at seven. It is closed on Mondays.", "bakery.md", "en"),
    ("The Rhine rises in the Swiss Alps and ends in the North Sea.", "rhine.md", "en"),
    ("Alexander Fleming discovered penicillin in 1928.", "drugs.md", "en"),
    ("Contracts are signed by the board.", "board.md", "de"),
]


@pytest.fixture(scope="module")
def url(server: str) -> Iterator[str]:
    """A database with a table like Supabase's, and one that its vectors do not fit."""
    dsn = new_database(server)
    rows = MiniLMEmbedder().embed_passages([text for text, _, _ in TEXTS])
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        for table, dim in (("documents", 384), ("turned", 384)):
            connection.execute(
                f"CREATE TABLE {table} (id bigserial PRIMARY KEY, content text, metadata jsonb, "
                f"embedding vector({dim}))".encode()
            )
            for (text, source, language), row in zip(TEXTS, rows, strict=True):
                vector = (row if table == "documents" else row[::-1]).tolist()
                entries = json.dumps({"source": source, "lang": language})
                connection.execute(
                    f"INSERT INTO {table} (content, metadata, embedding) VALUES "
                    "(%s, %s, %s::real[]::vector)".encode(),
                    (text, entries, vector),
                )
    yield dsn
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT to_regnamespace('voicerag')").fetchone()
    assert row == (None,), "nothing of voicerag was made there"


def test_tables_are_listed(voicerag: Voicerag, url: str) -> None:
    shown = voicerag("table", "list", "--database-url", url)
    assert shown.returncode == 0, shown.stderr
    assert "public.documents.embedding vector(384)" in shown.stdout
    value = json.loads(voicerag("table", "list", "--database-url", url, "--json").stdout)
    (found,) = (one for one in value["tables"] if one["table"] == "public.documents")
    assert found["readable"] is True
    assert found["indexes"] == []
    without = voicerag("table", "list")
    assert without.returncode == 1
    assert "VOICERAG_DATABASE_URL" in without.stderr


def test_a_table_is_inspected(voicerag: Voicerag, url: str) -> None:
    shown = voicerag("table", "inspect", "documents", "--database-url", url)
    assert shown.returncode == 0, shown.stderr
    for line in (
        "public.documents (Spring AI, Supabase or alike)", "content", "vector(384)", "same",
        "no index serves a search", "GRANT SELECT ON public.documents TO reader",
        'USING hnsw ("embedding" vector_cosine_ops)',
    ):  # fmt: skip
        assert line in shown.stdout
    value = json.loads(
        voicerag("table", "inspect", "documents", "--database-url", url, "--json").stdout
    )
    assert value["rows"] == 4
    assert value["model"]["verdict"] == "same"
    other = voicerag("table", "inspect", "turned", "--database-url", url)
    assert other.returncode == 1
    assert "another model" in other.stdout


def test_questions_are_answered_from_a_table(
    voicerag: Voicerag, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("--table", "public.documents", "--database-url", url)
    spoken = tmp_path / "question.wav"
    assert voicerag("speak", "When does the bakery open?", "--out", spoken).returncode == 0
    for question in (("--text", "When does the bakery open?"), ("--audio", spoken)):
        shown = voicerag("ask", *question, "--no-speech", "--json", *given)
        assert shown.returncode == 0, shown.stderr
        value = json.loads(shown.stdout)
        assert "seven" in value["answer"]
        assert value["hits"][0]["source"] == "bakery.md"
    found = voicerag("search", "--text", "contracts", "--where", "lang=de", "--json", *given)
    assert [hit["source"] for hit in json.loads(found.stdout)["hits"]] == ["board.md"]
    monkeypatch.setenv("VOICERAG_TABLE", "turned")
    refused = voicerag("search", "--text", "contracts", "--database-url", url)
    assert refused.returncode == 1
    assert "another model" in refused.stderr
    written = voicerag("index", spoken.parent, "--database-url", url)
    assert written.returncode == 1
    nowhere = voicerag("search", "--text", "contracts", "--table", "documents")
    assert "VOICERAG_DATABASE_URL" in nowhere.stderr
