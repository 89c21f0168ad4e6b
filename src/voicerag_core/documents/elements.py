"""What a reader makes of a file: a sequence of these values, whatever the format.

They are turned into one text with blocks by `layout`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from voicerag_core.blocks import Place
from voicerag_core.types import JSONValue

__all__ = [
    "Aside",
    "Code",
    "Draft",
    "Element",
    "Field",
    "Heading",
    "Item",
    "Notice",
    "Paragraph",
    "Table",
    "Term",
]


@dataclass(frozen=True, slots=True)
class Heading:
    """Title of a section; `level` 1 is the outermost, 0 that of the document's title."""

    text: str
    level: int
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    text: str
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a list.

    Args:
        text: Its words.
        depth: How many lists it lies in, less one.
        marker: Its number as shown ("3.", "b)"), or "" for a bullet.
        place: Where it stands.
    """

    text: str
    depth: int = 0
    marker: str = ""
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its spans filled.

    Args:
        rows: Cells of each row, header rows first.
        header: How many rows name the columns.
        caption: What the table is called, or "".
        places: Of each row, or none.
    """

    rows: Sequence[Sequence[str]]
    header: int = 0
    caption: str = ""
    places: Sequence[Place | None] = ()


@dataclass(frozen=True, slots=True)
class Term:
    """A term with its explanation, or a question of an FAQ with its answer."""

    text: str
    elements: Sequence[Element]
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Code:
    """Lines of a program, of a command or of a file, with their breaks."""

    text: str
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a form, or of a mail's head."""

    name: str
    value: str
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Aside:
    """What does not belong to the running text: footnotes, speaker's notes, quoted mails."""

    elements: Sequence[Element]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something of the file that was not read, for the report of the run; no text."""

    text: str


Element: TypeAlias = Heading | Paragraph | Item | Table | Term | Code | Field | Aside | Notice


@dataclass(frozen=True, slots=True)
class Draft:
    """A text of a file before it is laid out.

    Args:
        elements: What it consists of, in reading order.
        title: Its name, or "" for the file's.
        metadata: What the file says of it besides.
        fragment: The part of the file that it is, or "" for the whole.
    """

    elements: Iterable[Element]
    title: str = ""
    metadata: Mapping[str, JSONValue] = field(default_factory=dict)
    fragment: str = ""
