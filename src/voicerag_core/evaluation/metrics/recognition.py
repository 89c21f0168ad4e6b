"""Word and character errors of transcripts, by jiwer."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from voicerag_core.errors import MissingExtraError
from voicerag_core.evaluation.metrics.answers import is_chinese
from voicerag_core.local.hearing.number_words import with_digits

__all__ = ["Errors", "error_rate", "heard_errors"]


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of one transcript.

    Args:
        wrong: Substitutions, deletions and insertions.
        units: Words, or Chinese characters, that were spoken.
    """

    wrong: int
    units: int


def heard_errors(spoken: str, heard: str) -> Errors:
    """Count the errors of a transcript: words, or characters of Chinese.

    Case and punctuation do not count, and numbers are compared in digits.

    Raises:
        MissingExtraError: The extra ``eval`` is not installed.
    """
    try:
        import jiwer
    except ImportError as error:
        raise MissingExtraError("eval", "word error rates") from error
    one, other = _plain(spoken), _plain(heard)
    if not one:
        return Errors(len(other.split()), 0)
    score = jiwer.process_characters if is_chinese(spoken) else jiwer.process_words
    if is_chinese(spoken):
        one, other = one.replace(" ", ""), other.replace(" ", "")
    found = score(one, other)
    wrong = found.substitutions + found.deletions + found.insertions
    return Errors(wrong, found.hits + found.substitutions + found.deletions)


def error_rate(errors: list[Errors]) -> float | None:
    """Return the rate over many transcripts: all errors by all units; None without any."""
    units = sum(one.units for one in errors)
    return sum(one.wrong for one in errors) / units if units else None


def _plain(text: str) -> str:
    same = unicodedata.normalize("NFKC", text)
    same = (same if is_chinese(same) else with_digits(same)).lower().replace("\u2019", "'")
    return " ".join(re.sub(r"[^\w']+", " ", same).split())
