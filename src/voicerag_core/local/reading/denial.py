"""Does a sentence deny what a text says, or say what it denies?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from voicerag_core.local.reading.features import content_words
from voicerag_core.sentences import split_sentences

__all__ = ["Clause", "clauses", "contradicts"]

LEAST_SHARED = 0.75
"""Share of a clause's words that stand in the clause of a text that it is compared with."""
LEAST_WORDS = 3
"""Words of meaning in a clause that is compared."""

_NEGATION = re.compile(
    r"\b(?:not|never|no|none|nobody|neither|nor|cannot|without|isnt|nicht|kein\w*|nie(?:mals)?|ohne"
    r"|jamais|sans|aucune?|nunca|jam\u00e1s|ning\u00fan\w*|sin)\b|n['\u2019]t\b|\bne\b.{0,40}\bpas\b"
    r"|\bn['\u2019]\w+ pas\b|(?:^|[\s,])no (?=\w+[aeno]\b)",
    re.IGNORECASE,
)
_NO_NEGATION = re.compile(
    r"\bnot (?:only|just|merely|least)\b|\bno (?:more|less|fewer|later|earlier|longer) than\b"
    r"|\bwhether or not\b|\bif not\b|\bnot until\b|\b(?:yes|no|nein|non)\s?,|\bno\.? ?(?=\d)"
    r"|\bno longer\b|\bno matter\b|\bno doubt\b|\bnot at least\b|\bnicht nur\b|\bpas seulement\b",
    re.IGNORECASE,
)
_BORDER = re.compile(
    r"[;:\u2014]|,(?!\d)|\s(?:but|although|though|while|whereas|except|unless|however|and|or|because|if"
    r"|which|who|aber|sondern|und|oder|mais|et|ou|pero|y|o)\s|[()]",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Clause:
    """A part of a sentence.

    Args:
        words: Its words of meaning.
        denies: Whether there is a negation in it.
    """

    words: frozenset[str]
    denies: bool


def clauses(text: str, *, whole: bool = True) -> list[Clause]:
    """Cut a text into clauses.

    Args:
        text: One or more sentences.
        whole: Add the sentences of several clauses as a whole.
    """
    found = []
    for sentence in split_sentences(text):
        parts = _BORDER.split(_NO_NEGATION.sub(" ", sentence))
        parts = [part for part in parts if part and part.strip()]
        if whole and len(parts) > 1:
            parts.append(" ".join(parts))
        found += [_clause(part) for part in parts]
    return found


def contradicts(sentence: str, said: Iterable[Clause]) -> bool:
    """Tell whether a clause of a sentence is only in the text with, or only without, a negation."""
    known = list(said)
    return any(_is_contradicted(one, known) for one in clauses(sentence, whole=False))


def _is_contradicted(clause: Clause, said: list[Clause]) -> bool:
    if len(clause.words) < LEAST_WORDS:
        return False
    least = LEAST_SHARED * len(clause.words)
    alike = [
        (len(clause.words & one.words) / len(clause.words | one.words), one)
        for one in said
        if len(clause.words & one.words) >= least
    ]
    best = max((share for share, _ in alike), default=0.0)
    return bool(alike) and all(one.denies != clause.denies for share, one in alike if share >= best)


def _clause(text: str) -> Clause:
    return Clause(frozenset(content_words(text)) - _NEGATIVE, _NEGATION.search(text) is not None)


_NEGATIVE = frozenset(
    content_words(
        "never none nobody neither nor cannot without don doesn didn isn aren wasn weren won can t"
        " couldn shouldn wouldn hasn haven hadn do does did may must can could should will"
        " nicht kein keine nie ohne ne pas jamais sans nunca sin"
    )
)
"""Words of negations and their auxiliaries, which are not compared."""
