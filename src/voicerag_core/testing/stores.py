"""A store in memory, and the contract suites of the two store ports.

The suites need nothing but their fixture: subclass one under a name that starts with ``Test``,
define ``store``, an empty store for vectors of width `WIDTH`, and pytest checks your
implementation.
"""

from __future__ import annotations

import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicerag_core.errors import EmbeddingMismatchError, FilterError, StoreError
from voicerag_core.filters import (
    And,
    AnyOf,
    Contains,
    Eq,
    Exists,
    Filter,
    Ge,
    In,
    Like,
    Lt,
    Ne,
    Not,
    NotIn,
    Or,
    matches,
)
from voicerag_core.ports import DocumentStore, PassageStore
from voicerag_core.types import Embedding, Embeddings, Hit, JSONValue, MatchedBy, Passage

__all__ = ["WIDTH", "DocumentStoreContract", "InMemoryStore", "PassageStoreContract"]

WIDTH = 8
"""Width of the vectors that the contract suites use."""

_SATURATION = 0.6  # k1 of BM25
_LENGTH_WEIGHT = 0.6  # b of BM25
_ROUNDING = 1e-5
_TOLERANCE = 0.004  # a store may keep float16


@dataclass(frozen=True, slots=True)
class _Entry:
    passage: Passage
    vectors: Embeddings
    document: str | None


