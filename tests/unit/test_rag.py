"""The conductor, on fakes: what it calls, what it refuses, what comes out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from voicerag_core import (
    STRATEGIES,
    Answer,
    Audio,
    AudioError,
    Citation,
    ConfigError,
    EmptyCollectionError,
    Hit,
    IndexProgress,
    Passage,
    Question,
    Retrieved,
    Sampling,
    StoreError,
    Strategy,
    Transcription,
    Turn,
    VoiceRAG,
    maximal_marginal_relevance,
)
from voicerag_core import rag as conductor
from voicerag_core.filters import Eq
from voicerag_core.local.model import LocalVoiceModel
from voicerag_core.local.reading.answer_scorer import AnswerScorer
from voicerag_core.local.reading.reader import Reader
from voicerag_core.ports import DocumentStore, PassageStore
from voicerag_core.rag import embed_passages
from voicerag_core.retrieval.fusion import SPEECH_SHARE
from voicerag_core.retrieval.strategies import SURE_CONFIDENCE
from voicerag_core.testing import FakeEmbedder, FakeTranscriber, FakeVoiceModel, InMemoryStore
from voicerag_core.types import Vocabulary, Wording

QUESTION = "who discovered penicillin"
PASSAGES = [
    Passage("fleming", "Alexander Fleming discovered penicillin. It was 1928.", {"topic": "drug"}),
    Passage("rhine", "The Rhine rises in the Alps. It ends in the North Sea.", {"topic": "river"}),
    Passage("oxygen", "Oxygen is a gas. Priestley discovered it.", {"topic": "gas"}),
]


def clip(rate: int = 16_000, seconds: float = 1.0) -> Audio:
    time = np.arange(round(rate * seconds)) / rate
    return Audio((0.2 * np.sin(2 * np.pi * 300 * time)).astype(np.float32), rate)


class CountingEmbedder(FakeEmbedder):
    """Remembers what it was asked to embed."""

    def __init__(self, *, needs_transcriber: bool = False) -> None:
        super().__init__(transcripts={clip(): QUESTION}, needs_transcriber=needs_transcriber)
        self.texts: list[str] = []
        self.clips: list[Audio] = []

    def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        self.texts += texts
        return super().embed_passages(texts)

    def embed_speech(self, clips: Sequence[Audio]) -> np.ndarray:
        self.clips += clips
        return super().embed_speech(clips)


class Parts:
    """A VoiceRAG over fakes, with the fakes at hand."""

    def __init__(self, *, needs_transcriber: bool = False, strategy: Strategy = "e2e") -> None:
        self.embedder = CountingEmbedder(needs_transcriber=needs_transcriber)
        self.store = InMemoryStore(self.embedder.dim)
        self.transcriber = FakeTranscriber({clip(): QUESTION})
        self.rag = VoiceRAG(
            self.embedder, self.store, FakeVoiceModel(), self.transcriber, strategy=strategy
        )
        self.rag.index(PASSAGES)
        self.embedder.texts.clear()


def test_e2e_finds_passages_without_a_transcript() -> None:
    parts = Parts()
    found = parts.rag.retrieve(clip())
    assert found.hits[0].passage.id == "fleming"
    assert found.transcription is None
    assert parts.transcriber.calls == 0
    assert parts.embedder.texts == []
    assert set(found.timings) == {"embed", "search"}


def test_asr_embeds_the_transcript_and_hears_once() -> None:
    parts = Parts(needs_transcriber=True, strategy="asr")
    found = parts.rag.retrieve(clip())
    assert found.hits[0].passage.id == "fleming"
    assert found.transcription == Transcription(QUESTION)
    assert parts.transcriber.calls == 1
    assert parts.embedder.texts == [QUESTION]
    assert parts.embedder.clips == []
    assert set(found.timings) == {"transcribe", "embed", "search"}


def test_hybrid_searches_by_speech_vector_and_by_words() -> None:
    parts = Parts(strategy="hybrid")
    found = parts.rag.retrieve(clip())
    assert found.hits[0].passage.id == "fleming"
    assert set(found.hits[0].matched_by) == {"vector", "words"}
    assert len(parts.embedder.clips) == 1


def test_hybrid_hears_once_even_when_the_embedder_transcribes() -> None:
    parts = Parts(needs_transcriber=True, strategy="hybrid")
    parts.rag.retrieve(clip())
    assert parts.transcriber.calls == 1
    assert parts.embedder.clips == []


class JudgingEmbedder(CountingEmbedder):
    """Says how sure it is of a clip, and may mishear it."""

    def __init__(self, confidence: float, hears: str = QUESTION) -> None:
        super().__init__()
        self.confidence = confidence
        self.hears = hears

    def embed_speech_scored(self, clips: Sequence[Audio]) -> tuple[np.ndarray, np.ndarray]:
        self.clips += clips
        if not self.hears:
            raise AudioError("no speech was heard")
        rows = FakeEmbedder.embed_passages(self, [self.hears] * len(clips))
        return rows, np.full(len(clips), self.confidence, np.float32)

    def embed_speech(self, clips: Sequence[Audio]) -> np.ndarray:
        return self.embed_speech_scored(clips)[0]


class AdaptiveParts(Parts):
    """As `Parts`, with an embedder that judges itself."""

    def __init__(self, embedder: JudgingEmbedder, *, passages: list[Passage] = PASSAGES) -> None:
        self.embedder = embedder
        self.store = InMemoryStore(embedder.dim)
        self.transcriber = FakeTranscriber({clip(): QUESTION})
        self.rag = VoiceRAG(
            embedder, self.store, FakeVoiceModel(), self.transcriber, strategy="adaptive"
        )
        self.rag.index(passages)
        embedder.texts.clear()


def test_adaptive_does_without_a_transcript_when_it_is_sure() -> None:
    parts = AdaptiveParts(JudgingEmbedder(SURE_CONFIDENCE))
    found = parts.rag.retrieve(clip())
    assert found.hits == parts.rag.retrieve(clip(), strategy="e2e").hits
    assert found.hits[0].passage.id == "fleming"
    assert found.transcription is None
    assert parts.transcriber.calls == 0
    assert set(found.timings) == {"embed", "search"}
    assert len(parts.rag.retrieve(clip(), limit=1).hits) == 1
    assert parts.transcriber.calls == 0, "the lead over the second is known even when one is asked"


def test_an_embedder_says_itself_which_lead_is_sure() -> None:
    class Crowded(JudgingEmbedder):
        sure_gap = 2.0

    parts = AdaptiveParts(Crowded(SURE_CONFIDENCE))
    parts.rag.retrieve(clip())
    assert parts.transcriber.calls == 1
    Crowded.sure_gap = -2.0
    parts.rag.retrieve(clip())
    assert parts.transcriber.calls == 1


@pytest.mark.parametrize(("language", "mixes"), [("en", True), (None, True), ("de", False)])
@pytest.mark.parametrize("strategy", ["hybrid", "adaptive"])
def test_the_sound_of_a_language_that_the_encoder_does_not_know_is_not_searched_by(
    strategy: Strategy, language: str | None, mixes: bool
) -> None:
    class English(JudgingEmbedder):
        ears_language = "en"

    parts = AdaptiveParts(English(SURE_CONFIDENCE - 0.01, hears="the rhine rises"))
    heard = Transcription(QUESTION, language=language)
    parts.transcriber = FakeTranscriber({clip(): heard})
    rag = VoiceRAG(parts.embedder, parts.store, FakeVoiceModel(), parts.transcriber)
    words = parts.embedder.embed_questions([QUESTION])[0]
    found = rag.retrieve(clip(), strategy=strategy)
    assert found.embedding is not None
    assert np.allclose(found.embedding, words) != mixes


def test_adaptive_transcribes_once_when_the_embedder_is_unsure() -> None:
    parts = AdaptiveParts(JudgingEmbedder(SURE_CONFIDENCE - 0.01, hears="the rhine rises"))
    found = parts.rag.retrieve(clip())
    assert found.hits == parts.rag.retrieve(clip(), strategy="hybrid").hits
    assert found.transcription == Transcription(QUESTION)
    assert set(found.timings) == {"embed", "transcribe", "search"}
    by_id = {hit.passage.id: hit for hit in found.hits}
    assert by_id["fleming"].matched_by == ("vector", "words"), "the words of the transcript"
    assert by_id["rhine"].matched_by == ("vector",), "the words that were misheard are no words"
    assert len(parts.embedder.clips) == 2, "once for each of the two retrievals"
    assert parts.transcriber.calls == 2


def test_adaptive_transcribes_when_the_best_passage_hardly_leads() -> None:
    twins = [*PASSAGES, Passage("twin", PASSAGES[0].text)]
    parts = AdaptiveParts(JudgingEmbedder(1.0), passages=twins)
    assert parts.rag.retrieve(clip()).transcription == Transcription(QUESTION)
    assert parts.rag.retrieve(clip(), diversity=0.5).transcription == Transcription(QUESTION)
    assert parts.rag.retrieve(clip(), where=Eq("topic", "drug")).transcription is None


@pytest.mark.parametrize("strategy", ["adaptive", "hybrid"])
def test_where_the_embedder_hears_nothing_the_transcript_is_searched(strategy: Strategy) -> None:
    parts = AdaptiveParts(JudgingEmbedder(1.0, hears=""))
    found = parts.rag.retrieve(clip(), strategy=strategy)
    assert found.hits[0].passage.id == "fleming"
    assert found.transcription == Transcription(QUESTION)
    vector = FakeEmbedder.embed_passages(parts.embedder, [QUESTION])[0]
    assert found.embedding is not None
    assert np.allclose(found.embedding, vector)


def test_hybrid_searches_by_the_mean_of_speech_and_transcript() -> None:
    parts = AdaptiveParts(JudgingEmbedder(0.0, hears="the rhine rises"))
    found = parts.rag.retrieve(clip(), strategy="hybrid").embedding
    spoken, typed = FakeEmbedder.embed_passages(parts.embedder, ["the rhine rises", QUESTION])
    mixed = SPEECH_SHARE * spoken + (1 - SPEECH_SHARE) * typed
    assert found is not None
    assert np.allclose(found, mixed / np.linalg.norm(mixed), atol=1e-6)


def test_nobody_speaking_is_said_when_neither_heard_anything() -> None:
    class Deaf(FakeTranscriber):
        def transcribe(self, audio: Audio) -> Transcription:
            raise AudioError("no speech was heard by the transcriber")

    embedder = JudgingEmbedder(1.0, hears="")
    rag = VoiceRAG(embedder, InMemoryStore(embedder.dim), FakeVoiceModel(), Deaf({}))
    for strategy in ("adaptive", "hybrid"):
        with pytest.raises(AudioError, match="by the transcriber"):
            rag.retrieve(clip(), strategy=strategy)
    with pytest.raises(AudioError, match="no speech"):
        rag.retrieve(clip(), strategy="e2e")


def test_the_sound_alone_finds_where_no_words_are_made_out() -> None:
    class Deaf(FakeTranscriber):
        def transcribe(self, audio: Audio) -> Transcription:
            raise AudioError("no speech was heard by the transcriber")

    embedder = JudgingEmbedder(0.0)
    rag = VoiceRAG(embedder, InMemoryStore(embedder.dim), FakeVoiceModel(), Deaf({}))
    rag.index(PASSAGES)
    by_sound = rag.retrieve(clip(), strategy="e2e")
    for strategy in ("adaptive", "hybrid"):
        found = rag.retrieve(clip(), strategy=strategy)
        assert found.hits == by_sound.hits
        assert found.transcription is None


def test_adaptive_goes_by_the_lead_alone_where_the_embedder_does_not_judge() -> None:
    parts = Parts(strategy="adaptive")
    assert parts.rag.retrieve(clip()).transcription is None
    parts.rag.index([Passage("twin", PASSAGES[0].text)])
    assert parts.rag.retrieve(clip()).transcription == Transcription(QUESTION)


def test_an_answer_to_a_search_without_words_hears_them_once() -> None:
    parts = AdaptiveParts(JudgingEmbedder(1.0))
    model = LocalVoiceModel(Reader(AnswerScorer(threads=1)), None, parts.transcriber)
    rag = VoiceRAG(parts.embedder, parts.store, model, parts.transcriber, strategy="adaptive")
    found = rag.retrieve(clip())
    assert (found.transcription, parts.transcriber.calls) == (None, 0)
    pieces = rag.respond(clip(), found)
    assert next(pieces).hits == found.hits
    assert parts.transcriber.calls == 0, "the hits leave first"
    assert sum(pieces, Answer()).timings["transcribe"] >= 0
    assert parts.transcriber.calls == 1
    unsure = AdaptiveParts(JudgingEmbedder(0.0))
    model = LocalVoiceModel(Reader(AnswerScorer(threads=1)), None, unsure.transcriber)
    rag = VoiceRAG(unsure.embedder, unsure.store, model, unsure.transcriber, strategy="adaptive")
    rag.ask(clip())
    assert unsure.transcriber.calls == 1


class CountedChecks:
    """Counts how often the conductor checks and resamples a clip."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        for name in ("check_audio", "resample"):
            monkeypatch.setattr(conductor, name, self._counted(name, getattr(conductor, name)))

    def _counted(self, name: str, real: Callable[..., Audio]) -> Callable[..., Audio]:
        def call(audio: Audio, *values: object, **named: object) -> Audio:
            self.calls.append(name)
            return real(audio, *values, **named)

        return call


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_ask_checks_resamples_and_transcribes_a_clip_once(
    strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = CountedChecks(monkeypatch)
    parts = AdaptiveParts(JudgingEmbedder(0.0))
    model = LocalVoiceModel(Reader(AnswerScorer(threads=1)), None, parts.transcriber)
    rag = VoiceRAG(parts.embedder, parts.store, model, parts.transcriber, strategy=strategy)
    answer = rag.ask(clip(rate=44_100))
    assert checks.calls == ["check_audio", "resample"]
    assert parts.transcriber.calls == 1
    assert answer.transcript == FakeTranscriber().transcribe(clip()).text


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_was_heard_comes_with_the_answer(strategy: Strategy) -> None:
    parts = Parts(strategy=strategy)
    pieces = list(parts.rag.stream(clip()))
    heard = parts.rag.retrieve(clip()).transcription
    assert pieces[0].hits
    assert pieces[0].transcript == (None if heard is None else heard.text)
    assert parts.rag.ask(QUESTION).transcript is None, "it was typed"


def test_a_stream_adds_up_to_the_answer() -> None:
    parts = Parts(strategy="hybrid")
    whole, again = parts.rag.ask(clip()), sum(parts.rag.stream(clip()), Answer())
    assert (again.text, again.hits, again.audio) == (whole.text, whole.hits, whole.audio)
    limited = next(iter(parts.rag.stream(clip(), limit=1, where=Eq("topic", "river"))))
    assert [hit.passage.id for hit in limited.hits] == ["rhine"]


def test_every_strategy_that_can_be_named_is_in_the_table() -> None:
    assert list(STRATEGIES) == list(get_args(Strategy))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_typed_question_is_searched_by_vector_and_words_whatever_the_strategy(
    strategy: Strategy,
) -> None:
    parts = Parts(needs_transcriber=True, strategy=strategy)
    best = parts.rag.retrieve(QUESTION).hits[0]
    assert (best.passage.id, best.matched_by[:2]) == ("fleming", ("vector", "words"))
    assert parts.embedder.texts[:1] == [QUESTION]
    assert parts.transcriber.calls == 0


class TwoSidedEmbedder(FakeEmbedder):
    """Puts a prefix before passages and another one before questions, as E5 does."""

    def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        return super().embed_passages([f"passage: {text}" for text in texts])

    def embed_questions(self, texts: Sequence[str]) -> np.ndarray:
        return FakeEmbedder.embed_passages(self, [f"query: {text}" for text in texts])


@pytest.mark.parametrize("question", [QUESTION, clip()])
def test_words_of_a_question_are_embedded_as_a_question(question: Audio | str) -> None:
    embedder = TwoSidedEmbedder(needs_transcriber=True)
    rag = VoiceRAG(
        embedder,
        InMemoryStore(embedder.dim),
        FakeVoiceModel(),
        FakeTranscriber({clip(): QUESTION}),
        strategy="asr",
        sentence_vectors=False,
    )
    rag.index([Passage("a", QUESTION)])
    vector = rag.retrieve(question).embedding
    assert vector is not None
    plain = FakeEmbedder()
    asked, stored = plain.embed_passages([f"query: {QUESTION}", f"passage: {QUESTION}"])
    assert np.allclose(vector, asked)
    assert rag.retrieve(question).hits[0].score == pytest.approx(float(asked @ stored), abs=1e-5)


@pytest.mark.parametrize("strategy", [one for one in STRATEGIES if one != "adaptive"])
def test_a_strategy_with_words_searches_by_them(strategy: Strategy) -> None:
    parts = Parts(strategy=strategy)
    best = parts.rag.retrieve(clip()).hits[0]
    words = () if strategy == "e2e" else ("words",)
    again = ("second_round",) if strategy == "two_round" else ()
    assert (best.passage.id, best.matched_by) == ("fleming", ("vector", *words, *again))


def test_the_whole_passage_is_embedded_with_its_title_and_headings() -> None:
    parts = Parts()
    told = Passage("leave", "Ask Mira. She knows.", {"title": "Handbook", "path": ["A", "Leave"]})
    bare = Passage("bare", "Ask Tom.")
    parts.rag.index([told, bare])
    assert parts.embedder.texts == ["Handbook > A > Leave\nAsk Mira. She knows.", "Ask Tom."]
    parts.embedder.texts.clear()
    embed_passages(parts.embedder, [told], sentences=True)
    assert parts.embedder.texts[1:] == ["Ask Mira.", "She knows."], "sentences have none of it"


def test_a_ready_vector_is_searched_as_it_is() -> None:
    parts = Parts()
    vector = parts.embedder.embed_passages([QUESTION])[0]
    best = parts.rag.retrieve(vector).hits[0]
    assert (best.passage.id, best.matched_by) == ("fleming", ("vector",))
    with pytest.raises(ConfigError, match=r"shape \[256\]"):
        parts.rag.retrieve(vector[:9])
    with pytest.raises(ConfigError, match="finite"):
        parts.rag.retrieve(np.full_like(vector, np.nan))


@pytest.mark.parametrize("strategy", ["e2e", "adaptive"])
def test_e2e_refuses_an_embedder_that_goes_through_words(strategy: Strategy) -> None:
    with pytest.raises(ConfigError, match=f"'{strategy}' finds passages without a transcript"):
        Parts(needs_transcriber=True, strategy=strategy).rag.retrieve(clip())


@pytest.mark.parametrize("strategy", ["asr", "hybrid", "adaptive"])
def test_asr_without_a_transcriber_is_refused(strategy: Strategy) -> None:
    parts = Parts()
    rag = VoiceRAG(parts.embedder, parts.store, FakeVoiceModel(), strategy=strategy)
    with pytest.raises(ConfigError, match="no transcriber"):
        rag.retrieve(clip())


def test_limits_and_filters_reach_the_store() -> None:
    rag = Parts().rag
    assert len(rag.retrieve(QUESTION, limit=2).hits) == 2
    assert [h.passage.id for h in rag.retrieve(QUESTION, where=Eq("topic", "gas")).hits] == [
        "oxygen"
    ]
    best = rag.retrieve(QUESTION).hits[0].score
    assert len(rag.retrieve(QUESTION, min_score=best - 1e-3).hits) == 1
    assert rag.retrieve(QUESTION, min_score=1.0).hits == ()


@pytest.mark.parametrize("question", ["", "  \n"])
def test_an_empty_question_is_refused(question: str) -> None:
    with pytest.raises(ConfigError, match="question is empty"):
        Parts().rag.retrieve(question)


def test_unusable_sound_is_refused_at_the_edge() -> None:
    parts = Parts()
    with pytest.raises(AudioError, match="silent"):
        parts.rag.retrieve(Audio(np.zeros(16_000, np.float32), 16_000))
    with pytest.raises(AudioError, match=r"lasts 31\.0 s"):
        parts.rag.retrieve(clip(seconds=31))
    assert parts.embedder.clips == []


def test_another_rate_is_converted() -> None:
    parts = Parts()
    parts.rag.retrieve(clip(44_100))
    assert [heard.sample_rate for heard in parts.embedder.clips] == [16_000]


def test_unknown_options_are_refused() -> None:
    parts = Parts()
    with pytest.raises(ConfigError, match="unknown strategy 'magic'"):
        VoiceRAG(parts.embedder, parts.store, FakeVoiceModel(), strategy="magic")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="at least 1"):
        parts.rag.retrieve(QUESTION, limit=0)
    with pytest.raises(ConfigError, match="diversity"):
        parts.rag.retrieve(QUESTION, diversity=2)
    with pytest.raises(ConfigError, match="at least 1 passage"):
        parts.rag.index(PASSAGES, batch_size=0)


