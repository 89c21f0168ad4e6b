"""An answer that nobody listens to any more is given up at once, and the next one does not wait."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.waiting import PATIENCE, Gate, wait_until
from voicerag_core import Answer, Audio, Cancellation, CancelledError, check_cancelled
from voicerag_core.errors import ConfigError
from voicerag_core.local.speaking.answer_speech import spoken_answer
from voicerag_core.local.speaking.speaker import PiperSpeaker
from voicerag_core.testing import FakeSpeaker

TEXT = "The river reaches the sea. It is long."


def written(text: str = TEXT) -> Generator[Answer, None, None]:
    yield Answer(text)


class Stuck(FakeSpeaker):
    """A speaker in the middle of a sentence, which checks whether it was called off."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.given_up = threading.Event(), threading.Event()

    def speak(self, text: str) -> Audio:
        self.begun.set()
        try:
            while True:
                check_cancelled()
                self.given_up.wait(0.005)
        except CancelledError:
            self.given_up.set()
            raise


class Deaf(FakeSpeaker):
    """A speaker in the middle of a sentence, which cannot be called off."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()

    def speak(self, text: str) -> Audio:
        self.gate.wait()
        return super().speak(text)


def cancelled_while_speaking(speaker: FakeSpeaker, begun: threading.Event) -> None:
    call = Cancellation()

    def listen() -> None:
        with call.active(), closing(spoken_answer(written(), speaker)) as pieces:
            list(pieces)

    with ThreadPoolExecutor(1) as threads:
        listening = threads.submit(listen)
        assert begun.wait(PATIENCE)
        assert not listening.done()
        call.cancel()
        with pytest.raises(CancelledError):
            listening.result(PATIENCE)


def test_a_cancelled_listener_leaves_a_sentence_that_cannot_be_stopped() -> None:
    speaker = Deaf()
    cancelled_while_speaking(speaker, speaker.gate.entered)
    assert not speaker.gate.passed.is_set(), "nobody waited for the sentence"
    speaker.gate.open.set()


def test_a_speaker_that_asks_is_told_that_nobody_listens() -> None:
    speaker = Stuck()
    cancelled_while_speaking(speaker, speaker.begun)
    assert speaker.given_up.wait(PATIENCE)


def test_closing_the_answer_tells_the_speaker_as_well() -> None:
    def in_two() -> Generator[Answer, None, None]:
        yield Answer(f"{TEXT} And")
        yield Answer(" more.")

    speaker = Stuck()
    pieces = spoken_answer(in_two(), speaker)
    assert next(pieces).text == f"{TEXT} And"
    assert next(pieces).text == " more."
    assert speaker.begun.wait(PATIENCE)
    pieces.close()
    assert speaker.given_up.wait(PATIENCE)


@pytest.fixture
def piper() -> Generator[PiperSpeaker, None, None]:
    with PiperSpeaker() as speaker:
        yield speaker


def cancelled(speaker: PiperSpeaker, text: str) -> None:
    """Cancel a sentence while Piper has it in work, and does nothing."""
    process = speaker._processes[0]
    call = Cancellation()

    def speak() -> Audio:
        with call.active():
            return speaker.speak(text)

    with ThreadPoolExecutor(1) as threads:
        speaking = threads.submit(speak)
        wait_until(lambda: process.waiting > 0)
        call.cancel()
        with pytest.raises(CancelledError):
            speaking.result(PATIENCE)


def test_the_next_sentence_does_not_wait_behind_one_that_was_given_up(
    piper: PiperSpeaker,
) -> None:
    piper.warm()
    first = piper.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)  # the sentence in work never ends
    try:
        cancelled(piper, "Nobody hears this.")
        assert piper._processes[0].abandoned
        wait_until(lambda: len(piper._processes) == 2, "no second process was started")
        assert piper.speak("But this.").seconds > 0.3
        assert piper._processes[0].waiting == 1, "the first is still at it"
    finally:
        os.kill(first, signal.SIGCONT)
    wait_until(lambda: not piper._processes[0].waiting)
    assert piper.speak("And this.").seconds > 0.3
    assert len(piper._processes) == 2
    assert piper.pid == first, "it finished, and speaks again"


def test_a_second_process_stands_by_on_request_and_is_not_a_third(piper: PiperSpeaker) -> None:
    piper.stand_by()
    piper.stand_by()
    first, second = piper._processes
    assert piper.speak("One.").seconds > 0.2
    wait_until(lambda: not first.waiting + second.waiting)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        cancelled(piper, "Nobody hears this.")
        assert piper.speak("Two.").seconds > 0.2
        assert piper._processes == [first, second]
    finally:
        os.kill(first.pid, signal.SIGCONT)


def test_a_pace_makes_the_same_words_shorter_or_longer(piper: PiperSpeaker) -> None:
    words = "The river flows through three countries."
    usual = piper.speak(words).seconds
    assert piper.speak_at(words, pace=2.0).seconds < 0.7 * usual
    assert piper.speak_at(words, pace=0.5).seconds > 1.6 * usual
    assert sorted(one.pace for one in piper._processes) == [0.5, 1.0], "of others one process"
    for wrong in (0.4, 2.1, float("nan")):
        with pytest.raises(ConfigError, match="the pace is"):
            piper.speak_at(words, pace=wrong)
