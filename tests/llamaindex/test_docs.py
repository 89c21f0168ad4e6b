"""What the page says is run."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.llms import MockLLM

from voicerag_core import Passage, load_settings, open_voicerag

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/llamaindex.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
TEXT = "The Panthers defense gave up 308 points. A committee scrutinises private bills."


def test_every_snippet_of_the_page_runs(
    dsn: str, tenant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VOICERAG_DATABASE_URL", dsn)
    monkeypatch.setenv("VOICERAG_TENANT", tenant)
    sound = ROOT / "examples/sample/audio/report-01.flac"
    (tmp_path / "question.wav").write_bytes(sound.read_bytes())
    with open_voicerag(load_settings()) as rag:
        rag.index([Passage("one", TEXT, {"title": "One"})])
    played: list[Any] = []
    with ExitStack() as stack:
        names: dict[str, Any] = {
            "stack": stack, "play": played.append, "my_llm": MockLLM(), "dsn": dsn,
            "embed_model": MockEmbedding(embed_dim=64),
            "index": VectorStoreIndex.from_documents(
                [Document(text="The only one.")], embed_model=MockEmbedding(embed_dim=8)
            ),
            "documents": [Document(text="A river ends in the sea.")],
        }  # fmt: skip
        for snippet in SNIPPETS:
            exec(compile(snippet, "docs/llamaindex.md", "exec"), names)
    printed = capsys.readouterr().out
    assert len(SNIPPETS) == 10
    assert played
    assert "The only one." in printed
    assert "private" in printed
    assert "A river ends in the sea." in printed
    assert f"{names['response']}" in printed