def test_the_first_piece_carries_the_hits() -> None:
    rag = Parts().rag
    found = rag.retrieve(clip())
    pieces = list(rag.respond(clip(), found))
    assert pieces[0] == Answer(hits=found.hits, timings=found.timings)
    assert all(piece.hits == () for piece in pieces[1:])


def test_ask_is_the_sum_of_the_stream() -> None:
    rag = Parts().rag
    answer = rag.ask(clip())
    streamed = sum(rag.respond(clip(), rag.retrieve(clip())), Answer())
    assert answer.text == streamed.text == "Alexander Fleming discovered penicillin."
    assert answer.audio == streamed.audio is not None
    assert answer.citations == streamed.citations
    assert set(answer.timings) == {"embed", "search", "respond"}


class RecordingModel(FakeVoiceModel):
    """Remembers what it was given, and whether its stream was closed."""

    closed = False
    given: dict[str, object]

    def respond(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        sampling: Sampling,
        transcript: Transcription | None = None,
        history: Sequence[Turn] = (),
        instructions: str = "",
    ) -> Iterator[Answer]:
        self.given = {"passages": passages, "transcript": transcript, "history": history}
        self.given["sampling"] = sampling
        try:
            yield Answer("a ")
            yield Answer("b ")
        finally:
            self.closed = True


