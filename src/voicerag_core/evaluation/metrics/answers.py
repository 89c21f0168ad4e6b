"""Scores of answers and contexts against gold answers.

English follows the official scorer of HotpotQA: lower case, no punctuation, no articles, one space
between words; an answer that is "yes", "no" or "noanswer" on one side and something else on the
other has F1 0. Chinese is compared by characters, Latin words and numbers within it as wholes.

Source: the rules of hotpot_evaluate_v1.py of hotpotqa/hotpot @ 3635853 (re-stated, not copied), and
Rajpurkar et al., EMNLP 2016, section 6.1.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from voicerag_core.errors import MissingExtraError

__all__ = [
    "Overlap",
    "Refusals",
    "best",
    "contained",
    "exact_match",
    "f1",
    "normalized",
    "refusals",
    "rouge_l",
    "tokens",
]

_CLOSED = ("yes", "no", "noanswer")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_CHINESE_TOKEN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3400-\u9fff\uf900-\ufaff]+")


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of two token sequences agrees, each 0..1."""

    f1: float
    precision: float
    recall: float


@dataclass(frozen=True, slots=True)
class Refusals:
    """Of the refusals, how many were right, and of what had to be refused, how much was.

    Args:
        precision: None if nothing was refused.
        recall: None if nothing had to be.
    """

    precision: float | None
    recall: float | None


def is_chinese(text: str) -> bool:
    """Return whether a text has a Chinese character."""
    return _HAN.search(text) is not None


def normalized(text: str) -> str:
    """Return a text as answers are compared.

    Chinese loses punctuation and white space, full-width letters and digits become ASCII.
    """
    if is_chinese(text):
        plain = unicodedata.normalize("NFKC", text).lower()
        return "".join(c for c in plain if c.isalnum())
    plain = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def tokens(text: str) -> list[str]:
    """Return the units of a text that are compared: words, or Chinese characters."""
    if is_chinese(text):
        return _CHINESE_TOKEN.findall(unicodedata.normalize("NFKC", text).lower())
    return normalized(text).split()


def exact_match(said: str, gold: str) -> float:
    """Return 1 if two answers are the same after normalisation."""
    return float(normalized(said) == normalized(gold))


def f1(said: str, gold: str) -> Overlap:
    """Return the overlap of the tokens of two answers, regardless of their order."""
    nothing = Overlap(0.0, 0.0, 0.0)
    one, other = normalized(said), normalized(gold)
    if one != other and (one in _CLOSED or other in _CLOSED):
        return nothing
    told, wanted = tokens(said), tokens(gold)
    return _overlap(sum((Counter(told) & Counter(wanted)).values()), len(told), len(wanted))


def contained(said: str, gold: str) -> float:
    """Return 1 if the gold answer stands in what was said, word for word after normalisation."""
    wanted = normalized(gold)
    if not wanted:
        return 0.0
    if is_chinese(gold) or is_chinese(said):
        return float(wanted in normalized(said))
    return float(f" {wanted} " in f" {normalized(said)} ")


def rouge_l(context: str, gold: str) -> Overlap:
    """Return ROUGE-L: the longest common subsequence of tokens, against both lengths.

    Raises:
        MissingExtraError: The extra ``eval`` is not installed.

    Source: Lin, "ROUGE", 2004, section 3.1, with beta = 1.
    """
    try:
        from rapidfuzz.distance import LCSseq
    except ImportError as error:
        raise MissingExtraError("eval", "ROUGE-L") from error
    told, wanted = tokens(context), tokens(gold)
    return _overlap(int(LCSseq.similarity(told, wanted)), len(told), len(wanted))


def best(score: Callable[[str, str], float], said: str, golds: Iterable[str]) -> float:
    """Return the best score against any of several gold answers; 0 if there is none."""
    return max((score(said, gold) for gold in golds), default=0.0)


def refusals(cases: Sequence[tuple[bool, bool]]) -> Refusals:
    """Return how well questions without an answer were told apart.

    Args:
        cases: For each question whether it can be answered, and whether it was refused.
    """
    refused = [answerable for answerable, was_refused in cases if was_refused]
    hopeless = [was_refused for answerable, was_refused in cases if not answerable]
    return Refusals(
        sum(not one for one in refused) / len(refused) if refused else None,
        sum(hopeless) / len(hopeless) if hopeless else None,
    )


def _overlap(same: int, told: int, wanted: int) -> Overlap:
    if not same:
        return Overlap(0.0, 0.0, 0.0)
    precision, recall = same / told, same / wanted
    return Overlap(2 * precision * recall / (precision + recall), precision, recall)
