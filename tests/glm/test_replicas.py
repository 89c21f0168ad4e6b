"""Two GLM-4-Voices behind one: who answers, and what happens when a device fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
import torch

from tests.glm import tiny
from voicerag_core import Answer, Audio, ConfigError, ModelError, Sampling, Turn, load_settings
from voicerag_core.errors import GenerationError
from voicerag_core.glm.lm.interleave import AllowedTokens, Grammar
from voicerag_core.glm.replicas import ReplicatedGLMVoice
from voicerag_core.glm.text_tokenizer import TextTokenizer
from voicerag_core.glm.voice import GLMVoice
from voicerag_core.ports import ServesMany
from voicerag_core.stack import open_parts

SAMPLING = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=20)


class Scripted:
    """A language model that says one word a time, and breaks when it is told to."""

    max_context, table_size, masks_tokens = 4096, tiny.VOCAB_SIZE, False
    capacity, running, waiting = 3, 1, 2

    def __init__(self, word: int) -> None:
        self.word = word
        self.asked = 0
        self.breaks_after: int | None = None
        self.error: BaseException = torch.AcceleratorError("CUDA error: device-side assert")

    def warm(self, masks: Sequence[AllowedTokens]) -> None:
        pass

    def stream(
        self, prompt: Sequence[int], *, grammar: Grammar, sampling: Sampling
    ) -> Iterator[int]:
        self.asked += 1
        for number in range(10):
            if number == self.breaks_after:
                told = GenerationError("the language model stopped; ask again")
                raise told from self.error
            grammar.push(self.word)
            yield self.word


class NoEncoder:
    def encode(self, clips: Sequence[Audio]) -> list[list[int]]:
        raise NotImplementedError


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> tiny.Trees:
    return tiny.write_trees(tmp_path_factory.mktemp("glm"))


@pytest.fixture
def models() -> list[Scripted]:
    return [Scripted(ord("a")), Scripted(ord("b"))]


@pytest.fixture
def voice(trees: tiny.Trees, models: list[Scripted]) -> ReplicatedGLMVoice:
    tokenizer = TextTokenizer.load(trees.lm)
    voices = [GLMVoice(model, tokenizer, NoEncoder()) for model in models]  # type: ignore[arg-type]
    return ReplicatedGLMVoice(voices, ["one", "two"])


def text_of(voice: ReplicatedGLMVoice, question: str = "q", history: Sequence[Turn] = ()) -> str:
    pieces = voice.respond(question, [], sampling=SAMPLING, history=history)
    return "".join(piece.text for piece in pieces)


def test_a_question_goes_to_the_one_with_the_least_to_do(
    voice: ReplicatedGLMVoice, models: list[Scripted]
) -> None:
    streams = [voice.respond(f"q{n}", [], sampling=SAMPLING) for n in range(5)]
    for stream in streams:
        next(stream)
    assert sorted(model.asked for model in models) == [2, 3]
    for stream in streams[::2]:  # those of the first
        stream.close()
    more = [voice.respond(f"r{n}", [], sampling=SAMPLING) for n in range(2)]
    assert [next(stream).text for stream in more] == ["a", "a"]
    for stream in (*streams, *more):
        stream.close()


def test_a_conversation_stays_where_its_reply_is_remembered(
    voice: ReplicatedGLMVoice, models: list[Scripted]
) -> None:
    busy = voice.respond("other", [], sampling=SAMPLING)
    assert next(busy).text == "a"
    reply = text_of(voice, "first")
    assert set(reply) == {"b"}
    busy.close()
    turn = Turn("first", Answer(reply))
    for _ in range(3):
        assert set(text_of(voice, "next", [turn])) == {"b"}
    unknown = Turn("never asked", Answer("never said"))
    assert set(text_of(voice, "next", [unknown])) == {"a"}


def test_a_failing_device_is_left_out_and_the_question_is_answered_by_the_other(
    voice: ReplicatedGLMVoice, models: list[Scripted]
) -> None:
    assert isinstance(voice, ServesMany)
    assert (voice.capacity, voice.running, voice.waiting, voice.out_of_service) == (6, 2, 4, ())
    models[0].breaks_after = 0
    assert [set(text_of(voice, f"q{n}")) for n in range(3)] == [{"b"}] * 3
    assert models[0].asked == 1
    assert voice.out_of_service == ("one: AcceleratorError: CUDA error: device-side assert",)
    assert voice.silent().out_of_service == voice.out_of_service
    assert voice.capacity == 3
    models[1].breaks_after = 4
    with closing(voice.respond("q", [], sampling=SAMPLING)) as pieces:
        assert next(pieces).text == "b"
        with pytest.raises(ModelError, match="two failed in the middle of the answer"):
            list(pieces)
    with pytest.raises(ModelError, match=r"every replica is out of service \(one: .*two: "):
        text_of(voice)


@pytest.mark.parametrize("error", [MemoryError("full"), RuntimeError("no kernel"), None])
def test_other_errors_are_the_questions_own(
    voice: ReplicatedGLMVoice, models: list[Scripted], error: BaseException | None
) -> None:
    models[0].breaks_after = 0
    models[0].error = error  # type: ignore[assignment]
    with pytest.raises(GenerationError, match="ask again"):
        text_of(voice)
    assert voice.out_of_service == ()
    assert voice.further_query("q", []) is None


def test_every_replica_needs_a_name(voice: ReplicatedGLMVoice) -> None:
    with pytest.raises(ConfigError):
        ReplicatedGLMVoice([], [])


def test_the_settings_make_a_replica_on_each_device(
    trees: tiny.Trees, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "stack": "glm", "glm_dir": trees.root, "speak": False, "data_dir": tmp_path, "glm_rows": 3,
    }  # fmt: skip
    answers = []
    for device in ("cpu", "cpu,cpu"):
        with open_parts(load_settings(**settings, glm_device=device)) as parts:
            model: object = parts.model
            assert isinstance(model, ServesMany)
            many: ServesMany = model
            assert many.capacity == 1
            parts.loads["model"]()
            assert many.capacity == 3 * len(device.split(","))
            answers.append([
                "".join(p.text for p in parts.model.respond("the heat", [], sampling=SAMPLING))
                for _ in range(2)
            ])  # fmt: skip
    assert answers[0] == answers[1]
    with pytest.raises(ConfigError, match="glm_device"):
        load_settings(glm_device="cpu,gpu")
