"""How many threads a model of the local stack takes."""

from __future__ import annotations

import os

from voicerag_core.errors import ConfigError

__all__ = ["model_threads"]

MOST_THREADS = 4
"""More gain nothing on models this small, and leave no core to the others."""


def model_threads(wanted: int | None) -> int:
    """Return the threads to run a model with: those wanted, else one a usable core, 4 at most.

    Raises:
        ConfigError: Fewer than 1 were wanted.
    """
    if wanted is None:
        usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
        return min(MOST_THREADS, len(usable) or os.cpu_count() or 1)
    if wanted < 1:
        raise ConfigError(f"threads is at least 1, not {wanted}; leave it out to choose")
    return wanted
