"""The manner of speaking that a local voice can follow: pace and pauses.

Instructions are free text: "Speak slowly, with long pauses. Sound sad." Each clause of them either
names a pace or a pause, or is something that this voice cannot do, which is said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["FASTEST", "PLAIN", "SLOWEST", "Manner", "manner_of"]

SLOWEST, FASTEST = 0.5, 2.0
"""Bounds of the pace; beyond them Piper's speech is no longer understood."""

LONGEST_PAUSE = 3.0

LONG_PAUSE, SOME_PAUSE, SHORT_PAUSE = 0.8, 0.4, 0.15
"""Seconds of silence behind a sentence."""

_STEPS: Final = {"slight": 0.1, "plain": 0.2, "strong": 0.35}
"""What a pace differs from the usual one, as a share of it, by how it is put."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a voice speaks.

    Args:
        pace: Speed as a multiple of the voice's own; 2 is twice as fast.
        pause: Seconds of silence behind a sentence, besides those of the voice.
    """

    pace: float = 1.0
    pause: float = 0.0


PLAIN: Final = Manner()
"""The voice's own manner."""

_CLAUSE = re.compile(
    r"[.!?;,\n\u3002\uff01\uff1f\uff1b\uff0c\u3001]+(?!\d)|\b(?:and|but|und|aber|et|mais|y|pero)\b",
    re.IGNORECASE,
)
_FIGURE = re.compile(
    r"(?P<times>\d+(?:[.,]\d+)?) ?(?:x\b|times)|(?P<percent>\d+) ?%"
    r"|(?P<half>\bhalf (?:the |your )?(?:speed|pace|as fast))"
    r"|(?P<double>\bdouble (?:the |your )?(?:speed|pace)|\btwice as fast)",
    re.IGNORECASE,
)
_SPEED = re.compile(r"speed|pace|rate|tempo|fast|\dx\b|times|\u8bed\u901f", re.IGNORECASE)
_SLOW = re.compile(
    r"\b(?:slow(?:ly|er|ing)?(?: down)?|unhurried(?:ly)?|leisurely|take your time|no hurry"
    r"|langsam(?:er)?|lente(?:ment)?|plus lent(?:ement)?|despacio|lento|lentamente)\b"
    r"|\u6162",
    re.IGNORECASE,
)
_FAST = re.compile(
    r"\b(?:fast(?:er)?|quick(?:ly|er)?|rapid(?:ly)?|brisk(?:ly)?|speedy|speed up|hurry"
    r"|schnell(?:er)?|vite|rapide(?:ment)?|r\u00e1pido|r\u00e1pidamente|deprisa)\b"
    r"|\u5feb(?!\u4e50)",
    re.IGNORECASE,
)
_USUAL = re.compile(
    r"\b(?:normal|usual|moderate|ordinary|natural|regular|medium) (?:speed|pace|rate|tempo)\b",
    re.IGNORECASE,
)
_NOT = re.compile(r"\b(?:not|don't|do not|never|less|without|no|nicht|pas|no)\b", re.IGNORECASE)
_SLIGHT = re.compile(
    r"\b(?:a (?:little|bit|touch|tad)|slightly|somewhat|etwas|un peu|un poco)\b"
    r"|\u4e00\u70b9|\u7a0d",
    re.IGNORECASE,
)
_STRONG = re.compile(
    r"\b(?:very|extremely|really|much|as \w+ as|sehr|tr\u00e8s|muy)\b|\u975e\u5e38|\u5f88",
    re.IGNORECASE,
)
_PAUSE = re.compile(r"\b(?:paus\w*|pausen?|breaks?|silences?)\b|\u505c\u987f", re.IGNORECASE)
_PAUSE_SECONDS = re.compile(
    r"(\d+(?:[.,]\d+)?) ?(ms|milliseconds?|s|sec|seconds?)\b", re.IGNORECASE
)
_LONG = re.compile(r"\b(?:long(?:er)?|big|lange?|longues?|largas?)\b|\u957f", re.IGNORECASE)
_SHORT = re.compile(
    r"\b(?:short(?:er)?|brief|small|kurze?|courtes?|cortas?)\b|\u77ed", re.IGNORECASE
)


def manner_of(instructions: str) -> tuple[Manner, tuple[str, ...]]:
    """Return the manner that instructions ask for, and their clauses that no local voice follows.

    Of two clauses about one thing the later one holds.
    """
    pace, pause = PLAIN.pace, PLAIN.pause
    others = []
    for clause in filter(None, (part.strip() for part in _CLAUSE.split(instructions))):
        said_pause, said_pace = _pause(clause), _pace(clause)
        pause = pause if said_pause is None else said_pause
        pace = pace if said_pace is None else said_pace
        if said_pause is None and said_pace is None and any(map(str.isalnum, clause)):
            others.append(clause)
    return Manner(pace, pause), tuple(others)


def _pace(clause: str) -> float | None:
    """Return the pace that a clause asks for, or None."""
    figure = _FIGURE.search(clause)
    if figure is not None and _SPEED.search(clause):
        if figure["half"] or figure["double"]:
            return SLOWEST if figure["half"] else FASTEST
        times, percent = figure["times"], figure["percent"]
        wanted = float(times.replace(",", ".")) if times else int(percent) / 100
        if percent and re.search(r"\b(?:slower|faster)\b", clause, re.IGNORECASE):
            wanted = 1 - wanted if "slower" in clause.lower() else 1 + wanted
        return min(FASTEST, max(SLOWEST, wanted))
    if _USUAL.search(clause):
        return PLAIN.pace
    slow, fast = _SLOW.search(clause) is not None, _FAST.search(clause) is not None
    if slow == fast:
        return None
    if _NOT.search(clause):
        step = -_STEPS["slight"] if fast else _STEPS["slight"]
        return PLAIN.pace + step
    how = "slight" if _SLIGHT.search(clause) else "strong" if _STRONG.search(clause) else "plain"
    return PLAIN.pace + (_STEPS[how] if fast else -_STEPS[how])


def _pause(clause: str) -> float | None:
    """Return the pause that a clause asks for, or None."""
    if not _PAUSE.search(clause):
        return None
    figure = _PAUSE_SECONDS.search(clause)
    if figure is not None:
        seconds = float(figure[1].replace(",", "."))
        return min(LONGEST_PAUSE, seconds / 1000 if figure[2].lower().startswith("m") else seconds)
    if _NOT.search(clause):
        return PLAIN.pause
    if _LONG.search(clause):
        return LONG_PAUSE
    return SHORT_PAUSE if _SHORT.search(clause) else SOME_PAUSE
