"""A song is named by all the words of its title, small ones too: "Let me love you".

Titles are made of common words, and other songs share most of them.
"""

from __future__ import annotations

import re

__all__ = ["untold_song"]

LEAST_WORDS = 3
"""Of a title that is compared; a shorter one may be the name of a singer or a band."""

_SONG = re.compile(
    r"^who (?:originally |first )?(?:sings?|sang|recorded|performed|covered) "
    r"(?:the |this |that )?(?:song |hit |single |track )?"
    r"(?!(?:in|at|on|for|with|to|about|from)\b)(?P<title>.+?)"
    r"(?: (?:song|lyrics|first|originally|in \d{4}|in the (?:movie|film|show)\b.*))*\W*\Z",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+")
_APOSTROPHE = re.compile(r"['\u2019]")


def untold_song(question: str, text: str) -> bool:
    """Tell whether a question asks who sings a song of which a text lacks a word of the title.

    Args:
        question: In words.
        text: What is said, with what stands around it.
    """
    asked = _SONG.match(" ".join(question.split()))
    if asked is None:
        return False
    title = _words(asked["title"])
    return len(title) >= LEAST_WORDS and not set(title) <= set(_words(text))


def _words(text: str) -> list[str]:
    return _WORD.findall(_APOSTROPHE.sub("", text).lower())
