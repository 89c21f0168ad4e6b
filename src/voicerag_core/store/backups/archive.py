"""The file of a backup: a ZIP archive whose last 64 bytes are the checksum of all before them.

A member ``rows/TABLE`` holds the rows of a table as Postgres' binary COPY writes them, without the
header and the end mark, part after part: a part is the rows of one collection of one tenant, in the
order of the primary key. The member ``manifest.json``, written last, lists the tables, their
columns and types, and each part with rows, bytes and SHA-256. The comment of the archive is
``sha256 `` and the SHA-256 of every byte before its 64 hexadecimal digits, so that no byte of a
backup can change without being noticed. Any program for ZIP files opens it.

The archive is written and read in one pass, in blocks, whatever its size.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from voicerag_core.errors import StoreError
from voicerag_core.files import parsed_json, regular_file

__all__ = [
    "ArchiveReader",
    "ArchiveWriter",
    "Manifest",
    "OnBytes",
    "Part",
    "TableContent",
    "open_archive",
]

FORMAT = 1
"""Version of the form of the archive."""

BLOCK = 1 << 20
_LEVEL = 1
"""Of deflate: vectors hardly shrink, and texts do at any level."""
_MARK = b"sha256 "
_DIGITS = 64
_MANIFEST = "manifest.json"
_SPOILED = (
    zipfile.BadZipFile, zlib.error, EOFError, KeyError, LookupError, NotImplementedError,
    RuntimeError, TypeError, AttributeError, ValueError, struct.error,
)  # fmt: skip
"""What reading an archive raises when its bytes are not those that were written."""

OnBytes = Callable[[str, int, int | None], None]
"""Called with the name of what is done, how much of it, and how much there is, if that is known."""


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one collection of one tenant in one table.

    Args:
        table: Its name.
        tenant: Whose rows.
        collection: Number of the collection, or None in a table that has none.
        rows: How many.
        bytes: Of their binary form.
        sha256: Of these bytes, in hexadecimal.
    """

    table: str
    tenant: str
    collection: int | None
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class TableContent:
    """A table of a backup.

    Args:
        name: Its name in the schema.
        columns: In the order of the binary rows.
        types: Of the columns, as Postgres names them.
        parts: Those that hold rows.
    """

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.bytes for part in self.parts)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds.

    Args:
        schema: Version of the schema.
        created: When the snapshot was taken, in UTC (RFC 3339).
        program: Version of the program that wrote it.
        server: Version of Postgres.
        extension: Version of pgvector.
        tables: By name.
        sequences: Last value of each, by name.
        indexed: Tenant and number of the collections that have an HNSW index.
    """

    schema: int
    created: str
    program: str
    server: str
    extension: str
    tables: tuple[TableContent, ...]
    sequences: dict[str, int]
    indexed: tuple[tuple[str, int], ...]


class ArchiveWriter:
    """Writes an archive into an open file.

    Args:
        file: Binary, empty, with a position that can be set.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hashed = _Hashed(file)
        self._zip = zipfile.ZipFile(self._hashed, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)

    @contextmanager
    def table(self, name: str) -> Iterator[IO[bytes]]:
        """Yield the member of a table, to write its rows to."""
        with self._zip.open(f"rows/{name}", "w", force_zip64=True) as member:
            yield member

    def finish(self, manifest: Manifest) -> str:
        """Write the manifest and the checksum, and return the checksum."""
        written = json.dumps({"format": FORMAT, **asdict(manifest)}, ensure_ascii=False, indent=1)
        self._zip.writestr(_MANIFEST, written.encode())
        self._zip.comment = _MARK + b"0" * _DIGITS
        self._zip.close()
        digest = self._hashed.hexdigest()
        self._file.seek(-_DIGITS, 2)
        self._file.write(digest.encode())
        return digest

    def abandon(self) -> None:
        """Let go of the file without finishing the archive."""
        self._hashed.abandoned = True
        with suppress(Exception):
            self._zip.close()


class _Hashed:
    """A stream into a file that hashes all it is given but the last `_DIGITS` bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self.abandoned = False
        self._file = file
        self._sha256 = hashlib.sha256()
        self._held = b""

    def write(self, data: bytes) -> int:
        """Write."""
        if self.abandoned:
            return len(data)
        self._file.write(data)
        held = self._held + data
        self._sha256.update(held[:-_DIGITS])
        self._held = held[-_DIGITS:]
        return len(data)

    def flush(self) -> None:
        """Flush."""
        if not self.abandoned:
            self._file.flush()

    def close(self) -> None:
        """Leave the file open: it is its owner's."""

    def hexdigest(self) -> str:
        """Return the checksum of what was hashed."""
        return self._sha256.hexdigest()


