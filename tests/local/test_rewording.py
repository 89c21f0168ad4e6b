from __future__ import annotations

from collections.abc import Iterator

import pytest

from voicerag_core.errors import GenerationError
from voicerag_core.local.reading.answer_scorer import AnswerScorer
from voicerag_core.local.reading.chat import ChatMessage
from voicerag_core.local.reading.reader import Reader
from voicerag_core.local.reading.rewording import RewordingReader, keeps, rewording_messages
from voicerag_core.local.replies import ENGLISH_REPLIES
from voicerag_core.types import Answer, Passage

TOWER = Passage(
    "tower",
    "The old tower stands by the harbour. It was built in 1642 by the architect Anna Beck.",
    {"title": "Tower"},
)
QUOTE = "The tower was built in 1642 by the architect Anna Beck."


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(AnswerScorer(threads=2))


def asked(reader: Reader, question: str, reply: object) -> tuple[Answer, list[list[ChatMessage]]]:
    seen: list[list[ChatMessage]] = []

    def chat(messages: list[ChatMessage]) -> Iterator[str]:
        seen.append(messages)
        if isinstance(reply, Exception):
            raise reply
        yield from str(reply)

    return sum(RewordingReader(reader, chat).answer(question, [TOWER]), Answer()), seen


def test_a_rewording_that_changes_nothing_is_given(reader: Reader) -> None:
    said = "The architect Anna Beck built the old tower in 1642."
    answer, seen = asked(reader, "Who built the tower?", said)
    assert answer.text == said
    assert {place.passage_id for place in answer.citations} == {"tower"}
    assert "Anna Beck" in seen[0][-1].content


@pytest.mark.parametrize(
    "said",
    [
        "Anna Beck built the tower in 1643.",
        "Anna Becker built the tower in 1642, with Tom Hill.",
        "Anna Beck did not build the tower in 1642.",
        "NO_ANSWER",
        "",
        "The tower was built.",
        "I am a helpful assistant and I love towers, harbours and long walks on sandy beaches.",
        "Anna Beck built it in 1642. " * 20,
    ],
)
def test_else_the_quote_is_given(reader: Reader, said: str) -> None:
    answer, _ = asked(reader, "Who built the tower?", said)
    assert "built in 1642 by the architect Anna Beck." in answer.text
    assert answer.answered


def test_the_model_is_not_asked_what_the_documents_do_not_answer(reader: Reader) -> None:
    answer, seen = asked(reader, "What is the boiling point of mercury?", "357 degrees.")
    assert not answer.answered
    assert answer.text.startswith(ENGLISH_REPLIES.not_answered)
    assert seen == []


def test_a_failing_model_is_told(reader: Reader) -> None:
    with pytest.raises(GenerationError, match="chat model failed"):
        asked(reader, "Who built the tower?", OSError("no route"))


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("The architect Anna Beck built it in 1642.", True),
        ("Built in 1642 by Anna Beck", True),
        ("It was built by the architect Anna Beck.", False),
        ("It was built in 1642.", False),
        ("It was built in 1642 for 300 crowns.", False),
        ("It was never built by Anna Beck.", False),
        ("The tower.", False),
    ],
)
def test_a_rewording_keeps_figures_names_and_denials(said: str, kept: bool) -> None:
    assert keeps("Who built the tower?", QUOTE, said) is kept


def test_the_messages_are_short() -> None:
    system, user = rewording_messages("Who built it?", QUOTE)
    assert (system.role, user.role) == ("system", "user")
    assert len(system.content) + len(user.content) < len(QUOTE) + 200
