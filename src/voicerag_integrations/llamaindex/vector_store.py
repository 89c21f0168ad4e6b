"""A voicerag store as a LlamaIndex vector store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, ImageNode, IndexNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)

from voicerag_core import (
    ConfigError,
    Embedding,
    EmbeddingMismatchError,
    Embeddings,
    Hit,
    PassageStore,
    PgVectorStore,
    StoreError,
    maximal_marginal_relevance,
)
from voicerag_core.aio import run_in_thread
from voicerag_core.filters import And, Eq, Filter, In, matches
from voicerag_integrations.llamaindex.filters import to_filter
from voicerag_integrations.llamaindex.nodes import passage_of_node, stored_node, unit

__all__ = ["VoiceRAGVectorStore"]

_WORDS: Final = (VectorStoreQueryMode.SPARSE, VectorStoreQueryMode.TEXT_SEARCH)
_FUSED: Final = (VectorStoreQueryMode.HYBRID, VectorStoreQueryMode.SEMANTIC_HYBRID)
_PLAIN: Final = (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR)
_MMR_CANDIDATES: Final = 4
_MMR_THRESHOLD: Final = 0.5
"""Source: LlamaIndex, indices/query/embedding_utils.py, ``get_top_k_mmr_embeddings``."""


class VoiceRAGVectorStore(BasePydanticVectorStore):
    """Stores nodes in a `PassageStore`, such as Postgres; nodes are replaced by id.

    ``to_dict`` contains the settings, never a connection or a password;
    ``from_dict(data, store=...)`` restores it.

    Args:
        store: An open store; closed by its owner, or by `close`.
        stores_text: Always true; LlamaIndex reads it.
        is_embedding_query: Always true; LlamaIndex reads it.
    """

    stores_text: bool = True
    is_embedding_query: bool = True

    _store: PassageStore | None = PrivateAttr(default=None)

    def __init__(
        self,
        store: PassageStore | None = None,
        *,
        stores_text: bool = True,
        is_embedding_query: bool = True,
    ) -> None:
        if not (stores_text and is_embedding_query):
            raise ConfigError(
                "VoiceRAGVectorStore keeps the text of its nodes and searches by vector; "
                "leave stores_text and is_embedding_query true"
            )
        super().__init__(stores_text=True, is_embedding_query=True)
        self._store = store

    @classmethod
    def from_dsn(
        cls,
        dsn: str,
        *,
        model_id: str,
        dim: int,
        collection: str = "default",
        tenant: str = "default",
        language: str = "english",
        hybrid_search: bool | None = None,
        read_only: bool = False,
        pool_size: int = 4,
    ) -> VoiceRAGVectorStore:
        """Open a collection of a Postgres database; close it with `close`.

        Args:
            dsn: The database; ``voicerag db migrate`` creates its schema.
            model_id: Names the embedding model, such as ``embed_model.model_name``.
            dim: Width of its vectors.
            collection: Name of the collection, created if absent.
            tenant: Owner of the collection.
            language: Text search configuration of a new collection.
            hybrid_search: Index the words of a new collection, too; False: nodes are written in
                less time, the modes hybrid and semantic_hybrid search by the vector alone, and
                sparse and text_search are refused. None: as an existing one was made, or True.
            read_only: Connect as the read-only role.
            pool_size: Maximum number of connections.

        Raises:
            StoreError: The database cannot be used; see `PgVectorStore.open`.
        """
        return cls(
            PgVectorStore.open(
                dsn,
                collection=collection,
                tenant=tenant,
                model_id=model_id,
                dim=dim,
                language=language,
                words=hybrid_search,
                read_only=read_only,
                pool_size=pool_size,
            )
        )

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which the settings are serialized."""
        return "VoiceRAGVectorStore"

    @property
    def client(self) -> PassageStore:
        """The store.

        Raises:
            ConfigError: There is none, as after ``from_dict`` without it.
        """
        if self._store is None:
            raise ConfigError(
                "this VoiceRAGVectorStore has no store; load it with from_dict(data, store=...)"
            )
        return self._store

    def close(self) -> None:
        """Close the store if it can be closed."""
        close = getattr(self._store, "close", None)
        if close is not None:
            close()

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:  # noqa: ANN401
        """Insert or replace nodes by id, in one transaction.

        Raises:
            EmbeddingMismatchError: The vectors are of another width.
            StoreError: A node has no vector or cannot be stored, or the database failed.
        """
        _refuse(kwargs, "add")
        if nodes:
            vectors = _unit_rows(nodes)
            self.client.add([passage_of_node(node) for node in nodes], vectors)
        return [node.node_id for node in nodes]

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:  # noqa: ANN401
        """Insert or replace nodes by id."""
        return await run_in_thread(lambda: self.add(nodes, **kwargs))

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:  # noqa: ANN401
        """Delete every node of a document."""
        _refuse(delete_kwargs, "delete")
        self.client.delete(where=Eq("ref_doc_id", ref_doc_id))

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:  # noqa: ANN401
        """Delete every node of a document."""
        await run_in_thread(lambda: self.delete(ref_doc_id, **delete_kwargs))

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,  # noqa: ANN401 - as in the base class
    ) -> None:
        """Delete the nodes that match ids and filters; without both, none."""
        _refuse(delete_kwargs, "delete_nodes")
        if node_ids is not None or filters is not None:
            self.client.delete(node_ids, where=to_filter(filters))

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,  # noqa: ANN401 - as in the base class
    ) -> None:
        """Delete the nodes that match ids and filters; without both, none."""
        await run_in_thread(lambda: self.delete_nodes(node_ids, filters, **delete_kwargs))

    def clear(self) -> None:
        """Delete every node of the collection."""
        self.client.delete(where=And(()))

    async def aclear(self) -> None:
        """Delete every node of the collection."""
        await run_in_thread(self.clear)

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Return nodes by ids, in the order of the ids, restricted by filters.

        Raises:
            StoreError: Filters were given without ids; a passage store cannot list by filter.
        """
        if node_ids is None:
            raise StoreError(
                "a passage store gives passages by id or by search, not by filter alone; "
                "give node_ids, or query with a vector and the filters"
            )
        where = to_filter(filters)
        found = self.client.get(node_ids)
        return [stored_node(one) for one in found if where is None or matches(where, one.metadata)]

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Return nodes by ids, in the order of the ids, restricted by filters."""
        return await run_in_thread(lambda: self.get_nodes(node_ids, filters))

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:  # noqa: ANN401
        """Search in one of the modes default, mmr, hybrid, semantic_hybrid, sparse, text_search.

        The hybrid modes add the cosine similarity and the text score with equal weights: `alpha`
        may be None or 0.5, 0 for text only, or 1 for the vector only. Only nodes of `node_ids` are
        found, unless those are image and index nodes alone: an index keeps such nodes itself and
        passes their ids with every query.

        Raises:
            ConfigError: A mode or weight is not supported, or a part of the query is missing.
            EmbeddingMismatchError: The vector is of another width.
            FilterError: A filter is invalid.
        """
        mmr_threshold = kwargs.pop("mmr_threshold", query.mmr_threshold)
        _refuse(kwargs, "query")
        hits = _hits(self.client, query, mmr_threshold)
        return VectorStoreQueryResult(
            nodes=[stored_node(hit.passage) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.passage.id for hit in hits],
        )

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:  # noqa: ANN401
        """Search; see `query`."""
        return await run_in_thread(lambda: self.query(query, **kwargs))


