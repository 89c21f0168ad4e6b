"""Measure the LangChain adapter against langchain-postgres, on one server, and against the core.

Both stores get the same texts, vectors (as Python lists) and metadata through their LangChain
methods, and then an HNSW index (m 16, ef_construction 64, ef_search 40). They alternate, slice by
slice and round by round, so that other load on the machine affects both.

    python3 -m venv .venv-peers
    .venv-peers/bin/pip install -r benchmarks/adapters/requirements-langchain.txt \
        -e '.[local,langchain]'
    .venv-peers/bin/python -m benchmarks.adapters.langchain_store
"""

# ruff: noqa: D102 - the contenders have the protocol of benchmarks/store/rivals.py

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

from benchmarks.store.rivals import (
    LIMIT,
    THREADS,
    Data,
    LangChain,
    Ours,
    made_up,
    recall,
    table,
    timed,
)
from voicerag_core import Audio, Embedding, Embeddings, VoiceRAG
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, migrate
from voicerag_core.testing import FakeVoiceModel
from voicerag_integrations.langchain import (
    SpeechRetriever,
    VoiceRAGEmbeddings,
    VoiceRAGVectorStore,
)

SLICES = 2
ROUNDS = 5
"""Turns in which the two are filled, and asked."""


@dataclass
class Adapter(Ours):
    """The voicerag store through its LangChain interface."""

    vectors: VoiceRAGVectorStore | None = None
    name: str = "voicerag for LangChain"

    @property
    def langchain(self) -> VoiceRAGVectorStore:
        assert self.vectors is not None
        return self.vectors

    def put(self, data: Data, vectors: list[list[float]]) -> None:
        metadatas = [{"owner": int(owner)} for owner in data.owner]
        self.langchain.add_embeddings(data.texts, vectors, metadatas, ids=data.ids)

    def find(self, question: Embedding, owner: int | None) -> list[str]:
        chosen = None if owner is None else {"owner": owner}
        found = self.langchain.similarity_search_by_vector(
            question.tolist(), k=LIMIT, filter=chosen
        )
        return [str(document.id) for document in found]


class Peer(LangChain):
    """The other store; its vectors are lists before the clock starts."""

    def put(self, data: Data, vectors: list[list[float]]) -> None:
        metadatas = [{"owner": int(owner)} for owner in data.owner]
        self.store.add_embeddings(data.texts, vectors, metadatas=metadatas, ids=data.ids)


class Ready:
    """An embedder with precomputed vectors of the questions."""

    model_id = "benchmark"
    needs_transcriber = False

    def __init__(self, questions: Embeddings) -> None:
        self.questions = questions
        self.dim = questions.shape[1]

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        return self.questions[[int(text) for text in texts]]

    def embed_questions(self, texts: Sequence[str]) -> Embeddings:
        return self.embed_passages(texts)

    def embed_speech(self, clips: Sequence[Audio]) -> Embeddings:
        raise NotImplementedError


def overhead(store: PgVectorStore, questions: Embeddings) -> dict[str, tuple[float, float, float]]:
    """Time each question with core and adapters in turn; p50 in ms, and their difference.

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
        for turn in range(len(names)):  # the first query finds the pages cold
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


def fill(ours: Adapter, theirs: Peer, data: Data) -> dict[str, dict[str, float]]:
    """Insert the rows slice by slice in turn, since the machine's load varies.

    Of the peer, a tenth of the rows is timed, and the rest inserted by COPY.
    """
    rows = len(data.ids)
    seconds = {ours.name: 0.0, theirs.name: 0.0}
    timed_rows = {ours.name: rows, theirs.name: rows // 10}
    for part in range(SLICES):
        for one in (ours, theirs):
            total = timed_rows[one.name]
            piece = data.part(part * total // SLICES, (part + 1) * total // SLICES)
            vectors = piece.vectors.tolist()
            start = time.perf_counter()
            one.put(piece, vectors)
            seconds[one.name] += time.perf_counter() - start
    theirs.load(data.part(rows // 10, rows))
    found = {name: {"ingest, rows/s": timed_rows[name] / spent} for name, spent in seconds.items()}
    for one in (ours, theirs):
        start = time.perf_counter()
        one.build()
        found[one.name]["index build, s"] = time.perf_counter() - start
    return found


def ask(
    contenders: Sequence[Adapter | Peer], data: Data, owner: int | None
) -> dict[str, dict[str, float]]:
    """Ask each store all questions, in turn and several times."""
    seconds: dict[str, list[float]] = {one.name: [] for one in contenders}
    answers: dict[str, list[list[str]]] = {one.name: [] for one in contenders}
    kind = "" if owner is None else "1 % filter, "
    for turn in range(ROUNDS):
        for one in contenders[:: 1 if turn % 2 else -1]:
            taken, given = timed(lambda question, one=one: one.find(question, owner),  # type: ignore[misc]
                                 data.questions)  # fmt: skip
            seconds[one.name] += taken
            answers[one.name] = given
    return {
        name: {
            f"{kind}query p50, ms": float(np.median(seconds[name]) * 1000),
            f"{kind}query p95, ms": float(np.percentile(seconds[name], 95) * 1000),
            f"{kind}recall@{LIMIT}": recall(data, answers[name], owner),
            f"{kind}answers too short": sum(len(one) < LIMIT for one in answers[name]),
        }
        for name in seconds
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
        store = PGVectorStore.create_sync(
            engine,
            embedding_service=embeddings,
            table_name="langchain",
            metadata_columns=["owner"],
        )
        theirs = Peer(store, server.dsn)
        with PgVectorStore.open(
            server.dsn, model_id="benchmark", dim=dim, auto_index=False, pool_size=THREADS
        ) as opened:
            ours = Adapter(opened, server.dsn, vectors=VoiceRAGVectorStore(opened, embeddings))
            results = fill(ours, theirs, data)
            for owner in (None, 7):
                for name, figures in ask([ours, theirs], data, owner).items():
                    results[name] |= figures
            print(f"\n### {rows:,} x {dim}\n\n{table(results)}\n")
            print(
                "| adapter | core p50, ms | adapter p50, ms | overhead p50, ms |\n|---|---|---|---|"
            )
            for name, triple in overhead(opened, data.questions).items():
                print(f"| {name} | " + " | ".join(f"{figure:.3f}" for figure in triple) + " |")


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
