"""Mails of Outlook (msg): the properties in an OLE container, by olefile.

Names of streams and properties: [MS-OXMSG] and [MS-OXPROPS].
"""

from __future__ import annotations

import datetime
import io
import struct
from typing import TYPE_CHECKING

from voicerag_core.documents.elements import Draft, Notice
from voicerag_core.documents.html import page_text
from voicerag_core.documents.mail import Attachment, AttachmentReader, Letter, letter_drafts
from voicerag_core.errors import DocumentError, MissingExtraError

if TYPE_CHECKING:
    from olefile import OleFileIO

__all__ = ["read_msg"]

_SUBJECT, _BODY, _PAGE, _RTF = 0x0037, 0x1000, 0x1013, 0x1009
_SENDER_NAME, _SENDER_MAIL, _SENDER_SMTP = 0x0C1A, 0x0C1F, 0x5D01
_SHOWN_TO, _SHOWN_CC = 0x0E04, 0x0E03
_FILE_NAME, _LONG_NAME, _DATA = 0x3704, 0x3707, 0x3701
_SENT, _DELIVERED = 0x0039, 0x0E06
_CODE_PAGE, _MESSAGE_CODE_PAGE = 0x3FDE, 0x3FFD
_TEXT16, _TEXT8, _BINARY, _STORAGE = 0x001F, 0x001E, 0x0102, 0x000D
_HEAD_BYTES = {True: 32, False: 24}
_ENTRY_BYTES = 16
_TICKS_PER_SECOND = 10_000_000
_EPOCH = datetime.datetime(1601, 1, 1, tzinfo=datetime.UTC)
_MAX_DEPTH = 3
_MAX_ATTACHED = 200


def read_msg(
    data: bytes, source: str, encoding: str | None, *, attachments: AttachmentReader
) -> list[Draft]:
    """Read a mail that Outlook saved, with what is attached to it.

    Raises:
        DocumentError: Not such a mail, or damaged.
        MissingExtraError: olefile is not installed.
    """
    try:
        import olefile
    except ModuleNotFoundError as e:
        raise MissingExtraError("documents", f"reading {source}") from e

    if not data.startswith(olefile.MAGIC):
        raise DocumentError(f"{source} is not a mail of Outlook by its first bytes")
    try:
        with olefile.OleFileIO(io.BytesIO(data)) as container:
            letter = _Reading(container, source, encoding).letter([])
    except (OSError, ValueError, IndexError, struct.error, TypeError, AttributeError) as e:
        raise DocumentError(
            f"{source} cannot be read as a mail of Outlook ({e}); save it anew, or as .eml"
        ) from e
    if not (letter.subject or letter.text or letter.page or letter.attachments):
        raise DocumentError(f"{source} holds no mail that can be read; save it as .eml")
    return letter_drafts(letter, source, attachments)


class _Reading:
    """Reads mails out of one container."""

    def __init__(self, container: OleFileIO, source: str, encoding: str | None) -> None:
        self.container = container
        self.source = source
        self.encoding = encoding

    def letter(self, place: list[str], depth: int = 0) -> Letter:
        """Return the mail below a storage of the container."""
        numbers = _numbers(self.container, place, is_root=not place)
        page_number = numbers.get(_CODE_PAGE) or numbers.get(_MESSAGE_CODE_PAGE) or 1252
        code_page = self.encoding or _code_page(page_number)

        def text(property_id: int) -> str:
            return _text(self.container, place, property_id, code_page)

        letter = Letter(text(_SUBJECT))
        sender, address = text(_SENDER_NAME), text(_SENDER_SMTP) or text(_SENDER_MAIL)
        if "@" in address and address != sender:
            sender = f"{sender} <{address}>".strip()
        sent = _moment(numbers.get(_SENT) or numbers.get(_DELIVERED))
        head = [("From", sender), ("To", text(_SHOWN_TO)), ("Cc", text(_SHOWN_CC)), ("Date", sent)]
        letter.head = [(name, value.strip("\0 ")) for name, value in head if value.strip("\0 ")]
        letter.text = text(_BODY)
        page = _stream(self.container, place, _PAGE, _BINARY)
        letter.page = page_text(page, self.source, self.encoding)[0] if page else text(_PAGE)
        has_rtf = _stream(self.container, place, _RTF, _BINARY)
        if has_rtf and not letter.text.strip() and not letter.page.strip():
            letter.notices.append(Notice(
                "the mail has its text only in RTF, which is not read; save it as .eml or as text"
            ))  # fmt: skip
        for name in self._attachments(place):
            attached = self._attached([*place, name], depth, code_page)
            if attached is not None:
                letter.attachments.append(attached)
        return letter

    def _attachments(self, place: list[str]) -> list[str]:
        """Return the names of the storages of what is attached, in order."""
        entries = self.container.listdir(streams=True, storages=True)
        below = {entry[len(place)] for entry in entries
                 if len(entry) > len(place) and entry[: len(place)] == place}  # fmt: skip
        return sorted(name for name in below if name.startswith("__attach_version1.0"))[
            :_MAX_ATTACHED
        ]

    def _attached(self, place: list[str], depth: int, code_page: str) -> Attachment | Letter | None:
        inner = [*place, f"__substg1.0_{_DATA:04X}{_STORAGE:04X}"]
        if self.container.exists("/".join(inner)):
            return self.letter(inner, depth + 1) if depth < _MAX_DEPTH else None
        data = _stream(self.container, place, _DATA, _BINARY)
        if not data:
            return None
        name = _text(self.container, place, _LONG_NAME, code_page)
        name = name or _text(self.container, place, _FILE_NAME, code_page)
        return Attachment(name.strip("\0 ") or "unnamed", data)


def _stream(container: OleFileIO, place: list[str], property_id: int, kind: int) -> bytes:
    path = "/".join([*place, f"__substg1.0_{property_id:04X}{kind:04X}"])
    if not container.exists(path):
        return b""
    with container.openstream(path) as stream:
        return bytes(stream.read())


def _text(container: OleFileIO, place: list[str], property_id: int, code_page: str) -> str:
    wide = _stream(container, place, property_id, _TEXT16)
    if wide:
        return wide.decode("utf-16-le", "replace").replace("\r\n", "\n")
    narrow = _stream(container, place, property_id, _TEXT8)
    return narrow.decode(code_page, "replace").replace("\r\n", "\n")


def _numbers(container: OleFileIO, place: list[str], *, is_root: bool) -> dict[int, int]:
    """Return the properties of fixed length."""
    path = "/".join([*place, "__properties_version1.0"])
    if not container.exists(path):
        return {}
    with container.openstream(path) as stream:
        data = bytes(stream.read())
    found = {}
    for at in range(_HEAD_BYTES[is_root], len(data) - _ENTRY_BYTES + 1, _ENTRY_BYTES):
        _, property_id, _, value = struct.unpack_from("<HHIQ", data, at)
        found[property_id] = value
    return found


def _moment(ticks: int | None) -> str:
    if not ticks:
        return ""
    try:
        moment = _EPOCH + datetime.timedelta(seconds=ticks // _TICKS_PER_SECOND)
    except OverflowError:
        return ""
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _code_page(number: int) -> str:
    name = {65001: "utf-8", 20127: "ascii", 28591: "latin-1"}.get(
        number & 0xFFFFFFFF, f"cp{number & 0xFFFFFFFF}"
    )
    try:
        "".encode(name)
    except LookupError:
        return "cp1252"
    return name
