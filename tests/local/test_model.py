from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.waiting import PATIENCE, wait_until
from voicerag_core import read_audio
from voicerag_core.errors import ConfigError, GenerationError
from voicerag_core.local.hearing.whisper import WhisperTranscriber
from voicerag_core.local.model import (
    LEAST_CONFIDENCE,
    NOT_ENGLISH,
    SURE_CONFIDENCE,
    LocalVoiceModel,
)
from voicerag_core.local.reading.answer_scorer import AnswerScorer
from voicerag_core.local.reading.chat import NO_ANSWER, ChatMessage, ChatReader
from voicerag_core.local.reading.reader import Reader
from voicerag_core.local.replies import ENGLISH_REPLIES
from voicerag_core.local.speaking.speaker import PiperSpeaker
from voicerag_core.ports import VoiceModel
from voicerag_core.testing import FakeSpeaker, FakeTranscriber, VoiceModelContract
from voicerag_core.types import Answer, Audio, Passage, Sampling, Transcription, Turn

SAMPLE = Path(__file__).parents[2] / "examples" / "sample"
ANY = Sampling(seed=0)
LONG = Passage(
    "tower",
    "The tower is 48 metres tall. It was built of grey stone by Anna Beck, who had studied in "
    "Rome, and it was finished in 1642, after nine years of work.",
    {"title": "Tower"},
)


@pytest.fixture(scope="module")
def parts() -> Iterator[tuple[Reader, PiperSpeaker, WhisperTranscriber]]:
    with PiperSpeaker() as speaker:
        yield Reader(AnswerScorer(threads=2)), speaker, WhisperTranscriber()


