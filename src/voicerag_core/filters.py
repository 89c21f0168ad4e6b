"""Metadata filters as values: built by hand or by an adapter, compiled to SQL by the store.

A filter is a tree of the nodes below. What it means is defined here once, by `matches`; the SQL
compiler of the store is tested to agree with it.

Rules: a key names a top-level entry of the metadata. Equality is that of JSON (1 equals 1.0, true
does not equal 1, null equals null). Numbers are compared as the decimals that JSON writes, so 0.1
is one tenth. Order compares numbers with numbers and strings with strings, by code point; any other
pair is neither less nor greater. A comparison with an absent key is false, and `Ne`, `NotIn` and
`Not` are the plain negation of their counterpart, so they are true for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

import numpy as np

from voicerag_core.errors import FilterError
from voicerag_core.types import JSONValue

__all__ = [
    "AllOf",
    "And",
    "AnyOf",
    "Contains",
    "Eq",
    "Exists",
    "Filter",
    "Ge",
    "Gt",
    "In",
    "IsEmpty",
    "Le",
    "Like",
    "Lt",
    "Ne",
    "Not",
    "NotIn",
    "Or",
    "Scalar",
    "matches",
    "no_filter",
]

Scalar: TypeAlias = str | int | float | bool | None
"""A value that a filter compares with; one of numpy is taken for the plain value that it holds."""


def _checked(key: str, *values: object) -> tuple[Scalar, ...]:
    """Return values as plain ones; refuse keys and values that JSON in Postgres cannot hold."""
    if not isinstance(key, str) or not key:
        raise FilterError(f"a filter names a metadata key as a non-empty str, not {key!r}")
    _checked_text(key, key)
    return tuple(_scalar(key, value) for value in values)


def _scalar(key: str, value: object) -> Scalar:
    if isinstance(value, np.generic):
        value = value.item()
    if value is not None and not isinstance(value, str | int | float | bool):
        raise FilterError(
            f"the filter on {key!r} compares with str, int, float, bool or None, "
            f"not {type(value).__name__} {value!r}"
        )
    if isinstance(value, str):
        _checked_text(key, value)
    if isinstance(value, float) and not math.isfinite(value):
        raise FilterError(f"the filter on {key!r} compares with {value}, which JSON cannot hold")
    return value


def _one(node: Eq | Ne | Contains) -> None:
    """Check the value of a node, and keep it as a plain one."""
    (value,) = _checked(node.key, node.value)
    object.__setattr__(node, "value", value)


def _several(node: In | NotIn | AnyOf | AllOf) -> None:
    """Check the values of a node, and keep them as a tuple of plain ones."""
    given: object = node.values
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise FilterError(
            f"the filter on {node.key!r} takes a tuple of values, not "
            f"{type(given).__name__} {given!r}"
        )
    object.__setattr__(node, "values", _checked(node.key, *given))


def _checked_text(key: str, text: str) -> None:
    if "\0" in text:
        raise FilterError(f"the filter on {key!r} holds a NUL character, which JSON refuses")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FilterError(f"the filter on {key!r} holds half a character: {error}") from error


def _ordered(node: Lt | Le | Gt | Ge) -> None:
    """Check the value of a node that compares by order, and keep it as a plain one."""
    (value,) = _checked(node.key, node.value)
    if value is None or isinstance(value, bool):
        raise FilterError(
            f"the filter on {node.key!r} orders by a number or a string, not by {value!r}"
        )
    object.__setattr__(node, "value", value)


@dataclass(frozen=True, slots=True)
class Eq:
    """The entry equals the value."""

    key: str
    value: Scalar

    def __post_init__(self) -> None:
        _one(self)


@dataclass(frozen=True, slots=True)
class Ne:
    """The entry is absent or differs from the value."""

    key: str
    value: Scalar

    def __post_init__(self) -> None:
        _one(self)


@dataclass(frozen=True, slots=True)
class Lt:
    """The entry is less than the value."""

    key: str
    value: str | int | float

    def __post_init__(self) -> None:
        _ordered(self)


@dataclass(frozen=True, slots=True)
class Le:
    """The entry is less than the value or equal to it."""

    key: str
    value: str | int | float

    def __post_init__(self) -> None:
        _ordered(self)


@dataclass(frozen=True, slots=True)
class Gt:
    """The entry is greater than the value."""

    key: str
    value: str | int | float

    def __post_init__(self) -> None:
        _ordered(self)


@dataclass(frozen=True, slots=True)
class Ge:
    """The entry is greater than the value or equal to it."""

    key: str
    value: str | int | float

    def __post_init__(self) -> None:
        _ordered(self)


@dataclass(frozen=True, slots=True)
class In:
    """The entry equals one of the values; never true without values."""

    key: str
    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        _several(self)


@dataclass(frozen=True, slots=True)
class NotIn:
    """The entry is absent or equals none of the values."""

    key: str
    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        _several(self)


@dataclass(frozen=True, slots=True)
class Exists:
    """The entry exists, even if null."""

    key: str

    def __post_init__(self) -> None:
        _checked(self.key)


@dataclass(frozen=True, slots=True)
class IsEmpty:
    """The entry is absent, null, "" or an empty list."""

    key: str

    def __post_init__(self) -> None:
        _checked(self.key)


@dataclass(frozen=True, slots=True)
class Contains:
    """The entry is a list that contains the value."""

    key: str
    value: Scalar

    def __post_init__(self) -> None:
        _one(self)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The entry is a list that contains at least one of the values."""

    key: str
    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        _several(self)


