"""A LangChain chain and an agent's tool with spoken questions, on fakes: python 04_langchain.py."""

from __future__ import annotations

from typing import Any

import numpy as np
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnablePassthrough

from voicerag_core import Audio, Passage, VoiceRAG
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel, InMemoryStore
from voicerag_integrations.langchain import SpeechRetriever, VoiceAskTool, VoiceRAGRunnable

RECORDING = Audio(np.sin(np.arange(16_000, dtype=np.float32) / 9), sample_rate=16_000)


def chat_model(*replies: AIMessage) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter(replies))  # stands for any chat model


def main() -> None:
    # The fake embedder "understands" one recording; open_voicerag() understands speech.
    embedder = FakeEmbedder(transcripts={RECORDING: "Where does the Rhine rise?"})
    rag = VoiceRAG(embedder, InMemoryStore(embedder.dim), FakeVoiceModel())
    rag.index([Passage("r", "The Rhine rises in the Swiss Alps.", {"title": "Rhine"})])

    # An existing chain with another retriever: it now takes spoken questions.
    prompt = ChatPromptTemplate.from_template("Answer from this alone: {found}")
    chat = chat_model(AIMessage("In the Swiss Alps."))
    retriever = SpeechRetriever(rag=rag, k=1)
    chain: Runnable[Any, str] = (
        retriever | {"found": RunnablePassthrough()} | prompt | chat | StrOutputParser()
    )
    print(f"chain   {chain.invoke(RECORDING)}")

    # The whole pipeline as a runnable: streamed text and sound, whose pieces add up.
    pieces = list(VoiceRAGRunnable(rag=rag).stream(RECORDING))
    answer = sum(pieces[1:], pieces[0])
    print(f"spoken  {answer.text} ({answer.audio.seconds:.2f} s in {len(pieces)} pieces)")

    # An agent: the model calls the tool with a clip's id, reads the answer, and replies.
    tool = VoiceAskTool(rag=rag, clips={"clip-1": RECORDING}.__getitem__)
    call = {"name": tool.name, "args": {"clip_id": "clip-1"}, "id": "1", "type": "tool_call"}
    agent = chat_model(AIMessage("", tool_calls=[call]), AIMessage("It rises in the Alps."))
    messages: list[Any] = [HumanMessage("Answer the recording clip-1.")]
    messages.append(agent.invoke(messages))
    messages += [tool.invoke(wanted) for wanted in messages[-1].tool_calls]
    print(f"tool    {messages[-1].text.splitlines()[0]}")
    print(f"agent   {agent.invoke(messages).text}")


if __name__ == "__main__":
    main()
