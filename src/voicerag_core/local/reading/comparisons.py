"""Questions that compare two things: what they compare, and what to ask of each."""

from __future__ import annotations

import re
from typing import TypeAlias

__all__ = ["compared"]

_Compared: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]

_BOTH = re.compile(
    r"^what is the difference between (?P<a>.+?) and (?P<b>.+?)\W*$"
    r"|^how do(?:es)? (?P<c>.+?) and (?P<d>.+?) differ\W*$"
    r"|^compare (?P<e>.+?) (?:and|with|to) (?P<f>.+?)\W*$",
    re.IGNORECASE,
)
_NAMED = r"[A-Z\u00c0-\u00de0-9\"\u201c][^,:?]*?"
_BOTH_ARE = re.compile(
    r"^(?P<verb>are|were|do|did|have) (?P<a>[^ ,]+(?: [^ ,]+){0,5}?) and "
    r"(?P<b>[^ ,]+(?: [^ ,]+){0,5}?) "
    r"(?P<rest>(?:(?:the )?same|both|all|each|from|in|located|based|known|used|of|made|allowed"
    r"|permitted|required|available|included|covered|open)\b.*?)\W*$",
    re.IGNORECASE,
)
_BOTH_FIRST = re.compile(
    rf"^(?P<verb>(?i:are|were|do|did|have)) both (?:of )?(?P<a>[^,]+?),? and (?P<b>{_NAMED}) "
    r"(?P<rest>[a-z].*?)\W*$"
)
_EITHER = re.compile(
    r"^(?P<ask>(?i:which|who|what)\b[^,:]*?)(?:[,:]| -) ?(?:the )?"
    r"(?P<a>[^,]+?),? or (?P<b>[^,]+?)\W*$"
)
_EITHER_FIRST = re.compile(
    r"^(?P<ask>(?i:which|who|what)\b[^,:]*?), (?:the )?"
    r"(?P<a>[^,]+?),? or (?P<b>[^,]+?), (?P<rest>.+?)\W*$"
    r"|^(?P<bare>(?i:who|which)(?: one)? (?:is|was) (?:[a-z]+ )?[a-z]+er),? "
    rf"(?P<c>{_NAMED}) or (?P<d>{_NAMED})\W*$"
)
_SHARED = re.compile(
    r"^(?i:what|which) (?P<what>[a-z][a-z ]*?) (?:do|did|are|were) (?:both )?"
    rf"(?P<a>{_NAMED}),? and (?P<b>{_NAMED}) "
    r"(?:both )?(?:share|have in common|belong to|have)\W*$"
)
_IS_DONE = re.compile(
    r"(?:in|of|from|at|on|under|by|for|\w+ed|made|known|built|held|born)\b", re.IGNORECASE
)
_SAME = re.compile(
    r"^(?:(?P<how>located|based|held|made|born) )?(?:in |of |from |at )?the same (?P<what>.+)$"
)
_SINGULAR = {"are": "is", "were": "was", "do": "does", "did": "did", "have": "has"}
_HOW_MUCH = (
    (r"\b(?:older|younger|oldest|youngest|born (?:earlier|later|first))\b", "When was {} born?"),
    (
        r"\b(?P<verb>[a-z]+ed|built|made|written|begun) (?:earlier|later|first|before)\b",
        "When was {} {verb}?",
    ),
    (
        r"\bhas (?:more|fewer|the most|a higher number of) (?P<verb>[a-z ]+)",
        "How many {verb} has {}?",
    ),
    (r"\bhad (?:more|fewer|the most) (?P<verb>[a-z ]+)", "How many {verb} had {}?"),
    (
        r"\b(?P<verb>tall|high|long|larg|deep|wid|heav|fast|cheap|bigg)(?:e?r|i?er|est)\b",
        "How {verb} is {}?",
    ),
)
"""What a comparison wants to know of each side."""


def compared(question: str) -> _Compared:
    """Return the two things that a question compares, and what to ask of each; () if none.

    Args:
        question: With single spaces.
    """
    return _differ(question) or _alike(question) or _chosen(question) or ((), ())


def _differ(question: str) -> _Compared | None:
    """Of "What is the difference between A and B?"."""
    both = _BOTH.search(question)
    if both is None:
        return None
    sides = tuple(_bare(side) for side in both.groupdict().values() if side)
    return sides, tuple(f"What is {_with_article(side, question)}?" for side in sides)


def _alike(question: str) -> _Compared | None:
    """Of "Are A and B both ...?" and "What do A and B share?"."""
    if shared := _SHARED.search(question):
        sides = (_bare(shared["a"]), _bare(shared["b"]))
        return sides, tuple(_of_side(shared["what"], side, "") for side in sides)
    both = _BOTH_FIRST.search(question) or _BOTH_ARE.search(question)
    if both is None:
        return None
    sides = (_bare(both["a"]), _bare(both["b"]))
    rest = re.sub(r"^(?:both|all|each)\b\s*", "", both["rest"])
    if same := _SAME.search(rest):
        return sides, tuple(_of_side(same["what"], side, same["how"] or "") for side in sides)
    verb = _SINGULAR[both["verb"].lower()]
    if verb in ("is", "was") and not _IS_DONE.match(rest):
        return sides, tuple(f"What is {side}?" for side in sides)
    return sides, tuple(f"{verb.title()} {side} {rest}?" for side in sides)


def _chosen(question: str) -> _Compared | None:
    """Of "Which ..., A or B?"."""
    if either := _EITHER_FIRST.search(question):
        sides = (_bare(either["a"] or either["c"]), _bare(either["b"] or either["d"]))
        ask = either["bare"] or f"{either['ask']} {either['rest']}"
        return sides, tuple(_about_side(ask, side) for side in sides)
    if either := _EITHER.search(question):
        sides = (_bare(either["a"]), _bare(either["b"]))
        return sides, tuple(_about_side(either["ask"], side) for side in sides)
    return None


def _of_side(what: str, side: str, how: str) -> str:
    """Return the question for what two things are said to share."""
    if how:
        return f"In what {what} is {side} {how}?"
    return f"What is the {what} of {side}?"


def _about_side(ask: str, side: str) -> str:
    """Return what a choice between two things wants to know of one."""
    for pattern, question in _HOW_MUCH:
        if match := re.search(pattern, ask, re.IGNORECASE):
            verb = match.groupdict().get("verb") or ""
            full = {"larg": "large", "wid": "wide", "heav": "heavy", "bigg": "big"}.get(verb, verb)
            return question.format(side, verb=full)
    return f"{ask}, {side}?"


def _bare(side: str) -> str:
    return re.sub(r"^(an?|the|both)\s+", "", side.strip(), flags=re.IGNORECASE)


def _with_article(side: str, question: str) -> str:
    article = re.search(rf"\b(an?|the) {re.escape(side)}\b", question, re.IGNORECASE)
    return f"{article[1]} {side}" if article else side
