"""Passages and vectors in the binary forms that Postgres takes.

Source: PostgreSQL 18, src/backend/utils/adt/arrayfuncs.c, ``array_recv``; its documentation, COPY,
"Binary Format"; pgvector 0.8.6, src/halfvec.c, ``halfvec_recv`` (width and a reserved word as
int16, then the elements as float16, big-endian).
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicerag_core.errors import EmbeddingMismatchError, StoreError
from voicerag_core.store.values import KEY_BYTES, holds_nul
from voicerag_core.types import Embedding, Embeddings, Passage

__all__ = [
    "COPY_END",
    "COPY_START",
    "PassageArrays",
    "VectorArrays",
    "as_passages",
    "boolean_array",
    "checked_embeddings",
    "elements",
    "halfvec",
    "halfvec_array",
    "has_headings",
    "is_plain",
    "passage_arrays",
    "vector_arrays",
]

COPY_START = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
COPY_END = struct.pack(">h", -1)

_SHOWN = 80
"""Characters of an id in messages."""

_BOOL, _BYTEA, _INT8, _INT4, _TEXT, _JSONB = 16, 17, 20, 23, 25, 3802
"""Keys of types. Source: PostgreSQL 18, src/include/catalog/pg_type.dat."""

_INT, _LONG = struct.Struct(">i").pack, struct.Struct(">q").pack

_as_json = json.JSONEncoder(allow_nan=False, ensure_ascii=False, sort_keys=True).encode

_PAIRED = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]"
).search
"""Characters of languages without spaces; those of ``searchable`` in sql/0002_words.sql."""

_HEADINGS = frozenset(("title", "path", "lead"))
"""Metadata that is searched by words, too."""

_HALF_MAX = float(np.finfo(np.float16).max)


def halfvec(embedding: Embedding) -> bytes:
    """Return the binary form of one vector, shape [D]."""
    return struct.pack(">HH", len(embedding), 0) + embedding.astype(">f2").tobytes()


def halfvec_array(data: bytes) -> Embedding:
    """Read a vector back from its binary form."""
    return np.frombuffer(data, dtype=">f2", offset=4).astype(np.float32)


def checked_embeddings(
    embeddings: Embeddings, dim: int, passages: int, owners: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Refuse vectors that do not fit, and return the owner of each.

    Raises:
        EmbeddingMismatchError: They are not of width `dim`.
        StoreError: They are not [M, D], not finite, or owners and passages do not fit together.
    """
    if embeddings.ndim != 2:  # noqa: PLR2004 - [M, D]
        raise StoreError(f"embeddings have shape [M, {dim}], not {list(embeddings.shape)}")
    if embeddings.shape[1] != dim:
        raise EmbeddingMismatchError(
            f"the collection holds vectors of width {dim}, and these have width "
            f"{embeddings.shape[1]}; use the embedding model that filled it, or another collection"
        )
    if not np.isfinite(embeddings).all() or (abs(embeddings) > _HALF_MAX).any():
        raise StoreError("an embedding holds a value that is not finite; embed the text again")
    if owners is None:
        if len(embeddings) != passages:
            raise StoreError(
                f"{passages} passages came with {len(embeddings)} vectors; give one each, or say "
                "with `owners` which vector belongs to which passage"
            )
        return np.arange(passages, dtype=np.int64)
    if owners.shape != (len(embeddings),):
        raise StoreError(
            f"owners have shape [{len(embeddings)}], one for a vector, not {list(owners.shape)}"
        )
    if len(owners) and (owners.min() < 0 or owners.max() >= passages):
        raise StoreError(f"owners point into the {passages} passages, from 0 to {passages - 1}")
    if len(np.unique(owners)) != passages:
        raise StoreError("every passage owns at least one vector; one of these owns none")
    return owners


@dataclass(frozen=True, slots=True)
class PassageArrays:
    """Passages as arrays of one length, in binary: text[], text[], jsonb[], bytea[]."""

    ids: bytes
    bodies: bytes
    metadata: bytes
    hashes: bytes


@dataclass(frozen=True, slots=True)
class VectorArrays:
    """The vectors of some passages in the order of those, M rows each in arrays of one length.

    Args:
        passages: bigint[]; the keys of the passages.
        ordinals: integer[]; the place among the vectors of the passage, from 0.
        vectors: halfvec[].
    """

    passages: bytes
    ordinals: bytes
    vectors: bytes


def as_passages(given: Iterable[Passage]) -> list[Passage]:
    """Return passages in a list.

    Raises:
        StoreError: One is none, or has an id or a text that is no str.
    """
    if not isinstance(given, Iterable):
        raise StoreError(f"passages come in a list, not {type(given).__name__}")
    passages = list(given)
    for passage in passages:
        if not isinstance(passage, Passage):
            raise StoreError(f"a Passage is stored, not {type(passage).__name__}")
        if not isinstance(passage.id, str) or not isinstance(passage.text, str):
            raise StoreError(
                f"{_named(passage)} cannot be stored: its id is {type(passage.id).__name__} and "
                f"its text {type(passage.text).__name__}, and both are str"
            )
    return passages


