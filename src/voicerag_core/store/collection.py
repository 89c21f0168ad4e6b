"""An open collection: what the statements need to know of it, and how it is made and found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from psycopg import sql
from psycopg.rows import args_row, scalar_row

from voicerag_core.errors import EmbeddingMismatchError, StoreError
from voicerag_core.store.connection import Connection, Database

__all__ = [
    "STATE",
    "Collection",
    "IndexKind",
    "check_language",
    "check_words",
    "collection_names",
    "find_collection",
    "looked_up",
    "make_collection",
]

IndexKind: TypeAlias = Literal["halfvec", "bit"]
"""What an index is over: the vectors, or the signs of their elements, in a sixteenth of the room;
then the vectors themselves decide among the candidates that it gives."""

_WIDEST = 16_000
"""Most elements of a halfvec. Source: pgvector 0.8.6, src/halfvec.h, ``HALFVEC_MAX_DIM``."""


@dataclass(frozen=True, slots=True)
class Collection:
    """What the statements need to know of the open collection.

    Args:
        number: Its key.
        tenant: Whose it is.
        dim: Width of its vectors.
        language: Text search configuration of its words.
        words: Whether it is searched by words, too; else its passages are written without them.
        passages: How many it holds.
        vectors: How many vectors those own.
        indexed: Whether it has an HNSW index.
        index_kind: What the index is over.
        ef_search: How many candidates a scan of the index keeps; None before it was tuned.
        recall_target: What tuning aims at; None: the usual one.
        build_rate: Seconds that the last build of the index took for each vector, if there was one.
        tuned_vectors: Vectors when the index was tuned, 0 before.
        state: Changes with its size and with its index; another process may have changed them.
    """

    number: int
    tenant: str
    dim: int
    language: str
    passages: int
    vectors: int
    indexed: bool
    words: bool = True
    index_kind: IndexKind = "halfvec"
    ef_search: int | None = None
    recall_target: float | None = None
    build_rate: float | None = None
    tuned_vectors: int = 0
    state: str = ""


class _CollectionRow(NamedTuple):
    """A row of `_FIND`."""

    number: int
    model_id: str
    dim: int
    language: str
    words: bool


_FIND = sql.SQL(
    "SELECT id, model_id, dim, language, words FROM voicerag.collections WHERE name = %(name)s"
)


class _SizesRow(NamedTuple):
    """A row of `_SIZES`."""

    passages: int
    vectors: int
    indexed: bool
    index_kind: IndexKind
    ef_search: int | None
    recall_target: float | None
    build_rate: float | None
    tuned_vectors: int
    state: str


STATE = sql.SQL("vectors || ' ' || index_version")
"""Of a row of ``collections``: see `Collection`."""

_SIZES = sql.SQL(
    "SELECT passages, vectors, to_regclass('voicerag.vectors_hnsw_{n}') IS NOT NULL, index_kind, "
    "ef_search, recall_target, built_seconds / nullif(built_vectors, 0), "
    "coalesce(tuned_vectors, 0), {state} FROM voicerag.collections WHERE id = {n}"
)


def make_collection(
    database: Database, name: str, *, model_id: str, dim: int, language: str, words: bool
) -> None:
    """Make a collection of the database's tenant, unless there is one of this name.

    Raises:
        StoreError: The width is out of range, or the server does not know the language.
    """
    if not isinstance(dim, int | np.integer) or not 1 <= dim <= _WIDEST:
        raise StoreError(f"a halfvec has 1 to {_WIDEST} elements; dim is {dim!r:.40}")
    values = {
        "tenant": database.tenant,
        "name": name,
        "model_id": model_id,
        "dim": dim,
        "language": language,
        "words": words,
    }

    def make(connection: Connection) -> None:
        known = connection.execute(
            "SELECT FROM voicerag.collections WHERE name = %(name)s::text", values
        )
        if known.rowcount:
            return
        configuration = "SELECT FROM pg_ts_config WHERE cfgname = %(language)s::text"
        if not connection.execute(configuration, values).rowcount:
            raise StoreError(
                f"Postgres has no text search configuration {language!r}; choose one that psql "
                "lists under \\dF, such as 'english' or 'simple'"
            )
        connection.execute(
            "INSERT INTO voicerag.collections (tenant, name, model_id, dim, language, words) "
            "VALUES (%(tenant)s, %(name)s, %(model_id)s, %(dim)s, %(language)s, %(words)s) "
            "ON CONFLICT DO NOTHING",
            values,
        )

    database.write(make)


def find_collection(database: Database, name: str, model_id: str, dim: int) -> Collection | None:
    """Return the collection of this name, or None when the tenant has none.

    Raises:
        EmbeddingMismatchError: It was filled by another model or width.
    """
    (rows,) = database.read((_FIND, {"name": name}), rows=args_row(_CollectionRow))
    if not rows:
        return None
    (row,) = rows
    if (row.model_id, row.dim) != (model_id, dim):
        raise EmbeddingMismatchError(
            f"the collection {name!r} was filled by the embedding model {row.model_id!r} of width "
            f"{row.dim}, and this is {model_id!r} of width {dim}; use that model, choose another "
            "collection, or delete this one and index again"
        )
    here = Collection(
        row.number, database.tenant, row.dim, row.language, 0, 0, False, words=row.words
    )
    return looked_up(database, here)


def collection_names(database: Database) -> list[str]:
    """Return the names of the tenant's collections, up to 20."""
    statement = sql.SQL("SELECT name FROM voicerag.collections ORDER BY name LIMIT 20")
    (names,) = database.read((statement, {}), rows=scalar_row)
    return names


def looked_up(database: Database, collection: Collection) -> Collection | None:
    """Return a collection with its sizes and its index of now, or None when it is gone."""
    statement = _SIZES.format(n=sql.Literal(collection.number), state=STATE)
    (rows,) = database.read((statement, {}), rows=args_row(_SizesRow))
    return replace(collection, **rows[0]._asdict()) if rows else None


def check_language(opened: Collection, name: str, language: str | None) -> None:
    """Refuse a collection whose words were cut for another language.

    Args:
        opened: The collection.
        name: Its name.
        language: Text search configuration that is wanted; None takes any, as do collections
            without words.

    Raises:
        StoreError: It has another one.
    """
    if language is None or language == opened.language or not opened.words:
        return
    raise StoreError(
        f"the words of the collection {name!r} are indexed as {opened.language!r}, and "
        f"{language!r} is asked for; set VOICERAG_LANGUAGE to the language that it was made with, "
        "choose another collection, or delete this one and index again (voicerag db reset)"
    )


def check_words(opened: Collection, name: str, words: bool | None) -> None:
    """Refuse a collection that has words where none are wanted, or the other way round.

    Args:
        opened: The collection.
        name: Its name.
        words: Whether it is to be searched by words; None takes it as it is.

    Raises:
        StoreError: It was made otherwise.
    """
    if words is None or words == opened.words:
        return
    made, asked = ("with", "without") if opened.words else ("without", "with")
    raise StoreError(
        f"the collection {name!r} was made {made} a search by words, and one {asked} it is asked "
        "for, which is chosen when a collection is made; leave the choice out (VOICERAG_WORDS) to "
        "use it as it is, choose another collection, or delete this one and index again (voicerag "
        "db reset)"
    )
