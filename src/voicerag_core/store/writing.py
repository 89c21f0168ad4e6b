"""Writing passages: some at a time as arrays, merged so that unchanged rows stay untouched."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import args_row, scalar_row
from psycopg.types.json import Jsonb

from voicerag_core.errors import StoreError
from voicerag_core.store.ahead import WordsAhead
from voicerag_core.store.collection import Collection
from voicerag_core.store.connection import Connection, Encoded, Statement
from voicerag_core.store.rows import (
    PassageArrays,
    as_passages,
    boolean_array,
    checked_embeddings,
    elements,
    has_headings,
    is_plain,
    passage_arrays,
    vector_arrays,
)
from voicerag_core.store.statements import CountedRow, DatabaseRow, WrittenRow, named
from voicerag_core.store.values import as_owners, as_vectors
from voicerag_core.types import Embeddings, Passage

__all__ = ["PLANNING", "Batch", "count_words", "forget_passages", "prepare_batch", "write_batch"]

_T = TypeVar("_T")

_SURELY_INDEXED_BYTES = 100_000
"""Texts up to here always fit into a tsvector of 1 MiB: a character of Chinese, 3 bytes, becomes a
pair of 6, an aligned head and a position, 12 bytes in all, and a hyphenated word is listed with
its parts."""

_FIRST_PART, _PART = 250, 500
_PART_BYTES = 8 * 2**20
"""Passages that are sent at a time, and about how many bytes, unless one passage has more; few at
first, since the server waits for those."""

PLANNING = {"plan_cache_mode": "force_generic_plan"}
"""Settings of a transaction that writes batches: its statements are planned without a look at the
values. With one, the planner copies megabytes of vectors into the plan, for no better one."""

_GROWTH = 1.2
"""Words are counted again when a collection has grown by a fifth since the last count."""


_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Batch:
    """Passages and vectors of one call, checked as far as that takes no encoding.

    Args:
        passages: In the order of their ids, each once: two writers of the same passages then take
            them in the same order, and none waits for the other in a circle.
        embeddings: All vectors of the call, [M, D].
        order: The rows of `embeddings` that each passage owns, one passage after the other.
        counts: How many each passage owns, [N].
    """

    passages: list[Passage]
    embeddings: Embeddings
    order: NDArray[np.int64]
    counts: NDArray[np.int64]

    @property
    def ids(self) -> list[str]:
        """The ids, each once."""
        return [passage.id for passage in self.passages]


@dataclass(frozen=True, slots=True)
class _Part:
    """Some passages of a batch, encoded.

    Args:
        passages: As arrays.
        vectors: As elements of an array.
        counts: How many each passage owns, [N].
        words: What is known of their words, or None where those are not written.
    """

    passages: PassageArrays
    vectors: NDArray[np.void]
    counts: NDArray[np.int64]
    words: _Words | None


@dataclass(frozen=True, slots=True)
class _Words:
    """What is known of the words of some passages before they are written.

    Args:
        plain: Which have no words but those that Postgres finds in their text: a boolean[].
        long: Those whose words may be more than Postgres can index, by their place in the part.
        made: As a tsvector[], if they were made before.
    """

    plain: bytes
    long: dict[int, Passage]
    made: bytes | None


def prepare_batch(
    passages: Sequence[Passage],
    embeddings: Embeddings,
    collection: Collection,
    owners: NDArray[np.int64] | None,
) -> Batch:
    """Check a call's passages and vectors, and sort them; of a repeated id the last stays.

    Raises:
        EmbeddingMismatchError: The vectors have another width.
        StoreError: Passages, vectors and owners do not fit.
    """
    passages, embeddings = as_passages(passages), as_vectors(embeddings)
    if not passages and not embeddings.size:
        embeddings = np.zeros((0, collection.dim), np.float32)
    owned_by = checked_embeddings(embeddings, collection.dim, len(passages), as_owners(owners))
    last = {passage.id: place for place, passage in enumerate(passages)}
    places = np.array([last[key] for key in sorted(last)], np.int64)
    by_owner = np.argsort(owned_by, kind="stable")
    starts = np.searchsorted(owned_by[by_owner], np.arange(len(passages) + 1))
    counts = starts[places + 1] - starts[places]
    skipped = np.repeat(starts[places] - (np.cumsum(counts) - counts), counts)
    return Batch(
        passages=[passages[place] for place in places],
        embeddings=embeddings,
        order=by_owner[np.arange(len(skipped)) + skipped],
        counts=counts,
    )


def write_batch(
    connection: Connection,
    collection: Collection,
    batch: Batch,
    document: int | None = None,
    *,
    all_new: bool = False,
    ahead: WordsAhead | None = None,
) -> int:
    """Insert or replace a batch inside the caller's transaction; return how many passages changed.

    Args:
        connection: In a transaction.
        collection: Where to.
        batch: The passages.
        document: Whose passages they become; None: that of each stays.
        all_new: They are probably not there yet: insert them, and look only if that fails.
        ahead: What makes the words of a part while the one before is inserted.

    Raises:
        StoreError: A passage holds what Postgres cannot.
    """
    if not batch.passages:
        return 0
    if all_new:
        # One savepoint for all parts: a round trip between them would find the interpreter busy
        # with encoding the next one, and the server would wait for that.
        try:
            with connection.transaction():
                return _write_parts(
                    connection, collection, batch, document, write=_insert, ahead=ahead
                )
        except pg.UniqueViolation:
            pass  # some of them are there, or another program was faster
    return _write_parts(connection, collection, batch, document, write=_merge)


@dataclass(frozen=True, slots=True)
class _Change:
    """What writing a part changed: passages written, and how many more passages and vectors."""

    passages: int
    more_passages: int
    more_vectors: int


def _write_parts(
    connection: Connection,
    collection: Collection,
    batch: Batch,
    document: int | None,
    *,
    write: Callable[[Connection, Collection, _Part, dict[str, object], int], _Change],
    ahead: WordsAhead | None = None,
) -> int:
    """Write the parts of a batch by a function; return how many passages changed."""
    database = _row(DatabaseRow, connection, "database", collection, {})
    values = {"document": document, "language": collection.language}
    changed = passages = vectors = 0
    with closing(_parts(batch, collection, ahead, letters=database.letters)) as parts:
        for part in parts:
            given = _given(connection, collection, part) | values
            change = write(connection, collection, part, given, database.halfvec)
            changed += change.passages
            passages += change.more_passages
            vectors += change.more_vectors
    if changed:
        _resize(connection, collection, passages=passages, vectors=vectors)
    return changed


def _insert(
    connection: Connection, collection: Collection, part: _Part, given: dict[str, object],
    halfvec: int,
) -> _Change:  # fmt: skip
    """Insert a part of which no passage is there yet, all by one statement.

    Raises:
        UniqueViolation: One is there.
    """
    count = len(part.counts)
    own = _vectors(part, range(1, count + 1), range(count), halfvec)
    vectors = _run(connection, "insert_all", collection, given | own).rowcount
    return _Change(count, count, vectors)


def _merge(
    connection: Connection, collection: Collection, part: _Part, given: dict[str, object],
    halfvec: int,
) -> _Change:  # fmt: skip
    """Insert or replace what differs from what is there."""
    row = _row(WrittenRow, connection, "write_passages", collection, given)
    vectors = 0
    if row.replaced:
        gone = {"passages": row.replaced}
        vectors -= _run(connection, "forget_vectors", collection, gone).rowcount
    if row.passages:
        own = _vectors(part, row.passages, row.places, halfvec)
        vectors += _run(connection, "insert_vectors", collection, own).rowcount
    return _Change(len(row.passages), len(row.passages) - len(row.replaced), vectors)


def _row(
    kind: type[_T], connection: Connection, name: str, collection: Collection,
    values: Mapping[str, object],
) -> _T:  # fmt: skip
    """Run a fixed statement that gives one row."""
    cursor = connection.cursor(row_factory=args_row(kind))
    row = cursor.execute(*named(name, collection, values), prepare=False).fetchone()
    assert row is not None
    return row


def _vectors(
    part: _Part, passages: Sequence[int], places: Sequence[int], halfvec: int
) -> dict[str, object]:
    """Return the parameters of the vectors of some passages, which have these keys and places."""
    arrays = vector_arrays(part.vectors, part.counts, passages, places, halfvec)
    return {
        "passages": Encoded(arrays.passages),
        "ordinals": Encoded(arrays.ordinals),
        "vectors": Encoded(arrays.vectors),
    }


def _given(connection: Connection, collection: Collection, part: _Part) -> dict[str, object]:
    """Return the parameters of the passages of a part."""
    given: dict[str, object] = {
        "ids": Encoded(part.passages.ids),
        "bodies": Encoded(part.passages.bodies),
        "metadata": Encoded(part.passages.metadata),
        "hashes": Encoded(part.passages.hashes),
    }
    words = part.words
    if words is None:
        return given
    searched: list[int | None] | None = None
    if words.long:
        searched = [None] * len(part.counts)
        for place, passage in words.long.items():
            searched[place] = _searched(connection, collection, passage)
    return given | {
        "plain": Encoded(words.plain),
        "words": None if words.made is None else Encoded(words.made),
        "searched": searched,
    }


def _parts(
    batch: Batch, collection: Collection, words: WordsAhead | None, *, letters: bool
) -> Generator[_Part, None, None]:
    """Encode a batch part by part, each while the server takes in the one before.

    The first part goes without words made ahead, since the server has nothing else to do yet.
    """
    bounds = list(pairwise(_bounds(batch, collection.dim)))
    part = partial(_part, batch, collection, letters=letters)
    if len(bounds) == 1:
        yield part(*bounds[0])
        return
    # One thread, which has each part encoded and its words made one after the other: with two
    # cores, a third process at work would wait for one of the others.
    with ThreadPoolExecutor(1, "voicerag-encode") as ahead:
        coming = ahead.submit(part, *bounds[0])
        for bound in bounds[1:]:
            ready = coming.result()
            coming = ahead.submit(part, *bound, words)
            yield ready
        yield coming.result()


def _bounds(batch: Batch, dim: int) -> list[int]:
    """Return where the parts of a batch begin, and its end."""
    count = len(batch.passages)
    lengths = np.fromiter((len(passage.text) for passage in batch.passages), np.int64, count)
    ends = np.cumsum(lengths + 2 * dim * batch.counts)
    bounds = [0]
    most = _FIRST_PART if count > _PART else _PART
    while (start := bounds[-1]) < count:
        before = int(ends[start - 1]) if start else 0
        fits = int(np.searchsorted(ends, before + _PART_BYTES, side="right"))
        bounds.append(max(start + 1, min(start + most, fits)))
        most = _PART
    return bounds


def _part(
    batch: Batch,
    collection: Collection,
    start: int,
    stop: int,
    ahead: WordsAhead | None = None,
    *,
    letters: bool,
) -> _Part:
    """Encode the passages from one place to another."""
    passages, counts = batch.passages[start:stop], batch.counts[start:stop]
    first = int(batch.counts[:start].sum())
    halves = batch.embeddings[batch.order[first : first + int(counts.sum())]].astype(">f2")
    arrays = passage_arrays(passages, halves, counts, collection.tenant)
    words = None
    if collection.words:
        words = _words(collection, passages, arrays, ahead, letters=letters)
    return _Part(arrays, elements(halves), counts, words)


def _words(
    collection: Collection, passages: Sequence[Passage], arrays: PassageArrays,
    ahead: WordsAhead | None, *, letters: bool,
) -> _Words:  # fmt: skip
    """Find out what kind of words passages have, and have them made if somebody makes them."""
    long = {place: one for place, one in enumerate(passages) if _may_be_long(one)}
    flags = boolean_array(
        [place not in long and is_plain(one, letters=letters) for place, one in enumerate(passages)]
    )
    made = None
    if ahead is not None and not long:
        made = ahead.words(collection, arrays.bodies, arrays.metadata, flags)
    return _Words(flags, long, made)


def _may_be_long(passage: Passage) -> bool:
    """Tell whether a passage may have more words than a tsvector holds."""
    named = 0
    if has_headings(passage):
        named = sum(len(str(passage.metadata.get(key, ""))) for key in ("title", "path", "lead"))
    return 4 * (len(passage.text) + named) > _SURELY_INDEXED_BYTES


def _searched(connection: Connection, collection: Collection, passage: Passage) -> int | None:
    """Return how many characters of a text fit into the index of words; None: all.

    Raises:
        StoreError: Not even its title and headings fit.
    """
    characters = len(passage.text)
    values = {
        "body": passage.text,
        "metadata": Jsonb(dict(passage.metadata)),
        "language": collection.language,
    }
    while True:
        try:
            with connection.transaction():
                _run(connection, "try_words", collection, values | {"searched": characters})
        except pg.ProgramLimitExceeded as error:
            if characters == 0:
                raise StoreError(
                    f"passage {passage.id!r} has more words in its title and headings than "
                    f"Postgres indexes: {error.diag.message_primary}; shorten them"
                ) from error
            characters //= 2
            continue
        if characters == len(passage.text):
            return None
        _logger.warning(
            "passage %r is found by the words of its first %d characters of %d, which is what "
            "Postgres indexes of one text; split it into smaller passages",
            passage.id, characters, len(passage.text),
        )  # fmt: skip
        return characters


def forget_passages(connection: Connection, collection: Collection, chosen: Statement) -> int:
    """Delete the passages whose pid a query gives, with their vectors, and return how many went."""
    query, values = chosen
    deletion = sql.SQL(
        "DELETE FROM voicerag.passages WHERE collection_id = {} AND pid IN ({}) RETURNING pid"
    ).format(sql.Literal(collection.number), query)
    cursor = connection.cursor(row_factory=scalar_row)
    gone = cursor.execute(deletion, values, prepare=False).fetchall()
    if not gone:
        return 0
    vectors = _run(connection, "forget_vectors", collection, {"passages": gone}).rowcount
    _resize(connection, collection, passages=-len(gone), vectors=-vectors)
    return len(gone)


def count_words(connection: Connection, collection: Collection) -> None:
    """Count words that a first load put off; and the common ones, if the collection has grown."""
    _run(connection, "count_vocabulary", collection)
    cursor = connection.cursor(row_factory=args_row(CountedRow))
    row = cursor.execute(*named("counted", collection, {}), prepare=False).fetchone()
    if row is None or row.passages <= _GROWTH * row.counted_at:
        return
    if not _run(connection, "lock_words", collection).fetchone():
        return  # another writer is at it
    _run(connection, "count_words", collection)


def _resize(connection: Connection, collection: Collection, *, passages: int, vectors: int) -> None:
    """Keep the collection's sizes; its row is locked until the end of the transaction."""
    values = {"passages": passages, "vectors": vectors}
    if _run(connection, "resize", collection, values).rowcount == 0:
        raise StoreError("the collection was deleted meanwhile; open the store again")


def _run(
    connection: Connection, name: str, collection: Collection,
    values: Mapping[str, object] | None = None,
) -> psycopg.Cursor[Any]:  # fmt: skip
    """Run a fixed statement, whose rows are read as their first column."""
    statement, bound = named(name, collection, values or {})
    return connection.cursor(row_factory=scalar_row).execute(statement, bound)