def test_closing_the_stream_closes_the_model_below() -> None:
    parts = Parts(strategy="asr")
    model = RecordingModel()
    rag = VoiceRAG(parts.embedder, parts.store, model, parts.transcriber, strategy="asr")
    history = [Turn("before", Answer("then"))]
    pieces = rag.respond(clip(), rag.retrieve(clip()), sampling=Sampling(seed=3), history=history)
    assert [next(pieces).text, next(pieces).text] == ["", "a "]
    assert model.given["transcript"] == Transcription(QUESTION)
    assert model.given["history"] == history
    assert model.given["sampling"] == Sampling(seed=3)
    assert not model.closed
    assert isinstance(pieces, Generator)
    pieces.close()
    assert model.closed


def test_an_empty_knowledge_base_is_said_to_be_empty() -> None:
    embedder = FakeEmbedder()
    rag = VoiceRAG(embedder, InMemoryStore(embedder.dim), FakeVoiceModel())
    assert rag.retrieve(QUESTION).hits == ()
    with pytest.raises(EmptyCollectionError, match=r"knowledge base is empty.*voicerag index"):
        rag.ask(QUESTION)


def test_nothing_found_in_a_full_base_is_no_error() -> None:
    answer = Parts().rag.ask(QUESTION, where=Eq("topic", "none"))
    assert not answer.answered
    assert answer.hits == ()


