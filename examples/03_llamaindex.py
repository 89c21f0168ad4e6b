"""Add voice to a LlamaIndex app: python 03_llamaindex.py. No model, network or account needed.

The app has a `VectorStoreIndex`. Our retriever joins it in a router, which then takes spoken
questions too.
"""

from __future__ import annotations

import numpy as np
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RouterQueryEngine
from llama_index.core.retrievers import RouterRetriever
from llama_index.core.selectors import EmbeddingSingleSelector
from llama_index.core.tools import QueryEngineTool, RetrieverTool

from voicerag_core import Audio, Passage, VoiceRAG
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel, InMemoryStore
from voicerag_integrations.llamaindex import (
    SpeechQueryBundle,
    SpeechQueryEngine,
    SpeechResponse,
    SpeechRetriever,
    VoiceLLM,
    VoiceRAGEmbedding,
)

MENU = [Document(text="Today the canteen has lentil soup."), Document(text="The canteen has cake.")]
RIVERS = [
    Passage("rhine", "The Rhine rises in the Swiss Alps.", {"source": "rivers.txt"}),
    Passage("elbe", "The Elbe rises in the Giant Mountains.", {"source": "rivers.txt"}),
]


def main() -> None:
    # The fake embedder "understands" one recording; a real one understands speech.
    recording = Audio(np.sin(np.arange(16_000, dtype=np.float32) / 9), sample_rate=16_000)
    embedder = FakeEmbedder(transcripts={recording: "Where does the river Rhine rise?"})
    embed_model = VoiceRAGEmbedding(embedder)
    model = FakeVoiceModel()

    # The existing app: an index, a query engine, a chat model (here the voice model plays it).
    index = VectorStoreIndex.from_documents(MENU, embed_model=embed_model)
    canteen = index.as_query_engine(llm=VoiceLLM(model))

    # The plug-in: the part that can be asked by voice.
    rag = VoiceRAG(embedder, InMemoryStore(embedder.dim), model)
    rag.index(RIVERS)
    rivers = SpeechRetriever(rag)

    selector = EmbeddingSingleSelector.from_defaults(embed_model=embed_model)
    found = RouterRetriever(
        selector,
        [
            RetrieverTool.from_defaults(index.as_retriever(), description="food in the canteen"),
            RetrieverTool.from_defaults(rivers, description="where each river does rise"),
        ],
        llm=MockLLM(),
    ).retrieve(SpeechQueryBundle("where does the river rise", audio=recording))
    print(f"found   {found[0].score:.2f}  {found[0].node.metadata['passage_id']}")

    router = RouterQueryEngine(
        selector,
        [
            QueryEngineTool.from_defaults(canteen, description="food in the canteen"),
            QueryEngineTool.from_defaults(
                SpeechQueryEngine(rag, retriever=rivers), description="where each river does rise"
            ),
        ],
        llm=MockLLM(),
    )
    spoken = router.query(SpeechQueryBundle("where does the river rise", audio=recording))
    assert isinstance(spoken, SpeechResponse)
    seconds = spoken.audio.seconds if spoken.audio else 0.0
    print(f"answer  {spoken} ({seconds:.2f} s of sound)")
    print(f"answer  {router.query('What food has the canteen?')}")


if __name__ == "__main__":
    main()
