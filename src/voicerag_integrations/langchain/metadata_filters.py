"""Convert LangChain's filter dictionaries to voicerag filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any, Final, TypeAlias, get_args
from uuid import UUID

from voicerag_core import filters as f
from voicerag_core.errors import FilterError
from voicerag_core.filters import Filter
from voicerag_integrations.langchain.documents import plain_value

__all__ = ["MetadataFilter", "read_filter"]

MetadataFilter: TypeAlias = Mapping[str, Any] | Filter
"""``{"year": {"$gte": 2020}, "lang": "en"}``, or a filter of `voicerag_core.filters`."""

_DEEPEST: Final = 32


def read_filter(given: MetadataFilter | None) -> Filter | None:
    """Convert a filter dictionary; all of its entries must be true.

    An entry is ``key: value`` (equal), ``key: {operator: value, ...}``, ``"$and"`` or ``"$or"``
    with a list of filters, or ``"$not"`` with one. Operators: ``$eq $ne $lt $lte $gt $gte $in
    $nin $between $exists $like $ilike``, and for entries that are lists ``$contains
    $contains_any $contains_all``. `voicerag_core.filters` defines their meaning.

    Args:
        given: None is no filter; ``{}`` matches everything.

    Raises:
        FilterError: An operator or its value is invalid.
    """
    if given is None or isinstance(given, get_args(Filter)):
        return given
    return _all_of(given, 1)


def _all_of(given: object, depth: int) -> Filter:
    if not isinstance(given, Mapping):
        raise FilterError(
            "a filter is a dict such as {'lang': 'en', 'year': {'$gte': 2020}} or a node of "
            f"voicerag_core.filters, not {type(given).__name__} {given!r}"
        )
    if depth > _DEEPEST:
        raise FilterError(f"the filter is nested deeper than {_DEEPEST} levels; flatten it")
    parts = tuple(_entry(key, value, depth) for key, value in given.items())
    return parts[0] if len(parts) == 1 else f.And(parts)


def _entry(key: object, value: object, depth: int) -> Filter:
    if key in ("$and", "$or"):
        parts = tuple(_all_of(part, depth + 1) for part in _listed(str(key), value))
        return f.And(parts) if key == "$and" else f.Or(parts)
    if key == "$not":
        return f.Not(_all_of(value, depth + 1))
    if not isinstance(key, str) or key.startswith("$"):
        raise FilterError(
            f"unknown operator {key!r} where a metadata key was expected; only $and, $or and "
            "$not stand there, others stand under a key: {'year': {'$gte': 2020}}"
        )
    if not isinstance(value, Mapping):
        if isinstance(value, list | tuple | set | frozenset):
            raise FilterError(
                f"the filter on {key!r} compares with a list; write "
                f"{{{key!r}: {{'$in': [...]}}}} for one of them"
            )
        return f.Eq(key, _plain(value))
    if not value:
        raise FilterError(f"the filter on {key!r} names no operator: {{{key!r}: {{}}}}")
    parts = tuple(_comparison(key, name, operand) for name, operand in value.items())
    return parts[0] if len(parts) == 1 else f.And(parts)


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Return a value as the metadata keeps it: a date, UUID or Decimal as text."""
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    if isinstance(value, date | time | UUID | Decimal):
        return plain_value(value)
    return value


def _comparison(key: str, operator: object, value: Any) -> Filter:  # noqa: ANN401
    if not isinstance(operator, str) or operator not in _OPERATORS:
        raise FilterError(
            f"unknown operator {operator!r} in the filter on {key!r}; choose of "
            f"{' '.join(_OPERATORS)}"
        )
    return _OPERATORS[operator](key, _plain(value))


def _listed(name: str, value: object) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple | set | frozenset):
        raise FilterError(f"{name} takes a list, not {type(value).__name__} {value!r}")
    return tuple(value)


def _between(key: str, value: object) -> Filter:
    bounds = _listed("$between", value)
    if len(bounds) != 2:  # noqa: PLR2004
        raise FilterError(f"$between on {key!r} takes [least, most], not {value!r}")
    return f.And((f.Ge(key, bounds[0]), f.Le(key, bounds[1])))


def _exists(key: str, value: object) -> Filter:
    if not isinstance(value, bool):
        raise FilterError(f"$exists on {key!r} takes true or false, not {value!r}")
    return f.Exists(key) if value else f.Not(f.Exists(key))


def _pattern(key: str, value: object, *, ignore_case: bool) -> Filter:
    if not isinstance(value, str):
        raise FilterError(f"a pattern on {key!r} is a str with % and _, not {value!r}")
    return f.Like(key, value, ignore_case)


_OPERATORS: Final[Mapping[str, Callable[[str, Any], Filter]]] = {
    "$eq": f.Eq,
    "$ne": f.Ne,
    "$lt": f.Lt,
    "$lte": f.Le,
    "$gt": f.Gt,
    "$gte": f.Ge,
    "$in": lambda key, value: f.In(key, _listed("$in", value)),
    "$nin": lambda key, value: f.NotIn(key, _listed("$nin", value)),
    "$between": _between,
    "$exists": _exists,
    "$like": lambda key, value: _pattern(key, value, ignore_case=False),
    "$ilike": lambda key, value: _pattern(key, value, ignore_case=True),
    "$contains": f.Contains,
    "$contains_any": lambda key, value: f.AnyOf(key, _listed("$contains_any", value)),
    "$contains_all": lambda key, value: f.AllOf(key, _listed("$contains_all", value)),
}
