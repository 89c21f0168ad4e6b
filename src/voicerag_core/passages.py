"""What a passage knows of its structure: its blocks, their headings, and the text that is searched.

Chunking writes the structure into a passage's metadata as JSON; the functions here read it back.
A passage that was made without it, from a plain text or by a caller, has one block a paragraph.

Keys of the metadata:

- `path`: list of the headings above the passage's first block, outermost first; absent when there
  are none;
- `lead`: the announcement of the list, table or code that the passage goes on with, when that
  announcement stands in an earlier passage;
- `kind`: what most of the passage is: ``text``, ``list``, ``table``, ``code`` or ``note``;
- `blocks`: a list of ``[start, end, kind]``, ``[start, end, kind, level]`` or
  ``[start, end, kind, level, at]``; `level` of an item is its depth in nested lists, of a heading
  or question the number of headings above it; `at` is the number of the block's page, slide, row,
  line or second, given when it is not the one before;
- `page`, `slide`, `row`, `line` or `seconds`, with `sheet` in a workbook: where the passage
  begins; and `page_end` and so forth where it ends, when that is another place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, get_args
from urllib.parse import quote

from voicerag_core.blocks import Block, BlockKind, Place, Unit
from voicerag_core.sentences import sentence_spans
from voicerag_core.types import Citation, JSONValue, Passage

__all__ = [
    "CitedPlace",
    "PassageBlock",
    "PassageSentence",
    "cited_place",
    "passage_blocks",
    "passage_sentences",
    "searched_text",
    "split_source",
    "structure_metadata",
]

_HEADINGS = frozenset({"heading", "question"})
_KINDS: frozenset[str] = frozenset(get_args(BlockKind))
_EMPTY_LINE = re.compile(r"\n[^\S\n]*\n\s*")
_CLASSES = {"item": "list", "row": "table", "field": "table", "code": "code", "note": "note"}
_KEYS: dict[Unit, str] = {
    "page": "page", "slide": "slide", "row": "row", "line": "line", "second": "seconds",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PassageBlock:
    """A block of a passage.

    Args:
        start: Its first character in the passage's text.
        end: One past its last.
        kind: What it is.
        path: The headings above it, outermost first, whether they stand in the passage or before.
        level: Depth of an item in nested lists, from 0.
        source: The passage's source, with the fragment that opens this block's place.
    """

    start: int
    end: int
    kind: BlockKind
    path: tuple[str, ...] = ()
    level: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True)
class PassageSentence:
    """A piece of a passage that can be quoted by itself, or a heading.

    Args:
        start: Its first character in the passage's text.
        end: One past its last.
        block: Index of its block in `passage_blocks`.
    """

    start: int
    end: int
    block: int


@dataclass(frozen=True, slots=True)
class CitedPlace:
    """Where a quote stands.

    Args:
        quote: The words that are cited.
        path: The headings above them, outermost first.
        source: The passage's source, with the fragment of the block that holds the quote.
        link: A URL that opens there; "" when the source is neither a file nor a URL.
    """

    quote: str
    path: tuple[str, ...]
    source: str
    link: str


def cited_place(passage: Passage, citation: Citation) -> CitedPlace:
    """Return where a citation of a passage stands."""
    blocks = [block for block in passage_blocks(passage) if block.end > citation.start]
    block = blocks[0] if blocks else None
    source = block.source if block is not None else passage.source
    words = passage.text[citation.start : citation.end]
    link = _link(source)
    base = split_source(source)[0].lower()
    if link and base.endswith((".html", ".htm")) and (block is None or block.kind in _AS_SHOWN):
        is_item = block is not None and block.kind == "item"
        link += ("" if "#" in link else "#") + f":~:text={_directive(words, is_item=is_item)}"
    return CitedPlace(words, block.path if block is not None else (), source, link)


def _directive(words: str, *, is_item: bool) -> str:
    """Return the first words of a quote as a text directive of a URL; browsers scroll to them.

    The number of an item is no text of a page.
    """
    line = _MARKER.sub("", words.split("\n", 1)[0], count=1) if is_item else words.split("\n", 1)[0]
    first = " ".join(line.split()[:_MOST_WORDS])
    return quote(first, safe="").replace("-", "%2D")


_AS_SHOWN: frozenset[BlockKind] = frozenset({"text", "lead", "note", "heading", "question", "item"})
_MOST_WORDS = 8


def split_source(source: str) -> tuple[str, str]:
    """Return a source without its fragment, and the fragment, "" without one.

    A ``#`` in the name of a file or folder begins no fragment.
    """
    if not _ABSOLUTE.match(source):
        base, _, fragment = source.partition("#")
        return base, fragment
    for match in re.finditer("#", source):
        base, fragment = source[: match.start()], source[match.end() :]
        is_place = "/" not in fragment or "=" in fragment or fragment.startswith("epubcfi(")
        if _ENDING.search(base) and is_place:
            return base, fragment
    if stated := _STATED_PLACE.search(source):
        return source[: stated.start()], stated[1]
    return source, ""


_ABSOLUTE = re.compile(r"/|[A-Za-z]:/")
_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,6}$")
_STATED_PLACE = re.compile(r"#((?:page|slide|sheet|row|line|t|attachment)=[^#]*)$")
_MARKER = re.compile(r"\(?\w{1,4}[.)]\s+")
_URL = re.compile(r"(?i)(?!(?:javascript|vbscript|data):)[a-z][a-z0-9+.-]+://")
"""Not those that a browser would run."""


def _link(source: str) -> str:
    if _URL.match(source):
        return source
    if not _ABSOLUTE.match(source):
        return ""
    base, fragment = split_source(source)
    return f"file://{'' if base.startswith('/') else '/'}{quote(base, safe='/:')}" + (
        f"#{fragment}" if fragment else ""
    )


def passage_blocks(passage: Passage) -> tuple[PassageBlock, ...]:
    """Return the blocks of a passage, in order.

    Every character of the passage's text that is not white space lies in one of them.
    """
    path = _strings(passage.metadata.get("path"))
    stored = passage.metadata.get("blocks")
    if not isinstance(stored, list) or not stored:
        borders = _paragraphs(passage.text)
        return tuple(PassageBlock(a, b, "text", path, 0, passage.source) for a, b in borders)
    base, fragment = split_source(passage.source)
    source = passage.source
    blocks = []
    for entry in stored:
        if not isinstance(entry, list) or len(entry) < 3 or entry[2] not in _KINDS:  # noqa: PLR2004
            continue
        start, end, kind = entry[:3]
        level = entry[3] if len(entry) > 3 else 0  # noqa: PLR2004
        at = entry[4] if len(entry) > 4 else None  # noqa: PLR2004
        level = level if isinstance(level, int) else 0
        if at is not None and fragment:
            source = f"{base}#{_moved(fragment, at)}"
        kind = cast("BlockKind", kind)
        start, end = int(cast("int", start)), int(cast("int", end))
        if kind in _HEADINGS:
            path = path[:level]
            blocks.append(PassageBlock(start, end, kind, path, 0, source))
            path = (*path, " ".join(passage.text[start:end].split()))
        else:
            blocks.append(PassageBlock(start, end, kind, path, level, source))
    return tuple(blocks)


def passage_sentences(passage: Passage) -> tuple[PassageSentence, ...]:
    """Cut a passage into sentences; rows, items, fields, headings and code stay whole.

    An item or a row is one piece even when it holds several sentences and is not longer than 300
    characters; a longer one is cut like a paragraph.
    """
    sentences = []
    for number, block in enumerate(passage_blocks(passage)):
        text = passage.text[block.start : block.end]
        whole = block.kind in ("code", "heading", "question") or (
            block.kind in ("row", "item", "field") and len(text) <= _WHOLE_CHARACTERS
        )
        spans = [(0, len(text))] if whole else sentence_spans(text)
        sentences += [
            PassageSentence(block.start + start, block.start + end, number) for start, end in spans
        ]
    return tuple(sentences)


_WHOLE_CHARACTERS = 300


def searched_text(passage: Passage) -> str:
    """Return the text that is embedded and searched for a passage: title > path > lead > text.

    It is never quoted. Title and headings stand on the first line, without repeats, and what the
    passage's text begins with is not said twice.
    """
    title = str(passage.metadata.get("title") or "")
    names = [title] if title else []
    names += [name for name in _strings(passage.metadata.get("path")) if name not in names]
    first_line = passage.text.split("\n", 1)[0].strip()
    if names and names[-1] == first_line:
        names.pop()
    lead = passage.metadata.get("lead")
    lines = [" > ".join(names), lead if isinstance(lead, str) else "", passage.text]
    return "\n".join(line for line in lines if line)


def structure_metadata(blocks: Sequence[Block], start: int) -> dict[str, JSONValue]:
    """Return the metadata of a passage that consists of these blocks, without its `lead`.

    Args:
        blocks: Blocks or pieces of blocks of a document, in order; at least one.
        start: Where the passage begins in the document's text.
    """
    metadata: dict[str, JSONValue] = {}
    if blocks[0].path:
        metadata["path"] = list(blocks[0].path)
    metadata["kind"] = _kind_of(blocks)
    placed = [block.place for block in blocks if block.place is not None]
    if placed and placed[0].unit in _KEYS:
        first, last = placed[0], placed[-1]
        key = _KEYS[first.unit]
        metadata[key] = first.at
        if last.at != first.at and last.unit == first.unit:
            metadata[f"{key}_end"] = last.at
        if first.sheet:
            metadata["sheet"] = first.sheet
    entries: list[JSONValue] = []
    at = placed[0].at if placed else None
    for block in blocks:
        level = len(block.path) if block.kind in _HEADINGS else block.level
        entry: list[JSONValue] = [block.start - start, block.end - start, block.kind]
        moved = block.place is not None and block.place.at != at and block.place.unit != "anchor"
        if level or moved:
            entry.append(level)
        if moved and block.place is not None:
            at = block.place.at
            entry.append(at)
        entries.append(entry)
    metadata["blocks"] = entries
    return metadata


def place_of(blocks: Sequence[Block]) -> Place | None:
    """Return the place of the first block that has one."""
    return next((block.place for block in blocks if block.place is not None), None)


def _kind_of(blocks: Sequence[Block]) -> str:
    sizes: dict[str, int] = {}
    for block in blocks:
        if block.kind not in _HEADINGS and block.kind != "lead":
            kind = _CLASSES.get(block.kind, "text")
            sizes[kind] = sizes.get(kind, 0) + block.end - block.start
    return max(sizes, key=lambda kind: sizes[kind]) if sizes else "text"


def _paragraphs(text: str) -> list[tuple[int, int]]:
    spans = []
    position = 0
    for paragraph in _EMPTY_LINE.split(text):
        words = paragraph.strip()
        if words:
            start = text.index(words, position)
            position = start + len(words)
            spans.append((start, position))
    return spans


def _moved(fragment: str, at: JSONValue) -> str:
    """Return the fragment of another place of the same unit."""
    head, _, tail = fragment.rpartition("=")
    shown = f"{at:g}" if isinstance(at, float) else str(at)
    return f"{head}={shown}" if head else tail


def _strings(value: JSONValue) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
