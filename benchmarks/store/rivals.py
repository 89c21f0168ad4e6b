"""Measure the store against the Postgres stores of LangChain and LlamaIndex, on one server.

Each store gets the same texts, vectors and metadata, and then an HNSW index (m 16, ef_construction
64, ef_search 40). Ours also has a full-text index, which the others do not have here.

    python -m venv .venv-store
    .venv-store/bin/pip install -r benchmarks/store/requirements.txt -e '.[local]'
    .venv-store/bin/python -m benchmarks.store.rivals --rows 20000 --dim 384
"""

# ruff: noqa: D101, D102 - the three contenders have one protocol

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.conninfo import conninfo_to_dict

from voicerag_core.filters import Eq
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, migrate
from voicerag_core.types import Embedding, Embeddings, Passage

LIMIT = 10
THREADS = 4
OWNERS = 100
BATCH = 5000
WARM_UP = 20
LANGCHAIN_INGEST_ROWS = 2000


@dataclass(frozen=True)
class Data:
    """The rows and the questions."""

    ids: list[str]
    texts: list[str]
    owner: NDArray[np.int64]
    vectors: Embeddings
    questions: Embeddings

    def part(self, start: int, stop: int) -> Data:
        return Data(
            self.ids[start:stop], self.texts[start:stop], self.owner[start:stop],
            self.vectors[start:stop], self.questions,
        )  # fmt: skip


class Contender(Protocol):
    """A store under test."""

    name: str

    def add(self, data: Data) -> None: ...
    def build(self) -> None: ...
    def find(self, question: Embedding, owner: int | None) -> list[str]: ...
    def size(self) -> int: ...


@dataclass
class Ours:
    store: PgVectorStore
    dsn: str
    name: str = "voicerag"

    def add(self, data: Data) -> None:
        for start in range(0, len(data.ids), BATCH):
            part = data.part(start, start + BATCH)
            passages = [
                Passage(key, text, {"owner": int(owner)})
                for key, text, owner in zip(part.ids, part.texts, part.owner, strict=True)
            ]
            self.store.add(passages, part.vectors)

    def build(self) -> None:
        self.store.build_index()

    def find(self, question: Embedding, owner: int | None) -> list[str]:
        where = None if owner is None else Eq("owner", owner)
        return [hit.passage.id for hit in self.store.search(question, limit=LIMIT, where=where)]

    def size(self) -> int:
        return relation_size(self.dsn, "voicerag.passages") + relation_size(
            self.dsn, "voicerag.vectors"
        )


@dataclass
class LangChain:
    store: Any
    dsn: str
    name: str = "langchain-postgres"

    def add(self, data: Data) -> None:
        self.store.add_embeddings(
            data.texts,
            data.vectors.tolist(),
            metadatas=[{"owner": int(owner)} for owner in data.owner],
            ids=data.ids,
        )

    def load(self, data: Data) -> None:
        """Insert the rest by COPY: at the measured rate it would take too long."""
        columns = "langchain_id, content, embedding, owner, langchain_metadata"
        with (
            psycopg.connect(self.dsn) as connection,
            connection.cursor() as cursor,
            cursor.copy(f"COPY langchain ({columns}) FROM STDIN".encode()) as copy,
        ):
            for key, text, vector, owner in zip(
                data.ids, data.texts, data.vectors, data.owner, strict=True
            ):
                copy.write_row((key, text, str(vector.tolist()), int(owner), "{}"))

    def build(self) -> None:
        from langchain_postgres.v2.indexes import HNSWIndex

        self.store.apply_vector_index(HNSWIndex(m=16, ef_construction=64))
        analyze(self.dsn, "langchain")

    def find(self, question: Embedding, owner: int | None) -> list[str]:
        chosen = None if owner is None else {"owner": owner}
        found = self.store.similarity_search_with_score_by_vector(
            question.tolist(), k=LIMIT, filter=chosen
        )
        return [str(document.id) for document, _ in found]

    def size(self) -> int:
        return relation_size(self.dsn, "langchain")


@dataclass
class LlamaIndex:
    store: Any
    dsn: str
    name: str = "llama-index-vector-stores-postgres"

    def add(self, data: Data) -> None:
        from llama_index.core.schema import TextNode

        for start in range(0, len(data.ids), BATCH):
            part = data.part(start, start + BATCH)
            self.store.add(
                [
                    TextNode(
                        id_=key,
                        text=text,
                        embedding=vector.tolist(),
                        metadata={"owner": int(owner)},
                    )
                    for key, text, vector, owner in zip(
                        part.ids, part.texts, part.vectors, part.owner, strict=True
                    )
                ]
            )

    def build(self) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(
                "CREATE INDEX ON data_llama USING hnsw (embedding vector_cosine_ops) "
                "WITH (m = 16, ef_construction = 64)"
            )
        analyze(self.dsn, "data_llama")

    def find(self, question: Embedding, owner: int | None) -> list[str]:
        from llama_index.core.vector_stores import (
            MetadataFilter,
            MetadataFilters,
            VectorStoreQuery,
        )

        chosen = None
        if owner is not None:
            chosen = MetadataFilters(filters=[MetadataFilter(key="owner", value=owner)])
        result = self.store.query(
            VectorStoreQuery(
                query_embedding=question.tolist(), similarity_top_k=LIMIT, filters=chosen
            )
        )
        return list(result.ids)

    def size(self) -> int:
        return relation_size(self.dsn, "data_llama")


