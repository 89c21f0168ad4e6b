"""The SQL of a filter chooses what its definition chooses, whatever keys and values it holds."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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
    matches,
)
from voicerag_core.store.filter_sql import compile_filter
from voicerag_core.types import JSONValue

TEXTS = st.sampled_from(
    [
        "", "a", "A", "b", "ab", "1", "1.0", "true", "null", "O'Brien", "x' OR '1'='1", '"', "\\",
        "%", "_", "a%", "%s", "%(f0)s", "{}", "'; DROP TABLE passages; --", "É", "é", "Σ", "ς", "İ",
        "ß", "你好", "😀", "$1", "a.b", "a->b", "\n", "\t\r",
    ]
)  # fmt: skip
TEXTS |= st.text(
    st.characters(exclude_categories=("Cs", "Cn", "Co"), exclude_characters="\0"), max_size=4
)
KEYS = st.sampled_from(["k", "l", "it's", '"q"', "a.b", "ключ", "%s", "k' = 'k", "{f0}"])
NUMBERS = (
    st.sampled_from([0, -0.0, 1, 1.0, 2, 1e23, 10**23, 2**53 + 1, 2.0**53, 5e-324, 0.1, 10**400])
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
)
SCALARS: st.SearchStrategy[Scalar] = TEXTS | NUMBERS | st.booleans() | st.none()
VALUES: st.SearchStrategy[JSONValue] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=4,
)
METADATA = st.dictionaries(KEYS, VALUES, max_size=4)
MANY = st.lists(SCALARS, max_size=40).map(tuple)
FEW = st.lists(SCALARS, max_size=3).map(tuple)
PATTERNS = TEXTS.filter(lambda text: not (len(text) - len(text.rstrip("\\"))) & 1)
LEAVES: st.SearchStrategy[Filter] = st.one_of(
    st.builds(Eq, KEYS, SCALARS),
    st.builds(Ne, KEYS, SCALARS),
    *(st.builds(order, KEYS, TEXTS | NUMBERS) for order in (Lt, Le, Gt, Ge)),
    st.builds(In, KEYS, FEW | MANY),
    st.builds(NotIn, KEYS, FEW | MANY),
    st.builds(Exists, KEYS),
    st.builds(IsEmpty, KEYS),
    st.builds(Contains, KEYS, SCALARS),
    st.builds(AnyOf, KEYS, FEW),
    st.builds(AllOf, KEYS, FEW),
    st.builds(Like, KEYS, PATTERNS, st.booleans()),
)
FILTERS: st.SearchStrategy[Filter] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, max_size=3).map(lambda parts: Or(tuple(parts))),
        st.builds(Not, inner),
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def connection(dsn: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(dsn, autocommit=True) as opened:
        yield opened


def chosen(
    connection: psycopg.Connection[tuple[object, ...]],
    rows: list[dict[str, JSONValue]],
    node: Filter,
) -> list[bool]:
    condition, values = compile_filter(node)
    statement = sql.SQL(
        "SELECT {} FROM unnest(%(rows)s::text[]) WITH ORDINALITY AS r (row, place), "
        "LATERAL (SELECT row::jsonb AS metadata) m ORDER BY place"
    ).format(condition)
    texts = [json.dumps(row) for row in rows]
    return [bool(row[0]) for row in connection.execute(statement, {**values, "rows": texts})]


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(METADATA, min_size=1, max_size=6), node=FILTERS)
def test_the_database_agrees_with_the_definition(
    connection: psycopg.Connection[tuple[object, ...]],
    rows: list[dict[str, JSONValue]],
    node: Filter,
) -> None:
    assert chosen(connection, rows, node) == [matches(node, row) for row in rows]


def test_case_is_ignored_alike_for_every_letter(
    connection: psycopg.Connection[tuple[object, ...]],
) -> None:
    letters = [
        chr(code)
        for code in range(1, sys.maxunicode)
        if unicodedata.category(chr(code)) in {"Lu", "Lt", "Ll", "Nl", "So"}
    ]
    rows: list[dict[str, JSONValue]] = [{"k": letter} for letter in letters]
    for probe in ("k", "ı", "ω", "ς", "σ", "ß", "i", "å"):
        node = Like("k", probe, ignore_case=True)
        assert chosen(connection, rows, node) == [matches(node, row) for row in rows]


def test_a_condition_is_never_null(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    leaves: list[Filter] = [
        Eq("k", None), Lt("k", 1), Gt("k", "a"), In("k", tuple(range(50))), Exists("k"),
        Contains("k", 1), AllOf("k", ()), Like("k", "%"),
    ]  # fmt: skip
    rows: list[dict[str, JSONValue]] = [{}, {"k": None}, {"k": []}, {"k": {}}]
    for leaf in leaves:
        condition, values = compile_filter(leaf)
        statement = sql.SQL("SELECT {} IS NULL FROM (SELECT %(row)s::jsonb AS metadata) m")
        for row in rows:
            asked = statement.format(condition)
            found = connection.execute(asked, {**values, "row": json.dumps(row)}).fetchone()
            assert found == (False,), (leaf, row)


def test_nothing_of_a_filter_is_in_the_statement() -> None:
    node = And((Eq("evil'key", "evil'value"), Like("evil'key", "evil%"), Lt("evil'key", "evil")))
    condition, values = compile_filter(node)
    assert "evil" not in condition.as_string(None)
    assert "evil" in str(values)


def test_what_cannot_be_compiled_is_refused() -> None:
    node: Filter = Eq("k", 1)
    for _ in range(5000):
        node = Not(node)
    with pytest.raises(FilterError, match="nested"):
        compile_filter(node)
    with pytest.raises(FilterError, match="half a character"):
        Eq("k", "\ud800")
