"""The passage store on Postgres with pgvector, and the embedded server it can run on."""

from voicerag_core.store.admin import (
    CollectionInfo,
    DatabaseStatus,
    list_collections,
    reset,
    status,
)
from voicerag_core.store.embedded import EmbeddedPostgres
from voicerag_core.store.existing import (
    ExistingTable,
    IndexOn,
    ModelMatch,
    TableReport,
    VectorColumn,
    inspect_table,
    list_vector_columns,
)
from voicerag_core.store.indexes import INDEX_FROM
from voicerag_core.store.migrations import migrate
from voicerag_core.store.partitions import partition
from voicerag_core.store.pgvector import IndexInfo, PgVectorStore
from voicerag_core.store.reembedding import reembed
from voicerag_core.store.tuning import RECALL_TARGET, Tuning

__all__ = [
    "INDEX_FROM",
    "RECALL_TARGET",
    "CollectionInfo",
    "DatabaseStatus",
    "EmbeddedPostgres",
    "ExistingTable",
    "IndexInfo",
    "IndexOn",
    "ModelMatch",
    "PgVectorStore",
    "TableReport",
    "Tuning",
    "VectorColumn",
    "inspect_table",
    "list_collections",
    "list_vector_columns",
    "migrate",
    "partition",
    "reembed",
    "reset",
    "status",
]
