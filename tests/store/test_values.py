"""What callers give: ids, names, texts, escapes, half characters, lists and numbers of numpy."""

from __future__ import annotations

import copy
import logging
import pickle
import random
import string
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from voicerag_core.errors import FilterError, StoreError, StoreUnavailableError
from voicerag_core.filters import And, AnyOf, Eq, Exists, Filter, In, Ne, NotIn, Or, Scalar, matches
from voicerag_core.store import PgVectorStore, filter_sql, list_collections, reset
from voicerag_core.testing.stores import WIDTH
from voicerag_core.types import Answer, Audio, Hit, Passage, Retrieved, Vocabulary

ONE = np.eye(1, WIDTH, dtype=np.float32)
HALF = "\ud83d"
"""Half an emoji, as other programs leave it when they cut a text."""


def letters(count: int, seed: int = 1) -> str:
    """A text that does not compress below its length."""
    return "".join(random.Random(seed).choices(string.ascii_letters, k=count))


def put(store: PgVectorStore, *passages: Passage) -> int:
    return store.add(passages, np.repeat(ONE, len(passages), axis=0))


def refusal(call: Any) -> str:
    with pytest.raises(StoreError) as caught:
        call()
    assert not isinstance(caught.value, StoreUnavailableError), "the server is not to blame"
    return str(caught.value)


def test_a_long_id_is_kept_or_refused_as_one(store: PgVectorStore, tenant: str) -> None:
    most = 2600 - len(tenant)
    put(store, Passage(letters(most), "kept"))
    assert len(store.get([letters(most)])) == 1
    for key in (letters(most + 1), letters(5000), "ß" * most):
        said = refusal(lambda key=key: put(store, Passage("beside", "x"), Passage(key, "x")))
        assert f"an id of {len(key.encode())} bytes" in said
        assert f"at most {most}" in said
        assert len(said) < 400
    assert store.count() == 1
    assert store.get([letters(5000)]) == []
    assert store.delete([letters(5000)]) == 0


@pytest.mark.parametrize("kind", ["collection", "tenant", "model_id"])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        (letters(601), "601 bytes, and a name has at most 600"),
        ("é" * 301, "602 bytes"),
        ("a\0b", "NUL character"),
        (f"a{HALF}", "half a character"),
        (7, "is a str, not int 7"),
        (None, "is a str, not NoneType"),
    ],
)
def test_a_name_that_no_index_holds_is_refused(
    dsn: str, kind: str, name: object, told: str
) -> None:
    given: dict[str, Any] = {"tenant": "names", "model_id": "test", kind: name}
    for only in (False, True):
        said = refusal(
            lambda only=only: PgVectorStore.open(dsn, dim=WIDTH, read_only=only, **given)
        )
        assert told in said
        assert kind in said


def test_the_longest_names_work(dsn: str) -> None:
    """With the longest id and a word of the greatest length that Postgres indexes, twice."""
    tenant, name = letters(600, 2), letters(600, 3)
    with PgVectorStore.open(
        dsn, tenant=tenant, collection=name, model_id=letters(600, 4), dim=WIDTH
    ) as store:
        word = letters(2046, 5)
        put(store, Passage(letters(2000), f"one {word}"), Passage("b", f"two {word}"))
        assert {hit.passage.id for hit in store.search(None, text=word, limit=9)} == {
            "b", letters(2000)
        }  # fmt: skip
    assert [one.name for one in list_collections(dsn, tenant=tenant)] == [name]
    assert reset(dsn, collection=name, tenant=tenant) == 2


def test_a_text_with_more_words_than_postgres_indexes_is_stored_whole(
    store: PgVectorStore, caplog: pytest.LogCaptureFixture
) -> None:
    words = " ".join(letters(2000, seed) for seed in range(600))
    big = f"zebra {words}"
    rows = np.eye(2, WIDTH, dtype=np.float32)
    given = [Passage("small", "apple"), Passage("big", big, {"title": "heading"})]
    with caplog.at_level(logging.WARNING):
        assert store.add(given, rows) == 2
    assert "'big' is found by the words of its first" in caplog.text
    assert store.get(["big"]) == [given[1]]
    assert [hit.passage.id for hit in store.search(None, text="zebra", limit=2)] == ["big"]
    assert [hit.passage.id for hit in store.search(None, text="heading", limit=2)] == ["big"]
    assert store.add(given, rows) == 0, "it is not written again"
    assert store.replace_document("doc", "1", given, rows) == 2
    heading = {"title": words}
    said = refusal(lambda: put(store, Passage("beside", "x"), Passage("headed", "x", heading)))
    assert "'headed' has more words in its title and headings" in said
    assert store.count() == 2


