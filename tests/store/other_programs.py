"""Tables as other programs make them, filled as those programs fill them, and a login that reads.

The statements are those that the programs send, by their source; the numbers in the names are the
versions that were looked at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from voicerag_core import Embedding, Embeddings, ExistingTable, Hit, Passage

__all__ = ["PROGRAMS", "FilledByAnother", "Program", "make_reader"]

_V1_TABLES = """
CREATE TABLE langchain_pg_collection (uuid uuid PRIMARY KEY, name varchar NOT NULL UNIQUE,
    cmetadata json);
CREATE TABLE langchain_pg_embedding (id varchar PRIMARY KEY, collection_id uuid
    REFERENCES langchain_pg_collection (uuid) ON DELETE CASCADE, embedding vector,
    document varchar, cmetadata jsonb);
CREATE INDEX ix_cmetadata_gin ON langchain_pg_embedding USING gin (cmetadata jsonb_path_ops);
INSERT INTO langchain_pg_collection VALUES
    ('11111111-1111-4111-8111-111111111111', 'docs', NULL),
    ('22222222-2222-4222-8222-222222222222', 'other', NULL);
INSERT INTO langchain_pg_embedding VALUES ('elsewhere', '22222222-2222-4222-8222-222222222222',
    '[1,0,0]', 'Another collection of another width.', '{}');
"""


@dataclass(frozen=True)
class Program:
    """How a program keeps passages.

    Args:
        name: Its name.
        tables: What it creates; ``{w}`` stands for the width.
        table: The table of vectors.
        insert: How it writes a row, of id, text, metadata and vector.
        options: What `ExistingTable` is told besides the name.
        ids: How it makes an id; the contract's own are texts.
    """

    name: str
    tables: str
    table: str
    insert: str
    options: Mapping[str, Any]
    ids: Callable[[str], str] = str

    def create(self, connection: psycopg.Connection[Any], width: int) -> None:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute(self.tables.replace("{w}", str(width)).encode())

    def fill(
        self,
        connection: psycopg.Connection[Any],
        passages: Sequence[Passage],
        embeddings: Embeddings,
    ) -> None:
        rows = [
            {
                "id": self.ids(passage.id),
                "body": passage.text,
                "meta": json.dumps(dict(passage.metadata)),
                "v": json.dumps(vector.tolist()),
            }
            for passage, vector in zip(passages, embeddings, strict=True)
        ]
        connection.cursor().executemany(self.insert.encode(), rows)


def _uuid(key: str) -> str:
    return str(uuid5(NAMESPACE_OID, key))


PROGRAMS = [
    Program(
        "langchain-postgres 0.0.19, v1", _V1_TABLES, "langchain_pg_embedding",
        "INSERT INTO langchain_pg_embedding VALUES (%(id)s, "
        "'11111111-1111-4111-8111-111111111111', %(v)s, %(body)s, %(meta)s)",
        {"collection": "docs"},
    ),
    Program(
        "langchain-postgres 0.0.19, v2",
        'CREATE TABLE "My Docs" (langchain_id uuid PRIMARY KEY, content text NOT NULL, '
        "embedding vector({w}) NOT NULL, langchain_metadata json)",
        "My Docs",
        'INSERT INTO "My Docs" VALUES (%(id)s, %(body)s, %(v)s, %(meta)s)', {}, _uuid,
    ),
    Program(
        "llama-index-vector-stores-postgres 0.9.0",
        "CREATE TABLE data_kb (id bigserial PRIMARY KEY, text varchar NOT NULL, metadata_ json, "
        "node_id varchar, embedding vector({w}))",
        "public.data_kb",
        "INSERT INTO data_kb (text, metadata_, node_id, embedding) VALUES (%(body)s, "
        "(%(meta)s::jsonb || '{\"_node_type\": \"TextNode\", \"_node_content\": \"{}\"}')::json, "
        "%(id)s, %(v)s)", {},
    ),
    Program(
        "llama-index-vector-stores-postgres 0.9.0, halfvec and hybrid",
        "CREATE TABLE data_kb (id bigserial PRIMARY KEY, text varchar NOT NULL, metadata_ jsonb, "
        "node_id varchar, embedding halfvec({w}), text_search_tsv tsvector GENERATED ALWAYS AS "
        "(to_tsvector('english', text)) STORED); "
        "CREATE INDEX ON data_kb USING gin (text_search_tsv);"
        "CREATE INDEX ON data_kb USING hnsw (embedding halfvec_l2_ops)",
        "data_kb",
        "INSERT INTO data_kb (text, metadata_, node_id, embedding) VALUES (%(body)s, %(meta)s, "
        "%(id)s, %(v)s)", {},
    ),
    Program(
        "Supabase",
        "CREATE TABLE documents (id uuid PRIMARY KEY, content text, metadata jsonb, "
        "embedding vector({w}))", "documents",
        "INSERT INTO documents VALUES (%(id)s, %(body)s, %(meta)s, %(v)s)", {}, _uuid,
    ),
    Program(
        "Spring AI 005c1a4",
        "CREATE TABLE vector_store (id uuid DEFAULT gen_random_uuid() PRIMARY KEY, content text, "
        "metadata json, embedding vector({w})); CREATE INDEX spring_ai_vector_index ON "
        "vector_store USING hnsw (embedding vector_cosine_ops)", "vector_store",
        "INSERT INTO vector_store VALUES (%(id)s, %(body)s, %(meta)s, %(v)s)", {}, _uuid,
    ),
    Program(
        "Open WebUI 03349e6",
        "CREATE TABLE document_chunk (id text PRIMARY KEY, vector vector(64), collection_name text "
        "NOT NULL, text text, vmetadata jsonb); CREATE INDEX idx_document_chunk_vector ON "
        "document_chunk USING ivfflat (vector vector_cosine_ops) WITH (lists = 100); "
        "CREATE INDEX ON document_chunk (collection_name)", "document_chunk",
        "INSERT INTO document_chunk VALUES (%(id)s, (%(v)s::vector::real[] || "
        "array_fill(0::real, ARRAY[64 - vector_dims(%(v)s::vector)]))::vector, 'kb', %(body)s, "
        "%(meta)s)", {"collection": "kb"},
    ),
    Program(
        "Haystack 8.1.2",
        "CREATE TABLE haystack_documents (id varchar(128) PRIMARY KEY, embedding vector({w}), "
        "content text, blob_data bytea, blob_meta jsonb, blob_mime_type varchar(255), meta jsonb);"
        "CREATE INDEX ON haystack_documents USING gin (to_tsvector('english', content))",
        "haystack_documents",
        "INSERT INTO haystack_documents (id, embedding, content, meta) VALUES (%(id)s, %(v)s, "
        "%(body)s, %(meta)s)", {},
    ),
    Program(
        "mem0 2.2.1",
        "CREATE TABLE mem0 (id uuid PRIMARY KEY, vector vector({w}), payload jsonb); CREATE INDEX "
        "ON mem0 USING hnsw (vector vector_cosine_ops)", "mem0",
        "INSERT INTO mem0 VALUES (%(id)s, %(v)s, %(meta)s::jsonb || "
        "jsonb_build_object('data', %(body)s::text))", {}, _uuid,
    ),
    Program(
        "vecs 0.4.5",
        'CREATE SCHEMA vecs; CREATE TABLE vecs."docs" (id varchar PRIMARY KEY, vec vector({w}) NOT '
        "NULL, metadata jsonb NOT NULL DEFAULT '{}')", "vecs.docs",
        'INSERT INTO vecs."docs" VALUES (%(id)s, %(v)s, %(meta)s::jsonb || '
        "jsonb_build_object('text', %(body)s::text))", {"text": "metadata->>text"},
    ),
]  # fmt: skip


def make_reader(dsn: str, *tables: str) -> str:
    """Make a login that has SELECT on these tables and nothing else; return its DSN."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute("SELECT current_database()").fetchone()
        assert row is not None
        login = f"reader_{row[0]}"
        name = sql.Identifier(login)
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'r'").format(name))
        connection.execute(
            sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(name)
        )
        for table in tables:
            reference = sql.Identifier(*table.split(".", 1))
            if "." in table:
                schema = sql.Identifier(table.split(".")[0])
                connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, name))
            connection.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(reference, name))
    return make_conninfo(dsn, user=login, password="r")