@pytest.fixture(scope="module")
def asked() -> dict[str, str]:
    lines = (SAMPLE / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    found: dict[str, str] = json.loads(lines[1])
    return found


@pytest.fixture(scope="module")
def question(asked: dict[str, str]) -> str:
    return asked["question"]


@pytest.fixture(scope="module")
def clip(asked: dict[str, str]) -> Audio:
    return read_audio(SAMPLE / asked["audio"])


@pytest.fixture(scope="module")
def passages(asked: dict[str, str]) -> list[Passage]:
    lines = (SAMPLE / "passages.jsonl").read_text(encoding="utf-8").splitlines()
    everything = [
        Passage(line["id"], line["text"], {"title": line["title"]})
        for line in map(json.loads, lines)
    ]
    own = [passage for passage in everything if passage.id == asked["passage"]]
    return [everything[-1], *own, *everything[-3:-1]]


class TestReadingModel(VoiceModelContract):
    """The port's rules, on the real reader, recogniser and speaker."""

    @pytest.fixture
    def model(self, parts: tuple[Reader, PiperSpeaker, WhisperTranscriber]) -> VoiceModel:
        return LocalVoiceModel(*parts)

    def test_a_spoken_question_is_answered_aloud(
        self, model: VoiceModel, clip: Audio, passages: Sequence[Passage], asked: dict[str, str]
    ) -> None:
        pieces = list(model.respond(clip, passages, sampling=ANY))
        answer = sum(pieces, Answer())
        assert answer.answered
        assert "Newton" in answer.text
        assert {place.passage_id for place in answer.citations} == {asked["passage"]}
        assert answer.audio is not None
        assert answer.audio.seconds > 2
        assert set(answer.timings) == {"transcribe", "read", "first_audio"}
        assert sum("first_audio" in piece.timings for piece in pieces) == 1
        assert [bool(piece.text) for piece in pieces[:3]] == [False, True, False]


class TestChattingModel(VoiceModelContract):
    """The port's rules, with a chat function and the real speaker."""

    @pytest.fixture
    def model(self, parts: tuple[Reader, PiperSpeaker, WhisperTranscriber]) -> VoiceModel:
        def chat(messages: list[ChatMessage]) -> Iterator[str]:
            yield from ("It was", " Newton [2].", " He did not", " jump.")

        return LocalVoiceModel(ChatReader(chat), *parts[1:])


def respond(
    model: VoiceModel,
    question: Audio | str = "How tall is the tower?",
    transcript: str | None = None,
) -> Answer:
    known = None if transcript is None else Transcription(transcript)
    pieces = model.respond(question, [LONG], sampling=ANY, transcript=known)
    return sum(pieces, Answer())


def test_known_words_are_not_transcribed_again(clip: Audio) -> None:
    transcriber = FakeTranscriber()
    model = LocalVoiceModel(Reader(AnswerScorer(threads=2)), None, transcriber)
    assert respond(model, clip, transcript="How tall is the tower?").timings.keys() == {"read"}
    assert transcriber.calls == 0
    respond(model, clip)
    assert transcriber.calls == 1


@pytest.mark.parametrize("heard_before", [True, False])
def test_guessed_words_are_not_answered(clip: Audio, heard_before: bool) -> None:
    transcriber = WhisperTranscriber()
    babble = Audio(np.ascontiguousarray(clip.samples[::-1]), clip.sample_rate)
    heard = transcriber.transcribe(babble)
    assert heard.confidence is not None
    assert heard.confidence < LEAST_CONFIDENCE == pytest.approx(np.exp(-0.85))
    model = LocalVoiceModel(Reader(AnswerScorer(threads=2)), None, transcriber)
    pieces = model.respond(babble, [LONG], sampling=ANY, transcript=heard if heard_before else None)
    answer = sum(pieces, Answer())
    assert not answer.answered
    assert answer.text == NOT_ENGLISH or answer.asked_back


@pytest.mark.parametrize(
    ("confidence", "doubted"), [(0.2, True), (LEAST_CONFIDENCE, False), (None, False)]
)
def test_a_transcription_is_believed_by_its_confidence(
    clip: Audio, confidence: float | None, doubted: bool
) -> None:
    heard = Transcription("How tall is the tower?", confidence, "en")
    model = LocalVoiceModel(Reader(AnswerScorer(threads=2)), None, FakeTranscriber({clip: heard}))
    for known in (heard, None):
        answer = sum(model.respond(clip, [LONG], sampling=ANY, transcript=known), Answer())
        assert answer.asked_back is doubted
        assert answer.answered is not doubted
        assert ("did you mean" in answer.text and heard.text in answer.text) is doubted


@pytest.mark.parametrize(
    ("words", "confidence", "asked_back", "answered"),
    [
        ("How tall is the tower?", SURE_CONFIDENCE - 0.1, False, True),
        ("How tall is the flower in the spring?", SURE_CONFIDENCE - 0.1, True, False),
        ("How tall is the flower in the spring?", SURE_CONFIDENCE, False, False),
        ("How tall is the flower in the spring?", None, False, False),
    ],
)
def test_an_unsure_question_without_an_answer_is_asked_back(
    clip: Audio, words: str, confidence: float | None, asked_back: bool, answered: bool
) -> None:
    model = LocalVoiceModel(Reader(AnswerScorer(threads=2)), None)
    heard = Transcription(words, confidence, "en")
    answer = sum(model.respond(clip, [LONG], sampling=ANY, transcript=heard), Answer())
    assert (answer.asked_back, answer.answered) == (asked_back, answered)
    assert (words in answer.text) is asked_back
    assert not (asked_back and answer.citations)


@pytest.mark.parametrize(
    ("heard", "read"),
    [
        ("how tall is the tower.", "How tall is the tower?"),
        ("By when was it finished.", "By when was it finished?"),
        ("after what year was it finished.", "After what year was it finished?"),
        ("tower height.", "Tower height"),
        ("who built the tower", "Who built the tower?"),
        ("tower height", "tower height"),
        ("How tall is it?", "How tall is it?"),
        ("...", "..."),
    ],
)
def test_what_was_heard_is_read_as_it_would_be_typed(clip: Audio, heard: str, read: str) -> None:
    asked: list[str] = []

    class Writer:
        def answer(
            self,
            question: str,
            passages: Sequence[Passage],
            *,
            history: Sequence[Turn] = (),
            instructions: str = "",
        ) -> Generator[Answer, None, None]:
            asked.append(question)
            yield Answer("It is.")

    model = LocalVoiceModel(Writer(), None)
    pieces = model.respond(clip, [LONG], sampling=ANY, transcript=Transcription(heard))
    assert sum(pieces, Answer()).text == "It is."
    assert asked == [read]


def test_the_words_that_were_heard_come_before_the_answer(clip: Audio) -> None:
    transcriber = FakeTranscriber(otherwise="How tall is the tower?")
    model = LocalVoiceModel(Reader(AnswerScorer(threads=2)), None, transcriber)
    pieces = list(model.respond(clip, [LONG], sampling=ANY))
    assert [piece.transcript for piece in pieces] == ["How tall is the tower?", None]
    assert [bool(piece.text) for piece in pieces] == [False, True]
    known = Transcription("How tall is the tower?")
    told = model.respond(clip, [LONG], sampling=ANY, transcript=known)
    assert all(piece.transcript is None for piece in told), "the caller knows it already"


def test_a_spoken_question_without_words_needs_a_transcriber(clip: Audio) -> None:
    with pytest.raises(ConfigError, match="transcript"):
        respond(LocalVoiceModel(Reader(AnswerScorer(threads=2))), clip)


def test_without_a_speaker_there_is_text_only() -> None:
    answer = respond(LocalVoiceModel(Reader(AnswerScorer(threads=2))))
    assert answer.audio is None
    assert "48 metres" in answer.text


@pytest.mark.parametrize(
    ("question", "documents", "told"),
    [
        ("Wie hoch ist der Turm am Hafen?", [LONG], NOT_ENGLISH),
        ("塔有多高？", [LONG], NOT_ENGLISH),
        ("How tall is the tower?", [], ENGLISH_REPLIES.no_documents),
        ("Who won the football cup in 1998?", [LONG], ENGLISH_REPLIES.not_answered),
    ],
)
def test_what_cannot_be_answered_is_said_aloud(
    question: str, documents: list[Passage], told: str
) -> None:
    speaker = FakeSpeaker()
    model = LocalVoiceModel(Reader(AnswerScorer(threads=2)), speaker)
    answer = sum(model.respond(question, documents, sampling=ANY), Answer())
    assert not answer.answered
    assert answer.text.startswith(told)
    assert " ".join(speaker.spoken) == answer.text
    assert answer.citations == ()
    assert answer.audio is not None


def test_every_word_is_spoken_once_and_the_first_piece_is_short() -> None:
    speaker = FakeSpeaker()
    answer = respond(
        LocalVoiceModel(Reader(AnswerScorer(threads=2)), speaker), "Who built the tower?"
    )
    assert answer.text == LONG.text
    assert " ".join(speaker.spoken) == answer.text
    assert len(speaker.spoken[0].split()) <= 10
    assert len(speaker.spoken) >= 2


class GatedSpeaker(FakeSpeaker):
    """Speaks only when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Semaphore(0)
        self.asked = 0

    def speak(self, text: str) -> Audio:
        self.asked += 1
        self.gate.acquire()
        return super().speak(text)


@pytest.mark.parametrize("kind", ["reader", "chat"])
def test_closing_stops_the_speech(kind: str) -> None:
    speaker = GatedSpeaker()
    chat = ChatReader(lambda messages: " ".join(f"Sentence {i} is here." for i in range(6)))
    model = LocalVoiceModel(Reader(AnswerScorer(threads=2)) if kind == "reader" else chat, speaker)
    stream = model.respond("Who built the tower?", [LONG], sampling=ANY)
    speaker.gate.release()
    while next(stream).audio is None:
        pass
    if kind == "chat":
        wait_until(lambda: speaker.asked == 2)
    stream.close()  # type: ignore[attr-defined]
    assert len(speaker.spoken) == 1, "closing does not wait for the sentence in work"
    for _ in range(50):
        speaker.gate.release()
    wait_until(lambda: not speech_threads())
    assert len(speaker.spoken) <= 2, "one was heard, one may have been in work"


def speech_threads() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("voicerag-speech")]


def test_a_sentence_is_heard_while_the_chat_model_goes_on() -> None:
    heard = threading.Event()

    def chat(messages: list[ChatMessage]) -> Iterator[str]:
        yield "The tower is tall [1]. "
        yield "It "
        deadline = time.monotonic() + PATIENCE
        while not heard.is_set() and time.monotonic() < deadline:
            time.sleep(0.01)
            yield "very "
        yield "old."

    pieces = LocalVoiceModel(ChatReader(chat), FakeSpeaker()).respond(
        "How tall?", [LONG], sampling=ANY
    )
    order = []
    for piece in pieces:
        order.append("sound" if piece.audio is not None else "text")
        if piece.audio is not None:
            heard.set()
    assert order[0] == "text"
    assert "text" in order[order.index("sound") :]


def test_chat_answers_are_whole_cited_and_timed() -> None:
    speaker = FakeSpeaker()
    text = "The tower was built by Dr. Beck [1]. It is 48 metres tall."
    model = LocalVoiceModel(ChatReader(lambda messages: iter(text)), speaker)
    answer = respond(model)
    assert answer.text == text.replace(" [1]", "")
    assert " ".join(speaker.spoken) == answer.text
    assert [place.passage_id for place in answer.citations] == ["tower"]
    assert set(answer.timings) == {"read", "first_audio"}


def test_a_chat_model_declines_in_our_words() -> None:
    speaker = FakeSpeaker()
    answer = respond(LocalVoiceModel(ChatReader(lambda messages: iter(NO_ANSWER)), speaker))
    assert (answer.text, answer.answered) == (ENGLISH_REPLIES.not_answered, False)
    assert speaker.spoken == [ENGLISH_REPLIES.not_answered]


def test_a_chat_model_sees_the_history() -> None:
    seen: list[ChatMessage] = []

    def chat(messages: list[ChatMessage]) -> str:
        seen.extend(messages)
        return "Yes."

    model = LocalVoiceModel(ChatReader(chat))
    list(
        model.respond(
            "And how tall is it?", [LONG], sampling=ANY, history=[Turn("Who?", Answer("Beck."))]
        )
    )
    assert [message.content for message in seen[1:3]] == ["Who?", "Beck."]


@pytest.mark.parametrize("where", ["chat", "speaker"])
def test_faults_come_out_and_leave_no_thread(where: str) -> None:
    class BrokenSpeaker(FakeSpeaker):
        def speak(self, text: str) -> Audio:
            raise GenerationError("no sound")

    def chat(messages: list[ChatMessage]) -> Iterator[str]:
        yield "One sentence. Another one."
        if where == "chat":
            raise OSError("gone")

    speaker = BrokenSpeaker() if where == "speaker" else FakeSpeaker()
    with pytest.raises(GenerationError):
        respond(LocalVoiceModel(ChatReader(chat), speaker))
    wait_until(lambda: not speech_threads())


def test_two_hundred_abandoned_answers_leave_nothing() -> None:
    model = LocalVoiceModel(Reader(AnswerScorer(threads=2)), FakeSpeaker())
    before = threading.active_count()
    for _ in range(200):
        stream = model.respond("Who built the tower?", [LONG], sampling=ANY)
        next(stream)
        next(stream)
        stream.close()  # type: ignore[attr-defined]
    wait_until(lambda: threading.active_count() <= before)
