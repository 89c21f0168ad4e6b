"""Measure the LangChain adapter against langchain-postgres, on one server, and against the core.

Both stores get the same texts, vectors (as Python lists) and metadata through their LangChain
methods, and an HNSW index (m 16, ef_construction 64, ef_search 40) once they are in.

    python3 -m venv .venv-peers
    .venv-peers/bin/pip install -r benchmarks/requirements-peers-langchain.txt \
        -e '.[local,langchain]'
    .venv-peers/bin/python benchmarks/peers_langchain.py
"""

# ruff: noqa: D102 - the contenders have the protocol of benchmarks/store.py

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from langchain_core.embeddings import DeterministicFakeEmbedding
from psycopg.conninfo import conninfo_to_dict
from store import LIMIT, THREADS, Data, LangChain, Ours, made_up, measure, table

from voicerag_core import Audio, Embedding, Embeddings, VoiceRAG
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, migrate
from voicerag_core.testing import FakeVoiceModel
from voicerag_integrations.langchain import (
    SpeechRetriever,
    VoiceRAGEmbeddings,
    VoiceRAGVectorStore,
)


@dataclass
class Adapter(Ours):
    """Our store through its LangChain interface."""

    vectors: VoiceRAGVectorStore | None = None
    name: str = "voicerag for LangChain"

    @property
    def langchain(self) -> VoiceRAGVectorStore:
        assert self.vectors is not None
        return self.vectors

    def add(self, data: Data) -> None:
        self.langchain.add_embeddings(
            data.texts,
            data.vectors.tolist(),
            [{"owner": int(owner)} for owner in data.owner],
            ids=data.ids,
        )

    def find(self, question: Embedding, owner: int | None) -> list[str]:
        chosen = None if owner is None else {"owner": owner}
        found = self.langchain.similarity_search_by_vector(
            question.tolist(), k=LIMIT, filter=chosen
        )
        return [str(document.id) for document in found]


class Ready:
    """An embedder that knows the vectors of the questions, so that none is computed."""

    model_id = "benchmark"
    transcribes = False

    def __init__(self, questions: Embeddings) -> None:
        self.questions = questions
        self.dim = questions.shape[1]

    def embed_texts(self, texts: Sequence[str]) -> Embeddings:
        return self.questions[[int(text) for text in texts]]

    def embed_speech(self, clips: Sequence[Audio]) -> Embeddings:
        raise NotImplementedError


def overhead(store: PgVectorStore, questions: Embeddings) -> dict[str, tuple[float, float, float]]:
    """Time each question by the core and by the adapters in turn; p50 in ms, and their difference.

    A difference is the median over questions of adapter minus core.
    """
    embedder = Ready(questions)
    rag = VoiceRAG(embedder, store, FakeVoiceModel(), limit=LIMIT)
    retriever = SpeechRetriever(rag=rag)
    vectors = VoiceRAGVectorStore(store, VoiceRAGEmbeddings(embedder))
    loop = asyncio.new_event_loop()
    calls: dict[str, Any] = {
        "core": rag.retrieve,
        "SpeechRetriever.invoke": retriever.invoke,
        "SpeechRetriever.ainvoke": lambda text: loop.run_until_complete(retriever.ainvoke(text)),
        "VoiceRAGVectorStore.similarity_search": lambda text: vectors.similarity_search(
            text, LIMIT
        ),
        "VoiceRAGVectorStore.asimilarity_search": lambda text: loop.run_until_complete(
            vectors.asimilarity_search(text, LIMIT)
        ),
    }
    names = list(calls)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-20, len(questions)):
        for turn in range(len(names)):  # whoever asks first finds the pages cold
            name = names[(number + turn) % len(names)]
            call = calls[name]
            start = time.perf_counter()
            call(str(number))
            if number >= 0:
                seconds[name].append(time.perf_counter() - start)
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    core = np.array(seconds.pop("core")) * 1000
    return {
        name: (
            float(np.median(core)),
            float(np.median(taken) * 1000),
            float(np.median(np.array(taken) * 1000 - core)),
        )
        for name, taken in seconds.items()
    }


def run(rows: int, dim: int, questions: int) -> None:
    """Measure one size and print its tables."""
    from langchain_postgres import Column, PGEngine, PGVectorStore

    data = made_up(rows, dim, questions)
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as server,
    ):
        migrate(server.dsn)
        parts = conninfo_to_dict(server.dsn)
        place = f"{parts['user']}@/{parts['dbname']}?host={quote(str(parts['host']), safe='/')}"
        engine = PGEngine.from_connection_string(f"postgresql+asyncpg://{place}")
        engine.init_vectorstore_table(
            "langchain", vector_size=dim, metadata_columns=[Column("owner", "INTEGER")]
        )
        embeddings = DeterministicFakeEmbedding(size=dim)
        theirs = PGVectorStore.create_sync(
            engine,
            embedding_service=embeddings,
            table_name="langchain",
            metadata_columns=["owner"],
        )
        with PgVectorStore.open(
            server.dsn, model_id="benchmark", dim=dim, auto_index=False, pool_size=THREADS
        ) as store:
            ours = Adapter(store, server.dsn, vectors=VoiceRAGVectorStore(store, embeddings))
            results = {
                one.name: measure(one, data) for one in (ours, LangChain(theirs, server.dsn))
            }
            print(f"\n### {rows:,} x {dim}\n\n{table(results)}\n")
            print(
                "| adapter | core p50, ms | adapter p50, ms | overhead p50, ms |\n|---|---|---|---|"
            )
            for name, figures in overhead(store, data.questions).items():
                print(f"| {name} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--sizes", nargs="*", default=["20000x384", "10000x1024"])
    chosen = parser.parse_args()
    for size in chosen.sizes:
        rows, dim = map(int, size.split("x"))
        run(rows, dim, chosen.questions)


if __name__ == "__main__":
    main()