def _hits(
    store: PassageStore, query: VectorStoreQuery, mmr_threshold: float | None
) -> Sequence[Hit]:
    vector, text = _sought(query)
    where = _where(query)
    limit = query.similarity_top_k
    if text is not None and vector is not None and query.hybrid_top_k is not None:
        limit = query.hybrid_top_k
    if limit == 0:
        return ()
    ids = _asked_for(store, query.node_ids)
    if query.mode is not VectorStoreQueryMode.MMR or vector is None:
        return store.search(vector, text=text, limit=limit, where=where, ids=ids)
    candidates = store.search(
        vector, limit=limit * _MMR_CANDIDATES, where=where, ids=ids, with_vectors=True
    )
    relevance = _MMR_THRESHOLD if mmr_threshold is None else mmr_threshold
    return maximal_marginal_relevance(vector, candidates, limit=limit, diversity=1 - relevance)


def _asked_for(store: PassageStore, node_ids: Sequence[str] | None) -> list[str] | None:
    """Return the ids that a search is restricted to, or None for all."""
    if node_ids is None or len(node_ids) == 0:  # an index that keeps no node passes no id
        return None
    found = store.get(list(node_ids))
    if found and all(isinstance(stored_node(one), ImageNode | IndexNode) for one in found):
        return None
    return list(node_ids)


