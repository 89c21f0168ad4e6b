"""Convert LlamaIndex nodes to passages and back without loss."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias, cast

import numpy as np
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeWithScore,
    TextNode,
)
from pydantic import AnyUrl

from voicerag_core import ConfigError, Embedding, Hit, JSONValue, Passage, StoreError

__all__ = [
    "NodeClass",
    "audio_node",
    "node_hit",
    "node_of_hit",
    "passage_of_node",
    "stored_node",
    "unit",
]

NodeClass: TypeAlias = Literal["text", "multimodal"]
"""``text``: `TextNode`, which every component accepts. ``multimodal``: `Node` with its sound, for
language models with audio input, which get text and sound without the metadata; components that use
``.text`` reject it."""

AUDIO_URI: Final = "audio_uri"
"""Metadata key of the address of a passage's sound."""

PASSAGE_ID: Final = "passage_id"

_CONTENT, _TYPE = "_node_content", "_node_type"
_DOCUMENT_KEYS: Final = ("document_id", "doc_id", "ref_doc_id")
_RESERVED: Final = frozenset({_CONTENT, _TYPE, *_DOCUMENT_KEYS})
"""Keys under which LlamaIndex's own stores keep a node; filters of existing apps name them."""

_CLASSES: Final[dict[str, type[BaseNode]]] = {
    kind.class_name(): kind
    for kind in (TextNode, Node, IndexNode, ImageNode, Document, ImageDocument)
}
_HIDDEN: Final = {"position", "start", "end", AUDIO_URI}
"""Metadata of recordings that is useless to embeddings and language models."""

_PLAIN_FIELDS: Final = {"id_", "text", "embedding", "metadata"}

_NOT_KEPT: Final = {"embedding", "text", "text_resource"}


def audio_node(
    uri: str,
    *,
    text: str = "[audio]",
    embedding: list[float] | None = None,
    mimetype: str = "audio/wav",
    metadata: Mapping[str, JSONValue] | None = None,
) -> Node:
    """Create a node for a recording that survives indexes and vector stores.

    `VectorStoreIndex` silently drops nodes without text, and the bytes of a media resource are
    never serialised; so a recording needs some text and an address.

    Args:
        uri: Location of the sound; a URL, such as ``file:///…`` or ``s3://…``.
        text: Its transcript, or a placeholder.
        embedding: Its vector, as of `VoiceRAGEmbedding.get_audio_embedding`; without one the index
            embeds the text.
        mimetype: Type of the sound; it determines the format passed to a language model.
        metadata: Further metadata.
    """
    return Node(
        text_resource=MediaResource(text=text),
        audio_resource=MediaResource(url=AnyUrl(uri), mimetype=mimetype),
        embedding=embedding,
        extra_info={AUDIO_URI: uri, **(metadata or {})},
        excluded_embed_metadata_keys=[AUDIO_URI],
        excluded_llm_metadata_keys=[AUDIO_URI],
    )


def passage_of_node(node: BaseNode) -> Passage:
    """Create the passage that stores a node: its text, its metadata, and the rest as one entry.

    Raises:
        StoreError: The node carries sound as bytes, which no serialised form keeps, or metadata
            that JSON cannot hold.
    """
    audio = getattr(node, "audio_resource", None)
    if audio is not None and audio.data is not None and not (audio.url or audio.path):
        raise StoreError(
            f"node {node.node_id!r} carries sound as bytes, and LlamaIndex writes those nowhere; "
            "keep the sound in a file or an object store and give its url (see audio_node)"
        )
    if any(isinstance(value, np.generic | np.ndarray) for value in node.metadata.values()):
        plain = {
            key: value.tolist() if isinstance(value, np.generic | np.ndarray) else value
            for key, value in node.metadata.items()
        }
        node = node.model_copy(update={"metadata": plain})
    if type(node) is TextNode and _is_plain(node):
        return Passage(node.id_, node.text, dict(node.metadata))
    try:
        content = node.model_dump(mode="json", exclude=_NOT_KEPT, exclude_defaults=True)
        metadata = content.pop("metadata", {})
        if metadata != node.metadata:  # pydantic makes null of what is not a number
            json.dumps(node.metadata, allow_nan=False, default=str)
        if own := {key: metadata[key] for key in _RESERVED & metadata.keys()}:
            content["metadata"] = own
        kept = json.dumps(content, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"node {node.node_id!r} holds something that JSON cannot: {error}; "
            "keep to str, numbers, bool, None, lists and dicts in its metadata"
        ) from error
    entries: dict[str, JSONValue] = {**metadata, _CONTENT: kept, _TYPE: node.class_name()}
    if node.ref_doc_id:
        entries |= dict.fromkeys(_DOCUMENT_KEYS, node.ref_doc_id)
    return Passage(node.node_id, node.get_content(MetadataMode.NONE), entries)