def test_indexing_again_embeds_and_writes_nothing() -> None:
    parts = Parts()
    steps: list[IndexProgress] = []
    assert parts.rag.index(iter(PASSAGES), batch_size=2, on_progress=steps.append) == 0
    assert parts.embedder.texts == []
    assert steps == [IndexProgress(2, 0, 0), IndexProgress(3, 0, 0)]
    changed = Passage("rhine", PASSAGES[1].text, {"topic": "water"})
    assert parts.rag.index([PASSAGES[0], changed]) == 1
    assert parts.store.get(["rhine"]) == [changed]


def test_sentences_point_to_their_passage() -> None:
    embedder = CountingEmbedder()
    rag = VoiceRAG(embedder, InMemoryStore(embedder.dim), FakeVoiceModel(), sentence_vectors=True)
    vectors, owners = rag.embed_passages([*PASSAGES, Passage("one", "One sentence alone.")])
    assert owners.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert len(vectors) == 10
    assert embedder.texts[:3] == [
        PASSAGES[0].text, "Alexander Fleming discovered penicillin.", "It was 1928.",
    ]  # fmt: skip
    rag.index(PASSAGES)
    hits = rag.retrieve("Priestley discovered it.").hits
    assert [hit.passage.id for hit in hits].count("oxygen") == 1
    assert hits[0].score == pytest.approx(1, abs=1e-3)


