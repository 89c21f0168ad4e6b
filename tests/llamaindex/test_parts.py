"""A query engine with a retriever and postprocessors of others."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle

from voicerag_core import VoiceRAG
from voicerag_integrations.llamaindex import SpeechQueryEngine, SpeechResponse, SpeechRetriever


class OnlyFirst(BaseNodePostprocessor):
    """Keeps the best node."""

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return nodes[:1]


class Backwards(BaseRetriever):
    """Finds what another retriever finds, the worst first."""

    def __init__(self, other: BaseRetriever) -> None:
        self.other = other
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self.other.retrieve(query_bundle)[::-1]


def engine_of(rag: VoiceRAG, kind: str) -> SpeechQueryEngine:
    parts: dict[str, Any] = {
        "postprocessor": {"node_postprocessors": [OnlyFirst()]},
        "retriever": {"retriever": Backwards(SpeechRetriever(rag))},
    }
    return SpeechQueryEngine(rag, **parts[kind])


@pytest.mark.parametrize(("kind", "count"), [("postprocessor", 1), ("retriever", 3)])
async def test_they_are_used_in_both_worlds(rag: VoiceRAG, kind: str, count: int) -> None:
    plain = SpeechQueryEngine(rag).query("Where does the Rhine rise?").source_nodes
    engine = engine_of(rag, kind)
    found = [
        engine.query("Where does the Rhine rise?"),
        await engine.aquery("Where does the Rhine rise?"),
    ]
    ids = [node.node.node_id for node in plain]
    for response in found:
        assert isinstance(response, SpeechResponse)
        given = [node.node.node_id for node in response.source_nodes]
        assert given == (ids[:1] if kind == "postprocessor" else ids[::-1])
        assert len(given) == count


def test_the_retriever_can_be_asked_for(rag: VoiceRAG) -> None:
    assert engine_of(rag, "retriever").retriever.__class__ is Backwards
