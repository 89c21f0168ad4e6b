"""What the parts of an open store share: its connections, and its collection as last seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from psycopg.rows import BaseRowFactory

from voicerag_core.errors import StoreError
from voicerag_core.store.collection import Collection, looked_up
from voicerag_core.store.connection import Database
from voicerag_core.store.statements import named

__all__ = ["OpenedCollection"]

_T = TypeVar("_T")


class OpenedCollection:
    """A collection behind the connections of one store.

    Args:
        database: Its connections.
        here: The collection, its sizes and its index, as they were when it was found.
        name: What its tenant calls it.
        read_only: Whether the store took the role that can only read.
    """

    def __init__(self, database: Database, here: Collection, *, name: str, read_only: bool) -> None:
        self.database = database
        self.here = here
        self.name = name
        self.read_only = read_only

    def refresh(self) -> Collection:
        """Read the collection's sizes again, and what index it has.

        Raises:
            StoreError: It was deleted.
        """
        now = looked_up(self.database, self.here)
        if now is None:
            raise self.deleted()
        self.here = now
        return now

    def read(
        self, name: str, values: Mapping[str, object], *, rows: BaseRowFactory[_T]
    ) -> list[_T]:
        """Run a named statement on the collection, and return its rows."""
        return self.database.read(named(name, self.here, values), rows=rows)[0]

    def deleted(self) -> StoreError:
        """Say that it is there no more."""
        return StoreError(f"the collection {self.name!r} was deleted; open the store again")

    def refuse_read_only(self) -> None:
        """Raise a `StoreError` if the store may only read."""
        if self.read_only:
            raise StoreError("this store was opened with read_only; open it without to change it")
