"""From the sentence that was chosen to what is quoted: whole lists, what a heading stands above.

A heading, a question of the documents, a lead-in and code do not answer by themselves. They lead to
what does: a heading to what stands below it, a lead-in to its list or code, an item to the whole
list when several things were asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from voicerag_core.local.reading.features import DATE, Candidate
from voicerag_core.local.reading.questions import Asked
from voicerag_core.local.reading.quoting.at_hand import HEADINGS, AtHand
from voicerag_core.local.reading.quoting.lists import Lists
from voicerag_core.local.reading.quoting.prose import Prose
from voicerag_core.local.reading.quoting.quotes import Quote
from voicerag_core.local.reading.quoting.samples import Samples
from voicerag_core.local.reading.quoting.sections import Sections
from voicerag_core.types import Passage

__all__ = ["Quoter"]

_POINTS_ELSEWHERE = re.compile(
    r"(?:please |you can |also )*(?:see|refer to|visit|consult|check(?: out)?|read|look at)\b.*"
    r"\b(?:pages?|sections?|chapters?|articles?|appendix|documentation|manual|guides?|handbook"
    r"|for (?:more|further|details|additional)|below|above)\b",
    re.IGNORECASE,
)
"""Says where something is told, and not what."""


class Quoter:
    """Makes quotes of the sentences of some passages.

    Args:
        passages: Best first.
        sentences: `voicerag_core.local.reading.features.candidates` of them, or of the first ones:
            the others may go on with a list.
        asked: What the question asks for.
    """

    def __init__(
        self, passages: Sequence[Passage], sentences: Sequence[Candidate], asked: Asked
    ) -> None:
        self._near = AtHand.of(passages, sentences, asked)
        self._samples = Samples(self._near)
        self._lists = Lists(self._near, self._samples)
        self._sections = Sections(self._near, self._lists, self._samples)
        self._prose = Prose(self._near, self._lists, self._samples)

    def quote(self, chosen: int) -> Quote | None:
        """Return what a sentence leads to, or None when that is nothing that answers."""
        if self._says_nothing(self._near.sentences[chosen]):
            return None
        quote = self._led_to(chosen)
        asked, passages = self._near.asked, self._near.passages
        if quote is None or not asked.date or DATE.search(quote.text(passages)):
            return quote
        dated = self._sections.dated_heading(self._near.sentences[chosen])
        return quote if dated is None else Quote((dated, *quote.parts))

    def _says_nothing(self, sentence: Candidate) -> bool:
        """Whether a sentence points elsewhere, asks, or only names what the question names."""
        if sentence.kind not in ("text", "note", "item"):
            return False
        if sentence.kind == "item" and sentence.text.rstrip().endswith(("?", "？")):
            return not self._near.asked.many
        if self._near.asked.how_to and _POINTS_ELSEWHERE.match(sentence.text.strip()):
            return "where" not in self._near.asked.words
        news = set(sentence.words) - self._near.asked.words
        names = sentence.text.rstrip()[-1:].isalnum() and not re.search(r"\d", sentence.text)
        return self._near.asked.topic and names and len(news) <= 1

    def _led_to(self, chosen: int) -> Quote | None:
        sentence = self._near.sentences[chosen]
        if sentence.kind in HEADINGS:
            return self._sections.heading(sentence)
        if sentence.kind == "lead":
            return self._lists.led_by(sentence.passage, sentence.block)
        if sentence.kind == "code":
            return self._samples.code(sentence)
        if sentence.kind == "item":
            return self._lists.item(sentence)
        if sentence.kind in ("row", "field"):
            return self._lists.value(sentence)
        return self._prose.quote(chosen)

    def rows(self, rows: Sequence[int]) -> Quote:
        """Quote rows of tables, as many as there is room for."""
        return self._lists.rows(rows)
