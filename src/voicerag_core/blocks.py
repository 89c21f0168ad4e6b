"""The structure of a text: its blocks, and where each stands in the file that it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import quote

__all__ = ["Block", "BlockKind", "Place", "Unit"]

BlockKind: TypeAlias = Literal[
    "heading", "question", "text", "lead", "item", "row", "field", "code", "note"
]
"""What a block is:

- ``heading``: title of a section, or a term that what follows explains;
- ``question``: a heading or term that asks, such as a question of an FAQ; what follows answers;
- ``text``: a paragraph;
- ``lead``: a paragraph or caption that announces the list, table or code behind it;
- ``item``: an item of a list, with its number when it has one;
- ``row``: a row of a table as "column: value; column: value";
- ``field``: a field of a form or of a mail's head as "name: value";
- ``code``: lines of a program, a command or a file;
- ``note``: a footnote, a speaker's note, a comment or a quoted mail.
"""

Unit: TypeAlias = Literal["page", "slide", "row", "line", "second", "anchor"]
"""How places are counted in a file."""

_FRAGMENTS: dict[Unit, str] = {
    "page": "page=", "slide": "slide=", "row": "row=", "line": "line=", "second": "t=",
    "anchor": "",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where in its file a block stands.

    Args:
        unit: What is counted.
        at: Number of the page, slide, row or line, counted from 1; seconds from the start of a
            recording; name of an anchor.
        sheet: Name of the sheet in a workbook, or "".
    """

    unit: Unit
    at: int | float | str
    sheet: str = ""

    @property
    def fragment(self) -> str:
        """What a link to the file needs behind ``#`` to open at this place.

        ``page=3`` (RFC 8118), ``row=3`` (RFC 7111), ``line=3`` (RFC 5147), ``t=12.5`` (Media
        Fragments), ``sheet=Prices&row=3``, ``slide=3``, or the anchor itself.
        """
        at = f"{self.at:g}" if isinstance(self.at, float) else str(self.at)
        sheet = f"sheet={quote(self.sheet)}&" if self.sheet else ""
        return sheet + _FRAGMENTS[self.unit] + quote(at, safe="-._~!$&'()*+,;=:@/?")


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of a document's text that is of one kind.

    Args:
        start: First character of the block in the document's text.
        end: One past its last character.
        kind: What it is.
        path: The headings above it, outermost first; of a heading, without itself.
        level: Depth of an item in nested lists, from 0; 0 for all other blocks.
        place: Where it stands in the file, or None when the file has no places.
    """

    start: int
    end: int
    kind: BlockKind
    path: tuple[str, ...] = ()
    level: int = 0
    place: Place | None = None