@dataclass(frozen=True, slots=True)
class AllOf:
    """The entry is a list that contains all of the values."""

    key: str
    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        _several(self)


@dataclass(frozen=True, slots=True)
class Like:
    """The entry is a string that matches the whole pattern.

    `%` stands for any characters, `_` for one, and a backslash takes the next character as it is.
    Ignoring case compares the lower case of each character, as Unicode maps it one to one.
    """

    key: str
    pattern: str
    ignore_case: bool = False

    def __post_init__(self) -> None:
        """Refuse an impossible key, or a pattern that ends in a lone backslash."""
        _checked(self.key, self.pattern)
        if len(self.pattern) - len(self.pattern.rstrip("\\")) & 1:
            raise FilterError(
                f"the pattern {self.pattern!r} on {self.key!r} ends in a lone backslash; "
                "write two for one"
            )


@dataclass(frozen=True, slots=True)
class And:
    """All parts are true; true without parts."""

    parts: tuple[Filter, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part is true; false without parts."""

    parts: tuple[Filter, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))


@dataclass(frozen=True, slots=True)
class Not:
    """The part is false."""

    part: Filter


Filter: TypeAlias = (
    Eq | Ne | Lt | Le | Gt | Ge | In | NotIn | Exists | IsEmpty | Contains | AnyOf | AllOf
    | Like | And | Or | Not
)  # fmt: skip
"""Any node of a filter tree."""

_ABSENT = object()


def no_filter(given: object) -> FilterError:
    """Return the error about what is given in place of a filter."""
    return FilterError(
        f"a filter is made of the parts of voicerag_core.filters, such as Eq('key', 1), not of "
        f"{type(given).__name__}"
    )


def matches(node: Filter, metadata: Mapping[str, JSONValue]) -> bool:  # noqa: C901, PLR0911, PLR0912
    """Return whether metadata passes a filter: the definition that every store has to follow."""
    match node:
        case And(parts):
            return all(matches(part, metadata) for part in parts)
        case Or(parts):
            return any(matches(part, metadata) for part in parts)
        case Not(part):
            return not matches(part, metadata)
        case Ne(key, value):
            return not matches(Eq(key, value), metadata)
        case NotIn(key, values):
            return not matches(In(key, values), metadata)
    if not hasattr(node, "key"):
        raise no_filter(node)
    entry: object = metadata.get(node.key, _ABSENT)
    match node:
        case Exists():
            return entry is not _ABSENT
        case IsEmpty():
            return entry is _ABSENT or entry is None or entry in ("", [])
        case Eq(_, value):
            return _equal(entry, value)
        case In(_, values):
            return any(_equal(entry, value) for value in values)
        case Lt(_, value):
            return _order(entry, value) == -1
        case Le(_, value):
            return _order(entry, value) in (-1, 0)
        case Gt(_, value):
            return _order(entry, value) == 1
        case Ge(_, value):
            return _order(entry, value) in (0, 1)
        case Contains(_, value):
            return _holds(entry, value)
        case AnyOf(_, values):
            return any(_holds(entry, value) for value in values)
        case AllOf(_, values):
            return isinstance(entry, list) and all(_holds(entry, value) for value in values)
        case Like(_, pattern, ignore_case):
            if not isinstance(entry, str):
                return False
            if ignore_case:
                entry, pattern = _lower_case(entry), _lower_case(pattern)
            return bool(re.fullmatch(_like_to_regex(pattern), entry, re.DOTALL))
        case _:
            raise no_filter(node)


def _decimal(number: float) -> Decimal:
    return Decimal(repr(number))


def _equal(entry: object, value: Scalar) -> bool:
    if isinstance(entry, bool) or isinstance(value, bool):
        return entry is value
    if isinstance(entry, int | float) and isinstance(value, int | float):
        return _decimal(entry) == _decimal(value)
    return type(entry) is type(value) and entry == value


def _order(entry: object, value: str | int | float) -> int | None:
    """Return -1, 0 or 1, or None when the two have no order."""
    if isinstance(entry, str) and isinstance(value, str):
        return (entry > value) - (entry < value)
    if isinstance(entry, bool) or not isinstance(entry, int | float) or isinstance(value, str):
        return None
    left, right = _decimal(entry), _decimal(value)
    return (left > right) - (left < right)


def _lower_case(text: str) -> str:
    """Map each character alone; only U+0130 has more than one character as its full mapping."""
    return "".join("i" if character == "\u0130" else character.lower() for character in text)


def _holds(entry: object, value: Scalar) -> bool:
    return isinstance(entry, list) and any(_equal(item, value) for item in entry)


def _like_to_regex(pattern: str) -> str:
    wildcards = {"%": ".*", "_": "."}
    return "".join(
        re.escape(literal) if literal else wildcards.get(plain, re.escape(plain))
        for literal, plain in re.findall(r"\\(.)|([^\\])", pattern, re.DOTALL)
    )