def test_a_store_without_documents_is_said_to_be_one() -> None:
    class Bare:
        count = InMemoryStore.count

    rag = VoiceRAG(FakeEmbedder(), Bare(), FakeVoiceModel())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Bare keeps passages but no documents"):
        _ = rag.document_store


def test_the_fake_store_is_both_kinds_of_store() -> None:
    store: PassageStore = InMemoryStore(8)
    assert isinstance(store, DocumentStore)


def vector(*values: float) -> np.ndarray:
    row = np.array(values, np.float32)
    return row / np.float32(np.linalg.norm(row))


def test_mmr_prefers_what_differs_from_the_picked() -> None:
    query = vector(1, 0, 0)
    near = Hit(Passage("near", ""), 0.9, 1, embedding=vector(1, 0.3, 0))
    twin = Hit(Passage("twin", ""), 0.9, 2, embedding=vector(1, 0.31, 0))
    other = Hit(Passage("other", ""), 0.5, 3, embedding=vector(1, -1, 0))

    def order(diversity: float) -> list[str]:
        hits = maximal_marginal_relevance(query, [near, twin, other], limit=2, diversity=diversity)
        return [hit.passage.id for hit in hits]

    assert order(0.0) == ["near", "twin"]
    assert order(0.5) == ["near", "other"]
    assert maximal_marginal_relevance(query, [], limit=2) == ()
    with pytest.raises(StoreError, match="without its vector"):
        maximal_marginal_relevance(query, [Hit(Passage("x", ""), 0, 1)], limit=1)


