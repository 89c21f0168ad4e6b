"""What kind of answer a question asks for, told from its words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from voicerag_core.local.reading.comparisons import compared
from voicerag_core.local.reading.features import content_words

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
        words: The question's words that carry meaning, stemmed.
    """

    many: bool = False
    how_to: bool = False
    greeting: bool = False
    date: bool = False
    reason: bool = False
    term: str = ""
    sides: tuple[str, ...] = ()
    side_questions: tuple[str, ...] = ()
    words: frozenset[str] = frozenset()

    @property
    def long(self) -> bool:
        """Whether a whole list may be the answer."""
        return self.many or self.how_to


def asked_for(question: str) -> Asked:
    """Tell what a question asks for."""
    plain = " ".join(question.lower().replace("\u2019", "'").split())
    defines = _DEFINES.search(plain)
    term = next(filter(None, defines.groupdict().values()), "") if defines else ""
    sides, questions = compared(" ".join(question.split()))
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
        words=frozenset(content_words(question)),
    )
