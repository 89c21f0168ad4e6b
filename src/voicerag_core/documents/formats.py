"""Which reader reads which kind of file, and how its drafts become documents."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from voicerag_core.documents.docx import read_docx
from voicerag_core.documents.elements import Draft
from voicerag_core.documents.epub import read_epub
from voicerag_core.documents.html import read_html
from voicerag_core.documents.layout import laid_out
from voicerag_core.documents.mail import read_eml
from voicerag_core.documents.markdown import read_markdown
from voicerag_core.documents.notebook import read_notebook
from voicerag_core.documents.odt import read_odt
from voicerag_core.documents.outlook import read_msg
from voicerag_core.documents.pdf import read_pdf
from voicerag_core.documents.plain import file_title, read_txt
from voicerag_core.documents.pptx import read_pptx
from voicerag_core.documents.rst import read_rst
from voicerag_core.documents.signatures import true_kind
from voicerag_core.documents.subtitles import read_subtitles
from voicerag_core.documents.tables import read_csv, read_jsonl
from voicerag_core.documents.titles import plain_title
from voicerag_core.documents.xlsx import read_xlsx
from voicerag_core.errors import DocumentError, MissingExtraError
from voicerag_core.types import Document

__all__ = ["FORMATS", "Format", "Parsed", "check_installed", "parse"]

Reader = Callable[[bytes, str, str | None], list[Draft]]


@dataclass(frozen=True, slots=True)
class Format:
    """How a kind of file is read.

    Args:
        read: Bytes, path and encoding to drafts; None for tables, which take a column.
        apart: From how many bytes on it is read in a process of its own, since what parses it
            cannot be trusted with a stranger's file: 0 for all files, None for none.
        needs: Modules of the extra ``documents`` that it cannot do without.
    """

    read: Reader | None
    apart: int | None = None
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a file came to: its documents, and what of it was not read."""

    documents: tuple[Document, ...]
    notices: tuple[str, ...] = ()


def _attachment(data: bytes, source: str, name: str) -> list[Draft] | None:
    """Read an attachment of a mail by the ending of its name; None for a kind that is not read."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in FORMATS:
        return None
    return _drafts(data, source, suffix, None, None)


_BINARY = frozenset({".pdf", ".docx", ".pptx", ".xlsx", ".odt", ".epub", ".msg"})
"""Kinds whose bytes say what they are."""

_LONG_TEXT = 50_000
"""In so many characters no text, however it is made, holds these parsers up for long."""

FORMATS: dict[str, Format] = {
    ".txt": Format(read_txt),
    ".md": Format(read_markdown, apart=_LONG_TEXT),
    ".rst": Format(read_rst, apart=_LONG_TEXT, needs=("docutils",)),
    ".html": Format(read_html, apart=0, needs=("selectolax",)),
    ".htm": Format(read_html, apart=0, needs=("selectolax",)),
    ".pdf": Format(read_pdf, apart=0, needs=("pypdfium2",)),
    ".docx": Format(read_docx, apart=0, needs=("docx",)),
    ".pptx": Format(read_pptx, apart=0, needs=("pptx",)),
    ".xlsx": Format(read_xlsx, apart=0, needs=("openpyxl",)),
    ".odt": Format(read_odt, apart=0, needs=("lxml",)),
    ".epub": Format(read_epub, apart=0, needs=("lxml", "selectolax")),
    ".eml": Format(partial(read_eml, attachments=_attachment), apart=0, needs=("selectolax",)),
    ".msg": Format(
        partial(read_msg, attachments=_attachment), apart=0, needs=("olefile", "selectolax")
    ),
    ".ipynb": Format(read_notebook, apart=_LONG_TEXT),
    ".srt": Format(read_subtitles),
    ".vtt": Format(read_subtitles),
    ".jsonl": Format(None),
    ".csv": Format(None),
    ".tsv": Format(None),
}
"""By the ending of the name, in lower case."""


def check_installed(suffix: str, source: str) -> None:
    """Refuse a kind of file whose parser is not installed.

    Raises:
        MissingExtraError: The extra ``documents`` is missing.
    """
    for name in FORMATS[suffix].needs:
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError("documents", f"reading {source}")


def parse(
    data: bytes,
    source: str,
    suffix: str,
    *,
    text_column: str | None = None,
    encoding: str | None = None,
) -> Parsed:
    """Read the bytes of a file here, in this process.

    Raises:
        DocumentError: They cannot be read as what the name says.
        MissingExtraError: The extra ``documents`` is missing.
    """
    try:
        drafts = _drafts(data, source, suffix, text_column, encoding)
    except (MissingExtraError, MemoryError):
        raise
    except Exception as e:
        kind, ending = true_kind(data) if suffix in _BINARY else ("", "")
        if not kind or ending == suffix:
            raise
        advice = f"name it {ending}" if ending else f"save it as {suffix[1:]}"
        raise DocumentError(f"{source} is {kind} by its content, not {suffix[1:]}; {advice}") from e
    return _parsed(drafts, source, is_table=FORMATS[suffix].read is None)


def _drafts(
    data: bytes, source: str, suffix: str, text_column: str | None, encoding: str | None
) -> list[Draft]:
    read = FORMATS[suffix].read
    if read is not None:
        return read(data, source, encoding)
    if suffix == ".jsonl":
        return read_jsonl(data, source, encoding, text_key=text_column)
    delimiter = "\t" if suffix == ".tsv" else None
    return read_csv(data, source, encoding, text_column=text_column, delimiter=delimiter)


def _parsed(drafts: Sequence[Draft], source: str, *, is_table: bool) -> Parsed:
    documents: list[Document] = []
    notices: list[str] = []
    for draft in drafts:
        layout = laid_out(draft.elements)
        notices += layout.notices
        if not layout.blocks:
            continue
        named = is_table and bool(draft.fragment)
        title = plain_title(draft.title) or ("" if named else file_title(source))
        place = f"{source}#{draft.fragment}" if draft.fragment else source
        documents.append(Document(place, layout.text, title, draft.metadata, tuple(layout.blocks)))
    return Parsed(tuple(documents), tuple(notices))
