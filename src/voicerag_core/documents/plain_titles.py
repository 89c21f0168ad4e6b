"""Which lines of a plain text are titles of sections, and how deep each lies."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

__all__ = ["depth_of", "titles", "with_titles_apart"]

_RISING = re.compile(r"(\d{1,2})[.)]\s+([A-Z\u00c0-\u00de][^.;:!?]{1,60})")
_NUMBERED = re.compile(r"(\d{1,2}(?:\.\d{1,3}){0,4})[.)]?\s+(?=\S*[^\W\d_])(\S.*[^\s.,;:])")
_NAMES = re.compile(r"[A-Z\u00c0-\u00de\"'`(\u201c][^=;{}<>|\\$]{0,78}[\w?)\"'`\u201d]", re.DOTALL)
_SENTENCE = re.compile(r".{40,}|.*[.!?:]\Z", re.DOTALL)

LONGEST_NUMBERED = 120
LONGEST_NAME = 80
MOST_NAME_WORDS = 8
"""Words of a line by itself that names what stands below it."""

LEAST_TITLES = 2
LEAST_INDENT = 2
MOST_OUTSIDE = 0.3
"""Share of a text's lines that may stand to the left of its running text."""

LEVEL = 3
"""Of a title that neither its number nor its indent places."""

Lines = Sequence[str]


def titles(blocks: Sequence[Lines], questions: frozenset[int] = frozenset()) -> dict[int, int]:
    """Return the blocks that are titles, with their level: 1 is the outermost.

    Titles are lines by themselves: with numbers of sections ("2.1. Which port?"), with the numbers
    1, 2, 3 and text between them, further to the left than all running text, or short and without
    a full stop in front of paragraphs.

    Args:
        blocks: Lines between empty lines.
        questions: Blocks that are marked as questions of an FAQ, which are no titles.
    """
    lone = {
        at: " ".join(" ".join(block).split())
        for at, block in enumerate(blocks[:-1])
        if len(block) <= LEAST_TITLES and at not in questions
    }
    numbered = _by_number(lone)
    if not numbered:
        numbered = dict.fromkeys(_rising(blocks), LEVEL)
    lined = {at: text for at, text in lone.items() if len(blocks[at]) == 1 and at not in numbered}
    return _by_indent(blocks, lined) | _named(blocks, lined) | numbered


def with_titles_apart(blocks: Sequence[Lines]) -> list[Lines]:
    """Part a section's title from the paragraph that it stands right behind.

    "5. Leave" is one when the next lines are "5.1. Holidays".
    """
    parted: list[Lines] = []
    for block, following in pairwise([*blocks, [""]]):
        match = _NUMBERED.fullmatch(block[-1].strip()) if len(block) > 1 else None
        if match and following[0].strip().startswith(f"{match[1]}.1"):
            parted += [block[:-1], block[-1:]]
        else:
            parted.append(block)
    return parted


def _rising(blocks: Sequence[Lines]) -> list[int]:
    """Return the lines with rising numbers that have other text between them."""
    found: list[int] = []
    for at, block in enumerate(blocks):
        match = _RISING.fullmatch(block[0].strip()) if len(block) == 1 else None
        if match and int(match[1]) == len(found) + 1:
            found.append(at)
    apart = all(after - before > 1 for before, after in pairwise(found))
    if len(found) < LEAST_TITLES or not apart or found[-1] == len(blocks) - 1:
        return []
    return found


def _by_number(lone: Mapping[int, str]) -> dict[int, int]:
    """Return the titles with numbers of sections; none unless some number has two parts."""
    found = {}
    for at, text in lone.items():
        match = _NUMBERED.fullmatch(text) if len(text) <= LONGEST_NUMBERED else None
        if match:
            found[at] = match[1]
    parents = {number.rpartition(".")[0] for number in found.values()} - {""}
    kept = {at: number for at, number in found.items() if "." in number or number in parents}
    if sum("." in number for number in kept.values()) < LEAST_TITLES:
        return {}
    return {at: number.count(".") + 1 for at, number in kept.items()}


def _by_indent(blocks: Sequence[Lines], lined: Mapping[int, str]) -> dict[int, int]:
    """Return the lines that stand to the left of the running text, as of a page set as text."""
    counted = Counter(depth_of(line) for block in blocks for line in block if len(block) > 1)
    if not counted:
        return {}
    body = counted.most_common(1)[0][0]
    outside = sum(count for depth, count in counted.items() if depth < body)
    if body < LEAST_INDENT or outside > MOST_OUTSIDE * counted.total():
        return {}
    found = {at: depth_of(blocks[at][0]) for at, text in lined.items() if _is_name(text)}
    found = {at: depth for at, depth in found.items() if depth < body}
    ranks = sorted(set(found.values()))
    return {at: ranks.index(depth) + 1 for at, depth in found.items()}


def _named(blocks: Sequence[Lines], lined: Mapping[int, str]) -> dict[int, int]:
    """Return short lines without a full stop that stand each in front of a paragraph."""
    found = [
        at
        for at, text in lined.items()
        if _is_name(text)
        and not text.endswith("?")
        and len(text.split()) <= MOST_NAME_WORDS
        and (at == 0 or _SENTENCE.fullmatch("\n".join(blocks[at - 1]).strip()))
        and _begins_text(blocks[at], blocks[at + 1])
    ]
    return dict.fromkeys(found, LEVEL) if len(found) >= LEAST_TITLES else {}


def _begins_text(title: Lines, following: Lines) -> bool:
    """Whether a paragraph of whole sentences follows, no deeper than the title."""
    text = "\n".join(following).strip()
    level = depth_of(title[0]) == depth_of(following[0])
    return level and text[:1].isupper() and len(text) >= LONGEST_NAME // 2 and text[-1] in ".!?:"


def _is_name(text: str) -> bool:
    return _NAMES.fullmatch(text) is not None


def depth_of(line: str) -> int:
    """Return how far a line is indented; a tab goes to the next multiple of eight."""
    plain = line.expandtabs()
    return len(plain) - len(plain.lstrip())
