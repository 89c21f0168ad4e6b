"""Collections that are searched by vectors alone keep nothing of their words, whatever is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from tests.conftest import new_database
from voicerag_core.errors import StoreError
from voicerag_core.filters import And, Eq
from voicerag_core.store import PgVectorStore, list_collections, migrate, reembed
from voicerag_core.store.backups import backup, restore, verify
from voicerag_core.testing.stores import WIDTH
from voicerag_core.types import Embedding, Embeddings, Passage

TEXTS = {
    "tower": "The tower of Pisa leans.",
    "lake": "Lake Constance is deep.",
    "capital": "Bern is a capital.",
}
PASSAGES = [Passage(key, text, {"n": n}) for n, (key, text) in enumerate(TEXTS.items())]


def opened(
    dsn: str,
    tenant: str,
    words: bool | None = None,
    **options: Any,
) -> PgVectorStore:
    return PgVectorStore.open(
        dsn, tenant=tenant, model_id="test", dim=WIDTH, words=words, **options
    )


def axis(number: int) -> Embedding:
    row: Embedding = np.eye(WIDTH, dtype=np.float32)[number]
    return row


def vectors(count: int) -> Embeddings:
    return np.stack([axis(number) for number in range(count)])


def kept(dsn: str, tenant: str) -> dict[str, int]:
    """How many passages have words, and how many words are counted."""
    with psycopg.connect(dsn) as connection:
        counted = {
            name: connection.execute(
                f"SELECT count({column}) FROM voicerag.{name} WHERE tenant = %s".encode(), (tenant,)
            ).fetchone()
            for name, column in (("passages", "words"), ("lexemes", "*"), ("vocabulary", "*"))
        }
    return {name: int(row[0]) for name, row in counted.items() if row}


@pytest.fixture
def store(dsn: str, tenant: str) -> Iterator[PgVectorStore]:
    with opened(dsn, tenant, words=False) as made:
        yield made


@pytest.mark.parametrize("first_load", [False, True])
def test_no_write_keeps_words(
    dsn: str, tenant: str, store: PgVectorStore, *, first_load: bool
) -> None:
    none = {"passages": 0, "lexemes": 0, "vocabulary": 0}
    with store.bulk_load() if first_load else nullcontext():
        assert store.add(PASSAGES, vectors(3)) == 3
        assert store.add(PASSAGES, vectors(3)) == 0, "unchanged ones are not written again"
        changed = Passage("lake", "Lake Geneva is long.", {"title": "Lakes"})
        assert store.add([changed], vectors(1)) == 1
        document = [Passage("a", "First part"), Passage("b", "Second part")]
        assert store.replace_document("doc", "1", document, vectors(2)) == 2
    assert kept(dsn, tenant) == none
    assert store.get(["lake", "a"]) == [changed, document[0]]
    assert store.vocabulary().words == ()
    assert store.remove_documents(["doc"]) == 2
    assert store.delete(where=And(())) == 3
    assert kept(dsn, tenant) == none


def test_a_search_by_vector_and_text_is_one_by_the_vector(store: PgVectorStore) -> None:
    store.add(PASSAGES, vectors(3))
    question = "How deep is Lake Constance?"
    for where in (None, Eq("n", 0)):
        hits = store.search(axis(0), text=question, limit=1, where=where)
        assert hits == store.search(axis(0), limit=1, where=where)
        assert [(hit.passage.id, hit.matched_by) for hit in hits] == [("tower", ("vector",))]


def test_a_search_by_words_alone_is_refused(store: PgVectorStore) -> None:
    store.add(PASSAGES, vectors(3))
    with pytest.raises(StoreError, match="'default' was made without a search by words"):
        store.search(None, text="Lake Constance", limit=1)


def test_a_text_of_more_words_than_are_indexed_is_stored(
    store: PgVectorStore, caplog: pytest.LogCaptureFixture
) -> None:
    long = Passage("long", " ".join(f"w{n}" for n in range(150_000)))
    store.add([long], vectors(1))
    assert store.get(["long"]) == [long]
    assert not caplog.records, "nothing is said about words that are left out"


@pytest.mark.parametrize("made", [None, True, False])
def test_the_choice_is_kept_and_another_refused(
    dsn: str, tenant: str,
    made: bool | None,
) -> None:  # fmt: skip
    has_words = made is not False
    opened(dsn, tenant, words=made).close()
    (info,) = list_collections(dsn, tenant=tenant)
    assert info.words is has_words, "a collection has words unless it is said"
    for same in (None, has_words):
        with opened(dsn, tenant, words=same) as store:
            store.add(PASSAGES, vectors(3))
    assert kept(dsn, tenant)["passages"] == 3 * has_words
    how, other = ("with", "without") if has_words else ("without", "with")
    for read_only in (False, True):
        with pytest.raises(StoreError, match=f"made {how} a search by words, and one {other} it"):
            opened(dsn, tenant, words=not has_words, read_only=read_only)


def test_no_language_is_refused_where_there_are_no_words(dsn: str, tenant: str) -> None:
    opened(dsn, tenant, words=False, language="german").close()
    opened(dsn, tenant, language="english").close()


def test_a_collection_beside_it_keeps_its_words(
    dsn: str, tenant: str, store: PgVectorStore
) -> None:
    with opened(dsn, tenant, collection="other") as other:
        for one in (store, other):
            one.add(PASSAGES, vectors(3))
        store.delete(["lake"])
        assert dict(other.vocabulary().words)["Constance"] == 1
        (hit,) = other.search(None, text="Constance", limit=1)
        assert (hit.passage.id, hit.matched_by) == ("lake", ("words",))


def test_a_backup_keeps_the_choice(server: str, tmp_path: Path) -> None:
    dsn, again = new_database(server), new_database(server)
    migrate(dsn)
    with opened(dsn, "ada", words=False) as store:
        store.add(PASSAGES, vectors(3))
    backup(dsn, tmp_path / "kb.zip")
    restore(again, tmp_path / "kb.zip")
    assert not verify(tmp_path / "kb.zip", again).differences
    with opened(again, "ada", words=False) as store:
        assert store.add([Passage("new", "One more")], vectors(1)) == 1
        assert store.vocabulary().words == ()
    assert kept(again, "ada")["passages"] == 0
    assert {one.table for one in verify(tmp_path / "kb.zip", again).differences} == {
        "collections", "passages", "vectors",
    }  # fmt: skip


def test_vectors_of_another_model_keep_the_choice(dsn: str, tenant: str) -> None:
    with opened(dsn, tenant, words=False) as store:
        store.add(PASSAGES, vectors(3))
    done = reembed(
        dsn, collection="default", tenant=tenant, model_id="new", dim=WIDTH,
        embed=lambda passages: (vectors(len(passages)), np.arange(len(passages))),
    )  # fmt: skip
    (info,) = list_collections(dsn, tenant=tenant)
    assert (done, info.model_id, info.words) == (3, "new", False)
    assert kept(dsn, tenant) == {"passages": 0, "lexemes": 0, "vocabulary": 0}
