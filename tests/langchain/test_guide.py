"""The guide and the example are run as they stand."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore

from voicerag_core import Passage, load_settings, open_voicerag

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "examples/sample"
GUIDE = (ROOT / "docs/langchain.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


class Chat(GenericFakeChatModel):
    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples/04_langchain.py"), run_name="__main__")
    assert capsys.readouterr().out.splitlines() == [
        "chain   In the Swiss Alps.",
        "spoken  The Rhine rises in the Swiss Alps. (0.35 s in 10 pieces)",
        "tool    The Rhine rises in the Swiss Alps.",
        "agent   It rises in the Alps.",
    ]


def test_the_guide_runs(
    dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {"DATABASE_URL": dsn, "TENANT": "guide", "DATA_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(f"VOICERAG_{name}", value)
    monkeypatch.chdir(tmp_path)
    shutil.copy(SAMPLE / "audio/report-16.flac", "question.wav")
    lines = (SAMPLE / "questions.jsonl").read_text().splitlines()
    asked = json.loads(next(line for line in lines if "report-16" in line))
    rows = [json.loads(line) for line in (SAMPLE / "passages.jsonl").read_text().splitlines()]
    rows = [
        row for row in rows if row["title"] == asked["passage"].rpartition("-")[0].replace("_", " ")
    ]
    with open_voicerag(load_settings()) as rag:
        rag.index([Passage(row["id"], row["text"], {"title": row["title"]}) for row in rows])
    call = {"name": "voice_ask", "args": {"clip_id": "clip-1"}, "id": "1", "type": "tool_call"}
    names: dict[str, Any] = {
        "chat_model": Chat(messages=iter([AIMessage("A chain's answer."),
                                          AIMessage("The committee does [1].")])),
        "tool_model": Chat(messages=iter([AIMessage("", tool_calls=[call]),
                                          AIMessage("An agent's answer.")])),
        "embeddings": DeterministicFakeEmbedding(size=16),
        "vectorstore": InMemoryVectorStore.from_texts(
            ["The only one."], DeterministicFakeEmbedding(size=16)
        ),
        "chain": RunnableLambda(lambda question: f"You asked: {question}"),
        "dsn": dsn,
    }  # fmt: skip
    for block in BLOCKS:
        exec(compile(block, "docs/langchain.md", "exec"), names)
    out = capsys.readouterr().out
    for expected in (
        "A chain's answer.", "The only one.", "You asked: ", "Pittsburgh Steelers",
        "An agent's answer.",
        "The committee does", "Super Bowl 50", "canteen",
    ):  # fmt: skip
        assert expected in out
    assert Path("answer.wav").stat().st_size > 10_000
