"""Convert LlamaIndex metadata filters to voicerag filters, which the store compiles."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from voicerag_core import FilterError
from voicerag_core import filters as f
from voicerag_core.filters import Filter, Scalar

__all__ = ["to_filter"]

_ONE: Final[dict[FilterOperator, Callable[[str, Scalar], Filter]]] = {
    FilterOperator.EQ: f.Eq,
    FilterOperator.NE: f.Ne,
    FilterOperator.CONTAINS: f.Contains,
}

_ORDERED: Final[dict[FilterOperator, Callable[[str, str | int | float], Filter]]] = {
    FilterOperator.LT: f.Lt,
    FilterOperator.LTE: f.Le,
    FilterOperator.GT: f.Gt,
    FilterOperator.GTE: f.Ge,
}

_MANY: Final[dict[FilterOperator, Callable[[str, tuple[Scalar, ...]], Filter]]] = {
    FilterOperator.IN: f.In,
    FilterOperator.NIN: f.NotIn,
    FilterOperator.ANY: f.AnyOf,
    FilterOperator.ALL: f.AllOf,
}

_SUBSTRING: Final = {
    FilterOperator.TEXT_MATCH: False,
    FilterOperator.TEXT_MATCH_INSENSITIVE: True,
}

_LIKE_SPECIAL = re.compile(r"([\\%_])")


def to_filter(filters: MetadataFilters | Filter | None) -> Filter | None:
    """Convert metadata filters; voicerag filters and None are returned unchanged.

    The meaning is that of LlamaIndex's in-memory store: `NE` and `NIN` are true for an absent key,
    `TEXT_MATCH` looks for a substring, and the condition `NOT` is true if no part is.

    Raises:
        FilterError: An operator, a value or a condition is invalid.
    """
    if not isinstance(filters, MetadataFilters):
        return filters
    parts = tuple(_part(part) for part in filters.filters)
    match filters.condition:
        case FilterCondition.AND | None:
            return parts[0] if len(parts) == 1 else f.And(parts)
        case FilterCondition.OR:
            return f.Or(parts) if parts else f.And(())
        case FilterCondition.NOT:
            return f.Not(f.Or(parts))
        case condition:
            raise FilterError(
                f"unknown filter condition {condition!r}; "
                f"choose of {', '.join(known.value for known in FilterCondition)}"
            )


def _part(part: MetadataFilter | MetadataFilters) -> Filter:
    if isinstance(part, MetadataFilters):
        return to_filter(part) or f.And(())
    operator, key, value = part.operator, part.key, part.value
    if operator is FilterOperator.IS_EMPTY:
        return f.IsEmpty(key)
    if operator in _MANY:
        if not isinstance(value, list):
            raise _mismatch(part, "a list")
        return _MANY[operator](key, tuple(value))
    if isinstance(value, list):
        raise _mismatch(part, "a single value")
    if operator in _ONE:
        return _ONE[operator](key, value)
    if operator in _ORDERED:
        if value is None:
            raise _mismatch(part, "a number or a str")
        return _ORDERED[operator](key, value)
    if operator in _SUBSTRING:
        if not isinstance(value, str):
            raise _mismatch(part, "a str")
        pattern = _LIKE_SPECIAL.sub(r"\\\1", value)
        return f.Like(key, f"%{pattern}%", ignore_case=_SUBSTRING[operator])
    raise FilterError(
        f"unknown filter operator {operator!r} on {key!r}; "
        f"choose of {', '.join(known.value for known in FilterOperator)}"
    )


def _mismatch(part: MetadataFilter, expected: str) -> FilterError:
    return FilterError(
        f"the operator {part.operator.value!r} on {part.key!r} takes {expected}, not {part.value!r}"
    )
