"""Questions that lean on the turn before them, and what they ask in full.

"And when was he born?" names nobody. Whether a question leans on an earlier one is told by its
form: how it begins, and pronouns whose antecedent it does not hold. What it asks in full is put
together from the words of the earlier turn. Both are guesses by rule: a search uses them beside the
question as it is, and a reader tries them one by one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from voicerag_core.types import Turn

__all__ = ["follows_up", "in_full", "turn_before"]

MOST_READINGS = 3
"""Wordings of a follow-up in full that are worth trying."""

MOST_TURNS = 6
"""Turns in which the subject of a chain of follow-ups is looked for."""

MOST_QUESTION_CHARACTERS = 500
"""Of an earlier question, that are looked at."""

MOST_ANSWER_CHARACTERS = 300
"""Of an answer, in which the name of what is spoken of next is looked for."""

_LEAD = re.compile(
    r"^(?:(?:and|but|so|or|also|then|und|aber|et|mais|y|pero|o)\b[, ]*|(?:what|how) about\b"
    r"|was ist mit\b|qu'en est-il (?:de|du)\b|\u90a3\u4e48?|\u800c)",
    re.IGNORECASE,
)
"""How a question begins that goes on."""

_AUXILIARY = (
    r"(?:is|are|was|were|am|do|does|did|has|have|had|can|could|may|might|must|shall|should|will"
    r"|would|isn't|aren't|wasn't|don't|doesn't|didn't|can't)"
)
_BE_OR_DO = r"(?:is|are|was|were|do|does|did|can|could|may|might|must|shall|should|will|would|'s)"
_WH = r"(?:what|which|who|whom|whose|when|where|why|how)"
_PERSON = r"(?:he|him|his|she|her|hers)"
_THING = r"(?:it|its|they|them|their|theirs|this|these|those)"
_PRONOUN = re.compile(rf"\b(?:(?P<person>{_PERSON})|(?P<thing>{_THING}))\b", re.IGNORECASE)
_THAT = re.compile(rf"\b{_AUXILIARY} (?P<that>that)\b|\bthat(?=\W*$|,)", re.IGNORECASE)
_THERE = re.compile(
    r"(?<!\bis )(?<!\bare )(?<!\bwas )(?<!\bwere )\bthere\b(?! (?:is|are|was|were))"
    r"|^how (?:many|much) (?:is|are|was|were) (?P<at>there)(?=\W*$)",
    re.IGNORECASE,
)
_LEANING = re.compile(
    r"\bthen\W*$|\binstead\W*$"
    r"|\b(?:which|what|the other|another|the last|the first|this|that) ones?\b"
    r"(?=\W*$| (?:is|are|was|were|do|does|did|can)\b)|^what else\b|\bthe (?:latter|former)\b"
    r"|\b(?:other|others)\W*$",
    re.IGNORECASE,
)
_BARE = re.compile(
    rf"^(?:(?:since|until|till|by|from|for|in|at|with|to|of) )?{_WH}"
    r"(?: (?:not|long|many|much|often|far|old|exactly|so|else|ones?|kind|year|day))?\W*$"
    r"|^(?:when|where|why|how) (?:is|was|were|did) (?:that|it|this)(?: happen)?\W*$",
    re.IGNORECASE,
)
_EXPLETIVE = re.compile(
    r"\bit (?:is |was )?(?!to\b)[\w-]+(?: for(?: [\w-]+){1,4})? "
    r"(?:to|that|if|when|how|for)\b(?= \w)"
    r"|\btime is it\b|\bit (?:rain|snow)",
    re.IGNORECASE,
)
_FOREIGN = re.compile(
    r"\b(?:er|sein\w*|ihm|dort|dessen|deren|il|elle|ils|elles|leur|\u00e9l|ella|ellos|ellas)\b"
    r"|[\u4ed6\u5979\u5b83]|\u8fd9\u4e2a|\u90a3\u4e2a|\u90a3\u91cc",
    re.IGNORECASE,
)
_FOREIGN_ASKS = re.compile(
    r"^(?:wer|wann|wo|wie|was|warum|welche\w*|qui|quand|o\u00f9|comment|pourquoi|quel\w*|combien"
    r"|qui\u00e9n\w*|cu\u00e1ndo|d\u00f3nde|c\u00f3mo|qu\u00e9|cu\u00e1l\w*)\b"
    r"|[\u4e00-\u9fff]",
    re.IGNORECASE,
)
_WH_PHRASE = re.compile(
    rf"(?:\w+ )?{_WH}\b(?: (?!{_AUXILIARY}\b)[\w'-]+)*?(?= {_AUXILIARY}\b)|(?:\w+ )?{_WH}\b",
    re.IGNORECASE,
)
_SUBJECT = re.compile(rf"\W*{_AUXILIARY} ([\w'-]+)", re.IGNORECASE)
_CLAUSE_BORDER = re.compile(
    r"\b(?:and|or|when|while|after|before|because|if|that|who|which|but|where|until|since)\b|,",
    re.IGNORECASE,
)
_OWN_NOUN = re.compile(
    r"\b(?:a|an|the|my|our|your|each|every|any|some|no|all) [\w'-]+", re.IGNORECASE
)
_NAME = re.compile(
    r"(?:[A-Z\u00c0-\u00de][\w'\u2019.&+-]*|\b[A-Z]?\d[\w.,%-]*)"
    r"(?:(?: (?:of|the|and|de|la|van|von|du)){0,2} ?(?<= )"
    r"(?:[A-Z\u00c0-\u00de][\w'\u2019.&+-]*|\d[\w.,%-]*))*"
)
_FUNCTION: Final = frozenset(
    "a an the my our your their his her its this that these those i we you he she it they one "
    "me us him them is are was were am be been being do does did has have had can could may "
    "might must shall should will would what which who whom whose when where why how many "
    "much long old big large far often in on at to for from by with about as than and or but "
    "not no into over under after before during until since get there then so if any some "
    "without within through between across against up out off".split()
)


def turn_before(history: Sequence[Turn]) -> Turn | None:
    """Return the last turn whose question is known in words, its question in full; or None."""
    before: Turn | None = None
    for turn in history[-MOST_TURNS:]:
        words = turn.words.strip()[:MOST_QUESTION_CHARACTERS]
        if words:
            full = () if before is None else in_full(words, before)
            before = Turn(full[0] if full else words, turn.answer)
    return before


def follows_up(question: str) -> bool:
    """Tell whether a question leans on what was said before it."""
    plain = _plain(question)
    if not plain:
        return False
    if _LEAD.match(plain) or _BARE.match(plain) or _LEANING.search(plain):
        return True
    if _THERE.search(plain) or _THAT.search(plain):
        return True
    if _FOREIGN_ASKS.search(plain) and _FOREIGN.search(plain):
        return True
    return any(_is_open(plain, pronoun) for pronoun in _PRONOUN.finditer(plain))


def in_full(question: str, before: Turn) -> tuple[str, ...]:
    """Return what a question may ask in full after a turn, the likeliest wording first.

    () when it stands alone. The wordings are English; in other languages the two questions are
    joined.
    """
    if not follows_up(question) or not before.words.strip():
        return ()
    rest = _LEAD.sub("", _plain(question)).strip(" ,?")
    earlier = _plain(before.words).rstrip(" ?.")
    if _BARE.match(rest):
        return _unique(question, [f"{earlier}, and {rest[0].lower()}{rest[1:]}"])
    if _is_fragment(rest):
        return _unique(question, _substituted(rest, earlier) or [f"{earlier} {rest}"])
    then = _CIRCUMSTANCE.search(earlier) if rest.endswith(" then") else None
    if then is not None:
        rest = f"{rest.removesuffix(' then')} {then[0]}"
        return _unique(question, [rest])
    full = [_resolved(rest, subject) for subject in _subjects(rest, earlier, before)]
    # Both questions at once are answered by what answered the first.
    return _unique(question, full or [f"{earlier}, {rest}"])


def _plain(text: str) -> str:
    return " ".join(text.replace("\u2019", "'").split())


def _unique(question: str, wordings: Sequence[str]) -> tuple[str, ...]:
    """Return different wordings, each as a question."""
    asked = [one[0].upper() + one[1:].rstrip(" ?") + "?" for one in wordings if one.strip(" ?")]
    return tuple(dict.fromkeys(one for one in asked if one != question))[:MOST_READINGS]


def _is_open(question: str, pronoun: re.Match[str]) -> bool:  # noqa: PLR0911 - one a case
    """Whether nothing before a pronoun can be what it stands for."""
    head, word = question[: pronoun.start()], pronoun[0].lower()
    if pronoun[0] == "IT":
        return False
    if word == "it" and _EXPLETIVE.search(question[pronoun.start() :]):
        return False
    lead = _WH_PHRASE.match(head)
    told = head[lead.end() :] if lead else head
    has_noun = lead is not None and len(lead[0].split()) > 1
    subject = _SUBJECT.match(told)
    has_subject = subject is not None and subject[1].lower() not in _FUNCTION
    named = any(name for name in _names(head) if name != "I")
    if pronoun["person"]:
        if named or (has_noun and has_subject and word not in ("him", "her")):
            return False
        return not (_OWN_NOUN.search(told) and _CLAUSE_BORDER.search(told))
    is_object = re.match(rf"\W*(?:{_AUXILIARY}\b|[a-z]+s\b)", question[pronoun.end() :]) is None
    if word in ("this", "these", "those") and not told.strip():
        return True
    if word in ("it", "them") and is_object and (has_subject or named):
        # The subject of a clause is not also its object: "why did the doctors oppose it?"
        verb = _CLAUSE_BORDER.search(told)
        return verb is None and not _OWN_NOUN.search(told.partition(" ")[2].partition(" ")[2])
    asks_subject = lead is not None and not re.match(rf"\W*{_BE_OR_DO}\b", told, re.IGNORECASE)
    if word in ("its", "their") and asks_subject and (has_noun or told.strip()):
        return False
    wh_noun = has_noun and not re.match(rf"\W*{_AUXILIARY}\b", told, re.IGNORECASE)
    return not (named or _OWN_NOUN.search(told) or has_subject or wh_noun)


def _is_fragment(rest: str) -> bool:
    """Whether a follow-up is no clause: "for 60,000", "the Clippers", "in 1970"."""
    words = rest.lower().split()
    if not words or re.match(rf"{_WH}\b|{_AUXILIARY}\b", words[0]):
        return False
    return not any(re.fullmatch(_AUXILIARY, word) for word in words) and not _PRONOUN.search(rest)


_FIGURE = re.compile(
    r"(?:(?:more|less|fewer|greater|over|under|above|below|up to|at least|at most)(?: than)? )?"
    r"(?<![\w.,])[$\u20ac\u00a3]?\d[\d.,]*(?: ?%)?",
    re.IGNORECASE,
)
_PREPOSITION = re.compile(
    r"^(?:of|for|in|on|at|to|from|by|with|without|during|after|before|under|over|about)\b",
    re.IGNORECASE,
)


def _substituted(fragment: str, earlier: str) -> list[str]:
    """Put a fragment into the earlier question, in the place of its like."""
    full = []
    figure, old = _FIGURE.search(fragment), list(_FIGURE.finditer(earlier))
    if figure and old:
        full.append(earlier[: old[-1].start()] + figure[0] + earlier[old[-1].end() :])
    preposition = _PREPOSITION.match(fragment)
    bare = fragment[preposition.end() :].strip() if preposition else fragment
    if preposition:
        same = list(re.finditer(rf"\b{preposition[0]}\b", earlier, re.IGNORECASE))
        if same:
            end = re.search(
                rf" (?:{_AUXILIARY}|of|for|in|on|at|to|from|by|with)\b", earlier[same[-1].end() :]
            )
            stop = same[-1].end() + end.start() if end else len(earlier)
            full.append(f"{earlier[: same[-1].start()]}{fragment}{earlier[stop:]}")
        full.append(f"{earlier} {fragment}")
    names = _names(earlier)
    if names and not figure:
        full += [_in_place(earlier, names[-1], bare), _in_place(earlier, names[0], bare)]
    if not preposition:
        subject = re.search(rf"\b{_AUXILIARY} (?:the |a |an )?([a-z][\w-]*)\b", earlier)
        if subject:
            full.append(earlier[: subject.start(1)] + bare + earlier[subject.end(1) :])
    return full


def _names(text: str) -> list[str]:
    """Return the names in a question, the word that it begins with aside."""
    found = []
    for match in _NAME.finditer(text):
        name = match[0].strip(" .,")
        if match.start() == 0:
            first, _, name = name.partition(" ")
            if not name and not re.match(
                rf"{_WH}\b|{_AUXILIARY}\b|in\b|the\b", first, re.IGNORECASE
            ):
                name = first
        if name and name != "I" and name.lower() not in _FUNCTION:
            found.append(name)
    return found


def _with_noun(name: str, question: str) -> str:
    """Put the noun before a code that it stands before: "fault E04"."""
    if not any(map(str.isdigit, name)):
        return name
    noun = re.search(rf"\b([a-z][\w-]+) {re.escape(name)}", question)
    return name if noun is None or noun[1] in _FUNCTION else f"{noun[1]} {name}"


def _in_place(text: str, old: str, new: str) -> str:
    return re.sub(rf"(?:\b[Tt]he )?{re.escape(old)}", lambda _: new, text, count=1)


def _subjects(rest: str, earlier: str, before: Turn) -> list[str]:
    """Return what a follow-up may speak of, the likeliest first."""
    answer = before.answer.text[:MOST_ANSWER_CHARACTERS] if before.answer.answered else ""
    asked, said = _names(earlier), [one for one in _names(answer) if one not in earlier]
    persons = [name for name in said if not any(map(str.isdigit, name))]
    if re.search(rf"\b{_PERSON}\b", rest, re.IGNORECASE):
        about_person = re.match(r"(?:who|whom|whose)\b", earlier, re.IGNORECASE) is not None
        asked = [name for name in asked if not any(map(str.isdigit, name))]
        return [*persons[:1], *asked] if about_person else [*asked[:2], *persons[:1]]
    things = _things(earlier)
    named = [_with_noun(name, earlier) for name in asked if any(map(str.isalpha, name))]
    plain = [thing for thing in things if not _names(f"x {thing}")]
    return [*named[:2], *plain[:2], *persons[:1]]


_HOW = re.compile(r"^(?:many|much) ", re.IGNORECASE)
_HOW_ADJECTIVE = re.compile(r"how (?!many\b|much\b)", re.IGNORECASE)
_FIRST_VERB = re.compile(rf"\b{_AUXILIARY} (?:I|we|you|they|one) [\w'-]+(?: (?:up|out|off|on))?")
_LAST_VERB = re.compile(r"(\b(?:do|does|did|can|will|would) (?:[\w'.-]+ )+)[a-z]+$")
"""The main verb of a question: behind its subject if that is a pronoun, else its last word."""

_CIRCUMSTANCE = re.compile(
    r"\b(?:without|with|in|at|on|during|after|before|under|by|for|from) [^,]+$", re.IGNORECASE
)


def _things(question: str) -> list[str]:
    """Return the phrases of a question that name something; of "A of B" first B, then both."""
    lead = _WH_PHRASE.match(question)
    rest = _FIRST_VERB.sub(" ", question[lead.end() :] if lead else question)
    rest = _LAST_VERB.sub(r"\1", rest)
    spans: list[list[str]] = [[]]
    for word in rest.split():
        bare = word.strip(",;:()\"'")
        joins = spans[-1] and (bare == "of" or (bare == "the" and spans[-1][-1] == "of"))
        if bare.lower() in _FUNCTION and not joins:
            spans.append([])
        else:
            spans[-1].append(bare)
    phrases = []
    for phrase in (" ".join(span) for span in spans if span):
        phrases += [phrase.rpartition(" of ")[2], phrase] if " of " in phrase else [phrase]
    asked = [lead[0].partition(" ")[2]] if lead is not None else []
    asked = [
        _HOW.sub("", one) for one in asked if lead is not None and not _HOW_ADJECTIVE.match(lead[0])
    ]
    of = [one.rpartition(" of ")[2] for one in asked if " of " in one]
    return [one.removeprefix("the ") for one in (*phrases, *of, *asked) if one.strip()]


def _resolved(rest: str, subject: str) -> str:
    """Put a subject in the place of the pronouns of a question."""

    def put(match: re.Match[str]) -> str:
        word = match[0].lower()
        follows = rest[match.end() :].lstrip()
        possessive = word in ("his", "their", "its") or (word == "her" and follows[:1].isalpha())
        return f"{subject}'s" if possessive and follows else subject

    if _PRONOUN.search(rest):
        return _PRONOUN.sub(put, rest)
    for leaning in (_THERE, _THAT):
        match = leaning.search(rest)
        if match is not None:
            start = rest.lower().rfind("th", 0, match.end())
            told = f"in {subject}" if leaning is _THERE else subject
            return f"{rest[:start]}{told}{rest[match.end() :]}"
    return f"{rest} {subject}"
