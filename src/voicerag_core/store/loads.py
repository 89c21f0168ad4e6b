"""Runs of writes: when one is over, so that what costs little for many rows is done once, after it.

A graph that grows row by row costs five times as much for each as one that is built of all of them.
So the index waits until a load is over: at the end of a `bulk_load`, when the thread that wrote
searches, when no write came for `QUIET_SECONDS`, or when the block of the store ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import psycopg

from voicerag_core.store.ahead import WordsAhead
from voicerag_core.store.connection import Connection, Database

__all__ = ["QUIET_SECONDS", "Load", "others_wait", "sharing"]

QUIET_SECONDS: Final = 5.0
"""Writes that are further apart belong to two loads."""


class Load:
    """The load of one store that is not over yet. Thread-safe.

    Args:
        finish: Called in a thread of its own when no write came for a while.
    """

    def __init__(self, finish: Callable[[], None]) -> None:
        self._finish = finish
        self._lock = threading.Lock()
        self._threads: set[int] = set()
        self._timer: threading.Timer | None = None
        self._held = 0
        self._first = False
        self._ahead: WordsAhead | None = None
        self.grown = 0.0
        """Seconds that went into an index that grew."""
        self.vectors = 0
        """By how many vectors it grew."""
        self.scans: int | None = None
        """Searches that the index had served when it began to grow."""

    @property
    def waiting(self) -> bool:
        """Whether something was written since the last load was over."""
        return bool(self._threads)

    @property
    def held(self) -> bool:
        """Whether somebody will say when the load is over."""
        return self._held > 0

    def wrote(self) -> None:
        """Note that this thread wrote; the load is over when it searches, or after a pause."""
        with self._lock:
            self._threads.add(threading.get_ident())
            if not self._held:
                self._wind_up()

    def is_mine(self) -> bool:
        """Whether this thread wrote, and nobody will say when the load is over."""
        return not self._held and threading.get_ident() in self._threads

    def over(self) -> None:
        """Begin anew."""
        with self._lock:
            self._stop()
            self._threads.clear()
            self.grown = 0.0
            self.vectors = 0
            self.scans = None

    def close(self) -> None:
        """Wait for nothing any more."""
        with self._lock:
            self._stop()

    @contextmanager
    def hold(self, *, first: bool, ahead: WordsAhead | None = None) -> Iterator[None]:
        """Let the load last until the end of the block at least.

        Args:
            first: The collection was empty; its words are then counted at the end, all at once.
            ahead: What makes words meanwhile.
        """
        with self._lock:
            if not self._held:
                self._first = first
                self._ahead = ahead
            self._held += 1
            self._stop()
        try:
            yield
        finally:
            with self._lock:
                self._held -= 1

    @property
    def first(self) -> bool:
        """Whether this load fills a collection that was empty, until somebody says it is over."""
        return self._held > 0 and self._first

    @property
    def ahead(self) -> WordsAhead | None:
        """What makes the words of passages while others are written, if there is such a thing."""
        return self._ahead if self._held else None

    @property
    def settings(self) -> dict[str, str]:
        """Server settings of a write that belongs to this load."""
        return {"voicerag.loading": "on"} if self.first else {}

    def _wind_up(self) -> None:
        self._stop()
        self._timer = threading.Timer(QUIET_SECONDS, self._finish)
        self._timer.daemon = True
        self._timer.start()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


@contextmanager
def sharing(database: Database, number: int) -> Iterator[Connection]:
    """Tell other processes for the length of the block that a collection is being loaded.

    A lock of the session says so, hence a connection of its own: it ends with the process.
    """
    with database.connect() as connection:
        connection.execute("SELECT pg_advisory_lock_shared(%s, 3)", (number,))
        yield connection


@contextmanager
def others_wait(database: Database, number: int, mine: Connection | None = None) -> Iterator[bool]:
    """Say whether no other process is loading the collection; new loads wait for the block to end.

    Args:
        database: Of the collection.
        number: Its key.
        mine: The connection of `sharing`, whose share is given back first.
    """
    connection = database.connect() if mine is None else mine
    try:
        if mine is not None:
            connection.execute("SELECT pg_advisory_unlock_shared(%s, 3)", (number,))
        row = connection.execute("SELECT pg_try_advisory_lock(%s, 3)", (number,)).fetchone()
        yield row == (True,)
    finally:
        if mine is None:
            with suppress(psycopg.Error):
                connection.close()
