"""Passages and vectors as the rows that Postgres takes by binary COPY.

Source: PostgreSQL 18 documentation, COPY, "Binary Format"; pgvector 0.8.6, src/halfvec.c,
``halfvec_recv`` (width and a reserved word as int16, then the elements as float16, big-endian).
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voicerag_core.errors import EmbeddingMismatchError, StoreError
from voicerag_core.store.values import KEY_BYTES, holds_nul
from voicerag_core.types import Embedding, Embeddings, Passage

__all__ = [
    "COPY_END",
    "COPY_START",
    "checked_embeddings",
    "halfvec",
    "halfvec_array",
    "passage_rows",
    "vector_rows",
]

COPY_START = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
COPY_END = struct.pack(">h", -1)

_SHOWN = 80
"""Characters of an id in messages."""

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


def passage_rows(
    passages: Sequence[Passage], places: Sequence[int], halves: NDArray[np.float16],
    starts: NDArray[np.int64], tenant: str,
) -> bytes:  # fmt: skip
    """Make the rows (place int4, id, body, metadata jsonb, hash bytea).

    Args:
        passages: All passages of the call.
        places: Which of them to write.
        halves: Vectors ordered by owner, [M, D] big-endian float16.
        starts: [N + 1]; the vectors of passage i are rows ``starts[i]`` to ``starts[i + 1]``.
        tenant: Whose they become; its name takes room in the index of the ids.

    Raises:
        StoreError: A passage holds what Postgres cannot.
    """
    parts = [COPY_START]
    for place in places:
        passage = passages[place]
        key, body, metadata = _encoded(passage, KEY_BYTES - len(tenant.encode()))
        digest = hashlib.sha256()
        for part in (body, metadata, halves[starts[place] : starts[place + 1]].tobytes()):
            digest.update(struct.pack(">q", len(part)))
            digest.update(part)
        parts += (
            struct.pack(">hiii", 5, 4, place, len(key)),
            key,
            struct.pack(">i", len(body)),
            body,
            struct.pack(">ib", len(metadata) + 1, 1),  # version 1 of the binary jsonb
            metadata,
            struct.pack(">i", 32),
            digest.digest(),
        )
    parts.append(COPY_END)
    return b"".join(parts)


def _encoded(passage: Passage, most: int) -> tuple[bytes, bytes, bytes]:
    """Return id, text and metadata of a passage as bytes.

    Args:
        passage: The passage.
        most: Most bytes of its id.

    Raises:
        StoreError: Postgres cannot hold it.
    """
    name = f"passage {passage.id if not isinstance(passage.id, str) else passage.id[:_SHOWN]!r}"
    if not isinstance(passage.id, str) or not isinstance(passage.text, str):
        raise StoreError(
            f"{name} cannot be stored: its id is {type(passage.id).__name__} and its text "
            f"{type(passage.text).__name__}, and both are str"
        )
    try:
        key = passage.id.encode()
        body = passage.text.encode()
        metadata = json.dumps(
            dict(passage.metadata), allow_nan=False, ensure_ascii=False, sort_keys=True
        ).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(
            f"{name} cannot be stored: {error}; its text must be valid Unicode and its metadata "
            "JSON without NaN or infinity"
        ) from error
    if b"\0" in key or b"\0" in body or holds_nul(metadata):
        raise StoreError(f"{name} holds a NUL character, which Postgres refuses; remove it")
    if len(key) > most:
        raise StoreError(
            f"{name} has an id of {len(key)} bytes, and at most {most} fit into an index; shorten "
            "it, such as to a hash, and keep the long one in the metadata"
        )
    return key, body, metadata


def vector_rows(
    owners: NDArray[np.int64], ordinals: NDArray[np.int64], halves: NDArray[np.float16]
) -> bytes:
    """Make the rows (place int4, ordinal int4, embedding halfvec), one a vector."""
    count, dim = halves.shape
    rows = np.zeros(
        count,
        dtype=np.dtype(
            [
                ("fields", ">i2"),
                ("place_size", ">i4"),
                ("place", ">i4"),
                ("ordinal_size", ">i4"),
                ("ordinal", ">i4"),
                ("vector_size", ">i4"),
                ("dim", ">i2"),
                ("reserved", ">i2"),
                ("vector", ">f2", (dim,)),
            ]
        ),
    )
    rows["fields"] = 3
    rows["place_size"] = rows["ordinal_size"] = 4
    rows["place"] = owners
    rows["ordinal"] = ordinals
    rows["vector_size"] = 4 + 2 * dim
    rows["dim"] = dim
    rows["vector"] = halves
    return COPY_START + rows.tobytes() + COPY_END
