"""Create the text part of the sample from XQuAD, and select the questions to be spoken.

Usage: python make_sample.py xquad.en.json

The file is `xquad.en.json` of https://github.com/google-deepmind/xquad. Writes `passages.jsonl`,
`text_questions.jsonl` and `questions.jsonl` next to this script. `unanswerable.jsonl` was written
by hand and `make_audio.py` speaks both; README.md describes the rules.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

HERE = Path(__file__).resolve().parent

DEVELOPMENT_TITLES = 24
"""This many titles, in sorted order, are for choosing thresholds, the rest for reporting."""

SPOKEN = {"report": 36, "dev": 12}
"""Number of spoken questions of each part."""

VOICES = (
    "espeak-ng/en-us",
    "flite/slt",
    "espeak-ng/en-gb+f3",
    "flite/awb",
    "flite/rms",
)
"""Voices, in rotation: program/voice."""


class TextQuestion(TypedDict):
    """A line of `text_questions.jsonl`."""

    id: str
    question: str
    answers: list[str]
    passage: str
    split: str


class SpokenQuestion(TextQuestion):
    """A line of `questions.jsonl`."""

    voice: str
    audio: str


def read_xquad(path: Path) -> tuple[list[dict[str, str]], list[TextQuestion]]:
    """Return the passages and the questions of an XQuAD file, in its order."""
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    development = sorted(article["title"] for article in articles)[:DEVELOPMENT_TITLES]
    passages: list[dict[str, str]] = []
    questions: list[TextQuestion] = []
    for article in articles:
        name = article["title"]
        split = "dev" if name in development else "report"
        for number, paragraph in enumerate(article["paragraphs"], 1):
            passage = {
                "id": f"{name}-{number}",
                "title": name.replace("_", " "),
                "text": paragraph["context"].strip(),
                "source": "https://en.wikipedia.org/wiki/" + quote(name, safe="_(),"),
            }
            passages.append(passage)
            questions += [
                TextQuestion(
                    id=entry["id"],
                    question=" ".join(entry["question"].split()),
                    answers=[answer["text"] for answer in entry["answers"]],
                    passage=passage["id"],
                    split=split,
                )
                for entry in paragraph["qas"]
            ]
    return passages, questions


def pick_spoken(questions: list[TextQuestion]) -> list[SpokenQuestion]:
    """Select by the hash of the id, the report part first; voices rotate in each part."""
    picked: list[SpokenQuestion] = []
    for split, count in SPOKEN.items():
        candidates = [question for question in questions if question["split"] == split]
        candidates.sort(key=lambda question: sha256(question["id"].encode()).hexdigest())
        picked += [
            SpokenQuestion(
                **question,
                voice=VOICES[position % len(VOICES)],
                audio=f"audio/{split}-{position + 1:02}.flac",
            )
            for position, question in enumerate(candidates[:count])
        ]
    return picked


def write_lines(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write one JSON object per line."""
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Write the three files."""
    passages, questions = read_xquad(Path(sys.argv[1]))
    write_lines(HERE / "passages.jsonl", passages)
    write_lines(HERE / "text_questions.jsonl", questions)
    write_lines(HERE / "questions.jsonl", pick_spoken(questions))


if __name__ == "__main__":
    main()
