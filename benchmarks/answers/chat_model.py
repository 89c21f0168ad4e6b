"""What does a chat model make of the passages, by itself and when it may only reword the quote?

    python -m benchmarks.answers.chat_model FOLDER --url http://127.0.0.1:8080/v1 [--questions 12]

FOLDER is that of `benchmarks.answers.realdocs`; the model is behind an OpenAI-compatible server.
Asked are questions with even numbers: some that the documents answer and that the reader answers
rightly with one sentence, and half as many that they do not answer.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import chart
from benchmarks.answers.shares import share
from voicerag_core import Answer, Passage, index_files, load_settings, open_voicerag
from voicerag_core.local.reading.answer_scorer import AnswerScorer
from voicerag_core.local.reading.chat import UNSUPPORTED, ChatFunction, ChatMessage, ChatReader
from voicerag_core.local.reading.reader import Reader
from voicerag_core.local.reading.rewording import RewordingReader
from voicerag_core.ports import AnswerWriter

MOST_TOKENS = 120
SOURCES = 4
"""Passages that a chat model is given."""

Question = dict[str, Any]
Judge = Callable[[Question, str, bool, int, int], tuple[str, str]]


def chat_behind(url: str) -> ChatFunction:
    """Return a chat function that asks a server, greedily."""

    def chat(messages: list[ChatMessage]) -> str:
        told = [{"role": one.role, "content": one.content} for one in messages]
        body = {"messages": told, "temperature": 0, "max_tokens": MOST_TOKENS}
        request = urllib.request.Request(
            f"{url}/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=300) as reply:
            return str(json.load(reply)["choices"][0]["message"]["content"])

    return chat


def judge_of(folder: Path) -> Judge:
    """Return the judge of a folder's scorer."""
    spec = importlib.util.spec_from_file_location("folder_score", folder / "score.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    judge: Judge = module.judge
    return judge


def asked_of(folder: Path) -> Iterator[Question]:
    """Yield the English questions with even numbers."""
    for line in (folder / "questions.jsonl").read_text("utf-8").splitlines():
        one: Question = json.loads(line)
        number = int("".join(filter(str.isdigit, one["id"])) or 0)
        if one["lang"] == "en" and one["kind"] not in ("followup", "smalltalk") and not number % 2:
            yield one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder with docs, questions.jsonl and score.py")
    parser.add_argument("--url", required=True, help="of an OpenAI-compatible server, with /v1")
    parser.add_argument("--questions", type=int, default=12, help="that the documents answer")
    parser.add_argument("--data-dir", type=Path, help="data folder of an index made before")
    parser.add_argument("--reword-only", action="store_true", help="leave out the model by itself")
    given = parser.parse_args()
    reader, judge, chat = Reader(AnswerScorer()), judge_of(given.folder), chat_behind(given.url)
    chosen: list[tuple[Question, list[Passage]]] = []
    with tempfile.TemporaryDirectory() as fresh:
        folder = given.data_dir or Path(fresh)
        with open_voicerag(load_settings(data_dir=folder, collection="chat", speak=False)) as rag:
            index_files(rag, [given.folder / "docs"])
            left = {True: given.questions // 2, False: given.questions}
            for one in asked_of(given.folder):
                absent = bool(one.get("unanswerable"))
                if not left[absent]:
                    continue
                found = rag.retrieve(one["question"])
                passages = [hit.passage for hit in (*found.hits, *found.more)]
                reading = reader.read(one["question"], passages)
                whole = reading.answered and "\n" not in reading.text
                verdict = judge(one, reading.text, reading.answered, 700, 1500)[0]
                if absent or (whole and verdict == "right"):
                    left[absent] -= 1
                    chosen.append((one, passages))
    writers: dict[str, tuple[AnswerWriter, int]] = {
        "the reader's quote": (reader, 10),
        "the quote reworded": (RewordingReader(reader, chat), 10),
    }
    if not given.reword_only:
        writers["the model by itself"] = (ChatReader(chat), SOURCES)
    rows = [row(name, chosen, judge, *writer) for name, writer in writers.items()]
    heads = ["writer", "right", "wrong", "declined", "marked", "not as quoted",
             "rightly declined", "seconds"]  # fmt: skip
    print("\n".join(chart.table(heads, rows)))


def row(
    name: str,
    chosen: Sequence[tuple[Question, list[Passage]]],
    judge: Judge,
    writer: AnswerWriter,
    most: int,
) -> list[str]:
    """Ask every question, print the answers and return a row of the table."""
    verdicts, marked, changed, seconds = [], 0, 0, 0.0
    for one, passages in chosen:
        begun = time.perf_counter()
        answer = sum(writer.answer(one["question"], passages[:most]), Answer())
        seconds += time.perf_counter() - begun
        verdict = judge(one, answer.text, answer.answered, 700, 1500)[0]
        verdicts.append((bool(one.get("unanswerable")), verdict))
        marked += UNSUPPORTED in answer.text
        if isinstance(writer, RewordingReader):
            quote = sum(writer.reader.answer(one["question"], passages), Answer())
            changed += quote.text != answer.text
        print(f"{name} | {verdict} | {one['question']} | {' '.join(answer.text.split())}")
    there = [verdict for absent, verdict in verdicts if not absent]
    gone = [verdict for absent, verdict in verdicts if absent]
    counts = [str(there.count(verdict)) for verdict in ("wrong", "declined")]
    right = str(share(verdict.startswith("right") for verdict in there))
    refused = str(share(verdict == "declined_rightly" for verdict in gone))
    mean = f"{seconds / max(1, len(chosen)):.1f}"
    return [name, right, *counts, str(marked), str(changed), refused, mean]


if __name__ == "__main__":
    main()
