"""Searching, asking, transcribing and speaking, without any server."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serving.fakes import FakeModels, fake_serving
from voicerag_core import (
    Answer,
    Audio,
    AudioError,
    CancelledError,
    ConfigError,
    NotFoundError,
    Passage,
    Question,
    Sampling,
    read_audio,
    to_wav_bytes,
)
from voicerag_core.serving import Job, Limits, Query, QuestionSource, Serving, Where
from voicerag_core.testing import FakeVoiceModel

WORDS = "where does the rhine rise"
TYPED = Query(QuestionSource(text=WORDS))


@pytest.fixture
def serving() -> Iterator[Serving]:
    with fake_serving() as opened:
        yield opened


@pytest.fixture
def wav() -> bytes:
    """One second of a tone."""
    tone = 0.3 * np.sin(np.arange(16_000, dtype=np.float32) / 9)
    return to_wav_bytes(Audio(tone.astype(np.float32), 16_000))


def where(**values: Any) -> Where:
    return values


def test_a_search_gives_hits_of_the_callers_tenant(serving: Serving) -> None:
    found = serving.asking.search(Job(), "default", TYPED)
    assert found.hits[0].passage.source == "rhine.txt"
    assert (found.collection, found.transcript) == ("default", None)
    with pytest.raises(NotFoundError, match="nothing has been indexed yet"):
        serving.asking.search(Job(), "other", TYPED)


def test_a_search_keeps_to_its_limits(serving: Serving) -> None:
    one = Query(QuestionSource(text=WORDS), limit=1)
    assert len(serving.asking.search(Job(), "default", one).hits) == 1
    for source in ("rhine.txt", "oxygen.txt"):
        only = Query(QuestionSource(text=WORDS), where=where(source=source))
        hits = serving.asking.search(Job(), "default", only).hits
        assert {hit.passage.source for hit in hits} == {source}
    either = Query(QuestionSource(text=WORDS), where=where(source=["rhine.txt", "oxygen.txt"]))
    assert len(serving.asking.search(Job(), "default", either).hits) == 2


def test_a_spoken_question_comes_with_its_words(serving: Serving, wav: bytes) -> None:
    spoken = QuestionSource(audio_base64=base64.b64encode(wav).decode())
    query = Query(spoken, strategy="asr")
    assert serving.asking.search(Job(), "default", query).transcript == WORDS
    assert serving.asking.ask(Job(), "default", query).answer.transcript == WORDS
    assert serving.asking.transcribe(Job(), "default", spoken).text == WORDS


def test_transcribing_needs_no_collection(wav: bytes) -> None:
    spoken = QuestionSource(audio_base64=base64.b64encode(wav).decode())
    with fake_serving() as serving:
        assert serving.asking.transcribe(Job(), "nobody", spoken).audio_seconds == 1
        assert serving.tenants.open_stores == 0
    with (
        fake_serving(FakeModels(transcriber=None)) as serving,
        pytest.raises(ConfigError, match="cannot transcribe"),
    ):
        serving.asking.transcribe(Job(), "default", spoken)


def test_a_stream_adds_up_to_the_answer(serving: Serving) -> None:
    pieces = list(serving.asking.stream(Job(), "default", TYPED))
    asked = serving.asking.ask(Job(), "default", TYPED)
    whole = sum(pieces, Answer())
    assert pieces[0].hits == whole.hits != ()
    assert len([piece for piece in pieces if piece.audio is not None]) > 1
    assert (whole.text, whole.hits) == (asked.answer.text, asked.answer.hits)
    assert whole.audio is not None
    assert asked.answer.audio is not None
    assert np.array_equal(whole.audio.samples, asked.answer.audio.samples)


async def test_a_stream_reaches_an_event_loop(serving: Serving) -> None:
    whole = Answer()
    stream = serving.workers.stream(lambda job: serving.asking.stream(job, "default", TYPED))
    async with aclosing(stream) as pieces:
        async for piece in pieces:
            whole += piece
    assert whole.text == "The Rhine rises in the Swiss Alps."
    assert whole.audio is not None


class EndlessModel(FakeVoiceModel):
    """Gives words for ever, and notes when it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = threading.Event()

    def respond(
        self, question: Question, passages: Sequence[Passage], *, sampling: Sampling, **_: Any
    ) -> Iterator[Answer]:
        del question, passages, sampling
        try:
            while True:
                yield Answer("word ")
        finally:
            self.closed.set()


def test_closing_a_stream_closes_the_model_and_the_lease() -> None:
    model = EndlessModel()
    with fake_serving(FakeModels(model=model), Limits(open_stores=1)) as serving:
        pieces = serving.asking.stream(Job(), "default", TYPED)
        for _ in range(3):
            next(pieces)
        assert not model.closed.is_set()
        pieces.close()
        assert model.closed.is_set()
        other = Query(QuestionSource(text=WORDS), collection="other")
        with pytest.raises(NotFoundError, match="there are: default"):
            serving.asking.search(Job(), "default", other)


def test_a_stopped_job_ends_its_stream() -> None:
    model, job = EndlessModel(), Job()
    with fake_serving(FakeModels(model=model)) as serving:
        pieces = serving.asking.stream(job, "default", TYPED)
        next(pieces)
        job.stop()
        with pytest.raises(CancelledError):
            list(pieces)


