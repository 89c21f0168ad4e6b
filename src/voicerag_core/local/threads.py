"""Number of threads of the models of the local stack."""

from __future__ import annotations

import os

from voicerag_core.errors import ConfigError

__all__ = ["model_threads"]

MOST_THREADS = 4
"""More do not speed up models this small, and leave no cores for others."""


def model_threads(wanted: int | None) -> int:
    """Return the given number of threads, or one per usable core, at most 4.

    Raises:
        ConfigError: Fewer than 1 were given.
    """
    if wanted is None:
        usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
        return min(MOST_THREADS, len(usable) or os.cpu_count() or 1)
    if wanted < 1:
        raise ConfigError(f"threads is at least 1, not {wanted}; leave it out to choose")
    return wanted