class ArchiveReader:
    """An archive whose checksum was found right.

    Args:
        path: Of the file, for messages.
        archive: The open archive.
        manifest: What it says that it holds.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._zip = archive

    def blocks(self, table: TableContent) -> Iterator[bytes]:
        """Yield the rows of a table in blocks, and check every part.

        Raises:
            StoreError: They are not those of the manifest.
        """
        with _spoiled(self.path), self._zip.open(f"rows/{table.name}") as member:
            for part in table.parts:
                digest = hashlib.sha256()
                left = part.bytes
                while left and (block := member.read(min(left, BLOCK))):
                    digest.update(block)
                    left -= len(block)
                    yield block
                if left or digest.hexdigest() != part.sha256:
                    raise ValueError(f"the rows of {table.name} are not those of the manifest")
            if member.read(1):
                raise ValueError(f"{table.name} holds more rows than the manifest says")


@contextmanager
def open_archive(path: Path, *, on_bytes: OnBytes | None = None) -> Iterator[ArchiveReader]:
    """Open a backup after its checksum was compared.

    Args:
        path: The file.
        on_bytes: Told how much of the file was read for that.

    Raises:
        StoreError: The file cannot be read, is no backup, was cut or altered, or is of a newer
            program.
    """
    try:
        with regular_file(path) as file:
            _check(path, file, on_bytes)
            with _spoiled(path):
                archive = zipfile.ZipFile(file)
                manifest = _manifest(parsed_json(archive.read(_MANIFEST)), path)
            with archive:
                yield ArchiveReader(path, archive, manifest)
    except OSError as error:
        raise StoreError(
            f"the backup {path} cannot be read: {error.strerror or error}; give the file that "
            "`voicerag db backup` wrote"
        ) from error


def _check(path: Path, file: BinaryIO, on_bytes: OnBytes | None) -> None:
    """Compare the checksum at the end with the bytes before it."""
    size = file.seek(0, 2)
    end = len(_MARK) + _DIGITS
    file.seek(max(0, size - end))
    tail = file.read()
    file.seek(0)
    if file.read(2) != b"PK" or not tail.startswith(_MARK) or len(tail) != end:
        raise StoreError(
            f"{path} is no complete backup of voicerag: it was cut off, or is another file; "
            "use one that `voicerag db backup` finished"
        )
    file.seek(0)
    digest = hashlib.sha256()
    left = size - _DIGITS
    while left and (block := file.read(min(left, BLOCK))):
        digest.update(block)
        left -= len(block)
        if on_bytes is not None:
            on_bytes("check", size - left, size)
    said = tail[len(_MARK) :].decode("ascii", "replace")
    if said != digest.hexdigest():
        raise StoreError(
            f"the backup {path} was altered or damaged: its SHA-256 is "
            f"{digest.hexdigest()[:12]}…, and it was written with {said[:12]!r}…; use another copy"
        )
    file.seek(0)


def _manifest(value: dict[str, Any], path: Path) -> Manifest:
    """Read a manifest; what it lacks raises one of `_SPOILED`."""
    form = value["format"]
    if form != FORMAT:
        raise StoreError(
            f"the backup {path} has form {form!r}, and this program reads form {FORMAT}; use the "
            "version of voicerag-core that wrote it, or a newer one"
        )
    tables = []
    for table in value["tables"]:
        parts = tuple(Part(**part) for part in table["parts"])
        if any(part.table != table["name"] for part in parts):
            raise ValueError("a part of another table")
        tables.append(
            TableContent(table["name"], tuple(table["columns"]), tuple(table["types"]), parts)
        )
    return Manifest(
        schema=int(value["schema"]),
        created=str(value["created"]),
        program=str(value["program"]),
        server=str(value["server"]),
        extension=str(value["extension"]),
        tables=tuple(tables),
        sequences={str(name): int(last) for name, last in value["sequences"].items()},
        indexed=tuple((str(tenant), int(number)) for tenant, number in value["indexed"]),
    )


@contextmanager
def _spoiled(path: Path) -> Iterator[None]:
    """Say of an archive that cannot be read what is wrong with it."""
    try:
        yield
    except _SPOILED as error:
        raise StoreError(f"the backup {path} cannot be used: {error}; use another copy") from error
