"""A voice that fails in the middle of an answer."""

from __future__ import annotations

import threading
from collections.abc import Generator

import numpy as np
import pytest

from voicerag_core import Answer, Audio, CheckpointError, EndpointError, ModelError
from voicerag_core.local.speaking.answer_speech import NOT_SPOKEN, spoken_answer

SENTENCES = [f"Here is sentence {word}." for word in ("one", "two", "three", "four", "five")]


class Failing:
    """Speaks the first text, and fails with each further one."""

    def __init__(self, error: ModelError) -> None:
        self.said: list[str] = []
        self.failed = threading.Event()
        self._error = error

    def warm(self) -> None:
        pass

    def speak(self, text: str) -> Audio:
        self.said.append(text)
        if len(self.said) > 1:
            self.failed.set()
            raise self._error
        return Audio(np.zeros(1600, np.float32), 16_000)

    def close(self) -> None:
        pass


def pieces(speaker: Failing) -> Generator[Answer, None, None]:
    for number, sentence in enumerate(SENTENCES):
        if number > 2:
            assert speaker.failed.wait(10)
            threading.Event().wait(0.05)  # until the failure has reached the queue
        yield Answer(f"{sentence} ")


def test_the_text_goes_on_and_nothing_more_is_spoken() -> None:
    speaker = Failing(EndpointError("the voice is gone"))
    told = list(spoken_answer(pieces(speaker), speaker, fallback=True))
    answer = sum(told, Answer())
    assert answer.text.split(". ") == [*(s.rstrip(".") for s in SENTENCES), ""]
    assert answer.spoken == SENTENCES[0]
    assert answer.audio is not None
    assert answer.audio.seconds == pytest.approx(0.1)
    assert answer.notes == (NOT_SPOKEN,)
    assert sum(bool(piece.notes) for piece in told) == 1
    assert SENTENCES[-1] not in speaker.said


@pytest.mark.parametrize(
    ("error", "fallback"),
    [(EndpointError("the voice is gone"), False), (CheckpointError("no such voice"), True)],
)
def test_it_is_an_error_where_nothing_may_stand_in(error: ModelError, fallback: bool) -> None:
    speaker = Failing(error)
    with pytest.raises(type(error)):
        list(spoken_answer(pieces(speaker), speaker, fallback=fallback))
