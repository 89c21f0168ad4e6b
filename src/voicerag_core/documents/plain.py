"""Plain text: paragraphs, lists, underlined headings, questions with answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from voicerag_core.documents.aligned_tables import aligned_table
from voicerag_core.documents.decoding import decode
from voicerag_core.documents.elements import Code, Draft, Element, Heading, Item, Paragraph
from voicerag_core.documents.faq import ANSWERED, ASKED, paired
from voicerag_core.documents.form_lines import aligned_fields, form_fields
from voicerag_core.documents.plain_titles import depth_of, titles, with_titles_apart
from voicerag_core.documents.unicode import normalised

__all__ = ["file_title", "one_line", "read_txt", "stated_title", "text_elements"]

_BLOCK_BORDER = re.compile(r"\n[^\S\n]*\n\s*")
_ADORNMENT = re.compile(r"([=\-~^*#_])\1{2,}")
_ITEM = re.compile(
    r"(\s*)(?:((?<=\s)o|[-*\u2022\u2023\u25aa\u25cf\u25e6\u2013+])|(\(?\d{1,3}[.)]|\(?[a-zA-Z][.)]))\s+(\S.*)"
)
_CAPITALS = re.compile(r"[^a-z\n]*[A-Z]{3}[^a-z\n]*")
_FRAMED = re.compile(r"([=\-~*#_])\1{2,}\s+(?P<title>\S.*?)\s+([=\-~*#_])\3{2,}")
_COLUMNS = re.compile(r"\S(?:\t|  +)\S.*\S(?:\t|  +)\S|\S {4,}\S")
_SETTING = re.compile(r"\s*[a-z#$%/<\[{(-].*[^\s.,;:!?]\s*")
_SYMBOL = re.compile(r"[\d/=_<>{}$]")
_SENTENCE_END = re.compile(r"[.!?]\s*\Z")
_LONGEST_HEADING = 80
LEAST_CODE_INDENT = 2
"""Spaces by which code stands further to the right than the paragraph that it belongs to."""


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
    blocks = with_titles_apart(_with_first_indents(text, blocks))
    asked = frozenset(at for at, block in enumerate(blocks) if ASKED.match(block[0].strip()))
    levels = titles(blocks, asked)
    elements: list[Element] = []
    for at, block in enumerate(blocks):
        if at in levels:
            elements.append(Heading(one_line(" ".join(block)), levels[at]))
        elif table := aligned_table([line for line in block if line.strip()]):
            elements += table
        elif at and _is_code(block, blocks[at - 1]) and isinstance(elements[-1:][0], Paragraph):
            elements.append(Code(_without_indent(block)))
        else:
            elements += _block(block, in_pairs=bool(asked))
    return paired(elements)


def _with_first_indents(text: str, blocks: list[list[str]]) -> list[list[str]]:
    """Put the spaces in front of each block back, which the border in front of it took up."""
    indents = ["", *(re.split(r"\n", border[0])[-1] for border in _BLOCK_BORDER.finditer(text))]
    return [[indent + block[0], *block[1:]] for indent, block in zip(indents, blocks, strict=True)]


def _is_code(block: Sequence[str], before: Sequence[str]) -> bool:
    """Whether lines are a sample: settings or commands, or no sentence and indented below one."""
    lines = [line for line in block if line.strip()]
    known = [line for line in before if line.strip()]
    if not lines or not known or any(_ITEM.fullmatch(line) for line in lines):
        return False
    if (
        all(map(_SETTING.fullmatch, lines))
        and sum(_SYMBOL.search(line) is not None for line in lines) > len(lines) // 2
    ):
        return True
    if _SENTENCE_END.search(known[-1]):
        return False
    indent = depth_of(known[-1]) + LEAST_CODE_INDENT
    return all(depth_of(line) >= indent and not _SENTENCE_END.search(line) for line in lines)


def _without_indent(lines: Sequence[str]) -> str:
    least = min(depth_of(line) for line in lines if line.strip())
    return "\n".join(line.expandtabs()[least:].rstrip() for line in lines)


def _block(lines: Sequence[str], *, in_pairs: bool = False) -> Iterator[Element]:
    """Yield the elements of lines without an empty line between them.

    Args:
        lines: They.
        in_pairs: The text has questions with answers: "A)" marks an answer and no item.
    """
    lines = [line.rstrip() for line in lines if line.strip()]
    if len(lines) > 1 and _is_adornment(lines[1]) and _COLUMNS.search(lines[0].strip()):
        yield Code(_without_indent(lines))
        return
    if len(lines) == 1 and (framed := _FRAMED.fullmatch(lines[0].strip())):
        yield Heading(framed["title"], 1)
        return
    if len(lines) > 1 and _is_adornment(lines[0]) and len(lines) > 2 and _is_adornment(lines[2]):  # noqa: PLR2004
        lines = lines[1:]
    if len(lines) > 1 and _is_adornment(lines[1]) and not _is_adornment(lines[0]):
        yield Heading(lines[0].strip(), 1 if lines[1].lstrip()[0] in "=#*" else 2)
        lines = lines[2:]
    lines = [line for line in lines if not _is_adornment(line)]
    if len(lines) > 1 and _is_title(lines[0]):
        yield Heading(lines[0].strip(), 2)
        lines = lines[1:]
    if fields := form_fields(lines) or aligned_fields(lines):
        yield from fields
        return
    if len(lines) == 1 and _is_title(lines[0]):
        yield Heading(lines[0].strip(), 2)
        return
    yield from _runs(lines, in_pairs)


def _runs(lines: Sequence[str], in_pairs: bool) -> Iterator[Element]:
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
        is_pair = in_pairs and (ASKED.match(line) or ANSWERED.match(line))
        if match and (is_pair or _goes_on(match, words, item)):
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
