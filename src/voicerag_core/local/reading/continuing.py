"""Does the sentence behind a chosen one belong to the answer?

Texts say first what there is, and then how: "You may want to update by hand. You can do this by
pressing Update now." What follows says the thing itself, or how the thing is done.
"""

from __future__ import annotations

import re

from voicerag_core.local.reading.questions import Asked

__all__ = ["goes_on", "has_command"]

_DOES_IT = re.compile(
    r"(?:(?:and|then|simply|just|please|also),? )*"
    r"(?:(?:you|we|one|users?|staff|employees)(?:'ll)? "
    r"(?:can|may|could|must|should|need to|have to)"
    r"(?: (?:also|simply|easily|then))? do (?:this|that|it|so)\b"
    r"|(?:this|that|it|which) (?:can be|is|may be|could be|should be|must be)(?: \w+ly)? "
    r"(?:done|achieved|accomplished|changed|set|enabled|disabled|configured|made) "
    r"(?:by|with|via|using|through|in|on|from|either)\b"
    r"|to do (?:this|that|it|so)\b|do (?:this|that|so)\b|for this(?: purpose)?,"
    r"|(?:(?:you|to)\b.* )?(?:run|use|type|enter|execute) "
    r"(?:this|the following|these|a command)\b)",
    re.IGNORECASE,
)
"""Opens a sentence that says how the thing named before it is done."""

_SPELLS_OUT = re.compile(
    r"(?:namely|specifically|in particular|in detail|concretely|more precisely|that is"
    r"|these|they|those|among (?:these|them|those)) ?(?:,|:|are|include|were)(?!\w)",
    re.IGNORECASE,
)
"""Opens a sentence that names what the one before it only counts or calls by a general name."""

_BY_DEFAULT = re.compile(r"(?:by default|the default is|this defaults to)\b", re.IGNORECASE)
"""Opens the sentence that says what holds where nothing was set."""

_COMMAND = re.compile(
    r"(?:^|\s)--?[a-z][\w-]*|[\"'`\u201c][^\"'`\u201d]{3,}[\"'`\u201d]|\b\w+\.\w{2,4}\b"
)
"""A command, an option or a file in running text."""


def goes_on(asked: Asked, following: str) -> bool:
    """Return whether the answer to a question goes on with the sentence that follows it.

    Args:
        asked: What the question asks for.
        following: The sentence behind the one that was chosen.
    """
    text = following.strip()
    if asked.how_to and _DOES_IT.match(text):
        return True
    if asked.yes_no:
        return _BY_DEFAULT.match(text) is not None
    return _SPELLS_OUT.match(text) is not None and not asked.date


def has_command(text: str) -> bool:
    """Return whether a sentence names what to type itself."""
    return _COMMAND.search(text) is not None