def relation_size(dsn: str, table: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT pg_total_relation_size(%s)", (table,)).fetchone()
    assert row is not None
    return int(row[0])


def analyze(dsn: str, table: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"ANALYZE {table}".encode())


def made_up(rows: int, dim: int, questions: int) -> Data:
    """Return texts of a dozen words, and unit vectors of intrinsic dimension at most 64."""
    random = np.random.default_rng(20261122)
    words = [f"w{i}" for i in range(5000)]
    basis = random.standard_normal((min(64, dim), dim))

    def unit(count: int) -> Embeddings:
        points = random.standard_normal((count, len(basis))) @ basis
        scaled: Embeddings = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(
            np.float32
        )
        return scaled

    return Data(
        ids=[str(uuid.UUID(int=i + 1)) for i in range(rows)],
        texts=[" ".join(random.choice(words, 12)) for _ in range(rows)],
        owner=random.permutation(np.arange(rows) % OWNERS),
        vectors=unit(rows),
        questions=unit(questions),
    )


def truth(data: Data, question: Embedding, owner: int | None) -> set[str]:
    scores = data.vectors @ question
    if owner is not None:
        scores = np.where(data.owner == owner, scores, -np.inf)
    return {data.ids[i] for i in np.argpartition(-scores, LIMIT)[:LIMIT]}


def recall(data: Data, answers: Sequence[list[str]], owner: int | None) -> float:
    right = sum(
        len(truth(data, question, owner) & set(answer))
        for question, answer in zip(data.questions, answers, strict=True)
    )
    return right / (LIMIT * len(answers))


def timed(call: Callable[[Embedding], list[str]], questions: Embeddings) -> tuple[
    list[float], list[list[str]]
]:  # fmt: skip
    for question in questions[:WARM_UP]:
        call(question)
    seconds, answers = [], []
    for question in questions:
        start = time.perf_counter()
        answers.append(call(question))
        seconds.append(time.perf_counter() - start)
    return seconds, answers


def measure(contender: Contender, data: Data) -> dict[str, float]:
    """Fill, index and query one store."""
    timed_rows = len(data.ids)
    if isinstance(contender, LangChain):
        timed_rows = min(timed_rows, LANGCHAIN_INGEST_ROWS)
    start = time.perf_counter()
    contender.add(data.part(0, timed_rows))
    found = {"ingest, rows/s": timed_rows / (time.perf_counter() - start)}
    if isinstance(contender, LangChain):
        contender.load(data.part(timed_rows, len(data.ids)))
    start = time.perf_counter()
    contender.build()
    found["index build, s"] = time.perf_counter() - start
    found["tables and indexes, MB"] = contender.size() / 1e6
    seconds, answers = timed(lambda question: contender.find(question, None), data.questions)
    found["query p50, ms"], found["query p95, ms"] = np.percentile(seconds, [50, 95]) * 1000
    found["recall@10"] = recall(data, answers, None)
    start = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(lambda question: contender.find(question, None), data.questions))
    found[f"queries/s, {THREADS} threads"] = len(data.questions) / (time.perf_counter() - start)
    seconds, answers = timed(lambda question: contender.find(question, 7), data.questions)
    found["1 % filter, p50, ms"] = float(np.median(seconds) * 1000)
    found["1 % filter, recall@10"] = recall(data, answers, 7)
    found["1 % filter, answers too short"] = sum(len(answer) < LIMIT for answer in answers)
    return found


@contextlib.contextmanager
def contenders(dsn: str, dim: int) -> Iterator[list[Contender]]:
    """Open all three stores on one database."""
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from langchain_postgres import Column, PGEngine, PGVectorStore
    from llama_index.vector_stores.postgres import PGVectorStore as LlamaStore

    parts = conninfo_to_dict(dsn)
    place = f"{parts['user']}@/{parts['dbname']}?host={quote(str(parts['host']), safe='/')}"
    migrate(dsn)
    engine = PGEngine.from_connection_string(f"postgresql+asyncpg://{place}")
    engine.init_vectorstore_table(
        "langchain", vector_size=dim, metadata_columns=[Column("owner", "INTEGER")]
    )
    langchain = PGVectorStore.create_sync(
        engine,
        embedding_service=DeterministicFakeEmbedding(size=dim),
        table_name="langchain",
        metadata_columns=["owner"],
    )
    llama = LlamaStore.from_params(
        connection_string=f"postgresql+psycopg2://{place}",
        async_connection_string=f"postgresql+asyncpg://{place}",
        table_name="llama",
        embed_dim=dim,
        use_jsonb=True,
    )
    with PgVectorStore.open(
        dsn, model_id="benchmark", dim=dim, auto_index=False, pool_size=THREADS
    ) as store:
        yield [Ours(store, dsn), LangChain(langchain, dsn), LlamaIndex(llama, dsn)]


def table(results: dict[str, dict[str, float]]) -> str:
    """Return a markdown table; in parentheses, how many times better ours is."""
    ours, *rivals = results
    lines = ["| | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|"]
    for measure_name, own in results[ours].items():
        cells = [f"{own:.4g}"]
        for rival in rivals:
            value = results[rival][measure_name]
            more_is_better = "/s" in measure_name
            ratio = own / value if more_is_better else value / max(own, 1e-9)
            compared = "recall" not in measure_name and "short" not in measure_name
            cells.append(f"{value:.4g}" + (f" ({ratio:.1f}x)" if compared else ""))
        lines.append(f"| {measure_name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--questions", type=int, default=200)
    chosen = parser.parse_args()
    data = made_up(chosen.rows, chosen.dim, chosen.questions)
    results = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as server,
        contenders(server.dsn, chosen.dim) as stores,
    ):
        for store in stores:
            results[store.name] = measure(store, data)
    print(table(results))


if __name__ == "__main__":
    main()
