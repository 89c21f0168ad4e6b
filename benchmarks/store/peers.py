"""Measure the store and its adapters against their peers on clustered vectors, in one run.

All are on one server and get the same rows, from `benchmarks.store.clustered`, batch by batch in
turn; rows per second are those before any index. Then each gets the same HNSW index (m 16,
ef_construction 64), and every question is asked of all of them in turn, with 40 candidates
(ef_search) on every side. Ours is there twice: as it is by default, with an index of the words, and
without (in a database of its own, so that neither meets the rows of the other), as the peers are.

    python -m venv .venv-store
    .venv-store/bin/pip install -r benchmarks/store/requirements.txt -e '.[local]'
    .venv-store/bin/python -m benchmarks.store.peers --rows 50000 --dim 384

With ``--data`` the rows are the sentences of evaluation sets, from `benchmarks.store.real`, and
with ``--passages`` besides their passages.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import psycopg
from psycopg.conninfo import make_conninfo

from benchmarks import chart
from benchmarks.store.clustered import Clustered, Rows
from benchmarks.store.real import RealTexts
from benchmarks.store.rivals import LIMIT, Contender, Data, LangChain, LlamaIndex, Ours, contenders
from benchmarks.store.scale import recall
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, migrate
from voicerag_core.types import Embedding, Embeddings

PEER_ROWS = {"langchain-postgres": 300, "llama-index-vector-stores-postgres": 1000}
"""Of a batch; they would take minutes for all."""
WITHOUT_WORDS = "voicerag without words"
OWNER = 7
EF_SEARCH = 40
Find = Callable[[Embedding, int | None], list[str]]


def as_data(rows: Rows, questions: Embeddings) -> Data:
    return Data(rows.ids, rows.texts, rows.owner, rows.vectors, questions)


@contextmanager
def without_words(dsn: str, dim: int) -> Iterator[Ours]:
    """Open our store without words, in another database of the server."""
    name = "without_words"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    own = make_conninfo(dsn, dbname=name)
    migrate(own)
    with PgVectorStore.open(
        own, model_id="benchmark", dim=dim, words=False, auto_index=False
    ) as store:
        yield Ours(store, own, WITHOUT_WORDS)


def llama_load(dsn: str, data: Data) -> None:
    """Insert the rest of LlamaIndex's rows by COPY, in the form in which it writes them."""
    with (
        psycopg.connect(dsn) as connection,
        connection.cursor() as cursor,
        cursor.copy("COPY data_llama (node_id, text, metadata_, embedding) FROM STDIN") as copy,
    ):
        for key, text, vector, owner in zip(
            data.ids, data.texts, data.vectors, data.owner, strict=True
        ):
            metadata = f'{{"owner": {int(owner)}, "_node_type": "TextNode", "doc_id": "None"}}'
            copy.write_row((key, text, metadata, str(vector.tolist())))


