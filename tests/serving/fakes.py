"""The application on fakes: everything is real but models and database."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from voicerag_core import Document, EmptyCollectionError, Settings, VoiceRAG, chunk_document
from voicerag_core.serving import Limits, Serving, Tenants, open_serving
from voicerag_core.stack import Parts
from voicerag_core.testing import (
    FakeEmbedder,
    FakeSpeaker,
    FakeTranscriber,
    FakeVoiceModel,
    InMemoryStore,
)

TEXTS = {
    "rhine.txt": "The Rhine rises in the Swiss Alps. It flows into the North Sea.",
    "oxygen.txt": "Oxygen is a gas without colour. Carl Scheele was the first to make it.",
}


@dataclass
class FakeModels:
    """Models that need no weights."""

    embedder: Any = field(default_factory=FakeEmbedder)
    model: Any = field(default_factory=FakeVoiceModel)
    text_model: Any = field(default_factory=lambda: FakeVoiceModel(speaks=False))
    transcriber: Any = field(
        default_factory=lambda: FakeTranscriber(otherwise="where does the rhine rise")
    )
    speaker: Any = field(default_factory=FakeSpeaker)

    def parts(self) -> Parts:
        """Return them as the parts of a stack."""
        return Parts(self.embedder, self.model, self.text_model, self.transcriber, self.speaker)


@dataclass(frozen=True)
class FakeCollection:
    name: str
    passages: int
    documents: int


class FakeDatabase:
    """Collections in memory, by tenant and name; `opened` and `closed` count."""

    def __init__(self, models: FakeModels) -> None:
        self.models = models
        self.stores: dict[tuple[str, str], InMemoryStore] = {}
        self.opened = self.closed = 0
        self._lock = threading.Lock()

    @contextmanager
    def open(self, settings: Settings, read_only: bool) -> Iterator[Any]:
        key = (settings.tenant, settings.collection)
        with self._lock:
            if key not in self.stores:
                if read_only:
                    raise EmptyCollectionError(f"no collection {settings.collection!r}")
                self.stores[key] = InMemoryStore(self.models.embedder.dim)
            self.opened += 1
        try:
            yield self.stores[key]
        finally:
            self.closed += 1

    def list(self, settings: Settings) -> Sequence[FakeCollection]:
        return [
            FakeCollection(name, store.count(), len(store.document_digests()))
            for (tenant, name), store in sorted(self.stores.items())
            if tenant == settings.tenant
        ]

    def fill(self, tenant: str = "default", collection: str = "default", **texts: str) -> None:
        """Index texts by source."""
        store = self.stores.setdefault(
            (tenant, collection), InMemoryStore(self.models.embedder.dim)
        )
        rag = VoiceRAG(self.models.embedder, store, self.models.model)
        for source, text in texts.items():
            rag.index(chunk_document(Document(source, text, title=source.partition(".")[0])))


def fake_tenants(
    models: FakeModels | None = None,
    *,
    most_open: int = 8,
    read_only: bool = False,
    how_to_ingest: str = "`voicerag index` on the server",
) -> tuple[Tenants, FakeDatabase]:
    """Make tenants on fakes, with two documents of the default one."""
    chosen = models or FakeModels()
    database = FakeDatabase(chosen)
    database.fill(**TEXTS)
    tenants = Tenants(
        Settings(),
        chosen.parts(),
        open_store=cast("Any", database.open),
        list_collections=database.list,
        most_open=most_open,
        read_only=read_only,
        how_to_ingest=how_to_ingest,
    )
    return tenants, database


@contextmanager
def fake_serving(
    models: FakeModels | None = None, limits: Limits | None = None
) -> Iterator[Serving]:
    """Open the application on fakes, with two documents of the default tenant."""
    chosen = limits or Limits()
    tenants, _ = fake_tenants(models, most_open=chosen.open_stores, read_only=chosen.read_only)
    with open_serving(Settings(), chosen, tenants=tenants) as serving:
        yield serving
