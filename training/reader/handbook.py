"""Questions made from the headings of a handbook: the section below is where they are answered.

Which sentence of it answers is not known; all of them count. That teaches which section a question
is about, among sections that share its words, and that a heading itself is no answer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from training.reader.documents import Cut, Source, cut

__all__ = ["asked_of_headings", "read_handbook"]

_GERUND = re.compile(r"([A-Z][a-z]+)ing\b ?(.*)")
_PLAIN = re.compile(r"[\w ,'()/-]{6,60}")
_NUMBERED = re.compile(r"^\s*(?:Chapter )?[\d.]+\s*")
MOST_BLOCKS = 4
LEAST_CHARACTERS = 60


def read_handbook(folder: Path) -> Iterator[tuple[Source, Cut]]:
    """Yield the pages of a handbook in HTML, cut into passages."""
    for path in sorted(folder.glob("*.html")):
        source = Source(path.stem, path.read_text(encoding="utf-8"), (), ".html")
        yield source, cut(source)


def asked_of_headings(held: Cut, words: Counter[str]) -> Iterator[tuple[str, list[int]]]:
    """Yield questions with the sentences of the section that answers them.

    Args:
        held: A page.
        words: Counts of the handbook's words, to tell the verb of "Configuring".
    """
    for number, heading in enumerate(held.sentences):
        title = _NUMBERED.sub("", heading.text).strip()
        if heading.kind != "heading" or not _PLAIN.fullmatch(title) or len(title.split()) < 2:
            continue
        path = (*heading.path, " ".join(heading.text.split()))
        below = []
        for i in range(number + 1, len(held.sentences)):
            one = held.sentences[i]
            if one.passage != heading.passage or one.path != path:
                break
            below.append(i)
        told = [i for i in below if held.sentences[i].kind not in ("heading", "question", "note")]
        told = [i for i in told if held.sentences[i].block <= heading.block + MOST_BLOCKS]
        if sum(len(held.sentences[i].text) for i in told) >= LEAST_CHARACTERS:
            yield _asked(title, words), told


def _asked(title: str, words: Counter[str]) -> str:
    gerund = _GERUND.fullmatch(title)
    if gerund is None:
        return f"What about {title[0].lower() + title[1:]}?" if len(title) % 2 else title.lower()
    stem = gerund[1].lower()
    verbs = [stem, f"{stem}e"] + ([stem[:-1]] if stem[-1] == stem[-2] else [])
    verb = max(verbs, key=lambda one: words[one])
    return f"How do I {verb} {gerund[2]}?" if words[verb] else title.lower()
