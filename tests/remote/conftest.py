from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.remote.wire import Wire, serving
from voicerag_core.remote.endpoint import Endpoint


@pytest.fixture
def wire(socket_enabled: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """The test server, without a proxy before it."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with serving() as running:
        yield running


def endpoint_of(wire: Wire, **values: Any) -> Endpoint:
    """The chat model of the test server."""
    given = {"model": "tiny", "timeout": 20.0, **values}
    return Endpoint(given.pop("url", wire.url), "the chat model", "VOICERAG_CHAT", **given)
