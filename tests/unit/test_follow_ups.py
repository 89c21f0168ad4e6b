"""Questions that lean on the turn before them, and what they ask in full."""

from __future__ import annotations

import pytest

from voicerag_core import Answer, Audio, Turn
from voicerag_core.follow_ups import follows_up, in_full, turn_before


@pytest.mark.parametrize(
    "question",
    [
        "And when was he born?",
        "Who developed it?",
        "How do I restore it?",
        "What about the Clippers?",
        "And in 1970?",
        "Why?",
        "Since when?",
        "Which ones?",
        "How many are there?",
        "Where did they train for it?",
        "What did he tell the court?",
        "Does obstacle avoidance still work then?",
        "What happens to the hours above that?",
        "In which language was his last statement?",
        "Why did Chinese physicians oppose it?",
        "Who is its owner?",
        "How long did that take?",
        "Who wrote that?",
        "Which unit was named after him?",
        "Und wann wurde sie gegr\u00fcndet?",
        "Wann wurde er geboren?",
        "Et pourquoi ?",
        "\u4ed6\u4ec0\u4e48\u65f6\u5019\u51fa\u751f\uff1f",
    ],
)
def test_what_leans_on_a_turn_before(question: str) -> None:
    assert follows_up(question)


@pytest.mark.parametrize(
    "question",
    [
        "How old was John Elway when he played in Super Bowl XXXIII?",
        "What happens to a passport when it expires?",
        "How do gurus treat their disciples?",
        "Who was the first president and when was he born?",
        "Which company moved its headquarters?",
        "Is it possible to cancel an order?",
        "How long does it take to get a refund?",
        "How do I notify GSA IT of an incident?",
        "When is the library open?",
        "Are there any private schools in Germany?",
        "What U.S. entity said that corporal punishment was constitutional?",
        "",
        "Wann ist die Bibliothek ge\u00f6ffnet?",
    ],
)
def test_what_stands_alone(question: str) -> None:
    assert not follows_up(question)


@pytest.mark.parametrize(
    ("before", "answer", "question", "full"),
    [
        ("What is Tock?", "Tock tracks time.", "Who developed it?", "Who developed Tock?"),
        (
            "How big is the water tank of the Barista 400?",
            "4.5 litres.",
            "And how heavy is it?",
            "How heavy is Barista 400?",
        ),
        (
            "Which discount do I get for an order of 20,000 euro?",
            "5 %",
            "And for 60,000?",
            "Which discount do I get for an order of 60,000 euro?",
        ),
        (
            "Who has to approve more than 80 hours of leave?",
            "The director.",
            "And for less than 80 hours?",
            "Who has to approve less than 80 hours of leave?",
        ),
        (
            "What does fault E04 mean?",
            "Grinder blocked.",
            "What should I do about it?",
            "What should I do about fault E04?",
        ),
        (
            "Does Valetudo work without an internet connection?",
            "Yes.",
            "And do timers still work then?",
            "Do timers still work without an internet connection?",
        ),
        (
            "Who founded the Office of Western Medicine?",
            "It was founded by the physician Jesus the Interpreter.",
            "Where was he born?",
            "Where was Jesus the Interpreter born?",
        ),
        (
            "When did Tesla die?",
            "In 1943.",
            "Where did he live most of his life?",
            "Where did Tesla live most of Tesla's life?",
        ),
        (
            "How many career sacks did Jared Allen have?",
            "136.",
            "And Mario Addison?",
            "How many career sacks did Mario Addison have?",
        ),
        (
            "What was the white population of Jacksonville in 2010?",
            "55.1 %",
            "And in 1970?",
            "What was the white population of Jacksonville in 1970?",
        ),
    ],
)
def test_a_follow_up_in_full(before: str, answer: str, question: str, full: str) -> None:
    assert in_full(question, Turn(before, Answer(answer)))[0] == full


def test_what_stands_alone_is_not_reworded() -> None:
    turn = Turn("What is Tock?", Answer("A tool."))
    assert in_full("When is the library open?", turn) == ()
    assert in_full("And when?", Turn(" ", Answer())) == ()
    assert len(in_full("And what about it, them and him there then?", turn)) <= 3


def test_a_chain_of_follow_ups_keeps_its_subject() -> None:
    history = [
        Turn("What is Tock?", Answer("A tool.")),
        Turn("Who developed it?", Answer("A team of 18F.")),
    ]
    before = turn_before(history)
    assert before is not None
    assert before.words == "Who developed Tock?"
    assert in_full("And when?", before) == ("Who developed Tock, and when?",)


def test_only_words_make_a_turn_before(clip: Audio) -> None:
    assert turn_before([]) is None
    assert turn_before([Turn(clip, Answer("Yes."))]) is None
    spoken = Turn(clip, Answer("Yes.", transcript="is it open"))
    assert turn_before([spoken]) == Turn("is it open", spoken.answer)
    assert turn_before([spoken, Turn(clip, Answer())]) == Turn("is it open", spoken.answer)


@pytest.fixture
def clip() -> Audio:
    import numpy as np

    return Audio(np.full(1600, 0.1, np.float32), 16_000)


def test_a_question_of_any_length_is_told_in_time() -> None:
    long = "and he " * 100_000
    assert follows_up(long)
    assert len(in_full("And when was he born?", Turn(long, Answer(long)))) <= 3
    turn = turn_before([Turn(long, Answer(long))])
    assert turn is not None
    assert len(turn.words) <= 500
