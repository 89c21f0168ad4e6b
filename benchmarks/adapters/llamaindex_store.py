r"""Measure the adapters against the frameworks' own Postgres stores, on one server in one run.

Both sides get the same objects of the framework, created beforehand, and then an HNSW index (m 16,
ef_construction 64, ef_search 40). The overhead of the adapter over a call of the core is measured
on the same collection, alternating call by call.

    python -m venv .venv-peers
    .venv-peers/bin/pip install -r benchmarks/adapters/requirements-llamaindex.txt \
        -e '.[local,llamaindex]'
    .venv-peers/bin/python -m benchmarks.adapters.llamaindex_store --peer llamaindex \
        --rows 20000 --dim 384
"""

# ruff: noqa: D101, D102 - the contenders have one protocol

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

import numpy as np
from psycopg.conninfo import conninfo_to_dict

from benchmarks.store.rivals import (
    BATCH,
    LIMIT,
    THREADS,
    WARM_UP,
    Contender,
    Data,
    LlamaIndex,
    Ours,
    made_up,
    measure,
    table,
)
from voicerag_core import VoiceRAG
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, migrate
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel
from voicerag_core.types import Embedding

Call: TypeAlias = Callable[[Embedding], object]


@dataclass
class Pair:
    """An adapter and its rival, and calls whose difference is the adapter's overhead.

    Args:
        ours: The adapter.
        theirs: The framework's own store.
        overheads: By name: a call of the core, and the same through the adapter.
    """

    ours: Contender
    theirs: Contender
    overheads: dict[str, tuple[Call, Call]]


def address(dsn: str) -> str:
    """Return what SQLAlchemy's URLs need after the driver's name."""
    parts = conninfo_to_dict(dsn)
    return f"{parts['user']}@/{parts['dbname']}?host={quote(str(parts['host']), safe='/')}"


def text_nodes(data: Data) -> list[Any]:
    """Create the nodes for both LlamaIndex stores."""
    from llama_index.core.schema import TextNode

    return [
        TextNode(id_=key, text=text, embedding=vector.tolist(), metadata={"owner": int(owner)})
        for key, text, vector, owner in zip(
            data.ids, data.texts, data.vectors, data.owner, strict=True
        )
    ]


@dataclass
class TheirLlamaIndex(LlamaIndex):
    nodes: Sequence[Any] = ()

    def add(self, data: Data) -> None:
        for start in range(0, len(data.ids), BATCH):
            self.store.add(self.nodes[start : start + BATCH])


@dataclass
class OurLlamaIndex(TheirLlamaIndex):
    name: str = "VoiceRAGVectorStore"

    def build(self) -> None:
        self.store.client.build_index()

    def size(self) -> int:
        return Ours(self.store.client, self.dsn).size()


@contextlib.contextmanager
def llamaindex(dsn: str, data: Data) -> Iterator[Pair]:
    """Open `VoiceRAGVectorStore` and llama-index-vector-stores-postgres."""
    from llama_index.core.schema import QueryBundle
    from llama_index.core.vector_stores import VectorStoreQuery
    from llama_index.vector_stores.postgres import PGVectorStore as LlamaStore

    from voicerag_integrations.llamaindex import SpeechRetriever, VoiceRAGVectorStore

    dim = data.vectors.shape[1]
    nodes = text_nodes(data)
    llama = LlamaStore.from_params(
        connection_string=f"postgresql+psycopg2://{address(dsn)}",
        async_connection_string=f"postgresql+asyncpg://{address(dsn)}",
        table_name="llama",
        embed_dim=dim,
        use_jsonb=True,
    )
    with PgVectorStore.open(
        dsn, model_id="benchmark", dim=dim, auto_index=False, pool_size=THREADS
    ) as store:
        adapter = VoiceRAGVectorStore(store)
        rag = VoiceRAG(FakeEmbedder(dim), store, FakeVoiceModel(), limit=LIMIT)
        retriever = SpeechRetriever(rag)
        queries: dict[int, Any] = {}

        def query(question: Embedding) -> object:
            made = queries.get(id(question))
            if made is None:
                made = queries[id(question)] = VectorStoreQuery(question.tolist(), LIMIT)
            return adapter.query(made)

        def retrieve(question: Embedding) -> object:
            return retriever.retrieve(QueryBundle("q", embedding=question.tolist()))

        yield Pair(
            OurLlamaIndex(adapter, dsn, nodes=nodes),
            TheirLlamaIndex(llama, dsn, nodes=nodes),
            {
                "VoiceRAGVectorStore.query over PgVectorStore.search": (
                    lambda question: store.search(question, limit=LIMIT), query,
                ),
                "SpeechRetriever.retrieve over VoiceRAG.retrieve": (rag.retrieve, retrieve),
            },
        )  # fmt: skip


PEERS: dict[str, Callable[[str, Data], contextlib.AbstractContextManager[Pair]]] = {
    "llamaindex": llamaindex,
}


def overhead(core: Call, adapter: Call, data: Data) -> str:
    """Return the medians of both calls, taken in turn, and their difference."""
    seconds: tuple[list[float], list[float]] = ([], [])
    questions = list(data.questions)
    for question in questions[:WARM_UP]:
        core(question)
        adapter(question)
    for question in questions:
        for call, taken in zip((core, adapter), seconds, strict=True):
            start = time.perf_counter()
            call(question)
            taken.append(time.perf_counter() - start)
    below, above = (float(np.median(taken)) * 1000 for taken in seconds)
    return f"{above:.2f} - {below:.2f} = {above - below:.2f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--peer", choices=sorted(PEERS), required=True)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--questions", type=int, default=200)
    chosen = parser.parse_args()
    data = made_up(chosen.rows, chosen.dim, chosen.questions)
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as server,
    ):
        migrate(server.dsn)
        with PEERS[chosen.peer](server.dsn, data) as pair:
            results = {one.name: measure(one, data) for one in (pair.ours, pair.theirs)}
            print(f"{chosen.rows} x {chosen.dim}, batches of {BATCH}\n\n{table(results)}\n")
            for name, (core, adapter) in pair.overheads.items():
                print(f"{name}, p50: {overhead(core, adapter, data)}")


if __name__ == "__main__":
    main()
