"""Lines that name a value each: "Deadline: 5 May"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from voicerag_core.blocks import Place
from voicerag_core.documents.elements import Field

__all__ = ["aligned_fields", "form_fields", "is_form_line"]

# Each character can stand in one place only, so that no line takes more than linear time.
_NAMED = re.compile(
    r"([A-Z\u00c0-\u00de][^\W_]*(?:[.'-]{1,2}[^\W_][\w.'-]*|[.'-](?=[ /&]))?"
    r"(?:[ /&][ /.&'-]?[^\W_][\w.'-]*){0,4}(?: \([^()]{1,30}\))?)"
    r":[ \t]+(\S.*[^?\s]|[^?\s])\s*"
)
_PAIRS = frozenset({"q", "a", "question", "answer", "frage", "antwort"})
"""Names of what an FAQ holds, which is no form."""

_LONGEST_VALUE = 120
_LEAST_FIELDS = 2


def is_form_line(line: str) -> bool:
    """Return whether a line names a value."""
    match = _NAMED.fullmatch(line.strip())
    return match is not None and len(match[2]) <= _LONGEST_VALUE


def form_fields(lines: Sequence[str], place: Place | None = None) -> list[Field]:
    """Return the fields of two or more lines that all name a value; none of other lines."""
    matches = [_NAMED.fullmatch(line.strip()) for line in lines]
    if len(matches) < _LEAST_FIELDS:
        return []
    fields = [Field(match[1], match[2], place) for match in matches if match is not None]
    if any(field.name.lower() in _PAIRS for field in fields):
        return []
    is_form = len(fields) == len(matches) and all(len(f.value) <= _LONGEST_VALUE for f in fields)
    return fields if is_form else []


_ALIGNED = re.compile(r"(\s*[^\s:]\S{0,19}(?: \S{1,19})? {3,})([^\s\d].*\S)")
_GAP = re.compile(r"\S {3,}\S")
"""Of lines whose tabs have become blanks."""
_LEAST_ALIGNED = 3


def aligned_fields(lines: Sequence[str], place: Place | None = None) -> list[Field]:
    """Return the fields of lines with a name and a value in two columns; none of other lines.

    "0      all went well" over "1      it failed" and "2      wrong usage" are such lines.
    """
    matches = [_ALIGNED.fullmatch(line.expandtabs().rstrip()) for line in lines]
    if len(matches) < _LEAST_ALIGNED:
        return []
    found = [match for match in matches if match is not None]
    starts = {match.start(2) for match in found}
    if len(found) < len(matches) or len(starts) > 1 or any(_GAP.search(m[2]) for m in found):
        return []
    return [Field(match[1].strip(), match[2], place) for match in found]
