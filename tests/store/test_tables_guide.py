"""The Python of docs/tables.md is run as it stands, on a table of another program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from tests.conftest import new_database
from tests.pages import ROOT, snippets
from voicerag_core import write_wav
from voicerag_core.local.minilm import MiniLMEmbedder
from voicerag_core.local.speaking.speaker import PiperSpeaker

TEXTS = ["The bakery opens at seven.", "Contracts are signed by the board."]


def test_the_guide_runs(
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = new_database(server)
    embeddings = DeterministicFakeEmbedding(size=16)
    ours = MiniLMEmbedder().embed_passages(TEXTS).tolist()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(
            "CREATE TABLE documents (id bigserial PRIMARY KEY, content text, metadata jsonb, "
            "embedding vector(384)); CREATE TABLE articles (id int, body text, headline text, "
            "embedding vector(16))"
        )
        for number, (text, row) in enumerate(zip(TEXTS, ours, strict=True)):
            connection.execute(
                "INSERT INTO documents (content, metadata, embedding) VALUES "
                '(%s, \'{"source": "rules.md"}\', %s::real[]::vector)',
                (text, row),
            )
            connection.execute(
                "INSERT INTO articles VALUES (%s, %s, 'House rules', %s::real[]::vector)",
                (number, text, embeddings.embed_documents([text])[0]),
            )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VOICERAG_DATA_DIR", str(tmp_path))
    with PiperSpeaker() as speaker:
        write_wav(tmp_path / "question.wav", speaker.speak("When does the bakery open?"))
    names: dict[str, Any] = {"url": url, "embeddings": embeddings}
    for snippet in snippets(ROOT / "docs/tables.md", "python"):
        exec(compile(snippet, "docs/tables.md", "exec"), names)
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "The bakery opens at seven. rules.md", "House rules", "DeterministicFakeEmbedding"
    ]  # fmt: skip
    assert not (tmp_path / "postgres").exists()
