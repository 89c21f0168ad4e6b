"""What filters mean; the store's tests hold its SQL against the same definition."""

from __future__ import annotations

import pytest

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
    matches,
)
from voicerag_core.types import JSONValue

META: dict[str, JSONValue] = {
    "n": 5, "f": 1.0, "s": "O'Brien", "t": True, "z": None, "l": ["a", 1, None], "p": "50%_\\",
}  # fmt: skip


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (Eq("n", 5), True),
        (Eq("n", 5.0), True),
        (Eq("f", 1), True),
        (Eq("t", 1), False),
        (Eq("t", True), True),
        (Eq("n", "5"), False),
        (Eq("z", None), True),
        (Eq("absent", None), False),
        (Ne("n", 4), True),
        (Ne("absent", 4), True),
        (Lt("n", 6), True),
        (Lt("s", 6), False),
        (Lt("t", 6), False),
        (Le("n", 5), True),
        (Gt("n", 4.5), True),
        (Gt("s", "O"), True),
        (Ge("absent", 0), False),
        (In("s", ("x", "O'Brien")), True),
        (In("n", ()), False),
        (NotIn("absent", (1,)), True),
        (Exists("z"), True),
        (Exists("absent"), False),
        (IsEmpty("absent"), True),
        (IsEmpty("z"), True),
        (IsEmpty("n"), False),
        (Contains("l", None), True),
        (Contains("l", True), False),
        (Contains("s", "O"), False),
        (AnyOf("l", ("x", 1.0)), True),
        (AllOf("l", ("a", 1)), True),
        (AllOf("l", ("a", 2)), False),
        (AllOf("s", ()), False),
        (Like("s", "O'%"), True),
        (Like("s", "o'brien"), False),
        (Like("s", "o'brien", ignore_case=True), True),
        (Like("s", "Brien"), False),
        (Like("p", "50\\%\\_\\\\"), True),
        (Like("s", "50\\%%"), False),
        (Like("n", "5"), False),
        (And(()), True),
        (Or(()), False),
        (And((Eq("n", 5), Not(Eq("n", 5)))), False),
        (Or((Eq("n", 4), Eq("t", True))), True),
    ],
)
def test_meaning(node: Filter, expected: bool) -> None:
    assert matches(node, META) is expected


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(FilterError, match="non-empty"):
        Eq("", 1)
    with pytest.raises(FilterError, match="NUL"):
        Eq("a\0", 1)
    with pytest.raises(FilterError, match="NUL"):
        In("a", ("x", "\0"))
    with pytest.raises(FilterError, match="nan"):
        Gt("a", float("nan"))
    with pytest.raises(FilterError, match="not list"):
        Eq("a", [1])  # type: ignore[arg-type]
    with pytest.raises(FilterError, match="orders by"):
        Lt("a", True)
    with pytest.raises(FilterError, match="lone backslash"):
        Like("a", "x\\")
    Like("a", "x\\\\")
