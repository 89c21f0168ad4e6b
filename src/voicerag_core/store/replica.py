"""Searches on a replica, writes on the primary server."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from voicerag_core.closing import Closing
from voicerag_core.errors import EmbeddingMismatchError, StoreError, StoreUnavailableError
from voicerag_core.filters import Filter
from voicerag_core.store.pgvector import IndexInfo, PgVectorStore
from voicerag_core.types import Embedding, Embeddings, Hit, Passage, Vocabulary

__all__ = ["ReplicatedStore"]

_T = TypeVar("_T")

_PAUSE_SECONDS = 5.0
"""For so long after a failure the primary is asked in place of the replica."""

_logger = logging.getLogger(__name__)


class ReplicatedStore(Closing):
    """A `PassageStore` and `DocumentStore` over two servers with the same rows.

    Searches, passages by id, counts and words come from the replica; what is written, and the
    digests that an ingest compares with, from the primary. A search right after a write may not
    see it yet: replicas lag, usually by milliseconds. While the replica cannot be reached, or does
    not have the collection yet, the primary is asked; while the primary is away, searches go on.
    Each is connected to at its first use. Thread-safe.

    Args:
        replica: Opens the collection on the replica, to be read.
        primary: Opens it on the primary.
    """

    def __init__(
        self, replica: Callable[[], PgVectorStore], primary: Callable[[], PgVectorStore]
    ) -> None:
        self._replica = _Opened(replica)
        self._primary = _Opened(primary)
        self._asked_again_at = 0.0

    def close(self) -> None:
        """Close both; a second call does nothing."""
        self._replica.close()
        self._primary.close()

    def warm(self) -> None:
        """Connect to the replica now."""
        self.count()

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
        """See `PassageStore.search`."""
        return self._read(
            lambda store: store.search(
                embedding,
                text=text,
                limit=limit,
                where=where,
                min_score=min_score,
                with_vectors=with_vectors,
                ids=ids,
            )
        )

    def search_many(
        self, embeddings: Embeddings, *, limit: int, where: Filter | None = None
    ) -> list[tuple[Hit, ...]]:
        """See `PassageStore.search_many`."""
        return self._read(lambda store: store.search_many(embeddings, limit=limit, where=where))

    def get(self, ids: Sequence[str]) -> list[Passage]:
        """See `PassageStore.get`."""
        return self._read(lambda store: store.get(ids))

    def count(self, *, where: Filter | None = None) -> int:
        """See `PassageStore.count`."""
        return self._read(lambda store: store.count(where=where))

    def vocabulary(self) -> Vocabulary:
        """See `WordStore.vocabulary`."""
        return self._read(lambda store: store.vocabulary())

    def index_info(self) -> IndexInfo:
        """Say how a search runs on the replica."""
        return self._read(lambda store: store.index_info())

    def add(
        self,
        passages: Sequence[Passage],
        embeddings: Embeddings,
        *,
        owners: NDArray[np.int64] | None = None,
    ) -> int:
        """See `PassageStore.add`."""
        return self._primary.store().add(passages, embeddings, owners=owners)

    def delete(self, ids: Sequence[str] | None = None, *, where: Filter | None = None) -> int:
        """See `PassageStore.delete`."""
        return self._primary.store().delete(ids, where=where)

    def document_digests(self) -> Mapping[str, str]:
        """See `DocumentStore.document_digests`."""
        return self._primary.store().document_digests()

    def replace_document(
        self,
        source: str,
        digest: str,
        passages: Sequence[Passage],
        embeddings: Embeddings,
        *,
        owners: NDArray[np.int64] | None = None,
    ) -> int:
        """See `DocumentStore.replace_document`."""
        return self._primary.store().replace_document(
            source, digest, passages, embeddings, owners=owners
        )

    def remove_documents(self, sources: Sequence[str]) -> int:
        """See `DocumentStore.remove_documents`."""
        return self._primary.store().remove_documents(sources)

    def bulk_load(self) -> AbstractContextManager[None]:
        """See `PgVectorStore.bulk_load`."""
        return self._primary.store().bulk_load()

    def build_index(self) -> bool:
        """See `PgVectorStore.build_index`."""
        return self._primary.store().build_index()

    def _read(self, call: Callable[[PgVectorStore], _T]) -> _T:
        if time.monotonic() >= self._asked_again_at:
            replica = self._reached_replica()
            if replica is not None:
                try:
                    return call(replica)
                except StoreUnavailableError as error:
                    self._leave_alone(error)
        return call(self._primary.store())

    def _reached_replica(self) -> PgVectorStore | None:
        """Return the replica's store; None when it cannot be opened at the moment."""
        try:
            return self._replica.store()
        except EmbeddingMismatchError:
            raise
        except StoreError as error:
            self._replica.refuse_closed()
            self._leave_alone(error)
            return None

    def _leave_alone(self, error: StoreError) -> None:
        self._asked_again_at = time.monotonic() + _PAUSE_SECONDS
        _logger.warning("the replica is not used for %.0f s: %s", _PAUSE_SECONDS, error)


class _Opened:
    """Opens a store at its first use, and again only if that raised."""

    def __init__(self, opener: Callable[[], PgVectorStore]) -> None:
        self._opener = opener
        self._lock = threading.Lock()
        self._store: PgVectorStore | None = None
        self._closed = False

    def store(self) -> PgVectorStore:
        """Return the store.

        Raises:
            StoreError: It was closed, or cannot be opened.
        """
        with self._lock:
            self.refuse_closed()
            if self._store is None:
                self._store = self._opener()
            return self._store

    def refuse_closed(self) -> None:
        """Refuse to go on after `close`.

        Raises:
            StoreError: It was closed.
        """
        if self._closed:
            raise StoreError("the store is closed; open it again")

    def close(self) -> None:
        """Close the store, if it was opened."""
        with self._lock:
            self._closed = True
            if self._store is not None:
                self._store.close()
