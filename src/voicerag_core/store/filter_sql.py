"""Metadata filters as SQL: the one place where the two meet.

Keys and values are always bound, never part of the statement's text. No condition gives NULL, so
that NOT is the plain negation that `voicerag_core.filters.matches` defines.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

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
    no_filter,
)

__all__ = ["FilteredColumn", "compile_filter"]

_TRUE = sql.SQL("true")
_FALSE = sql.SQL("false")
_INDEXED_VALUES = 32
"""Up to so many values of `In` are looked up one by one in the index; more are compared by row."""

_MOST_BOUND = 60_000
"""Parameters of a filter. The protocol counts them in 16 bits; a search adds some of its own."""

_LOWER = sql.SQL("voicerag.lower_case({})")
_OPERATORS = {Lt: sql.SQL("<"), Le: sql.SQL("<="), Gt: sql.SQL(">"), Ge: sql.SQL(">=")}


@dataclass(frozen=True, slots=True)
class FilteredColumn:
    """Where the metadata is that a filter looks at.

    Args:
        entries: A jsonb object that is never NULL.
        indexed: The bare jsonb column, where an index serves it and it may be NULL; used for
            conditions that are not negated.
        lower: The form in which texts are compared without regard to case.
    """

    entries: sql.Composable
    indexed: sql.Composable | None = None
    lower: sql.SQL = field(default_factory=lambda: _LOWER)


_OWN = FilteredColumn(sql.SQL("metadata"))


@dataclass(frozen=True, slots=True)
class _Scope:
    """What the parts of one filter share: the column, and the values bound so far."""

    column: FilteredColumn
    bound: dict[str, object]
    negated: bool = False

    @property
    def entries(self) -> sql.Composable:
        return self.column.entries


def compile_filter(
    node: Filter | None, column: FilteredColumn = _OWN
) -> tuple[sql.Composable, dict[str, object]]:
    """Return a condition on metadata, and its named parameters.

    Args:
        node: None stands for no condition.
        column: Where the metadata is; the own column `metadata` (jsonb) unless given.

    Raises:
        FilterError: The tree is nested too deeply or compares with too many values, or a number
            has too many digits.
    """
    if node is None:
        return _TRUE, {}
    bound: dict[str, object] = {}
    try:
        condition = _condition(node, _Scope(column, bound))
    except RecursionError as error:
        raise FilterError("the filter is nested too deeply; flatten its parts") from error
    if len(bound) > _MOST_BOUND:
        raise FilterError(
            f"the filter compares with {len(bound)} keys and values, and Postgres takes "
            f"{_MOST_BOUND} in a statement; use In, NotIn, AnyOf or AllOf for many values of a key"
        )
    return condition, bound


def _condition(node: Filter, scope: _Scope) -> sql.Composable:  # noqa: C901, PLR0911, PLR0912
    match node:
        case And(parts):
            merged = _merged(parts, Ne, NotIn)
            return _joined(" AND ", [_condition(part, scope) for part in merged], _TRUE)
        case Or(parts):
            merged = _merged(parts, Eq, In)
            return _joined(" OR ", [_condition(part, scope) for part in merged], _FALSE)
        case Not(part):
            return _negated(_condition(part, replace(scope, negated=True)))
        case Eq(key, value):
            return _contains({key: value}, scope)
        case Ne(key, value):
            return _negated(_contains({key: value}, replace(scope, negated=True)))
        case In(key, values):
            return _one_of(key, values, scope)
        case NotIn(key, values):
            return _negated(_one_of(key, values, replace(scope, negated=True)))
        case Exists(key):
            return sql.SQL("{} ? {}").format(scope.entries, _bind(key, scope))
        case IsEmpty(key):
            return sql.SQL("coalesce({} -> {} IN ('null', '\"\"', '[]'), true)").format(
                scope.entries, _bind(key, scope)
            )
        case Contains(key, value):
            return _contains({key: [value]}, scope)
        case AnyOf(key, values):
            return _any_of(key, values, scope)
        case AllOf(key, values):
            if values:
                return _contains({key: list(values)}, scope)
            return _of_type(key, "array", _TRUE, scope)
        case Lt(key, value) | Le(key, value) | Gt(key, value) | Ge(key, value):
            return _ordered(key, _OPERATORS[type(node)], value, scope)
        case Like(key, pattern, ignore_case):
            entry, wanted = _text(key, scope), _bind(pattern, scope)
            if ignore_case:
                entry, wanted = (scope.column.lower.format(part) for part in (entry, wanted))
            comparison = sql.SQL("{} LIKE {}").format(entry, wanted)
            return _of_type(key, "string", comparison, scope)
        case _:
            raise no_filter(node)


def _bind(value: object, scope: _Scope) -> sql.Composable:
    name = f"f{len(scope.bound)}"
    scope.bound[name] = value
    return sql.SQL("{}::text").format(sql.Placeholder(name))


def _bind_json(value: object, scope: _Scope) -> sql.Composable:
    name = f"f{len(scope.bound)}"
    try:
        scope.bound[name] = json.dumps(value, allow_nan=False, ensure_ascii=False)
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


def _contains(content: dict[str, object], scope: _Scope) -> sql.Composable:
    column = scope.column
    entries = column.entries if column.indexed is None or scope.negated else column.indexed
    return sql.SQL("{} @> {}").format(entries, _bind_json(content, scope))


def _one_of(key: str, values: Sequence[Scalar], scope: _Scope) -> sql.Composable:
    if len(values) <= _INDEXED_VALUES:
        return _joined(" OR ", [_contains({key: value}, scope) for value in values], _FALSE)
    return sql.SQL("coalesce({} -> {} IN (SELECT jsonb_array_elements({})), false)").format(
        scope.entries, _bind(key, scope), _bind_json(list(values), scope)
    )


def _any_of(key: str, values: Sequence[Scalar], scope: _Scope) -> sql.Composable:
    if len(values) <= _INDEXED_VALUES:
        return _joined(" OR ", [_contains({key: [value]}, scope) for value in values], _FALSE)
    # Keys of an object are found by bisection; as a subquery it is made once, not for every row.
    held = sql.SQL(
        "EXISTS (SELECT FROM jsonb_array_elements({} -> {}) one WHERE (SELECT {}) ? "
        "CASE jsonb_typeof(one) WHEN 'string' THEN 's' || (one #>> '{{}}') "
        "WHEN 'number' THEN 'n' || trim_scale((one #>> '{{}}')::numeric) ELSE one::text END)"
    ).format(
        scope.entries, _bind(key, scope), _bind_json({_name(one): True for one in values}, scope)
    )
    return _of_type(key, "array", held, scope)


def _name(value: Scalar) -> str:
    """Return the same text for values that are equal in JSON, and for no others."""
    if isinstance(value, str):
        return f"s{value}"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    number = Decimal(repr(value))
    return f"n{number.normalize():f}" if number else "n0"


def _merged(
    parts: Sequence[Filter], single: type[Eq] | type[Ne], several: type[In] | type[NotIn]
) -> Sequence[Filter]:
    """Make one comparison of many with single values of the same key."""
    if len(parts) <= _INDEXED_VALUES:
        return parts
    values: dict[str, list[Scalar]] = {}
    others: list[Filter] = []
    for part in parts:
        if isinstance(part, single):
            values.setdefault(part.key, []).append(part.value)
        else:
            others.append(part)
    return [*(several(key, tuple(held)) for key, held in values.items()), *others]


def _text(key: str, scope: _Scope) -> sql.Composable:
    return sql.SQL("({} ->> {})").format(scope.entries, _bind(key, scope))


def _of_type(key: str, kind: str, condition: sql.Composable, scope: _Scope) -> sql.Composable:
    """Check the condition only where the entry is of this JSON type; CASE keeps the order."""
    return sql.SQL("(CASE WHEN jsonb_typeof({} -> {}) = {} THEN {} ELSE false END)").format(
        scope.entries, _bind(key, scope), sql.Literal(kind), condition
    )


def _ordered(
    key: str, operator: sql.SQL, value: str | int | float, scope: _Scope
) -> sql.Composable:
    entry = _text(key, scope)
    if isinstance(value, str):
        comparison = sql.SQL('{} COLLATE "C" {} {}').format(entry, operator, _bind(value, scope))
        return _of_type(key, "string", comparison, scope)
    number = sql.SQL("({} #>> '{{}}')::numeric").format(_bind_json(value, scope))
    comparison = sql.SQL("{}::numeric {} {}").format(entry, operator, number)
    return _of_type(key, "number", comparison, scope)
