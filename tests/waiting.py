"""Waiting for what other threads and processes do, however busy the machine is.

Nothing here measures time: a test that waits longer than `PATIENCE` hangs, and fails.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

PATIENCE = 300.0
"""Seconds; what is waited for takes milliseconds on a quiet machine."""


def wait_until(true: Callable[[], bool], told: str = "it never came true") -> None:
    """Wait for something to become true, and fail when it does not."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, told
        time.sleep(0.01)


async def reached(true: Callable[[], bool], told: str = "it never came true") -> None:
    """Wait for something to become true while the loop goes on."""
    await asyncio.to_thread(wait_until, true, told)


class Gate:
    """A call that cannot be interrupted and takes until the test opens the gate."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()
        self.passed = threading.Event()

    def wait(self) -> None:
        """Stand before the gate until it is open."""
        self.entered.set()
        assert self.open.wait(PATIENCE), "the test forgot to open the gate"
        self.passed.set()
