"""Sets in SQuAD's form: XQuAD, HeySQuAD, Spoken-SQuAD."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from voicerag_core.errors import DocumentError
from voicerag_core.evaluation.datasets.values import (
    EvalQuestion,
    EvalSet,
    PassageTable,
    read_json,
)

__all__ = ["HEYSQUAD_FORMS", "load_heysquad", "load_squad", "load_xquad", "load_xquad_across"]

HEYSQUAD_FORMS: Final = ("original", "human-transcribed", "machine-transcribed")
"""The same questions as written, as people said them, and as a recogniser heard them."""

DEVELOPMENT_TITLES = 24
"""Titles of XQuAD, in sorted order, whose questions are for development."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One question of a file in SQuAD's form."""

    title: str
    context: str
    id: str
    question: str
    answers: tuple[str, ...]
    impossible: bool


def entries(path: Path) -> Iterator[Entry]:
    """Yield the questions of a file.

    Raises:
        DocumentError: It is not in SQuAD's form.
    """
    try:
        for article in read_json(path)["data"]:
            for paragraph in article["paragraphs"]:
                for entry in paragraph["qas"]:
                    told = tuple(dict.fromkeys(one["text"] for one in entry.get("answers", ())))
                    yield Entry(
                        str(article.get("title", "")),
                        paragraph["context"],
                        str(entry["id"]),
                        entry["question"],
                        told,
                        bool(entry.get("is_impossible", False)),
                    )
    except (KeyError, TypeError) as error:
        raise DocumentError(
            f"{path} is not in SQuAD's form (data > paragraphs > qas): {error!r}"
        ) from error


def load_squad(path: Path, *, name: str = "", language: str = "en", seen: str = "") -> EvalSet:
    """Read any file in SQuAD's form, also Spoken-SQuAD, whose contexts are transcripts."""
    table = PassageTable("s")
    questions = [
        EvalQuestion(
            one.id,
            one.question,
            one.answers,
            (table.add(one.context, one.title.replace("_", " ")),) if not one.impossible else (),
            answerable=not one.impossible,
        )
        for one in entries(path)
    ]
    return EvalSet(
        name or path.stem, table.passages, tuple(questions), language, language, seen=seen
    )


def load_xquad(path: Path, *, name: str, language: str, questions_from: Path | None = None,
               question_language: str | None = None) -> EvalSet:  # fmt: skip
    """Read XQuAD; the questions of the first 24 titles in sorted order are for development.

    Args:
        path: Of the paragraphs.
        name: Of the set.
        language: Of the paragraphs.
        questions_from: The parallel file whose questions are asked; None: the same file.
        question_language: Of these.
    """
    table = PassageTable("x")
    own = list(entries(path))
    asked = own if questions_from is None else list(entries(questions_from))
    by_id = {one.id: one for one in asked}
    chosen = set(sorted({one.title for one in own})[:DEVELOPMENT_TITLES])
    questions = []
    for one in own:
        passage = table.add(one.context, one.title.replace("_", " "))
        other = by_id.get(one.id)
        if other is None:
            raise DocumentError(f"{questions_from} lacks the question {one.id!r} of {path}")
        questions.append(
            EvalQuestion(
                one.id, other.question, one.answers, (passage,), development=one.title in chosen
            )
        )
    return EvalSet(
        name, table.passages, tuple(questions), question_language or language, language,
        seen=f"{DEVELOPMENT_TITLES} of 48 titles: thresholds, weights of the reader and of the "
        "ranking; the other half was only reported on",
    )  # fmt: skip


def load_xquad_across(data: Path, asked: str, searched: str) -> EvalSet:
    """Read XQuAD's questions in one language over its paragraphs in another."""
    folder = data / "xquad"
    return load_xquad(
        folder / f"xquad.{searched}.json",
        name=f"xquad-{asked}-{searched}",
        language=searched,
        questions_from=folder / f"xquad.{asked}.json",
        question_language=asked,
    )


def load_heysquad(data: Path, form: str) -> EvalSet:
    """Read HeySQuAD in one of `HEYSQUAD_FORMS`; every second question is for development."""
    path = data / "heysquad" / f"dev-common-{form}-1002.json"
    table = PassageTable("h")
    questions = [
        EvalQuestion(
            f"{number}-{one.id}",
            one.question,
            one.answers,
            (table.add(one.context),),
            development=number % 2 == 1,
        )
        for number, one in enumerate(entries(path))
    ]
    return EvalSet(
        f"heysquad-{form}", table.passages, tuple(questions),
        seen="every second question chose the fusion of words and vector; paragraphs overlap with "
        "XQuAD's",
        forms="all" if form == "original" else "typed",
    )  # fmt: skip
