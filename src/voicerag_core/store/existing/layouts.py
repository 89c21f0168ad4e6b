"""Which columns of a table hold what: known layouts, names of columns, and the user's word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from voicerag_core.errors import ConfigError
from voicerag_core.store.existing.catalog import VectorColumn

__all__ = ["Layout", "Named", "find_layout"]

_TEXTS: Final = ("text", "document", "content", "chunk", "page_content", "body", "chunk_text")
_ENTRIES: Final = ("metadata", "cmetadata", "metadata_", "meta", "vmetadata", "langchain_metadata")
_IDS: Final = ("id", "node_id", "langchain_id", "uuid", "embedding_id", "embedding_uuid")
_TITLES: Final = ("title", "name", "heading", "file_name", "filename")
_SOURCES: Final = ("source", "file_path", "url", "uri", "file_name", "filename")
_JSON: Final = ("json", "jsonb")
_TEXT_TYPES: Final = ("text", "character varying", "character", "citext")
_PLAIN: Final = (
    *_TEXT_TYPES, "smallint", "integer", "bigint", "numeric", "real", "double precision",
    "boolean", "date", "timestamp without time zone", "timestamp with time zone", "uuid",
    "text[]", "character varying[]", "integer[]", "bigint[]", "uuid[]",
)  # fmt: skip
"""Types of columns that are taken for metadata."""

_KNOWN: Final[Sequence[tuple[str, frozenset[str]]]] = (
    ("langchain-postgres v1", frozenset({"collection_id", "document", "cmetadata"})),
    ("langchain-postgres v2", frozenset({"langchain_id", "content"})),
    ("LlamaIndex", frozenset({"node_id", "metadata_", "text"})),
    ("Open WebUI", frozenset({"vmetadata", "collection_name", "text"})),
    ("Haystack", frozenset({"content", "meta", "blob_data"})),
    ("mem0", frozenset({"payload", "vector"})),
    ("vecs", frozenset({"vec", "metadata"})),
    ("pgai", frozenset({"embedding_uuid", "chunk"})),
    ("LangChain4j", frozenset({"embedding_id", "text"})),
    ("Spring AI, Supabase or alike", frozenset({"content", "metadata"})),
)
"""Layouts of programs, known by their columns; the names of tables are chosen freely."""

_HIDDEN_ID: Final = "LlamaIndex"


@dataclass(frozen=True, slots=True)
class Named:
    """What the user says of a table; None leaves it to the table.

    Args:
        id: Column of the ids.
        text: Column of the texts; ``payload->>data`` is an entry of a JSON column.
        metadata: Column of the metadata, json or jsonb.
        columns: Further columns that become metadata.
        title: Column or metadata key of the title.
        source: Column or metadata key of the source.
    """

    id: str | None = None
    text: str | None = None
    metadata: str | None = None
    columns: Sequence[str] | None = None
    title: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns of a table hold what.

    Args:
        program: Whose layout it is, or "by column names".
        id: Column of the ids.
        id_type: Its type.
        unique: Whether no two rows have one id.
        text: Column of the texts.
        text_path: Keys into it where it is JSON.
        metadata: Column of the metadata, or None.
        metadata_type: json or jsonb; "" where there is none.
        columns: Further columns that become metadata.
        titles: Metadata keys that name the title, best first.
        sources: Metadata keys that name the source.
        collection: Column that says which collection a row belongs to.
    """

    program: str
    id: str
    id_type: str
    unique: bool
    text: str
    text_path: tuple[str, ...]
    metadata: str | None
    metadata_type: str
    columns: tuple[str, ...]
    titles: tuple[str, ...]
    sources: tuple[str, ...]
    collection: str | None


def find_layout(column: VectorColumn, named: Named) -> Layout:
    """Find out which columns hold what.

    Raises:
        ConfigError: A name is wrong, or a table leaves it open; the message lists its columns.
    """
    types = column.columns
    program = next((name for name, own in _KNOWN if own <= types.keys()), "by column names")
    metadata = _metadata(column, named, program)
    text, path = _text(column, named, program, metadata)
    key = _id(column, named, program)
    plain = _plain(column, named, {column.column, metadata, text, key}, has_metadata=bool(metadata))
    collection = {"langchain-postgres v1": "collection_id", "Open WebUI": "collection_name"}
    return Layout(
        program,
        key,
        types[key],
        key in column.unique or column.primary_key == (key,),
        text,
        path,
        metadata,
        types[metadata] if metadata else "",
        plain,
        (named.title,) if named.title else _TITLES,
        (named.source,) if named.source else _SOURCES,
        collection.get(program),
    )


