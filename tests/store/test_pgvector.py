"""What the store on Postgres does beyond the contract of its ports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

from voicerag_core import VoiceRAG
from voicerag_core.errors import EmbeddingMismatchError, StoreError
from voicerag_core.filters import Eq, Filter
from voicerag_core.ingest import FileReport, index_files
from voicerag_core.store import PgVectorStore, list_collections, migrate, upkeep, word_sql
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel
from voicerag_core.testing.stores import WIDTH
from voicerag_core.types import Embeddings, Passage

DIM = 1024
COUNT = 2000


def unit_vectors(count: int, dim: int, seed: int = 0) -> Embeddings:
    """Vectors that lie in a space of few dimensions, as real embeddings do."""
    random = np.random.default_rng(seed)
    basis = np.random.default_rng(99).standard_normal((min(24, dim), dim))
    rows = random.standard_normal((count, len(basis))) @ basis
    unit: Embeddings = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def texts(count: int, start: int = 0) -> list[Passage]:
    return [
        Passage(f"p{i}", f"passage {i} tells of topic {i % 7}", {"i": i, "rare": i % 100 == 7})
        for i in range(start, start + count)
    ]


@pytest.fixture(scope="module")
def vectors() -> Embeddings:
    return unit_vectors(COUNT, DIM)


@pytest.fixture(scope="module")
def large(dsn: str, vectors: Embeddings) -> Iterator[PgVectorStore]:
    """3,000 passages with vectors of 1,024 elements, and an index."""
    with PgVectorStore.open(dsn, tenant="large", model_id="test", dim=DIM) as store:
        store.add(texts(COUNT), vectors)
        assert store.build_index()
        yield store


def exact(vectors: Embeddings, question: np.ndarray[tuple[int], np.dtype[np.float32]]) -> list[str]:
    return [f"p{i}" for i in np.argsort(-(vectors @ question))]


def test_the_planner_uses_the_index(large: PgVectorStore) -> None:
    info = large.index_info()
    assert info.built
    assert info.index is not None, info.plan
    assert f"Index Scan using {info.index} on vectors" in info.plan
    assert (info.passages, info.vectors) == (COUNT, COUNT)
    assert not large.build_index()


def test_vectors_stay_inside_their_rows(large: PgVectorStore, dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        if connection.info.server_version < 170_000:
            pytest.skip("the server does not tell where a value is")
        moved_out = connection.execute(
            "SELECT count(*) FROM voicerag.vectors WHERE tenant = 'large' "
            "AND pg_column_toast_chunk_id(embedding) IS NOT NULL"
        ).fetchone()
    assert moved_out == (0,)
    assert large.count() == COUNT


@pytest.mark.parametrize("where", [None, Eq("rare", value=False), Eq("rare", value=True)])
def test_the_index_recalls(large: PgVectorStore, vectors: Embeddings, where: Filter | None) -> None:
    passing = [where is None or (i % 100 == 7) is where.value for i in range(COUNT)]  # type: ignore[union-attr]
    questions = unit_vectors(40, DIM, seed=1)
    right = 0
    for question, hits in zip(
        questions, large.search_many(questions, limit=10, where=where), strict=True
    ):
        assert len(hits) == 10
        assert hits == large.search(question, limit=10, where=where)
        best = [key for key in exact(vectors, question) if passing[int(key[1:])]][:10]
        right += len(set(best) & {hit.passage.id for hit in hits})
    assert right >= (400 if where == Eq("rare", value=True) else 392)


def test_a_crowd_of_one_passage_hides_no_other_from_the_index(fresh: str, tenant: str) -> None:
    migrate(fresh)  # where other rows are, the planner may compare these few
    others = unit_vectors(2000, 64, seed=2)
    near = others[0] + 0.001 * unit_vectors(3000, 64, seed=3)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    owners = np.array([*range(2000), *([2000] * 3000)], np.int64)
    with PgVectorStore.open(fresh, tenant=tenant, model_id="test", dim=64) as store:
        store.add(texts(2001), np.concatenate([others, near]), owners=owners)
        store.build_index()
        assert store.index_info().index is not None
        hits = store.search(others[0], limit=10)
        expected = exact(others, others[0])[:9]
        assert {hit.passage.id for hit in hits} == {"p2000", *expected}


def test_the_index_comes_by_itself_with_size(
    dsn: str, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "INDEX_FROM", 50)
    rows = unit_vectors(60, WIDTH)
    with (
        PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=WIDTH) as store,
        PgVectorStore.open(dsn, tenant=tenant, model_id="test", dim=WIDTH) as other,
    ):
        store.add(texts(40), rows[:40])
        assert not store.index_info().built
        store.add(texts(20, 40), rows[40:])
        assert store.index_info().built
        assert other.search(rows[50], limit=1)[0].passage.id == "p50"
        assert other.search(rows[50], limit=60)[0].passage.id == "p50"
        assert list_collections(dsn, tenant=tenant)[0].indexed


def test_what_an_ended_load_put_off_is_done_by_a_run_that_finds_nothing_new(
    dsn: str, tenant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first load ended after its rows and before its words were counted and its index built."""
    embedder = FakeEmbedder()
    monkeypatch.setattr(upkeep, "INDEX_FROM", 8)
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text(f"Bird {number} nests in Zanzibar.")

    def run(store: PgVectorStore) -> FileReport:
        return index_files(VoiceRAG(embedder, store, FakeVoiceModel()), [tmp_path])

    def words() -> int:
        with psycopg.connect(dsn) as connection:
            found = connection.execute(
                "SELECT count(*) FROM voicerag.vocabulary WHERE tenant = %s", [tenant]
            ).fetchone()
        assert found is not None
        return int(found[0])

    def opened() -> PgVectorStore:
        return PgVectorStore.open(
            dsn, tenant=tenant, model_id=embedder.model_id, dim=embedder.dim, auto_index=True
        )

    with monkeypatch.context() as ended, opened() as store:
        ended.setattr(upkeep.Upkeep, "finish_load", lambda *_: None)
        assert run(store).new == 8
    assert words() == 0
    with opened() as store:
        assert not store.index_info().built
        again = run(store)
        assert (again.new, again.unchanged, again.passages) == (0, 8, 0)
        assert store.index_info().built
    assert words() > 0


