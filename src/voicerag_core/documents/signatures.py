"""What kind of file bytes are, whatever the file's name says."""

from __future__ import annotations

import io
import re
import zipfile

__all__ = ["true_kind"]

_FIRST_BYTES = (
    (re.compile(rb"\s*%PDF-"), "a PDF file", ".pdf"),
    (re.compile(rb"\s*\{\\rtf"), "a text in RTF", ""),
    (re.compile(rb"\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE), "a web page", ".html"),
    (re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP", re.DOTALL), "an image", ""),
    (re.compile(rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf"), "a compressed file", ""),
)
_MEDIA_TYPES = {
    "application/vnd.oasis.opendocument.text": ("an OpenDocument text", ".odt"),
    "application/vnd.oasis.opendocument.spreadsheet": ("an OpenDocument sheet", ".ods"),
    "application/vnd.oasis.opendocument.presentation": ("an OpenDocument presentation", ".odp"),
    "application/epub+zip": ("a book", ".epub"),
}
_PARTS = (
    ("word/document.xml", "a Word document", ".docx"),
    ("xl/workbook.xml", "an Excel workbook", ".xlsx"),
    ("ppt/presentation.xml", "a presentation", ".pptx"),
)
_OLE = b"\xd0\xcf\x11\xe0"
_OUTLOOK = "__properties_version1.0".encode("utf-16-le")
_LONGEST_TYPE = 200


def true_kind(data: bytes) -> tuple[str, str]:
    """Return what bytes are and the ending that such files have; "" for what is not told.

    The ending is also "" for kinds that are recognised but have no reader.
    """
    for pattern, kind, suffix in _FIRST_BYTES:
        if pattern.match(data):
            return kind, suffix
    if data.startswith(_OLE):
        return ("a mail of Outlook", ".msg") if _OUTLOOK in data else ("", "")
    if data.startswith(b"PK"):
        return _kind_of_archive(data)
    return "", ""


def _kind_of_archive(data: bytes) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if "mimetype" in names and archive.getinfo("mimetype").file_size < _LONGEST_TYPE:
                stated = archive.read("mimetype").decode("ascii", "replace").strip()
                if found := _MEDIA_TYPES.get(stated.removesuffix("-template")):
                    return found
    except Exception:  # noqa: BLE001 - zlib, zipfile and struct have errors of their own
        return "", ""
    for part, kind, suffix in _PARTS:
        if part in names:
            return kind, suffix
    return "", ""
