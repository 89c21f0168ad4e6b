"""A table of another program as what a server asks: it is only read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voicerag_core.errors import ForbiddenError
from voicerag_core.ports import Embedder
from voicerag_core.settings import Settings
from voicerag_core.stack import existing_table

if TYPE_CHECKING:
    from voicerag_core.store import ExistingTable

__all__ = ["TableCollection", "TableOfTenants"]


@dataclass(frozen=True, slots=True)
class TableCollection:
    """A collection in a table, or the table itself.

    Args:
        name: Its name.
        passages: How many passages it holds.
        documents: 0: a table does not say which documents its passages come from.
    """

    name: str
    passages: int
    documents: int = 0


class TableOfTenants:
    """Opens the table of the settings for the tenants that may ask it.

    With a column of tenants each sees the rows of its own; otherwise the table is that of the
    settings' tenant, and others are refused.

    Args:
        settings: Name the table and its columns.
        embedder: What filled the table must be of this model.
    """

    def __init__(self, settings: Settings, embedder: Embedder) -> None:
        self._settings = settings
        self._embedder = embedder

    @property
    def default(self) -> str:
        """The name of what is asked where a call names no collection."""
        return self._settings.table_collection or str(self._settings.table)

    @contextmanager
    def open(self, chosen: Settings) -> Iterator[ExistingTable]:
        """Open a collection of the table for a tenant.

        Raises:
            ForbiddenError: The tenant has no rows in it.
            ConfigError: There is no such collection.
            StoreError: It cannot be read, or was filled by another model.
        """
        with existing_table(self._of_tenant(chosen), self._embedder) as table:
            table.warm()
            yield table

    def collections(self, chosen: Settings) -> Sequence[TableCollection]:
        """List the collections in the table, or the table as the only one."""
        settings = self._of_tenant(chosen)
        with existing_table(settings, None) as table:
            if self._settings.table_tenant_column is None:
                found = table.collections()
                if found:
                    return [TableCollection(name, size) for name, size in found.items()]
            return [TableCollection(self.default, table.count())]

    def _of_tenant(self, chosen: Settings) -> Settings:
        own = self._settings
        if own.table_tenant_column is None and chosen.tenant != own.tenant:
            raise ForbiddenError(
                f"the table of this server is that of another tenant than {chosen.tenant!r}; its "
                "operator names the column of tenants in VOICERAG_TABLE_TENANT_COLUMN"
            )
        update: dict[str, object] = {"tenant": chosen.tenant}
        if chosen.collection != self.default or own.table_collection is not None:
            update["collection"] = chosen.collection
        return own.model_copy(update=update)
