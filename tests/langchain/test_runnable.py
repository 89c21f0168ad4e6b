"""The runnable: every method, both outputs, and what tracers see of it."""

from __future__ import annotations

import base64
import functools
import json
import operator
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.messages.content import create_audio_block
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import ConfigurableField, Runnable, RunnableLambda
from langchain_core.tracers.base import BaseTracer

from voicerag_core import (
    Answer,
    Audio,
    AudioError,
    ConfigError,
    GenerationError,
    Passage,
    Question,
    Sampling,
    StoreError,
    Transcription,
    Turn,
    VoiceRAG,
    read_audio,
    to_wav_bytes,
)
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel, InMemoryStore
from voicerag_integrations.langchain import VoiceRAGRunnable, message_audio, redacted

SAMPLE = Path(__file__).parents[2] / "examples/sample"


class Recorder(BaseTracer):
    """Keeps the runs that a tracer would send away."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[Any] = []

    def _persist_run(self, run: Any) -> None:
        self.runs.append(run)


def same(one: Answer, other: Answer) -> bool:
    """Tell whether two answers are equal but for their timings."""
    return (one.text, one.audio, one.hits, one.citations, one.answered) == (
        other.text, other.audio, other.hits, other.citations, other.answered
    )  # fmt: skip


@pytest.fixture
def runnable(rag: VoiceRAG) -> VoiceRAGRunnable:
    return VoiceRAGRunnable(rag=rag, k=1)


@pytest.fixture
def talking(rag: VoiceRAG) -> VoiceRAGRunnable:
    return VoiceRAGRunnable(rag=rag, k=1, output="message")


async def test_all_ways_to_an_answer_agree(runnable: VoiceRAGRunnable, spoken: Audio) -> None:
    answer = runnable.invoke(spoken)
    assert isinstance(answer, Answer)
    assert answer.text == "The Rhine rises in the Swiss Alps."
    assert answer.audio is not None
    ways = [
        await runnable.ainvoke(spoken),
        functools.reduce(operator.add, runnable.stream(spoken)),
        functools.reduce(operator.add, [piece async for piece in runnable.astream(spoken)]),
        *runnable.batch([spoken, spoken]),
        *await runnable.abatch([spoken]),
        *[one for _, one in runnable.batch_as_completed([spoken])],
        runnable.with_config(tags=["x"]).invoke(spoken),
        runnable.with_retry(stop_after_attempt=2).invoke(spoken),
    ]
    for way in ways:
        assert isinstance(way, Answer)
        assert same(way, answer)


async def test_a_merged_stream_of_messages_equals_the_message(
    talking: VoiceRAGRunnable, spoken: Audio
) -> None:
    whole = talking.invoke(spoken)
    assert type(whole) is AIMessage
    chunks = list(talking.stream(spoken))
    achunks = [chunk async for chunk in talking.astream(spoken)]
    for pieces in (chunks, achunks):
        assert all(type(piece) is AIMessageChunk for piece in pieces)
        total: Any = functools.reduce(operator.add, pieces)
        assert total.content == whole.content
        assert total.content_blocks == whole.content_blocks
        assert total.text == whole.text
    assert len({piece.id for piece in chunks}) == 1
    assert chunks[0].response_metadata["sources"][0]["title"] == "rhine"
    (block,) = [block for block in whole.content_blocks if block["type"] == "audio"]
    assert block["mime_type"] == "audio/pcm;rate=22050"
    assert len(base64.b64decode(block["base64"])) % 2 == 0


def test_messages_flow_through_a_chain(talking: VoiceRAGRunnable, spoken: Audio) -> None:
    chain: Runnable[Any, str] = (
        RunnableLambda(lambda clip: HumanMessage([{"type": "audio", "mime_type": "audio/wav",
                       "base64": base64.b64encode(to_wav_bytes(clip)).decode()}]))
        | talking
        | StrOutputParser()
    )  # fmt: skip
    typed = VoiceRAGRunnable(rag=talking.rag, output="message") | StrOutputParser()
    assert typed.invoke("Is oxygen a gas?") == "Oxygen is a gas without colour."
    assert "".join(typed.stream("Is oxygen a gas?")) == "Oxygen is a gas without colour."
    assert chain.invoke(spoken)  # 16-bit sound is another clip to the fake, but it is answered


def test_an_answer_can_be_asked_about(talking: VoiceRAGRunnable, spoken: Audio) -> None:
    first = talking.invoke("Is oxygen a gas?")
    again = talking.invoke(
        [HumanMessage("Is oxygen a gas?"), first, HumanMessage("Which bread and rolls?")]
    )
    assert again.text == "The bakery opens on Monday at seven."


def test_history_and_options_reach_the_pipeline(rag: VoiceRAG) -> None:
    class Remembers(FakeVoiceModel):
        def respond(
            self, question: Question, passages: Sequence[Passage], *, sampling: Sampling,
            transcript: Transcription | None = None, history: Sequence[Turn] = (),
            instructions: str = "",
        ) -> Iterator[Answer]:  # fmt: skip
            yield Answer(f"{len(passages)} passages, {[turn.question for turn in history]}")

    rag.model = Remembers()
    runnable = VoiceRAGRunnable(rag=rag, k=1)
    turns = [HumanMessage("A?"), AIMessage("B.")]
    asked = {"question": "C?", "history": turns, "k": 3}
    assert runnable.invoke(asked).text == "3 passages, ['A?']"
    assert runnable.invoke("C?", k=2).text == "2 passages, []"
    with pytest.raises(ConfigError, match="'limit'"):
        runnable.invoke("C?", limit=2)


def test_fields_can_be_configured(runnable: VoiceRAGRunnable) -> None:
    tunable = runnable.configurable_fields(
        k=ConfigurableField(id="k"), output=ConfigurableField(id="output")
    )
    config: Any = {"configurable": {"k": 3, "output": "message"}}
    message = tunable.invoke("Rhine?", config=config)
    assert len(message.response_metadata["sources"]) == 3


async def test_events_come_in_order_and_without_sound(
    talking: VoiceRAGRunnable, runnable: VoiceRAGRunnable, spoken: Audio
) -> None:
    for one in (talking, runnable, talking.with_config(run_name="named")):
        names = []
        async for event in one.astream_events(spoken, version="v2"):
            names.append(event["event"])
            assert len(repr(event)) < 5000
            for value in event["data"].values():
                assert redacted(value) == value
        assert names[0] == "on_chain_start"
        assert names[-1] == "on_chain_end"
        assert names.count("on_chain_stream") > 3


async def test_tracers_never_see_the_sound(talking: VoiceRAGRunnable, spoken: Audio) -> None:
    wav = to_wav_bytes(spoken)
    encoded = base64.b64encode(wav).decode()
    block: Any = create_audio_block(base64=encoded, mime_type="audio/wav")
    answers: list[Any] = []
    tracer = Recorder()
    config: Any = {"callbacks": [tracer]}
    for form in (spoken, wav, block, HumanMessage([block]), {"question": wav}):
        answers += [talking.invoke(form, config), await talking.ainvoke(form, config)]
        answers += list(talking.stream(form, config))
        answers += [chunk async for chunk in talking.astream(form, config)]
    assert len(tracer.runs) == 20
    secrets = [encoded[1000:1040], repr(wav)[4000:4040]]
    secrets += [
        part["base64"][40:80]
        for answer in answers
        for part in answer.content_blocks
        if part["type"] == "audio" and len(part["base64"]) > 80
    ]
    assert len(secrets) > 10
    for run in tracer.runs:
        told = repr((run.inputs, run.outputs, run.extra, run.events))
        assert "audio" in told
        assert not any(secret in told for secret in secrets)
    assert tracer.runs[0].outputs is not None


def test_errors_reach_the_caller_and_the_tracer(rag: VoiceRAG) -> None:
    class Breaks(FakeVoiceModel):
        def respond(self, *args: Any, **kwargs: Any) -> Iterator[Answer]:
            yield Answer("So ")
            raise GenerationError("the model broke")

    rag.model = Breaks()
    runnable = VoiceRAGRunnable(rag=rag)
    tracer = Recorder()
    with pytest.raises(GenerationError, match="broke"):
        runnable.invoke("Rhine?", {"callbacks": [tracer]})
    heard: list[str] = []
    pieces = runnable.stream("Rhine?", {"callbacks": [tracer]})
    with pytest.raises(GenerationError, match="broke"):
        heard.extend(piece.text for piece in pieces)
    assert "".join(heard) == "So "
    assert ["GenerationError" in (run.error or "") for run in tracer.runs] == [True, True]


async def test_errors_come_out_of_async_streams(rag: VoiceRAG) -> None:
    runnable = VoiceRAGRunnable(rag=rag)
    with pytest.raises(AudioError, match="cannot be read"):
        await anext(runnable.astream(b"no sound"))
    empty = VoiceRAG(FakeEmbedder(8), InMemoryStore(8), FakeVoiceModel())
    with pytest.raises(StoreError, match="empty"):
        await VoiceRAGRunnable(rag=empty).ainvoke("Rhine?")


def test_a_retry_tries_again(rag: VoiceRAG) -> None:
    class Recovers(FakeVoiceModel):
        calls = 0

        def respond(self, *args: Any, **kwargs: Any) -> Iterator[Answer]:
            type(self).calls += 1
            if self.calls == 1:
                raise GenerationError("once")
            yield Answer("twice")

    rag.model = Recovers()
    patient = VoiceRAGRunnable(rag=rag).with_retry(
        retry_if_exception_type=(GenerationError,), wait_exponential_jitter=False
    )
    assert patient.invoke("Rhine?").text == "twice"


def test_settings_are_written_and_schemas_given(talking: VoiceRAGRunnable) -> None:
    written = json.loads(dumps(talking))["kwargs"]
    assert written == {"k": 1, "output": "message"}
    assert VoiceRAGRunnable(rag=talking.rag, **written) == talking
    assert "AudioBlock" in json.dumps(talking.get_input_jsonschema())
    assert talking.get_output_jsonschema()["title"] == "AIMessage"
    answers = VoiceRAGRunnable(rag=talking.rag)
    told = {"text", "hits", "answered", "transcript"}
    assert set(answers.get_output_jsonschema()["properties"]) == told
    assert talking.get_graph().to_json()


def test_the_local_stack_hears_and_answers_aloud(local: VoiceRAG) -> None:
    message = VoiceRAGRunnable(rag=local, output="message").invoke(SAMPLE / "audio/report-16.flac")
    assert "Pittsburgh Steelers" in message.text
    audio = message_audio(message)
    assert audio is not None
    assert audio.seconds > 0.5
    total: Any = None
    clip = read_audio(SAMPLE / "audio/report-16.flac")
    for chunk in VoiceRAGRunnable(rag=local, output="message").stream(clip):
        total = chunk if total is None else total + chunk
    assert total.text == message.text
    streamed = message_audio(total)
    assert streamed is not None
    assert abs(streamed.seconds - audio.seconds) < 1  # the voice breathes by chance