def test_a_long_text_of_few_words_is_searched_to_its_end(store: PgVectorStore) -> None:
    put(store, Passage("long", "the same words again " * 60_000 + "zebra"))
    assert [hit.passage.id for hit in store.search(None, text="zebra", limit=2)] == ["long"]


@pytest.mark.parametrize(
    "words", ["\\u0000", "\\\\u0000", "C:\\u0000dir", "[\\u0000-\\u001f]", "\\x00"]
)
def test_letters_that_spell_an_escape_are_letters(store: PgVectorStore, words: str) -> None:
    given = Passage(f"a{words}", f"x{words}", {words: words, "list": [words, {"deep": words}]})
    put(store, given)
    assert store.get([given.id]) == [given]
    assert store.count(where=Eq(words, words)) == 1
    assert store.search(ONE[0], text=words, limit=1)[0].passage == given
    store.replace_document(words, words, [given], ONE)
    assert store.document_digests() == {words: words}


@pytest.mark.parametrize(
    "bad",
    [
        Passage("a\0", "x"),
        Passage("a", "x\0"),
        Passage("a", "x", {"k": "\0"}),
        Passage("a", "x", {"k": "\\\0"}),
        Passage("a", "x", {"\0": 1}),
        Passage("a", "x", {"k": ["\\u0000", {"deep": "\\\\\0"}]}),
    ],
)
def test_a_true_nul_is_refused(store: PgVectorStore, bad: Passage) -> None:
    assert "NUL character" in refusal(lambda: put(store, Passage("good", "x"), bad))
    assert store.count() == 0


def test_half_characters_and_nul_are_found_nowhere(store: PgVectorStore) -> None:
    put(store, Passage("a", "café apple"))
    for odd in (HALF, "\0", f"\0{HALF}\udc00"):
        assert store.search(ONE[0], text=f"apple {odd}", limit=3)[0].passage.id == "a"
        assert store.search(None, text=f"{odd} apple", limit=3)[0].passage.id == "a"
        assert store.search(None, text=odd, limit=3) == ()
        assert store.get([odd, "a"]) == [Passage("a", "café apple")]
        assert store.search(ONE[0], limit=3, ids=[odd]) == ()
        assert store.delete([odd]) == 0
        assert store.remove_documents([odd]) == 0
        refusal(lambda odd=odd: put(store, Passage(odd, "x")))
        refusal(lambda odd=odd: put(store, Passage("b", odd)))
        refusal(lambda odd=odd: put(store, Passage("b", "x", {"k": odd})))
        refusal(lambda odd=odd: store.replace_document(odd, "1", [], ONE[:0]))
        with pytest.raises(FilterError):
            store.count(where=Eq("k", odd))
    assert store.count() == 1


@pytest.mark.parametrize("key", [7, 7.5, UUID(int=7), b"a", None, ("a",)])
def test_an_id_that_is_no_str_is_refused_by_every_method(store: PgVectorStore, key: Any) -> None:
    put(store, Passage("7", "x"))
    for call in (
        lambda: put(store, Passage("beside", "x"), Passage(key, "x")),
        lambda: store.get([key]),
        lambda: store.delete([key]),
        lambda: store.search(ONE[0], limit=1, ids=[key]),
        lambda: store.remove_documents([key]),
        lambda: store.replace_document(key, "1", [], ONE[:0]),
    ):
        assert type(key).__name__ in refusal(call)
    assert "one str" in refusal(lambda: store.get("7"))
    assert "str" in refusal(lambda: put(store, Passage("b", key)))
    assert store.count() == 1


