"""What kind of answer a question asks for, told from its words."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Asked", "asked_for"]

_HOW_TO = re.compile(
    r"^how (do|can|could|should|would|must|may|to|does one|did)\b"
    r"|^where (do|can|should|must) (i|we|you)\b"
    r"|\bwhat (do|should|must|can|shall) (i|we|you|one) (have to |need to )?do\b"
    r"|\bwhat (do|must|should) (i|we|you) (have to |need to )?\w+"
    r"|\b(what now|which steps|what steps|what are the steps|what is the procedure)\b"
)
_MANY = re.compile(
    r"^(what|which) (are|were|do|does|is in|is included|belongs?)\b"
    r"|^(list|name|enumerate)\b"
    r"|\b(what|which) (all|kinds?|types?|sorts?|documents|steps|phases|countries|people)\b"
    r"|^who (all )?(was|were|is|are) (at|in|on|among|present)\b"
    r"|^(what|which) ((?!is|was|does|did|has|in|on|of|at|to|may|can|do)[\w-]+ ){0,2}"
    r"(?!is |was |does |this |address|business|process|access|status|class|bus |plus )"
    r"[a-z-]{2,}[^\Wsui]s\b"
)
_ONE = re.compile(r"^(what|which) (is|was|does)\b(?! in\b)")
_DATE = re.compile(r"\b(when|until when|(what|which|what's the) (year|date|day|month|weekday))\b")
_DEFINES = re.compile(
    r"^(what|who) (is|are|was|were) (?:an? |the )?(?P<term>[\w-]+(?: [\w-]+)?)\W*$"
    r"|^what does (?P<named>.+?) (mean|stand for|refer to)\b|^(define|explain) (?P<asked>.+?)\W*$"
)
_GREETING = re.compile(
    r"\W*(?:(?:hello|hi|hey|good (?:morning|day|afternoon|evening)"
    r"|thanks?(?: you)?(?: (?:so|very) much)?"
    r"|bye|goodbye|ok(?:ay)?|great|nice|cheers|there|again|everybody|all)\W*)+\Z"
)
_REASON = re.compile(r"^why\b|\b(what is the reason|for what reason|how come)\b")
_BOTH = re.compile(
    r"^what is the difference between (?P<a>.+?) and (?P<b>.+?)\W*$"
    r"|^how do(?:es)? (?P<c>.+?) and (?P<d>.+?) differ\W*$"
    r"|^compare (?P<e>.+?) (?:and|with|to) (?P<f>.+?)\W*$",
    re.IGNORECASE,
)
_NAMED = r"[A-Z\u00c0-\u00de0-9\"\u201c][^,:?]*?"
_BOTH_ARE = re.compile(
    r"^(?P<verb>are|were|do|did|have) (?P<a>[^,]+?) and (?P<b>[^,]+?) "
    r"(?P<rest>(?:(?:the )?same|both|all|each|from|in|located|based|known|used|of|made|allowed"
    r"|permitted|required|available|included|covered|open)\b.*?)\W*$",
    re.IGNORECASE,
)
_BOTH_FIRST = re.compile(
    rf"^(?P<verb>(?i:are|were|do|did|have)) both (?:of )?(?P<a>[^,]+?),? and (?P<b>{_NAMED}) "
    r"(?P<rest>[a-z].*?)\W*$"
)
_EITHER = re.compile(
    rf"^(?P<ask>(?i:which|who|what)\b[^,:]*?)(?:[,:]| -) ?(?:the )?(?P<a>[^,]+?),? or (?P<b>[^,]+?)\W*$"
)
_EITHER_FIRST = re.compile(
    rf"^(?P<ask>(?i:which|who|what)\b[^,:]*?), (?:the )?(?P<a>[^,]+?),? or (?P<b>[^,]+?), (?P<rest>.+?)\W*$"
    rf"|^(?P<bare>(?i:who|which)(?: one)? (?:is|was) (?:[a-z]+ )?[a-z]+er),? (?P<c>{_NAMED}) or "
    rf"(?P<d>{_NAMED})\W*$"
)
_SHARED = re.compile(
    rf"^(?i:what|which) (?P<what>[a-z][a-z ]*?) (?:do|did|are|were) (?:both )?(?P<a>{_NAMED}),? and "
    rf"(?P<b>{_NAMED}) (?:both )?(?:share|have in common|belong to|have)\W*$"
)
_IS_DONE = re.compile(
    r"(?:in|of|from|at|on|under|by|for|\w+ed|made|known|built|held|born)\b", re.IGNORECASE
)
_SAME = re.compile(
    r"^(?:(?P<how>located|based|held|made|born) )?(?:in |of |from |at )?the same (?P<what>.+)$"
)
_HOW_MUCH = (
    (r"\b(?:older|younger|oldest|youngest|born (?:earlier|later|first))\b", "When was {} born?"),
    (
        r"\b(?P<verb>founded|released|published|built|opened|established|created|formed|made|written"
        r"|invented|discovered|completed|introduced) (?:earlier|later|first|before)\b",
        "When was {} {verb}?",
    ),
    (
        r"\bhas (?:more|fewer|the most|a higher number of) (?P<verb>[a-z ]+)",
        "How many {verb} has {}?",
    ),
    (r"\bhad (?:more|fewer|the most) (?P<verb>[a-z ]+)", "How many {verb} had {}?"),
    (
        r"\b(?P<verb>tall|high|long|larg|deep|wid|heav|fast|expensive|cheap|bigg|old)(?:e?r|i?er|est)\b",
        "How {verb} is {}?",
    ),
)
"""What a comparison wants to know of each side."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question asks for.

    Args:
        many: Several things, such as the items of a list or the rows that match.
        how_to: Something to do.
        greeting: Nothing: it greets or thanks.
        date: When something is.
        reason: Why something is.
        term: What is to be explained, in lower case; "" when nothing is.
        sides: The two things that are compared; () when nothing is.
        side_questions: What to ask of each of them.
    """

    many: bool = False
    how_to: bool = False
    greeting: bool = False
    date: bool = False
    reason: bool = False
    term: str = ""
    sides: tuple[str, ...] = ()
    side_questions: tuple[str, ...] = ()

    @property
    def long(self) -> bool:
        """Whether a whole list may be the answer."""
        return self.many or self.how_to


def asked_for(question: str) -> Asked:
    """Tell what a question asks for."""
    plain = " ".join(question.lower().replace("\u2019", "'").split())
    defines = _DEFINES.search(plain)
    term = next(filter(None, defines.groupdict().values()), "") if defines else ""
    sides, questions = _compared(" ".join(question.split()))
    how_to = _HOW_TO.search(plain) is not None
    return Asked(
        many=_MANY.search(plain) is not None and _ONE.search(plain) is None and not how_to,
        how_to=how_to,
        greeting=_GREETING.match(plain) is not None,
        date=_DATE.search(plain) is not None,
        reason=_REASON.search(plain) is not None,
        term=term,
        sides=sides,
        side_questions=questions,
    )


def _compared(question: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the two things that a question compares, and what to ask of each."""
    if both := _BOTH.search(question):
        sides = tuple(_bare(side) for side in both.groupdict().values() if side)
        return sides, tuple(f"What is {_with_article(side, question)}?" for side in sides)
    if both := _BOTH_FIRST.search(question) or _BOTH_ARE.search(question):
        sides = (_bare(both["a"]), _bare(both["b"]))
        rest = re.sub(r"^(?:both|all|each)\b\s*", "", both["rest"])
        if same := _SAME.search(rest):
            return sides, tuple(_of_side(same["what"], side, same["how"] or "") for side in sides)
        verb = {"are": "is", "were": "was", "do": "does", "did": "did", "have": "has"}
        if both["verb"].lower() in ("are", "were") and not _IS_DONE.match(rest):
            return sides, tuple(f"What is {side}?" for side in sides)
        return sides, tuple(f"{verb[both['verb'].lower()].title()} {s} {rest}?" for s in sides)
    if shared := _SHARED.search(question):
        sides = (_bare(shared["a"]), _bare(shared["b"]))
        return sides, tuple(_of_side(shared["what"], side, "") for side in sides)
    if either := _EITHER_FIRST.search(question):
        sides = (_bare(either["a"] or either["c"]), _bare(either["b"] or either["d"]))
        ask = either["bare"] or f"{either['ask']} {either['rest']}"
        return sides, tuple(_about_side(ask, side) for side in sides)
    if either := _EITHER.search(question):
        sides = (_bare(either["a"]), _bare(either["b"]))
        return sides, tuple(_about_side(either["ask"], side) for side in sides)
    return (), ()


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
