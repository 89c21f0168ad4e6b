"""One set of models for everybody, and the collections of many tenants, opened when asked for."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import SecretStr

from voicerag_core import (
    ConfigError,
    Embedder,
    Settings,
    Speaker,
    StoreError,
    Transcriber,
    VoiceModel,
    VoiceRAG,
)
from voicerag_core.stack import (
    LateStore,
    list_collections,
    open_database,
    open_store,
    open_voicerag,
)
from voicerag_mcp.work import Job

if TYPE_CHECKING:
    from voicerag_core import PgVectorStore

__all__ = ["CollectionSummary", "Engine", "Knowledge", "StoreOpener", "open_knowledge"]

_logger = logging.getLogger(__name__)


class CollectionSummary(Protocol):
    """A collection and how much it holds."""

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
        """How many documents those came from."""
        ...


class Engine(Protocol):
    """The models and defaults that all tenants share, as `OpenedVoiceRAG` has them."""

    embedder: Embedder
    model: VoiceModel
    text_model: VoiceModel
    transcriber: Transcriber | None
    speaker: Speaker | None


StoreOpener: TypeAlias = "Callable[[Settings, bool], AbstractContextManager[PgVectorStore]]"
"""Opens the collection of the settings' tenant; True asks for reading rights alone."""

_Key: TypeAlias = tuple[str, str, bool]


@dataclass(slots=True)
class _Opened:
    """A store that is open, or about to be."""

    stack: ExitStack = field(default_factory=ExitStack)
    store: PgVectorStore | None = None
    users: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Knowledge:
    """Gives a `VoiceRAG` for any tenant and collection. Safe to share between threads.

    Reading calls work as the role that can only read. Stores stay open for the next call, as
    many as `most_open`; the one that was not used for longest makes room.

    Args:
        settings: Defaults of every tenant.
        engine: The models; they are shared.
        open_store: Opens a collection.
        list_collections: Lists the collections of the settings' tenant.
        most_open: Stores that are kept open.
        read_only: Refuse to open anything for writing.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        *,
        open_store: StoreOpener,
        list_collections: Callable[[Settings], Sequence[CollectionSummary]],
        most_open: int = 8,
        read_only: bool = False,
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.read_only = read_only
        self._open_store = open_store
        self._list_collections = list_collections
        self._most_open = most_open
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
        """Yield a `VoiceRAG` that begins no new stage once the job is stopped.

        Its store is opened by the first use.

        Args:
            job: Whose work it does.
            tenant: Whose collection.
            collection: None takes the default.
            write: Open it for writing, and make it when there is none.
            speak: Answer in speech too.
        """
        if write and self.read_only:
            raise ConfigError("this server is read-only")
        chosen = self._chosen(tenant, collection)
        engine, settings = self.engine, self.settings
        with ExitStack() as stack:

            def opened() -> PgVectorStore:
                job.check()
                return stack.enter_context(self._leased(chosen, read_only=not write))

            yield VoiceRAG(
                engine.embedder,
                LateStore(opened),
                engine.model if speak else engine.text_model,
                engine.transcriber,
                strategy=settings.question_strategy,
                limit=settings.limit,
                sentence_vectors=settings.sentence_vectors,
                max_question_seconds=settings.max_question_seconds,
            )

    def collections(self, tenant: str) -> Sequence[CollectionSummary]:
        """Return the collections of a tenant, by name."""
        return self._list_collections(self._chosen(tenant, None))

    def close(self) -> None:
        """Close every store; whoever still uses one gets a `StoreError`."""
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

    def _chosen(self, tenant: str, collection: str | None) -> Settings:
        return self.settings.model_copy(
            update={"tenant": tenant, "collection": collection or self.settings.collection}
        )

    @contextmanager
    def _leased(self, settings: Settings, *, read_only: bool) -> Iterator[PgVectorStore]:
        key = (settings.tenant, settings.collection, read_only)
        opened = self._take(key)
        try:
            with opened.lock:
                if opened.store is None:
                    opened.store = opened.stack.enter_context(self._opened(settings, read_only))
            yield opened.store
        finally:
            with self._lock:
                opened.users -= 1
                if opened.store is None and opened.users == 0:
                    self._stores.pop(key, None)

    @contextmanager
    def _opened(self, settings: Settings, read_only: bool) -> Iterator[PgVectorStore]:
        with ExitStack() as stack:
            try:
                store = stack.enter_context(self._open_store(settings, read_only))
            except StoreError as error:
                if type(error) is StoreError and read_only:
                    known = [one.name for one in self._list_collections(settings)]
                    if settings.collection not in known:
                        raise ConfigError(_absent(settings.collection, known)) from error
                raise
            yield store

    def _take(self, key: _Key) -> _Opened:
        idle: _Opened | None = None
        with self._lock:
            opened = self._stores.get(key)
            if opened is None:
                if len(self._stores) >= self._most_open:
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
        raise ToolError(
            f"the server is busy: all of its {self._most_open} open collections are in use; "
            "repeat the call in a few seconds"
        )


@contextmanager
def open_knowledge(
    settings: Settings, *, most_open: int = 8, read_only: bool = False
) -> Iterator[Knowledge]:
    """Open the stack that the settings name. Nothing is loaded or started before its first use."""
    with ExitStack() as stack:
        engine = stack.enter_context(open_voicerag(settings, read_only=read_only))
        database = _Database(settings, stack)
        knowledge = Knowledge(
            settings,
            engine,
            open_store=lambda chosen, reading: open_store(
                database.reached(chosen), engine.embedder, read_only=reading
            ),
            list_collections=lambda chosen: list_collections(database.reached(chosen)),
            most_open=most_open,
            read_only=read_only,
        )
        stack.callback(knowledge.close)
        yield knowledge


class _Database:
    """Keeps an embedded server running from the first use to the end."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self._lock = threading.Lock()
        self._dsn: SecretStr | None = None

    def reached(self, settings: Settings) -> Settings:
        """Return the settings with the DSN of the running server in them."""
        with self._lock:
            if self._dsn is None:
                self._dsn = SecretStr(self._stack.enter_context(open_database(self._settings)))
        return settings.model_copy(update={"database_url": self._dsn})


def _absent(collection: str, known: Sequence[str]) -> str:
    if not known:
        return (
            "nothing has been indexed yet; ingest documents first (voice_ingest, or "
            "`voicerag index` on the server)"
        )
    return f"there is no collection {collection!r}; there are: {', '.join(known[:20])}"
