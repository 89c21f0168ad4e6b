"""The voice model as a chat model, and the tool."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ChatResponse,
    MessageRole,
    TextBlock,
)
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer
from llama_index.core.tools import QueryEngineTool

from voicerag_core import (
    Answer,
    Audio,
    AudioError,
    Citation,
    ConfigError,
    Passage,
    Question,
    Sampling,
    Transcription,
    Turn,
    VoiceRAG,
    read_audio,
    to_wav_bytes,
)
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel
from voicerag_integrations.llamaindex import (
    SpeechQueryEngine,
    SpeechRetriever,
    VoiceLLM,
    VoiceRAGEmbedding,
    VoiceRAGVectorStore,
    speech_query_tool,
)
from voicerag_integrations.llamaindex.nodes import NodeClass
from voicerag_integrations.llamaindex.testing import recorded_events


class Listening(FakeVoiceModel):
    """Keeps what it was asked."""

    question: Question = ""
    passages: Sequence[Passage] = ()
    history: Sequence[Turn] = ()

    def respond(
        self, question: Question, passages: Sequence[Passage], *, sampling: Sampling,
        transcript: Transcription | None = None, history: Sequence[Turn] = (),
        instructions: str = "",
    ) -> Iterator[Answer]:  # fmt: skip
        self.question, self.passages, self.history = question, passages, history
        return super().respond(question, passages, sampling=sampling, history=history)


@pytest.fixture
def model() -> Listening:
    return Listening()


@pytest.fixture
def llm(model: Listening) -> VoiceLLM:
    return VoiceLLM(model)


def spoken(clip: Audio) -> ChatMessage:
    return ChatMessage(blocks=[TextBlock(text="Listen:"), AudioBlock(audio=to_wav_bytes(clip))])


MODES = [
    ResponseMode.COMPACT,
    ResponseMode.SIMPLE_SUMMARIZE,
    ResponseMode.TREE_SUMMARIZE,
    ResponseMode.REFINE,
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("multimodal", [False, True])
def test_it_answers_behind_every_stock_synthesizer(
    rag: VoiceRAG, model: Listening, mode: ResponseMode, multimodal: bool
) -> None:
    more: dict[str, Any] = {"multimodal": True} if multimodal else {}
    if not more.keys() <= inspect.signature(get_response_synthesizer).parameters.keys():
        pytest.skip("this version of LlamaIndex has no multimodal synthesizers")
    synthesizer = get_response_synthesizer(llm=VoiceLLM(model), response_mode=mode, **more)
    kind: NodeClass = "multimodal" if multimodal else "text"
    retriever = SpeechRetriever(rag, similarity_top_k=1, node_class=kind)
    engine = RetrieverQueryEngine(retriever, response_synthesizer=synthesizer)
    assert "Oxygen is a gas without colour." in str(engine.query("What colour has oxygen?"))
    assert model.question == "What colour has oxygen?"
    if mode is not ResponseMode.SIMPLE_SUMMARIZE:  # it joins lines by spaces
        assert model.passages[0].text == "Oxygen is a gas without colour."
        assert model.passages[0].metadata == (
            {} if multimodal else {"source": "oxygen.txt", "n": "2"}
        )


def test_sound_among_the_context_is_not_the_question(
    llm: VoiceLLM, model: Listening, clip: Audio
) -> None:
    sound = AudioBlock(audio=to_wav_bytes(clip), format="wav")
    before = TextBlock(text="Context information is below.\n---------------------\nThe river ends.")
    after = TextBlock(text="\n---------------------\nAnswer the query.\nQuery: Where?\nAnswer:")
    llm.chat([ChatMessage(blocks=[before, sound, after])])
    assert (model.question, [one.text for one in model.passages]) == ("Where?", ["The river ends."])
    llm.chat([ChatMessage(blocks=[before, after, sound])])
    assert (model.question, [one.text for one in model.passages]) == (clip, ["The river ends."])


async def test_it_streams_behind_a_stock_synthesizer(
    rag: VoiceRAG, llm: VoiceLLM, question: str
) -> None:
    synthesizer = get_response_synthesizer(llm=llm, streaming=True)
    engine = RetrieverQueryEngine(SpeechRetriever(rag), response_synthesizer=synthesizer)
    whole = str(RetrieverQueryEngine(
        SpeechRetriever(rag), response_synthesizer=get_response_synthesizer(llm=llm)
    ).query(question))  # fmt: skip
    assert "".join(engine.query(question).response_gen) == whole  # type: ignore[union-attr, arg-type]
    response = await engine.aquery(question)
    assert "".join([text async for text in response.async_response_gen()]) == whole  # type: ignore[union-attr]


async def test_sound_in_and_sound_out(llm: VoiceLLM, model: Listening, clip: Audio) -> None:
    for response in (llm.chat([spoken(clip)]), await llm.achat([spoken(clip)])):
        assert model.question == clip
        *_, sound = response.message.blocks
        assert isinstance(sound, AudioBlock)
        assert sound.format == "wav"
        heard = read_audio(sound.resolve_audio().read(), sample_rate=22_050)
        assert heard.seconds == pytest.approx(
            0.05 * len(str(response.message.content).split()), rel=0.01
        )
        assert response.message.additional_kwargs["voicerag"]["answered"] is False
        json.loads(response.message.model_dump_json())


async def test_streamed_chunks_add_up_to_the_reply(llm: VoiceLLM, clip: Audio) -> None:
    whole = llm.chat([spoken(clip)])
    for chunks in (
        list(llm.stream_chat([spoken(clip)])),
        [chunk async for chunk in await llm.astream_chat([spoken(clip)])],
    ):
        assert "".join(chunk.delta or "" for chunk in chunks) == whole.message.content
        assert chunks[-1].message.content == whole.message.content
        assert len(sounds_of(chunks)) == len(str(whole.message.content).split())
    assert llm.complete("q").text == whole.message.content
    assert (await llm.acomplete("q")).text == whole.message.content
    assert [one.delta for one in llm.stream_complete("q")] == [whole.message.content]
    stream = await llm.astream_complete("q")
    assert [one.delta async for one in stream] == [whole.message.content]


def sounds_of(chunks: Sequence[ChatResponse]) -> list[AudioBlock]:
    return [b for chunk in chunks for b in chunk.message.blocks if isinstance(b, AudioBlock)]


async def test_a_chat_stream_that_is_closed_early_stops_the_model(clip: Audio) -> None:
    closed: list[str] = []

    class Endless(FakeVoiceModel):
        def respond(self, *args: Any, **kwargs: Any) -> Iterator[Answer]:
            try:
                while True:
                    yield Answer("more ")
            finally:
                closed.append("closed")

    llm = VoiceLLM(Endless())
    stream = llm.stream_chat([spoken(clip)])
    assert next(stream).delta == "more "
    stream.close()
    assert closed == ["closed"]
    astream = await llm.astream_chat([spoken(clip)])
    assert isinstance(astream, AsyncGenerator)
    assert (await anext(astream)).delta == "more "
    await astream.aclose()
    assert closed == ["closed", "closed"]


async def test_events_are_fired_and_hold_no_sound(llm: VoiceLLM, clip: Audio) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    llm.callback_manager = CallbackManager([debug])
    with recorded_events() as events:
        llm.chat([spoken(clip)])
        await llm.achat([spoken(clip)])
        list(llm.stream_chat([spoken(clip)]))
        async for _ in await llm.astream_chat([spoken(clip)]):
            pass
    kinds = [event.class_name() for event in events]
    assert kinds.count("LLMChatStartEvent") == kinds.count("LLMChatEndEvent") == 4
    for event in events:
        assert len(event.model_dump_json()) < 3000, event.class_name()
    assert len(debug.get_event_pairs(CBEventType.LLM)) == 4


def test_callbacks_see_a_query_as_they_see_that_of_a_stock_engine(
    rag: VoiceRAG, clip: Audio
) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    SpeechQueryEngine(rag, callback_manager=CallbackManager([debug])).query(clip)
    for kind in (CBEventType.QUERY, CBEventType.RETRIEVE, CBEventType.SYNTHESIZE):
        assert len(debug.get_event_pairs(kind)) == 1, kind


def test_earlier_turns_are_the_history(llm: VoiceLLM, model: Listening) -> None:
    llm.chat([
        ChatMessage("be kind", role=MessageRole.SYSTEM),
        ChatMessage("first?"), ChatMessage("one.", role=MessageRole.ASSISTANT),
        ChatMessage("second?"),
    ])  # fmt: skip
    assert model.question == "second?"
    assert model.history == [Turn("first?", Answer("one."))]
    assert not model.passages


def test_citations_come_along() -> None:
    class Citing(FakeVoiceModel):
        def respond(self, *args: Any, **kwargs: Any) -> Iterator[Answer]:
            yield Answer("So it is.", citations=(Citation("context", 0, 4),))

    told = VoiceLLM(Citing()).chat([ChatMessage("q")]).message.additional_kwargs["voicerag"]
    assert told == {"answered": True, "citations": [("context", 0, 4)]}


def test_what_cannot_be_answered_is_refused(llm: VoiceLLM, tmp_path: Path) -> None:
    for messages in ([], [ChatMessage("hello", role=MessageRole.ASSISTANT)], [ChatMessage(" ")]):
        with pytest.raises(ConfigError):
            llm.chat(messages)
    with pytest.raises(AudioError):
        llm.chat([ChatMessage(blocks=[AudioBlock(audio=b"not audio", format="wav")])])
    gone = tmp_path / "gone.wav"
    gone.write_bytes(b"x")
    block = AudioBlock(path=gone)
    gone.unlink()
    with pytest.raises(AudioError, match="cannot be loaded"):
        llm.chat([ChatMessage(blocks=[block])])
    with pytest.raises(ConfigError, match="no option temperature"):
        llm.chat([ChatMessage("q")], temperature=1)


def test_the_settings_of_the_llm_make_a_round_trip(llm: VoiceLLM, model: Listening) -> None:
    data = json.loads(json.dumps(VoiceLLM(model, num_output=7).to_dict()))
    assert data["class_name"] == "VoiceLLM"
    again = VoiceLLM.from_dict(data, model=model)
    assert again.metadata.num_output == 7
    assert again.metadata.is_chat_model
    assert again.to_dict() == data
    with pytest.raises(ConfigError, match="model="):
        VoiceLLM.from_dict(data).complete("q")


def test_an_index_answers_with_the_voice_model(rag: VoiceRAG, llm: VoiceLLM) -> None:
    index = VectorStoreIndex.from_vector_store(
        VoiceRAGVectorStore(rag.store), VoiceRAGEmbedding(rag.embedder)
    )
    response = index.as_query_engine(llm=llm, similarity_top_k=1).query("where is the Rhine")
    assert "Alps" in str(response)


def test_a_stock_tool_keeps_our_response(rag: VoiceRAG, question: str) -> None:
    tool = QueryEngineTool.from_defaults(SpeechQueryEngine(rag), description="knowledge")
    output = tool.call(question)
    assert output.raw_output.audio is not None
    assert output.content == str(output.raw_output)
    assert "audio" not in json.dumps(output.model_dump(mode="json")["raw_output"]["response"])


async def test_a_tool_says_what_is_wrong_with_a_clip(rag: VoiceRAG, clip: Audio) -> None:
    engine = SpeechQueryEngine(rag, streaming=True)
    for clips in ({"one": clip}, {"one": clip}.__getitem__):
        tool = speech_query_tool(engine, clips=clips)
        assert "Alps" in tool.call(clip_id="one").content
        assert "Alps" in (await tool.acall(clip_id="one")).content
        with pytest.raises(ConfigError, match="no clip 'two'"):
            tool.call(clip_id="two")
    with pytest.raises(ConfigError, match="without clips"):
        speech_query_tool(engine).call(clip_id="one")
    schema = speech_query_tool(engine).metadata.get_parameters_dict()
    assert set(schema["properties"]) == {"question", "clip_id"}
    assert FakeEmbedder(4).dim == 4