def test_unchanged_rows_are_not_written(dsn: str, tenant: str, store: PgVectorStore) -> None:
    rows = unit_vectors(50, WIDTH)

    def versions() -> list[tuple[object, ...]]:
        with psycopg.connect(dsn) as connection:
            return [
                row
                for table in (
                    "passages",
                    "vectors",
                    "documents",
                    "collections",
                    "lexemes",
                    "vocabulary",
                )
                for row in connection.execute(
                    f"SELECT '{table}', ctid::text, xmin::text FROM voicerag.{table} "
                    "WHERE tenant = %s ORDER BY 2".encode(),
                    (tenant,),
                )
            ]

    store.add(texts(50), rows)
    store.replace_document("a.txt", "1", texts(5, 100), rows[:5])
    before = versions()
    assert store.add(texts(50), rows) == 0
    assert store.replace_document("a.txt", "1", texts(5, 100), rows[:5]) == 0
    assert versions() == before
    changed = [*texts(49), Passage("p49", "another text", {})]
    assert store.add(changed, rows) == 1
    written = Counter(str(row[0]) for row in set(versions()) - set(before))
    assert written.pop("vocabulary") <= 6  # the counts of the words that came and went
    assert written == {"passages": 1, "vectors": 1, "collections": 1}


def test_sizes_are_kept(store: PgVectorStore, dsn: str, tenant: str) -> None:
    rows = unit_vectors(10, WIDTH)
    owners = np.arange(10) // 2
    store.add(texts(5), rows, owners=owners)
    store.add(texts(2), rows[:2])
    store.delete(["p4"])
    store.replace_document("a.txt", "1", texts(3, 3), rows[:3])
    store.remove_documents(["a.txt"])
    (info,) = list_collections(dsn, tenant=tenant)
    assert (info.passages, info.vectors, info.documents) == (3, 4, 0)
    assert store.count() == 3


def test_another_model_or_width_is_refused(store: PgVectorStore, dsn: str, tenant: str) -> None:
    for model_id, dim in (("other", WIDTH), ("test", WIDTH + 1)):
        with pytest.raises(EmbeddingMismatchError, match=r"'test' of width 8.*index again"):
            PgVectorStore.open(dsn, tenant=tenant, model_id=model_id, dim=dim)
    with PgVectorStore.open(
        dsn, tenant=tenant, collection="second", model_id="other", dim=3
    ) as second:
        assert second.count() == store.count() == 0


@pytest.mark.parametrize(("lead", "first"), [(0.5, "b"), (0.58, "b"), (0.64, "a"), (0.8, "a")])
def test_cosine_and_share_of_the_words_are_added(
    store: PgVectorStore, lead: float, first: str
) -> None:
    rows = np.eye(3, WIDTH, dtype=np.float32)
    words = ["alpha and more", "beta and more", "gamma"]
    store.add([Passage(w[:1], w, {}) for w in words], rows)
    question = np.array([0.1 + lead, 0.1, 0.05, 0, 0, 0, 0, 0], np.float32)
    question[3] = np.sqrt(1 - question @ question)
    hits = store.search(question, text="beta", limit=3)
    # The passage holds the whole question and is of average length: ts_rank's 6 / pi^2.
    assert hits[0].passage.id == first
    by_id = {hit.passage.id: hit for hit in hits}
    assert by_id["b"].matched_by == ("vector", "words")
    assert by_id["a"].matched_by == by_id["g"].matched_by == ("vector",)
    scores = [by_id[key].score for key in "abg"]
    assert scores == pytest.approx([0.1 + lead, 0.1, 0.05], abs=1e-3)
    assert [hit.rank for hit in hits] == [1, 2, 3]
    alone = store.search(None, text="beta", limit=3)
    assert [hit.score for hit in alone] == pytest.approx([6 / np.pi**2])


