"""A collection gets the vectors of another model, from its stored texts, and loses nothing."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

import numpy as np
import pytest
from numpy.typing import NDArray

from voicerag_core import EmbeddingMismatchError, Passage, StoreError
from voicerag_core.rag import embed_passages
from voicerag_core.store import PgVectorStore, list_collections, reembed
from voicerag_core.store.reembedding import UNFINISHED
from voicerag_core.testing import FakeEmbedder
from voicerag_core.types import Embeddings

OLD, NEW = FakeEmbedder(dim=8), FakeEmbedder(dim=12)
DOCUMENTS = {
    f"file-{number}.txt": [
        Passage(f"{number}-{part}", f"Text {part} of file {number}. It has two.", {"n": number})
        for part in range(number + 1)
    ]
    for number in range(4)
}
LOOSE = [Passage(f"loose-{number}", f"A loose text {number}.", {}) for number in range(70)]


class KilledError(Exception):
    pass


def vectors(
    embedder: FakeEmbedder, passages: Sequence[Passage]
) -> tuple[Embeddings, NDArray[np.int64]]:
    return embed_passages(embedder, passages, sentences=True)


def opened(dsn: str, name: str, embedder: FakeEmbedder, model: str) -> PgVectorStore:
    return PgVectorStore.open(dsn, collection=name, tenant="ada", model_id=model, dim=embedder.dim)


@pytest.fixture
def name(dsn: str) -> str:
    """A collection with documents and loose passages."""
    made = f"kb-{uuid4().hex[:8]}"
    with opened(dsn, made, OLD, "old") as store:
        for source, passages in DOCUMENTS.items():
            rows, owners = vectors(OLD, passages)
            store.replace_document(source, f"digest of {source}", passages, rows, owners=owners)
        rows, owners = vectors(OLD, LOOSE)
        store.add(LOOSE, rows, owners=owners)
    return made


def again(dsn: str, name: str, *, stop_after: int | None = None, model: str = "new") -> int:
    calls = 0

    def embed(passages: Sequence[Passage]) -> tuple[Embeddings, NDArray[np.int64]]:
        nonlocal calls
        calls += 1
        if stop_after is not None and calls > stop_after:
            raise KilledError
        return vectors(NEW, passages)

    return reembed(dsn, collection=name, tenant="ada", model_id=model, dim=NEW.dim, embed=embed)


def content(dsn: str, name: str, embedder: FakeEmbedder, model: str) -> object:
    ids = [p.id for passages in (*DOCUMENTS.values(), LOOSE) for p in passages]
    with opened(dsn, name, embedder, model) as store:
        found = {p.id: p for p in store.get([*ids, "late"])}
        return found, store.document_digests(), store.count()


def names(dsn: str, name: str) -> set[str]:
    return {one.name for one in list_collections(dsn, tenant="ada") if one.name.startswith(name)}


def test_the_collection_has_the_vectors_of_the_new_model(dsn: str, name: str) -> None:
    before = content(dsn, name, OLD, "old")
    assert again(dsn, name) == 80
    assert content(dsn, name, NEW, "new") == before
    assert names(dsn, name) == {name}
    with opened(dsn, name, NEW, "new") as store:
        wanted = DOCUMENTS["file-3.txt"][2]
        hit = store.search(NEW.embed_passages([wanted.text])[0], limit=1)[0]
        assert hit.passage == wanted
        assert hit.score > 0.99
    with pytest.raises(EmbeddingMismatchError), opened(dsn, name, OLD, "old"):
        pass
    assert again(dsn, name) == 0, "it is done"


@pytest.mark.parametrize("stop_after", [0, 2, 4, 5])
def test_a_run_that_was_killed_loses_nothing_and_goes_on(
    dsn: str, name: str, stop_after: int
) -> None:
    before = content(dsn, name, OLD, "old")
    with pytest.raises(KilledError):
        again(dsn, name, stop_after=stop_after)
    assert content(dsn, name, OLD, "old") == before
    assert names(dsn, name) == {name, name + UNFINISHED}
    with opened(dsn, name + UNFINISHED, NEW, "new") as store:
        kept = store.count()
    todo = 80 - kept
    embedded: list[Passage] = []

    def embed(passages: Sequence[Passage]) -> tuple[Embeddings, NDArray[np.int64]]:
        embedded.extend(passages)
        return vectors(NEW, passages)

    reembed(dsn, collection=name, tenant="ada", model_id="new", dim=NEW.dim, embed=embed)
    assert len(embedded) == todo
    assert content(dsn, name, NEW, "new") == before


def test_what_is_written_meanwhile_is_not_lost(dsn: str, name: str) -> None:
    wrote: list[str] = []
    late = Passage("late", "Written while the others were embedded.", {})

    def embed(passages: Sequence[Passage]) -> tuple[Embeddings, NDArray[np.int64]]:
        if len(passages) < 10 and passages[0].id.startswith("loose") and not wrote:
            wrote.append("once")
            with opened(dsn, name, OLD, "old") as store:
                rows, owners = vectors(OLD, [late])
                store.add([late], rows, owners=owners)
                store.delete(["loose-0"])
                store.remove_documents(["file-0.txt"])
                changed = [Passage("1-0", "Another text.", {"n": 1})]
                rows, owners = vectors(OLD, changed)
                store.replace_document("file-1.txt", "changed", changed, rows, owners=owners)
                same = Passage("2-0", "Changed, and the digest is the same.", {"n": 2})
                rows, owners = vectors(OLD, [same])
                store.add([same], rows, owners=owners)
            before.append(content(dsn, name, OLD, "old"))
        return vectors(NEW, passages)

    before: list[object] = []
    reembed(dsn, collection=name, tenant="ada", model_id="new", dim=NEW.dim, embed=embed)
    assert wrote
    assert content(dsn, name, NEW, "new") == before[0]


def test_a_third_model_begins_anew(dsn: str, name: str) -> None:
    with pytest.raises(KilledError):
        again(dsn, name, stop_after=2)
    assert again(dsn, name, model="third") == 80
    assert names(dsn, name) == {name}


def test_a_collection_that_is_not_there_is_named(dsn: str) -> None:
    with pytest.raises(StoreError, match="no collection 'nothing'"):
        again(dsn, "nothing")
