"""The fixed statements of the store; `{n}` is the collection's key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from psycopg import sql

from voicerag_core.store.collection import Collection
from voicerag_core.store.connection import Statement
from voicerag_core.types import JSONValue

__all__ = ["CountedRow", "DocumentRow", "PassageRow", "WordRow", "named"]


class PassageRow(NamedTuple):
    """A row of ``get``."""

    id: str
    text: str
    metadata: dict[str, JSONValue]


class DocumentRow(NamedTuple):
    """A row of ``digests``."""

    source: str
    digest: str


class WordRow(NamedTuple):
    """A row of ``vocabulary``: a word, and in how many passages it stands."""

    word: str
    passages: int


class CountedRow(NamedTuple):
    """A row of ``counted``: how many passages there are, and were when words were counted last."""

    passages: int
    counted_at: int


_STATEMENTS: Final = {
    "get": sql.SQL(
        "SELECT id, body, metadata FROM voicerag.tenant_passages "
        "WHERE collection_id = {n} AND id = ANY(%(ids)s::text[])"
    ),
    "digests": sql.SQL("SELECT source, digest FROM voicerag.documents WHERE collection_id = {n}"),
    "claim_document": sql.SQL(
        "INSERT INTO voicerag.documents (tenant, collection_id, source, source_hash, digest) "
        "VALUES (current_setting('voicerag.tenant'), {n}, %(source)s::text, "
        "sha256(convert_to(%(source)s::text, 'UTF8')), %(digest)s::text) "
        "ON CONFLICT DO NOTHING RETURNING id"
    ),
    "lock_document": sql.SQL(
        "SELECT id FROM voicerag.documents WHERE collection_id = {n} "
        "AND source_hash = sha256(convert_to(%(source)s::text, 'UTF8')) "
        "FOR UPDATE"
    ),
    "set_digest": sql.SQL(
        "UPDATE voicerag.documents SET digest = %(digest)s::text, updated_at = now() "
        "WHERE collection_id = {n} AND id = %(document)s AND digest <> %(digest)s::text"
    ),
    "remove_documents": sql.SQL(
        "DELETE FROM voicerag.documents WHERE collection_id = {n} "
        "AND source = ANY(%(sources)s::text[]) RETURNING id"
    ),
    "new_passages": sql.SQL(
        "CREATE TEMPORARY TABLE new_passages (place integer, id text, body text, "
        "metadata jsonb, hash bytea, searched integer) ON COMMIT DROP"
    ),
    "new_vectors": sql.SQL(
        "CREATE TEMPORARY TABLE new_vectors (place integer, ordinal integer, embedding halfvec) "
        "ON COMMIT DROP"
    ),
    "new_vectors_storage": sql.SQL(
        "ALTER TABLE new_vectors ALTER COLUMN embedding SET STORAGE EXTERNAL"
    ),
    "changed": sql.SQL(
        "CREATE TEMPORARY TABLE changed (pid bigint, place integer, fresh boolean) ON COMMIT DROP"
    ),
    "copy_passages": sql.SQL(
        "COPY pg_temp.new_passages (place, id, body, metadata, hash) FROM STDIN (FORMAT binary)"
    ),
    "copy_vectors": sql.SQL("COPY pg_temp.new_vectors FROM STDIN (FORMAT binary)"),
    # What of a long text is indexed is found out by trying; `searched` says how far, or nothing.
    "try_words": sql.SQL(
        "SELECT voicerag.passage_words(%(language)s::text::regconfig, "
        "left(body, %(searched)s::integer), metadata) IS NULL "
        "FROM pg_temp.new_passages WHERE place = %(place)s"
    ),
    "search_less": sql.SQL(
        "UPDATE pg_temp.new_passages SET searched = %(searched)s::integer "
        "WHERE place = %(place)s"
    ),
    # Unchanged rows are left out first, so that they cost neither a write nor a tsvector; the
    # order by id keeps two writers from waiting for each other.
    "upsert_passages": sql.SQL(
        "WITH written AS ("
        "INSERT INTO voicerag.passages AS p "
        "(tenant, collection_id, document_id, hash, id, body, metadata, words) "
        "SELECT current_setting('voicerag.tenant'), {n}, %(document)s::bigint, s.hash, s.id, "
        "s.body, s.metadata, voicerag.passage_words(%(language)s::text::regconfig, "
        "CASE WHEN s.searched IS NULL THEN s.body ELSE left(s.body, s.searched) END, s.metadata) "
        "FROM pg_temp.new_passages s WHERE NOT EXISTS (SELECT FROM voicerag.passages o "
        "WHERE o.collection_id = {n} AND o.id = s.id AND o.hash = s.hash "
        "AND (%(document)s::bigint IS NULL OR o.document_id = %(document)s::bigint)) "
        "ORDER BY s.id "
        "ON CONFLICT (tenant, collection_id, id) DO UPDATE SET "
        "document_id = coalesce(excluded.document_id, p.document_id), hash = excluded.hash, "
        "body = excluded.body, metadata = excluded.metadata, words = excluded.words "
        "WHERE p.hash <> excluded.hash OR "
        "p.document_id IS DISTINCT FROM coalesce(excluded.document_id, p.document_id) "
        "RETURNING p.pid, p.id, p.xmax = 0 AS fresh) "
        "INSERT INTO pg_temp.changed SELECT w.pid, s.place, w.fresh "
        "FROM written w JOIN pg_temp.new_passages s USING (id)"
    ),
    "drop_old_vectors": sql.SQL(
        "DELETE FROM voicerag.vectors v USING pg_temp.changed c "
        "WHERE v.collection_id = {n} AND v.passage = c.pid"
    ),
    "insert_vectors": sql.SQL(
        "INSERT INTO voicerag.vectors (tenant, collection_id, passage, ordinal, embedding) "
        "SELECT current_setting('voicerag.tenant'), {n}, c.pid, s.ordinal, s.embedding "
        "FROM pg_temp.changed c JOIN pg_temp.new_vectors s USING (place) ORDER BY c.pid, s.ordinal"
    ),
    "count_fresh": sql.SQL("SELECT count(*) FROM pg_temp.changed WHERE fresh"),
    "forget_vectors": sql.SQL(
        "DELETE FROM voicerag.vectors WHERE collection_id = {n} "
        "AND passage = ANY(%(passages)s::bigint[])"
    ),
    "resize": sql.SQL(
        "UPDATE voicerag.collections SET passages = passages + %(passages)s, "
        "vectors = vectors + %(vectors)s WHERE id = {n}"
    ),
    "counted": sql.SQL(
        "SELECT passages, counted_words_at FROM voicerag.collections WHERE id = {n}"
    ),
    "lock_words": sql.SQL("SELECT pg_try_advisory_xact_lock({n}, 1)"),
    "count_words": sql.SQL("SELECT voicerag.count_words({n})"),
    "count_vocabulary": sql.SQL("SELECT voicerag.count_vocabulary({n})"),
    "vocabulary_version": sql.SQL(
        "SELECT vocabulary_version FROM voicerag.collections WHERE id = {n}"
    ),
    # A name is written with a capital or a digit somewhere, and may stand in one passage only.
    "vocabulary": sql.SQL(
        "SELECT word, passages FROM voicerag.vocabulary WHERE collection_id = {n} "
        "ORDER BY word <> lower(word) OR word ~ '[0-9]' DESC, passages DESC, word "
        "LIMIT %(most)s"
    ),
}  # fmt: skip


def named(name: str, collection: Collection, values: Mapping[str, object]) -> Statement:
    """Return a fixed statement for a collection."""
    return _STATEMENTS[name].format(n=sql.Literal(collection.number)), values