def test_retrieve_with_diversity_gives_as_many() -> None:
    found: Retrieved = Parts().rag.retrieve(QUESTION, limit=2, diversity=0.5)
    assert len(found.hits) == 2
    assert found.hits[0].passage.id == "fleming"


class ReadingOnModel(FakeVoiceModel):
    """Reads all that it gets, and answers from the last passage."""

    most_passages = 3

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def respond(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        sampling: Sampling,
        transcript: Transcription | None = None,
        history: Sequence[Turn] = (),
        instructions: str = "",
    ) -> Iterator[Answer]:
        self.read = [passage.id for passage in passages]
        yield Answer("So it is.", citations=(Citation(passages[-1].id, 0, 5),))


def test_a_model_that_reads_on_gets_more_passages_and_the_cited_one_is_a_hit() -> None:
    model = ReadingOnModel()
    rag = VoiceRAG(FakeEmbedder(), InMemoryStore(FakeEmbedder().dim), model, limit=1)
    rag.index(PASSAGES)
    found = rag.retrieve(QUESTION)
    assert [hit.passage.id for hit in found.hits] == ["fleming"]
    assert len(found.more) == 2
    first, *_ = rag.respond(QUESTION, found)
    assert first.hits == found.hits
    answer = rag.ask(QUESTION)
    assert model.read == [hit.passage.id for hit in (*found.hits, *found.more)]
    assert answer.hits == (*found.hits, found.more[-1])


def test_other_models_get_the_hits_alone() -> None:
    rag = VoiceRAG(FakeEmbedder(), InMemoryStore(FakeEmbedder().dim), FakeVoiceModel(), limit=1)
    rag.index(PASSAGES)
    assert rag.retrieve(QUESTION).more == ()


def test_a_closed_answer_closes_a_model_that_reads_on() -> None:
    closed: list[str] = []

    class Watched(ReadingOnModel):
        def respond(self, *args: object, **options: object) -> Iterator[Answer]:
            try:
                yield Answer("One.")
                yield Answer("Two.")
            finally:
                closed.append("closed")

    rag = VoiceRAG(FakeEmbedder(), InMemoryStore(FakeEmbedder().dim), Watched(), limit=1)
    rag.index(PASSAGES)
    pieces = rag.stream(QUESTION)
    next(pieces)
    next(pieces)
    assert isinstance(pieces, Generator)
    pieces.close()
    assert closed == ["closed"]


class WordsModel(FakeVoiceModel):
    """Reads words, and answers from one passage alone."""

    reads_words = True

    def __init__(self, answers_from: str) -> None:
        super().__init__()
        self.answers_from = answers_from
        self.given: list[list[str]] = []
        self.heard: list[str | None] = []
        self.closed = 0

    def respond(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        sampling: Sampling,
        transcript: Transcription | None = None,
        history: Sequence[Turn] = (),
        instructions: str = "",
    ) -> Generator[Answer, None, None]:
        self.given.append([passage.id for passage in passages])
        self.heard.append(None if transcript is None else transcript.text)
        try:
            if self.answers_from in self.given[-1]:
                yield Answer("Here.")
            else:
                yield Answer("Nothing.", answered=False)
            yield Answer(" More.")
        finally:
            self.closed += 1


