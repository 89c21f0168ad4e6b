"""Languages by their ISO 639-1 codes: names, and how Postgres cuts their words."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

__all__ = ["ANY", "ENGLISH", "LANGUAGES", "language_name", "text_search_configuration"]

ENGLISH: Final = "en"
ANY: Final = "auto"
"""The language is that of each question."""

_NAMES: Final = MappingProxyType(
    {
        "ar": "Arabic", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
        "en": "English", "es": "Spanish", "fi": "Finnish", "fr": "French", "hi": "Hindi",
        "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean",
        "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian",
        "ru": "Russian", "sv": "Swedish", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese",
        "zh": "Chinese",
    }
)  # fmt: skip

LANGUAGES: Final = tuple(_NAMES)
"""Codes of the languages that are known here by name."""

_STEMMED: Final = frozenset(
    {
        "ar", "da", "de", "el", "en", "es", "fi", "fr", "hi", "hu", "id", "it", "nl", "no", "pt",
        "ro", "ru", "sv", "tr",
    }
)  # fmt: skip
"""Languages with a text search configuration. Source: PostgreSQL 14, ``\\dF``."""


def language_name(code: str) -> str:
    """Return the English name of a language, or its code when that is not known here."""
    return _NAMES.get(code, f"the language {code!r}")


def text_search_configuration(code: str) -> str:
    """Return Postgres' text search configuration for a language.

    It is "simple" (words as they are written) for languages that Postgres has none for, and where
    the language is not one. Chinese and Japanese are cut into pairs of characters in any case.
    """
    return _NAMES[code].lower() if code in _STEMMED else "simple"
