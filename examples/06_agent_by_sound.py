"""An agent and a graph that exist already, asked by sound: python 06_agent_by_sound.py.

Needs ``pip install langchain``, which brings LangGraph along. The models are fakes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.graph import END, START, MessagesState, StateGraph

from voicerag_core import Audio, Ears
from voicerag_core.testing import FakeEmbedder, FakeSpeaker, FakeTranscriber
from voicerag_integrations.langchain import (
    SpeechRetriever,
    SpeechRunnable,
    VoiceRAGEmbeddings,
)

RECORDING = Audio(np.sin(np.arange(16_000, dtype=np.float32) / 9), sample_rate=16_000)
QUESTION = "Where does the Rhine rise?"


def main() -> None:
    # open_ears() and the speaker of open_voicerag() hear and speak; these fakes know one recording.
    ears = Ears(None, FakeTranscriber({RECORDING: QUESTION}))
    speaker = FakeSpeaker()

    # A vector store that the app has filled.
    store = InMemoryVectorStore.from_texts(
        ["The Rhine rises in the Swiss Alps.", "The canteen closes at three."],
        VoiceRAGEmbeddings(FakeEmbedder()),
    )
    retriever = SpeechRetriever.over(store, hear=ears, search_kwargs={"k": 1})
    found = retriever.invoke(RECORDING)[0]
    print(f"found   {found.page_content} ({found.metadata['question']})")

    # An agent: it gets the words, and its reply is spoken sentence by sentence.
    model = GenericFakeChatModel(messages=iter([AIMessage("It rises in the Swiss Alps.")]))
    agent = SpeechRunnable.over(create_agent(model, []), hear=ears, speak=speaker)
    answer = agent.invoke(RECORDING)
    print(f"agent   {answer.transcript} -> {answer.text} ({answer.audio.seconds:.2f} s)")

    # A graph of one's own.
    def reply(state: MessagesState) -> dict[str, Any]:
        documents = store.similarity_search(str(state["messages"][-1].text), k=1)
        return {"messages": [AIMessage(documents[0].page_content)]}

    graph = StateGraph(MessagesState)
    graph.add_node("reply", reply)
    graph.add_edge(START, "reply")
    graph.add_edge("reply", END)
    spoken = SpeechRunnable.over(graph.compile(), hear=ears, speak=speaker)
    print(f"graph   {spoken.invoke(RECORDING).text}")


if __name__ == "__main__":
    main()
