"""Metadata filters as SQL: the one place where the two meet.

Keys and values are always bound, never part of the statement's text. No condition gives NULL, so
that NOT is the plain negation that `voicerag_core.filters.matches` defines.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import assert_never

from psycopg import sql

from voicerag_core.errors import FilterError
from voicerag_core.filters import (
    AllOf,
    And,
    AnyOf,
    Contains,
    Eq,
    Exists,
    Filter,
    Ge,
    Gt,
    In,
    IsEmpty,
    Le,
    Like,
    Lt,
    Ne,
    Not,
    NotIn,
    Or,
    Scalar,
)

__all__ = ["compile_filter"]

_COLUMN = sql.SQL("metadata")
_TRUE = sql.SQL("true")
_FALSE = sql.SQL("false")
_INDEXED_VALUES = 32
"""Up to so many values of `In` are looked up one by one in the index; more are compared by row."""

_OPERATORS = {Lt: sql.SQL("<"), Le: sql.SQL("<="), Gt: sql.SQL(">"), Ge: sql.SQL(">=")}


def compile_filter(node: Filter | None) -> tuple[sql.Composable, dict[str, object]]:
    """Return a condition on the column `metadata` (jsonb), and its named parameters.

    Args:
        node: None stands for no condition.

    Raises:
        FilterError: The tree is nested too deeply, or a number has too many digits.
    """
    if node is None:
        return _TRUE, {}
    bound: dict[str, object] = {}
    try:
        return _condition(node, bound), bound
    except RecursionError as error:
        raise FilterError("the filter is nested too deeply; flatten its parts") from error


def _condition(node: Filter, bound: dict[str, object]) -> sql.Composable:  # noqa: C901, PLR0911, PLR0912
    match node:
        case And(parts):
            return _joined(" AND ", [_condition(part, bound) for part in parts], _TRUE)
        case Or(parts):
            return _joined(" OR ", [_condition(part, bound) for part in parts], _FALSE)
        case Not(part):
            return _negated(_condition(part, bound))
        case Eq(key, value):
            return _contains({key: value}, bound)
        case Ne(key, value):
            return _negated(_contains({key: value}, bound))
        case In(key, values):
            return _one_of(key, values, bound)
        case NotIn(key, values):
            return _negated(_one_of(key, values, bound))
        case Exists(key):
            return sql.SQL("{} ? {}").format(_COLUMN, _bind(key, bound))
        case IsEmpty(key):
            return sql.SQL("coalesce({} -> {} IN ('null', '\"\"', '[]'), true)").format(
                _COLUMN, _bind(key, bound)
            )
        case Contains(key, value):
            return _contains({key: [value]}, bound)
        case AnyOf(key, values):
            return _joined(" OR ", [_contains({key: [value]}, bound) for value in values], _FALSE)
        case AllOf(key, values):
            if values:
                return _contains({key: list(values)}, bound)
            return _of_type(key, "array", _TRUE, bound)
        case Lt(key, value) | Le(key, value) | Gt(key, value) | Ge(key, value):
            return _ordered(key, _OPERATORS[type(node)], value, bound)
        case Like(key, pattern, ignore_case):
            entry, wanted = _text(key, bound), _bind(pattern, bound)
            form = "voicerag.lower_case({}) LIKE voicerag.lower_case({})"
            comparison = sql.SQL(form if ignore_case else "{} LIKE {}").format(entry, wanted)
            return _of_type(key, "string", comparison, bound)
        case _:
            assert_never(node)


def _bind(value: object, bound: dict[str, object]) -> sql.Composable:
    name = f"f{len(bound)}"
    bound[name] = value
    return sql.SQL("{}::text").format(sql.Placeholder(name))


def _bind_json(value: object, bound: dict[str, object]) -> sql.Composable:
    name = f"f{len(bound)}"
    try:
        bound[name] = json.dumps(value, allow_nan=False, ensure_ascii=False)
    except ValueError as error:
        raise FilterError(
            f"the filter compares with a value that JSON cannot hold: {error}"
        ) from error
    return sql.SQL("{}::jsonb").format(sql.Placeholder(name))


def _joined(word: str, parts: Sequence[sql.Composable], empty: sql.Composable) -> sql.Composable:
    if not parts:
        return empty
    return sql.SQL("({})").format(sql.SQL(word).join(parts))


def _negated(condition: sql.Composable) -> sql.Composable:
    return sql.SQL("NOT ({})").format(condition)


def _contains(content: dict[str, object], bound: dict[str, object]) -> sql.Composable:
    return sql.SQL("{} @> {}").format(_COLUMN, _bind_json(content, bound))


def _one_of(key: str, values: Sequence[Scalar], bound: dict[str, object]) -> sql.Composable:
    if len(values) <= _INDEXED_VALUES:
        return _joined(" OR ", [_contains({key: value}, bound) for value in values], _FALSE)
    return sql.SQL("coalesce({} -> {} IN (SELECT jsonb_array_elements({})), false)").format(
        _COLUMN, _bind(key, bound), _bind_json(list(values), bound)
    )


def _text(key: str, bound: dict[str, object]) -> sql.Composable:
    return sql.SQL("({} ->> {})").format(_COLUMN, _bind(key, bound))


def _of_type(
    key: str, kind: str, condition: sql.Composable, bound: dict[str, object]
) -> sql.Composable:
    """Check the condition only where the entry is of this JSON type; CASE keeps the order."""
    return sql.SQL("(CASE WHEN jsonb_typeof({} -> {}) = {} THEN {} ELSE false END)").format(
        _COLUMN, _bind(key, bound), sql.Literal(kind), condition
    )


def _ordered(
    key: str, operator: sql.SQL, value: str | int | float, bound: dict[str, object]
) -> sql.Composable:
    entry = _text(key, bound)
    if isinstance(value, str):
        comparison = sql.SQL('{} COLLATE "C" {} {}').format(entry, operator, _bind(value, bound))
        return _of_type(key, "string", comparison, bound)
    number = sql.SQL("({} #>> '{{}}')::numeric").format(_bind_json(value, bound))
    comparison = sql.SQL("{}::numeric {} {}").format(entry, operator, number)
    return _of_type(key, "number", comparison, bound)
