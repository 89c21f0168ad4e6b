"""Tables that other programs fill, searched as they are."""

from voicerag_core.store.existing.catalog import IndexOn, VectorColumn, list_vector_columns
from voicerag_core.store.existing.inspecting import TableReport, inspect_table
from voicerag_core.store.existing.probe import ModelMatch
from voicerag_core.store.existing.table import ExistingTable

__all__ = [
    "ExistingTable",
    "IndexOn",
    "ModelMatch",
    "TableReport",
    "VectorColumn",
    "inspect_table",
    "list_vector_columns",
]
