"""Synchronize a knowledge base with files and documents.

Sources are compared by digest; only new or changed ones are read, embedded and written, each in one
transaction, and sources deleted from the given folders are removed. An interrupted run leaves each
source complete, old or new, and the next run resumes. Recordings are ingested on request, with an
embedder that needs no transcript: as windows of speech, found by their sound.

`index_files` and `index_documents` run the four stages in this process. The stages are functions
between picklable values, so that a distributed engine can run them: `plan_files` in the driver,
`index_sources`, which is the other three, in its workers. `index_files` takes such an engine.
"""

from voicerag_core.ingest.digests import Cutting, text_source
from voicerag_core.ingest.embed import (
    Batch,
    BatchEmbedding,
    Embed,
    EmbeddedDocument,
    EmbeddedPart,
    Vectors,
    embed_documents,
)
from voicerag_core.ingest.engine import Engine, Indexed, index_sources
from voicerag_core.ingest.estimate import Estimate, OnEstimate
from voicerag_core.ingest.exchange import (
    CollectionHeader,
    EmbedTexts,
    Exportable,
    ImportReport,
    OnPassages,
    import_collection,
    read_header,
    write_collection,
)
from voicerag_core.ingest.indexing import index_documents, index_files
from voicerag_core.ingest.plan import (
    FileSource,
    Plan,
    Source,
    TextSource,
    plan_documents,
    plan_files,
)
from voicerag_core.ingest.progress import FileProgress, FileReport, OnProgress
from voicerag_core.ingest.read import CutDocument, read_source, read_sources
from voicerag_core.ingest.shards import Shard
from voicerag_core.ingest.watching import WatchEvent, watch_files
from voicerag_core.ingest.write import write_document

__all__ = [
    "Batch",
    "BatchEmbedding",
    "CollectionHeader",
    "CutDocument",
    "Cutting",
    "Embed",
    "EmbedTexts",
    "EmbeddedDocument",
    "EmbeddedPart",
    "Engine",
    "Estimate",
    "Exportable",
    "FileProgress",
    "FileReport",
    "FileSource",
    "ImportReport",
    "Indexed",
    "OnEstimate",
    "OnPassages",
    "OnProgress",
    "Plan",
    "Shard",
    "Source",
    "TextSource",
    "Vectors",
    "WatchEvent",
    "embed_documents",
    "import_collection",
    "index_documents",
    "index_files",
    "index_sources",
    "plan_documents",
    "plan_files",
    "read_header",
    "read_source",
    "read_sources",
    "text_source",
    "watch_files",
    "write_collection",
    "write_document",
]
