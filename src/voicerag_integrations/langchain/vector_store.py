"""The voicerag store behind LangChain's vector store interface."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final
from uuid import UUID

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from voicerag_core import (
    ConfigError,
    Embedding,
    EmbeddingMismatchError,
    Hit,
    Passage,
    PassageStore,
    PgVectorStore,
    StoreError,
    VoiceRAG,
    check_cancelled,
    maximal_marginal_relevance,
)
from voicerag_core import Embeddings as Vectors
from voicerag_core.aio import run_in_thread
from voicerag_core.closing import Closing
from voicerag_integrations.langchain.documents import (
    passage_document,
    passage_id,
    passages_of,
)
from voicerag_integrations.langchain.embeddings import VoiceRAGEmbeddings
from voicerag_integrations.langchain.metadata_filters import MetadataFilter, read_filter

__all__ = ["VoiceRAGVectorStore"]

ADD_BATCH: Final = 2_000
"""Texts embedded and written together; each batch is one transaction."""


class VoiceRAGVectorStore(Closing, VectorStore):
    """A LangChain vector store over any `voicerag_core.PassageStore`, with any embeddings.

    Vectors are L2-normalised when added; scores are cosine similarities, higher is better.
    Thread-safe if its parts are.

    Args:
        store: Opened for the width of the embeddings. Or a `VoiceRAG`, whose store and embedder are
            used.
        embedding: Any LangChain embeddings; not needed with a `VoiceRAG`.

    Raises:
        ConfigError: There are no embeddings.
    """

    def __init__(self, store: PassageStore | VoiceRAG, embedding: Embeddings | None = None) -> None:
        if isinstance(store, VoiceRAG):
            embedding = embedding or VoiceRAGEmbeddings(store)
            store = store.store
        if embedding is None:
            raise ConfigError(
                "a vector store needs embeddings: VoiceRAGVectorStore(store, embedding=...)"
            )
        self.store: PassageStore = store
        self._embedding = embedding

    @property
    def embeddings(self) -> Embeddings:
        """The embeddings of texts and questions."""
        return self._embedding

    def close(self) -> None:
        """Close the store if it has a `close` method; use it for a store opened by `from_texts`."""
        close = getattr(self.store, "close", None)
        if close is not None:
            close()

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | int | UUID | None] | None = None,
        store: PassageStore | None = None,
        dsn: str | None = None,
        collection: str = "default",
        tenant: str = "default",
        model_id: str | None = None,
        hybrid_search: bool | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> VoiceRAGVectorStore:
        """Add texts to a store that is passed in, or opened by its DSN.

        Args:
            texts: The texts to store.
            embedding: Computes the vectors.
            metadatas: JSON values for each text; dates, UUIDs and Decimals are kept as text.
            ids: Id of each text, numbers and UUIDs as text; None generates one.
            store: An open store.
            dsn: Database to open instead; its schema must exist (``voicerag db migrate``).
            collection: Collection to open there, created if absent.
            tenant: Owner of the collection.
            model_id: Names the vector space of `embedding`; not needed with `VoiceRAGEmbeddings`.
            hybrid_search: Index the words of a new collection, too, for searches by vector and
                words (a `VoiceRAG` makes such, this class none); False: texts are written in less
                time. None: as an existing one was made, or True.
            kwargs: Rejected; none are supported.

        Raises:
            ConfigError: Neither or both of `store` and `dsn` were given, or no `model_id`.
            StoreError: The database cannot be used, or the collection was made otherwise.
        """
        _refuse(kwargs)
        if (store is None) == (dsn is None):
            raise ConfigError("give either store=PgVectorStore.open(...) or dsn='postgresql://...'")
        if store is not None:
            made = cls(store, embedding)
            made.add_texts(texts, metadatas, ids=ids)
            return made
        if isinstance(embedding, VoiceRAGEmbeddings):
            model_id, dim = embedding.embedder.model_id, embedding.embedder.dim
        else:
            dim = len(embedding.embed_query("width"))
        if model_id is None:
            raise ConfigError(
                "name the embedding model, so that no other is mixed into its collection: "
                "from_texts(..., dsn=..., model_id='text-embedding-3-small')"
            )
        opened = PgVectorStore.open(
            str(dsn), collection=collection, tenant=tenant, model_id=model_id, dim=dim,
            words=hybrid_search,
        )  # fmt: skip
        try:
            made = cls(opened, embedding)
            made.add_texts(texts, metadatas, ids=ids)
        except BaseException:
            opened.close()
            raise
        return made

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> VoiceRAGVectorStore:
        """Add texts to a store in a thread; see `from_texts`."""
        return await run_in_thread(cls.from_texts, texts, embedding, metadatas, **kwargs)

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | int | UUID | None] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> list[str]:
        """Embed texts and store them; a text replaces a stored one with the same id.

        Args:
            texts: The texts to store.
            metadatas: JSON values for each text; dates, UUIDs and Decimals are kept as text.
            ids: Id of each text, numbers and UUIDs as text; None generates one.
            batch_size: Texts per transaction.
            kwargs: Rejected; none are supported.

        Returns:
            The ids, in order.

        Raises:
            ConfigError: The lengths differ, or an option is unknown.
            EmbeddingMismatchError: The vectors are not of the store's width.
            StoreError: The store failed, or cannot store a value.
        """
        _refuse(kwargs)
        passages = passages_of(list(texts), metadatas, ids)
        for batch in _batches(passages, batch_size):
            vectors = self._embedded([passage.text for passage in batch])
            check_cancelled()
            self.store.add(batch, vectors)
        return [passage.id for passage in passages]

    def add_embeddings(
        self,
        texts: Iterable[str],
        embeddings: Sequence[Sequence[float]] | Vectors,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | int | UUID | None] | None = None,
    ) -> list[str]:
        """Store texts with precomputed vectors, in one transaction; see `add_texts`.

        Args:
            texts: N of them.
            embeddings: [N, D], of any norm; they are normalised.
            metadatas: JSON values for each text; dates, UUIDs and Decimals are kept as text.
            ids: Id of each text, numbers and UUIDs as text; None generates one.
        """
        passages = passages_of(list(texts), metadatas, ids)
        if len(passages) != len(embeddings):
            raise ConfigError(f"{len(passages)} texts came with {len(embeddings)} embeddings")
        if passages:
            self.store.add(passages, _normalised(embeddings))
        return [passage.id for passage in passages]

    def add_documents(
        self,
        documents: list[Document],
        *,
        ids: Sequence[str | int | UUID | None] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> list[str]:
        """Embed documents and store them under their ids; see `add_texts`."""
        _refuse(kwargs)
        return self.add_texts(
            [document.page_content for document in documents],
            [document.metadata for document in documents],
            ids=[document.id for document in documents] if ids is None else ids,
            batch_size=batch_size,
        )

    def delete(
        self,
        ids: Sequence[str | int | UUID] | None = None,
        *,
        filter: MetadataFilter | None = None,  # noqa: A002 - named by LangChain
        **kwargs: Any,  # noqa: ANN401
    ) -> bool:
        """Delete by ids, by filter, or by both; ``filter={}`` deletes everything.

        Raises:
            StoreError: Neither was given; omitting both never deletes anything.
        """
        _refuse(kwargs)
        keys = None if ids is None else [passage_id(key) for key in ids]
        self.store.delete(keys, where=read_filter(filter))
        return True

    def get_by_ids(self, ids: Sequence[str | int | UUID], /) -> list[Document]:
        """Return the existing documents with these ids, in the order of `ids`."""
        return [
            passage_document(passage)
            for passage in self.store.get([passage_id(key) for key in ids])
        ]

    def similarity_search(
        self,
        query: str,
        k: int = 4,
        *,
        filter: MetadataFilter | None = None,  # noqa: A002 - named by LangChain
        **kwargs: Any,  # noqa: ANN401
    ) -> list[Document]:
        """Find the documents nearest to a text, best first.

        Raises:
            FilterError: The filter is invalid.
            StoreError: The store is closed or failed.
        """
        _refuse(kwargs)
        return _documents(self._search(query, k, filter))

    def similarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        *,
        filter: MetadataFilter | None = None,  # noqa: A002 - named by LangChain
        **kwargs: Any,  # noqa: ANN401
    ) -> list[tuple[Document, float]]:
        """Find documents with their cosine similarities, best first; see `similarity_search`."""
        _refuse(kwargs)
        hits = self._search(query, k, filter)
        return [(passage_document(hit.passage), hit.score) for hit in hits]

    def similarity_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        *,
        filter: MetadataFilter | None = None,  # noqa: A002 - named by LangChain
        **kwargs: Any,  # noqa: ANN401
    ) -> list[Document]:
        """Find the documents nearest to a vector, such as that of a spoken question."""
        _refuse(kwargs)
        return _documents(self._search(_unit(embedding), k, filter))

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: MetadataFilter | None = None,  # noqa: A002 - named by LangChain
        **kwargs: Any,  # noqa: ANN401
    ) -> list[Document]:
        """Find documents that are close to a text and different from each other.

        Args:
            query: The text.
            k: Maximum number of documents.
            fetch_k: Number of candidates to choose from.
            lambda_mult: 0 maximizes diversity, 1 similarity.
            filter: Metadata filter.
            kwargs: Rejected; none are supported.
        """
        _refuse(kwargs)
        return self._varied(query, k, fetch_k, lambda_mult, filter)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: MetadataFilter | None = None,  # noqa: A002 - named by LangChain
        **kwargs: Any,  # noqa: ANN401
    ) -> list[Document]:
        """Find diverse documents near a vector; see `max_marginal_relevance_search`."""
        _refuse(kwargs)
        return self._varied(_unit(embedding), k, fetch_k, lambda_mult, filter)

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | int | UUID | None] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> list[str]:
        """Embed texts and store them, off the event loop; see `add_texts`."""
        _refuse(kwargs)
        if not self._embeds_async:
            return await run_in_thread(
                self.add_texts, texts, metadatas, ids=ids, batch_size=batch_size
            )
        passages = passages_of(list(texts), metadatas, ids)
        for batch in _batches(passages, batch_size):
            rows = await self._embedding.aembed_documents([passage.text for passage in batch])
            await run_in_thread(self.store.add, batch, _normalised(rows))
        return [passage.id for passage in passages]

    async def aadd_documents(
        self,
        documents: list[Document],
        *,
        ids: Sequence[str | int | UUID | None] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> list[str]:
        """Embed documents and store them, off the event loop; see `add_documents`."""
        _refuse(kwargs)
        return await self.aadd_texts(
            [document.page_content for document in documents],
            [document.metadata for document in documents],
            ids=[document.id for document in documents] if ids is None else ids,
            batch_size=batch_size,
        )

    async def adelete(
        self,
        ids: Sequence[str | int | UUID] | None = None,
        *,
        filter: MetadataFilter | None = None,  # noqa: A002 - named by LangChain
        **kwargs: Any,  # noqa: ANN401
    ) -> bool:
        """Delete, off the event loop; see `delete`."""
        _refuse(kwargs)
        return await run_in_thread(self.delete, ids, filter=filter)

    async def aget_by_ids(self, ids: Sequence[str | int | UUID], /) -> list[Document]:
        """Return documents by id, off the event loop."""
        return await run_in_thread(self.get_by_ids, ids)

    async def asimilarity_search(
        self,
        query: str,
        k: int = 4,
        *,
        filter: MetadataFilter | None = None,  # noqa: A002 - named by LangChain
        **kwargs: Any,  # noqa: ANN401
    ) -> list[Document]:
        """Find documents, off the event loop; see `similarity_search`."""
        _refuse(kwargs)
        question = await self._aquestion(query)
        return _documents(await run_in_thread(self._search, question, k, filter))

    async def asimilarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        *,
        filter: MetadataFilter | None = None,  # noqa: A002 - named by LangChain
        **kwargs: Any,  # noqa: ANN401
    ) -> list[tuple[Document, float]]:
        """Find documents and scores, off the event loop; see `similarity_search_with_score`."""
        _refuse(kwargs)
        hits = await run_in_thread(self._search, await self._aquestion(query), k, filter)
        return [(passage_document(hit.passage), hit.score) for hit in hits]

    async def asimilarity_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        *,
        filter: MetadataFilter | None = None,  # noqa: A002 - named by LangChain
        **kwargs: Any,  # noqa: ANN401
    ) -> list[Document]:
        """Find documents near a vector, off the event loop."""
        _refuse(kwargs)
        return _documents(await run_in_thread(self._search, _unit(embedding), k, filter))

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: MetadataFilter | None = None,  # noqa: A002 - named by LangChain
        **kwargs: Any,  # noqa: ANN401
    ) -> list[Document]:
        """Find diverse documents, off the event loop; see `max_marginal_relevance_search`."""
        _refuse(kwargs)
        question = await self._aquestion(query)
        return await run_in_thread(self._varied, question, k, fetch_k, lambda_mult, filter)

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: MetadataFilter | None = None,  # noqa: A002 - named by LangChain
        **kwargs: Any,  # noqa: ANN401
    ) -> list[Document]:
        """Find diverse documents near a vector, off the event loop."""
        _refuse(kwargs)
        return await run_in_thread(self._varied, _unit(embedding), k, fetch_k, lambda_mult, filter)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """Map cosine similarity to LangChain's 0..1; negative similarity is 0."""
        return lambda cosine: min(1.0, max(0.0, cosine))

    @property
    def _embeds_async(self) -> bool:
        """Return whether the embeddings are natively asynchronous."""
        return type(self._embedding).aembed_query is not Embeddings.aembed_query and not isinstance(
            self._embedding, VoiceRAGEmbeddings
        )

    async def _aquestion(self, query: str) -> str | Embedding:
        """Embed a question if that needs no thread; otherwise the search thread does it."""
        return _unit(await self._embedding.aembed_query(query)) if self._embeds_async else query

    def _embedded(self, texts: list[str]) -> Vectors:
        if isinstance(self._embedding, VoiceRAGEmbeddings):
            return self._embedding.embed_array(texts)
        return _normalised(self._embedding.embed_documents(texts))

    def _vector(self, question: str | Embedding) -> Embedding:
        if not isinstance(question, str):
            return question
        vector = _unit(self._embedding.embed_query(question))
        check_cancelled()
        return vector

    def _search(
        self, question: str | Embedding, k: int, given: MetadataFilter | None
    ) -> tuple[Hit, ...]:
        where = read_filter(given)
        if k == 0:
            return ()
        return self.store.search(self._vector(question), limit=k, where=where)

    def _varied(
        self,
        question: str | Embedding,
        k: int,
        fetch_k: int,
        lambda_mult: float,
        given: MetadataFilter | None,
    ) -> list[Document]:
        where = read_filter(given)
        if k == 0:
            return []
        vector = self._vector(question)
        hits = self.store.search(vector, limit=max(k, fetch_k), where=where, with_vectors=True)
        return _documents(
            maximal_marginal_relevance(vector, hits, limit=k, diversity=1 - lambda_mult)
        )


