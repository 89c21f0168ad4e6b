"""What kind of answer a question asks for, told from its words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from voicerag_core.local.reading.comparisons import compared
from voicerag_core.local.reading.features import content_words

__all__ = ["Asked", "asked_for", "without_fillers"]

_ASKED_BY = r"(?:i|we|you|one|they|somebody|someone|people|anyone|anybody|(?:a|the|my|our) [\w-]+)"
_HOW_TO = re.compile(
    rf"^how (do|can|could|should|would|must|may|to|does one|did)\b|\bhow to\b"
    rf"|\bhow (do|can|could|should|must|may|shall) {_ASKED_BY}\b"
    r"|^how (is|are) .+ (?!need|allow|call|nam|bas|red|bed)"
    r"(?:\w+ed|put|made|done|set|built|begun|sent|kept|paid|held|sold|given|taken|written)\b"
    r"|^where (do|can|should|must) (i|we|you)\b"
    rf"|\bwhat (should|must|can|shall|could|would) {_ASKED_BY} (have to |need to |best )?(do|try)\b"
    r"|\bwhat (do|am|are|does) (i|we|you|one|they|people|the [\w-]+) "
    r"(have to |need to |supposed to |meant to )(do|try)\b"
    r"|\bwhat (do (i|we|you|one|people)|to) do\b"
    r"|\bhow\W*$|\bsteps\W*$|^(\w+ ){0,2}steps (to|for|at|in|when|after|before)\b"
    r"|\b(what now|now what|(which|what( are the)?|list the) steps"
    r"|what( is|'s) the (procedure|(\w+ )?way to))\b"
    r"|\b(walk|talk|take|guide|lead) (me|us|you) through\b|\b(tell|show) (me|us) how (i|we|to)\b"
    r"|\bin (what|which) (order|sequence)\b"
    r"|\bwhat( is|'s) the (right|correct|proper|best) (order|sequence) (of|to|for|in)\b"
)
_MANY = re.compile(
    r"^(list|name|enumerate)\b"
    r"|^what(?:'s| is| are| has| have| was)?(?: \w+)? (?:new|changed) (?:in|since|between)\b"
    r"|\b(what|which) (all|kinds?|types?|sorts?|people|else)\b"
    r"|^who (all )?(was|were|is|are) (at|in|on|among|present)\b(?! (charge|first|duty))"
    r"|^what(?: is|'s| was|isn't| isn't) (?:(?!it |this |that )\w+ )?"
    r"(in|to be|included|excluded|covered|needed|required|forbidden|prohibited"
    r"|banned|allowed|permitted|checked)\b"
    r"|^what (do|does|should|must|may|can|has) .*\b"
    r"(includes?|contains?|covers?|offers?|consists?|excludes?)\b"
    r"|^what (are|were) (?!you |we |they |i |it )"
    r"|^what (goes (in|into|with)|comes with|belongs|needs \w+ing|gets \w+ed)\b"
    r"|^what (must|may|can|can't|should|won't|mustn't|will|has to|shouldn't) "
    r"((not|never) )?(be|get|go)\b"
    r"|^(?!who |whose |how |what |which |are |is |do |does |did |can |may )"
    r"(?:[a-z]+ ){0,2}?(things|checks|documents|papers|tasks|duties|requirements|ingredients)\b"
)
_MAY = re.compile(
    rf"^what (?:(?:should|must|may|can|could|shall|can't|mustn't) {_ASKED_BY}"
    r"|(?:do|am|are|will|would|won't) (?:i|we|you|they)) "
    r"(?:(?:not|never|all|allowed to|have to|need to|supposed to|going to|be allowed to) )*"
    r"(?P<verb>[a-z]+)\b"
)
"""Asks for the things that somebody may, must or does with."""

_OF_ONE = frozenset(
    re.split(
        r"\s",
        "answer ask be call charge cost deserve do earn expect get give happen learn lose "
        "mean owe pay press receive reply save say sound tell think try weigh",
    )
)
"""Verbs whose object is hardly a list: a sum, a word, a meaning."""

_THINGS = re.compile(
    r"^(?:and |on |in |at |for |with |from |of |to |by )?(?P<ask>what|which) (?P<rest>(?!if ).+)"
)
_AUXILIARY = frozenset(
    re.split(
        r"\s",
        "am are aren't can can't could did didn't do don't does doesn't had has have is "
        "isn't may must need shall should was were will won't would",
    )
)
_SINGULAR = frozenset(
    re.split(
        r"\s",
        "access address analysis basis boss bus business campus canvas class gas glass gps "
        "is it's loss news plus process progress series status stress this was what's",
    )
)
_PLURAL = frozenset(re.split(r"\s", "children feet men people persons staff teeth those women"))
_AFTER_VERB = frozenset(
    re.split(
        r"\s",
        "a after all an and any as at away back before best by down during each everything "
        "first for from her him his how i if in into it its last less like me more most my "
        "next no nothing off on once one or our out over somebody someone something that "
        "the their them there these they this those through to under until up us we when "
        "where while with without you your",
    )
)
"""Words before which a word in -s is a verb: "which key opens the gate"."""

_VERBS = frozenset(
    re.split(
        r"\s",
        "applies becomes breaks causes changes comes costs counts depends follows gets "
        "gives goes happens helps keeps lies makes means needs replaces says sets shows "
        "stands starts stops takes tells triggers works",
    )
)
MOST_HEAD_WORDS = 6
"""Words behind "which" in which its head noun ends."""

_PREPOSITIONS = frozenset(
    re.split(r"\s", "about at by for from in of on over to under with without")
)

_FILLER = re.compile(
    r",? ?\b(?:in the end(?! of)|in the first place|by the way|after all(?=\W*\Z)|at all(?=\W*\Z)"
    r"|actually|please)\b",
    re.IGNORECASE,
)
"""Says nothing of what is asked for."""

_CLAUSE = re.compile(r"[.!?;:,]\s+|\s[-\u2013\u2014]\s|(?<=\w)[-\u2013\u2014]\s")
_ASKS = re.compile(
    r"(?:(?:and|so|but|then|ok|okay|well|please|hi|hello|hey|uh|um) )*"
    r"(?P<asking>(?:(?:on|in|at|for|with|from|of|to|by|until) )?"
    r"(?:what|which|who|whom|whose|how|where|when|why|list|name|explain|define)\b.*)"
)
_WHEN_ASKS = re.compile(
    r"\b(?:until|till|by|from|since|and|or) when\b(?! \w+ing\b)(?=\W*$|\W+(?:"
    + "|".join(sorted(_AUXILIARY))
    + r")\b)|\bwhen(?:'s|'re|'ll)\b|\bwhen(?: exactly)?(?=\W*$| (?:"
    + "|".join(sorted(_AUXILIARY - {"need"}))
    + r")\b)|\b(?:tell me|know|find out|ask|wonder|say) when (?:the|a|an|it|he|she|they)\b"
    r"|\b(?:what|which|what's the) (?:year|date|day|month|weekday)\b(?! (?:rate|pass|ticket|shift))"
)
"""The word asks; as a conjunction ("what do I do when it rains") no auxiliary verb follows it."""

_DEFINES = re.compile(
    r"^(what|who) (is|are|was|were) (?:an? |the )?(?P<term>[\w-]+(?: [\w-]+)?)\W*$"
    r"|^what does (?P<named>.+?) (mean|stand for|refer to)\b|^(define|explain) (?P<asked>.+?)\W*$"
)
_GREETING = re.compile(
    r"\W*(?:(?:hello|hi|hey|good (?:morning|day|afternoon|evening)"
    r"|thanks?(?: you)?(?: (?:(?:so|very) much|a lot))?"
    r"|(?:what can|can) you (?:do|help)(?: (?:for |with )?me)?|(?:who|what|how) are you(?: today)?"
    r"|what(?: is|'s) your name|tell me a joke|bye|goodbye|ok(?:ay)?|great|nice|cheers"
    r"|there|again|everybody|all)\W*)+\Z"
)
_CONTRAST = re.compile(
    r"^(?:how|what|which|where|in what)\b.*\b(?:differ|differs|differences?|compares? (?:to|with)"
    r"|different from|unlike|better than|advantages?\b.* over)\b"
)
_WH = re.compile(
    r"\b(?:who|whom|whose|what|which|when|where|why|how|list|name|tell|explain|define)\b"
)
_REASON = re.compile(
    r"(?<!that's )(?<!that is )(?<!know )\bwhy\b"
    r"|\b(what( is|'s|) (the reason|the point)|for what reason|how come|what for\W*$)\b"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question asks for.

    Args:
        many: Several things, such as the items of a list or the rows that match.
        how_to: Something to do.
        greeting: Nothing: it greets or thanks.
        date: When something is.
        reason: Why something is.
        yes_no: Whether something is so.
        contrast: In what two things differ, when they are no `sides`.
        topic: Nothing is asked, something is only named: "bone marrow leave".
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
    yes_no: bool = False
    contrast: bool = False
    topic: bool = False
    term: str = ""
    sides: tuple[str, ...] = ()
    side_questions: tuple[str, ...] = ()
    words: frozenset[str] = frozenset()

    @property
    def long(self) -> bool:
        """Whether a whole list may be the answer."""
        return self.many or self.how_to


def without_fillers(question: str) -> str:
    """Return a question without the words in it that say nothing, such as "in the end"."""
    return _FILLER.sub("", question).strip()


def asked_for(question: str) -> Asked:
    """Tell what a question asks for."""
    plain = " ".join(question.lower().replace("\u2019", "'").split())
    asking = _asking(plain)
    defines = _DEFINES.search(plain)
    term = next(filter(None, defines.groupdict().values()), "") if defines else ""
    sides, questions = compared(" ".join(question.split()))
    how_to = _HOW_TO.search(plain) is not None
    return Asked(
        many=not how_to and _asks_for_many(asking),
        how_to=how_to,
        greeting=_GREETING.match(plain) is not None,
        date=_WHEN_ASKS.search(plain) is not None,
        reason=_REASON.search(plain) is not None,
        yes_no=_is_yes_no(plain),
        contrast=not sides and _CONTRAST.search(plain) is not None,
        topic=_WH.search(plain) is None and not _is_yes_no(plain),
        term=term,
        sides=sides,
        side_questions=questions,
        words=frozenset(content_words(question)),
    )


def _is_yes_no(plain: str) -> bool:
    """Whether the question or its last clause begins with an auxiliary verb."""
    clauses = [clause for clause in _CLAUSE.split(plain) if clause.strip()]
    return any(clause.split()[0] in _AUXILIARY for clause in (clauses[:1] + clauses[-1:]))


def _asking(plain: str) -> str:
    """Return the clause that asks, without the statement before it; all when none does."""
    for clause in _CLAUSE.split(plain):
        if asks := _ASKS.match(clause):
            return asks["asking"].rstrip(" .?!")
    return plain.rstrip(" .?!")


def _asks_for_many(asking: str) -> bool:
    """Whether a clause asks for several things, by its form and its head noun."""
    if does := _MAY.search(asking):
        return does["verb"] not in _OF_ONE
    if _MANY.search(asking):
        return True
    things = _THINGS.search(asking)
    return things is not None and _is_plural(things["ask"], things["rest"].split())


def _is_plural(ask: str, words: list[str]) -> bool:
    """Whether the head noun behind "what" or "which" is a plural."""
    while words[1:2] in (["and"], ["or"]):
        words = words[2:]
    for number, word in enumerate(words[:MOST_HEAD_WORDS]):
        if word in _AUXILIARY or word in _PREPOSITIONS:
            if number == 0:
                return False
            if not _AUXILIARY.intersection(words[number:]):
                break
            return _ends_plural(words[number - 1]) and words[number - 1] not in _VERBS
    for number, word in enumerate(words[:3]):
        follows = words[number + 1] if number + 1 < len(words) else ""
        if word in _PREPOSITIONS or (number == 0 and word in _VERBS):
            return False
        if not _ends_plural(word) or word in _VERBS:
            continue
        if number == 0:
            return ask == "which" or follows not in _AFTER_VERB
        return bool(follows) and follows not in _AFTER_VERB
    return False


def _ends_plural(word: str) -> bool:
    """Whether a word has the form of a plural."""
    plural = re.fullmatch(r"[\w-]{2,}[^\Wsui]s", word) is not None
    return (plural and word not in _SINGULAR) or word in _PLURAL