@contextmanager
def no_garbage_collected() -> Iterator[None]:
    """Collect it before the block, and none inside."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def loading(store: Ours, results: dict[str, float]) -> Iterator[None]:
    """Load in the block, and time what is done with the words at its end."""
    with store.store.bulk_load():
        yield
        start = time.perf_counter()
    results["words, s"] = time.perf_counter() - start


def fill(stores: Sequence[Contender], batches: list[Data], dsn: str) -> dict[str, dict[str, float]]:
    """Fill the stores batch by batch in turn, and build their indexes.

    Of each batch the peers take the first rows by their own methods, which are timed, and the
    others by COPY. Rows per second are the harmonic mean over the batches. As in `timeit` no
    garbage is collected meanwhile: looking through all that LangChain and LlamaIndex import takes
    longer than a batch of ours, and whose rows that falls on is chance.
    """
    results: dict[str, dict[str, float]] = {store.name: {} for store in stores}
    spent: dict[str, list[float]] = {store.name: [] for store in stores}
    ours = [store for store in stores if isinstance(store, Ours)]
    with ExitStack() as loads:
        for one in ours:
            loads.enter_context(loading(one, results[one.name]))
        for data in batches:
            for store in stores:
                count = PEER_ROWS.get(store.name, len(data.ids))
                part = data.part(0, count)
                with no_garbage_collected():
                    start = time.perf_counter()
                    store.add(part)
                    spent[store.name].append((time.perf_counter() - start) / count)
                rest = data.part(count, len(data.ids))
                if isinstance(store, LangChain):
                    store.load(rest)
                elif isinstance(store, LlamaIndex):
                    llama_load(dsn, rest)
    for store in stores:
        results[store.name]["rows/s in"] = 1 / float(np.mean(spent[store.name]))
        start = time.perf_counter()
        if isinstance(store, Ours):
            store.store.build_index(tune=False)
        else:
            store.build()
        results[store.name]["index build, s"] = time.perf_counter() - start
    for one in ours:
        one.store.tune(ef_search=EF_SEARCH)
    return results


def adapters(store: Ours) -> Iterator[tuple[str, Find]]:
    """Yield the ways to ask our store through its adapters."""
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from llama_index.core.vector_stores import MetadataFilter, MetadataFilters, VectorStoreQuery

    from voicerag_integrations.langchain import VoiceRAGVectorStore
    from voicerag_integrations.llamaindex import VoiceRAGVectorStore as LlamaStore

    chain = VoiceRAGVectorStore(store.store, DeterministicFakeEmbedding(size=2))
    llama = LlamaStore(store.store)

    def by_langchain(question: Embedding, owner: int | None) -> list[str]:
        chosen = None if owner is None else {"owner": owner}
        found = chain.similarity_search_by_vector(question.tolist(), k=LIMIT, filter=chosen)
        return [str(document.id) for document in found]

    def by_llamaindex(question: Embedding, owner: int | None) -> list[str]:
        chosen = None
        if owner is not None:
            chosen = MetadataFilters(filters=[MetadataFilter(key="owner", value=owner)])
        query = VectorStoreQuery(
            query_embedding=question.tolist(), similarity_top_k=LIMIT, filters=chosen
        )
        return list(llama.query(query).ids or ())

    yield "voicerag for LangChain", by_langchain
    yield "voicerag for LlamaIndex", by_llamaindex


def asked(
    finds: dict[str, Find], questions: Embeddings, owner: int | None
) -> dict[str, tuple[list[float], list[list[str]]]]:
    """Ask each question of all in turn, first and last by turns; return milliseconds and ids.

    Who is at an end is asked twice in a row, and its caches are warm the second time, as are those
    of ours with words from its adapters; asked by turns with it alone, ours without takes as long.
    """
    found: dict[str, tuple[list[float], list[list[str]]]] = {name: ([], []) for name in finds}
    names = list(finds)
    for name in names:
        for question in questions[:20]:
            finds[name](question, owner)
    for number, question in enumerate(questions):
        for name in names if number % 2 else names[::-1]:
            start = time.perf_counter()
            ids = finds[name](question, owner)
            found[name][0].append(1000 * (time.perf_counter() - start))
            found[name][1].append(ids)
    return found


def run(given: argparse.Namespace, folder: Path) -> tuple[dict[str, dict[str, float]], list[float]]:
    data: RealTexts | Clustered = Clustered(given.rows, given.dim)
    if given.data:
        data = RealTexts(given.data, passages=given.passages)
    questions = data.questions(given.questions)
    batches = [as_data(rows, questions) for rows in data.batches()]
    nearest = {owner: data.nearest(questions, LIMIT, owner) for owner in (None, OWNER)}
    with (
        EmbeddedPostgres(folder) as server,
        contenders(server.dsn, data.dim) as (with_words, *peers),
        without_words(server.dsn, data.dim) as without,
    ):
        stores = [with_words, without, *peers]
        results = fill(stores, batches, server.dsn)
        finds: dict[str, Find] = {store.name: store.find for store in stores}
        assert isinstance(with_words, Ours)
        finds |= dict(adapters(with_words))
        for owner, label in ((None, ""), (OWNER, "1 % filter: ")):
            for name, (spent, answers) in asked(finds, questions, owner).items():
                row = results.setdefault(name, {})
                row[f"{label}p50, ms"] = float(np.median(spent))
                row[f"{label}p95, ms"] = float(np.percentile(spent, 95))
                row[f"{label}recall@10"] = recall(answers, nearest[owner])
                row[f"{label}too short"] = sum(len(answer) < LIMIT for answer in answers)
    return results, list(os.getloadavg())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--data", type=Path, help="folder of the sets: rows of real texts")
    parser.add_argument("--passages", action="store_true", help="with --data: rows are passages")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results, load = run(given, Path(folder) / "postgres")
    measures = list(dict.fromkeys(name for row in results.values() for name in row))
    first = next(iter(results.values()))
    rows = []
    for name, row in results.items():
        cells = []
        for measure in measures:
            if measure not in row:
                cells.append("")
                continue
            own, value = first.get(measure, 0.0), row[measure]
            ratio = own / value if "rows/s" in measure else value / max(own, 1e-9)
            compared = row is not first and ("ms" in measure or "/s" in measure)
            cells.append(f"{value:,.4g}" + (f" ({ratio:.1f}x)" if compared else ""))
        rows.append([name, *cells])
    when = f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, load average {load[1]:.1f}"
    whole = " --passages" if given.passages else ""
    rows_of = (
        f"--data {given.data}{whole}" if given.data else f"--rows {given.rows} --dim {given.dim}"
    )
    command = f"python -m benchmarks.store.peers {rows_of}"
    print(f"{when}\n\n    {command}\n")
    print("\n".join(chart.table(["", *measures], rows)))
    bare = results[WITHOUT_WORDS]["rows/s in"]
    ratios = ", ".join(
        f"{bare / results[name]['rows/s in']:.1f} times {name}" for name in PEER_ROWS
    )
    print(f"\nRows in without words: {ratios}.")


if __name__ == "__main__":
    main()