def _documents(hits: Sequence[Hit]) -> list[Document]:
    return [passage_document(hit.passage) for hit in hits]


def _batches(passages: list[Passage], size: int | None) -> Iterator[list[Passage]]:
    step = ADD_BATCH if size is None else max(1, size)
    for start in range(0, len(passages), step):
        yield passages[start : start + step]


def _unit(vector: Sequence[float] | Embedding) -> Embedding:
    row: Embedding = _normalised([vector])[0]
    return row


def _normalised(rows: Sequence[Sequence[float] | Embedding] | Vectors) -> Vectors:
    """Return vectors as [N, D] float32 of length 1.

    Raises:
        EmbeddingMismatchError: They differ in width.
        StoreError: One is zero or not finite.
    """
    try:
        matrix = np.asarray(rows, np.float32)
    except ValueError as error:
        raise EmbeddingMismatchError(f"the vectors are not of one width: {error}") from error
    if matrix.ndim != 2:  # noqa: PLR2004 - [N, D]
        raise EmbeddingMismatchError(f"vectors have shape [N, D], not {list(matrix.shape)}")
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise StoreError("a vector is zero or not finite, so it points nowhere")
    unit: Vectors = matrix / lengths
    return unit


def _refuse(unknown: dict[str, Any]) -> None:
    """Reject options that would otherwise be silently ignored."""
    if unknown:
        raise ConfigError(
            f"unknown option {', '.join(map(repr, unknown))}; a metadata filter is given as "
            "filter={...}"
        )