class FilledByAnother:
    """A store whose table another program writes, and which only reads it itself.

    Its ids are those of the caller, whatever the program makes of them.
    """

    def __init__(self, program: Program, dsn: str, table: ExistingTable) -> None:
        self._program, self._table = program, table
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._known: dict[str, str] = {}
        self.count = table.count
        self.delete = table.delete

    def add(
        self, passages: Sequence[Passage], embeddings: Embeddings, *, owners: object = None
    ) -> int:
        assert owners is None
        self._program.fill(self._connection, passages, embeddings)
        self._known |= {self._program.ids(passage.id): passage.id for passage in passages}
        return len(passages)

    def search(self, embedding: Embedding | None, **options: Any) -> tuple[Hit, ...]:
        return self._named(self._table.search(embedding, **options))

    def search_many(self, embeddings: Embeddings, **options: Any) -> list[tuple[Hit, ...]]:
        return [self._named(hits) for hits in self._table.search_many(embeddings, **options)]

    def get(self, ids: Sequence[str]) -> list[Passage]:
        found = self._table.get([self._program.ids(key) for key in ids])
        return [replace(passage, id=self._known[passage.id]) for passage in found]

    def close(self) -> None:
        self._connection.close()

    def _named(self, hits: Sequence[Hit]) -> tuple[Hit, ...]:
        return tuple(
            replace(hit, passage=replace(hit.passage, id=self._known[hit.passage.id]))
            for hit in hits
        )
