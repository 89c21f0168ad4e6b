"""Mails with their attachments: as files of the internet (eml) and of Outlook (msg)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import Message
from pathlib import PurePosixPath
from urllib.parse import quote

from voicerag_core.documents.decoding import decode
from voicerag_core.documents.elements import (
    Aside,
    Draft,
    Element,
    Field,
    Heading,
    Item,
    Notice,
    Table,
)
from voicerag_core.documents.html import html_elements, page_text
from voicerag_core.documents.plain import text_elements
from voicerag_core.documents.unicode import tidy
from voicerag_core.errors import DocumentError, MissingExtraError
from voicerag_core.types import JSONValue

__all__ = ["Attachment", "Letter", "letter_drafts", "read_eml"]

_MAX_ATTACHMENTS = 100
_MAX_DEPTH = 3
_MAX_PARTS = 1000
_QUOTED = re.compile(r"\s*>")
_INTRODUCED = re.compile(
    r"(?:On\b.*\bwrote|Am\b.*\bschrieb.*|Le\b.*a écrit\s?)\s*:|-{2,}\s*(?:Original Message|"
    r"Forwarded message|Urspr\u00fcngliche Nachricht|Weitergeleitete Nachricht)\s*-{2,}|_{20,}",
    re.IGNORECASE,
)
_QUOTED_PAGE = re.compile(
    r"<(?:blockquote[^>]*\btype=[\"']?cite|div[^>]*\b(?:class=[\"']?[^\"'>]*(?:gmail_quote|moz-cite-prefix"
    r"|moz-signature|gmail_signature|yahoo_quoted)|id=[\"']?(?:divRplyFwdMsg|appendonsend)))",
    re.IGNORECASE,
)
"""Where mail programs begin what they quote, or a signature."""

_SIGNED = "-- "
_CALENDAR = ("text/calendar", "application/pgp-signature", "application/pkcs7-signature")

AttachmentReader = Callable[[bytes, str, str], "list[Draft] | None"]
"""Bytes, path and name of an attachment to its drafts; None for a kind that is not read."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file in a mail; a mail in it is a `Letter`."""

    name: str
    data: bytes


@dataclass(slots=True)
class Letter:
    """A mail, from whatever kind of file.

    Args:
        subject: Its subject.
        head: Names and values of who, to whom and when.
        text: Its plain text, or "".
        page: Its text as HTML, or "".
        attachments: Files in it, and mails.
        notices: What of it was not read.
    """

    subject: str = ""
    head: list[tuple[str, str]] = field(default_factory=list)
    text: str = ""
    page: str = ""
    attachments: list[Attachment | Letter] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


def read_eml(
    data: bytes, source: str, encoding: str | None, *, attachments: AttachmentReader
) -> list[Draft]:
    """Read a mail: its text, apart what it quotes, and its attachments as documents besides.

    Raises:
        DocumentError: Not a mail.
    """
    message = message_from_bytes(data, policy=policy.default)
    if not message.keys():
        raise DocumentError(f"{source} cannot be read as a mail: it has no head")
    return letter_drafts(_letter(message, source, encoding), source, attachments)


def letter_drafts(
    letter: Letter, source: str, read: AttachmentReader, depth: int = 0
) -> list[Draft]:
    """Return a mail and what is attached to it as drafts."""
    subject = tidy(letter.subject)
    elements: list[Element] = [*letter.notices]
    if subject:
        elements.append(Heading(subject, 1))
    elements += [Field(name, value) for name, value in letter.head if value]
    elements += _body(letter, source)
    drafts: list[Draft] = []
    for attached in letter.attachments[:_MAX_ATTACHMENTS]:
        if isinstance(attached, Letter):
            if depth < _MAX_DEPTH:
                inner = letter_drafts(attached, source, read, depth + 1)
                drafts += [_within(draft, attached.subject or "mail") for draft in inner]
            continue
        found = None
        try:
            found = read(attached.data, f"{source}, attachment {attached.name}", attached.name)
        except (DocumentError, MissingExtraError) as e:
            elements.append(Notice(str(e)))
            continue
        if found is None:
            elements.append(
                Notice(f"the attachment {attached.name!r} is of a kind that is not read")
            )
        else:
            drafts += [_within(draft, attached.name) for draft in found]
    if len(letter.attachments) > _MAX_ATTACHMENTS:
        elements.append(Notice(f"more than {_MAX_ATTACHMENTS} attachments; the rest is not read"))
    metadata: dict[str, JSONValue] = {name.lower(): value for name, value in letter.head if value}
    return [Draft(elements, subject, metadata), *drafts]


def _within(draft: Draft, name: str) -> Draft:
    """Return a draft as part of the mail that it is attached to."""
    fragment = f"attachment={quote(tidy(name)[:100])}"
    if draft.fragment:
        fragment = f"{fragment}&{draft.fragment}"
    title = draft.title or PurePosixPath(name).stem
    return Draft(draft.elements, title, {**draft.metadata, "attachment": tidy(name)}, fragment)


