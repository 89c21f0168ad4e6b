"""LangChain's standard suites, all of them, on the real store and the real local stack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    ToolsIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests, ToolsUnitTests

from voicerag_core import PgVectorStore, VoiceRAG
from voicerag_integrations.langchain import (
    SpeechRetriever,
    VoiceAskTool,
    VoiceRAGEmbeddings,
    VoiceRAGVectorStore,
    VoiceSearchTool,
)

QUESTION = "What is set up to scrutinize private bills submitted by party outsiders?"


class OnTheLocalStack:
    """Gives the suites, whose parameters are properties, the session's pipeline."""

    @pytest.fixture(autouse=True)
    def _open(self, local: VoiceRAG) -> None:
        self.local = local


class TestRetriever(OnTheLocalStack, RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return SpeechRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"rag": self.local}

    @property
    def retriever_query_example(self) -> str:
        return QUESTION


class TestEmbeddingsUnit(OnTheLocalStack, EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return VoiceRAGEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"embedder": self.local}


class TestEmbeddings(OnTheLocalStack, EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return VoiceRAGEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"embedder": self.local}


class Tool(OnTheLocalStack):
    kind: type[BaseTool]

    @property
    def tool_constructor(self) -> type[BaseTool]:
        return self.kind

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"rag": self.local}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"question": QUESTION}


class TestSearchToolUnit(Tool, ToolsUnitTests):
    kind = VoiceSearchTool


class TestSearchTool(Tool, ToolsIntegrationTests):
    kind = VoiceSearchTool


class TestAskToolUnit(Tool, ToolsUnitTests):
    kind = VoiceAskTool


class TestAskTool(Tool, ToolsIntegrationTests):
    kind = VoiceAskTool


class TestVectorStoreWithForeignEmbeddings(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, dsn: str, tenant: str) -> Iterator[VectorStore]:
        embeddings = self.get_embeddings()
        width = len(embeddings.embed_query("width"))
        with PgVectorStore.open(dsn, tenant=tenant, model_id="suite", dim=width) as store:
            yield VoiceRAGVectorStore(store, embeddings)


class TestVectorStoreWithLocalEmbeddings(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, dsn: str, tenant: str, local: VoiceRAG) -> Iterator[VectorStore]:
        embedder = local.embedder
        with PgVectorStore.open(
            dsn, tenant=tenant, model_id=embedder.model_id, dim=embedder.dim
        ) as store:
            yield VoiceRAGVectorStore(store, VoiceRAGEmbeddings(embedder))
