"""The state machine of a session: tables of events, a clock that the test sets, any order."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from voicerag_core import (
    Answer,
    Audio,
    AudioError,
    Citation,
    Found,
    Hit,
    ModelError,
    Passage,
    Turn,
    TurnEvent,
    VoiceRAGError,
)
from voicerag_web.realtime.inquiry import Inquiry
from voicerag_web.realtime.session import Session

EVENTS: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
WORDS = "The Rhine rises in the Swiss Alps."
HIT = Hit(Passage("p1", WORDS, {"title": "Rhine"}), 0.8, 1)


@dataclass
class FakeExchange:
    """What the core keeps of a question and its answer."""

    inquiry: Inquiry
    turn: Turn | None = None
    cut: float | None = None

    def truncate(self, seconds: float) -> Turn | None:
        self.cut = seconds
        if self.turn is not None:
            words = self.turn.answer.text.split()
            self.turn = Turn(self.turn.question, Answer(" ".join(words[: int(seconds * 2)])))
        return self.turn


@dataclass
class Script:
    """A detector that tells what it was told, at the samples it was told."""

    changes: list[tuple[Any, int]]
    at: int = 0
    sample_rate: int = 16_000
    playing: list[bool] = field(default_factory=list)

    def push(self, samples: Any, *, playing: bool = False) -> tuple[TurnEvent, ...]:
        self.at += len(samples)
        self.playing.append(playing)
        due = [one for one in self.changes if one[1] <= self.at]
        self.changes = [one for one in self.changes if one[1] > self.at]
        return tuple(TurnEvent(kind, sample) for kind, sample in due)

    def reset(self) -> None:
        self.at = 0


class Bench:
    """A session between a client and work that both obey the test."""

    def __init__(self, *changes: tuple[str, int]) -> None:
        self.now = 100.0
        self.sent: list[Any] = []
        self.exchanges: dict[int, FakeExchange] = {}
        self.said: dict[int, str] = {}
        self.prepared: dict[int, Inquiry] = {}
        self.transcripts: dict[int, Audio] = {}
        self.stopped: list[int] = []
        self.script = Script(list(changes))
        self.session = Session(
            "sess_1", "voicerag", self, self.sent.append, lambda: self.now,
            detector=lambda _: self.script,
        )  # fmt: skip

    def answer(self, number: int, asked: Inquiry) -> FakeExchange:
        self.exchanges[number] = FakeExchange(asked)
        return self.exchanges[number]

    def say(self, number: int, text: str, *, speaks: bool) -> None:
        del speaks
        self.said[number] = text

    def transcribe(self, number: int, audio: Audio) -> None:
        self.transcripts[number] = audio

    def prepare(self, number: int, asked: Inquiry) -> None:
        self.prepared[number] = asked

    def stop(self, number: int) -> None:
        self.stopped.append(number)

    def client(self, kind: str, **fields: object) -> list[Any]:
        """Send an event; return what came of it."""
        before = len(self.sent)
        self.session.receive(json.dumps({"type": kind, "event_id": "mine", **fields}))
        return self.sent[before:]

    def sound(self, seconds: float) -> list[Any]:
        data = base64.b64encode(bytes(2 * int(24_000 * seconds))).decode()
        return self.client("input_audio_buffer.append", audio=data)

    def ask(self, text: str = "Where does the Rhine rise?", **response: object) -> int:
        """Ask in words; return the number of the answer."""
        item = {
            "type": "message", "role": "user", "content": [{"type": "input_text", "text": text}],
        }  # fmt: skip
        self.client("conversation.item.create", item=item)
        self.client("response.create", response=response)
        return max(self.exchanges)

    def give(self, number: int, *pieces: Answer) -> None:
        """Hand pieces of an answer back, as the core keeps them."""
        for piece in pieces:
            exchange = self.exchanges[number]
            before = exchange.turn.answer if exchange.turn else Answer()
            kept = Answer(piece.text, transcript=piece.transcript, hits=piece.hits)
            exchange.turn = Turn(exchange.inquiry.question, before + kept)
            self.session.answers.piece(number, piece)

    @property
    def kinds(self) -> list[str]:
        return ["sound" if isinstance(one, bytes) else one["type"] for one in self.sent]

    def last(self, kind: str) -> Any:
        return [one for one in self.sent if not isinstance(one, bytes) and one["type"] == kind][-1]

    def error(self) -> Any:
        return self.last("error")["error"]


def tone(seconds: float, rate: int = 24_000) -> Audio:
    return Audio(np.full(int(seconds * rate), 0.1, np.float32), rate)


VAD_OFF = {"audio": {"input": {"turn_detection": None}}}


# Session


def test_a_partial_update_changes_only_what_it_names() -> None:
    bench = Bench()
    bench.client("session.update", session={"instructions": "Be kind.", "tracing": None})
    bench.client(
        "session.update", session={"audio": {"input": {"turn_detection": {"threshold": 0.7}}}}
    )
    bench.client("session.update", session={"audio": {"output": {"voice": "marin"}}})
    session = bench.last("session.updated")["session"]
    assert session["instructions"] == "Be kind."
    assert session["audio"]["input"]["turn_detection"]["threshold"] == 0.7
    assert session["audio"]["input"]["turn_detection"]["create_response"] is True
    assert session["audio"]["output"]["voice"] == "marin"
    assert session["tools"] == []
    assert "tracing" not in session


def test_null_clears_turn_detection_and_transcription_and_nothing_else() -> None:
    bench = Bench()
    bench.client(
        "session.update",
        session={
            "audio": {"input": {"transcription": {"model": "whisper-1"}}},
            "instructions": "x",
        },
    )
    bench.client(
        "session.update",
        session={
            "instructions": None,
            "audio": {"input": {"transcription": None, "turn_detection": None, "format": None}},
        },
    )
    session = bench.last("session.updated")["session"]
    assert session["audio"]["input"]["transcription"] is None
    assert session["audio"]["input"]["turn_detection"] is None
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24_000}
    assert session["instructions"] == "x"


@pytest.mark.parametrize(
    ("update", "param"),
    [
        ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 7000}}}}, "format.rate"),
        ({"audio": {"output": {"format": {"type": "audio/pcmu"}}}}, "output.format.type"),
        ({"audio": {"input": {"turn_detection": {"type": "mind_reading"}}}}, "type"),
        ({"audio": {"input": {"turn_detection": {"threshold": 2}}}}, "threshold"),
        ({"instructions": "x" * 8001}, "instructions"),
        ({"output_modalities": ["smell"]}, "output_modalities"),
        ({"output_modalities": []}, "output_modalities"),
        ({"audio": "loud"}, "audio"),
    ],
)
def test_an_invalid_update_changes_nothing(update: dict[str, object], param: str) -> None:
    bench = Bench()
    (answer,) = bench.client("session.update", session={"max_output_tokens": 7, **update})
    assert answer["type"] == "error"
    assert param in answer["error"]["param"]
    assert answer["error"]["event_id"] == "mine"
    bench.client("session.update", session={})
    session = bench.last("session.updated")["session"]
    assert session["max_output_tokens"] == "inf"


def test_a_change_between_kinds_of_turn_detection_begins_with_its_own_defaults() -> None:
    bench = Bench()
    for detection in ({"silence_duration_ms": 900}, {"type": "semantic_vad", "eagerness": "high"}):
        bench.client("session.update", session={"audio": {"input": {"turn_detection": detection}}})
    shown = bench.last("session.updated")["session"]["audio"]["input"]["turn_detection"]
    assert shown == {
        "type": "semantic_vad", "eagerness": "high", "create_response": True,
        "interrupt_response": True,
    }  # fmt: skip


def test_the_voice_stays_after_the_first_sound() -> None:
    bench = Bench()
    bench.give(bench.ask(), Answer(WORDS, audio=tone(0.2)))
    bench.client("session.update", session={"audio": {"output": {"voice": "other"}}})
    assert bench.error()["code"] == "cannot_update"
    bench.client("session.update", session={"audio": {"output": {"voice": "default"}}})
    assert bench.kinds[-1] == "session.updated"


# Bad input


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", "invalid_json"),
        ("[]", "invalid_json"),
        ("[" * 20_000, "invalid_json"),
        ('{"type": "session.explode"}', "unknown_event"),
        ('{"type": 7}', "unknown_event"),
        ("{}", "unknown_event"),
        ('{"type": "session.update"}', "missing_field"),
        ('{"type": "input_audio_buffer.append"}', "invalid_base64"),
        ('{"type": "input_audio_buffer.append", "audio": "äöü"}', "invalid_base64"),
        ('{"type": "input_audio_buffer.append", "audio": "abc"}', "invalid_base64"),
        ('{"type": "input_audio_buffer.commit"}', "input_audio_buffer_commit_empty"),
        ('{"type": "response.create"}', "no_question"),
        ('{"type": "conversation.item.retrieve", "item_id": "nope"}', "item_not_found"),
        ('{"type": "conversation.item.delete", "item_id": "nope"}', "item_not_found"),
        (
            '{"type": "conversation.item.truncate", "item_id": "nope", "audio_end_ms": 1}',
            "item_not_found",
        ),
        ('{"type": "conversation.item.create", "item": {"type": "spell"}}', "invalid_value"),
        ('{"type": "conversation.item.create", "item": {"content": []}}', "invalid_value"),
        (
            '{"type": "response.create", "response": {"metadata": {"a": 1}}}',
            "invalid_value",
        ),
        ('{"type": "response.cancel"}', "response_cancel_not_active"),
    ],
)
def test_what_cannot_be_done_is_said_and_the_session_goes_on(message: str, code: str) -> None:
    bench = Bench()
    bench.session.receive(message)
    assert bench.kinds == ["error"]
    assert bench.error()["code"] == code
    assert bench.error()["message"]
    EVENTS.validate_python(bench.sent[0], strict=True)
    number = bench.ask()
    bench.give(number, Answer(WORDS))
    bench.session.answers.ended(number)
    assert bench.last("response.done")["response"]["status"] == "completed"


def test_a_cancellation_of_nothing_begins_with_the_words_that_clients_look_for() -> None:
    bench = Bench()
    bench.client("response.cancel")
    assert bench.error()["message"].startswith("Cancellation failed")


def test_too_much_sound_in_one_event_is_refused() -> None:
    bench = Bench()
    data = base64.b64encode(bytes((1 << 20) + 2)).decode()
    bench.client("input_audio_buffer.append", audio=data)
    assert bench.error()["code"] == "audio_too_large"


def test_61_seconds_without_a_commit_are_refused_and_the_first_60_can_be_committed() -> None:
    bench = Bench()
    bench.client("session.update", session=VAD_OFF)
    for _ in range(60):
        assert bench.sound(1.0) == []
    bench.sound(1.0)
    assert bench.error()["code"] == "input_audio_buffer_full"
    bench.client("input_audio_buffer.commit")
    assert bench.last("input_audio_buffer.committed")["item_id"]
    assert bench.sound(1.0) == []


def test_odd_bytes_are_carried_over() -> None:
    bench = Bench()
    bench.client("session.update", session=VAD_OFF)
    pcm = (np.arange(-2400, 2400) * 4).astype("<i2").tobytes()
    for at in range(0, len(pcm), 333):
        audio = base64.b64encode(pcm[at : at + 333]).decode()
        bench.client("input_audio_buffer.append", audio=audio)
    bench.client("input_audio_buffer.commit")
    bench.client("response.create")
    question = bench.exchanges[max(bench.exchanges)].inquiry.question
    assert isinstance(question, Audio)
    steps = np.diff(question.samples[200:-200])
    assert 0 < steps.min() <= steps.max() < 0.001  # a ramp: no sample was torn in two


def test_a_text_of_5_megabytes_is_refused() -> None:
    bench = Bench()
    content = [{"type": "input_text", "text": "x" * 5_000_000}]
    bench.client("conversation.item.create", item={"role": "user", "content": content})
    assert bench.error()["code"] == "text_too_long"
    assert len(bench.session.items) == 0


def test_two_responses_at_once_are_refused_and_the_first_goes_on() -> None:
    bench = Bench()
    number = bench.ask()
    bench.client("response.create")
    assert bench.error()["code"] == "conversation_already_has_active_response"
    bench.give(number, Answer(WORDS))
    bench.session.answers.ended(number)
    assert bench.last("response.done")["response"]["status"] == "completed"


def test_a_truncation_beyond_the_end_is_refused() -> None:
    bench = Bench()
    number = bench.ask()
    bench.give(number, Answer(WORDS, audio=tone(1.0)))
    bench.session.answers.ended(number)
    item = bench.last("response.output_item.added")["item"]["id"]
    bench.client("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=5_000)
    assert bench.error()["param"] == "audio_end_ms"
    bench.client("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=500)
    assert bench.kinds[-1] == "conversation.item.truncated"
    bench.client("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=700)
    assert bench.kinds[-1] == "conversation.item.truncated"  # clients repeat themselves


def test_a_taken_id_is_refused() -> None:
    bench = Bench()
    item = {"id": "mine", "role": "user", "content": [{"type": "input_text", "text": "a"}]}
    bench.client("conversation.item.create", item=item)
    bench.client("conversation.item.create", item=item)
    assert bench.error()["code"] == "duplicate_id"


# Answers


def test_every_event_of_a_spoken_answer_names_its_response_and_comes_in_order() -> None:
    bench = Bench()
    number = bench.ask()
    bench.give(
        number,
        Answer(hits=(HIT,)),
        Answer("The Rhine rises ", audio=tone(0.25)),
        Answer("in the Swiss Alps.", audio=tone(0.25)),
    )
    bench.session.answers.ended(number)
    seen = bench.kinds[2:]
    assert seen[:5] == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
    ]
    assert seen[-6:] == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    deltas = [one for one in bench.sent if one["type"] == "response.output_audio.delta"]
    sound = b"".join(base64.b64decode(one["delta"]) for one in deltas)
    assert len(sound) == 24_000
    assert all(len(base64.b64decode(one["delta"])) <= 9600 for one in deltas)
    assert bench.last("response.output_audio_transcript.done")["transcript"] == WORDS
    name = bench.last("response.created")["response"]["id"]
    assert all(one.get("response_id", name) == name for one in bench.sent)
    for one in bench.sent:
        EVENTS.validate_python(one, strict=True)


def test_own_events_and_binary_sound_come_only_when_asked_for() -> None:
    bench = Bench()
    bench.client(
        "session.update", session={"voicerag": {"sources": True, "timing": True, "binary": True}}
    )
    number = bench.ask()
    bench.give(number, Answer(hits=(HIT,)), Answer(WORDS, audio=tone(0.3)))
    bench.session.answers.ended(number)
    assert bench.last("voicerag.sources")["passages"][0]["id"] == "p1"
    assert set(bench.last("voicerag.timing")["stages"]) == {"sources", "first_text", "first_audio"}
    assert sum(len(one) for one in bench.sent if isinstance(one, bytes)) == 14_400
    assert "response.output_audio.delta" not in bench.kinds


def test_long_sound_is_sent_at_most_5_seconds_ahead_of_its_playing() -> None:
    bench = Bench()
    bench.client("session.update", session={"voicerag": {"binary": True}})
    number = bench.ask()
    bench.give(number, Answer(WORDS, audio=tone(30.0)))
    bench.session.answers.ended(number)

    def sent() -> float:
        return sum(len(one) for one in bench.sent if isinstance(one, bytes)) / 48_000

    assert sent() == pytest.approx(10.0, abs=0.11)
    wait = bench.session.tick()
    assert wait == pytest.approx(5.0, abs=0.11)
    bench.now += 15.0
    bench.session.tick()
    assert sent() == pytest.approx(20.0, abs=0.11)
    assert "response.done" not in bench.kinds
    bench.now += 15.0
    bench.session.tick()
    assert sent() == pytest.approx(30.0, abs=0.01)
    assert bench.kinds[-1] == "response.done"


def test_a_cancelled_answer_ends_with_all_its_events_and_late_pieces_are_dropped() -> None:
    bench = Bench()
    number = bench.ask()
    bench.give(number, Answer("The Rhine ", audio=tone(0.2)))
    bench.client("response.cancel")
    done = bench.last("response.done")["response"]
    assert done["status"] == "cancelled"
    assert done["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    assert done["output"][0]["status"] == "incomplete"
    assert number in bench.stopped
    before = len(bench.sent)
    bench.session.answers.piece(number, Answer("rises", audio=tone(0.2)))
    bench.session.answers.ended(number)
    assert len(bench.sent) == before


def test_an_answer_outside_the_conversation_leaves_no_trace() -> None:
    bench = Bench()
    item = {"role": "user", "content": [{"type": "input_text", "text": "Aside?"}]}
    bench.client("response.create", response={"conversation": "none", "input": [item]})
    number = max(bench.exchanges)
    bench.give(number, Answer(WORDS))
    bench.session.answers.ended(number)
    assert bench.exchanges[number].inquiry.question == "Aside?"
    assert len(bench.session.items) == 0
    assert "conversation.item.added" not in bench.kinds
    assert bench.last("response.created")["response"]["conversation_id"] is None


def test_history_is_what_was_said_before_with_what_was_heard() -> None:
    bench = Bench()
    first = bench.ask()
    bench.give(first, Answer(WORDS, audio=tone(4.0)))
    bench.session.answers.ended(first)
    item = bench.last("response.output_item.added")["item"]["id"]
    bench.client("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=1500)
    second = bench.ask("And where does it end?")
    (turn,) = bench.exchanges[second].inquiry.history
    assert turn.question == "Where does the Rhine rise?"
    assert turn.answer.text == "The Rhine rises"
    bench.client("response.cancel")
    bench.client("conversation.item.retrieve", item_id=item)
    content = bench.last("conversation.item.retrieved")["item"]["content"]
    assert content == [{"type": "output_audio", "transcript": "The Rhine rises"}]


def test_items_of_the_client_are_history_too() -> None:
    bench = Bench()
    for role, kind, text in (
        ("user", "input_text", "Who?"),
        ("assistant", "output_text", "Nobody."),
        ("system", "input_text", "Speak slowly."),
    ):
        item = {"role": role, "content": [{"type": kind, "text": text}]}
        bench.client("conversation.item.create", item=item)
    inquiry = bench.exchanges[bench.ask("Why?")].inquiry
    assert [(turn.question, turn.answer.text) for turn in inquiry.history] == [("Who?", "Nobody.")]
    assert "Speak slowly." in inquiry.instructions


def test_a_failure_is_told_with_its_words() -> None:
    bench = Bench()
    number = bench.ask()
    bench.session.answers.ended(number, ModelError("the voice broke"))
    done = bench.last("response.done")["response"]
    assert done["status"] == "failed"
    assert done["status_details"]["error"]["code"] == "model_failed"
    assert bench.error()["message"] == "the voice broke"
    assert not bench.session.answers.busy


def test_a_clip_can_be_a_message_too() -> None:
    bench = Bench()
    audio = base64.b64encode(bytes(48_000)).decode()
    content = [{"type": "input_audio", "audio": audio}]
    bench.client("conversation.item.create", item={"role": "user", "content": content})
    shown = bench.last("conversation.item.added")["item"]["content"]
    assert shown == [{"type": "input_audio", "transcript": None}]
    bench.client("response.create")
    question = bench.exchanges[max(bench.exchanges)].inquiry.question
    assert isinstance(question, Audio)
    assert (question.seconds, question.sample_rate) == (1.0, 16_000)


# Turns of speech

TURN = (("started", 8_000), ("paused", 16_000), ("stopped", 20_000))


def test_a_spoken_turn_is_found_searched_in_its_pause_and_answered_at_its_stop() -> None:
    bench = Bench(("started", 8_000), ("paused", 16_000), ("stopped", 16_000))
    bench.script.changes[2] = ("stopped", 24_000)
    bench.sound(1.1)
    assert bench.kinds == ["input_audio_buffer.speech_started"]
    assert bench.sent[0]["audio_start_ms"] == 200  # 500 ms less 300 ms of padding
    ((number, inquiry),) = bench.prepared.items()
    assert isinstance(inquiry.question, Audio)
    bench.sound(0.5)
    assert bench.kinds[1:6] == [
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    (exchange,) = bench.exchanges.values()
    assert exchange.inquiry.prepared == number
    assert number not in bench.stopped


def test_a_turn_that_goes_on_after_a_pause_throws_the_search_away() -> None:
    bench = Bench(
        ("started", 4_000), ("paused", 8_000), ("resumed", 12_000), ("paused", 20_000),
        ("stopped", 28_000),
    )  # fmt: skip
    bench.sound(2.0)
    first, second = bench.prepared
    assert bench.stopped == [first]
    (exchange,) = bench.exchanges.values()
    assert exchange.inquiry.prepared == second
    assert len([one for one in bench.kinds if one.endswith("speech_started")]) == 1


def test_what_a_pause_found_is_told_to_whoever_asks_for_it() -> None:
    found = Found((HIT,), final=False)
    for wanted in (True, False):
        bench = Bench(("started", 4_000), ("paused", 8_000), ("resumed", 12_000))
        bench.client("session.update", session={"voicerag": {"candidates": wanted}})
        bench.sound(0.6)
        (number,) = bench.prepared
        bench.session.found(number + 1, found)  # of an earlier pause
        bench.session.found(number, Found((), final=False))
        assert "voicerag.candidates" not in bench.kinds
        bench.session.found(number, found)
        assert ("voicerag.candidates" in bench.kinds) == wanted
        if wanted:
            assert bench.sent[-1]["passages"][0]["title"] == "Rhine"
            assert not bench.sent[-1]["final"]
        bench.sound(0.4)
        bench.session.found(number, found)  # whoever spoke goes on
        assert bench.kinds.count("voicerag.candidates") == wanted


OTHER = Hit(Passage("p2", "The Po rises in Italy.", {"title": "Po"}), 0.7, 1)


def sources(bench: Bench) -> list[tuple[str, bool]]:
    """Return the first passage of each event with sources, and whether that is final."""
    events = [one for one in bench.sent if one["type"] == "voicerag.sources"]
    return [(one["passages"][0]["id"], one["final"]) for one in events]


@pytest.mark.parametrize("at_the_pause", [True, False])
def test_what_the_sound_found_is_told_before_the_words_are_known(at_the_pause: bool) -> None:
    """Before the turn is over it waits for its end, after that it goes out at once."""
    bench = Bench(("started", 4_000), ("paused", 8_000), ("stopped", 12_000))
    bench.client("session.update", session={"voicerag": {"sources": True, "timing": True}})
    bench.sound(0.6)
    (prepared,) = bench.prepared
    early = Found((OTHER,), final=False)
    if at_the_pause:
        bench.session.found(prepared, early)
        assert sources(bench) == []
    bench.sound(0.2)
    if not at_the_pause:
        bench.now += 0.1
        bench.session.found(prepared, early)
    assert sources(bench) == [("p2", False)]
    (number,) = bench.exchanges
    bench.now += 0.4
    bench.session.found(prepared, Found((HIT,), final=True))
    assert sources(bench) == [("p2", False), ("p1", True)]
    bench.give(number, Answer(hits=(HIT,), transcript="where does it rise"), Answer(WORDS))
    bench.session.found(prepared, early)  # too late: the answer knows better
    bench.session.answers.ended(number)
    assert sources(bench) == [("p2", False), ("p1", True)], "nothing is told twice"
    stages = bench.last("voicerag.timing")["stages"]
    assert stages["sources"] - stages["early_sources"] == pytest.approx(0.4, abs=1e-3)
    assert stages["sources"] == stages["transcript"]
    done = bench.last("response.done")["response"]
    assert [one["id"] for one in json.loads(done["metadata"]["voicerag.sources"])] == ["p1"]


def test_sources_that_were_cited_or_joined_later_are_told_again() -> None:
    bench = Bench(*TURN)
    bench.client("session.update", session={"voicerag": {"sources": True}})
    bench.sound(2.0)
    (number,) = bench.exchanges
    (prepared,) = bench.prepared
    bench.session.found(prepared, Found((HIT,), final=True))
    bench.give(number, Answer(hits=(HIT,)))
    assert sources(bench) == [("p1", True)]
    bench.give(number, Answer(hits=(OTHER,)))
    assert len(bench.last("voicerag.sources")["passages"]) == 2
    bench.give(number, Answer(WORDS, citations=(Citation("p1", 0, 9),)))
    assert bench.last("voicerag.sources")["sources"][0]["quote"] == WORDS[:9]


def test_what_was_found_for_a_question_that_was_given_up_is_not_told() -> None:
    bench = Bench(*TURN)
    bench.client("session.update", session={"voicerag": {"sources": True}})
    bench.sound(2.0)
    (prepared,) = bench.prepared
    bench.client("response.cancel")
    bench.session.found(prepared, Found((HIT,), final=False))
    assert sources(bench) == []


def test_speech_interrupts_an_answer_and_what_was_played_stays() -> None:
    bench = Bench(*TURN)
    number = bench.ask()
    bench.give(number, Answer(WORDS, audio=tone(4.0)))
    bench.session.answers.ended(number)  # complete here, while the client still plays
    bench.now += 1.5
    bench.sound(0.6)
    assert bench.script.playing[-1]
    assert bench.kinds[-1] == "input_audio_buffer.speech_started"
    bench.now += 2.0
    bench.session.tick()
    exchange = bench.exchanges[number]
    assert exchange.cut == pytest.approx(1.5)
    item = bench.last("response.output_item.added")["item"]["id"]
    bench.client("conversation.item.retrieve", item_id=item)
    content = bench.last("conversation.item.retrieved")["item"]["content"]
    assert content[0]["transcript"] == "The Rhine rises"


def test_what_the_client_says_was_heard_goes_before_what_the_clock_says() -> None:
    bench = Bench(*TURN)
    number = bench.ask()
    bench.give(number, Answer(WORDS, audio=tone(4.0)))
    bench.session.answers.ended(number)
    bench.now += 1.5
    bench.sound(0.6)
    item = bench.last("response.output_item.added")["item"]["id"]
    bench.client("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=1000)
    bench.now += 5.0
    bench.session.tick()
    assert bench.exchanges[number].cut == 1.0


def test_speech_ends_an_answer_that_is_being_made() -> None:
    bench = Bench(*TURN)
    number = bench.ask()
    bench.give(number, Answer("The Rhine ", audio=tone(1.0)))
    bench.sound(0.6)
    done = bench.last("response.done")["response"]
    assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert number in bench.stopped


def test_without_interruption_the_turn_is_answered_after_the_answer() -> None:
    bench = Bench(*TURN)
    bench.client(
        "session.update",
        session={"audio": {"input": {"turn_detection": {"interrupt_response": False}}}},
    )
    number = bench.ask()
    bench.give(number, Answer(WORDS, audio=tone(0.2)))
    bench.sound(2.0)
    assert len(bench.exchanges) == 1
    bench.session.answers.ended(number)
    assert len(bench.exchanges) == 2


def test_without_create_response_a_turn_is_only_transcribed_if_asked_for() -> None:
    for wanted in ({}, {"transcription": {"model": "x"}}):
        bench = Bench(*TURN)
        detection = {"turn_detection": {"create_response": False}}
        bench.client("session.update", session={"audio": {"input": {**detection, **wanted}}})
        bench.sound(2.0)
        assert not bench.exchanges
        assert not bench.prepared
        assert len(bench.transcripts) == len(wanted)
        for number in bench.transcripts:
            bench.session.answers.transcribed(number, "hello")
            completed = bench.sent[-1]
            assert completed["type"].endswith("transcription.completed")
            assert completed["usage"]["type"] == "duration"


def test_a_clip_without_speech_fails_as_a_transcript_and_is_told_in_an_answer() -> None:
    bench = Bench()
    bench.client("session.update", session=VAD_OFF)
    bench.sound(1.0)
    bench.client("input_audio_buffer.commit")
    bench.client("response.create")
    (number,) = bench.exchanges
    bench.session.answers.ended(number, AudioError("no speech was heard in the clip of 1.0 s"))
    failed = bench.last("conversation.item.input_audio_transcription.failed")
    assert failed["error"]["code"] == "no_speech"
    assert bench.said == {number: "I did not hear a question."}
    bench.session.answers.piece(number, Answer(bench.said[number], answered=False))
    bench.session.answers.ended(number)
    done = bench.last("response.done")["response"]
    assert done["status"] == "completed"
    assert done["output"][0]["content"][0]["transcript"] == "I did not hear a question."


def test_no_speech_is_told_once_of_an_item_that_is_answered_again() -> None:
    bench = Bench()
    bench.client("session.update", session=VAD_OFF)
    bench.sound(1.0)
    bench.client("input_audio_buffer.commit")
    for _ in range(2):
        bench.client("response.create")
        number = max(bench.exchanges)
        bench.session.answers.ended(number, AudioError("no speech was heard"))
        bench.session.answers.ended(number)
    failed = "conversation.item.input_audio_transcription.failed"
    assert bench.kinds.count(failed) == 1


def test_a_clip_that_is_answered_is_not_transcribed_beside_its_answer() -> None:
    bench = Bench()
    bench.client(
        "session.update",
        session={"audio": {"input": {"turn_detection": None, "transcription": {}}}},
    )
    for _ in range(2):
        bench.sound(1.0)
        bench.client("input_audio_buffer.commit")
    _, aside = bench.transcripts
    bench.client("response.create")
    assert bench.stopped == [aside]
    bench.session.answers.transcribed(aside, "too late")
    (number,) = bench.exchanges
    bench.give(number, Answer(WORDS))
    bench.session.answers.ended(number)
    after = max(bench.transcripts)
    assert after > number, "the answer brought no words"
    bench.session.answers.transcribed(after, "where does it rise")
    heard = bench.last("conversation.item.input_audio_transcription.completed")
    assert heard["transcript"] == "where does it rise"


def test_a_turn_of_more_than_a_question_may_last_is_cut() -> None:
    bench = Bench(("started", 4_000))
    for _ in range(31):
        bench.sound(1.0)
    assert "input_audio_buffer.speech_stopped" in bench.kinds
    question = next(iter(bench.exchanges.values())).inquiry.question
    assert isinstance(question, Audio)
    assert question.seconds <= 30.0


def test_a_question_that_a_model_answers_by_its_sound_is_transcribed_if_asked_for() -> None:
    bench = Bench(*TURN)
    bench.client("session.update", session={"audio": {"input": {"transcription": {}}}})
    bench.sound(2.0)
    (number,) = bench.exchanges
    bench.give(number, Answer(WORDS))
    bench.session.answers.ended(number)
    assert len(bench.transcripts) == 1


def test_memory_does_not_grow_with_the_conversation() -> None:
    bench = Bench()
    for turn in range(300):
        number = bench.ask(f"Question {turn}?")
        bench.give(number, Answer(WORDS))
        bench.session.answers.ended(number)
    assert len(bench.session.items) == 200
    assert sum(item.exchange is not None for item in bench.session.items) <= 21
    assert len(bench.session.items.turns()) == 100


# Any order

_PARTS = st.sampled_from(
    [
        ("session.update", {"session": {"instructions": "a"}}),
        ("session.update", {"session": VAD_OFF}),
        ("session.update", {"session": {"audio": {"input": {"turn_detection": {}}}}}),
        ("input_audio_buffer.append", {"audio": base64.b64encode(bytes(9600)).decode()}),
        ("input_audio_buffer.append", {"audio": "!"}),
        ("input_audio_buffer.commit", {}),
        ("input_audio_buffer.clear", {}),
        (
            "conversation.item.create",
            {"item": {"role": "user", "content": [{"type": "input_text", "text": "x"}]}},
        ),
        ("response.create", {}),
        ("response.create", {"response": {"conversation": "none", "output_modalities": ["text"]}}),
        ("response.cancel", {}),
        ("truncate", {}),
        ("delete", {}),
        ("piece", {}),
        ("end", {}),
        ("fail", {}),
        ("time", {}),
        ("speak", {}),
    ]
)


@given(st.lists(_PARTS, max_size=40))
def test_in_any_order_each_response_ends_once_and_every_event_is_of_the_sdks_types(
    steps: list[tuple[str, dict[str, object]]],
) -> None:
    bench = Bench()
    for kind, fields in steps:
        _step(bench, kind, fields)
    for number in list(bench.exchanges):
        bench.session.answers.ended(number)
    bench.now += 100
    bench.session.tick()
    created = [one["response"]["id"] for one in bench.sent if one["type"] == "response.created"]
    done = [one["response"]["id"] for one in bench.sent if one["type"] == "response.done"]
    assert sorted(created) == sorted(done)
    ended: set[str] = set()
    for one in bench.sent:
        EVENTS.validate_python(one, strict=True)
        assert one.get("response_id") not in ended or one.get("response_id") is None
        if one["type"] == "response.done":
            ended.add(one["response"]["id"])


def _step(bench: Bench, kind: str, fields: dict[str, object]) -> None:
    newest = max(bench.exchanges, default=0)
    answers = [item for item in bench.session.items if item.role == "assistant"]
    match kind:
        case "piece" if newest:
            bench.give(newest, Answer("Some words. ", audio=tone(0.5)))
        case "end" if newest:
            bench.session.answers.ended(newest)
        case "fail" if newest:
            error: VoiceRAGError = AudioError("nothing") if newest % 2 else ModelError("broken")
            bench.session.answers.ended(newest, error)
        case "time":
            bench.now += 1.0
            bench.session.tick()
        case "speak":
            at = bench.script.at
            bench.script.changes = [("started", at + 1), ("paused", at + 4), ("stopped", at + 9)]
            bench.sound(0.2)
        case "truncate" | "delete" if answers:
            more = {"content_index": 0, "audio_end_ms": 100} if kind == "truncate" else {}
            bench.client(f"conversation.item.{kind}", item_id=answers[-1].id, **more)
        case "piece" | "end" | "fail" | "truncate" | "delete":
            pass
        case _:
            bench.client(kind, **fields)


def test_what_went_otherwise_than_set_is_told_with_the_response() -> None:
    bench = Bench(("started", 4_000), ("paused", 8_000), ("stopped", 12_000))
    bench.sound(0.8)
    (number,) = bench.exchanges
    note = "the chat model failed; the reader answered"
    bench.give(number, Answer(hits=(HIT,)), Answer(WORDS, notes=(note,)))
    bench.session.answers.ended(number)
    done = bench.last("response.done")["response"]
    assert done["metadata"]["voicerag.notes"] == note
