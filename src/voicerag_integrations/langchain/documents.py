"""Passages as LangChain documents, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from langchain_core.documents import Document
from pydantic_core import to_jsonable_python

from voicerag_core import ConfigError, Hit, JSONValue, Passage, StoreError

__all__ = ["found_document", "passage_document", "passage_id", "passages_of", "plain_value"]


def passage_id(given: object) -> str:
    """Return the id of a passage for one of an application, such as a primary key.

    Raises:
        ConfigError: It is neither str, int nor UUID.
    """
    if isinstance(given, str):
        return given
    if isinstance(given, int | np.integer | UUID) and not isinstance(given, bool):
        return str(given)
    raise ConfigError(f"an id is a str, an int or a UUID, not {type(given).__name__} {given!r}")


def passages_of(
    texts: Sequence[str],
    metadatas: Sequence[Mapping[str, Any] | None] | None,
    ids: Sequence[object] | None,
) -> list[Passage]:
    """Make a passage of each text; one without an id gets a new one.

    Raises:
        ConfigError: The lengths differ, or an id is of another kind.
        StoreError: Metadata holds what JSON cannot.
    """
    given_ids = [None] * len(texts) if ids is None else list(ids)
    given_metadata = [None] * len(texts) if metadatas is None else list(metadatas)
    for name, given in (("metadatas", given_metadata), ("ids", given_ids)):
        if len(given) != len(texts):
            raise ConfigError(f"{len(texts)} texts came with {len(given)} {name}")
    passages = []
    for text, metadata, given_id in zip(texts, given_metadata, given_ids, strict=True):
        key = str(uuid4()) if given_id is None or given_id == "" else passage_id(given_id)
        passages.append(Passage(key, text, _plain_metadata(key, metadata or {})))
    return passages


def plain_value(value: object) -> Any:  # noqa: ANN401
    """Return a value as JSON has it: dates, UUIDs, Decimals and the like become text.

    Raises:
        ValueError: JSON has nothing like it.
    """
    return to_jsonable_python(value, fallback=_of_no_json)


def _plain_metadata(key: str, metadata: Mapping[str, Any]) -> dict[str, JSONValue]:
    try:
        plain: dict[str, JSONValue] = plain_value(dict(metadata))
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(
            f"the metadata of document {key!r} holds something that JSON cannot: {error}; keep to "
            "str, numbers, bool, None, dates, UUIDs, lists and dicts"
        ) from error
    return plain


def _of_no_json(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise ValueError(f"a value of the type {type(value).__name__}")


def passage_document(passage: Passage) -> Document:
    """Return a passage as stored: id, text and metadata."""
    return Document(id=passage.id, page_content=passage.text, metadata=dict(passage.metadata))


def found_document(hit: Hit) -> Document:
    """Return a hit, with ``score``, ``rank`` and ``passage_id`` added to its metadata."""
    found = {
        **hit.passage.metadata,
        "score": hit.score,
        "rank": hit.rank,
        "passage_id": hit.passage.id,
    }
    return Document(id=hit.passage.id, page_content=hit.passage.text, metadata=found)
