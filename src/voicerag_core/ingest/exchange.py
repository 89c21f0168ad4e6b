"""A collection as lines of JSON, to move it between databases and programs.

The first line says what the collection is: ``{"voicerag": "collection", "form": 1, "collection":
…, "model_id": …, "dim": …, "language": …, "vectors": true}``, with ``"words": false`` if it is not
searched by words. Each document is a line ``{"document": SOURCE, "digest": …}``, and its passages
follow, one a line: ``{"id": …, "text": …, "metadata": {…}, "vectors": …}``, where the vectors are
those of the passage, [M, D], as base64 of float16, little-endian. Passages without a document
follow a line ``{"document": null}``. The last line, ``{"end": true, "documents": …, "passages": …,
"sha256": …}``, has the SHA-256 of all lines before it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import DocumentError, EmbeddingMismatchError
from voicerag_core.ports import DocumentStore, PassageStore
from voicerag_core.types import Embeddings, JSONValue, Passage

__all__ = [
    "CollectionHeader",
    "EmbedTexts",
    "Exportable",
    "ImportReport",
    "OnPassages",
    "import_collection",
    "read_header",
    "write_collection",
]

FORM = 1
BATCH = 64
"""Passages without a document that are written together."""

EmbedTexts: TypeAlias = Callable[[Sequence[Passage]], tuple[Embeddings, NDArray[np.int64]]]
"""A function from passages to their vectors [M, D] and owners [M]."""
OnPassages: TypeAlias = Callable[[int, int | None], None]
"""Called with the passages done, and those in all if that is known."""


@dataclass(frozen=True, slots=True)
class CollectionHeader:
    """What an exported collection is.

    Args:
        collection: Its name.
        model_id: The embedding model of its vectors.
        dim: Their width.
        language: Text search configuration of its words.
        vectors: Whether the file holds them.
        words: Whether it is searched by words, too.
    """

    collection: str
    model_id: str
    dim: int
    language: str
    vectors: bool
    words: bool = True


class Exportable(Protocol):
    """A passage with its document and vectors."""

    @property
    def source(self) -> str | None:
        """Of its document, or None."""
        ...

    @property
    def digest(self) -> str | None:
        """Of its document, or None."""
        ...

    @property
    def passage(self) -> Passage | None:
        """None for a document without passages."""
        ...

    @property
    def vectors(self) -> NDArray[np.floating[Any]] | None:
        """[M, D], or None when they are left out."""
        ...


class _Store(PassageStore, DocumentStore, Protocol):
    """Takes documents and passages without one."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did.

    Args:
        documents: Documents of the file.
        passages: Passages of the file.
        changed: Passages that were new, changed or deleted.
    """

    documents: int
    passages: int
    changed: int


def write_collection(
    file: BinaryIO,
    header: CollectionHeader,
    passages: Iterable[Exportable],
    *,
    on_passages: OnPassages | None = None,
) -> tuple[int, int]:
    """Write a collection, and return how many documents and passages it has.

    Args:
        file: Takes the lines.
        header: What the collection is.
        passages: Those of a document together, and those without one last.
        on_passages: Told after each passage.
    """
    digest = hashlib.sha256()
    documents = number = 0
    last: tuple[str | None] | None = None

    def put(value: Mapping[str, object]) -> None:
        line = json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        digest.update(line)
        file.write(line)

    put({
        "voicerag": "collection", "form": FORM, "collection": header.collection,
        "model_id": header.model_id, "dim": header.dim, "language": header.language,
        "vectors": header.vectors, **({} if header.words else {"words": False}),
    })  # fmt: skip
    for one in passages:
        if last != (one.source,):
            last = (one.source,)
            documents += one.source is not None
            known = {} if one.source is None else {"digest": one.digest}
            put({"document": one.source, **known})
        if one.passage is None:
            continue
        value: dict[str, object] = {
            "id": one.passage.id,
            "text": one.passage.text,
            "metadata": dict(one.passage.metadata),
        }
        if header.vectors and one.vectors is not None:
            value["vectors"] = base64.b64encode(one.vectors.astype("<f2").tobytes()).decode()
        put(value)
        number += 1
        if on_passages is not None:
            on_passages(number, None)
    put({
        "end": True, "documents": documents, "passages": number, "sha256": digest.hexdigest(),
    })  # fmt: skip
    return documents, number


def read_header(file: BinaryIO) -> CollectionHeader:
    """Read the first line of an export, and go back to its beginning.

    Raises:
        DocumentError: It is not that of an export, or of a newer form.
    """
    file.seek(0)
    header = _header(_parsed(file.readline(), 1))
    file.seek(0)
    return header


def import_collection(
    store: _Store,
    file: BinaryIO,
    *,
    model_id: str,
    dim: int,
    embed: EmbedTexts | None = None,
    on_passages: OnPassages | None = None,
) -> ImportReport:
    """Put an exported collection into a store.

    The whole file is checked before anything is written. Then each document is replaced in one
    transaction, and passages without one are added or replaced by id; what else the store holds
    stays. To import a file again changes nothing, and completes an import that was interrupted.

    Args:
        store: Takes the documents.
        file: Binary, seekable.
        model_id: The embedding model that the store is for.
        dim: Width of its vectors.
        embed: Computes the vectors from the texts; None takes those of the file.
        on_passages: Told after each document or batch.

    Raises:
        DocumentError: The file was cut or altered, or is no export.
        EmbeddingMismatchError: Its vectors are of another model, or it has none.
        StoreError: The database failed; documents written until then are complete.
        ModelError: The embedder failed; likewise.
    """
    header = read_header(file)
    if embed is None:
        _refuse_other_model(header, model_id, dim)
    documents = passages = 0
    for line in _groups(file):
        documents += line.source is not None and line.first
        passages += len(line.passages)
    file.seek(0)
    known = {} if embed is None else dict(store.document_digests())
    done = changed = 0
    for group in _whole_documents(_groups(file)):
        check_cancelled()
        if embed is None or not _is_there(store, group, known):
            changed += _written(store, group, dim, embed)
        done += len(group.passages)
        if on_passages is not None:
            on_passages(done, passages)
    return ImportReport(documents, passages, changed)


@dataclass(frozen=True, slots=True)
class _Group:
    """Some passages of a document, or some without one.

    Args:
        source: Of the document, or None.
        digest: Of the document.
        first: Whether the document begins with them.
        passages: Them.
        vectors: Of each of them, [M, D] float16, or None.
    """

    source: str | None
    digest: str
    first: bool
    passages: tuple[Passage, ...]
    vectors: tuple[NDArray[np.float16] | None, ...]


def _refuse_other_model(header: CollectionHeader, model_id: str, dim: int) -> None:
    if not header.vectors:
        raise EmbeddingMismatchError(
            "the file has no vectors; let the texts be embedded (--embed), or export the "
            "collection with its vectors"
        )
    if (header.model_id, header.dim) != (model_id, dim):
        raise EmbeddingMismatchError(
            f"the vectors of the file are of the embedding model {header.model_id!r}, width "
            f"{header.dim}, and the collection is for {model_id!r}, width {dim}; use that model "
            "(--embedder), import into another collection, or let the texts be embedded anew "
            "(--embed)"
        )


def _is_there(store: _Store, group: _Group, known: Mapping[str, str]) -> bool:
    """Return whether a document, or passages, are in the store as they are in the file."""
    if group.source is not None and known.get(group.source) != group.digest:
        return False
    kept = {passage.id: passage for passage in store.get([p.id for p in group.passages])}
    return all(kept.get(passage.id) == passage for passage in group.passages)


def _written(store: _Store, group: _Group, dim: int, embed: EmbedTexts | None) -> int:
    """Write a document, or some passages; return how many passages changed."""
    if embed is not None:
        vectors = [np.zeros((0, dim), np.float32)]
        owned = [np.zeros(0, np.int64)]
        for start in range(0, len(group.passages), BATCH):
            check_cancelled()
            rows, owners = embed(group.passages[start : start + BATCH])
            vectors.append(rows)
            owned.append(owners + start)
        embeddings, owner_of = np.concatenate(vectors), np.concatenate(owned)
    else:
        found = [np.zeros((0, dim), np.float16), *(v for v in group.vectors if v is not None)]
        embeddings = np.concatenate(found).astype(np.float32)
        sizes = [0 if one is None else len(one) for one in group.vectors]
        owner_of = np.repeat(np.arange(len(group.passages), dtype=np.int64), sizes)
    if group.source is None:
        return store.add(group.passages, embeddings, owners=owner_of) if group.passages else 0
    return store.replace_document(
        group.source, group.digest, group.passages, embeddings, owners=owner_of
    )


def _whole_documents(groups: Iterable[_Group]) -> Iterator[_Group]:
    """Join what belongs to one document; passages without one stay in batches."""
    held: list[_Group] = []
    for group in groups:
        if held and (group.first or group.source is None):
            yield _joined(held)
            held = []
        held.append(group)
    if held:
        yield _joined(held)


def _joined(groups: Sequence[_Group]) -> _Group:
    return _Group(
        groups[0].source,
        groups[0].digest,
        True,
        tuple(passage for group in groups for passage in group.passages),
        tuple(vectors for group in groups for vectors in group.vectors),
    )


def _groups(file: BinaryIO) -> Iterator[_Group]:
    """Yield the content of a file in batches, and check all of it.

    Raises:
        DocumentError: It was cut or altered.
    """
    digest = hashlib.sha256()
    first = file.readline()
    digest.update(first)
    reading = _Reading(_header(_parsed(first, 1)))
    number = 1
    for number, line in enumerate(file, 2):
        value = _parsed(line, number)
        if value.get("end"):
            yield from reading.taken()
            reading.check_end(value, digest.hexdigest(), number)
            if file.read(1):
                raise DocumentError(f"line {number} ends the export, and more follows")
            return
        digest.update(line)
        yield from reading.take(value, number)
    raise DocumentError(
        f"the export ends after line {number} without its last line: it was cut off; export the "
        "collection again"
    )


class _Reading:
    """Collects lines into groups.

    Args:
        header: What the file says of itself.
    """

    def __init__(self, header: CollectionHeader) -> None:
        self._header = header
        self._document: tuple[str | None, str] | None = None
        self._first = True
        self._passages: list[Passage] = []
        self._vectors: list[NDArray[np.float16] | None] = []
        self._documents = self._number = 0

    def take(self, value: Mapping[str, object], number: int) -> Iterator[_Group]:
        """Take up a line, and yield what is complete."""
        if "document" in value:
            yield from self.taken()
            source, digest = value["document"], value.get("digest", "")
            if not isinstance(source, str | None) or not isinstance(digest, str):
                raise DocumentError(f"line {number} does not name a document by a text")
            self._document, self._first = (source, digest), True
            self._documents += source is not None
            return
        if self._document is None:
            raise DocumentError(f"line {number} is a passage, and no document was named before")
        self._passages.append(_passage(value, number))
        self._vectors.append(self._vectors_of(value, number))
        self._number += 1
        if len(self._passages) == BATCH:
            yield from self.taken()

    def taken(self) -> Iterator[_Group]:
        """Yield what was collected."""
        if self._document is None or not (self._passages or self._first):
            return
        source, digest = self._document
        yield _Group(source, digest, self._first, tuple(self._passages), tuple(self._vectors))
        self._first = False
        self._passages, self._vectors = [], []

    def check_end(self, value: Mapping[str, object], digest: str, number: int) -> None:
        """Compare the last line with what was read."""
        said = (value.get("documents"), value.get("passages"), value.get("sha256"))
        if said != (self._documents, self._number, digest):
            raise DocumentError(
                f"line {number}, the last of the export, does not fit what is before it: the file "
                "was altered or damaged; export the collection again"
            )

    def _vectors_of(self, value: Mapping[str, object], number: int) -> NDArray[np.float16] | None:
        if not self._header.vectors:
            return None
        try:
            data = base64.b64decode(str(value["vectors"]), validate=True)
            rows = np.frombuffer(data, dtype="<f2").reshape(-1, self._header.dim)
        except (KeyError, ValueError, binascii.Error) as error:
            raise DocumentError(
                f"line {number} has no vectors of width {self._header.dim}: {error}"
            ) from error
        if not len(rows) or not np.isfinite(rows).all():
            raise DocumentError(f"line {number} has no vectors, or one that is not finite")
        return rows.astype(np.float16)


def _passage(value: Mapping[str, object], number: int) -> Passage:
    key, text, metadata = value.get("id"), value.get("text"), value.get("metadata")
    if not (isinstance(key, str) and isinstance(text, str) and isinstance(metadata, dict)):
        raise DocumentError(
            f"line {number} is no passage; expected id and text as texts and metadata as an object"
        )
    known: dict[str, JSONValue] = metadata
    return Passage(key, text, known)


_NO_EXPORT = (
    "the file is no export of voicerag; give one that `voicerag export` wrote, or index other "
    "files with `voicerag index`"
)


def _parsed(line: bytes, number: int) -> dict[str, object]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        if number == 1:
            raise DocumentError(_NO_EXPORT) from error
        raise DocumentError(
            f"line {number} of the export is not JSON: {error}; the file was cut off or altered, "
            "export the collection again"
        ) from error
    if not isinstance(value, dict):
        raise DocumentError(f"line {number} of the export is no JSON object")
    return value


def _header(value: Mapping[str, object]) -> CollectionHeader:
    if value.get("voicerag") != "collection":
        raise DocumentError(_NO_EXPORT)
    if value.get("form") != FORM:
        raise DocumentError(
            f"the export has form {value.get('form')!r}, and this program reads form {FORM}; "
            "install a newer voicerag-core"
        )
    match value:
        case {
            "collection": str(collection), "model_id": str(model_id), "dim": int(dim),
            "language": str(language), "vectors": bool(vectors),
        } if dim > 0:  # fmt: skip
            words = value.get("words", True)
            if isinstance(words, bool):
                return CollectionHeader(collection, model_id, dim, language, vectors, words)
    raise DocumentError("the first line of the export does not say what the collection is")
