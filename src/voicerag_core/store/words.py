"""Text as a search by words sees it.

Postgres splits text at spaces and punctuation, which Chinese and Japanese do not put between words.
There, every two neighbouring characters are indexed as a word, the usual stand-in for segmentation;
so a search for one character alone finds nothing.
"""

from __future__ import annotations

import re
from itertools import pairwise

__all__ = ["searchable"]

_UNSEGMENTED = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]+"
)
"""Runs of Hiragana, Katakana and Han characters. Source: the block list of Unicode 15."""


def searchable(text: str) -> str:
    """Return text with every unsegmented run replaced by its overlapping pairs of characters."""
    return _UNSEGMENTED.sub(_pairs, text)


def _pairs(run: re.Match[str]) -> str:
    characters = run.group()
    if len(characters) == 1:
        return f" {characters} "
    return " " + " ".join(map("".join, pairwise(characters))) + " "
