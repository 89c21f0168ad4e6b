"""The passage store on Postgres with pgvector, and the embedded server it can run on."""

from voicerag_core.store.embedded import EmbeddedPostgres
from voicerag_core.store.migrations import migrate
from voicerag_core.store.pgvector import PgVectorStore

__all__ = ["EmbeddedPostgres", "PgVectorStore", "migrate"]