def misheard(strategy: Strategy, model: WordsModel) -> Parts:
    """Parts whose speech vector is that of another passage than the transcript's."""
    parts = Parts(strategy=strategy)
    parts.embedder = CountingEmbedder()
    wrong = FakeEmbedder(transcripts={clip(): "The Rhine rises in the Alps."})
    parts.embedder.embed_speech = wrong.embed_speech  # type: ignore[method-assign]
    parts.rag = VoiceRAG(
        parts.embedder, parts.store, model, parts.transcriber, strategy=strategy, limit=1
    )
    parts.rag.index(PASSAGES)
    return parts


def test_where_nothing_answers_the_transcript_is_searched_once() -> None:
    model = WordsModel("fleming")
    parts = misheard("e2e", model)
    pieces = list(parts.rag.stream(clip()))
    answer = sum(pieces, Answer())
    assert (answer.text, answer.answered) == ("Here. More.", True)
    assert model.given == [["rhine"], ["fleming"]]
    assert model.heard == [QUESTION, QUESTION]
    assert model.closed == 2, "the first answer is closed before its next piece"
    assert [hit.passage.id for hit in answer.hits] == ["rhine", "fleming"]
    assert "words" in answer.hits[1].matched_by
    assert answer.timings["search_again"] > 0
    assert parts.transcriber.calls == 1
    texts = "".join(piece.text for piece in pieces)
    assert "Nothing" not in texts


def test_what_was_searched_by_its_words_is_not_searched_again() -> None:
    model = WordsModel("oxygen")
    answer = misheard("asr", model).rag.ask(clip())
    assert not answer.answered
    assert len(model.given) == 1
    assert "search_again" not in answer.timings


def test_what_was_searched_by_sound_and_words_is_searched_by_words_alone() -> None:
    model = WordsModel("fleming")
    answer = misheard("hybrid", model).rag.ask(clip())
    assert (answer.text, answer.answered) == ("Here. More.", True)
    assert model.given == [["rhine"], ["fleming"]]


@pytest.mark.parametrize("strategy", ["e2e", "asr"])
def test_another_wording_is_searched_where_the_transcript_leads_to_nothing(
    strategy: Strategy,
) -> None:
    model = WordsModel("oxygen")
    parts = misheard(strategy, model)
    others = ("Where is the Nile?", "What is the heart of oxygen?", "Who found penicillin?")
    heard = Transcription(QUESTION, 0.6, "en", others)
    parts.rag.transcriber = FakeTranscriber({clip(): heard})
    answer = parts.rag.ask(clip())
    assert (answer.text, answer.answered) == ("Here. More.", True)
    assert model.heard[-1] == others[1], "the others after it are not tried"
    assert model.closed == len(model.given)
    assert answer.transcript == QUESTION


def test_for_another_wording_only_the_first_passages_are_read() -> None:
    model = WordsModel("nothing")
    model.most_passages = 3  # type: ignore[attr-defined]
    parts = misheard("e2e", model)
    heard = Transcription(QUESTION, 0.6, "en", ("Where is the Nile?",))
    parts.rag.transcriber = FakeTranscriber({clip(): heard})
    parts.rag.ask(clip())
    assert model.heard == [QUESTION, QUESTION, heard.others[0]]
    assert [len(given) for given in model.given] == [3, 3, 1]


def test_a_wording_that_leads_to_nothing_either_changes_nothing() -> None:
    model = WordsModel("nothing")
    parts = misheard("asr", model)
    heard = Transcription(
        QUESTION, 0.6, "en", ("Where is the Nile?", "Who?", "What?", "Why?", "How?", "Which?")
    )
    parts.rag.transcriber = FakeTranscriber({clip(): heard})
    answer = parts.rag.ask(clip())
    assert (answer.text, answer.answered) == ("Nothing. More.", False)
    assert model.heard == [QUESTION, *heard.others[:5]], "five at most"
    assert [hit.passage.id for hit in answer.hits] == model.given[0]


class ReadingModel(WordsModel):
    """Reads by itself, and cites what it answers from."""

    most_passages = 2
    cites = True

    def respond(self, *given: Any, **named: Any) -> Generator[Answer, None, None]:
        for piece in super().respond(*given, **named):
            cited = self.cites and piece.text == "Here."
            yield replace(piece, citations=(Citation(self.answers_from, 0, 4),) if cited else ())


def test_where_the_sound_is_sure_what_the_words_find_is_read_first() -> None:
    model = ReadingModel("fleming")
    answer = misheard("adaptive", model).rag.ask(clip())
    assert (answer.text, answer.answered) == ("Here. More.", True)
    assert [given[0] for given in model.given] == ["fleming"]
    assert [(hit.passage.id, hit.rank) for hit in answer.hits] == [("rhine", 1), ("fleming", 2)]
    other = ReadingModel("rhine")
    other.answers_from = "nothing of the kind"
    assert not misheard("adaptive", other).rag.ask(clip()).answered
    assert [given[0] for given in other.given] == ["fleming", "rhine"], "the sound's are next"


def test_what_the_words_found_is_shown_where_the_answer_cites_it() -> None:
    model = ReadingModel("fleming")
    model.cites = False
    answer = misheard("adaptive", model).rag.ask(clip())
    assert answer.answered
    assert [hit.passage.id for hit in answer.hits] == ["rhine"]


