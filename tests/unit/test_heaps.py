"""Threads of a process share few heaps of glibc, counted by glibc; what stays is not searched."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
import weakref

import pytest

from voicerag_core.heaps import settle

COUNT = """
import ctypes, os, re, sys, tempfile, threading
{first}
enough, barrier = ctypes.create_string_buffer(1), threading.Barrier(6)
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
def take():
    barrier.wait()
    libc.malloc(100_000)
    barrier.wait()
threads = [threading.Thread(target=take) for _ in range(6)]
[one.start() for one in threads]
[one.join() for one in threads]
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fopen(file.name.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(len(re.findall(rb"<heap nr", file.read())))
"""
SHARED = "from voicerag_core.heaps import share_heaps; share_heaps()"


def heaps(first: str, **environment: str) -> int:
    """Count the heaps of a program in which six threads allocate at the same time."""
    known = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    done = subprocess.run(
        [sys.executable, "-c", COUNT.format(first=first)],
        env=known | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has several heaps")
def test_threads_share_two_heaps() -> None:
    assert heaps("") > 2
    assert heaps(SHARED) == 2
    assert heaps(SHARED, MALLOC_ARENA_MAX="4") == 4, "what the environment says is kept"


class _Node:
    """Refers to itself."""

    def __init__(self) -> None:
        self.me = self


def test_what_a_process_holds_when_it_settles_is_not_searched_for_garbage() -> None:
    kept: list[object] = []
    garbage = weakref.ref(_Node())
    try:
        settle()
        assert garbage() is None
        assert not any(one is kept for one in gc.get_objects())
        later = weakref.ref(_Node())
        gc.collect()
        assert later() is None
    finally:
        gc.unfreeze()
    assert any(one is kept for one in gc.get_objects())
