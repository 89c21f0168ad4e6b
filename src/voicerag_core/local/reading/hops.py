"""Questions that describe a thing in place of naming it, and so need two passages.

"How old is the man who built the Red Tower?" asks about a man whose name another passage has. The
description ("the man who built the Red Tower") leads to a sentence that names him; the question is
then asked again with the name in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from voicerag_core.local.reading.features import content_words
from voicerag_core.local.reading.near_misses import missing_names, said_around
from voicerag_core.types import Passage

__all__ = ["Described", "about", "bridges", "described"]

MOST_BRIDGES = 4
"""Names that are tried in place of a description."""

LEAST_STATEMENT = 2
"""Spaces in a statement that may name something."""

_REL = (
    r"(?:(?:in|at|on|by|from|of|for|to|with|under|after) (?:which|whom|whose)"
    r"|who|whom|whose|that|which|where)"
)
_INNER = r"(?!(?:of|in|on|at|by|for|from|to|with|the|an?|and|or|is|was|are|were) )"
_CLAUSE = re.compile(
    rf"\b(?P<head>(?:the|an?|this|another) (?:{_INNER}[\w'-]+ ){{0,4}}?[a-z][\w-]+),? "
    rf"(?P<rel>{_REL}) (?P<clause>.+)",
    re.IGNORECASE,
)
_PARTICIPLE = re.compile(
    rf"\b(?P<head>someone|somebody"
    rf"|(?:the|an?|this|another) (?:{_INNER}[\w'-]+ ){{0,4}}?[a-z][\w-]+) "
    r"(?P<clause>(?:born|known|made|held|built|written|[a-z]+ed) "
    r"(?:(?:in|at|on|by|from|of|as|for|to|with|under|after) )?"
    r"(?:what|which|who|whom|whose|where|when|how)\b.+)",
    re.IGNORECASE,
)
_NAMED_CLAUSE = re.compile(
    r"(?P<name>[A-Z\u00c0-\u00de][\w'\u2019.&-]*"
    r"(?: (?:of |the |and |de )?[A-Z\u00c0-\u00de][\w'\u2019.&-]*)*)"
    r",? (?:who|which|that) (?P<clause>(?:[\w'-]+ )*?(?:in |at |by |as |to |for |from )?"
    r"(?:what|which|whom|when|where|how)\b.*)\Z"
)
_THOUGHTS = frozenset(
    re.split(
        r"\s",
        "idea fact claim theory view belief notion conclusion argument hypothesis opinion "
        "statement assumption possibility chance condition evidence",
    )
)
"""Behind them "that" says what is thought, and describes nothing that has a name."""

_KIN = (
    "father|mother|brother|sister|wife|husband|spouse|son|daughter|director|author|writer|founder"
    "|co-founder|ceo|president|manager|head|owner|creator|producer|composer|manufacturer|publisher"
    "|developer|maker|architect|designer|inventor|leader|king|queen|capital|headquarters|successor"
    "|predecessor|employer|parent company|team|club|band|league|birthplace|home town|hometown"
)
_OF = re.compile(
    rf"\b(?P<head>[Tt]he (?:[\w-]+ ){{0,2}}?(?:{_KIN})) of "
    r"(?P<rest>(?:the |an? )?(?:[a-z][\w-]* ){0,4}(?:[\"\u201c][^\"\u201d]+[\"\u201d]"
    r"|[A-Z][\w'.\u2019-]*(?: (?:(?:of|the|and|de|van|von) )?[A-Z0-9][\w'.\u2019-]*)*))"
)
_WH = r"(?:what|which|who|whom|whose|when|where|how)"
_ASKS = re.compile(rf"\b{_WH}\b", re.IGNORECASE)
_DIRECT = re.compile(
    r"^(?:(?:what|who|whom|which) (?:is|are|was|were)"
    r"|(?:what|which) (?:is|was|are|were) the (?:(?:full|exact|official|real) )?names? of|name"
    r"|(?:what|which) (?:is|was|are|were) (?:the|an?|one|some) (?:example|type|kind|form)s? of"
    r"|what (?:is|was) the reason"
    r"|(?:what|which|who)(?:'s|\u2019s))\W*\Z",
    re.IGNORECASE,
)
_VERB_TO_QUESTION = re.compile(
    r" (?=(?P<main>(?:(?:can|could|is|was|were|are|has|had|did|does|do|will|would|may)\b"
    r"(?: [\w'-]+){0,8}?|[a-z]+(?:ed|s))"
    rf" (?:(?:in|at|on|by|from|of|for|to|with|as|under) )?{_WH}\b.*)$)",
    re.IGNORECASE,
)
_PLAIN = re.compile(rf"^{_WH} (?:is|was|are|were|became)\W*\Z", re.IGNORECASE)
_GOES_ON = re.compile(
    r"(?:is|was|are|were|be|been|has|have|had|do|does|did|can|could|will|would|may|must|in|on|at"
    r"|by|to|for|from|with|and|when|where|while|as|use|[a-z]+ed|born|die|live|work|win|play)\b|\W|\Z"
)
"""What may stand behind a name; another noun makes the name a part of it."""

_ENDS_IN_VERB = re.compile(r" (?P<last>(?:first |located |now )*[a-z]+(?:ed|en|orn))\W*\Z")
_NAME = re.compile(
    r"[A-Z\u00c0-\u00de][\w'\u2019.&-]*(?:(?: (?:of|the|and|de|la|van|von|in|for) (?=[A-Z])| )"
    r"[A-Z\u00c0-\u00de][\w'\u2019.&-]*)*"
)


@dataclass(frozen=True, slots=True)
class Described:
    """A description in a question.

    Args:
        text: What leads to the name: the description, or the statement around it; "" when the
            question names the thing and the first template asks about it alone.
        templates: What to ask then, with "{}" in place of the name.
        rest: What is asked about the thing.
    """

    text: str
    templates: tuple[str, ...]
    rest: str


def described(question: str) -> Described | None:
    """Return the description that stands in a question for a thing it asks about.

    A description that is itself what is asked for ("Who is the man who built it?") is none: one
    passage answers that. One that names nothing ("the person who manages me") leads nowhere.
    """
    plain = " ".join(question.split()).rstrip(" ?")
    for clause in _CLAUSE.finditer(plain):
        if clause["rel"].lower() == "that" and clause["head"].split()[-1].lower() in _THOUGHTS:
            continue
        found = _by_clause(plain, clause)
        if found is not None:
            return found
    if (match := _NAMED_CLAUSE.search(plain)) and match.start() and not _ASKS.match(plain):
        return Described("", (f"{match['name']} {match['clause']}",), match["clause"])
    match = _PARTICIPLE.search(plain)
    if (
        match
        and not _ASKS.search(plain[: match.start()])
        and (match.start() or _names(match["head"]))
    ):
        return Described(
            f"{plain[: match.start()]}{match['head']}",
            ("{} was " + match["clause"],),
            match["clause"],
        )
    for role in _OF.finditer(plain):
        before, after = plain[: role.start()], plain[role.end() :]
        if _DIRECT.match(before.strip()) or not (_ASKS.search(before) or _ASKS.search(after)):
            continue
        if not after.strip() and _PLAIN.match(before):
            continue
        if not _GOES_ON.match(after.strip()):
            continue
        return Described(role[0], (before + "{}" + after,), before + after)
    return None


def _by_clause(question: str, match: re.Match[str]) -> Described | None:
    before, clause = question[: match.start()], match["clause"]
    asked_inside = _ASKS.search(clause)
    if asked_inside is not None:
        if not before.strip():
            # "The hall where the team played can seat how many?"
            verbs = list(_VERB_TO_QUESTION.finditer(clause))
            main = verbs[-1] if verbs else None
            if main is None or not _names(clause[: main.start()]):
                return None
            text = f"{match['head']} {match['rel']} {clause[: main.start()]}"
            return Described(text, ("{} " + main["main"],), main["main"])
        if _ASKS.search(before) or not _names(before) or before.count(" ") < LEAST_STATEMENT:
            return None
        # "She taught at a school that is located in what city?"
        return Described(f"{before}{match['head']}", ("{} " + clause,), clause)
    if _DIRECT.match(before.strip()) or not _names(clause) or not _ASKS.search(before):
        return None
    whole = f"{match['head']} {match['rel']} {clause}"
    templates = [before + "{}"]
    if last := _ENDS_IN_VERB.search(clause):
        templates.insert(0, f"{before}{{}} {last['last']}")
        whole = whole[: len(whole) - len(last[0])]
    return Described(whole, tuple(templates), templates[0].replace("{}", ""))


def bridges(
    question: str, sentence: str, passage: int, passages: Sequence[Passage]
) -> Iterator[tuple[str, list[int]]]:
    """Yield names that a sentence puts in place of a description, with the passages about each.

    Args:
        question: With the description.
        sentence: What the description leads to.
        passage: Index of its passage.
        passages: All that are at hand.
    """
    asked = set(content_words(question))
    spans = [passages[passage].title, *_names(sentence)]
    titles = [one.title for one in passages if one.title and _bare(one.title) in sentence]
    seen: set[str] = set()
    tried = 0
    for name in (*titles, *spans):
        words = content_words(name)
        if not words or set(words) <= asked or name in seen:
            continue
        seen.add(name)
        about = [i for i, one in enumerate(passages) if _bare(name) in one.title] or [
            i
            for i, one in enumerate(passages)
            if name in one.text and i != passage and not _is_about(one.title, asked)
        ]
        if about:
            yield _bare(name), about
            tried += 1
        if tried == MOST_BRIDGES:
            return


def about(side: str, passages: Sequence[Passage]) -> list[Passage]:
    """Return the passages that are about a thing: by their title, else by what they say."""
    wanted = content_words(side)
    for shorten in (str, _bare):
        titled = [one for one in passages if content_words(shorten(one.title)) == wanted]
        if titled:
            return titled
    return [one for one in passages if missing_names(side.title(), said_around(one)) == 0]


def _is_about(title: str, asked: set[str]) -> bool:
    """Whether a passage is about something that the question names itself."""
    words = content_words(title)
    return bool(words) and set(words) <= asked


def _names(text: str) -> list[str]:
    """Return the names in a text; a single capitalised word at its begin is none."""
    return [
        match[0].rstrip(".,'")
        for match in _NAME.finditer(text)
        if match.start() or " " in match[0] or not match[0][1:].islower()
    ]


def _bare(title: str) -> str:
    return re.sub(r"\s*\([^)]*\)\Z", "", title).rpartition("/")[2]
