"""A server on fakes: everything of it is real but models and database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.serving.fakes import FakeModels, fake_tenants
from voicerag_core import Settings
from voicerag_mcp.server import open_service
from voicerag_mcp.service import Service
from voicerag_mcp.settings import ServerSettings, load_server_settings

__all__ = ["FakeModels", "fake_service"]


@contextmanager
def fake_service(
    server_settings: ServerSettings | None = None, models: FakeModels | None = None
) -> Iterator[Service]:
    """Open a service on fakes, with two documents of the default tenant."""
    chosen = load_server_settings() if server_settings is None else server_settings
    tenants, _ = fake_tenants(models, most_open=chosen.open_stores, read_only=chosen.read_only)
    with open_service(Settings(), chosen, knowledge=tenants) as service:
        yield service
