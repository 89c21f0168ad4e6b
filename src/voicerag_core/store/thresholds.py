"""The thresholds that are kept with a collection."""

from __future__ import annotations

import time
from dataclasses import asdict, fields
from typing import Final

from psycopg import sql
from psycopg.rows import scalar_row
from psycopg.types.json import Jsonb

from voicerag_core.store.connection import Connection, Database
from voicerag_core.types import Thresholds

__all__ = ["KeptThresholds"]

REREAD_SECONDS: Final = 30.0
"""For so long a running program does not notice that another one calibrated the collection."""

_READ = sql.SQL("SELECT thresholds FROM voicerag.collections WHERE id = %(id)s")
_WRITE = sql.SQL("UPDATE voicerag.collections SET thresholds = %(value)s WHERE id = %(id)s")


class KeptThresholds:
    """Reads and writes the thresholds of one collection; safe to share between threads.

    Args:
        database: Where the collection is.
        number: Its key.
    """

    def __init__(self, database: Database, number: int) -> None:
        self._database, self._number = database, number
        self._known: tuple[float, Thresholds] | None = None

    def read(self) -> Thresholds:
        """Return them; all None where none were chosen. Fields of other versions are ignored."""
        known = self._known
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        (rows,) = self._database.read((_READ, {"id": self._number}), rows=scalar_row)
        kept = (rows[0] if rows else None) or {}
        names = {field.name for field in fields(Thresholds)}
        found = Thresholds(
            **{
                name: float(value)
                for name, value in kept.items()
                if name in names and isinstance(value, int | float)
            }
        )
        self._known = (time.monotonic() + REREAD_SECONDS, found)
        return found

    def write(self, thresholds: Thresholds) -> None:
        """Keep them, instead of those before."""

        def update(connection: Connection) -> None:
            values = {"id": self._number, "value": Jsonb(asdict(thresholds))}
            connection.execute(_WRITE, values)

        self._database.write(update)
        self._known = None
