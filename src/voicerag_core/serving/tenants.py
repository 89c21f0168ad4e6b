"""One shared set of models, and the collections of many tenants, opened on demand."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from pydantic import SecretStr

from voicerag_core.errors import (
    BusyError,
    EmptyCollectionError,
    ForbiddenError,
    NotFoundError,
)
from voicerag_core.rag import VoiceRAG
from voicerag_core.serving.jobs import Job
from voicerag_core.serving.tables import TableOfTenants
from voicerag_core.settings import Settings
from voicerag_core.stack import (
    OpenedVoiceRAG,
    Parts,
    list_collections,
    open_database,
    open_parts,
    open_store,
)

if TYPE_CHECKING:
    from voicerag_core.store import ExistingTable, PgVectorStore, ReplicatedStore

__all__ = [
    "HOW_TO_INGEST",
    "CollectionSummary",
    "Database",
    "StoreOpener",
    "Tenants",
    "open_tenants",
]


class CollectionSummary(Protocol):
    """A collection and its size."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def passages(self) -> int:
        """How many passages it holds."""
        ...

    @property
    def documents(self) -> int:
        """How many documents they come from."""
        ...


MOST_NAME_BYTES: Final = 600
"""Of a collection; the store takes no longer one."""

HOW_TO_INGEST: Final = "`voicerag index` on the server"

_AnyStore: TypeAlias = "PgVectorStore | ReplicatedStore | ExistingTable"

StoreOpener: TypeAlias = "Callable[[Settings, bool], AbstractContextManager[_AnyStore]]"
"""Opens the collection of the settings' tenant; True opens it read-only."""

_Key: TypeAlias = tuple[str, str, bool]


@dataclass(slots=True)
class _Opened:
    """A collection that is open or being opened: pipelines with and without speech."""

    stack: ExitStack = field(default_factory=ExitStack)
    rags: tuple[VoiceRAG, VoiceRAG] | None = None
    users: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Tenants:
    """Opens a `VoiceRAG` for any tenant and collection. Thread-safe.

    Reading calls use the read-only role. Up to `most_open` stores stay open for later calls; the
    least recently used one is closed first.

    Args:
        settings: Defaults of every tenant.
        parts: Models, shared by all tenants.
        open_store: Opens a collection.
        list_collections: Lists the collections of the settings' tenant.
        most_open: Maximum number of open stores, or what says how many at this moment.
        read_only: Reject opening for writing.
        how_to_ingest: How to ingest documents, for the message that there are none.
    """

    def __init__(
        self,
        settings: Settings,
        parts: Parts,
        *,
        open_store: StoreOpener,
        list_collections: Callable[[Settings], Sequence[CollectionSummary]],
        most_open: int | Callable[[], int] = 8,
        read_only: bool = False,
        how_to_ingest: str = HOW_TO_INGEST,
    ) -> None:
        self.settings = settings
        self.parts = parts
        self.read_only = read_only
        self._open_store = open_store
        self._list_collections = list_collections
        self._most_open = most_open if callable(most_open) else lambda: most_open
        self._how_to_ingest = how_to_ingest
        self._stores: OrderedDict[_Key, _Opened] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def rag(
        self,
        job: Job,
        tenant: str,
        collection: str | None,
        *,
        write: bool = False,
        speak: bool = True,
    ) -> Iterator[VoiceRAG]:
        """Yield a `VoiceRAG` on a collection that stays open at least until the block ends.

        Args:
            job: The running job.
            tenant: Owner of the collection.
            collection: None is the default one.
            write: Open it for writing, and create it if absent.
            speak: Answer in speech as well.

        Raises:
            BusyError: The maximum number of open collections is in use.
            ForbiddenError: It was opened for writing, and the server is read-only.
            NotFoundError: There is no such collection.
            StoreError: The database failed.
        """
        if write and self.read_only:
            raise ForbiddenError("this server is read-only")
        job.check()
        chosen = collection or self.settings.collection
        with self._leased((tenant, chosen, not write)) as rags:
            yield rags[speak]

    def collections(self, tenant: str) -> Sequence[CollectionSummary]:
        """Return the collections of a tenant, sorted by name."""
        return self._list_collections(self._chosen(tenant, self.settings.collection))

    def close(self) -> None:
        """Close every store; calls that still use one get a `StoreError`."""
        with self._lock:
            stores = list(self._stores.values())
            self._stores.clear()
        for opened in stores:
            opened.stack.close()

    @property
    def open_stores(self) -> int:
        """How many stores are open."""
        with self._lock:
            return len(self._stores)

    def _chosen(self, tenant: str, collection: str) -> Settings:
        return self.settings.model_copy(update={"tenant": tenant, "collection": collection})

    @contextmanager
    def _leased(self, key: _Key) -> Iterator[tuple[VoiceRAG, VoiceRAG]]:
        opened = self._take(key)
        try:
            with opened.lock:
                if opened.rags is None:
                    opened.rags = self._open(opened.stack, *key)
            yield opened.rags
        finally:
            with self._lock:
                opened.users -= 1
                if opened.rags is None and opened.users == 0:
                    self._stores.pop(key, None)

    def _open(
        self, stack: ExitStack, tenant: str, collection: str, read_only: bool
    ) -> tuple[VoiceRAG, VoiceRAG]:
        size = len(collection.encode(errors="replace"))
        if read_only and size > MOST_NAME_BYTES:
            raise NotFoundError(
                f"there is no collection {collection[:40]!r}…: the name has {size} bytes, and one "
                f"has at most {MOST_NAME_BYTES}"
            )
        settings = self._chosen(tenant, collection)
        with ExitStack() as opening:
            try:
                store = opening.enter_context(self._open_store(settings, read_only))
            except EmptyCollectionError as error:
                known = [one.name for one in self._list_collections(settings)]
                if collection not in known:
                    raise NotFoundError(self._absent(collection, known)) from error
                raise
            silent = OpenedVoiceRAG(self.parts, store, settings, speak=False)
            aloud = OpenedVoiceRAG(self.parts, store, settings)
            stack.enter_context(opening.pop_all())
        return silent, aloud

    def _take(self, key: _Key) -> _Opened:
        idle: _Opened | None = None
        with self._lock:
            opened = self._stores.get(key)
            if opened is None:
                if len(self._stores) >= self._most_open():
                    idle = self._pop_idle()
                opened = self._stores[key] = _Opened()
            self._stores.move_to_end(key)
            opened.users += 1
        if idle is not None:
            idle.stack.close()
        return opened

    def _pop_idle(self) -> _Opened:
        for key, opened in self._stores.items():
            if opened.users == 0:
                return self._stores.pop(key)
        raise BusyError(
            f"the server is busy: all of its {self._most_open()} open collections are in use; "
            "repeat the call in a few seconds"
        )

    def _absent(self, collection: str, known: Sequence[str]) -> str:
        if not known:
            return f"nothing has been indexed yet; ingest documents first ({self._how_to_ingest})"
        return (
            f"there is no collection {collection!r}; there are: {', '.join(known[:20])}; choose "
            f"one of them, or ingest documents into {collection!r} first ({self._how_to_ingest})"
        )


