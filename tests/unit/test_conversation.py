"""Turns, questions that are not over, and what was heard."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from tests.waiting import PATIENCE
from voicerag_core import (
    Answer,
    Audio,
    Cancellation,
    CancelledError,
    ConfigError,
    Conversation,
    Passage,
    Question,
    Retrieved,
    Sampling,
    StoreError,
    Turn,
    VoiceRAG,
)
from voicerag_core.rag import MAX_INSTRUCTIONS
from voicerag_core.testing import FakeEmbedder, FakeTranscriber, FakeVoiceModel, InMemoryStore

RATE = 1000
PASSAGES = [
    Passage("river", "The river reaches the sea in the north."),
    Passage("bakery", "A bakery opened on Monday."),
]


def sound(seconds: float) -> Audio:
    return Audio(np.full(round(seconds * RATE), 0.1, np.float32), RATE)


def clip(pitch: float = 200.0) -> Audio:
    times = np.arange(16_000, dtype=np.float32) / 16_000
    return Audio((0.1 * np.sin(2 * np.pi * pitch * times)).astype(np.float32), 16_000)


class Scripted:
    """Says prepared pieces, and notes what it was given."""

    def __init__(self, *pieces: Answer) -> None:
        self.pieces = pieces
        self.given: list[dict[str, Any]] = []
        self.cuts: list[tuple[Turn, Turn, float]] = []
        self.reads_words = True

    def respond(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        sampling: Sampling,
        transcript: object = None,
        history: Sequence[Turn] = (),
        instructions: str = "",
    ) -> Iterator[Answer]:
        self.given.append(
            {
                "question": question,
                "sampling": sampling,
                "transcript": transcript,
                "history": list(history),
                "instructions": instructions,
            }
        )
        yield from self.pieces

    def cut(self, turn: Turn, heard: Turn, *, seconds: float) -> None:
        self.cuts.append((turn, heard, seconds))


SPOKEN = (
    Answer("One two three four. Five six."),
    Answer(audio=sound(2.0), spoken="One two three four."),
    Answer(audio=sound(1.0), spoken=" Five six."),
)


def opened(model: Any, transcriber: Any = None) -> VoiceRAG:
    embedder = FakeEmbedder()
    rag = VoiceRAG(embedder, InMemoryStore(embedder.dim), model, transcriber)
    rag.index(PASSAGES)
    return rag


def test_the_pieces_are_those_of_the_pipeline_and_the_turn_is_kept_without_its_sound() -> None:
    rag = opened(FakeVoiceModel())
    talk = Conversation(rag)
    answer = talk.ask("where does the river reach the sea?")
    alone = rag.ask("where does the river reach the sea?")
    assert (answer.text, answer.hits) == (alone.text, alone.hits)
    assert answer.audio == alone.audio
    (turn,) = talk.turns
    assert turn.question == "where does the river reach the sea?"
    assert turn.answer.text == alone.text
    assert turn.answer.hits
    assert turn.answer.audio is None


def test_the_next_question_comes_with_the_turns_before_it() -> None:
    model = Scripted(*SPOKEN)
    talk = Conversation(opened(model), history=[Turn("a river", Answer("Yes."))], most_turns=2)
    talk.ask("which sea?")
    assert [turn.question for turn in model.given[0]["history"]] == ["a river"]
    talk.ask("and then?")
    assert [turn.question for turn in model.given[1]["history"]] == ["a river", "which sea?"]
    assert [turn.question for turn in talk.turns] == ["which sea?", "and then?"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, ""),
        (0.4, ""),
        (0.5, "One"),
        (1.2, "One two"),
        (1.99, "One two three"),
        (2.0, "One two three four."),
        (2.4, "One two three four."),
        (2.5, "One two three four. Five"),
        (3.0, "One two three four. Five six."),
    ],
)
def test_what_was_heard_is_whole_pieces_and_a_share_of_one(seconds: float, words: str) -> None:
    model = Scripted(*SPOKEN)
    talk = Conversation(opened(model))
    whole = talk.ask("river?")
    turn = talk.truncate(seconds)
    assert turn.answer.text == words
    assert turn.answer.hits == whole.hits
    assert talk.turns == (turn,)
    before = Turn("river?", Answer(whole.text, spoken=whole.spoken))
    if seconds < 3.0:
        ((known, heard, told),) = model.cuts
        assert (known.answer.text, heard, told) == (before.answer.text, turn, seconds)
    else:
        assert not model.cuts, "nothing was cut"


def test_text_that_is_not_spoken_stays_when_all_was_heard() -> None:
    text = "# One two.\n\n[link](x)"
    talk = Conversation(opened(Scripted(Answer(text), Answer(audio=sound(1.0), spoken="One two."))))
    talk.ask("river?")
    assert talk.truncate(1.0).answer.text == text
    assert talk.truncate(0.99).answer.text == "One"
    assert talk.truncate(1.0).answer.text == "One", "what was not heard does not come back"


def test_more_than_was_sent_cannot_have_been_heard() -> None:
    talk = Conversation(opened(Scripted(*SPOKEN)))
    with pytest.raises(ConfigError, match="no turn -1"):
        talk.truncate(1.0)
    talk.ask("river?")
    for seconds in (3.1, -0.1, float("nan")):
        with pytest.raises(ConfigError, match=r"3\.000 s of speech"):
            talk.truncate(seconds)
    with pytest.raises(ConfigError, match="no turn 7"):
        talk.truncate(1.0, turn=7)
    assert talk.turns[0].answer.text == SPOKEN[0].text


def test_an_answer_is_cut_while_it_is_given_and_grows_no_more() -> None:
    model = Scripted(*SPOKEN)
    talk = Conversation(opened(model))
    with closing(talk.stream("river?")) as pieces:
        for piece in pieces:
            if piece.audio is not None:
                talk.truncate(1.0)
                assert not model.cuts, "the model is told when the answer is over"
    assert talk.turns[0].answer.text == "One two"
    assert [seconds for *_, seconds in model.cuts] == [1.0]


def test_an_abandoned_answer_is_kept_as_far_as_it_came_and_can_be_cut() -> None:
    talk = Conversation(opened(Scripted(*SPOKEN)))
    pieces = talk.stream("river?")
    while next(pieces).audio is None:
        pass
    pieces.close()
    assert talk.turns[0].answer.text == SPOKEN[0].text
    assert talk.truncate(2.0).answer.text == "One two three four.", "the second was not played"


def test_a_question_that_fails_before_its_first_piece_is_no_turn() -> None:
    embedder = FakeEmbedder()
    talk = Conversation(VoiceRAG(embedder, InMemoryStore(embedder.dim), Scripted()))
    with pytest.raises(StoreError, match="empty"):
        talk.ask("river?")
    with pytest.raises(ConfigError, match="empty"):
        talk.ask(" ")
    assert talk.turns == ()


def test_a_cancelled_turn_keeps_its_question() -> None:
    talk = Conversation(opened(Scripted(*SPOKEN)))
    call = Cancellation()
    with call.active(), closing(talk.stream("river?")) as pieces:
        next(pieces)
        call.cancel()
        with pytest.raises(CancelledError):
            list(pieces)
    assert [(turn.question, turn.answer.text) for turn in talk.turns] == [("river?", "")]


def test_turns_can_be_added_and_forgotten() -> None:
    talk = Conversation(opened(Scripted(*SPOKEN)))
    talk.add(Turn("a", Answer("b", audio=sound(1.0), spoken="b")))
    talk.ask("river?")
    talk.remove(0)
    assert [turn.question for turn in talk.turns] == ["river?"]
    with pytest.raises(ConfigError, match="no turn 3"):
        talk.remove(3)
    with pytest.raises(ConfigError, match="at least 1"):
        Conversation(opened(Scripted()), most_turns=0)


def test_manner_and_sampling_are_those_of_the_call_of_the_conversation_of_the_pipeline() -> None:
    model = Scripted(*SPOKEN)
    rag = opened(model)
    rag.instructions, rag.sampling = "kindly", Sampling(seed=1)
    Conversation(rag).ask("river?")
    talk = Conversation(rag, instructions=" sadly ", sampling=Sampling(seed=2))
    talk.ask("river?")
    talk.ask("river?", instructions="", sampling=Sampling(seed=3))
    assert [given["instructions"] for given in model.given] == ["kindly", "sadly", ""]
    assert [given["sampling"].seed for given in model.given] == [1, 2, 3]
    with pytest.raises(ConfigError, match="8001 characters"):
        talk.instructions = "x" * (MAX_INSTRUCTIONS + 1)
    with pytest.raises(ConfigError, match="8001 characters"):
        talk.ask("river?", instructions="x" * (MAX_INSTRUCTIONS + 1))


class Held(FakeTranscriber):
    """Transcribes when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def transcribe(self, audio: Audio) -> Any:
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        return super().transcribe(audio)


