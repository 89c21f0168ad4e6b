"""Text to passages: whole blocks and sentences, packed up to a size."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from voicerag_core.blocks import Block
from voicerag_core.errors import ConfigError
from voicerag_core.passages import place_of, split_source, structure_metadata
from voicerag_core.sentences import sentence_spans, split_sentences
from voicerag_core.types import Document, JSONValue, Passage

__all__ = [
    "CHUNK_OVERLAP",
    "CHUNK_SIZE",
    "chunk_document",
    "passage_id",
    "sentence_spans",
    "split_sentences",
]

CHUNK_SIZE = 1200
"""Default most characters of a passage: about the 256 tokens that MiniLM reads of English."""

CHUNK_OVERLAP = 0
"""Default most characters that a passage repeats of the one before it, in whole sentences."""

_SPACE = re.compile(r"\s")
_LEAD_CHARACTERS = 300
_HEADINGS = ("heading", "question")

_NEVER, _TITLES, _INSIDE, _LIST, _GROUP, _SECTION, _ALWAYS = -2, -1, 0, 1, 2, 4, 99
"""How strong a border is: behind a heading, between two headings, inside a block, between items or
rows, between other blocks, before a section (deeper ones are weaker), and one that no passage
reaches over."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A block or a part of one.

    Args:
        block: With start and end of the part.
        number: Of the block in its document.
        border: How strong the border before the piece is.
        lead: What announced the list, table or code that it belongs to.
    """

    block: Block
    number: int = 0
    border: int = _INSIDE
    lead: str = ""


def chunk_document(
    document: Document, *, size: int = CHUNK_SIZE, overlap: int = CHUNK_OVERLAP
) -> list[Passage]:
    """Cut a document into passages of whole blocks, or of whole sentences when it has no blocks.

    Sections, lists and tables that fit into a passage are not cut; short ones share a passage. A
    heading stays with what follows it, and a lead-in with the first item of its list. A block or
    sentence longer than `size` is cut: text between sentences, code between lines, else at white
    space, and where there is none, at `size`.

    Passages carry the document's metadata and `source`, `title` (when there is one), `position`
    (0, 1, ...), `start` and `end` (characters of the document's text); those of a document with
    blocks carry its structure, too, as `voicerag_core.passages` says, and the place where they
    begin as the fragment of `source`.

    Args:
        document: What to cut; a document without text gives no passage.
        size: Most characters of a passage.
        overlap: Most characters repeated from the passage before, in whole sentences, items, rows
            and paragraphs.

    Raises:
        ConfigError: `size` is below 1, or `overlap` is not in 0..size-1.
    """
    if size < 1 or not 0 <= overlap < size:
        raise ConfigError(
            f"passages need a size of at least 1 and an overlap of 0 to size - 1, "
            f"not size {size} and overlap {overlap}"
        )
    pieces = _pieces(document, size)
    return [
        _passage(document, position, pieces[first : last + 1])
        for position, (first, last) in enumerate(_packed(pieces, size, overlap))
    ]


def passage_id(source: str, position: int, text: str) -> str:
    """Make the default id of a passage: 32 hexadecimal digits of a hash.

    Equal texts at two places get two ids, and indexing the same document again the same ids.
    """
    parts = (source, str(position), text)
    framed = b"".join(b"%d:%b" % (len(p), p) for p in (part.encode() for part in parts))
    return hashlib.blake2b(framed, digest_size=16).hexdigest()


def _pieces(document: Document, size: int) -> list[_Piece]:
    """Return what passages are packed from, in order: whole blocks, long ones in parts."""
    text = document.text
    if not document.blocks:
        return [
            _Piece(Block(start, end, "text"))
            for span in sentence_spans(text)
            for start, end in _cut_long(text, *span, size)
        ]
    pieces: list[_Piece] = []
    before: Block | None = None
    leads = _Leads(text)
    head = 0
    for number, block in enumerate(document.blocks):
        lead = leads.of(block)
        border = _border(before, block)
        for start, end in _parts(text, block, size, head):
            pieces.append(_Piece(replace(block, start=start, end=end), number, border, lead))
            border = _INSIDE
        head = head + block.end - block.start + 2 if _is_head(block) else 0
        before = block
    return pieces


def _is_head(block: Block) -> bool:
    return block.kind in _HEADINGS or block.kind == "lead"


def _border(before: Block | None, block: Block) -> int:
    """Return how strong the border between two neighbouring blocks is."""
    if before is None or _sheet(before) != _sheet(block):
        return _ALWAYS
    if (before.kind == "note") != (block.kind == "note"):
        return _ALWAYS
    follows_heading = before.kind in _HEADINGS
    is_below = follows_heading and len(block.path) > len(before.path)
    if is_below or before.kind == "lead":
        return _TITLES if block.kind in _HEADINGS else _NEVER
    if block.kind in _HEADINGS:
        return _SECTION + max(0, 8 - len(block.path))
    if follows_heading or before.path != block.path:
        return _ALWAYS  # the text of a passage does not show that a term's explanation is over
    same_list = before.kind == block.kind and block.kind in ("item", "row", "field")
    return _LIST if same_list or (before.kind == "item" and block.level) else _GROUP


def _sheet(block: Block) -> str:
    return block.place.sheet if block.place is not None else ""


class _Leads:
    """Follows the blocks of a document and knows what announced the list that each belongs to."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lead = ""
        self.items: list[tuple[int, str]] = []

    def of(self, block: Block) -> str:
        """Return the lead-in of a block, with the items that it lies below."""
        words = " ".join(self.text[block.start : block.end].split())[:_LEAD_CHARACTERS]
        if block.kind == "lead":
            self.lead, self.items = words, []
            return ""
        if block.kind not in ("item", "row", "code", "field"):
            self.lead, self.items = "", []
            return ""
        if block.kind != "item":
            return self.lead
        self.items = [entry for entry in self.items if entry[0] < block.level]
        lead = " ".join(filter(None, (self.lead, *(words for _, words in self.items))))
        self.items.append((block.level, words))
        return lead[-_LEAD_CHARACTERS:] if len(lead) > _LEAD_CHARACTERS else lead


def _parts(text: str, block: Block, size: int, head: int) -> Iterator[tuple[int, int]]:
    """Yield a block, or its parts when it is longer than a passage.

    Args:
        text: The document's.
        block: The block.
        size: Most characters of a part.
        head: Characters of headings before the block; its first part leaves room for them.
    """
    room = size - head if head < size // 2 else size
    if block.end - block.start <= room:
        yield block.start, block.end
        return
    if block.kind == "code":
        spans = _lines(text, block)
    else:
        spans = [
            (block.start + start, block.start + end)
            for start, end in sentence_spans(text[block.start : block.end])
        ]
    for start, end in spans:
        yield from (part for part in _cut_long(text, start, end, room) if part[0] < part[1])
        room = size


def _lines(text: str, block: Block) -> list[tuple[int, int]]:
    spans = []
    start = block.start
    for line in text[block.start : block.end].splitlines(keepends=True):
        if line.strip():
            spans.append((start, start + len(line.rstrip())))
        start += len(line)
    return spans


def _packed(pieces: Sequence[_Piece], size: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last piece of each passage."""
    current: tuple[int, int] | None = None
    for first, last in _units(pieces, size):
        start = first
        if current is not None:
            fits = pieces[last].block.end - pieces[current[0]].block.start <= size
            if fits and pieces[first].border != _ALWAYS:
                current = current[0], last
                continue
            yield current
            floor = max(pieces[current[1]].block.end - overlap, pieces[last].block.end - size)
            while (
                start - 1 > current[0]
                and pieces[start].border != _ALWAYS
                and pieces[start - 1].block.start >= floor
            ):
                start -= 1
        current = start, last
    if current is not None:
        yield current


def _units(pieces: Sequence[_Piece], size: int) -> Iterator[tuple[int, int]]:
    """Yield runs of pieces that fit into a passage, cut at the strongest borders only."""
    walls = [i for i, piece in enumerate(pieces) if piece.border == _ALWAYS]
    stack = list(reversed(list(itertools.pairwise([*walls, len(pieces)]))))
    if not walls and pieces:
        stack = [(0, len(pieces))]
    while stack:
        low, high = stack.pop()
        if high - low == 1 or pieces[high - 1].block.end - pieces[low].block.start <= size:
            yield low, high - 1
            continue
        strongest = max(pieces[i].border for i in range(low + 1, high))
        cuts = [low, *(i for i in range(low + 1, high) if pieces[i].border == strongest), high]
        stack += reversed(list(itertools.pairwise(cuts)))


def _cut_long(text: str, start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    while end - start > size:
        cut = start + size
        space = max(
            (match.start() for match in _SPACE.finditer(text, start + 1, cut + 1)), default=cut
        )
        yield start, start + len(text[start:space].rstrip())
        start = space + len(text[space:end]) - len(text[space:end].lstrip())
    yield start, end


def _passage(document: Document, position: int, pieces: Sequence[_Piece]) -> Passage:
    start, end = pieces[0].block.start, pieces[-1].block.end
    text = document.text[start:end]
    metadata: dict[str, JSONValue] = {
        **document.metadata,
        "source": document.source,
        "position": position,
        "start": start,
        "end": end,
    }
    if document.title:
        metadata["title"] = document.title
    if document.blocks:
        blocks = [piece.block for piece in pieces]
        place = place_of(blocks)
        if place is not None:
            mark = "&" if split_source(document.source)[1] else "#"
            metadata["source"] = f"{document.source}{mark}{place.fragment}"
        metadata |= structure_metadata(_joined(pieces), start)
        if pieces[0].lead:
            metadata["lead"] = pieces[0].lead
    return Passage(passage_id(document.source, position, text), text, metadata)


def _joined(pieces: Sequence[_Piece]) -> list[Block]:
    """Put the parts of a block that was cut together again, as far as they are here."""
    joined: list[Block] = []
    number = -1
    for piece in pieces:
        if piece.number == number:
            joined[-1] = replace(joined[-1], end=piece.block.end)
        else:
            joined.append(piece.block)
        number = piece.number
    return joined
