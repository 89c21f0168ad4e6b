"""Passages that are told while the words of a spoken question are still made out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.waiting import PATIENCE, wait_until
from voicerag_core import (
    Answer,
    Audio,
    Conversation,
    Found,
    Passage,
    Strategy,
    Transcription,
    Turn,
    VoiceRAG,
)
from voicerag_core.retrieval.strategies import SURE_CONFIDENCE
from voicerag_core.testing import FakeEmbedder, FakeTranscriber, FakeVoiceModel, InMemoryStore

SAID, MISHEARD = "who found penicillin", "where the rhine rises"
PASSAGES = [
    Passage("fleming", "Alexander Fleming found penicillin in 1928."),
    Passage("rhine", "The Rhine rises in the Alps."),
    Passage("tesla", "Nikola Tesla built motors."),
]


def clip() -> Audio:
    times = np.arange(16_000, dtype=np.float32) / 16_000
    return Audio((0.1 * np.sin(2000 * times)).astype(np.float32), 16_000)


class Judging(FakeEmbedder):
    """Mishears a clip, and says how sure it is of it."""

    def __init__(self, confidence: float) -> None:
        super().__init__()
        self.confidence = confidence

    def embed_speech_scored(self, clips: Sequence[Audio]) -> tuple[Any, Any]:
        rows = self.embed_questions([MISHEARD] * len(clips))
        return rows, np.full(len(clips), self.confidence, np.float32)

    def embed_speech(self, clips: Sequence[Audio]) -> Any:
        return self.embed_speech_scored(clips)[0]


class Told:
    """What was told, and how many transcripts had been made by then."""

    def __init__(self, strategy: Strategy, confidence: float = 0.0) -> None:
        class Reading(FakeVoiceModel):
            reads_words = True
            most_passages = 10

        embedder = Judging(confidence)
        self.transcriber = FakeTranscriber({clip(): Transcription(SAID)})
        store = InMemoryStore(embedder.dim)
        self.rag = VoiceRAG(embedder, store, Reading(), self.transcriber, strategy=strategy)
        self.rag.index(PASSAGES)
        self.got: list[tuple[Found, int]] = []

    def __call__(self, found: Found) -> None:
        self.got.append((found, self.transcriber.calls))

    @property
    def first_ones(self) -> list[tuple[str, bool, int]]:
        return [(found.hits[0].passage.id, found.final, calls) for found, calls in self.got]


@pytest.mark.parametrize("strategy", ["adaptive", "hybrid"])
def test_what_the_sound_found_is_told_before_the_words_are_known(strategy: Strategy) -> None:
    told = Told(strategy)
    found = told.rag.prepare(clip(), on_found=told, limit=2)
    assert told.first_ones[0] == ("rhine", False, 0)
    assert told.first_ones[1][1:] == (True, 1)
    assert told.got[1][0].hits == found.hits
    by_sound = told.rag.retrieve(clip(), strategy="e2e", limit=2)
    assert told.got[0][0].hits == by_sound.hits


def test_where_the_sound_is_sure_its_passages_are_final_before_the_words_are_known() -> None:
    told = Told("adaptive", SURE_CONFIDENCE)
    found = told.rag.prepare(clip(), on_found=told)
    assert found.transcription == Transcription(SAID)
    assert told.first_ones == [("rhine", True, 0)]


def test_a_search_by_words_alone_has_nothing_to_tell_early() -> None:
    told = Told("asr")
    told.rag.prepare(clip(), on_found=told)
    assert told.first_ones == [("fleming", True, 1)]


def test_behind_a_turn_the_sound_of_the_question_alone_is_told_early() -> None:
    told = Told("adaptive", 1.0)
    before = Turn("who built motors?", Answer("Tesla."))
    told.rag.prepare(clip(), on_found=told, history=(before,))
    assert told.first_ones[0] == ("rhine", False, 0)
    assert told.first_ones[1][1:] == (True, 1)


def test_an_answer_tells_it_before_its_first_piece_and_is_the_same() -> None:
    told = Told("hybrid")
    silent = Told("hybrid")
    answer = sum(told.rag.stream(clip(), on_found=told), Answer())
    alone = silent.rag.ask(clip())
    assert told.first_ones == [("rhine", False, 0)]
    assert (answer.text, answer.hits, answer.transcript) == (
        alone.text, alone.hits, alone.transcript,
    )  # fmt: skip


def test_a_conversation_passes_it_on_unless_it_was_thrown_away() -> None:
    told = Told("hybrid")
    talk = Conversation(told.rag)
    with talk.speculate(clip(), on_found=told) as early:
        early.result()
    assert [final for _, final, _ in told.first_ones] == [False, True]
    told.got.clear()

    begun = threading.Event()

    def throw_away(found: Found) -> None:
        assert begun.wait(PATIENCE)
        told(found)
        second.cancel()

    second = talk.speculate(clip(), on_found=throw_away)
    begun.set()
    wait_until(lambda: second.done)
    assert [final for _, final, _ in told.first_ones] == [False]
