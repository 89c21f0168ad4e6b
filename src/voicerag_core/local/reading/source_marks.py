"""The numbers of sources in a model's streamed answer, and marks behind what these do not bear."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from voicerag_core.local.reading.support import Support, Verdict
from voicerag_core.local.replies import Replies
from voicerag_core.sentences import sentence_spans
from voicerag_core.types import Answer, Citation, Passage

__all__ = ["MarkedText", "undecided_from", "without_numbers"]

MOST_RANGE = 9
"""Sources that a range such as ``[1-3]`` may name."""

_NUMBERS = r"\d{1,3}(?:\s*[,\uff0c\u3001;-]\s*\d{1,3})*"
_NUMBER = re.compile(
    rf"\s*[\[\u3010\uff3b]\s*(?:sources?\s*:?\s*)?(?P<numbers>{_NUMBERS})\s*"
    r"(?:\u2020[^\]\u3011]{0,40})?[\]\u3011\uff3d]",
    re.IGNORECASE,
)
_OPEN_NUMBER = re.compile(r"\s*(?:[\[\u3010\uff3b][\d,;\uff0c\u3001\s\u2020:a-zA-Z-]{0,40})?\Z")
_PARTS = re.compile(r"(\s+)|(?<=[\u3002\uff01\uff1f])")
_ENDS = (".", "!", "?", "\u3002", "\uff01", "\uff1f")
_CLOSERS = "\"'\u201d\u2019)\uff09\u300d\u300f"


def undecided_from(text: str) -> int:
    """Return where a number of a source may begin that is not complete at the end of a text."""
    found = _OPEN_NUMBER.search(text)
    return len(text) if found is None else found.start()


def without_numbers(text: str) -> str:
    """Return a text without the numbers of its sources."""
    return _NUMBER.sub("", text)


@dataclass(slots=True)
class _Sentence:
    """What was written of the sentence so far.

    Args:
        text: Without numbers of sources.
        cited: Indices of the passages that it names.
    """

    text: str
    cited: list[int]


class MarkedText:
    """Turns the text of a model into pieces with citations, and marks behind its sentences.

    A number without a passage is replaced by a mark that says so. What a sentence names before the
    next one begins counts as named by it: the number may stand behind its full stop.

    Args:
        passages: In the order of their numbers.
        support: What they say.
        replies: The marks, in the language of the answer.
    """

    def __init__(self, passages: Sequence[Passage], support: Support, replies: Replies) -> None:
        self._passages = passages
        self._support = support
        self._replies = replies
        self._sentence = _Sentence("", [])
        self._blank = ""
        self.has_words = False
        """Whether the model said a word so far."""

    def feed(self, text: str) -> Answer:
        """Take text in which no number of a source is open, and return it as a piece."""
        out: list[str] = []
        citations: list[Citation] = []
        at = 0
        for match in _NUMBER.finditer(text):
            out += self._plain(text[at : match.start()])
            at = match.end()
            out += self._named(match["numbers"], citations)
        out += self._plain(text[at:])
        return Answer("".join(out), citations=tuple(dict.fromkeys(citations)))

    def end(self) -> str:
        """Return the mark of the sentence that ends here, or "" when it needs none."""
        sentence, self._sentence = self._sentence, _Sentence("", [])
        said = sentence.text.strip()
        if not any(map(str.isalnum, said)):
            return ""
        verdict = self._support.verdict(said, sentence.cited)
        if verdict is Verdict.BORNE:
            return ""
        replies = self._replies
        is_elsewhere = verdict is Verdict.ELSEWHERE
        return f" {replies.other_source if is_elsewhere else replies.unsupported}"

    def _plain(self, text: str) -> Iterator[str]:
        """Yield text, with the mark of each sentence that is over before the blank behind it."""
        for part in filter(None, _PARTS.split(text)):
            if part.isspace():
                self._blank += part
                continue
            blank, self._blank = self._blank, ""
            if self._is_over(blank):
                yield self.end()
            else:
                self._sentence.text += blank
            yield blank + part
            self._sentence.text += part
            self.has_words = self.has_words or any(map(str.isalnum, part))

    def _is_over(self, blank: str) -> bool:
        """Whether what was written so far is a sentence that does not go on."""
        text = self._sentence.text.rstrip(_CLOSERS)
        if "\n" in blank or text.endswith(_ENDS[3:]):
            return True
        return bool(blank) and text.endswith(_ENDS) and len(sentence_spans(f"{text} Next.")) > 1

    def _named(self, numbers: str, citations: list[Citation]) -> Iterator[str]:
        """Note what passages a sentence names, and yield a mark for those that there are not."""
        missing = []
        for number in _single(numbers):
            if not 1 <= number <= len(self._passages):
                missing.append(str(number))
                continue
            passage = self._passages[number - 1]
            if passage.text:
                self._sentence.cited.append(number - 1)
                citations.append(Citation(passage.id, 0, len(passage.text)))
        if missing:
            yield " " + self._replies.no_source.format(number=", ".join(missing))


def _single(numbers: str) -> list[int]:
    """Return the numbers of a list that may have ranges."""
    found: list[int] = []
    for part in re.split(r"[,;\uff0c\u3001]", numbers):
        first, *rest = [int(number) for number in part.split("-")]
        last = rest[-1] if rest else first
        found += range(first, last + 1) if first <= last <= first + MOST_RANGE else (first, last)
    return list(dict.fromkeys(found))
