"""What may be amiss with a table of another program: each has its own sentence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

from tests.conftest import new_database
from tests.store.other_programs import make_reader
from voicerag_core import (
    ConfigError,
    EmbeddingMismatchError,
    ExistingTable,
    StoreError,
    StoreUnavailableError,
    VoiceRAG,
)
from voicerag_core.filters import Eq
from voicerag_core.store import inspect_table, list_vector_columns
from voicerag_core.store.existing.probe import compare_vectors
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel

TEXTS = [
    "The Rhine rises in the Swiss Alps and ends in the sea.",
    "The bakery opens at seven and is closed on Mondays.",
    "Oxygen is a gas without colour that Scheele found first.",
    "The tower was built of granite and has two hundred steps.",
    "A committee looks at private bills of party outsiders.",
]


@pytest.fixture
def connection(server: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(new_database(server), autocommit=True) as opened:
        opened.execute("CREATE EXTENSION vector")
        yield opened


def fill(connection: psycopg.Connection[Any], embedder: FakeEmbedder, head: str = "") -> str:
    """Make a table whose vectors are those of an embedder, over more than the texts if asked."""
    connection.execute(
        f"CREATE TABLE kb (id int PRIMARY KEY, text text, lang text, "
        f"embedding vector({embedder.dim}))".encode()
    )
    rows = embedder.embed_passages([head + text for text in TEXTS])
    for number, (text, vector) in enumerate(zip(TEXTS, rows, strict=True)):
        connection.execute(
            "INSERT INTO kb VALUES (%s, %s, 'en', %s::real[]::vector)",
            (number, text, vector.tolist()),
        )
    return connection.info.dsn


def test_the_embedder_that_filled_it_passes_and_others_are_refused(
    connection: psycopg.Connection[Any],
) -> None:
    own, other = FakeEmbedder(64), FakeEmbedder(64, model_id="other")
    turned = np.random.default_rng(0).permutation(64)
    other.embed_passages = lambda texts: FakeEmbedder(64).embed_passages(texts)[:, turned]  # type: ignore[method-assign]
    dsn = fill(connection, own)
    with ExistingTable(dsn, "kb", embedder=own) as table:
        assert table.probe(own).verdict == "same"
        assert table.search(own.embed_passages(TEXTS[:1])[0], limit=1)[0].passage.text == TEXTS[0]
        with pytest.raises(EmbeddingMismatchError, match="another model than other"):
            table.check_model(other)
        with pytest.raises(
            EmbeddingMismatchError, match="width 64, and the question's has width 8"
        ):
            table.search(np.ones(8, np.float32), limit=1)
    with (
        ExistingTable(dsn, "kb", embedder=other) as table,
        pytest.raises(EmbeddingMismatchError, match="agree with its vectors by"),
    ):
        table.search(other.embed_passages(["x"])[0], limit=1)
    with (
        ExistingTable(dsn, "kb", embedder=FakeEmbedder(384)) as table,
        pytest.raises(EmbeddingMismatchError, match="384"),
    ):
        table.warm()


def test_vectors_over_more_text_pass_with_a_note(connection: psycopg.Connection[Any]) -> None:
    dsn = fill(
        connection, FakeEmbedder(256), head="page label 7 of file report pdf made yesterday "
    )
    with ExistingTable(dsn, "kb", embedder=FakeEmbedder(256)) as table:
        match = table.probe(FakeEmbedder(256))
        assert match.verdict == "same, other text"
        assert any("more or other text" in one for one in inspect_table(table, match).warnings)


def test_a_model_that_puts_all_texts_together_is_judged_from_chance() -> None:
    draw = np.random.default_rng(0)

    def close(count: int) -> np.ndarray:
        rows = draw.standard_normal((count, 64)).astype(np.float32)
        rows = 0.5 * rows / np.linalg.norm(rows, axis=1, keepdims=True)
        rows[:, 0] += 0.86
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)

    rows, others = close(8), close(8)
    assert float(rows[0] @ rows[1]) > 0.6
    assert compare_vectors(rows, others).verdict == "another"
    assert compare_vectors(rows, rows).verdict == "same"


def test_names_are_names_and_never_statements(connection: psycopg.Connection[Any]) -> None:
    odd = 'Ta"ble 50%s; DROP TABLE kb; --'
    column = 'Te"xt %(q)s {}'
    connection.execute("CREATE TABLE kb (id int)")
    quoted = [f'"{name.replace(chr(34), chr(34) * 2)}"' for name in (odd, column)]
    connection.execute(
        f'CREATE SCHEMA "My.Schema"; CREATE TABLE "My.Schema".{quoted[0]} ("I D" bigint PRIMARY '
        f'KEY, {quoted[1]} text, "Le%ng" text, "E.m" vector(2)); INSERT INTO "My.Schema".'
        f"{quoted[0]} VALUES (1, 'Here.', 'd%s', '[1,0]')".encode()
    )
    with ExistingTable(
        connection.info.dsn, f"My.Schema.{odd}", text=column, columns=["Le%ng"],
        equal={"Le%ng": "d%s"}, only='"I D" % 2 = 1',
    ) as table:  # fmt: skip
        (hit,) = table.search(np.array([1, 0], np.float32), text="here", limit=3)
        assert hit.passage.text == "Here."
        assert hit.passage.metadata["Le%ng"] == "d%s"
        assert table.count(where=Eq("Le%ng", "d%s")) == 1
        assert table.get(["1", "x", "2", "99999999999999999999"]) == [hit.passage]
    with ExistingTable(
        connection.info.dsn, f"My.Schema.{odd}", text=column, equal={"Le%ng": "' OR true --"}
    ) as table:
        assert table.count() == 0
    assert connection.execute("SELECT to_regclass('kb')").fetchone() is not None


def test_each_fault_is_told(server: str, connection: psycopg.Connection[Any]) -> None:
    dsn = connection.info.dsn
    for statement in (
        "CREATE TABLE several (id int, text text, content text, v vector(2))",
        "CREATE TABLE two (id int, text text, a vector(2), b vector(2))",
        "CREATE TABLE secret (id int PRIMARY KEY, text bytea, v vector(2))",
        "CREATE TABLE locked (id int PRIMARY KEY, text text, v vector(2))",
        "INSERT INTO locked VALUES (1, 'Hidden.', '[1,0]')",
        "ALTER TABLE locked ENABLE ROW LEVEL SECURITY",
        "CREATE TABLE mixed (id int PRIMARY KEY, text text, v vector)",
        "INSERT INTO mixed VALUES (1, 'a', '[1,0]'), (2, 'b', '[1,0,0]')",
        "CREATE SCHEMA other; CREATE TABLE other.one (id int, text text, v vector(2))",
        "CREATE SCHEMA third; CREATE TABLE third.one (id int, text text, v vector(2))",
        "CREATE TABLE gone (id int PRIMARY KEY, text text, deleted_at date, v vector(2))",
        "CREATE VIEW seen AS SELECT text, v FROM locked",
    ):
        connection.execute(statement.encode())
    reader = make_reader(dsn, "secret", "locked")
    cases: list[tuple[str, dict[str, Any], type[Exception], str]] = [
        (
            "absent",
            {},
            ConfigError,
            "has no table absent with vectors; tables with vectors: other.one",
        ),
        ("several", {}, ConfigError, "holds the text: text, content; name it"),
        ("several", {"text": "body"}, ConfigError, "has no column 'body'"),
        ("two", {}, ConfigError, "several columns of vectors: a, b"),
        ("two", {"embedding": "c"}, ConfigError, "with a column 'c' of vectors"),
        ("secret", {}, ConfigError, "it is encrypted, as by Open WebUI"),
        ("mixed", {}, StoreError, r"several widths \(2 to 3\)"),
        ("one", {}, ConfigError, "several tables: other.one, third.one; give the schema"),
        ("seen", {}, ConfigError, "which column of public.seen holds the id"),
        ("locked", {"only": "nonsense ="}, StoreError, "the condition `only`"),
        ("locked", {"only": "nothing = 1"}, StoreError, "was changed, or a name is wrong"),
        ("locked", {"collection": "x"}, ConfigError, "has no collections"),
    ]
    for name, options, kind, said in cases:
        with ExistingTable(dsn, name, **options) as table, pytest.raises(kind, match=said):
            table.warm()
    with ExistingTable(reader, "mixed") as table, pytest.raises(StoreError, match="GRANT SELECT"):
        table.warm()
    with ExistingTable(reader, "locked") as table:
        assert table.search(np.array([1, 0], np.float32), limit=1) == ()
        assert "row-level security is on" in table.why_empty()
        assert "row-level security is on" in inspect_table(table).warnings[0]
    with ExistingTable(dsn, "gone") as table:
        assert any("deleted_at" in one for one in inspect_table(table).warnings)
    with ExistingTable(dsn, "gone", only="deleted_at IS NULL") as table:
        assert not any("deleted_at" in one for one in inspect_table(table).warnings)
    with (
        ExistingTable(new_database(server), "x") as table,
        pytest.raises(StoreError, match="has no pgvector"),
    ):
        table.warm()
    away = "host=127.0.0.1 port=1 dbname=x password=hidden-secret"
    with ExistingTable(away, "x") as table, pytest.raises(StoreUnavailableError) as fault:
        table.warm()
    assert "hidden-secret" not in str(fault.value)
    listed = {column.full_name: column.readable for column in list_vector_columns(reader)}
    assert listed["public.locked"] is True
    assert listed["public.mixed"] is listed["other.one"] is False


def test_rows_with_one_id_are_found_once_and_as_many_as_asked(
    connection: psycopg.Connection[Any],
) -> None:
    connection.execute(
        "CREATE TABLE data_kb (id bigserial PRIMARY KEY, text varchar NOT NULL, metadata_ json, "
        "node_id varchar, embedding vector(2))"
    )
    connection.execute(
        "INSERT INTO data_kb (text, node_id, embedding) SELECT 'Same.', 'same', '[1,0]' "
        "FROM generate_series(1, 30) UNION ALL SELECT 'Other ' || n, 'o' || n, "
        "ARRAY[1, n]::real[]::vector FROM generate_series(1, 5) n"
    )
    with ExistingTable(connection.info.dsn, "data_kb") as table:
        hits = table.search(np.array([1, 0], np.float32), limit=4)
        assert [hit.passage.id for hit in hits] == ["same", "o1", "o2", "o3"]
        assert "node_id is not unique" in " ".join(inspect_table(table).warnings)
        assert table.search(np.array([0, 0], np.float32), limit=4) == ()


def test_an_empty_table_is_told_instead_of_an_answer(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE TABLE kb (id int PRIMARY KEY, text text, embedding vector(64))")
    with ExistingTable(connection.info.dsn, "kb") as table:
        rag = VoiceRAG(FakeEmbedder(64), table, FakeVoiceModel())
        with pytest.raises(StoreError, match=r"public\.kb has no row with a text and a vector yet"):
            rag.ask("Where does the Rhine rise?")
        with pytest.raises(ConfigError, match="keeps passages but no documents"):
            _ = rag.document_store


def test_a_search_that_takes_too_long_ends(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE TABLE kb (id int PRIMARY KEY, text text, embedding vector(2))")
    connection.execute("INSERT INTO kb VALUES (1, 'Here.', '[1,0]')")
    with ExistingTable(
        connection.info.dsn, "kb", only="pg_sleep(id * 0.4) IS NOT NULL", statement_timeout=0.6
    ) as table:
        assert len(table.search(np.array([1, 0], np.float32), limit=1)) == 1
        connection.execute("UPDATE kb SET id = 9")
        with pytest.raises(StoreError, match=r"was stopped.*statement_timeout"):
            table.search(np.array([1, 0], np.float32), limit=1)
