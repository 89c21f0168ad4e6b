"""The strategy ``two_round``: what it asks the model, what it fuses, and when it stops."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import get_args

import numpy as np
import pytest

from voicerag_core import (
    STRATEGIES,
    Answer,
    Audio,
    ConfigError,
    Passage,
    Question,
    Sampling,
    SecondRound,
    Strategy,
    Transcription,
    Turn,
    VoiceRAG,
)
from voicerag_core.errors import GenerationError
from voicerag_core.local.model import LocalVoiceModel
from voicerag_core.local.reading.chat import ChatMessage, ChatReader
from voicerag_core.local.reading.fallback import FallbackWriter
from voicerag_core.testing import FakeEmbedder, FakeTranscriber, InMemoryStore

QUESTION = "which river flows through the home town of the author of Winter Lamp"
PASSAGES = [
    Passage("book", "Winter Lamp is a novel. Its author Ada Quill grew up in Torvik."),
    Passage("town", "Torvik is a town. The Sela flows through Torvik to the fjord."),
    Passage("noise", "A river flows through many a town of an author."),
    Passage("bread", "The bakery opens at six."),
]


def clip() -> Audio:
    time = np.arange(16_000) / 16_000
    return Audio((0.2 * np.sin(2 * np.pi * 300 * time)).astype(np.float32), 16_000)


class Model:
    """Asks for what it is told to, and remembers what it was shown."""

    def __init__(self, query: str | None) -> None:
        self.query = query
        self.asked: list[tuple[Question, list[str], str | None, bool]] = []

    def respond(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        sampling: Sampling,
        transcript: Transcription | None = None,
        history: Sequence[object] = (),
    ) -> Iterator[Answer]:
        yield Answer("The Sela.")

    def further_query(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        transcript: Transcription | None = None,
        only_unsure: bool = False,
    ) -> str | None:
        heard = None if transcript is None else transcript.text
        self.asked.append((question, [one.id for one in passages], heard, only_unsure))
        return self.query


def opened(
    model: object, *, transcriber: bool = True, second_round: SecondRound = "always"
) -> VoiceRAG:
    embedder = FakeEmbedder(transcripts={clip(): QUESTION})
    rag = VoiceRAG(
        embedder,
        InMemoryStore(embedder.dim),
        model,  # type: ignore[arg-type]
        FakeTranscriber({clip(): QUESTION}) if transcriber else None,
        strategy="two_round",
        limit=3,
        second_round=second_round,
    )
    rag.index(PASSAGES)
    return rag


def test_the_names_have_one_source() -> None:
    assert tuple(STRATEGIES) == get_args(Strategy)


@pytest.mark.parametrize("question", [QUESTION, clip()])
def test_the_second_round_finds_what_the_first_could_not(question: Question) -> None:
    model = Model("Torvik is a town where the Sela flows to the fjord")
    rag = opened(model)
    one_round = [hit.passage.id for hit in rag.retrieve(question, strategy="hybrid").hits]
    found = rag.retrieve(question)
    by_id = {hit.passage.id: hit for hit in found.hits}
    assert "second_round" in by_id["town"].matched_by
    assert by_id["town"].rank <= 2
    assert model.asked[0][1] == one_round
    assert [hit.rank for hit in found.hits] == [1, 2, 3]
    assert set(found.timings) >= {"further_query", "embed", "search"}


def test_the_model_gets_the_transcript_and_nothing_is_heard_twice() -> None:
    model = Model("Torvik")
    rag = opened(model)
    found = rag.retrieve(clip())
    assert model.asked[0][2] == QUESTION
    assert found.transcription == Transcription(QUESTION)
    assert isinstance(rag.transcriber, FakeTranscriber)
    assert rag.transcriber.calls == 1


def test_without_a_transcriber_the_first_round_goes_by_sound() -> None:
    model = Model("Torvik")
    found = opened(model, transcriber=False).retrieve(clip())
    assert found.transcription is None
    assert model.asked[0][2] is None
    assert "transcribe" not in found.timings


@pytest.mark.parametrize("nothing", [None, "", "  "])
def test_a_model_that_needs_nothing_leaves_one_round(nothing: str | None) -> None:
    rag = opened(Model(nothing))
    found = rag.retrieve(QUESTION)
    assert found.hits == rag.retrieve(QUESTION, strategy="hybrid").hits


@pytest.mark.parametrize("when", get_args(SecondRound))
def test_the_model_is_told_when_it_may_ask(when: SecondRound) -> None:
    model = Model(None)
    opened(model, second_round=when).retrieve(QUESTION)
    assert model.asked[0][3] is (when == "unsure")


@pytest.mark.parametrize("question", [QUESTION, clip()])
def test_a_model_that_cannot_ask_is_refused(question: Question) -> None:
    class Mute:
        respond = Model.respond

    with pytest.raises(ConfigError, match="further_query"):
        opened(Mute()).retrieve(question)


class Writer:
    """Answers with a text, or declines."""

    def __init__(self, text: str) -> None:
        self.text = text

    def answer(
        self,
        question: str,
        passages: Sequence[Passage],
        *,
        history: Sequence[Turn] = (),
        instructions: str = "",
    ) -> Generator[Answer, None, None]:
        yield Answer(self.text, answered=bool(self.text))


def asked(writer: object, *, only_unsure: bool = False) -> str | None:
    model = LocalVoiceModel(writer)  # type: ignore[arg-type]
    return model.further_query(QUESTION, PASSAGES[:1], only_unsure=only_unsure)


def test_any_writer_asks_by_the_first_sentence_of_its_answer() -> None:
    assert asked(Writer("It is Torvik. So they say.")) == f"{QUESTION} It is Torvik."
    assert asked(Writer("")) is None, "it declined: nothing to search for"
    assert asked(Writer("It is Torvik."), only_unsure=True) is None


def test_a_chat_model_says_in_one_sentence_what_it_needs() -> None:
    told: list[list[ChatMessage]] = []

    def chat(messages: list[ChatMessage]) -> str:
        told.append(messages)
        return "I need the river of Torvik [1].\nThen I can answer."

    assert asked(ChatReader(chat)) == "I need the river of Torvik."
    assert PASSAGES[0].text in told[0][-1].content
    assert "ENOUGH" not in told[0][-1].content
    asked(ChatReader(chat), only_unsure=True)
    assert "ENOUGH" in told[1][-1].content
    assert asked(ChatReader(lambda _: "ENOUGH"), only_unsure=True) is None
    assert asked(ChatReader(lambda _: " ... ")) is None


def test_where_a_chat_model_fails_the_other_writer_asks() -> None:
    def broken(messages: list[ChatMessage]) -> str:
        raise RuntimeError("no connection")

    writer = FallbackWriter(ChatReader(broken), Writer("It is Torvik."))
    assert asked(writer) == f"{QUESTION} It is Torvik."
    with pytest.raises(GenerationError):
        asked(ChatReader(broken))


def test_without_passages_nothing_is_asked() -> None:
    assert LocalVoiceModel(Writer("x")).further_query(QUESTION, []) is None
