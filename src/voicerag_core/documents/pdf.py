"""PDF: the text of each page, so that a hit can name the page."""

from __future__ import annotations

import io
import logging
import re
from typing import TYPE_CHECKING

from voicerag_core.documents.plain import file_title, one_line
from voicerag_core.errors import DocumentError, MissingExtraError, VoiceRAGError
from voicerag_core.types import Document

if TYPE_CHECKING:
    from pypdf import PdfReader

__all__ = ["read_pdf"]

_BROKEN_WORD = re.compile(r"(?<=[^\W\d_])(?:-|\u00ad)\n(?=[a-z\u00df-\u00ff])")
"""A word hyphenated at the end of a line; the next line goes on in lower case."""


def read_pdf(source: str, data: bytes) -> list[Document]:
    """Read a PDF page by page; pages without text are left out.

    A PDF that opens without a password is read, even when its owner restricted other uses.

    Raises:
        DocumentError: Not a PDF, damaged, locked by a password, or without any text.
        MissingExtraError: pypdf is not installed.
    """
    try:
        from pypdf import PdfReader
        from pypdf.errors import DependencyError
    except ModuleNotFoundError as e:
        raise MissingExtraError("documents", "reading PDF files") from e

    _quiet_unless_asked()
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise DocumentError(
                f"{source} is encrypted and needs a password; save a copy without one"
            )
        title = _title(reader)
        pages = [_clean(page.extract_text()) for page in reader.pages]
    except VoiceRAGError:
        raise
    except DependencyError as e:
        raise MissingExtraError("documents", "reading an encrypted PDF file") from e
    except Exception as e:  # a damaged PDF makes pypdf raise errors of any kind
        raise DocumentError(
            f"{source} cannot be read as PDF ({type(e).__name__}: {e}); "
            "open it in a viewer and save it anew"
        ) from e
    if not any(pages):
        raise DocumentError(
            f"{source} holds no text on its {len(pages)} pages; if they are scanned, "
            "run text recognition (OCR) on them first"
        )
    return [
        Document(
            f"{source}#page={number}",
            text,
            title or file_title(source),
            {"page": number, "pages": len(pages)},
        )
        for number, text in enumerate(pages, 1)
        if text
    ]


def _quiet_unless_asked() -> None:
    """Keep pypdf's remarks on damaged files off stderr where nobody set up logging."""
    logger = logging.getLogger("pypdf")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _title(reader: PdfReader) -> str:
    stated = reader.metadata.title if reader.metadata is not None else None
    return one_line(_clean(stated)) if isinstance(stated, str) else ""


def _clean(text: str) -> str:
    """Drop what fonts without a proper character table leave behind, and join broken words."""
    valid = text.encode("utf-8", "ignore").decode().replace("\0", "")
    return _BROKEN_WORD.sub("", valid).strip()
