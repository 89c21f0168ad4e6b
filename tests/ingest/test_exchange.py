"""What is exported is imported again, whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from voicerag_core.errors import DocumentError, EmbeddingMismatchError, StoreError
from voicerag_core.ingest import CollectionHeader, import_collection, read_header, write_collection
from voicerag_core.store import PgVectorStore, export_passages
from voicerag_core.testing import InMemoryStore
from voicerag_core.testing.stores import WIDTH
from voicerag_core.types import Embeddings, Passage


def opened(dsn: str, tenant: str, collection: str = "default", **other: Any) -> PgVectorStore:
    return PgVectorStore.open(
        dsn, tenant=tenant, collection=collection, model_id="test", dim=WIDTH, **other
    )


def fill(store: PgVectorStore) -> None:
    chance = np.random.default_rng(5)
    for name, number in (("a.md", 3), ("Ärger.md", 150), ("empty.md", 0)):
        passages = [
            Passage(
                f"{name}{n}",
                f"Text {n}: «長江»\n\u2028",
                {"n": n, "title": name, "deep": {"x": [None]}},
            )
            for n in range(number)
        ]
        vectors = chance.standard_normal((2 * number, WIDTH)).astype(np.float32)
        owners = np.repeat(np.arange(number), 2)
        store.replace_document(name, f"digest of {name}", passages, vectors, owners=owners)
    loose = [Passage(f"loose {n}", f"Loose {n}", {}) for n in range(70)]
    store.add(loose, chance.standard_normal((70, WIDTH)).astype(np.float32))


def exported(dsn: str, tenant: str, collection: str = "default", *, vectors: bool = True) -> bytes:
    file = io.BytesIO()
    with export_passages(dsn, collection=collection, tenant=tenant, vectors=vectors) as (
        known,
        rows,
    ):
        header = CollectionHeader(known.name, known.model_id, known.dim, known.language, vectors)
        write_collection(file, header, rows)
    return file.getvalue()


def imported(store: PgVectorStore, data: bytes, **other: Any) -> Any:
    return import_collection(store, io.BytesIO(data), model_id="test", dim=WIDTH, **other)


@pytest.fixture
def data(dsn: str, tenant: str) -> bytes:
    with opened(dsn, tenant) as store:
        fill(store)
    return exported(dsn, tenant)


def test_an_import_is_what_was_exported_to_the_last_bit(dsn: str, tenant: str, data: bytes) -> None:
    told: list[tuple[int, int | None]] = []
    with opened(dsn, tenant, "copy") as store:
        report = imported(store, data, on_passages=lambda *seen: told.append(seen))
        assert (report.documents, report.passages, report.changed) == (3, 223, 223)
        assert told[-1] == (223, 223)
        assert len(store.document_digests()) == 3
    copy = exported(dsn, tenant, "copy").splitlines()[1:-1]
    assert sorted(copy) == sorted(data.splitlines()[1:-1])


def test_importing_again_changes_nothing_and_replaces_what_was_changed(
    dsn: str, tenant: str, data: bytes
) -> None:
    with opened(dsn, tenant) as store:
        assert imported(store, data).changed == 0
        store.replace_document(
            "a.md", "newer", [Passage("x", "Newer", {})], np.ones((1, WIDTH), np.float32)
        )
        store.add([Passage("kept", "Kept", {})], np.ones((1, WIDTH), np.float32))
        assert imported(store, data).changed == 4, "three came back, and one of the document went"
        assert store.get(["kept"])
        assert store.document_digests()["a.md"] == "digest of a.md"


def test_a_long_document_is_one_transaction(dsn: str, tenant: str, data: bytes) -> None:
    """What an interrupted import leaves are whole documents."""

    def stop(done: int, _: int | None) -> None:
        if done >= 3:
            raise KeyboardInterrupt

    with opened(dsn, tenant, "copy") as store:
        with pytest.raises(KeyboardInterrupt):
            imported(store, data, on_passages=stop)
        assert store.count() == 3
        assert imported(store, data).changed == 220


def embed(passages: Sequence[Passage]) -> tuple[Embeddings, NDArray[np.int64]]:
    return np.ones((len(passages), WIDTH), np.float32), np.arange(len(passages))


def test_texts_alone_are_embedded_again(dsn: str, tenant: str, data: bytes) -> None:
    texts = exported(dsn, tenant, vectors=False)
    assert len(texts) < len(data)
    with opened(dsn, tenant, "copy") as store:
        with pytest.raises(EmbeddingMismatchError, match=r"no vectors.*--embed"):
            imported(store, texts)
        assert imported(store, texts, embed=embed).changed == 223
        embedded: list[int] = []

        def count(passages: Sequence[Passage]) -> tuple[Embeddings, NDArray[np.int64]]:
            embedded.append(len(passages))
            return embed(passages)

        assert imported(store, texts, embed=count).changed == 0
        assert embedded == []


def test_vectors_of_another_model_are_refused(dsn: str, tenant: str, data: bytes) -> None:
    with opened(dsn, tenant, "copy") as store:
        for model, dim in (("other", WIDTH), ("test", WIDTH + 1)):
            with pytest.raises(EmbeddingMismatchError, match=r"model 'test'.*--embed"):
                import_collection(store, io.BytesIO(data), model_id=model, dim=dim)
        assert store.count() == 0


def again(lines: list[bytes]) -> bytes:
    """Close lines with a last one that fits them."""
    body = b"".join(line + b"\n" for line in lines)
    values = [json.loads(line) for line in lines]
    end = {
        "end": True,
        "documents": sum(value.get("document") is not None for value in values),
        "passages": sum("id" in value for value in values),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    return body + json.dumps(end).encode() + b"\n"


def with_value(line: bytes, **values: object) -> bytes:
    return json.dumps({**json.loads(line), **values}).encode()


SPOILED: dict[str, tuple[Callable[[list[bytes]], bytes], str]] = {
    "cut": (lambda lines: b"\n".join(lines[:50]), "cut off"),
    "cut in a line": (lambda lines: b"\n".join(lines)[:-300], "not JSON.*cut off or altered"),
    "altered": (lambda lines: b"\n".join(lines).replace(b"Text 2", b"Text 3", 1), "altered"),
    "a line less": (lambda lines: b"\n".join(lines[:5] + lines[6:]), "altered"),
    "more": (lambda lines: b"\n".join([*lines, lines[3]]), "more follows"),
    "other": (lambda lines: b'{"text": "a"}\n', "no export"),
    "no text at all": (lambda lines: b"PK\x03\x04\xff", "no export of voicerag; give one"),
    "nothing": (lambda lines: b"", "no export"),
    "newer": (lambda lines: again([with_value(lines[0], form=2), *lines[1:-1]]), "form 2"),
    "width": (lambda lines: again([with_value(lines[0], dim=7), *lines[1:-1]]), "another|width 7"),
    "header": (lambda lines: again([with_value(lines[0], dim="8"), *lines[1:-1]]), "first line"),
    "no vectors": (lambda lines: again([*lines[:2], with_value(lines[2], vectors="")]), "line 3"),
    "not base64": (lambda lines: again([*lines[:2], with_value(lines[2], vectors="?")]), "line 3"),
    "infinite": (
        lambda lines: again([*lines[:2], with_value(lines[2], vectors="AHwAfAB8AHwAfAB8AHwAfA==")]),
        "line 3",
    ),
    "no text": (lambda lines: again([*lines[:2], with_value(lines[2], text=None)]), "line 3"),
    "no document": (lambda lines: again([lines[0], lines[2]]), "no document was named"),
    "number": (lambda lines: again([lines[0], with_value(lines[1], document=7)]), "line 2"),
}  # fmt: skip


@pytest.mark.parametrize("fault", SPOILED)
def test_a_spoiled_file_changes_nothing(dsn: str, tenant: str, data: bytes, fault: str) -> None:
    spoil, said = SPOILED[fault]
    with opened(dsn, tenant, "copy") as store:
        with pytest.raises((DocumentError, EmbeddingMismatchError), match=said):
            imported(store, spoil(data.splitlines()))
        assert store.count() == 0
        assert store.document_digests() == {}


def test_the_contract_store_takes_it_too(data: bytes) -> None:
    store = InMemoryStore(WIDTH)
    assert imported(store, data).passages == 223  # type: ignore[arg-type]
    assert store.count() == 223


def test_the_header_says_what_the_collection_is(data: bytes) -> None:
    assert read_header(io.BytesIO(data)) == CollectionHeader(
        "default", "test", WIDTH, "english", True
    )


def test_who_stops_reading_leaves_no_cursor_open(dsn: str, tenant: str, data: bytes) -> None:
    with export_passages(dsn, tenant=tenant) as (_, rows):
        next(rows)
    assert next(rows, None) is None


def test_an_absent_collection_is_named(dsn: str, tenant: str) -> None:
    with pytest.raises(StoreError, match="no collection 'absent'"):
        exported(dsn, tenant, "absent")
