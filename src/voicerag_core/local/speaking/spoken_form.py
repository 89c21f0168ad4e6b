"""A text as it is said: without marks, and with figures in the shapes that Piper's voice reads.

Piper reads plain figures, ordinals and decimals by espeak-ng's own rules. Those stay as they are,
so nothing is spelled out here and no library is needed for it (num2words and inflect do that alone,
NeMo's normaliser brings a finite-state toolkit of hundreds of megabytes). What espeak-ng reads
wrongly, such as money, dates, telephone numbers, units and Roman numerals, is put into a form that
it reads rightly. The rules of English are beside this module, those of German, French, Spanish and
Chinese in `languages`; the voices of other languages get the figures as they are written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from voicerag_core.languages import ENGLISH
from voicerag_core.local.speaking.abbreviations import with_words_for_abbreviations
from voicerag_core.local.speaking.amounts import with_spoken_amounts
from voicerag_core.local.speaking.dates import with_spoken_dates, with_spoken_years
from voicerag_core.local.speaking.figures import (
    with_spoken_figures,
    with_spoken_ranges,
    with_spoken_symbols,
)
from voicerag_core.local.speaking.languages.chinese import with_chinese_words
from voicerag_core.local.speaking.languages.french import with_french_words
from voicerag_core.local.speaking.languages.german import with_german_words
from voicerag_core.local.speaking.languages.spanish import with_spanish_words
from voicerag_core.local.speaking.marks import without_marks
from voicerag_core.local.speaking.numerals import with_spoken_numerals
from voicerag_core.local.speaking.telephone import with_spoken_numbers

__all__ = ["spoken_form"]

_OTHERS: Final[Mapping[str, Callable[[str], str]]] = MappingProxyType(
    {
        "de": with_german_words, "es": with_spanish_words, "fr": with_french_words,
        "zh": with_chinese_words,
    }
)  # fmt: skip


def spoken_form(text: str, language: str = ENGLISH) -> str:
    """Return a text in the form in which Piper is to be given it.

    "It costs $5." becomes "It costs 5 dollars."; "" when nothing is left to be said.

    Args:
        text: One or more sentences, perhaps in Markdown.
        language: Code of its language.
    """
    spoken = without_marks(text)
    if language != ENGLISH:
        return " ".join(_OTHERS.get(language, str)(spoken).split())
    # A later step takes what the ones before it have left: a date is no telephone number.
    for step in (
        with_words_for_abbreviations,
        with_spoken_dates,
        with_spoken_numbers,
        with_spoken_ranges,
        with_spoken_amounts,
        with_spoken_figures,
        with_spoken_numerals,
        with_spoken_years,
        with_spoken_symbols,
    ):
        spoken = step(spoken)
    return " ".join(spoken.split())
