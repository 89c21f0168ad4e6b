"""What callers give to the store, checked and brought into one form."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from voicerag_core.errors import StoreError
from voicerag_core.types import Embedding, Embeddings

__all__ = [
    "KEY_BYTES",
    "SAME",
    "as_limit",
    "as_owners",
    "as_question",
    "as_vectors",
    "checked_name",
    "checked_source",
    "holds_nul",
    "known_keys",
    "least_score",
    "searched_words",
]

KEY_BYTES: Final = 2600
"""Most bytes of tenant and passage id together. A row of a B-tree has 2,704 at most; the rest is
for its head. Source: PostgreSQL 18, src/include/access/nbtree.h, ``BTMaxItemSize``."""

_NAME_BYTES: Final = 600
"""Most bytes of the name of a tenant, collection or model; besides the tenant a word of 2,047 bytes
has to fit into an index row."""

SAME: Final = 1 - 2.0**-10
"""Cosines from here on are 1: float16 cannot tell such vectors from equal ones, since it rounds
each element by up to 2^-11 of its value, in both vectors."""

_QUESTION_CHARACTERS: Final = 10_000

_MOST_PASSAGES: Final = 2**31 - 1
"""Of an answer; a larger limit asks for no more."""

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""An escaped NUL in JSON, and not a backslash that is followed by the letters u0000."""


def checked_name(kind: str, name: object) -> None:
    """Refuse a name that no index of Postgres can hold.

    Raises:
        StoreError: It is empty, too long, or no text.
    """
    if not isinstance(name, str):
        raise StoreError(f"a {kind} is a str, not {type(name).__name__} {name!r}")
    if not name:
        raise StoreError("collection, tenant and model_id are names; none of them may be empty")
    size = len(_encoded(kind, name))
    if size > _NAME_BYTES:
        raise StoreError(
            f"the {kind} {name[:40]!r}… has {size} bytes, and a name has at most {_NAME_BYTES}; "
            "choose a shorter one"
        )


def checked_source(source: object) -> None:
    """Refuse a source of a document that Postgres cannot hold, of any length.

    Raises:
        StoreError: It is no text.
    """
    if not isinstance(source, str):
        raise StoreError(f"the source of a document is a str, not {type(source).__name__}")
    _encoded("source", source)


def _encoded(kind: str, text: str) -> bytes:
    if "\0" in text:
        raise StoreError(f"the {kind} {text[:80]!r} holds a NUL character, which Postgres refuses")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"the {kind} {text[:80]!r} holds half a character: {error}") from error


def holds_nul(encoded: bytes) -> bool:
    r"""Tell whether JSON holds a NUL; six characters that spell ``\u0000`` are none."""
    return b"\\u0000" in encoded and _NUL.search(encoded) is not None


def known_keys(keys: Iterable[str]) -> list[str]:
    """Return ids or sources without those that no row can have.

    Raises:
        StoreError: One is not a str.
    """
    if isinstance(keys, str):
        raise StoreError(f"ids come in a list; this is one str: {keys[:80]!r}")
    if not isinstance(keys, Iterable):
        raise StoreError(f"ids come in a list, not {type(keys).__name__}")
    given = list(keys)
    for key in given:
        if not isinstance(key, str):
            raise StoreError(f"an id is a str, not {type(key).__name__} {key!r}; give str({key!r})")
    return [str(key) for key in given if "\0" not in key and _is_unicode(key)]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def searched_words(text: str) -> str:
    """Return the text of a search as Postgres takes it: no NUL, no half characters, not endless.

    Raises:
        StoreError: It is no str.
    """
    if not isinstance(text, str):
        raise StoreError(f"the text of a search is a str, not {type(text).__name__}")
    kept = text[:_QUESTION_CHARACTERS].replace("\0", " ")
    return kept.encode("utf-8", "replace").decode()


def as_vectors(given: object) -> Embeddings:
    """Return vectors as an array, float32 unless they are one of floats already.

    Raises:
        StoreError: They are no numbers, or rows of several lengths.
    """
    if isinstance(given, np.ndarray) and given.dtype.kind == "f":
        return given
    try:
        with np.errstate(over="ignore"):  # what becomes infinite is refused where it matters
            return np.asarray(given, np.float32)
    except (TypeError, ValueError) as error:
        raise StoreError(f"vectors are rows of numbers of one length: {error}") from error


def as_owners(given: object) -> NDArray[np.int64] | None:
    """Return owners as an array of whole numbers.

    Raises:
        StoreError: They are no whole numbers.
    """
    if given is None:
        return None
    array = np.asarray(given)
    if array.size and array.dtype.kind not in "iu":
        raise StoreError(f"owners are whole numbers, one for a vector, not {array.dtype}")
    return array.astype(np.int64)


def as_question(given: object) -> Embedding:
    """Return the vector of a question, as by `as_vectors`.

    Raises:
        StoreError: It is none, or holds a value that a halfvec does not.
    """
    vector = as_vectors(given)
    with np.errstate(over="ignore"):
        if not np.isfinite(vector.astype(np.float16)).all():
            raise StoreError(
                "the vector of the question holds a value that is not finite, or above 65,504 as "
                "none of a normalised vector is; embed the question again"
            )
    return vector


def as_limit(given: object) -> int:
    """Return how many passages a search gives at most.

    Raises:
        StoreError: It is no whole number, or below 1.
    """
    try:
        limit = operator.index(given)  # type: ignore[arg-type] # that is asked here
    except TypeError:
        raise StoreError(f"a limit is a whole number of passages, not {given!r:.40}") from None
    if limit < 1:
        raise StoreError(f"a search gives at least 1 passage; limit is {limit}")
    return min(limit, _MOST_PASSAGES)


def least_score(min_score: object) -> float | None:
    """Return the bound that is compared with cosines of vectors that were rounded to float16.

    Raises:
        StoreError: It is no number.
    """
    if min_score is None:
        return None
    try:
        bound = math.nan if isinstance(min_score, str) else float(min_score)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        bound = math.nan
    if math.isnan(bound):
        raise StoreError(f"min_score is a cosine similarity from -1 to 1, not {min_score!r:.40}")
    return min(bound, SAME)
