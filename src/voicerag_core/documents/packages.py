"""Office files and books are zip archives: what is checked before any of them is unpacked."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from voicerag_core.errors import DocumentError

if TYPE_CHECKING:
    from lxml import etree

__all__ = ["child", "children", "opened", "parsed", "part", "unpacked_bytes"]

MAX_UNPACKED = 512 << 20
"""Most bytes that an archive may unpack to."""

MAX_RATIO = 100
"""Most times its size that an archive may unpack to, beyond `FREE_BYTES`."""

FREE_BYTES = 50 << 20
_MAX_PARTS = 20_000
_XML = re.compile(r"\.(?:xml|rels|opf|ncx)$", re.IGNORECASE)
_OLE = b"\xd0\xcf\x11\xe0"


class _Begun(Exception):  # noqa: N818
    """The first element was reached: there is no document type before it."""


def opened(data: bytes, source: str, kind: str) -> zipfile.ZipFile:
    """Open an archive after a look at its table of contents.

    Raises:
        DocumentError: It is none, is encrypted, would unpack to far too much, or declares a
            document type, whose entities could be made to grow without bound.
    """
    if data.startswith(_OLE):
        raise DocumentError(_why_ole(data, source, kind))
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        infos = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error) as e:
        raise DocumentError(
            f"{source} cannot be read as {kind} ({e}); open it in the program that made it and "
            "save it anew"
        ) from e
    unpacked = sum(info.file_size for info in infos)
    if unpacked > MAX_UNPACKED or unpacked > max(FREE_BYTES, MAX_RATIO * len(data)):
        raise DocumentError(
            f"{source} would unpack to {unpacked >> 20:,} MiB, {unpacked // max(1, len(data))} "
            "times its size; it is refused, since it may be made to exhaust the memory"
        )
    if len(infos) > _MAX_PARTS:
        raise DocumentError(f"{source} has {len(infos):,} parts, more than {_MAX_PARTS:,}")
    if any(info.flag_bits & 1 for info in infos):
        raise DocumentError(f"{source} is encrypted and needs a password; save a copy without one")
    for info in infos:
        if kind != "epub" and _XML.search(info.filename):
            _refuse_document_type(archive, info, source)
    return archive


_END_OF_ARCHIVE, _END_OF_LARGE_ARCHIVE = b"PK\x05\x06", b"PK\x06\x07"
_LONGEST_END = 66_000
"""Bytes from the end of an archive in which these stand."""
_LONGEST_LIST = 2_000_000


def unpacked_bytes(data: bytes) -> int:
    """Return how many bytes an archive says that it unpacks to.

    0 for what is none, and for one with a list of parts so long that reading it costs much memory.
    """
    if not data.startswith(b"PK"):
        return 0
    end = data.rfind(_END_OF_ARCHIVE)
    listed = int.from_bytes(data[end + 12 : end + 16], "little") if end >= 0 else 0
    if listed > _LONGEST_LIST or _END_OF_LARGE_ARCHIVE in data[-_LONGEST_END:]:
        return 0
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return sum(info.file_size for info in archive.infolist())
    except Exception:  # noqa: BLE001 - zipfile and struct have errors of their own
        return 0


def _why_ole(data: bytes, source: str, kind: str) -> str:
    if "EncryptedPackage".encode("utf-16-le") in data:
        return f"{source} is encrypted and needs a password; save a copy without one"
    return (
        f"{source} is an office file of the old kind in spite of its name; open it in the program "
        f"that made it and save it as {kind}"
    )


def _refuse_document_type(archive: zipfile.ZipFile, info: zipfile.ZipInfo, source: str) -> None:
    """Refuse a part that declares a document type before its first element.

    Raises:
        DocumentError: It does.
    """
    parser = expat.ParserCreate()

    def declared(*_: object) -> None:
        raise DocumentError(
            f"{source} declares a document type in {info.filename}; it is refused, since no "
            "program writes that and its entities can be made to exhaust the memory"
        )

    def begun(*_: object) -> None:
        raise _Begun

    parser.StartDoctypeDeclHandler = declared
    parser.StartElementHandler = begun
    try:
        with archive.open(info) as stream:
            while chunk := stream.read(4096):
                parser.Parse(chunk, False)
    except (DocumentError, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - zlib, zipfile and expat have errors of their own
        return  # it has begun, or the reader of the part says what is wrong with it


def part(archive: zipfile.ZipFile, name: str) -> bytes | None:
    """Return the bytes of a part, or None when it is missing, damaged or longer than it says."""
    try:
        info = archive.getinfo(name)
        with archive.open(info) as stream:
            data = stream.read(info.file_size + 1)
    except Exception:  # noqa: BLE001 - zlib, zipfile and struct have errors of their own
        return None
    return data if len(data) <= info.file_size else None


def parsed(data: bytes | None) -> etree._Element | None:
    """Return the root element of XML; entities are not resolved and nothing is fetched."""
    if data is None:
        return None
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=True,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        return etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError):
        return None


def children(element: Any, name: str) -> Iterator[Any]:  # noqa: ANN401
    """Yield the children of a local name, in whatever namespace."""
    for each in element:
        if isinstance(each.tag, str) and each.tag.rpartition("}")[2] == name:
            yield each


def child(element: Any, *names: str) -> Any:  # noqa: ANN401
    """Return the first descendant along a path of local names, or None."""
    for name in names:
        if element is None:
            return None
        element = next(children(element, name), None)
    return element
