"""Marks behind what a model said and the documents do not bear: shown, but never spoken.

A mark stands in square brackets behind a warning sign, which tells it apart from what is quoted.
"""

from __future__ import annotations

import re

__all__ = ["marked", "without_caveats"]

SIGN = "\u26a0"
_CAVEAT = re.compile(rf"\s?\[{SIGN} [^\[\]\n]{{1,80}}\]")


def marked(words: str) -> str:
    """Return the mark that says these words."""
    return f"[{SIGN} {words}]"


def without_caveats(text: str) -> str:
    """Return a text without such marks and the blanks before them."""
    return _CAVEAT.sub("", text) if SIGN in text else text
