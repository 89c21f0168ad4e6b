"""What a process keeps: few heaps of the C library, and nothing that is searched for garbage."""

from __future__ import annotations

import ctypes
import gc
import os
from contextlib import suppress
from functools import cache
from typing import Final

__all__ = ["settle", "share_heaps"]

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


def settle() -> None:
    """Leave what the process holds now out of Python's searches for garbage, until `gc.unfreeze`.

    A search of all objects, which comes when a quarter as many have been added, stops every thread
    for a quarter of a second where networks are loaded (400,000 objects). For a program that keeps
    what it has loaded; what is garbage now is collected before.
    """
    gc.collect()
    gc.freeze()