def _body(letter: Letter, source: str) -> Iterator[Element]:
    """Yield what a mail says; what it quotes, and its signature, as asides.

    Of a mail in both forms the plain text is read, unless the page alone has tables or lists.
    """
    page = list(_page(letter.page, source)) if letter.page.strip() else []
    has_text = bool(letter.text.strip())
    is_list = any(isinstance(element, Item) for element in text_elements(letter.text))
    has_shape = any(
        isinstance(element, Table) or (isinstance(element, Item) and not is_list)
        for element in page
    )
    if has_text and not has_shape:
        own, rest = _own_lines(letter.text.split("\n"))
        yield from text_elements("\n".join(own))
        quoted = text_elements("\n".join(_QUOTED.sub("", line).lstrip("> ") for line in rest))
        if quoted:
            yield Aside(quoted)
    else:
        yield from page


def _page(page: str, source: str) -> Iterator[Element]:
    """Yield what a mail's page says; what it quotes as an aside."""
    quote = _QUOTED_PAGE.search(page)
    if quote is None or not html_elements(page[: quote.start()], source)[1]:
        yield from html_elements(page, source)[1]
        return
    yield from html_elements(page[: quote.start()], source)[1]
    if quoted := html_elements(page[quote.start() :], source)[1]:
        yield Aside(quoted)


def _own_lines(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part the lines of a mail: its own, and those quoted or below a signature."""
    own: list[str] = []
    rest: list[str] = []
    signed = False
    for i, line in enumerate(lines):
        if line.rstrip("\r") == _SIGNED:
            signed = True
            rest.append("")
            continue
        following = next((later for later in lines[i + 1 :] if later.strip()), "")
        introduces = _INTRODUCED.match(line.strip()) and (
            _QUOTED.match(following) or line.strip().startswith(("-", "_"))
        )
        if introduces and line.strip().startswith(("-", "_")):
            rest += lines[i + 1 :]
            break
        quoted = _QUOTED.match(line) or introduces or signed
        (rest if quoted else own).append(line)
    return own, rest


def _letter(message: Message, source: str, encoding: str | None) -> Letter:
    letter = Letter(_header(message, "Subject"))
    letter.head = [(name, _header(message, name)) for name in ("From", "To", "Cc", "Date")]
    letter.head = [(name, value) for name, value in letter.head if value]
    _parts(message, letter, source, encoding, 0)
    return letter


def _header(message: Message, name: str) -> str:
    try:
        return tidy(str(message.get(name) or ""))
    except (LookupError, ValueError, TypeError, AttributeError, IndexError):
        return ""  # the parser of heads stumbles over some damaged ones


def _parts(message: Message, letter: Letter, source: str, encoding: str | None, depth: int) -> None:
    """Take up the parts of a mail: the first text of each form, and what is attached."""
    if depth > 10 or len(letter.attachments) > _MAX_PARTS:  # noqa: PLR2004
        return
    kind = message.get_content_type()
    disposition = message.get_content_disposition()
    if kind == "message/rfc822":
        inner = message.get_payload()
        if isinstance(inner, list) and inner and isinstance(inner[0], Message):
            letter.attachments.append(_letter(inner[0], source, encoding))
        return
    if message.is_multipart():
        payload = message.get_payload()
        for inner_part in payload if isinstance(payload, list) else ():
            if isinstance(inner_part, Message):
                _parts(inner_part, letter, source, encoding, depth + 1)
        return
    name = _file_name(message)
    if disposition == "attachment" or (name and not kind.startswith("text/")):
        if kind not in _CALENDAR and not (
            kind.startswith("image/") and disposition != "attachment"
        ):
            letter.attachments.append(Attachment(name or "unnamed", _payload(message)))
        return
    if kind == "text/plain" and not letter.text:
        letter.text = _text(message, letter, source, encoding)
    elif kind == "text/html" and not letter.page:
        letter.page = page_text(_payload(message), source, encoding or _charset(message))[0]
    elif name and kind.startswith("text/") and kind not in _CALENDAR:
        letter.attachments.append(Attachment(name, _payload(message)))


def _file_name(message: Message) -> str:
    try:
        return tidy(message.get_filename() or "")
    except (LookupError, ValueError, TypeError, AttributeError):
        return ""


def _payload(message: Message) -> bytes:
    try:
        data = message.get_payload(decode=True)
    except (ValueError, LookupError, AssertionError):
        return b""
    return data if isinstance(data, bytes) else b""


def _charset(message: Message) -> str | None:
    """Return the encoding that a part states, if Python knows it."""
    try:
        charset = message.get_content_charset()
        "".encode(charset or "utf-8")
    except (LookupError, ValueError, TypeError, AttributeError):
        return None
    return charset


def _text(message: Message, letter: Letter, source: str, encoding: str | None) -> str:
    try:
        text, notices = decode(
            _payload(message), source, encoding=encoding, stated=_charset(message)
        )
    except DocumentError as e:
        letter.notices.append(Notice(f"the text of the mail cannot be read: {e}"))
        return ""
    letter.notices += notices
    if message.get_param("format") == "flowed":
        text = re.sub(r"(?m)(?<!^--) \n(?!>)", " ", text)
    return text