def test_a_speculation_searches_and_transcribes_once_and_its_result_is_used() -> None:
    model, transcriber = Scripted(*SPOKEN), FakeTranscriber()
    talk = Conversation(opened(model, transcriber))
    found = talk.speculate(clip())
    answer = talk.ask(found)
    assert transcriber.calls == 1
    assert answer.transcript == "where does the river reach the sea"
    assert model.given[0]["transcript"].text == answer.transcript
    assert model.given[0]["question"] == clip()
    assert [hit.passage.id for hit in answer.hits] == [
        hit.passage.id for hit in opened(model, transcriber).retrieve(clip()).hits
    ]
    assert talk.turns[0].words == answer.transcript


def test_a_speculation_gives_what_the_question_itself_gives() -> None:
    def ask(*, early: bool) -> tuple[Answer, list[Any]]:
        # Found by sound alone the passages do not answer, so that its words are searched, too.
        model = Scripted(Answer("No.", answered=False))
        rag = opened(model, FakeTranscriber())
        talk = Conversation(rag, limit=1)
        answer = talk.ask(talk.speculate(clip()) if early else clip())
        return answer, [given["transcript"] for given in model.given]

    (early, one), (late, other) = ask(early=True), ask(early=False)
    assert early.hits == late.hits
    assert early.text == late.text
    assert one == other
    assert "search_again" in early.timings


