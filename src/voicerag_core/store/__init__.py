"""The passage store on Postgres with pgvector, and the embedded server it can run on."""

from voicerag_core.store.admin import (
    CollectionInfo,
    DatabaseStatus,
    list_collections,
    reset,
    status,
)
from voicerag_core.store.backups import (
    BackupReport,
    Difference,
    RestoreReport,
    VerifyReport,
    backup,
    restore,
    verify,
)
from voicerag_core.store.embedded import EmbeddedPostgres
from voicerag_core.store.errors import without_password
from voicerag_core.store.existing import (
    ExistingTable,
    IndexOn,
    ModelMatch,
    TableReport,
    VectorColumn,
    inspect_table,
    list_vector_columns,
)
from voicerag_core.store.exporting import ExportedPassage, export_passages
from voicerag_core.store.indexes import INDEX_FROM
from voicerag_core.store.listing import (
    DocumentInfo,
    known_collection,
    list_documents,
    open_collection,
)
from voicerag_core.store.migrations import migrate
from voicerag_core.store.partitions import partition
from voicerag_core.store.pgvector import IndexInfo, PgVectorStore
from voicerag_core.store.rebuilding import reindex
from voicerag_core.store.reembedding import reembed
from voicerag_core.store.replica import ReplicatedStore
from voicerag_core.store.sizes import DatabaseStats, IndexStats, TableStats, database_stats
from voicerag_core.store.tuning import RECALL_TARGET, Tuning

__all__ = [
    "INDEX_FROM",
    "RECALL_TARGET",
    "BackupReport",
    "CollectionInfo",
    "DatabaseStats",
    "DatabaseStatus",
    "Difference",
    "DocumentInfo",
    "EmbeddedPostgres",
    "ExistingTable",
    "ExportedPassage",
    "IndexInfo",
    "IndexOn",
    "IndexStats",
    "ModelMatch",
    "PgVectorStore",
    "ReplicatedStore",
    "RestoreReport",
    "TableReport",
    "TableStats",
    "Tuning",
    "VectorColumn",
    "VerifyReport",
    "backup",
    "database_stats",
    "export_passages",
    "inspect_table",
    "known_collection",
    "list_collections",
    "list_documents",
    "list_vector_columns",
    "migrate",
    "open_collection",
    "partition",
    "reembed",
    "reindex",
    "reset",
    "restore",
    "status",
    "verify",
    "without_password",
]