def test_a_model_that_does_not_read_by_itself_answers_from_what_is_shown() -> None:
    model = WordsModel("rhine")
    assert misheard("adaptive", model).rag.ask(clip()).answered
    assert model.given == [["rhine"]]


class Rewords(FakeTranscriber):
    """Proposes other wordings when it is asked for them."""

    def __init__(self, *wordings: Wording, confidence: float = 0.6) -> None:
        heard = Transcription(QUESTION, confidence, "en", ("Never looked at?",))
        super().__init__({clip(): heard})
        self.wordings = wordings
        self.asked: list[str] = []

    def other_wordings(
        self, audio: Audio, heard: Transcription, vocabulary: Vocabulary | None = None
    ) -> tuple[Wording, ...]:
        self.asked.append(heard.text)
        return self.wordings


class DoubtfulModel(WordsModel):
    """Answers with a probability of 0.75."""

    least = 0.0

    def answer_probability(self, question: str, passages: Sequence[Passage]) -> float:
        return 0.75

    def declining_below(self, probability: float) -> WordsModel:
        made = copy.copy(self)
        made.answers_from = self.answers_from if probability <= 0.75 else ""
        return made


def test_other_wordings_are_asked_for_where_the_transcript_leads_to_nothing() -> None:
    for passage, asked in (("fleming", []), ("oxygen", [QUESTION])):
        model = WordsModel(passage)
        parts = misheard("asr", model)
        transcriber = Rewords(Wording("What is the heart of oxygen?"))
        parts.rag.transcriber = transcriber
        answer = parts.rag.ask(clip())
        assert (answer.text, transcriber.asked) == ("Here. More.", asked)
        assert "Never looked at?" not in model.heard


@pytest.mark.parametrize(("lead", "answered"), [(1.0, True), (-1.0, False)])
def test_a_sure_transcript_gives_way_only_to_what_fits_better(lead: float, answered: bool) -> None:
    model = WordsModel("oxygen")
    parts = misheard("asr", model)
    parts.rag.transcriber = Rewords(Wording("What is the heart of oxygen?", lead), confidence=0.9)
    assert parts.rag.ask(clip()).answered is answered
    assert len(model.heard) == 1 + answered


@pytest.mark.parametrize(("lead", "answered"), [(1.0, True), (-3.0, True), (-9.0, False)])
def test_the_worse_a_wording_fits_the_surer_the_answer_has_to_be(
    lead: float, answered: bool
) -> None:
    parts = misheard("asr", DoubtfulModel("oxygen"))
    parts.rag.transcriber = Rewords(Wording("What is the heart of oxygen?", lead))
    assert parts.rag.ask(clip()).answered is answered


def test_an_answer_is_not_searched_again() -> None:
    model = WordsModel("rhine")
    answer = misheard("e2e", model).rag.ask(clip())
    assert (answer.text, len(model.given)) == ("Here. More.", 1)
    assert "search_again" not in answer.timings


def test_the_second_search_keeps_the_filter_and_gives_up_after_it() -> None:
    model = WordsModel("fleming")
    answer = misheard("e2e", model).rag.ask(clip(), where=Eq("topic", "river"))
    assert not answer.answered
    assert answer.text == "Nothing. More."
    assert model.given == [["rhine"]], "nothing new was found, so nothing is read again"
    assert "search_again" in answer.timings


def test_a_typed_question_is_never_searched_again() -> None:
    model = WordsModel("oxygen")
    assert not misheard("e2e", model).rag.ask("Where does the Rhine rise?").answered
    assert len(model.given) == 1


class KnowingStore(InMemoryStore):
    """Says which words it holds."""

    words = Vocabulary((("Tock", 3),))

    def vocabulary(self) -> Vocabulary:
        return self.words


class KnowingTranscriber(FakeTranscriber):
    """Remembers what it was told to expect."""

    expected: Vocabulary | None = None

    def transcribe_with(self, audio: Audio, vocabulary: Vocabulary) -> Transcription:
        self.expected = vocabulary
        return self.transcribe(audio)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_recognisers_are_told_the_words_of_the_store(strategy: Strategy) -> None:
    embedder = CountingEmbedder()
    store = KnowingStore(embedder.dim)
    transcriber = KnowingTranscriber({clip(): QUESTION})
    rag = VoiceRAG(embedder, store, WordsModel("fleming"), transcriber, strategy=strategy)
    rag.index(PASSAGES)
    rag.ask(clip())
    assert transcriber.expected is store.words
    assert transcriber.calls == 1


@pytest.mark.parametrize("limit", [1.5, "2", [2], np.float32(2)])
def test_a_limit_that_is_no_whole_number_is_refused(limit: Any) -> None:
    with pytest.raises(ConfigError, match="whole number"):
        Parts().rag.retrieve(QUESTION, limit=limit)
    two: Any = np.int64(2)
    assert len(Parts().rag.retrieve(QUESTION, limit=two).hits) == 2