def test_a_speculation_that_is_thrown_away_starts_no_further_stage() -> None:
    transcriber = Held()
    searched: list[Retrieved] = []

    class Store(InMemoryStore):
        def search(self, *args: Any, **kwargs: Any) -> Any:
            searched.append(args[0])
            return super().search(*args, **kwargs)

    embedder = FakeEmbedder()
    rag = VoiceRAG(embedder, Store(embedder.dim), Scripted(), transcriber, strategy="asr")
    rag.index(PASSAGES)
    talk = Conversation(rag)
    with talk.speculate(clip()) as early:
        assert transcriber.begun.wait(PATIENCE)
        assert not early.done
    transcriber.go_on.set()
    with pytest.raises(CancelledError, match="thrown away"):
        early.result()
    assert early.cancelled
    assert not searched
    with pytest.raises(CancelledError):
        talk.ask(early)
    assert talk.turns == ()


def test_who_waits_for_a_speculation_can_be_cancelled() -> None:
    transcriber = Held()
    rag = opened(Scripted(*SPOKEN), transcriber)
    rag.strategy = "asr"
    early = Conversation(rag).speculate(clip())
    call = Cancellation()
    call.cancel()
    with call.active(), pytest.raises(CancelledError, match="the call was cancelled"):
        early.result()
    transcriber.go_on.set()
    assert early.result().transcription is not None, "the speculation itself goes on"


def test_what_fails_in_a_speculation_fails_where_it_is_used() -> None:
    rag = opened(Scripted(*SPOKEN))
    rag.strategy = "asr"  # without a transcriber
    early = Conversation(rag).speculate(clip())
    with pytest.raises(ConfigError, match="no transcriber"):
        early.result()
