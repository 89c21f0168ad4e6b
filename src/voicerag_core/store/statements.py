"""The fixed statements of the store.

`{n}` is the collection's key; `{given_words}` and `{words}` give the words of its passages, if it
has any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, LiteralString, NamedTuple

from psycopg import sql

from voicerag_core.store.collection import Collection
from voicerag_core.store.connection import Statement
from voicerag_core.types import JSONValue

__all__ = [
    "CountedRow", "DatabaseRow", "DocumentRow", "PassageRow", "WordRow", "WrittenRow", "named",
]  # fmt: skip


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


class DatabaseRow(NamedTuple):
    """The row of ``database``: what differs from one to another."""

    halfvec: int
    """The key of the type."""
    letters: bool
    """Whether its locale knows letters beyond ASCII; see sql/0007_letters.sql."""


class WrittenRow(NamedTuple):
    """The row of ``write_passages``: what was inserted or replaced, in the order of the places."""

    passages: list[int]
    places: list[int]
    replaced: list[int]
    """Those of the passages that were there."""


# Arrays are taken apart in a list of columns, in step; as a table of functions each of them would
# be written down first. One that is null has null for every row.
_GIVEN: LiteralString = (
    "SELECT unnest(%(ids)s::text[]) AS id, unnest(%(bodies)s::text[]) AS body, "
    "unnest(%(metadata)s::jsonb[]) AS metadata, unnest(%(hashes)s::bytea[]) AS hash, "
    "{given_words}generate_subscripts(%(ids)s::text[], 1) AS place"
)
_GIVEN_WORDS = sql.SQL(
    "unnest(%(plain)s::boolean[]) AS plain, unnest(%(searched)s::integer[]) AS searched, "
    "unnest(%(words)s::tsvector[]) AS words, "
)

# What passage_words does with a plain passage, without its call.
_WORDS: LiteralString = (
    "CASE WHEN s.plain THEN to_tsvector(%(language)s::text::regconfig, s.body) "
    "ELSE voicerag.passage_words(%(language)s::text::regconfig, "
    "CASE WHEN s.searched IS NULL THEN s.body ELSE left(s.body, s.searched) END, s.metadata) END"
)

_INSERTED: LiteralString = (
    "written AS (INSERT INTO voicerag.passages AS p "
    "(tenant, collection_id, document_id, hash, id, body, metadata, words) "
    "SELECT current_setting('voicerag.tenant'), {n}, %(document)s::bigint, s.hash, s.id, "
    "s.body, s.metadata, {words}"
)

_WITH_WORDS = (_GIVEN_WORDS, sql.SQL("coalesce(s.words, " + _WORDS + ")"))
_WITHOUT_WORDS = (sql.SQL(""), sql.SQL("NULL::tsvector"))


def _joined(*parts: LiteralString) -> sql.SQL:
    return sql.SQL("".join(parts))


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
    # The type has another key in every database, and letters are those of its locale.
    "database": sql.SQL(
        "SELECT 'halfvec'::regtype::oid::bigint, to_regprocedure('voicerag.paired(text)') IS NULL"
    ),
    # What of a long text is indexed is found out by trying.
    "try_words": sql.SQL(
        "SELECT voicerag.passage_words(%(language)s::text::regconfig, "
        "left(%(body)s::text, %(searched)s::integer), %(metadata)s::jsonb) IS NULL"
    ),
    # Unchanged ones are left out first, so that they cost neither a write nor a tsvector. The order
    # by place, which is that of the ids, keeps two writers from waiting for each other.
    "write_passages": _joined(
        "WITH s AS MATERIALIZED (", _GIVEN, "), ", _INSERTED, " FROM s "
        "WHERE NOT EXISTS (SELECT FROM voicerag.passages o "
        "WHERE o.collection_id = {n} AND o.id = s.id AND o.hash = s.hash "
        "AND (%(document)s::bigint IS NULL OR o.document_id = %(document)s::bigint)) "
        "ORDER BY s.place ON CONFLICT (tenant, collection_id, id) DO UPDATE SET "
        "document_id = coalesce(excluded.document_id, p.document_id), hash = excluded.hash, "
        "body = excluded.body, metadata = excluded.metadata, words = excluded.words "
        "WHERE p.hash <> excluded.hash OR "
        "p.document_id IS DISTINCT FROM coalesce(excluded.document_id, p.document_id) "
        "RETURNING p.pid, p.id, p.xmax = 0 AS fresh) "
        "SELECT coalesce(array_agg(w.pid ORDER BY s.place), '{{}}'), "
        "coalesce(array_agg(s.place - 1 ORDER BY s.place), '{{}}'), "
        "coalesce(array_agg(w.pid) FILTER (WHERE NOT w.fresh), '{{}}') "
        "FROM written w JOIN s USING (id)",
    ),
    # All of them with their vectors, which name their passages by place: keys are given in the
    # order of the rows.
    "insert_all": _joined(
        "WITH ", _INSERTED, " FROM (", _GIVEN, ") s ORDER BY s.place RETURNING p.pid), "
        "k AS MATERIALIZED (SELECT array_agg(pid ORDER BY pid) AS pids FROM written) "
        "INSERT INTO voicerag.vectors (tenant, collection_id, passage, ordinal, embedding) "
        "SELECT current_setting('voicerag.tenant'), {n}, k.pids[v.place], v.ordinal, v.embedding "
        "FROM k, (SELECT unnest(%(passages)s::bigint[])::integer AS place, "
        "unnest(%(ordinals)s::integer[]) AS ordinal, "
        "unnest(%(vectors)s::halfvec[]) AS embedding) v"
    ),
    # Of passages that are not written yet, in their order.
    "words": _joined(
        "SELECT ARRAY(SELECT ", _WORDS, " FROM (SELECT unnest(%(bodies)s::text[]) AS body, "
        "unnest(%(metadata)s::jsonb[]) AS metadata, unnest(%(plain)s::boolean[]) AS plain, "
        "NULL::integer AS searched, generate_subscripts(%(bodies)s::text[], 1) AS place) s "
        "ORDER BY s.place)"
    ),
    "insert_vectors": sql.SQL(
        "INSERT INTO voicerag.vectors (tenant, collection_id, passage, ordinal, embedding) "
        "SELECT current_setting('voicerag.tenant'), {n}, unnest(%(passages)s::bigint[]), "
        "unnest(%(ordinals)s::integer[]), unnest(%(vectors)s::halfvec[])"
    ),
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
        "ORDER BY word <> voicerag.lower_case(word) OR word ~ '[0-9]' DESC, passages DESC, word "
        "LIMIT %(most)s"
    ),
}  # fmt: skip


def named(name: str, collection: Collection, values: Mapping[str, object]) -> Statement:
    """Return a fixed statement for a collection."""
    given_words, words = _WITH_WORDS if collection.words else _WITHOUT_WORDS
    statement = _STATEMENTS[name].format(
        n=sql.Literal(collection.number), given_words=given_words, words=words
    )
    return statement, values
