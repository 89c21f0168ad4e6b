"""What a question asks for, told from its words."""

from __future__ import annotations

from pathlib import Path

import pytest

from voicerag_core.local.reading.questions import asked_for

QUESTIONS = [
    line.split("\t")
    for line in Path(__file__).with_name("asked_questions.tsv").read_text("utf-8").splitlines()
]
"""Each with what it asks for: several things, something to do, a date, a reason, nothing."""


@pytest.mark.parametrize(("question", "asks_for"), QUESTIONS, ids=[one[0] for one in QUESTIONS])
def test_what_a_question_asks_for(question: str, asks_for: str) -> None:
    asked = asked_for(question)
    forms = ("many", "how_to", "date", "reason", "greeting")
    assert " ".join(form for form in forms if getattr(asked, form)) == asks_for


@pytest.mark.parametrize("asks_for", ["many", "how_to", "date", ""])
def test_the_form_does_not_depend_on_case_and_marks(asks_for: str) -> None:
    questions = [question for question, form in QUESTIONS if form == asks_for]
    said = [question.lower().rstrip("?!") for question in questions]
    assert [asked_for(one).many for one in said] == [asked_for(one).many for one in questions]
    assert [asked_for(one).date for one in said] == [asked_for(one).date for one in questions]
