"""Quotes of running text: a sentence with the neighbours, the list or the code that it needs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from voicerag_core.local.reading.continuing import goes_on
from voicerag_core.local.reading.features import Candidate, content_words, derived
from voicerag_core.local.reading.forms import instructs
from voicerag_core.local.reading.quoting.at_hand import LISTED, MOST_IN_PARAGRAPH, AtHand
from voicerag_core.local.reading.quoting.lists import Lists
from voicerag_core.local.reading.quoting.quotes import Part, Quote, part_of, whole_block
from voicerag_core.local.reading.quoting.samples import Samples
from voicerag_core.sentences import sentence_spans

__all__ = ["Prose"]

LEAST_WORDS = 2
"""A piece of running text with fewer words of two letters is no answer."""

_POINTS_BACK = re.compile(
    r"(?:(?:and|but|so|also|however|otherwise|then|instead|therefore|in that case),? )*"
    r"(?:(?:he|she|it|they|this|these|those|his|her|its|their|them|such|both|neither)\b"
    r"|(?:the )?(?:other|others|same|latter|former)\b|that (?:is|was|means|includes)\b"
    r"|(?:the (?:only |one )?|an? |sole )?exceptions?\b|except(?:ed)?\b"
    r"|(?:only|not|even) (?:to|if|when|in|with|on|at)\b"
    r"|the (?:team|group|process|form|company|rule|limit|amount|person|people|following day)\b"
    r"|(?:after|before|besides|beyond|until|without|despite) (?:that|this)\b"
    r"|(?:outside|inside|in|on|for|at|during|within|with|without|under|over|above|below)\b"
    r"[^,.;]{0,40}? (?:it|this|that) (?:is|was) (?:not |never |also |only )?"
    r"(?:possible|allowed|permitted|forbidden|prohibited|required|needed|enough)\b)",
    re.IGNORECASE,
)
_EXCEPTS = re.compile(
    r"(?:but|however|unless|except(?:ed)?|(?:the (?:only |one )?|an? )?exceptions?"
    r"|(?:only|not) (?:to|if|when|in|with|on|at|for))\b",
    re.IGNORECASE,
)
"""Opens a sentence that limits the one before, without which a yes or no is half the truth."""

_REPLY = re.compile(
    r"(?:yes|no|never|always|usually|sometimes|partly|perhaps|certainly|of course(?: not)?"
    r"|not (?:at all|yet|always|really|any ?more)|unfortunately not)\W*\Z",
    re.IGNORECASE,
)
"""A sentence that is a reply by itself and says nothing alone: the one behind it explains it."""

_SOME_THING = re.compile(
    r"(?:the|that|another|such an?) (?P<thing>[a-z]{3,}) (?:also |then |still |now |only )?"
    r"(?:is|are|was|were|has|have|had|can|may|must|will|does|did|applies|[a-z]{3,}(?:s|ed))\b",
    re.IGNORECASE,
)
"""A thing that an earlier sentence told of, unless the question names it."""

_WORD = re.compile(r"[^\W\d_]{2,}")
_HAN_WORDS = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]{4}")
"""Chinese characters that make at least two words."""


class Prose:
    """Makes quotes of running text.

    Args:
        near: The passages.
        lists: Quotes the lists that a sentence opens.
        samples: Quotes the code behind a sentence.
    """

    def __init__(self, near: AtHand, lists: Lists, samples: Samples) -> None:
        self._near = near
        self._lists = lists
        self._samples = samples

    def quote(self, chosen: int) -> Quote | None:
        """Quote a sentence of running text, with its neighbour where it needs one."""
        sentence = self._near.sentences[chosen]
        stripped = sentence.text.rstrip()
        after = self._near.neighbour(chosen, 1)
        if stripped.endswith(("?", "？")):
            return None if after is None else Quote((part_of(after),))
        if stripped.endswith((":", "：")):
            follows = sentence.block + 1
            blocks = self._near.blocks[sentence.passage]
            if follows < len(blocks) and blocks[follows].kind in (*LISTED, "code"):
                return self._lists.behind(sentence)
            return None if after is None else Quote((part_of(sentence), part_of(after)))
        if len(_WORD.findall(stripped)) < LEAST_WORDS and not _HAN_WORDS.search(stripped):
            replies = self._near.asked.yes_no and _REPLY.match(stripped) and after is not None
            return self._sentence(chosen + 1) if replies else None
        return self._sentence(chosen)

    def _sentence(self, chosen: int) -> Quote:
        """Quote a sentence with the one that it points back to, and the list that it opens."""
        sentence = self._near.sentences[chosen]
        before = self._near.neighbour(chosen, -1)
        if self._near.asked.yes_no and (whole := self._whole_reply(sentence)):
            return whole
        if replied := self._replied(chosen):
            quote = Quote((*replied, part_of(sentence)))
        elif steps := self._steps_before(chosen):
            quote = Quote((*steps, part_of(sentence)))
        elif before is not None and self._points_back(sentence.text):
            quote = Quote((part_of(before), part_of(sentence)))
        else:
            quote = Quote((part_of(sentence),))
        if follows := self._follows(chosen):
            return Quote((*quote.parts, *follows))
        return self._with_list(sentence, quote) if self._near.asked.many else quote

    def _whole_reply(self, sentence: Candidate) -> Quote | None:
        """Quote the short paragraph that answers a question of the documents.

        A sentence of it is half the truth: "At weekends, yes. On other days just come."
        """
        asks = sentence.path and sentence.path[-1].rstrip().endswith(("?", "？"))
        block = self._near.blocks[sentence.passage][sentence.block]
        if not asks or block.kind != "text" or block.end - block.start > MOST_IN_PARAGRAPH:
            return None
        text = self._near.text_of(sentence.passage, block)
        if _REPLY.match(text[: sentence_spans(text)[0][1]]):
            return None
        return Quote((whole_block(sentence.passage, block),))

    def _steps_before(self, chosen: int) -> tuple[Part, ...]:
        """Return the instructions of a paragraph in front of the one that was chosen."""
        sentence = self._near.sentences[chosen]
        if not self._near.asked.how_to or sentence.kind != "text" or not instructs(sentence.text):
            return ()
        parts: list[Part] = []
        room = MOST_IN_PARAGRAPH
        while (before := self._near.neighbour(chosen, -1)) is not None:
            room -= before.end - before.start
            if before.block != sentence.block or not instructs(before.text) or room < 0:
                break
            parts.insert(0, part_of(before))
            chosen -= 1
        return tuple(parts)

    def _replied(self, chosen: int) -> tuple[Part, ...]:
        """Return what stands before a sentence, from the yes or no with which its paragraph begins.

        Of a long paragraph, only a reply right before it counts.
        """
        if not self._near.asked.yes_no:
            return ()
        parts: list[Part] = []
        own, room = self._near.sentences[chosen].block, MOST_IN_PARAGRAPH
        while (before := self._near.neighbour(chosen, -1)) is not None and room >= 0:
            replies = _REPLY.match(before.text) is not None
            if before.block != own and (parts or not replies):
                return ()
            parts.insert(0, part_of(before))
            if replies:
                return tuple(parts)
            room -= before.end - before.start
            chosen -= 1
        return ()

    def _follows(self, chosen: int) -> tuple[Part, ...]:
        """Return what an answer in running text goes on with behind the chosen sentence."""
        sentence, asked = self._near.sentences[chosen], self._near.asked
        after = self._near.neighbour(chosen, 1)
        if after is not None and asked.yes_no and _EXCEPTS.match(after.text):
            return (part_of(after),)
        if asked.how_to and (steps := self._lists.steps(sentence.passage, sentence.path)):
            return steps.parts
        if asked.contrast:
            return tuple(self._rest(chosen))
        if asked.how_to and after is not None and self._leads_to(sentence, after):
            return (part_of(after), *self._samples.behind(chosen + 1))
        if after is not None and after.kind == "text" and goes_on(asked, after.text):
            sample = self._samples.behind(chosen + 1) if asked.how_to else ()
            return (part_of(after), *sample)
        return self._samples.behind(chosen) if asked.how_to else ()

    @staticmethod
    def _leads_to(sentence: Candidate, after: Candidate) -> bool:
        """Whether a sentence says why, and the next one of its paragraph what to do."""
        same = after.kind == "text" and after.block == sentence.block
        return same and instructs(after.text) and not instructs(sentence.text)

    def _with_list(self, sentence: Candidate, quote: Quote) -> Quote:
        """Quote a sentence with the list that it opens, or the list of its section instead."""
        if announced := self._announced_near(sentence):
            return announced
        if self._near.is_last(sentence) and (listed := self._lists.behind(sentence)):
            return Quote(quote.parts + listed.parts[1:])
        return quote

    def _announced_near(self, sentence: Candidate) -> Quote | None:
        """Quote the list of a sentence's section whose lead-in says what the sentence does not."""
        unsaid = [word for word in self._near.asked.words if not _says(sentence, word)]
        for one in self._near.sentences:
            same = one.passage == sentence.passage and one.path == sentence.path
            if same and one.kind == "lead" and any(_says(one, word) for word in unsaid):
                return self._lists.led_by(one.passage, one.block)
        return None

    def _rest(self, chosen: int) -> Iterator[Part]:
        """Yield the sentences behind one in its section, as many as there is room for."""
        room = self._near.room - len(self._near.sentences[chosen].text)
        while (after := self._near.neighbour(chosen, 1)) is not None and after.kind == "text":
            room -= len(after.text)
            if room < 0:
                return
            yield part_of(after)
            chosen += 1

    def _points_back(self, text: str) -> bool:
        """Whether a sentence does not stand alone."""
        thing = _SOME_THING.match(text)
        if thing is not None and not set(content_words(thing["thing"])) <= self._near.asked.words:
            return True
        return _POINTS_BACK.match(text) is not None


def _says(sentence: Candidate, word: str) -> bool:
    """Whether a sentence has a word, or one derived from it."""
    return not derived(word, sentence.words).isdisjoint(sentence.words)
