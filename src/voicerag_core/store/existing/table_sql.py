"""The statements that read a table of somebody else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from psycopg import sql

from voicerag_core.filters import Filter
from voicerag_core.store.connection import Statement
from voicerag_core.store.existing.catalog import Extension, VectorColumn
from voicerag_core.store.existing.layouts import Layout
from voicerag_core.store.existing.naming import literal, name, raw
from voicerag_core.store.existing.ordering import COSINE, Order, query_vector
from voicerag_core.store.filter_sql import FilteredColumn, compile_filter
from voicerag_core.types import Embedding

__all__ = ["MOST_BY_WORDS", "FoundRow", "TableQuery", "TableStatements", "WordIndex", "word_index"]

MOST_BY_WORDS = 300
"""Rows that a search by words weighs at most."""


class FoundRow(NamedTuple):
    """A row of a search.

    Args:
        id: The id as text.
        text: The text.
        metadata: The entries of JSON column and further columns.
        score: Cosine similarity; None in a search by words alone.
        vector: The vector, if it was asked for.
        words: Those of the question's words that the text holds; None if none were looked for.
        length: How many different words the text has.
    """

    id: str
    text: str
    metadata: Any
    score: float | None
    vector: list[float] | None
    words: list[str] | None
    length: int | None


@dataclass(frozen=True, slots=True)
class WordIndex:
    """Words of the texts that the database has indexed.

    Args:
        expression: Of type tsvector.
        language: The text search configuration, or None for that of the caller.
    """

    expression: sql.Composable
    language: str | None


@dataclass(frozen=True, slots=True)
class TableQuery:
    """What is searched for.

    Args:
        embedding: [W], of the width of the column; None searches by words alone.
        lexemes: Words of the question; None searches by the vector alone.
        where: Metadata filter.
        with_vectors: Give the vectors too.
    """

    embedding: Embedding | None
    lexemes: Sequence[str] | None = None
    where: Filter | None = None
    with_vectors: bool = False


@dataclass(frozen=True, slots=True)
class TableStatements:
    """Composes statements for one table.

    Args:
        column: The vectors and their table.
        layout: Which columns hold what.
        extension: pgvector in the database.
        only: Conditions that every row must meet.
        words: The indexed words, if there are any.
        language: Text search configuration where the index names none.
    """

    column: VectorColumn
    layout: Layout
    extension: Extension
    only: Sequence[sql.Composable]
    words: WordIndex | None
    language: str

    def nearest(self, query: TableQuery, order: Order, fetch: int) -> Statement:
        """Take the rows nearest to a vector, in no order among themselves."""
        condition, values = compile_filter(query.where, self.filtered)
        return self._search(
            [condition], sql.SQL("ORDER BY {} ").format(order.distance), fetch, query, values
        )

    def by_words(self, query: TableQuery, fetch: int) -> Statement:
        """Take some rows that hold one of the words of a question."""
        condition, values = compile_filter(query.where, self.filtered)
        values["query"] = " | ".join(_quoted(lexeme) for lexeme in query.lexemes or ())
        held = sql.SQL("{} @@ %(query)s::text::tsquery").format(self._tsvector())
        return self._search([condition, held], sql.SQL(""), fetch, query, values)

    def plan(self, order: Order, width: int) -> Statement:
        """Ask the planner for the plan of a search."""
        unit = np.full(width, width**-0.5, np.float32)
        statement, values = self.nearest(TableQuery(unit), order, fetch=4)
        return sql.SQL("EXPLAIN {}").format(statement), values

    def get(self, ids: Sequence[str]) -> Statement:
        """Take the rows of these ids."""
        column, wanted = name(self.layout.id), "%(ids)s::text[]"
        kind = self.layout.id_type
        if kind in ("uuid", "smallint", "integer", "bigint"):
            match = sql.SQL("{} = ANY ({}::{}[])").format(column, sql.SQL(wanted), sql.SQL(kind))
        elif kind in ("text", "character varying"):
            match = sql.SQL("{} = ANY ({})").format(column, sql.SQL(wanted))
        else:
            match = sql.SQL("{}::text = ANY ({})").format(column, sql.SQL(wanted))
        return self._rows([match], {"ids": list(ids)})

    def sample(self, limit: int) -> Statement:
        """Take some rows with their vectors, in no order."""
        return self._rows([], {}, vectors=True, limit=limit)

    def count(self, where: Filter | None) -> Statement:
        """Count rows."""
        condition, values = compile_filter(where, self.filtered)
        return sql.SQL("SELECT count(*) FROM {} WHERE {}").format(
            self.column.reference, sql.SQL(" AND ").join([*self._base(), condition])
        ), values

    def rows_at_most(self, most: int) -> Statement:
        """Count rows, up to a number."""
        return sql.SQL("SELECT count(*) FROM (SELECT FROM {} LIMIT {}) counted").format(
            self.column.reference, sql.Literal(most)
        ), {}

    def lexemes(self, text: str) -> Statement:
        """Ask for the words of a question as the index knows them."""
        return sql.SQL("SELECT tsvector_to_array(to_tsvector({}, %(text)s::text))").format(
            self._language()
        ), {"text": text}

    @property
    def filtered(self) -> FilteredColumn:
        """Where filters look."""
        lower = sql.SQL(
            'lower({} COLLATE "und-x-icu")' if self.extension.collations else "lower({})"
        )
        indexed = None
        if self.layout.metadata_type == "jsonb" and not self.layout.columns:
            assert self.layout.metadata is not None
            indexed = name(self.layout.metadata)
        return FilteredColumn(self._entries(), indexed, lower)

    def _search(
        self,
        conditions: Sequence[sql.Composable],
        order_by: sql.Composable,
        fetch: int,
        query: TableQuery,
        values: dict[str, object],
    ) -> Statement:
        near = sql.SQL("SELECT {} FROM {} WHERE {} {}LIMIT {}").format(
            sql.SQL(", ").join(name(one) for one in self._needed()),
            self.column.reference,
            sql.SQL(" AND ").join([*self._base(), *conditions]),
            order_by,
            sql.Literal(fetch),
        )
        if query.lexemes is not None:
            values["lexemes"] = list(query.lexemes)
        values["q"] = None if query.embedding is None else json.dumps(query.embedding.tolist())
        return sql.SQL("SELECT {} FROM ({}) near").format(
            sql.SQL(", ").join(self._given(query)), near
        ), values

    def _rows(
        self,
        conditions: Sequence[sql.Composable],
        values: dict[str, object],
        *,
        vectors: bool = False,
        limit: int | None = None,
    ) -> Statement:
        vector = self._vector() if vectors else sql.SQL("NULL::real[]")
        return sql.SQL(
            "SELECT {}::text, {}, {}, NULL::float8, {}, NULL::text[], NULL::int "
            "FROM {} WHERE {} LIMIT {}"
        ).format(
            name(self.layout.id),
            self._body(),
            self._entries(),
            vector,
            self.column.reference,
            sql.SQL(" AND ").join([*self._base(), *conditions]),
            sql.Literal(limit),
        ), values

    def _given(self, query: TableQuery) -> list[sql.Composable]:
        score = sql.SQL("1 - ({} OPERATOR({}.{}) {})").format(
            name(self.column.column),
            name(self.extension.schema),
            sql.SQL(COSINE),
            query_vector(self.column, self.extension),
        )
        held: sql.Composable = sql.SQL("NULL::text[]")
        length: sql.Composable = sql.SQL("NULL::int")
        if query.lexemes is not None:
            text = sql.SQL("to_tsvector({}, {})").format(self._language(), self._searched())
            held = sql.SQL(
                "ARRAY(SELECT unnest(tsvector_to_array({})) INTERSECT "
                "SELECT unnest(%(lexemes)s::text[]))"
            ).format(text)
            length = sql.SQL("length({})").format(text)
        return [
            sql.SQL("{}::text").format(name(self.layout.id)),
            self._body(),
            self._entries(),
            sql.SQL("CASE WHEN %(q)s::text IS NOT NULL THEN {} END").format(score),
            self._vector() if query.with_vectors else sql.SQL("NULL::real[]"),
            held,
            length,
        ]

    def _base(self) -> list[sql.Composable]:
        return [
            sql.SQL("{} IS NOT NULL").format(name(self.column.column)),
            sql.SQL("{} IS NOT NULL").format(self._body()),
            *self.only,
        ]

    def _needed(self) -> list[str]:
        held = [self.layout.id, self.layout.text, self.layout.metadata, self.column.column]
        return list(dict.fromkeys([one for one in held if one] + list(self.layout.columns)))

    def _body(self) -> sql.Composable:
        column = name(self.layout.text)
        if not self.layout.text_path:
            return column
        path = sql.SQL(", ").join(literal(key) for key in self.layout.text_path)
        return sql.SQL("({}::jsonb #>> ARRAY[{}])").format(column, path)

    def _entries(self) -> sql.Composable:
        entries: sql.Composable = sql.SQL("'{}'::jsonb")
        if self.layout.metadata is not None:
            entries = sql.SQL("coalesce({}::jsonb, '{{}}')").format(name(self.layout.metadata))
        if self.layout.columns:
            pairs = sql.SQL(", ").join(
                sql.SQL("{}::text, {}").format(literal(one), name(one))
                for one in self.layout.columns
            )
            entries = sql.SQL("({} || jsonb_build_object({}))").format(entries, pairs)
        return entries

    def _vector(self) -> sql.Composable:
        return sql.SQL("{}::real[]").format(name(self.column.column))

    def _searched(self) -> sql.Composable:
        titles = [key for key in self.layout.titles if key in self.layout.columns]
        if titles:
            return sql.SQL("concat_ws(' ', {}::text, {})").format(name(titles[0]), self._body())
        if self.layout.metadata is None:
            return self._body()
        title = sql.SQL("{} ->> 'title'").format(self._entries())
        return sql.SQL("concat_ws(' ', {}, {})").format(title, self._body())

    def _tsvector(self) -> sql.Composable:
        if self.words is not None:
            return self.words.expression
        return sql.SQL("to_tsvector({}, {})").format(self._language(), self._searched())

    def _language(self) -> sql.Composable:
        language = self.language
        if self.words is not None and self.words.language is not None:
            language = self.words.language
        return sql.SQL("{}::regconfig").format(literal(language))


def _quoted(lexeme: str) -> str:
    """Quote a lexeme as a term of a tsquery."""
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"


def word_index(column: VectorColumn) -> WordIndex | None:
    """Find words that the database has indexed: a column of type tsvector, or a GIN expression."""
    indexed = [index for index in column.indexes if index.method == "gin" and index.valid]
    for index in indexed:
        if column.columns.get(index.expression.strip('"')) == "tsvector":
            return WordIndex(raw(index.expression), None)
        if index.predicate is None and index.expression.startswith("to_tsvector("):
            language = index.expression.partition("'")[2].partition("'")[0]
            return WordIndex(raw(index.expression), language or None)
    return None
