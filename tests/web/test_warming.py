"""What a server does between loading its models and saying that it is ready."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from voicerag_web.app import _warm


class _Service:
    """As much of a `WebService` as is warmed."""

    def __init__(self, stack: str) -> None:
        self.loaded: list[str] = []
        parts = SimpleNamespace(loads={"model": lambda: self.loaded.append("model")})
        self.settings = SimpleNamespace(warm=True)
        self.tenants = SimpleNamespace(parts=parts, settings=SimpleNamespace(stack=stack))
        self.serving = SimpleNamespace(workers=self)
        self.ready = False

    async def run(self, job: Callable[[Any], None]) -> None:
        job(SimpleNamespace(check=lambda: None))


@pytest.mark.parametrize(("stack", "settled"), [("glm", True), ("local", False)])
def test_the_networks_of_many_callers_are_not_searched_for_garbage(
    stack: str, settled: bool
) -> None:
    service: Any = _Service(stack)
    gc.unfreeze()
    try:
        asyncio.run(_warm(service))
        assert (gc.get_freeze_count() > 0) is settled
    finally:
        gc.unfreeze()
    assert service.loaded == ["model"]
    assert service.ready