def test_lists_and_numbers_of_numpy_are_taken(store: PgVectorStore) -> None:
    given = [Passage("a", "x", {"n": 1, "s": ["p", "q"]}), Passage("b", "x", {"n": 2})]
    given_values: list[Any] = [
        np.array([1, 9]), np.int64(1), np.float32(2), np.float32(1), [1], np.array(["p"]), "abc"
    ]  # fmt: skip
    many, one, two, bound, listed, letter, text = given_values
    rows: Any = [[1.0, *[0.0] * 7], [0, 1, *[0] * 6], [0, 0, 1, *[0] * 5]]
    owners: Any = [0, 1, 1]
    uneven: Any = [[1.0], [1.0, 2.0]]
    assert store.add(given, rows, owners=owners) == 2
    assert (
        store.add(tuple(given), np.array(rows, np.float64), owners=np.array(owners, np.int32)) == 0
    )
    assert [hit.passage.id for hit in store.search(rows[0], limit=one)] == ["a"]
    assert len(store.search_many(rows, limit=2)) == 3
    assert [one.id for one in store.get(np.array(["b", "a"]))] == ["b", "a"]  # type: ignore[arg-type]
    for condition in (
        Eq("n", one), In("n", many), In("n", listed), Ne("n", two), AnyOf("s", letter),
        And([Eq("n", one)]),  # type: ignore[arg-type]
    ):  # fmt: skip
        assert store.count(where=condition) == 1
        assert matches(condition, given[0].metadata)
        assert hash(condition) == hash(copy.deepcopy(condition))
    assert store.search(rows[0], limit=3, min_score=bound, where=Eq("n", 1))
    assert "whole numbers" in refusal(lambda: store.add(given, rows, owners=rows[0]))
    assert "one length" in refusal(lambda: store.add(given, uneven))
    with pytest.raises(FilterError, match="takes a tuple of values, not str"):
        In("n", text)


def test_filters_with_thousands_of_values(
    store: PgVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, *[Passage(str(n), "x", {"n": n, "tags": [str(n), "all"]}) for n in range(40)])
    many = tuple(range(20, 5_020))
    texts = tuple(map(str, many))
    other = Passage("odd", "x", {"odd": [1.0, True, None, "true", "2.50", 2.5, 1e20, {"a": 1}]})
    put(store, other)
    held: list[Scalar] = [1, True, None, 2.50, 2.5e0, 10**20, "2.50", "true"]
    absent: list[Scalar] = ["1", False, "null", -1, "2.5", '{"a": 1}', "s2.50", "n1"]
    for value in held + absent:
        one_of_many = AnyOf("odd", (value, *[f"none {n}" for n in range(40)]))
        assert store.count(where=one_of_many) == (value in held and value is not False)
        assert matches(one_of_many, other.metadata) == (value in held and value is not False)
    store.delete(["odd"])
    expected: list[tuple[Filter, int]] = [
        (In("n", many), 20),
        (NotIn("n", many), 20),
        (AnyOf("tags", texts), 20),
        (Or(tuple(Eq("n", n) for n in many)), 20),
        (And(tuple(Ne("n", n) for n in many)), 20),
        (Or((Eq("n", 3), *(Eq("tags", t) for t in texts), *(Eq("n", n) for n in many))), 21),
    ]
    for condition, count in expected:
        assert store.count(where=condition) == count
        found = store.search(ONE[0], text="x", limit=50, where=condition)
        assert len(found) == count
    assert len(store.get(texts)) == 20
    assert len(store.search(ONE[0], limit=50, ids=texts)) == 20
    monkeypatch.setattr(filter_sql, "_MOST_BOUND", 100)
    with pytest.raises(FilterError, match=r"101 keys and values.*use In"):
        store.count(where=Or(tuple(Exists(f"k{n}") for n in range(101))))
    assert store.delete(texts) == 20


@pytest.mark.parametrize(
    "value",
    [
        Passage("a", "x", {"k": [1]}),
        Hit(Passage("a", "x"), 0.5, 1, ("words",)),
        Vocabulary((("a", 1),)),
        Answer("a", Audio(ONE[0], 16_000), (Hit(Passage("a", "x"), 0.5, 1),)),
        In("k", ("a", 1)),
        StoreUnavailableError("gone"),
        Retrieved((), None, ONE[0], {}),
    ],
)  # fmt: skip
def test_values_are_copied_and_pickled(value: object) -> None:
    for made in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert type(made) is type(value)
        if not isinstance(value, Vocabulary | Retrieved):
            assert made == value or str(made) == str(value)


