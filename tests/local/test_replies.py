"""What the program says itself, and how it tells the language of a question."""

from __future__ import annotations

import dataclasses
import string

import pytest

from voicerag_core.languages import language_name, text_search_configuration
from voicerag_core.local.reading.by_language import ReaderByLanguage
from voicerag_core.local.reading.language import language_of
from voicerag_core.local.replies import ENGLISH_REPLIES, no_reader, replies_in
from voicerag_core.local.speaking.speech_stream import spoken_sentences
from voicerag_core.local.speaking.spoken_form import spoken_form
from voicerag_core.types import Answer, Passage

PASSAGES = [Passage("a", "塔高330米。")]


class Echo:
    """Answers with a word of its own."""

    most_passages = 7

    def __init__(self, word: str) -> None:
        self.word = word

    def answer(
        self, question: str, passages: object, *, history: object = (), instructions: str = ""
    ) -> object:
        yield Answer(self.word)


@pytest.mark.parametrize("code", ["zh", "de", "fr", "es"])
def test_each_language_has_all_sentences_with_the_same_places(code: str) -> None:
    replies = replies_in(code)
    for field in dataclasses.fields(replies):
        said, english = getattr(replies, field.name), getattr(ENGLISH_REPLIES, field.name)
        assert said != english
        assert places(said) == places(english), field.name


def places(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_an_unknown_language_is_answered_in_english() -> None:
    assert replies_in("fi") is ENGLISH_REPLIES
    assert "Finnish" in no_reader("fi")
    assert "Deutsch" in no_reader("de")
    assert language_name("xx") == "the language 'xx'"


@pytest.mark.parametrize(
    ("question", "usual", "code"),
    [
        ("塔有多高？", "auto", "zh"),
        ("TiDB 支持哪些公有云？", "auto", "zh"),
        ("SSD 可以不做 RAID 吗？", "en", "zh"),
        ("How tall is the tower of 北京?", "auto", "en"),
        ("How tall is the tower?", "auto", "en"),
        ("How tall is the tower?", "zh", "en"),
        ("東京タワーの高さは？", "auto", "ja"),
        ("東京", "ja", "ja"),
        ("Wie hoch ist der Turm am Hafen und wer hat ihn gebaut?", "auto", "de"),
        ("¿Cuándo se construyó la torre y quién la pagó?", "auto", "es"),
        ("Quelle est la hauteur de la tour et qui l'a construite ?", "auto", "fr"),
        ("Wer?", "de", "de"),
        ("42?", "auto", "en"),
    ],
)
def test_the_language_of_a_question(question: str, usual: str, code: str) -> None:
    assert language_of(question, usual) == code


@pytest.mark.parametrize(
    ("code", "configuration"),
    [("en", "english"), ("de", "german"), ("zh", "simple"), ("auto", "simple"), ("pl", "simple")],
)
def test_postgres_cuts_the_words_of_a_language(code: str, configuration: str) -> None:
    assert text_search_configuration(code) == configuration


def test_each_question_goes_to_the_reader_of_its_language() -> None:
    reader = ReaderByLanguage({"en": Echo("yes"), "zh": Echo("是")})  # type: ignore[dict-item]
    said = [
        next(iter(reader.answer(question, PASSAGES))).text
        for question in ("How tall is the tower?", "塔有多高？")
    ]
    assert said == ["yes", "是"]
    assert reader.most_passages == 7


def test_without_a_reader_the_answer_says_what_to_set() -> None:
    reader = ReaderByLanguage({"en": Echo("yes")}, language="de")  # type: ignore[dict-item]
    (piece,) = reader.answer("Wie hoch ist der Turm?", PASSAGES)
    assert not piece.answered
    assert piece.text.endswith("Setzen Sie VOICERAG_CHAT.")


def test_figures_are_put_into_the_words_of_their_language() -> None:
    assert spoken_form("Das kostet **$5** am 3.4.2025.", "de").startswith("Das kostet 5 Dollar")
    assert spoken_form("It costs $5.") == "It costs 5 dollars."
    assert spoken_sentences("塔高330米。1889年建成。", "zh") == ["塔高330米。", "1889年建成。"]
