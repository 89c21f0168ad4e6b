"""Plain text: paragraphs, lists, underlined headings, questions with answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import PurePosixPath

from voicerag_core.documents.decoding import decode
from voicerag_core.documents.elements import Draft, Element, Heading, Item, Paragraph
from voicerag_core.documents.faq import paired
from voicerag_core.documents.form_lines import form_fields
from voicerag_core.documents.unicode import normalised

__all__ = ["file_title", "one_line", "read_txt", "stated_title", "text_elements"]

_BLOCK_BORDER = re.compile(r"\n[^\S\n]*\n\s*")
_ADORNMENT = re.compile(r"([=\-~^*#_])\1{2,}")
_ITEM = re.compile(
    r"(\s*)(?:([-*\u2022\u2023\u25aa\u25cf\u25e6\u2013+])|(\(?\d{1,3}[.)]|\(?[a-zA-Z][.)]))\s+(\S.*)"
)
_CAPITALS = re.compile(r"[^a-z\n]*[A-Z]{3}[^a-z\n]*")
_NUMBERED = re.compile(r"(\d{1,2})[.)]\s+([A-Z\u00c0-\u00de][^.;:!?]{1,60})")
_LONGEST_HEADING = 80


def one_line(text: str) -> str:
    """Put a title on one line, with single spaces."""
    return " ".join(text.split())


def file_title(source: str) -> str:
    """Return the title of a file that names none: its name without the ending."""
    return PurePosixPath(source).stem


_NO_TITLE = re.compile(
    r"(?i)microsoft (?:word|powerpoint|excel) - .*|untitled.*|(?:slide|document|title) ?\d*"
    r"|(?:word|powerpoint|excel|pptxgenjs) (?:document|presentation|workbook)|presentation ?\d*|.*"
    r"\.(?:docx?|pptx?|xlsx?|tex|dvi|indd|odt|rtf|pdf|html?|txt|qxd|pmd)"
)


def stated_title(text: str | None) -> str:
    """Return the title that a file's properties state, or "" when a program made it up."""
    title = one_line(normalised(text or ""))
    return "" if _NO_TITLE.fullmatch(title) else title


def read_txt(data: bytes, source: str, encoding: str | None = None) -> list[Draft]:
    """Read plain text."""
    text, notices = decode(data, source, encoding=encoding)
    return [Draft([*notices, *text_elements(text)])] if text.strip() else []


def text_elements(text: str) -> list[Element]:
    """Return the elements that the lines of a plain text show."""
    blocks = [block.split("\n") for block in _BLOCK_BORDER.split(text)]
    numbered = _numbered_titles(blocks)
    return paired(
        element
        for at, block in enumerate(blocks)
        for element in ([Heading(block[0].strip(), 3)] if at in numbered else _block(block))
    )


def _numbered_titles(blocks: Sequence[Sequence[str]]) -> set[int]:
    """Return the blocks that are titles of numbered sections.

    They are lines by themselves with rising numbers, and other text stands between them.
    """
    found: list[tuple[int, int]] = []
    for at, block in enumerate(blocks):
        match = _NUMBERED.fullmatch(block[0].strip()) if len(block) == 1 else None
        if match and int(match[1]) == len(found) + 1:
            found.append((at, int(match[1])))
    apart = all(after - before > 1 for (before, _), (after, _) in pairwise(found))
    if len(found) < 2 or not apart or found[-1][0] == len(blocks) - 1:  # noqa: PLR2004
        return set()
    return {at for at, _ in found}


def _block(lines: Sequence[str]) -> Iterator[Element]:
    """Yield the elements of lines without an empty line between them."""
    lines = [line.rstrip() for line in lines if line.strip()]
    if len(lines) > 1 and _is_adornment(lines[0]) and len(lines) > 2 and _is_adornment(lines[2]):  # noqa: PLR2004
        lines = lines[1:]
    if len(lines) > 1 and _is_adornment(lines[1]) and not _is_adornment(lines[0]):
        yield Heading(lines[0].strip(), 1 if lines[1].lstrip()[0] in "=#*" else 2)
        lines = lines[2:]
    lines = [line for line in lines if not _is_adornment(line)]
    if len(lines) > 1 and _is_title(lines[0]):
        yield Heading(lines[0].strip(), 2)
        lines = lines[1:]
    if fields := form_fields(lines):
        yield from fields
        return
    if len(lines) == 1 and _is_title(lines[0]):
        yield Heading(lines[0].strip(), 2)
        return
    yield from _runs(lines)


def _runs(lines: Sequence[str]) -> Iterator[Element]:
    """Yield paragraphs and items; a line that is indented below an item belongs to it."""
    words: list[str] = []
    item: tuple[int, str] | None = None
    indents: list[int] = []

    def ended() -> Iterator[Element]:
        if words:
            text = "\n".join(line.strip() for line in words)
            if item is None:
                yield Paragraph(text)
            else:
                yield Item(text, item[0], item[1])
            words.clear()

    for line in lines:
        match = _ITEM.fullmatch(line)
        if match and _goes_on(match, words, item):
            match = None
        if match:
            yield from ended()
            indent = len(match[1].expandtabs())
            indents = [*(i for i in indents if i < indent), indent]
            item = len(indents) - 1, match[3] or ""
            words.append(match[4])
        elif item is not None and not line.startswith((" ", "\t")):
            yield from ended()
            item, indents = None, []
            words.append(line)
        else:
            words.append(line)
    yield from ended()


def _goes_on(match: re.Match[str], words: Sequence[str], item: tuple[int, str] | None) -> bool:
    """Whether a line that looks like an item is the next line of a wrapped paragraph."""
    if not words or item is not None:
        return False
    before = words[-1].rstrip()
    if match[2]:
        return match[2] in "-\u2013+*" and not before.endswith((":", ".", ";", "!", "?"))
    return not before.endswith((":", ".", ";", "!", "?"))


def _is_adornment(line: str) -> bool:
    return _ADORNMENT.fullmatch(line.strip()) is not None


def _is_title(line: str) -> bool:
    text = line.strip()
    return (
        len(text) <= _LONGEST_HEADING
        and _CAPITALS.fullmatch(text) is not None
        and (not text.endswith((".", ",", ";")))
    )