def passage_arrays(
    passages: Sequence[Passage], halves: NDArray[np.float16], counts: NDArray[np.int64], tenant: str
) -> PassageArrays:
    """Encode passages; the hash of each is that of text, metadata and vectors.

    Args:
        passages: N of them.
        halves: Their vectors, one passage after the other, [M, D] big-endian float16.
        counts: How many of them each passage owns, [N].
        tenant: Whose they become; its name takes room in the index of the ids.

    Raises:
        StoreError: A passage holds what Postgres cannot.
    """
    most = KEY_BYTES - len(tenant.encode())
    width = halves.shape[1] * halves.itemsize
    vectors = halves.tobytes()
    keys, bodies, metadata, hashes = [], [], [], []
    start = 0
    for passage, size in zip(passages, (counts * width).tolist(), strict=True):
        key, body, about = _encoded(passage, most)
        own = vectors[start : start + size]
        start += size
        hashed = (_LONG(len(body)), body, _LONG(len(about)), about, _LONG(size), own)
        keys.append(key)
        bodies.append(body)
        metadata.append(b"\1" + about)  # version 1 of the binary jsonb
        hashes.append(hashlib.sha256(b"".join(hashed)).digest())
    return PassageArrays(
        _array(keys, _TEXT), _array(bodies, _TEXT), _array(metadata, _JSONB), _array(hashes, _BYTEA)
    )


def boolean_array(values: Sequence[bool]) -> bytes:
    """Encode truth values as a boolean[]."""
    return _numbers(np.array(values, bool), _BOOL, "u1")


def is_plain(passage: Passage, *, letters: bool) -> bool:
    """Tell whether the words of a passage are those that Postgres finds in its text.

    Args:
        passage: Its text is not too long to be indexed.
        letters: Whether the database's locale knows letters beyond ASCII.
    """
    text = passage.text
    as_it_is = text.isascii() or (letters and _PAIRED(text) is None)
    return as_it_is and not has_headings(passage)


def has_headings(passage: Passage) -> bool:
    """Tell whether metadata of a passage may be searched by words."""
    return not _HEADINGS.isdisjoint(passage.metadata)


def elements(halves: NDArray[np.float16]) -> NDArray[np.void]:
    """Encode vectors [M, D] as elements of a halfvec[], shape [M]."""
    count, dim = halves.shape
    rows = np.empty(
        count, [("size", ">i4"), ("dim", ">i2"), ("zero", ">i2"), ("is", ">f2", (dim,))]
    )
    rows["size"] = 4 + 2 * dim
    rows["dim"] = dim
    rows["zero"] = 0
    rows["is"] = halves
    return rows


def vector_arrays(
    rows: NDArray[np.void], counts: NDArray[np.int64], keys: Sequence[int], places: Sequence[int],
    element: int,
) -> VectorArrays:  # fmt: skip
    """Encode the vectors of some of N passages.

    Args:
        rows: Those of all passages, one passage after the other; see `elements`.
        counts: How many each passage owns, [N].
        keys: Of the passages that are chosen.
        places: Which they are, from 0.
        element: The key of the type halfvec in this database.
    """
    chosen = np.array(places, np.int64)
    own = counts[chosen]
    ordinals = np.arange(own.sum()) - np.repeat(np.cumsum(own) - own, own)
    if len(chosen) < len(counts):
        rows = rows[np.repeat((np.cumsum(counts) - counts)[chosen], own) + ordinals]
    return VectorArrays(
        passages=_numbers(np.repeat(np.array(keys, np.int64), own), _INT8, ">i8"),
        ordinals=_numbers(ordinals, _INT4, ">i4"),
        vectors=_array_head(len(rows), element) + rows.tobytes(),
    )


def _numbers(values: NDArray[np.int64] | NDArray[np.bool_], element: int, kind: str) -> bytes:
    rows = np.empty(len(values), [("size", ">i4"), ("is", kind)])
    rows["size"] = rows.dtype["is"].itemsize
    rows["is"] = values
    return _array_head(len(values), element) + rows.tobytes()


def _array(values: Sequence[bytes], element: int) -> bytes:
    parts = [_array_head(len(values), element)]
    for value in values:
        parts += (_INT(len(value)), value)
    return b"".join(parts)


def _array_head(count: int, element: int) -> bytes:
    """One dimension, no null, the type of the elements, how many, counted from 1."""
    return struct.pack(">iiIii", 1, 0, element, count, 1)


def _named(passage: Passage) -> str:
    shown = passage.id[:_SHOWN] if isinstance(passage.id, str) else passage.id
    return f"passage {shown!r}"


def _encoded(passage: Passage, most: int) -> tuple[bytes, bytes, bytes]:
    """Return id, text and metadata of a passage as bytes.

    Args:
        passage: The passage.
        most: Most bytes of its id.

    Raises:
        StoreError: Postgres cannot hold it.
    """
    try:
        key = passage.id.encode()
        body = passage.text.encode()
        metadata = _as_json(dict(passage.metadata)).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(
            f"{_named(passage)} cannot be stored: {error}; its text must be valid Unicode and its "
            "metadata JSON without NaN or infinity"
        ) from error
    if b"\0" in key or b"\0" in body or holds_nul(metadata):
        name = _named(passage)
        raise StoreError(f"{name} holds a NUL character, which Postgres refuses; remove it")
    if len(key) > most:
        raise StoreError(
            f"{_named(passage)} has an id of {len(key)} bytes, and at most {most} fit into an "
            "index; shorten it, such as to a hash, and keep the long one in the metadata"
        )
    return key, body, metadata
