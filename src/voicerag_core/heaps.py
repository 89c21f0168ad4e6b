"""Few heaps of the C library for all threads of a process, so that it keeps less memory."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from functools import cache
from typing import Final

__all__ = ["share_heaps"]

_M_ARENA_MAX: Final = -8
"""Source: glibc's malloc.h."""
_HEAPS: Final = 2
"""Each heap keeps what the networks that ran in its threads took at most, and glibc makes up to 16
on 2 cores. With two, the sample base takes 120 MiB less at the same speed
(benchmarks/main_job/sample_base.py)."""


@cache
def share_heaps() -> None:
    """Let threads share two heaps, unless MALLOC_ARENA_MAX says how many.

    Heaps that are there stay. Other C libraries than glibc are left as they are.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(OSError, AttributeError, TypeError):  # no such library, or function
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _HEAPS)
