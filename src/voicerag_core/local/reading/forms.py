"""Does a sentence have the form of the answer that is asked for?

A way to do something is told as an instruction, a definition names its term first, a reason says
"because". The network, which learned from questions about facts, does not look at that.
"""

from __future__ import annotations

import re

from voicerag_core.local.reading.features import Candidate, content_words
from voicerag_core.local.reading.questions import Asked

__all__ = ["defines", "fits", "has_other_condition", "instructs", "names_option"]

_VERBS = (
    "add|adjust|align|append|apply|arrange|ask|assemble|assign|attach|avoid|book|bring|brush|"
    "build|call|cancel|change|check|choose|clean|click|close|complete|configure|confirm|"
    "connect|consult|contact|copy|create|define|delete|detach|dip|disable|dissolve|download|"
    "drag|drain|eject|email|empty|enable|enrol|enroll|enter|fasten|fill|find|flip|flush|fold|"
    "follow|forward|gather|get|give|go|grind|hand|hang|head|hold|include|inform|insert|install|"
    "invite|keep|leave|let|lift|load|locate|log|look|loosen|lower|mail|make|measure|mix|move|"
    "navigate|notify|open|paste|pay|peel|photograph|pick|place|plug|pour|prepare|press|print|"
    "provide|pull|push|put|reach|refill|register|reinstall|remove|replace|report|request|reset|"
    "restart|restore|return|review|rinse|rotate|rub|run|save|scan|scroll|search|select|send|"
    "set|shake|show|sign|slide|soak|sort|specify|squeeze|start|stop|submit|swap|swipe|switch|"
    "take|talk|tap|tell|tick|tighten|tilt|transfer|try|turn|twist|type|unlock|unpack|unplug|"
    "unscrew|update|upload|use|verify|visit|wait|warm|wash|wear|weigh|wet|wipe|work|wrap|write"
)
_INSTRUCTS = re.compile(
    rf"^\W*(?:(?:please|then|first|next|finally|now|simply|just|instead|always|also|never)\b,? )*"
    rf"(?:do not |don't )?(?:{_VERBS})\b"
    r"(?! (?:is|are|was|of|by|for(?! (?:at least|about|up to|\d+|an?|two|three|five|ten) )) )"
    r"|^\W*(?:\(?\d{1,2}[.)]|step \d)"
    r"|^\W*(?:to|in order to|for|if you (?:want|wish|need|would like) to) [^,]+, (?:\w+ )?"
    rf"(?:you\b|{_VERBS})"
    r"|\byou(?:'ll)? (?:can(?! not|not)|may|might|must|should|need to|will need to|have to|could)"
    r"\b"
    rf"|\b(?:can|must|should) be \w+ed (?:by|with|via|using|through|at)\b"
    rf"|\bif you (?:set|pass|use|add|give)\b|, (?:{_VERBS}) (?:the|a|an|your|it|to|in|on|with)\b",
    re.IGNORECASE,
)
_WHEN_THEN = re.compile(
    r"^\W*(?:if|when(?:ever)?|once|as soon as|in case|before|after|for|to|at|on|in)\b"
    r"[^,.;]{3,80},"
    rf" (?:please |then |first )?(?:do not |don't )?(?:{_VERBS})\b",
    re.IGNORECASE,
)
"""A sentence that says when, and then what to do: "If frost threatens, open valve 3"."""

_BY_FORM = re.compile(
    r"\W*(?:(?:please|then|first|next|finally|now|also|always|never),? )*(?:do not |don't )?"
    r"(?P<verb>[A-Za-z][a-z]{2,}) (?:(?:up|out|down|off|on|in|back|away|over) )?"
    r"(?:the|a|an|your|it|them|all|each|every|any|both|this|these|two|three)\b"
)
_NO_VERB = frozenset(
    re.split(
        r"\s",
        "about above across after against along although among and another around because before "
        "behind below beneath beside besides between beyond both but despite during each either "
        "even every except for former from given half hence here how however inside instead into "
        "just like likewise many maybe more most much near neither nor now off often once only "
        "onto our outside over past per perhaps plus quite rather same since sometimes soon such "
        "than that the their then there these they this those though through throughout thus "
        "today together tomorrow too toward towards twice two under underneath unless unlike "
        "until upon very via was were what when whenever where whereas wherever whether which "
        "while who whom whose why will with within without yet you your not "
        "one three all any some none nor its his her him was had has are can may must could",
    )
)
"""Words in front of an article or a pronoun that are no verbs."""