def _sought(query: VectorStoreQuery) -> tuple[Embedding | None, str | None]:
    """Return the vector and the text that a query searches by; one may be None."""
    by_words = query.mode in _WORDS or query.mode in _FUSED
    by_vector = query.mode not in _WORDS
    if query.mode in _FUSED and query.alpha not in (None, 0.5):
        if query.alpha not in (0, 1):
            raise ConfigError(
                f"vector and words weigh alike, whatever the question; alpha is {query.alpha}, "
                "and may be None or 0.5, 0 for words alone, or 1 for the vector alone"
            )
        by_vector, by_words = query.alpha == 1, query.alpha == 0
    if query.mode not in (*_WORDS, *_FUSED, *_PLAIN):
        known = ", ".join(mode.value for mode in (*_PLAIN, *_FUSED, *_WORDS))
        raise ConfigError(f"the mode {query.mode!r} is not supported; choose of {known}")
    if by_words and not (query.query_str or "").strip():
        raise ConfigError(f"the mode {query.mode.value!r} searches by words; give query_str")
    if by_vector and query.query_embedding is None:
        raise ConfigError(
            f"the mode {query.mode.value!r} searches by a vector; give query_embedding, or ask "
            "through an index or a retriever that has an embedding model"
        )
    given = query.query_embedding if by_vector else None
    vector = None if given is None else unit(given)
    return vector, query.query_str if by_words else None


def _where(query: VectorStoreQuery) -> Filter | None:
    parts = [to_filter(query.filters)] if query.filters is not None else []
    if query.doc_ids is not None:
        parts.append(In("ref_doc_id", tuple(query.doc_ids)))
    kept = tuple(part for part in parts if part is not None)
    return kept[0] if len(kept) == 1 else And(kept) if kept else None


def _unit_rows(nodes: Sequence[BaseNode]) -> Embeddings:
    bare = [node.node_id for node in nodes if node.embedding is None]
    if bare:
        raise StoreError(
            f"{len(bare)} of {len(nodes)} nodes have no vector, the first of them {bare[0]!r}; "
            "add them through an index, or set node.embedding"
        )
    vectors = [node.get_embedding() for node in nodes]
    widths = {len(vector) for vector in vectors}
    if len(widths) > 1:
        raise EmbeddingMismatchError(
            f"the vectors of the nodes have the widths {sorted(widths)}; use one embedding model"
        )
    rows = np.array(vectors, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not (norms > 0).all():
        worst = nodes[int(np.argmin(np.where(np.isfinite(norms), norms, -1)))]
        raise StoreError(
            f"the vector of node {worst.node_id!r} is zero or not finite; embed its text again"
        )
    return cast("Embeddings", rows / norms)


def _refuse(options: Mapping[str, object], method: str) -> None:
    if options:
        raise ConfigError(
            f"VoiceRAGVectorStore.{method} has no option {', '.join(sorted(options))}"
        )