@contextmanager
def open_tenants(
    settings: Settings,
    *,
    most_open: int | Callable[[], int] = 8,
    read_only: bool = False,
    how_to_ingest: str = HOW_TO_INGEST,
) -> Iterator[Tenants]:
    """Open the stack of the settings. Nothing is loaded or started before its first use.

    A table of another program is only read, whatever `read_only` says.
    """
    with ExitStack() as stack:
        parts = stack.enter_context(open_parts(settings))
        if settings.table is not None:
            table = TableOfTenants(settings, parts.embedder)
            tenants = Tenants(
                settings.model_copy(update={"collection": table.default}),
                parts,
                open_store=lambda chosen, _: table.open(chosen),
                list_collections=table.collections,
                most_open=most_open,
                read_only=True,
                how_to_ingest="the program that fills the table",
            )
            stack.callback(tenants.close)
            yield tenants
            return
        database = Database(settings, stack)
        tenants = Tenants(
            settings,
            parts,
            open_store=lambda chosen, reading: open_store(
                database.reached(chosen), parts.embedder, read_only=reading
            ),
            list_collections=lambda chosen: list_collections(database.reached(chosen)),
            most_open=most_open,
            read_only=read_only,
            how_to_ingest=how_to_ingest,
        )
        stack.callback(tenants.close)
        yield tenants


class Database:
    """Keeps an embedded server running from its first use until closed.

    Args:
        settings: Which database.
        stack: Closes the server.
    """

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self._lock = threading.Lock()
        self._dsn: SecretStr | None = None

    def reached(self, settings: Settings) -> Settings:
        """Return the settings with the DSN of the running server."""
        with self._lock:
            if self._dsn is None:
                self._dsn = SecretStr(self._stack.enter_context(open_database(self._settings)))
        return settings.model_copy(update={"database_url": self._dsn})
