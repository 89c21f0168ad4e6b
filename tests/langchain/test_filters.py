"""The dict syntax of filters, and that nothing in it reaches SQL as SQL."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voicerag_core import FilterError, VoiceRAG
from voicerag_core.filters import And, Eq, Filter, matches
from voicerag_integrations.langchain import SpeechRetriever, VoiceRAGVectorStore, read_filter

METADATA: list[dict[str, Any]] = [
    {"lang": "en", "year": 2019, "tags": ["a", "b"]},
    {"lang": "de", "year": 2020, "draft": True},
    {"lang": "en", "year": 2021, "tags": ["b"], "owner": "O'Brien"},
    {"year": 2022, "owner": None},
]


@pytest.mark.parametrize(
    ("given_filter", "rows"),
    [
        ({}, [0, 1, 2, 3]),
        ({"lang": "en"}, [0, 2]),
        ({"lang": {"$eq": "en"}}, [0, 2]),
        ({"lang": {"$ne": "en"}}, [1, 3]),
        ({"lang": "en", "year": 2021}, [2]),
        ({"year": {"$gt": 2019, "$lt": 2022}}, [1, 2]),
        ({"year": {"$gte": 2020, "$lte": 2021}}, [1, 2]),
        ({"year": {"$between": [2020, 2021]}}, [1, 2]),
        ({"year": {"$in": [2019, 2022]}}, [0, 3]),
        ({"lang": {"$nin": ["en"]}}, [1, 3]),
        ({"owner": {"$exists": True}}, [2, 3]),
        ({"owner": {"$exists": False}}, [0, 1]),
        ({"owner": None}, [3]),
        ({"draft": True}, [1]),
        ({"owner": {"$like": "O'%"}}, [2]),
        ({"owner": {"$ilike": "o'b%"}}, [2]),
        ({"tags": {"$contains": "a"}}, [0]),
        ({"tags": {"$contains_any": ["a", "b"]}}, [0, 2]),
        ({"tags": {"$contains_all": ["a", "b"]}}, [0]),
        ({"$or": [{"year": 2019}, {"lang": "de"}]}, [0, 1]),
        ({"$and": [{"lang": "en"}, {"year": {"$gt": 2019}}]}, [2]),
        ({"$not": {"lang": "en"}}, [1, 3]),
        ({"year": {"$in": []}}, []),
        (Eq("lang", "de"), [1]),
    ],
)
def test_what_a_filter_lets_through(given_filter: Any, rows: list[int]) -> None:
    node = read_filter(given_filter)
    assert node is not None
    assert [row for row, one in enumerate(METADATA) if matches(node, one)] == rows


@pytest.mark.parametrize(
    ("given_filter", "message"),
    [
        ({"year": {"$regex": "x"}}, "'\\$regex'.*choose of.*\\$gte"),
        ({"year": {"gte": 2020}}, "unknown operator 'gte'"),
        ({"$nor": []}, "unknown operator '\\$nor'"),
        ({"$and": {"a": 1}}, "\\$and takes a list"),
        ({"year": [2019, 2020]}, "'\\$in'"),
        ({"year": {}}, "names no operator"),
        ({"year": {"$in": "2019"}}, "\\$in takes a list"),
        ({"year": {"$between": [1]}}, "least, most"),
        ({"year": {"$exists": "yes"}}, "true or false"),
        ({"year": {"$gt": None}}, "orders by"),
        ({"year": {"$like": 3}}, "pattern"),
        ({"year": {"$eq": {"a": 1}}}, "compares with"),
        ({"": 1}, "non-empty"),
        ({"a\0b": 1}, "NUL"),
        ({3: 1}, "unknown operator 3"),
        ("lang = 'en'", "a filter is a dict"),
        (lambda document: True, "a filter is a dict"),
        ({"year": float("nan")}, "cannot hold"),
    ],
)
def test_what_has_no_meaning_is_refused(given_filter: Any, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        read_filter(given_filter)


def test_a_filter_without_end_is_refused_before_the_stack_is() -> None:
    nested: dict[str, Any] = {"a": 1}
    for _ in range(5000):
        nested = {"$not": nested}
    with pytest.raises(FilterError, match="nested deeper"):
        read_filter(nested)


INJECTIONS = [
    "x' OR '1'='1",
    "'; DROP TABLE voicerag.passages; --",
    "x') OR TRUE --",
    '"; SELECT pg_sleep(9); --',
    "%(ids)s",
    "%s {} \\' $1",
    "lang' IS NOT NULL OR 'a",
]


@pytest.mark.parametrize("evil", INJECTIONS)
def test_injections_find_nothing_and_break_nothing(stored: VoiceRAG, evil: str) -> None:
    found = VoiceRAGVectorStore(stored)
    for attempt in (
        {"kind": evil},
        {evil: "rhine"},
        {"kind": {"$in": [evil, evil + "'"]}},
        {"kind": {"$like": evil.replace("%", "\\%").replace("\\'", "'")}},
        {"kind": {"$contains": evil}},
    ):
        assert found.similarity_search("Rhine", k=9, filter=attempt) == []
    assert stored.store.count() == 4


def test_an_honest_apostrophe_works(stored: VoiceRAG) -> None:
    vectors = VoiceRAGVectorStore(stored)
    vectors.add_texts(["The O'Brien house."], [{"owner": "O'Brien", "it's": 1}], ids=["o"])
    for honest in ({"owner": "O'Brien"}, {"owner": {"$in": ["O'Brien"]}}, {"it's": 1}):
        assert [d.id for d in vectors.similarity_search("house", filter=honest)] == ["o"]


def test_a_number_is_no_string_that_looks_like_it(stored: VoiceRAG) -> None:
    vectors = VoiceRAGVectorStore(stored)
    vectors.add_texts(["seven", "double o seven"], [{"n": "7"}, {"n": "007"}], ids=["a", "b"])
    assert [d.id for d in vectors.similarity_search("seven", filter={"n": "7"})] == ["a"]
    assert vectors.similarity_search("seven", filter={"n": 7}) == []


json_scalars = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    st.integers(-(2**53), 2**53),
    st.booleans(),
    st.none(),
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    key=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
    value=json_scalars,
    operator=st.sampled_from(["$eq", "$ne", "$in", "$nin", "$contains"]),
)
def test_any_key_and_value_means_in_postgres_what_it_means_here(
    stored: VoiceRAG, key: str, value: Any, operator: str
) -> None:
    operand = [value, "rhine"] if operator in ("$in", "$nin") else value
    node: Filter | None = read_filter({"$and": [{"kind": {"$exists": True}}]})
    if not key.startswith("$"):
        node = read_filter({key: {operator: operand}})
    assert node is not None
    everything = stored.store.search(
        stored.embedder.embed_passages(["x"])[0], limit=9, where=And(())
    )
    expected = {h.passage.id for h in everything if matches(node, h.passage.metadata)}
    found = SpeechRetriever(rag=stored, k=9).invoke("Rhine", filter=node)
    assert {document.id for document in found} == expected