def test_speech_is_kept_where_it_is_wanted(tmp_path: Path) -> None:
    with fake_serving(limits=Limits(output_dir=tmp_path / "out")) as serving:
        asking = serving.asking
        kept = asking.ask(Job(), "default", TYPED).speech
        assert kept is not None
        assert kept.clip is not None
        assert serving.clips.get("default", kept.clip.id) is kept.clip
        assert asking.ask(Job(), "default", TYPED, speech=None).speech is None
        saved = asking.speak(Job(), "default", "Hello there. Good bye.", speech="file").speech
        assert saved.path is not None
        assert saved.path.parent == tmp_path / "out"
        assert read_audio(saved.path).seconds == saved.seconds
        assert serving.clips.ids("default") == [kept.clip.id]


def test_an_answer_without_speech_comes_from_the_silent_model(serving: Serving) -> None:
    asked = serving.asking.ask(Job(), "default", TYPED, speech=None)
    assert asked.answer.audio is None
    assert asked.answer.text


def test_speaking_streams_sentence_by_sentence(serving: Serving) -> None:
    job = Job()
    pieces = serving.asking.stream_speech(job, "Hello there. ... Good bye.")
    first = next(pieces)
    assert (job.message, job.progress) == ("speaking", 0)
    rest = list(pieces)
    assert len(rest) == 1, "what has no words is passed over"
    said = serving.asking.speak(Job(), "default", "Hello there. ... Good bye.")
    assert said.speech.seconds == pytest.approx(first.seconds + rest[0].seconds)


@pytest.mark.parametrize(
    ("text", "said"), [("word " * 1000, "cut it into several"), ("?!", "nothing that can be said")]
)
def test_what_cannot_be_spoken_is_refused(serving: Serving, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        serving.asking.speak(Job(), "default", text)


def test_a_server_without_a_voice_says_so() -> None:
    with (
        fake_serving(FakeModels(speaker=None)) as serving,
        pytest.raises(ConfigError, match="VOICERAG_SPEAK"),
    ):
        serving.asking.speak(Job(), "default", "Hello.")


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        (QuestionSource(), ConfigError, "exactly one"),
        (QuestionSource(text="a", clip="b"), ConfigError, "given: text, clip"),
        (QuestionSource(clip="none"), NotFoundError, "there is no clip 'none'"),
        (QuestionSource(audio_base64="!!!!"), AudioError, "not base64"),
        (QuestionSource(audio_base64="A" * 20_000_000), AudioError, "8000000 are taken"),
    ],
)
def test_a_question_that_cannot_be_used_is_refused(
    serving: Serving, source: QuestionSource, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        serving.asking.ask(Job(), "default", Query(source))


def test_a_text_cannot_be_transcribed(serving: Serving) -> None:
    with pytest.raises(ConfigError, match="give sound"):
        serving.asking.transcribe(Job(), "default", QuestionSource(text="words"))


def test_an_uploaded_clip_is_a_question_later(serving: Serving, wav: bytes) -> None:
    clip = serving.asking.keep_clip(Job(), "default", wav)
    for name in (clip.id, clip.uri):
        found = serving.asking.search(Job(), "default", Query(QuestionSource(clip=name)))
        assert found.hits
    with pytest.raises(NotFoundError):
        serving.asking.search(Job(), "other", Query(QuestionSource(clip=clip.id)))
    with pytest.raises(AudioError):
        serving.asking.keep_clip(Job(), "default", b"no sound")


def test_a_passage_comes_with_its_document(serving: Serving) -> None:
    (hit, *_) = serving.asking.search(Job(), "default", TYPED).hits
    found = serving.asking.passage(Job(), "default", hit.passage.id)
    assert found.passage == hit.passage
    assert found.passage in found.document
    assert {one.source for one in found.document} == {"rhine.txt"}
    with pytest.raises(NotFoundError, match="there is no passage 'none'"):
        serving.asking.passage(Job(), "default", "none")


class ToldModel(FakeVoiceModel):
    """Notes how it was told to speak."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, Sampling]] = []

    def respond(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        sampling: Sampling,
        instructions: str = "",
        **_: Any,
    ) -> Iterator[Answer]:
        self.told.append((instructions, sampling))
        yield Answer("Slowly.", notes=("It cannot sing.",))


def test_manner_and_sampling_of_a_call_reach_the_model() -> None:
    model = ToldModel()
    with fake_serving(FakeModels(model=model)) as serving:
        asking = serving.asking
        assert asking.sampling(None, None, None) is None
        sampling = asking.sampling(0.9, None, 77)
        assert sampling == Sampling(temperature=0.9, max_new_tokens=77)
        query = replace(TYPED, instructions="sing", sampling=sampling)
        assert asking.ask(Job(), "default", query).answer.notes == ("It cannot sing.",)
        asking.ask(Job(), "default", TYPED)
        long = replace(TYPED, instructions="x" * 8001)
        with pytest.raises(ConfigError, match="8001 characters"):
            asking.ask(Job(), "default", long)
    assert model.told == [("sing", sampling), ("", Sampling())]
