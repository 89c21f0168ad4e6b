from __future__ import annotations

import pytest
import typer

from voicerag_core.cli.question import given_question, metadata_filter
from voicerag_core.filters import And, Eq


@pytest.mark.parametrize("word", ["question.wav", "/nowhere/Question.MP3", "voice-note.m4a"])
def test_a_recording_that_is_not_there_is_no_typed_question(word: str) -> None:
    with pytest.raises(typer.BadParameter, match="there is no file"):
        given_question([word], None, None, max_seconds=30)


@pytest.mark.parametrize("words", ["What is a .wav file?", "example.org", "What is note.wav"])
def test_a_question_may_name_one(words: str) -> None:
    assert given_question([words], None, None, max_seconds=30) == words


def test_a_condition_that_is_nested_too_deeply_for_json_is_a_text() -> None:
    value = "[" * 100_000
    assert metadata_filter([f"path={value}"]) == And((Eq("path", value),))