class InMemoryStore:
    """Keeps everything in a dict and searches exhaustively; exact, and not persistent.

    Thread-safe. Words are matched without stemming.

    Args:
        dim: Width of the vectors.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._entries: dict[str, _Entry] = {}
        self._digests: dict[str, str] = {}
        self._lock = threading.RLock()

    def add(
        self,
        passages: Sequence[Passage],
        embeddings: Embeddings,
        *,
        owners: NDArray[np.int64] | None = None,
    ) -> int:
        """Insert or replace passages by id; see `PassageStore.add`."""
        with self._lock:
            return self._put(passages, embeddings, owners, None)

    def search(
        self,
        embedding: Embedding | None,
        *,
        text: str | None = None,
        limit: int,
        where: Filter | None = None,
        min_score: float | None = None,
        with_vectors: bool = False,
        ids: Sequence[str] | None = None,
    ) -> tuple[Hit, ...]:
        """Find the best passages; see `PassageStore.search`."""
        if limit < 1:
            raise StoreError(f"a search gives at least 1 passage; limit is {limit}")
        if embedding is None and (text is None or min_score is not None):
            raise StoreError("a search needs an embedding or a text, and min_score an embedding")
        if embedding is not None and embedding.shape != (self.dim,):
            raise EmbeddingMismatchError(
                f"the store holds vectors of width {self.dim}, not {list(embedding.shape)}"
            )
        entries = self._chosen(where)
        if ids is not None:
            entries = {key: entries[key] for key in ids if key in entries}
        near = {}
        if embedding is not None:
            near = {key: _cosine((e.vectors @ embedding).max()) for key, e in entries.items()}
        shares = {} if text is None else _word_shares(text, entries)
        fused = {key: near.get(key, 0.0) + shares.get(key, 0.0) for key in near or shares}
        best = sorted(fused, key=lambda key: (-fused[key], key))
        if min_score is not None:
            best = [key for key in best if near[key] >= min_score]
        return tuple(
            Hit(
                entries[key].passage,
                near.get(key, shares.get(key, 0.0)),
                rank,
                _ways(vector=key in near, words=key in shares),
                _nearest(entries[key].vectors, embedding) if with_vectors else None,
            )
            for rank, key in enumerate(best[:limit], start=1)
        )

    def search_many(
        self, embeddings: Embeddings, *, limit: int, where: Filter | None = None
    ) -> list[tuple[Hit, ...]]:
        """Search for each of N rows; see `PassageStore.search_many`."""
        return [self.search(row, limit=limit, where=where) for row in embeddings]

    def get(self, ids: Sequence[str]) -> list[Passage]:
        """Return the existing passages with these ids, in the order of `ids`."""
        with self._lock:
            return [self._entries[key].passage for key in ids if key in self._entries]

    def delete(self, ids: Sequence[str] | None = None, *, where: Filter | None = None) -> int:
        """Delete the passages that match ids and filter, and return how many were deleted."""
        if ids is None and where is None:
            raise StoreError("delete needs ids or a filter; And(()) deletes everything")
        with self._lock:
            doomed = [key for key in self._chosen(where) if ids is None or key in ids]
            for key in doomed:
                del self._entries[key]
            return len(doomed)

    def count(self, *, where: Filter | None = None) -> int:
        """Count passages."""
        return len(self._chosen(where))

    def document_digests(self) -> Mapping[str, str]:
        """Return the digest of every document, by source."""
        with self._lock:
            return dict(self._digests)

    def replace_document(
        self,
        source: str,
        digest: str,
        passages: Sequence[Passage],
        embeddings: Embeddings,
        *,
        owners: NDArray[np.int64] | None = None,
    ) -> int:
        """Make these the only passages of a document; see `DocumentStore.replace_document`."""
        with self._lock:
            changed = self._put(passages, embeddings, owners, source)
            kept = {passage.id for passage in passages}
            self._digests[source] = digest
            return changed + self._forget({source}, kept)

    def remove_documents(self, sources: Sequence[str]) -> int:
        """Delete documents with their passages, and return how many passages went."""
        with self._lock:
            for source in sources:
                self._digests.pop(source, None)
            return self._forget(set(sources), set())

    def _put(
        self,
        passages: Sequence[Passage],
        embeddings: Embeddings,
        owners: NDArray[np.int64] | None,
        document: str | None,
    ) -> int:
        if embeddings.ndim != 2 or embeddings.shape[1] != self.dim:  # noqa: PLR2004 - [M, D]
            raise EmbeddingMismatchError(
                f"the store holds vectors of width {self.dim}, not of shape "
                f"{list(embeddings.shape)}"
            )
        owned_by = np.arange(len(passages)) if owners is None else owners
        if len(owned_by) != len(embeddings) or set(owned_by) != set(range(len(passages))):
            raise StoreError("every vector needs a passage, and every passage a vector")
        if not np.isfinite(embeddings).all():
            raise StoreError("an embedding holds a value that is not finite")
        latest = {p.id: (p, embeddings[owned_by == i].copy()) for i, p in enumerate(passages)}
        changed = 0
        for key, (passage, vectors) in latest.items():
            old = self._entries.get(key)
            entry = _Entry(passage, vectors, document or (old.document if old else None))
            if old is None or not _same(old, entry):
                self._entries[key] = entry
                changed += 1
        return changed

    def _forget(self, sources: set[str], kept: set[str]) -> int:
        doomed = [
            key
            for key, entry in self._entries.items()
            if entry.document in sources and key not in kept
        ]
        for key in doomed:
            del self._entries[key]
        return len(doomed)

    def _chosen(self, where: Filter | None) -> dict[str, _Entry]:
        with self._lock:
            return {
                key: entry
                for key, entry in self._entries.items()
                if where is None or matches(where, entry.passage.metadata)
            }


def _same(old: _Entry, new: _Entry) -> bool:
    return (
        old.passage == new.passage
        and old.document == new.document
        and np.array_equal(old.vectors, new.vectors)
    )


def _cosine(product: float) -> float:
    """Return the cosine of two unit vectors, 1 for equal ones in spite of rounding."""
    return 1.0 if product >= 1 - _ROUNDING else float(product)


def _nearest(vectors: Embeddings, embedding: Embedding | None) -> Embedding:
    nearest: Embedding = vectors[0 if embedding is None else int((vectors @ embedding).argmax())]
    return nearest


def _ways(*, vector: bool, words: bool) -> tuple[MatchedBy, ...]:
    ways: list[tuple[MatchedBy, bool]] = [("vector", vector), ("words", words)]
    return tuple(way for way, found in ways if found)


def _terms(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _searched_words(passage: Passage) -> list[str]:
    path = passage.metadata.get("path")
    lead = passage.metadata.get("lead")
    names = [passage.metadata.get("title"), *(path if isinstance(path, list) else ()), lead]
    return _terms(" ".join([*(name for name in names if isinstance(name, str)), passage.text]))


def _word_shares(text: str, entries: Mapping[str, _Entry]) -> dict[str, float]:
    """Return the share of the text's words that each passage holds that holds any; see `Hit`.

    BM25 over its greatest possible value: Robertson and Zaragoza 2009, section 3.4.
    """
    held = {key: Counter(_searched_words(entry.passage)) for key, entry in entries.items()}
    frequency = Counter(word for words in held.values() for word in words)
    weight = {word: math.log(1 + len(held) / max(frequency[word], 1)) for word in set(_terms(text))}
    whole = sum(weight.values())
    mean = sum(map(len, held.values())) / max(len(held), 1)
    shares = {}
    for key, words in held.items():
        dampened = _SATURATION * (1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * len(words) / max(mean, 1))
        parts = [
            weight[word] * words[word] / (words[word] + dampened)
            for word in weight.keys() & words.keys()
        ]
        if parts:
            shares[key] = sum(parts) / whole
    return shares


def _axis(index: int, lean: float = 0.0) -> Embedding:
    """Return the unit vector of an axis, leaning towards the next one."""
    vector = np.zeros(WIDTH, np.float32)
    vector[index] = 1.0
    vector[(index + 1) % WIDTH] += lean
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _rows(*vectors: Embedding) -> Embeddings:
    return np.stack(vectors) if vectors else np.zeros((0, WIDTH), np.float32)


def _ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.passage.id for hit in hits]


def _refused(kind: type[Exception], call: Callable[[], object]) -> str:
    try:
        given = call()
    except kind as error:
        return str(error)
    raise AssertionError(f"gave {given!r} instead of raising {kind.__name__}")


_LAKE = Passage("lake", "The lake is deep and cold.", {"kind": "water", "depth": 120, "of": ["a"]})
_RIVER = Passage("river", "The river is long.", {"kind": "water", "depth": 4.5, "of": ["a", "b"]})
_TOWER = Passage("tower", "O'Brien's tower is über alles high.", {"kind": "O'Brien", "ok": True})


def _fill(store: PassageStore) -> None:
    changed = store.add([_LAKE, _RIVER, _TOWER], _rows(_axis(0), _axis(1), _axis(2)))
    assert changed == 3  # noqa: PLR2004


class PassageStoreContract:
    """The rules of `voicerag_core.ports.PassageStore`.

    Fixture to give: ``store``, an empty store for vectors of width `WIDTH`.
    """

    def test_what_was_added_is_found_best_first(self, store: PassageStore) -> None:
        _fill(store)
        hits = store.search(_axis(0, 0.5), limit=2)
        assert _ids(hits) == ["lake", "river"]
        assert abs(hits[0].score - 0.894) < _TOLERANCE
        assert [hit.rank for hit in hits] == [1, 2]
        assert hits[0].passage == _LAKE
        assert hits[0].matched_by == ("vector",)
        assert hits[0].embedding is None

    def test_an_empty_store_finds_nothing(self, store: PassageStore) -> None:
        assert store.search(_axis(0), limit=3) == ()
        assert store.search(_axis(0), text="lake", limit=3) == ()
        assert store.search_many(_rows(), limit=3) == []
        assert store.count() == 0
        assert store.get(["lake"]) == []

    def test_nothing_added_changes_nothing(self, store: PassageStore) -> None:
        assert store.add([], _rows()) == 0

    def test_adding_again_changes_nothing(self, store: PassageStore) -> None:
        _fill(store)
        assert store.add([_LAKE, _RIVER], _rows(_axis(0), _axis(1))) == 0
        assert store.count() == 3  # noqa: PLR2004

    def test_a_changed_passage_replaces_the_old_one(self, store: PassageStore) -> None:
        _fill(store)
        changed = Passage("lake", "The lake is dry.", {"kind": "sand"})
        assert store.add([changed, _RIVER], _rows(_axis(5), _axis(1))) == 1
        assert store.get(["lake"]) == [changed]
        assert _ids(store.search(_axis(5), limit=1)) == ["lake"]
        assert store.search(_axis(0), limit=1)[0].score < 0.1  # noqa: PLR2004

    def test_of_a_repeated_id_the_last_stays(self, store: PassageStore) -> None:
        later = Passage("lake", "Another lake.", {})
        assert store.add([_LAKE, later], _rows(_axis(0), _axis(3))) == 1
        assert store.get(["lake"]) == [later]
        assert _ids(store.search(_axis(3), limit=1, min_score=0.9)) == ["lake"]

    def test_a_passage_with_several_vectors_is_found_once(self, store: PassageStore) -> None:
        owners = np.array([0, 1, 0, 0], np.int64)
        vectors = _rows(_axis(0), _axis(1), _axis(0, 0.1), _axis(4))
        assert store.add([_LAKE, _RIVER], vectors, owners=owners) == 2  # noqa: PLR2004
        hits = store.search(_axis(0, 0.1), limit=5)
        assert _ids(hits) == ["lake", "river"]
        assert hits[0].score > 1 - _TOLERANCE
        nearest = store.search(_axis(4), limit=1, with_vectors=True)[0].embedding
        assert nearest is not None
        assert np.allclose(nearest, _axis(4), atol=_TOLERANCE)

    def test_one_passage_with_many_vectors_hides_no_other(self, store: PassageStore) -> None:
        crowd = _rows(*(_axis(0, 0.001 * i) for i in range(200)), _axis(1), _axis(2))
        owners = np.array([0] * 200 + [1, 2], np.int64)
        store.add([_LAKE, _RIVER, _TOWER], crowd, owners=owners)
        assert set(_ids(store.search(_axis(0), limit=3))) == {"lake", "river", "tower"}

    def test_fewer_vectors_than_before_leave_none_behind(self, store: PassageStore) -> None:
        owners = np.array([0, 0], np.int64)
        store.add([_LAKE], _rows(_axis(0), _axis(4)), owners=owners)
        assert store.add([_LAKE], _rows(_axis(0))) == 1
        assert store.search(_axis(4), limit=1)[0].score < 0.1  # noqa: PLR2004

    def test_a_bound_of_one_lets_equal_vectors_through(self, store: PassageStore) -> None:
        rows = np.random.default_rng(3).standard_normal((20, WIDTH)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        store.add([Passage(str(place), "a text") for place in range(20)], rows)
        for place, row in enumerate(rows):
            (hit,) = store.search(row, limit=3, min_score=1.0)
            assert (hit.passage.id, hit.score) == (str(place), 1.0)

    def test_a_search_finds_none_but_the_ids_asked_for(self, store: PassageStore) -> None:
        _fill(store)
        asked = ["tower", "river", "absent"]
        for text in (None, "lake river"):
            hits = store.search(_axis(0), text=text, limit=3, ids=asked)
            assert set(_ids(hits)) == {"tower", "river"}
        assert _ids(store.search(None, text="lake river", limit=3, ids=asked)) == ["river"]
        assert _ids(store.search(_axis(0), limit=3, ids=asked, where=Eq("kind", "water"))) == [
            "river"
        ]
        assert store.search(_axis(0), limit=3, ids=[]) == ()

    def test_vectors_of_another_width_are_refused(self, store: PassageStore) -> None:
        wide = np.ones((1, WIDTH + 1), np.float32)
        _refused(EmbeddingMismatchError, lambda: store.add([_LAKE], wide))
        _refused(EmbeddingMismatchError, lambda: store.search(wide[0], limit=1))
        assert store.count() == 0

    def test_what_does_not_fit_is_refused_whole(self, store: PassageStore) -> None:
        bad = _axis(0).copy()
        bad[3] = np.nan
        _refused(StoreError, lambda: store.add([_LAKE, _RIVER], _rows(_axis(0), bad)))
        _refused(StoreError, lambda: store.add([_LAKE, _RIVER], _rows(_axis(0))))
        lonely = np.array([0, 0], np.int64)
        both = _rows(_axis(0), _axis(1))
        _refused(StoreError, lambda: store.add([_LAKE, _RIVER], both, owners=lonely))
        _refused(StoreError, lambda: store.search(_axis(0), limit=0))
        _refused(StoreError, lambda: store.search(None, limit=1))
        assert store.count() == 0

    def test_a_least_score_leaves_the_rest_out(self, store: PassageStore) -> None:
        _fill(store)
        near = _axis(0, 0.5)
        assert _ids(store.search(near, limit=3, min_score=0.8)) == ["lake"]
        assert store.search(near, limit=3, min_score=0.95) == ()
        assert _ids(store.search(near, text="river", limit=3, min_score=0.8)) == ["lake"]

    def test_words_find_what_vectors_do_not(self, store: PassageStore) -> None:
        _fill(store)
        hits = store.search(_axis(0), text="What about the tower?", limit=3)
        by_id = {hit.passage.id: hit for hit in hits}
        assert set(_ids(hits[:2])) == {"lake", "tower"}
        assert "words" in by_id["tower"].matched_by
        assert "vector" in by_id["lake"].matched_by

    def test_scores_are_cosines_however_a_passage_was_found(self, store: PassageStore) -> None:
        owners = np.array([0, 1, 2, 2], np.int64)
        vectors = _rows(_axis(0), _axis(1), _axis(4), _axis(2))
        store.add([_LAKE, _RIVER, _TOWER], vectors, owners=owners)
        question = np.zeros(WIDTH, np.float32)
        question[:3] = 0.6, 0.64, 0.48
        expected = {"lake": 0.6, "river": 0.64, "tower": 0.48}
        for text, first in ((None, "river"), ("O'Brien's tower", "tower"), ("deep lake", "lake")):
            hits = store.search(question, text=text, limit=3)
            assert _ids(hits)[0] == first
            assert [hit.rank for hit in hits] == [1, 2, 3]
            for hit in hits:
                assert abs(hit.score - expected[hit.passage.id]) < _TOLERANCE

    def test_a_passage_that_only_words_find_has_its_cosine(self, store: PassageStore) -> None:
        crowd = [Passage(f"c{number}", "A crowd in a square.") for number in range(60)]
        store.add(crowd, _rows(*(_axis(0, 0.001 * number) for number in range(60))))
        owners = np.array([0, 0], np.int64)
        store.add([_TOWER], _rows(_axis(4), _axis(1)), owners=owners)
        question = np.zeros(WIDTH, np.float32)
        question[[0, 1, 6]] = 0.5, 0.45, (1 - 0.5**2 - 0.45**2) ** 0.5
        hit = store.search(question, text="tower", limit=2)[0]
        assert hit.passage.id == "tower"
        assert "words" in hit.matched_by
        assert abs(hit.score - 0.45) < _TOLERANCE
        assert "tower" not in _ids(store.search(question, text="tower", limit=2, min_score=0.47))
        assert "tower" in _ids(store.search(question, text="tower", limit=2, min_score=0.43))

    def test_words_alone_find_too(self, store: PassageStore) -> None:
        _fill(store)
        hits = store.search(None, text="tower", limit=3)
        assert _ids(hits) == ["tower"]
        assert hits[0].matched_by == ("words",)
        assert hits[0].rank == 1
        assert 0 < hits[0].score <= 1
        assert store.search(None, text="unheard", limit=3) == ()

    def test_title_headings_and_announcement_are_searched(self, store: PassageStore) -> None:
        told: dict[str, JSONValue] = {
            "title": "Staff handbook",
            "path": ["Benefits", "Parental leave"],
            "lead": "Ask one of these:",
        }
        store.add([Passage("told", "Mira, Tom.", told), _RIVER], _rows(_axis(0), _axis(1)))
        for text in ("handbook", "benefits", "parental", "ask", "Mira"):
            assert _ids(store.search(None, text=text, limit=2)) == ["told"], text
        odd: dict[str, JSONValue] = {"title": 7, "path": "x", "lead": None}
        store.add([Passage("odd", "Mira.", odd)], _rows(_axis(2)))
        assert set(_ids(store.search(None, text="Mira", limit=2))) == {"told", "odd"}

    def test_a_short_passage_holds_more_of_a_word_than_a_long_one(
        self, store: PassageStore
    ) -> None:
        long = "Among oaks, elms, birches, ashes, limes, poplars and pines the lynx hides well."
        texts = [Passage("long", long), Passage("short", "The lynx hides."), _LAKE, _RIVER]
        store.add(texts, _rows(*(_axis(number) for number in range(4))))
        assert _ids(store.search(None, text="lynx", limit=2)) == ["short", "long"]

    def test_no_text_is_too_odd(self, store: PassageStore) -> None:
        _fill(store)
        for odd in (
            "",
            "   ",
            "' & | ! : * ( <->",
            "\\'",
            "qq\0zz",
            "%% %(zz)d {}",
            "é" * 5000,
            "你",
        ):
            assert len(store.search(_axis(0), text=odd, limit=1)) == 1
            assert store.search(None, text=odd, limit=1) == ()

    def test_filters_choose(self, store: PassageStore) -> None:
        _fill(store)
        expected: list[tuple[Filter, set[str]]] = [
            (Eq("kind", "water"), {"lake", "river"}),
            (Eq("kind", "O'Brien"), {"tower"}),
            (Eq("kind", "x' OR '1'='1"), set()),
            (Ne("kind", "water"), {"tower"}),
            (Lt("depth", 10), {"river"}),
            (Ge("depth", 4.5), {"lake", "river"}),
            (In("depth", (120, "4.5")), {"lake"}),
            (NotIn("depth", (120,)), {"river", "tower"}),
            (Exists("ok"), {"tower"}),
            (Eq("ok", 1), set()),
            (Contains("of", "b"), {"river"}),
            (AnyOf("of", ("b", "a")), {"lake", "river"}),
            (Like("kind", "wat%"), {"lake", "river"}),
            (And((Eq("kind", "water"), Not(Eq("depth", 120)))), {"river"}),
            (Or((Eq("ok", value=True), Eq("depth", 120))), {"lake", "tower"}),
            (And(()), {"lake", "river", "tower"}),
            (Or(()), set()),
        ]
        for where, ids in expected:
            assert set(_ids(store.search(_axis(0), limit=9, where=where))) == ids, where
            assert set(_ids(store.search(_axis(0), text="the", limit=9, where=where))) == ids
            assert store.count(where=where) == len(ids)

    def test_a_filter_without_meaning_is_refused(self, store: PassageStore) -> None:
        _refused(FilterError, lambda: store.count(where=Eq("", 1)))

    def test_many_searches_equal_one_by_one(self, store: PassageStore) -> None:
        _fill(store)
        questions = _rows(_axis(0, 0.3), _axis(1), _axis(2, 0.9))
        for where in (None, Eq("kind", "water")):
            together = store.search_many(questions, limit=2, where=where)
            assert together == [store.search(row, limit=2, where=where) for row in questions]

    def test_passages_come_in_the_order_asked(self, store: PassageStore) -> None:
        _fill(store)
        assert store.get(["tower", "absent", "lake"]) == [_TOWER, _LAKE]

    def test_deleting_by_id_and_by_filter(self, store: PassageStore) -> None:
        _fill(store)
        assert store.delete(["tower", "absent"]) == 1
        assert store.delete(["lake", "river"], where=Eq("depth", 120)) == 1
        assert store.get(["lake", "river", "tower"]) == [_RIVER]
        assert store.delete(where=And(())) == 1
        assert store.count() == 0
        assert store.search(_axis(0), limit=3) == ()

    def test_deleting_by_nothing_is_refused(self, store: PassageStore) -> None:
        _fill(store)
        _refused(StoreError, store.delete)
        assert store.delete([]) == 0
        assert store.count() == 3  # noqa: PLR2004

    def test_threads_may_share_it(self, store: PassageStore) -> None:
        def work(number: int) -> int:
            mine = [Passage(f"{number}-{i}", f"text {i}", {"by": number}) for i in range(5)]
            store.add(mine, _rows(*(_axis(i) for i in range(5))))
            store.search(_axis(1), limit=3)
            return store.count(where=Eq("by", number))

        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(work, range(8))) == [5] * 8
        assert store.count() == 40  # noqa: PLR2004


class DocumentStoreContract:
    """The rules of `voicerag_core.ports.DocumentStore`.

    Fixture to give: ``store``, an empty `PassageStore` that is a `DocumentStore` too, for vectors
    of width `WIDTH`.
    """

    def test_it_is_one(self, store: DocumentStore) -> None:
        assert isinstance(store, DocumentStore)
        assert store.document_digests() == {}

    def test_a_document_comes_and_goes(self, store: DocumentStore) -> None:
        both = _rows(_axis(0), _axis(1))
        assert store.replace_document("a.txt", "1", [_LAKE, _RIVER], both) == 2  # noqa: PLR2004
        assert store.document_digests() == {"a.txt": "1"}
        assert store.remove_documents(["a.txt", "absent.txt"]) == 2  # noqa: PLR2004
        assert store.document_digests() == {}
        assert _found(store) == set()

    def test_unchanged_passages_are_left_alone(self, store: DocumentStore) -> None:
        both = _rows(_axis(0), _axis(1))
        store.replace_document("a.txt", "1", [_LAKE, _RIVER], both)
        assert store.replace_document("a.txt", "2", [_LAKE, _RIVER], both) == 0
        assert store.document_digests() == {"a.txt": "2"}

    def test_what_the_document_lost_is_deleted(self, store: DocumentStore) -> None:
        store.replace_document("a.txt", "1", [_LAKE, _RIVER], _rows(_axis(0), _axis(1)))
        changed = store.replace_document("a.txt", "2", [_RIVER, _TOWER], _rows(_axis(1), _axis(2)))
        assert changed == 2  # noqa: PLR2004 - one new, one gone
        assert _found(store) == {"river", "tower"}

    def test_a_document_may_become_empty(self, store: DocumentStore) -> None:
        store.replace_document("a.txt", "1", [_LAKE], _rows(_axis(0)))
        assert store.replace_document("a.txt", "2", [], _rows()) == 1
        assert store.document_digests() == {"a.txt": "2"}
        assert _found(store) == set()

    def test_other_documents_and_lone_passages_stay(self, store: DocumentStore) -> None:
        _passages(store).add([_TOWER], _rows(_axis(2)))
        store.replace_document("a.txt", "1", [_LAKE], _rows(_axis(0)))
        store.replace_document("b.txt", "1", [_RIVER], _rows(_axis(1)))
        store.replace_document("a.txt", "2", [], _rows())
        assert _found(store) == {"river", "tower"}
        store.remove_documents(["b.txt"])
        assert _found(store) == {"tower"}

    def test_a_refused_document_leaves_the_old_one(self, store: DocumentStore) -> None:
        store.replace_document("a.txt", "1", [_LAKE], _rows(_axis(0)))
        wide = np.ones((1, WIDTH + 1), np.float32)
        _refused(
            EmbeddingMismatchError, lambda: store.replace_document("a.txt", "2", [_RIVER], wide)
        )
        assert store.document_digests() == {"a.txt": "1"}
        assert _found(store) == {"lake"}

    def test_odd_sources_are_names_like_any_other(self, store: DocumentStore) -> None:
        odd = ["it's", '"%s"', "日本/ファイル", "x" * 5000]
        for number, source in enumerate(odd):
            passage = Passage(str(number), source, {"source": source})
            store.replace_document(source, str(number), [passage], _rows(_axis(number)))
        assert store.document_digests() == {source: str(i) for i, source in enumerate(odd)}
        assert store.remove_documents(odd[:3]) == 3  # noqa: PLR2004


def _passages(store: DocumentStore) -> PassageStore:
    """Take the document store for the passage store that it is too."""
    passages: object = store
    return passages  # type: ignore[return-value]


def _found(store: DocumentStore) -> set[str]:
    return set(_ids(_passages(store).search(_axis(0), limit=9)))
