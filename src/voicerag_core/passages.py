"""The text by which a passage is searched: its own, and what stands above it in its document.

Keys of the metadata: `title`; `path`, a list of the headings above the passage, outermost first;
`lead`, the announcement of the list or table that the passage goes on with.
"""

from __future__ import annotations

from voicerag_core.types import JSONValue, Passage

__all__ = ["searched_text"]


def searched_text(passage: Passage) -> str:
    """Return the text that is embedded and searched for a passage: title > path > lead > text.

    It is never quoted. Title and headings stand on the first line, without repeats, and what the
    passage's text begins with is not said twice.
    """
    title = str(passage.metadata.get("title") or "")
    names = [title] if title else []
    names += [name for name in _strings(passage.metadata.get("path")) if name not in names]
    first_line = passage.text.split("\n", 1)[0].strip()
    if names and names[-1] == first_line:
        names.pop()
    lead = passage.metadata.get("lead")
    lines = [" > ".join(names), lead if isinstance(lead, str) else "", passage.text]
    return "\n".join(line for line in lines if line)


def _strings(value: JSONValue) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