_NOT_BARE = re.compile(r"[aeiouy].*ing\Z|ed\Z|ly\Z|(?<!s)s\Z")
"""Ending of a word that is no verb in its bare form; "ring" and "pass" are."""

_NAMES_OPTION = re.compile(
    r"(?:^|[\s(])--?[a-zA-Z][\w-]*|^\W*[a-z]\w*(?:[._][a-z]\w*)+\b(?!@)|^\W*[A-Z]+_[A-Z_]+\b"
)
"""Names an option, a setting or a variable, which is what to use."""

_CASE = re.compile(
    r"(?:for|if|when|on|in (?:the )?case of|with|alternatively,? for) (?P<case>[^,.:;]{3,80}), ",
    re.IGNORECASE,
)
"""Opens a sentence that holds for one case."""

_ENUMERATES = re.compile(r"[\w)],? [^,;:.]+[,;] [^,;:.]+,? (?:and|or|&) \w|(?:[,;] [^,;:.]+){3}")
_SAYS_WHY = re.compile(
    r"\b(?:because|so that|since|in order to|to (?:avoid|prevent|ensure|protect|make sure|keep)"
    r"|otherwise|or else|due to|the reason|therefore|as (?:it|they|this|that) "
    r"|without (?:a|an|the|it)"
    r"|this is why|thus|hence)\b",
    re.IGNORECASE,
)
_DEFINES = re.compile(
    r"\W{0,3}(?:\([^)]*\)\W{0,2})?(?:in this context )?"
    r"(?:is|are|was|were|means?|stands? for|refers? to|denotes?|describes?|gives?|plays?"
    r"|makes?|:|-|\u2013|\u2014)",
    re.IGNORECASE,
)


def fits(asked: Asked, sentence: Candidate) -> float:
    """Return 1 when a sentence has the form that is asked for, else 0; 0 when any form will do."""
    if asked.term:
        return float(defines(asked.term, sentence))
    if asked.how_to:
        return float(
            sentence.kind in ("code", "lead")
            or instructs(sentence.text)
            or names_option(sentence.text)
        )
    if asked.many:
        return float(
            sentence.kind in ("lead", "item", "row", "field")
            or _ENUMERATES.search(sentence.text) is not None
        )
    if asked.reason:
        return float(_SAYS_WHY.search(sentence.text) is not None)
    return 0.0


def has_other_condition(text: str, asked: frozenset[str]) -> bool:
    """Return whether a sentence holds for a case alone that a question does not name.

    "For React snippets, install ..." is one for who asks about a plug-in.

    Args:
        text: The sentence.
        asked: The question's words that carry meaning, stemmed.
    """
    case = _CASE.match(text)
    return case is not None and asked.isdisjoint(content_words(case["case"]))


def instructs(text: str) -> bool:
    """Return whether a sentence tells somebody to do something."""
    if _INSTRUCTS.search(text) is not None or _WHEN_THEN.match(text) is not None:
        return True
    by_form = _BY_FORM.match(text)
    if by_form is None:
        return False
    verb = by_form["verb"].lower()
    return verb not in _NO_VERB and _NOT_BARE.search(verb) is None


def names_option(text: str) -> bool:
    """Return whether a sentence names an option, a setting or a variable."""
    return _NAMES_OPTION.search(text) is not None


def defines(term: str, sentence: Candidate) -> bool:
    """Return whether a sentence opens with a term and says what it is, or a heading is the term."""
    wanted = content_words(term)
    if not wanted:
        return False
    if sentence.kind in ("heading", "question"):
        return (
            list(sentence.words)[: len(wanted)] == wanted and len(sentence.words) <= len(wanted) + 2
        )
    words = re.finditer(r"[\w'\u2019-]+", sentence.text)
    for number, match in enumerate(words):
        if number > len(wanted) + 2:
            return False
        opening = content_words(sentence.text[: match.end()])
        if opening[: len(wanted)] == wanted and _DEFINES.match(sentence.text, match.end()):
            return True
    return False