def stored_node(passage: Passage, node_class: NodeClass = "text") -> BaseNode:
    """Return the node of a passage: the stored one, or a new one with its id and metadata."""
    kept = passage.metadata.get(_CONTENT)
    if isinstance(kept, str):
        return _restored(passage, kept)
    metadata = dict(passage.metadata)
    hidden = sorted(_HIDDEN & metadata.keys())
    if node_class == "text":
        return TextNode(
            id_=passage.id,
            text=passage.text,
            metadata=metadata,
            excluded_embed_metadata_keys=hidden,
            excluded_llm_metadata_keys=list(hidden),
        )
    uri = metadata.get(AUDIO_URI)
    return Node(
        id_=passage.id,
        text_resource=MediaResource(text=passage.text),
        audio_resource=None if uri is None else _sound_at(str(uri), metadata),
        extra_info=metadata,
        excluded_embed_metadata_keys=hidden,
        excluded_llm_metadata_keys=list(metadata),
    )


def node_of_hit(hit: Hit, node_class: NodeClass = "text") -> NodeWithScore:
    """Create the node of a hit, with the passage id in its metadata.

    Fusion merges nodes with equal text and metadata; with the id in the metadata, equal passages of
    two documents are both returned.
    """
    node = stored_node(hit.passage, node_class)
    node.metadata[PASSAGE_ID] = hit.passage.id
    node.excluded_embed_metadata_keys.append(PASSAGE_ID)
    node.excluded_llm_metadata_keys.append(PASSAGE_ID)
    return NodeWithScore(node=node, score=hit.score)


def node_hit(found: NodeWithScore, rank: int) -> Hit:
    """Create the hit of a node, whichever retriever found it.

    Args:
        found: The node.
        rank: Its position among the nodes found, starting at 1.
    """
    node = found.node
    metadata = {key: value for key, value in node.metadata.items() if key != PASSAGE_ID}
    text = node.get_content(MetadataMode.NONE)
    return Hit(Passage(node.node_id, text, metadata), found.score or 0.0, rank)


def unit(vector: Sequence[float]) -> Embedding:
    """Return a vector as L2-normalised float32.

    Raises:
        ConfigError: The vector is zero, or not finite.
    """
    row = np.asarray(vector, np.float32)
    norm = float(np.linalg.norm(row))
    if not np.isfinite(norm) or norm == 0:
        raise ConfigError("the question's vector is zero or not finite; embed the question again")
    return cast("Embedding", row / norm)


def _is_plain(node: TextNode) -> bool:
    """Return whether a node has only text and simple metadata, which a plain passage preserves."""
    return (
        node.model_fields_set <= _PLAIN_FIELDS
        and not node.relationships
        and not node.excluded_embed_metadata_keys
        and not node.excluded_llm_metadata_keys
        and not (_RESERVED | _HIDDEN) & node.metadata.keys()
        and all(
            value is None
            or isinstance(value, str | int)
            or (type(value) is float and math.isfinite(value))
            for value in node.metadata.values()
        )
    )


def _restored(passage: Passage, kept: str) -> BaseNode:
    content = cast("dict[str, object]", json.loads(kept))
    own = {key: value for key, value in passage.metadata.items() if key not in _RESERVED}
    content["metadata"] = own | cast("dict[str, JSONValue]", content.get("metadata") or {})
    kind = _CLASSES.get(str(passage.metadata.get(_TYPE)), TextNode)
    node = kind.from_dict(content)
    node.set_content(passage.text)
    return node


def _sound_at(uri: str, metadata: Mapping[str, JSONValue]) -> MediaResource:
    return MediaResource(url=AnyUrl(uri), mimetype=str(metadata.get("mimetype", "audio/wav")))
