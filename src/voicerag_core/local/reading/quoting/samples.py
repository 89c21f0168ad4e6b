"""Quotes of code: a command or a sample configuration with what announces it."""

from __future__ import annotations

from voicerag_core.local.reading.continuing import has_command
from voicerag_core.local.reading.features import Candidate
from voicerag_core.local.reading.quoting.at_hand import HEADINGS, AtHand
from voicerag_core.local.reading.quoting.quotes import Part, Quote, whole_block
from voicerag_core.local.reading.trimming import setting_span
from voicerag_core.passages import PassageBlock
from voicerag_core.sentences import sentence_spans

__all__ = ["Samples"]


class Samples:
    """Makes quotes of code.

    Args:
        near: The passages.
    """

    def __init__(self, near: AtHand) -> None:
        self._near = near

    def code(self, sentence: Candidate) -> Quote | None:
        """Quote code with what announces it."""
        blocks = self._near.blocks[sentence.passage]
        block = blocks[sentence.block]
        lead = sentence.block - 1
        while lead >= 0 and blocks[lead].kind == "code":
            lead -= 1
        if lead < 0 or blocks[lead].path != block.path or blocks[lead].kind not in ("lead", "text"):
            return self._below_heading(sentence, lead) if self._near.asked.how_to else None
        text = self._near.text_of(sentence.passage, blocks[lead])
        start, end = sentence_spans(text)[-1]
        head = Part(sentence.passage, blocks[lead].start + start, blocks[lead].start + end)
        return Quote((head, self.line(sentence.passage, blocks[lead + 1])))

    def _below_heading(self, sentence: Candidate, at: int) -> Quote | None:
        """Quote code with the heading that it stands right below."""
        blocks = self._near.blocks[sentence.passage]
        if at < 0 or blocks[at].kind not in HEADINGS or at != sentence.block - 1:
            return None
        heading = whole_block(sentence.passage, blocks[at], "heading")
        return Quote((heading, self.line(sentence.passage, blocks[sentence.block])))

    def line(self, passage: int, block: PassageBlock) -> Part:
        """Return the line of a long sample configuration that the question names, or all of it."""
        text = self._near.text_of(passage, block)
        start, end = setting_span(text, self._near.asked.words)
        return Part(passage, block.start + start, block.start + end, "code")

    def behind(self, chosen: int) -> tuple[Part, ...]:
        """Return the code behind a sentence that tells what it is for, with its announcement."""
        sentence = self._near.sentences[chosen]
        if has_command(sentence.text) or not self._near.is_last(sentence):
            return ()
        blocks = self._near.blocks[sentence.passage]
        at = sentence.block + 1
        own = [block for block in blocks[at : at + 2] if block.path == sentence.path]
        kinds = [block.kind for block in own]
        if kinds[:1] == ["code"]:
            return (self.line(sentence.passage, own[0]),)
        if kinds == ["lead", "code"]:
            lead = whole_block(sentence.passage, own[0], "text")
            return (lead, self.line(sentence.passage, own[1]))
        return ()