def test_rare_words_count_more_than_common_ones(large: PgVectorStore) -> None:
    asked = "which passage tells of topic 1777"
    assert large.search(None, text=asked, limit=3)[0].passage.id == "p1777"
    far = np.random.default_rng(5).standard_normal(DIM).astype(np.float32)
    far /= np.linalg.norm(far)
    assert large.search(far, limit=1)[0].passage.id != "p1777"
    assert large.search(far, text=asked, limit=1)[0].passage.id == "p1777"


def test_a_nearest_passage_without_the_rarest_word_is_weighed_too(
    store: PgVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_sql, "WORD_CANDIDATES", 1)
    common = [Passage(f"c{i}", f"harbour number{i}", {}) for i in range(30)]
    store.add([*common, Passage("r", "lighthouse", {})], unit_vectors(31, WIDTH))
    question = unit_vectors(31, WIDTH)[3]
    hits = store.search(question, text="lighthouse harbour", limit=4)
    assert hits[0].passage.id == "c3"
    assert hits[0].matched_by == ("vector", "words")


def test_words_are_stemmed_by_language_and_chinese_is_paired(dsn: str, tenant: str) -> None:
    passages = [Passage("en", "The rivers were flowing.", {}), Passage("zh", "长江流入东海。", {})]
    rows = np.eye(2, WIDTH, dtype=np.float32)
    for language, found in (("english", ["en"]), ("simple", [])):
        with PgVectorStore.open(
            dsn, collection=language, tenant=tenant, model_id="t", dim=WIDTH, language=language
        ) as store:
            store.add(passages, rows)
            flows = store.search(None, text="a river flows", limit=2)
            assert [hit.passage.id for hit in flows] == found
            sea = store.search(None, text="哪条河流入东海", limit=2)
            assert [hit.passage.id for hit in sea] == ["zh"]
            assert store.search(None, text="西海", limit=2) == ()
    with pytest.raises(StoreError, match="'klingon'"):
        PgVectorStore.open(
            dsn, collection="k", tenant=tenant, model_id="t", dim=WIDTH, language="klingon"
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the river, 长江!", "the river, 长江 !"),
        ("长江流入东海。", "长江 江流 流入 入东 东海 。"),
        ("a你b", "a 你 b"),
        ("你 好", "你 好"),
        ("看看", "看看"),
        ("哈哈哈x哈", "哈哈 哈哈 x 哈"),
        ("カタ漢字𠀀", "カタ タ漢 漢字 字𠀀"),
        ("plain\ntext", "plain text"),
        ("", ""),
    ],
)
def test_neighbouring_characters_are_words_where_nothing_stands_between(
    dsn: str, text: str, words: str
) -> None:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT voicerag.searchable(%s::text)", (text,)).fetchone()
    assert row is not None
    assert str(row[0]).split() == words.split()


def test_vectors_too_wide_for_a_page_are_kept_outside(dsn: str, tenant: str) -> None:
    rows = unit_vectors(3, 5000)
    with PgVectorStore.open(dsn, tenant=tenant, model_id="wide", dim=5000) as store:
        store.add(texts(3), rows)
        assert not store.build_index()
        (hit,) = store.search(rows[1], limit=1, with_vectors=True)
        assert hit.passage.id == "p1"
        assert hit.embedding is not None
        assert np.allclose(hit.embedding, rows[1], atol=0.002)


@pytest.mark.parametrize(
    "passage",
    [
        Passage("1", "a\0b", {}), Passage("1", "x", {"k": "a\0b"}), Passage("1", "\ud800", {}),
        Passage("1", "x", {"k": float("nan")}), Passage("1", "x", {"k": "\ud800"}),
    ],
)  # fmt: skip
def test_what_postgres_cannot_hold_is_refused_by_name(
    store: PgVectorStore, passage: Passage
) -> None:
    with pytest.raises(StoreError, match="passage '1'"):
        store.add([Passage("0", "fine", {}), passage], unit_vectors(2, WIDTH))
    assert store.count() == 0


def test_metadata_comes_back_as_it_was(store: PgVectorStore) -> None:
    metadata = {"n": None, "t": True, "i": 10**30, "f": 0.1, "s": "'\"\\ü\n", "l": [1, {"k": []}]}
    passage = Passage("1", "text\r\n\t'\\x", metadata)  # type: ignore[arg-type]
    store.add([passage], unit_vectors(1, WIDTH))
    assert store.get(["1"]) == [passage]