def _metadata(column: VectorColumn, named: Named, program: str) -> str | None:
    types = column.columns
    if named.metadata is not None:
        _there(column, named.metadata, "metadata")
        if types[named.metadata] not in _JSON:
            raise ConfigError(
                f"{column.full_name}.{named.metadata} is of type {types[named.metadata]}; metadata "
                "is json or jsonb, and other columns are given as columns="
            )
        return named.metadata
    if program == "mem0":
        return "payload"
    held = [name for name, kind in types.items() if kind in _JSON]
    known = [name for name in _ENTRIES if name in held]
    if known or len(held) == 1:
        return (known or held)[0]
    if held:
        raise _open(column, "the metadata", held, "metadata")
    return None


def _text(
    column: VectorColumn, named: Named, program: str, metadata: str | None
) -> tuple[str, tuple[str, ...]]:
    types = column.columns
    if named.text is not None:
        if named.text in types:
            return _readable_text(column, named.text), ()
        name, *path = [part.strip().strip("'") for part in named.text.split("->>")]
        _there(column, name, "text")
        return name, tuple(path)
    if program == "mem0":
        return "payload", ("data",)
    found = [name for name in _TEXTS if name in types]
    if not found:
        found = [
            name
            for name, kind in types.items()
            if kind in _TEXT_TYPES and name not in (*_IDS, *_TITLES, *_SOURCES)
        ]
    if not found and metadata is not None:
        return metadata, ()  # in the metadata; which entry, its rows tell
    if len(found) == 1:
        return _readable_text(column, found[0]), ()
    raise _open(column, "the text", found or list(types), "text")


def _readable_text(column: VectorColumn, name: str) -> str:
    kind = column.columns[name]
    if kind == "bytea":
        raise ConfigError(
            f"{column.full_name}.{name} holds bytes, not text: it is encrypted, as by Open WebUI "
            "with pgcrypto, and cannot be read without its key; use a table or a view with the text"
        )
    if kind not in _TEXT_TYPES:
        raise ConfigError(
            f"{column.full_name}.{name} is of type {kind} and not text; name another column (text=)"
        )
    return name


def _id(column: VectorColumn, named: Named, program: str) -> str:
    if named.id is not None:
        return _there(column, named.id, "id")
    if program == _HIDDEN_ID:
        return "node_id"
    if len(column.primary_key) == 1:
        return column.primary_key[0]
    found = [name for name in _IDS if name in column.columns]
    if found:
        return found[0]
    raise _open(column, "the id", column.primary_key or list(column.columns), "id")


def _plain(
    column: VectorColumn, named: Named, used: set[str | None], *, has_metadata: bool
) -> tuple[str, ...]:
    if named.columns is not None:
        return tuple(_there(column, name, "columns") for name in named.columns)
    wanted = set(filter(None, (named.title, named.source)))
    rest = {name: kind for name, kind in column.columns.items() if name not in used}
    if not has_metadata or "langchain_id" in column.columns:
        return tuple(name for name, kind in rest.items() if kind in _PLAIN)
    return tuple(
        name
        for name, kind in rest.items()
        if kind in _PLAIN and (name in wanted or name in (*_TITLES, *_SOURCES))
    )


def _there(column: VectorColumn, name: str, what: str) -> str:
    if name not in column.columns:
        raise ConfigError(
            f"{column.full_name} has no column {name!r} ({what}=); it has "
            f"{', '.join(column.columns)}"
        )
    return name


def _open(column: VectorColumn, what: str, found: Sequence[str], option: str) -> ConfigError:
    return ConfigError(
        f"it is open which column of {column.full_name} holds {what}: {', '.join(found)}; name it "
        f"({option}=, --table-{option} or VOICERAG_TABLE_{option.upper()})"
    )
