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

from voicerag_core.blocks import Block, BlockKind, Place, Unit
from voicerag_core.sentences import sentence_spans
from voicerag_core.types import JSONValue, Passage

__all__ = [
    "PassageBlock",
    "PassageSentence",
    "passage_blocks",
    "passage_sentences",
    "searched_text",
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


def passage_blocks(passage: Passage) -> tuple[PassageBlock, ...]:
    """Return the blocks of a passage, in order.

    Every character of the passage's text that is not white space lies in one of them.
    """
    path = _strings(passage.metadata.get("path"))
    stored = passage.metadata.get("blocks")
    if not isinstance(stored, list) or not stored:
        borders = _paragraphs(passage.text)
        return tuple(PassageBlock(a, b, "text", path, 0, passage.source) for a, b in borders)
    base, marker, fragment = passage.source.partition("#")
    source = passage.source
    blocks = []
    for entry in stored:
        if not isinstance(entry, list) or len(entry) < 3 or entry[2] not in _KINDS:  # noqa: PLR2004
            continue
        start, end, kind, level, at, *_ = [*entry, 0, None][:5] if len(entry) < 5 else entry  # noqa: PLR2004
        level = level if isinstance(level, int) else 0
        if at is not None and marker:
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
