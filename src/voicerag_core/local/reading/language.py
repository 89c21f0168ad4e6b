"""Detect the language of a question."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import TYPE_CHECKING

from voicerag_core.errors import MissingExtraError
from voicerag_core.languages import ANY, ENGLISH
from voicerag_core.local.weights.files import weight_path

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

__all__ = ["english_probability", "is_english", "language_of"]

LEAST_PROBABILITY = 0.2
"""Below this probability of English a text is rejected (benchmarks/speech/language_check.py)."""

SHORT_WORDS = 6
LEAST_SHORT_PROBABILITY = 0.02
LEAST_KNOWN = 0.3
"""A text of fewer words says too little for that probability; it is refused below the second one,
or when a smaller share than the third of its words, names left out, is frequent in English."""

LEAST_LETTERS = 4
"""Of a word that is looked up: shorter ones are words of many languages."""

LEAST_LATIN = 0.8
"""Below this share of Latin letters a text needs plain English words to pass for English."""

CERTAIN_WORDS = 2
"""This many distinct plain English words decide it without the model."""

LEAST_WORDS = 3
"""A shorter text in Latin script, perhaps a name, is accepted."""

LEAST_HAN = 3
"""Chinese characters that make a question Chinese; fewer may be a name in another language."""
_HAN_LANGUAGES = ("zh", "ja")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_KANA = re.compile(r"[\u3040-\u30ff]")

_LATIN_RIVALS = (
    "cs", "da", "de", "en", "es", "fi", "fr", "hu", "id", "it", "nl", "pl", "pt", "ro", "sv",
    "tr", "vi",
)  # fmt: skip

# Frequent in English questions, and not words of the rival languages ("was", "is", "in", "on" are).
_QUESTION_WORDS = (
    "the what which who whose whom how when where why did does do has have had been being were "
    "are and of to for from with by that this these those many much would could should there "
    "their they your you my we he she his"
)
_ENGLISH_WORDS = frozenset(_QUESTION_WORDS.split())
# Not words of a language in another script either, though some Latin rivals have them.
_MORE_ENGLISH_WORDS = _ENGLISH_WORDS | {"is", "was", "in", "on", "at", "as", "an", "it"}
_WORD = re.compile(r"[^\W\d_]+")


def language_of(text: str, usual: str = ANY) -> str:
    """Return the code of a question's language.

    The script decides first: Chinese characters, or kana for Japanese. A text in Latin letters is
    in the usual language if that is written so, else in English or the likeliest of its rivals.

    Args:
        text: The question.
        usual: Language of the questions, or "auto".

    Raises:
        MissingExtraError: The extra ``local`` is not installed.
    """
    if _KANA.search(text):
        return "ja"
    letters = sum(letter.isalpha() for letter in text)
    han = len(_HAN.findall(text))
    if usual in _HAN_LANGUAGES and han:
        return usual
    # "TiDB 支持哪些公有云？" has more Latin letters than Chinese ones.
    if han >= LEAST_HAN or 2 * han > letters:
        return "zh"
    if usual not in (ANY, *_HAN_LANGUAGES):
        return usual
    if is_english(text):
        return ENGLISH
    latin = sum(map(_is_latin, text)) >= LEAST_LATIN * letters
    return str(_identifier().rank(" ".join(_words(text)))[0][0]) if latin else ANY


def is_english(text: str) -> bool:
    """Return whether a question may be English; True in doubt.

    The script is checked first, then plain English words, and only a text that neither decides is
    classified by py3langid, whose model is loaded by the first such text: about 0.6 s and 75 MB.
    Of fewer than six words ("reset VPN password") it says little; those are
    also looked up in the vocabulary of MiniLM, which has the 30,000 most frequent English words
    and word parts.
    A text without letters ("42?") counts as English.

    Raises:
        MissingExtraError: The extra ``local`` is not installed.
    """
    letters = [letter for letter in text if letter.isalpha()]
    if not letters:
        return True
    words = _words(text)
    if sum(map(_is_latin, letters)) < LEAST_LATIN * len(letters):
        return len(_MORE_ENGLISH_WORDS.intersection(words)) >= CERTAIN_WORDS
    if len(words) < LEAST_WORDS or len(_ENGLISH_WORDS.intersection(words)) >= CERTAIN_WORDS:
        return True
    probability = english_probability(text)
    if len(words) >= SHORT_WORDS or probability >= LEAST_PROBABILITY:
        return probability >= LEAST_PROBABILITY
    return probability >= LEAST_SHORT_PROBABILITY and _known_share(text) >= LEAST_KNOWN


def _known_share(text: str) -> float:
    """Return the share of words that are frequent in English, names and short words left out."""
    first, *others = _WORD.findall(unicodedata.normalize("NFC", text))
    plain = [first.lower(), *(word for word in others if word.islower())]
    asked = [word for word in plain if len(word) >= LEAST_LETTERS]
    return sum(word in _vocabulary() for word in asked) / max(1, len(asked))


def english_probability(text: str) -> float:
    """Return the probability that a text in Latin script is English, among 17 languages.

    Raises:
        MissingExtraError: The extra ``local`` is not installed.
    """
    # Names reveal little about the language around them, and are capitalized.
    scores = dict(_identifier().rank(" ".join(_words(text))))
    return float(scores["en"])


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFC", text).lower())


@functools.cache
def _is_latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("LATIN")


@functools.cache
def _vocabulary() -> frozenset[str]:
    """Load the whole words and word parts that MiniLM knows."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError("local", "the language check") from error
    path = weight_path("minilm-tokenizer/minilm_tokenizer.json")
    return frozenset(Tokenizer.from_file(str(path)).get_vocab())


@functools.cache
def _identifier() -> LanguageIdentifier:
    """Load py3langid's model and keep the columns of the rival languages only."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise MissingExtraError("local", "the language check") from error
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(_LATIN_RIVALS)
    return identifier