def test_an_open_store_says_that_it_cannot_be_copied(store: PgVectorStore) -> None:
    for copied in (pickle.dumps, copy.deepcopy):
        assert "open another" in refusal(lambda copied=copied: copied(store))


def test_a_reading_store_says_so(dsn: str, tenant: str, store: PgVectorStore) -> None:
    put(store, Passage("a", "x"))
    with PgVectorStore.open(
        dsn, tenant=tenant, model_id="test", dim=WIDTH, read_only=True
    ) as reader:
        for call in (
            lambda: put(reader, Passage("b", "x")),
            lambda: reader.delete(["a"]),
            lambda: reader.replace_document("a", "1", [], ONE[:0]),
            lambda: reader.remove_documents(["a"]),
            reader.build_index,
        ):
            assert "opened with read_only" in refusal(call)
        assert reader.count() == 1


@pytest.mark.parametrize("limit", [0, -1, 1.5, 3.0, float("nan"), "3", None, [3], np.float32(2)])
def test_a_limit_is_a_whole_number(store: PgVectorStore, limit: Any) -> None:
    put(store, Passage("a", "x"))
    assert "limit" in refusal(lambda: store.search(ONE[0], limit=limit))
    assert "limit" in refusal(lambda: store.search_many(ONE, limit=limit))


@pytest.mark.parametrize("limit", [1, True, 2**31, 2**63, 10**30, np.int64(1), np.uint8(9)])
def test_a_limit_of_any_size_is_taken(store: PgVectorStore, limit: Any) -> None:
    put(store, Passage("a", "x"))
    assert len(store.search(ONE[0], limit=limit)) == 1
    assert [len(hits) for hits in store.search_many(ONE, limit=limit)] == [1]


@pytest.mark.parametrize("least", [float("nan"), "0.5", np.float32("nan"), [0.5], object()])
def test_a_least_score_is_a_number(store: PgVectorStore, least: Any) -> None:
    put(store, Passage("a", "x"))
    assert "min_score" in refusal(lambda: store.search(ONE[0], limit=1, min_score=least))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 1e300])
def test_a_question_that_is_not_finite_is_refused_as_one(
    store: PgVectorStore, value: float
) -> None:
    put(store, Passage("a", "x"))
    question: Any = [value] * WIDTH
    many: Any = [question]
    assert "vector of the question" in refusal(lambda: store.search(question, limit=1))
    assert "vector of the question" in refusal(lambda: store.search_many(many, limit=1))


@pytest.mark.parametrize("where", [{"n": 1}, "n = 1", [Eq("n", 1)], And(({"n": 1},))])  # type: ignore[arg-type]
def test_what_is_no_filter_is_refused_as_one(store: PgVectorStore, where: Any) -> None:
    put(store, Passage("a", "x", {"n": 1}))
    for call in (
        lambda: store.search(ONE[0], limit=1, where=where),
        lambda: store.count(where=where),
        lambda: store.delete(where=where),
        lambda: matches(where, {"n": 1}),
    ):
        with pytest.raises(FilterError, match=r"voicerag_core\.filters"):
            call()
    assert store.count() == 1


def test_values_of_other_kinds_are_named(store: PgVectorStore) -> None:
    passages: Any = (Passage(f"p{n}", "x") for n in range(2))
    assert store.add(passages, np.repeat(ONE, 2, axis=0)) == 2, "an iterator will do"
    wrong: Any
    for wrong in (b"x", 5):
        assert "is a str" in refusal(lambda w=wrong: store.search(ONE[0], text=w, limit=1))
    for wrong in (["x"], [None], 5):
        said = refusal(lambda w=wrong: store.add(w, ONE))
        assert "Passage is stored" in said or "in a list" in said
    assert "in a list" in refusal(lambda: store.get(None))  # type: ignore[arg-type]
