"""Speech in LangChain with no model and no download: python 04_langchain.py.

An LCEL chain that takes a recording, and a tool loop as an agent runs it, both on fakes. With
`open_voicerag()` in place of `make_rag` the same code runs on the local stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable

import voicerag_core
from voicerag_core import Audio, VoiceRAG, chunk_document
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel, InMemoryStore
from voicerag_integrations.langchain import (
    SpeechRetriever,
    VoiceAskTool,
    VoiceRAGRunnable,
    message_audio,
)

TEXTS = {
    "rhine.txt": "The Rhine rises in the Swiss Alps. It flows into the North Sea.",
    "oxygen.txt": "Oxygen is a gas without colour. Carl Scheele was the first to make it.",
}
RECORDING = Audio(np.sin(np.arange(16_000, dtype=np.float32) / 9), sample_rate=16_000)


def make_rag() -> VoiceRAG:
    # The fake embedder "understands" one recording; a real one understands speech.
    embedder = FakeEmbedder(transcripts={RECORDING: "Where does the Rhine rise?"})
    rag = VoiceRAG(embedder, InMemoryStore(embedder.dim), FakeVoiceModel())
    for source, text in TEXTS.items():
        rag.index(chunk_document(voicerag_core.Document(source, text)))
    return rag


class ScriptedChat(GenericFakeChatModel):
    """Stands for any chat model: it says what it is told to say."""

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:  # noqa: ANN401, D102
        del tools, kwargs
        return self


def joined(documents: list[Document]) -> dict[str, str]:
    return {"context": "\n".join(document.page_content for document in documents)}


def chain_with_ears(rag: VoiceRAG) -> str:
    """An existing chain of retriever, prompt and chat model, asked aloud."""
    prompt = ChatPromptTemplate.from_template("Answer from this alone:\n{context}")
    chat = ScriptedChat(messages=iter([AIMessage("In the Swiss Alps.")]))
    retriever = SpeechRetriever(rag=rag, k=1)
    chain: Runnable[Any, str] = retriever | joined | prompt | chat | StrOutputParser()
    return chain.invoke(RECORDING)


def answer_aloud(rag: VoiceRAG) -> None:
    """The whole pipeline as one runnable: text as it comes, and the sound at the end."""
    speaking = VoiceRAGRunnable(rag=rag, output="message", k=1)
    whole: Any = None
    for chunk in speaking.stream(RECORDING):
        whole = chunk if whole is None else whole + chunk
    audio = message_audio(whole)
    assert audio is not None
    print(f"spoken  {whole.text} ({audio.seconds:.2f} s of sound)")


def agent_with_a_voice(rag: VoiceRAG) -> None:
    """What an agent does: the model calls the tool with a clip's id, reads, and answers."""
    tool = VoiceAskTool(rag=rag, clips={"clip-1": RECORDING}.__getitem__)
    call = {"name": tool.name, "args": {"clip_id": "clip-1"}, "id": "c1", "type": "tool_call"}
    script = [AIMessage("", tool_calls=[call]), AIMessage("The Rhine rises in the Swiss Alps.")]
    chat = ScriptedChat(messages=iter(script)).bind_tools([tool])
    messages: list[Any] = [HumanMessage("Answer the recording clip-1.")]
    while True:
        reply = chat.invoke(messages)
        messages.append(reply)
        if not reply.tool_calls:
            print(f"agent   {reply.text}")
            return
        for wanted in reply.tool_calls:
            result: ToolMessage = tool.invoke(wanted)
            print(f"tool    {result.text.splitlines()[0]}")
            messages.append(result)


def main() -> None:
    rag = make_rag()
    print(f"chain   {chain_with_ears(rag)}")
    answer_aloud(rag)
    agent_with_a_voice(rag)


if __name__ == "__main__":
    main()
