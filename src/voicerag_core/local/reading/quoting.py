"""From the sentence that was chosen to what is quoted: whole lists, what a heading stands above.

A heading, a question of the documents, a lead-in and code do not answer by themselves. They lead to
what does: a heading to what stands below it, a lead-in to its list or code, an item to the whole
list when several things were asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from voicerag_core.local.reading.continuing import goes_on, has_command
from voicerag_core.local.reading.features import DATE, Candidate, content_words, derived
from voicerag_core.local.reading.forms import instructs, names_option
from voicerag_core.local.reading.questions import Asked
from voicerag_core.local.reading.trimming import setting_span
from voicerag_core.passages import PassageBlock, passage_blocks
from voicerag_core.sentences import sentence_spans
from voicerag_core.types import Citation, Passage

__all__ = ["Part", "Quote", "Quoter"]

MOST_CHARACTERS = 650
MOST_CHARACTERS_LONG = 1200
"""Of a lead-in with its list; the second when a list or a way to do something is asked for."""

MOST_ITEMS = 14
MOST_BELOW_HEADING = 300
"""Characters of a paragraph below a heading that is quoted whole; of a longer one, sentences."""

LEAST_WORDS = 2
"""A piece of running text with fewer words of two letters is no answer."""

SHORT_ITEM = 25
"""Characters of an item that is quoted with what announces it."""

LEAST_SUBSECTIONS = 3

MOST_FACTS = 4
"""Fields of a term that are quoted with it; more of them are a form."""

MOSTLY = 0.75
"""Share of a list's items that instruct, from which on they are steps."""

_HEADINGS = ("heading", "question")
_LISTED = ("item", "row", "field")
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

_STATES = re.compile(
    r"\b(?:is|are|must|may|can|cannot|never|always|only|no|not|don't|needs?|costs?|opens?|closes?|ends?"
    r"|starts?|begins?)\b|[a-z] \d",
    re.IGNORECASE,
)
"""A heading with such a word says something itself: "Orders close at noon"."""

LEAST_STATED = 3
"""Words that carry meaning in a heading that says something, one of them not in the question."""

_POINTS_ELSEWHERE = re.compile(
    r"(?:please |you can |also )*(?:see|refer to|visit|consult|check(?: out)?|read|look at)\b.*"
    r"\b(?:pages?|sections?|chapters?|articles?|appendix|documentation|manual|guides?|handbook"
    r"|for (?:more|further|details|additional)|below|above)\b",
    re.IGNORECASE,
)
"""Says where something is told, and not what."""

_WORD = re.compile(r"[^\W\d_]{2,}")
_HAN_WORDS = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]{4}")
"""Chinese characters that make at least two words."""
_PROMPT = re.compile(r"^(?:>>> |\.\.\. ?|\$ |PS> )", re.MULTILINE)
_ORDER = re.compile(r"\(?(?:\d{1,3}|[a-z])[.)]\s")


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a passage that is quoted.

    Args:
        passage: Index of the passage.
        start: First character in the passage's text.
        end: One past the last.
        kind: Of its block.
    """

    passage: int
    start: int
    end: int
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Quote:
    """What answers.

    Args:
        parts: In the order of the text.
        chosen: Index of the part that was chosen, or -1 when it only led here.
    """

    parts: tuple[Part, ...]
    chosen: int = -1

    def text(self, passages: Sequence[Passage]) -> str:
        """Return the words: sentences on one line, items, rows and code apart."""
        said = ""
        before = ""
        for part in self.parts:
            words = passages[part.passage].text[part.start : part.end]
            words = _PROMPT.sub("", words) if part.kind == "code" else " ".join(words.split())
            prose = part.kind in ("text", "note") and before in ("text", "note", "heading")
            gap = " " if prose else "\n\n"
            if before == "heading" and not said.endswith((":", ".", "?")):
                gap = ": " if part.kind != "code" else ":\n\n"
            said += (gap if said else "") + words
            before = part.kind
        return said

    def citations(self, passages: Sequence[Passage]) -> tuple[Citation, ...]:
        """Return the places, in the order of the text."""
        return tuple(Citation(passages[p.passage].id, p.start, p.end) for p in self.parts)


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
        self._passages = passages
        self._sentences = sentences
        self._asked = asked
        self._blocks = [passage_blocks(passage) for passage in passages]
        self._room = MOST_CHARACTERS_LONG if asked.long else MOST_CHARACTERS

    def quote(self, chosen: int) -> Quote | None:
        """Return what a sentence leads to, or None when that is nothing that answers."""
        if self._says_nothing(self._sentences[chosen]):
            return None
        quote = self._led_to(chosen)
        if quote is None or not self._asked.date or DATE.search(quote.text(self._passages)):
            return quote
        dated = self._dated_heading(self._sentences[chosen])
        if dated is None:
            return quote
        return Quote((dated, *quote.parts), quote.chosen + 1 if quote.chosen >= 0 else -1)

    def _says_nothing(self, sentence: Candidate) -> bool:
        """Whether a sentence points elsewhere, asks, or only names what the question names."""
        if sentence.kind not in ("text", "note", "item"):
            return False
        if sentence.kind == "item" and sentence.text.rstrip().endswith(("?", "？")):
            return not self._asked.many
        if self._asked.how_to and _POINTS_ELSEWHERE.match(sentence.text.strip()):
            return "where" not in self._asked.words
        news = set(sentence.words) - self._asked.words
        names = sentence.text.rstrip()[-1:].isalnum() and not re.search(r"\d", sentence.text)
        return self._asked.topic and names and len(news) <= 1

    def _dated_heading(self, sentence: Candidate) -> Part | None:
        """Return the nearest heading above a sentence that holds a date, if it is at hand."""
        for depth in range(len(sentence.path), 0, -1):
            if not DATE.search(sentence.path[depth - 1]):
                continue
            for passage in (sentence.passage, *range(len(self._passages))):
                for block in self._blocks[passage]:
                    if block.kind != "heading" or block.path != sentence.path[: depth - 1]:
                        continue
                    title = self._passages[passage].text[block.start : block.end]
                    if " ".join(title.split()) == sentence.path[depth - 1]:
                        return Part(passage, block.start, block.end, "heading")
        return None

    def _led_to(self, chosen: int) -> Quote | None:
        sentence = self._sentences[chosen]
        if sentence.kind in _HEADINGS:
            return self._heading(sentence)
        if sentence.kind == "lead":
            return self._list(sentence.passage, sentence.block)
        if sentence.kind == "code":
            return self._code(sentence)
        if sentence.kind == "item":
            return self._item(sentence)
        if sentence.kind in ("row", "field"):
            return self._value(sentence)
        return self._prose(chosen)

    def rows(self, rows: Sequence[int]) -> Quote:
        """Quote rows of tables, as many as there is room for."""
        parts: list[Part] = []
        room = self._room
        for row in rows[:MOST_ITEMS]:
            part = _part(self._sentences[row])
            room -= part.end - part.start
            if room < 0 and parts:
                break
            parts.append(part)
        return Quote(tuple(parts), 0)

    def _value(self, sentence: Candidate) -> Quote:
        """Quote a row or a field, that with its term when it names a value alone."""
        blocks = self._blocks[sentence.passage]
        above = sentence.block - 1
        while above >= 0 and blocks[above].kind == "field":
            above -= 1
        short = sentence.kind == "field" and sentence.end - sentence.start < SHORT_ITEM
        if not short or above < 0 or blocks[above].kind != "heading":
            return Quote((_part(sentence),), 0)
        return Quote((_whole(sentence.passage, blocks[above], "heading"), _part(sentence)), 1)

    def _heading(self, sentence: Candidate) -> Quote | None:
        """Quote what stands below a heading, or its date when that is asked for."""
        if self._asked.date and DATE.search(sentence.text):
            return Quote((_part(sentence),), 0)
        below = list(self._below(sentence.passage, sentence.block))
        blocks = self._blocks[sentence.passage]
        if self._asked.many and (titles := self._titles(sentence.passage, below)):
            return Quote(titles)
        title = self._passages[sentence.passage].text[sentence.start : sentence.end]
        own_path = (*sentence.path, " ".join(title.split()))
        if self._asked.how_to and (steps := self._steps(sentence.passage, own_path)):
            return steps
        told = [i for i in below if blocks[i].kind not in (*_HEADINGS, "note")]
        quote = self._told(sentence, told) if told else None
        if quote is not None and self._states(sentence) and _part(sentence) not in quote.parts:
            return Quote((_part(sentence), *quote.parts), 0)
        return quote

    def _states(self, heading: Candidate) -> bool:
        """Whether a heading says something that the question does not."""
        words = set(heading.words)
        return (
            heading.kind == "heading"
            and len(words) >= LEAST_STATED
            and not words <= self._asked.words
            and _STATES.search(heading.text) is not None
        )

    def _told(self, heading: Candidate, told: Sequence[int]) -> Quote | None:
        """Quote what a section begins with; code only where it has nothing else."""
        passage, first = heading.passage, told[0]
        blocks = self._blocks[passage]
        if blocks[first].kind == "code":
            text = next((i for i in told if blocks[i].kind == "text"), None)
            if text is None:
                return Quote((_part(heading), _whole(passage, blocks[first])))
            first = text
        if blocks[first].kind == "field" and heading.kind == "heading":
            return self._described(heading, told)
        if blocks[first].kind != "text":
            return self._announced(passage, first)
        parts = tuple(self._opening(passage, first))
        follows = first + 1
        if self._asked.long and follows in told and blocks[follows].kind in ("lead", *_LISTED):
            listed = self._announced(passage, follows)
            parts += listed.parts if listed else ()
        elif self._asked.how_to and follows in told and blocks[follows].kind == "code":
            parts += (self._line(passage, blocks[follows]),)
        return Quote(parts)

    def _described(self, term: Candidate, told: Sequence[int]) -> Quote | None:
        """Quote a term with its fields, such as its default, and the paragraph behind them."""
        passage = term.passage
        blocks = self._blocks[passage]
        fields = [i for i in told if blocks[i].kind == "field"]
        if len(fields) > MOST_FACTS:
            return self._announced(passage, told[0])
        parts = [_part(term), *(_whole(passage, blocks[i]) for i in fields)]
        if (text := next((i for i in told if blocks[i].kind == "text"), None)) is not None:
            parts += self._opening(passage, text)
        return Quote(tuple(parts))

    def _announced(self, passage: int, number: int) -> Quote | None:
        """Quote a list from its lead-in or its first item on."""
        if self._blocks[passage][number].kind == "lead":
            return self._list(passage, number)
        return self._run(passage, number, before=())

    def _below(self, passage: int, heading: int) -> Iterator[int]:
        """Yield the blocks of a heading's section."""
        blocks = self._blocks[passage]
        title = self._passages[passage].text[blocks[heading].start : blocks[heading].end]
        path = (*blocks[heading].path, " ".join(title.split()))
        for i in range(heading + 1, len(blocks)):
            if blocks[i].path[: len(path)] != path:
                return
            yield i

    def _titles(self, passage: int, below: Sequence[int]) -> tuple[Part, ...]:
        """Return the titles of a section's parts when it has several."""
        blocks = self._blocks[passage]
        heads = [i for i in below if blocks[i].kind == "heading"]
        least = min((len(blocks[i].path) for i in heads), default=0)
        own = [i for i in heads if len(blocks[i].path) == least]
        if len(own) < LEAST_SUBSECTIONS:
            return ()
        return tuple(
            Part(passage, blocks[i].start, blocks[i].end, "item") for i in own[:MOST_ITEMS]
        )

    def _opening(self, passage: int, number: int) -> Iterator[Part]:
        """Yield a paragraph, or the sentences that a long one begins with."""
        block = self._blocks[passage][number]
        if block.end - block.start <= MOST_BELOW_HEADING:
            yield _whole(passage, block)
            return
        text = self._passages[passage].text[block.start : block.end]
        for start, end in sentence_spans(text):
            if start and end > MOST_BELOW_HEADING:
                return
            yield Part(passage, block.start + start, block.start + end)

    def _list(self, passage: int, lead: int) -> Quote | None:
        """Quote a lead-in with what it announces."""
        blocks = self._blocks[passage]
        head = (_whole(passage, blocks[lead], "text"),)
        if lead + 1 < len(blocks) and blocks[lead + 1].kind == "code":
            return Quote((*head, self._line(passage, blocks[lead + 1])))
        return self._run(passage, lead + 1, before=head)

    def _run(self, passage: int, first: int, *, before: tuple[Part, ...]) -> Quote | None:
        """Quote the items or rows from a block on, as many as there is room for."""
        parts = list(before)
        room = self._room - sum(part.end - part.start for part in before)
        for at, block in self._listed(passage, first):
            room -= block.end - block.start
            if (room < 0 and len(parts) > len(before)) or len(parts) - len(before) >= MOST_ITEMS:
                break
            parts.append(_whole(at, block))
        return Quote(tuple(parts)) if len(parts) > len(before) else None

    def _listed(self, passage: int, first: int) -> Iterator[tuple[int, PassageBlock]]:
        """Yield the items of a list, those of the passage that goes on with it included."""
        blocks = self._blocks[passage]
        kind = blocks[first].kind if first < len(blocks) else "item"
        for i in range(first, len(blocks)):
            if blocks[i].kind != kind or kind not in _LISTED:
                return
            yield passage, blocks[i]
        following = self._following(passage)
        if following is None or not self._passages[following].metadata.get("lead"):
            return
        for block in self._blocks[following]:
            if block.kind not in _LISTED:
                return
            yield following, block

    def _following(self, passage: int) -> int | None:
        """Return the passage that comes next in the document, if it is at hand."""
        own = self._passages[passage]
        position = own.metadata.get("position")
        if not isinstance(position, int):
            return None
        base = own.source.partition("#")[0]
        for index, other in enumerate(self._passages):
            next_one = other.metadata.get("position") == position + 1
            if next_one and other.source.partition("#")[0] == base:
                return index
        return None

    def _item(self, sentence: Candidate) -> Quote | None:
        """Quote an item, with its list when several things are asked for."""
        blocks = self._blocks[sentence.passage]
        if inner := self._inner(sentence.passage, sentence.block):
            return inner
        first = sentence.block
        while first > 0 and blocks[first - 1].kind == "item":
            first -= 1
        lead = first - 1 if first and blocks[first - 1].kind in ("lead", "text") else None
        same_section = lead is not None and blocks[lead].path == blocks[first].path
        head: tuple[Part, ...] = ()
        if lead is not None and same_section and blocks[lead].kind == "lead":
            head = (_whole(sentence.passage, blocks[lead], "text"),)
        is_told = (
            bool(head) or self._is_ordered(sentence.passage, first) or self._instructs(sentence)
        )
        if self._asked.many or (self._asked.how_to and is_told):
            whole = self._run(sentence.passage, first, before=head)
            if whole is not None and any(_covers(part, sentence) for part in whole.parts):
                return whole
        short = sentence.end - sentence.start < SHORT_ITEM or sentence.text[:1].islower()
        outer = self._outer(sentence.passage, sentence.block)
        before = (outer or head) if short else ()
        return Quote((*before, _part(sentence)), len(before))

    def _instructs(self, sentence: Candidate) -> bool:
        """Whether nearly all items of a list are instructions, hence steps; options are not."""
        if names_option(sentence.text):
            return False
        own = [
            instructs(one.text)
            for one in self._sentences
            if one.kind == "item" and one.passage == sentence.passage and one.path == sentence.path
        ]
        return len(own) >= LEAST_SUBSECTIONS and sum(own) >= MOSTLY * len(own)

    def _inner(self, passage: int, number: int) -> Quote | None:
        """Quote an item that announces a list in its list, or None for other items."""
        blocks = self._blocks[passage]
        if not self._announces(passage, number):
            return None
        parts = [_whole(passage, blocks[number])]
        room = self._room
        for block in blocks[number + 1 :]:
            room -= block.end - block.start
            if block.kind != "item" or block.level <= blocks[number].level or room < 0:
                break
            parts.append(_whole(passage, block))
        return Quote(tuple(parts)) if len(parts) > 1 else None

    def _outer(self, passage: int, number: int) -> tuple[Part, ...]:
        """Return the item that announces the list in which an item lies, or nothing."""
        blocks = self._blocks[passage]
        for i in range(number - 1, -1, -1):
            if blocks[i].kind != "item":
                return ()
            if blocks[i].level < blocks[number].level:
                return (_whole(passage, blocks[i]),) if self._announces(passage, i) else ()
        return ()

    def _announces(self, passage: int, number: int) -> bool:
        """Whether an item ends in a colon, or is no sentence and has items of its own."""
        blocks = self._blocks[passage]
        block = blocks[number]
        text = self._passages[passage].text[block.start : block.end].rstrip()
        if text.endswith((":", "：")):
            return True
        inner = blocks[number + 1] if number + 1 < len(blocks) else None
        has_own = inner is not None and inner.kind == "item" and inner.level > block.level
        return has_own and not text.endswith((".", "!", "?", ";", "。"))

    def _steps(self, passage: int, path: tuple[str, ...]) -> Quote | None:
        """Quote the numbered steps of a section."""
        blocks = self._blocks[passage]
        for i, block in enumerate(blocks):
            if block.kind == "item" and block.path == path and self._is_ordered(passage, i):
                lead = i > 0 and blocks[i - 1].kind == "lead"
                head = (_whole(passage, blocks[i - 1], "text"),) if lead else ()
                return self._run(passage, i, before=head)
        return None

    def _is_ordered(self, passage: int, item: int) -> bool:
        block = self._blocks[passage][item]
        return _ORDER.match(self._passages[passage].text, block.start) is not None

    def _code(self, sentence: Candidate) -> Quote | None:
        """Quote code with what announces it."""
        blocks = self._blocks[sentence.passage]
        block = blocks[sentence.block]
        lead = sentence.block - 1
        while lead >= 0 and blocks[lead].kind == "code":
            lead -= 1
        if lead < 0 or blocks[lead].path != block.path or blocks[lead].kind not in ("lead", "text"):
            return self._code_below(sentence, lead) if self._asked.how_to else None
        text = self._passages[sentence.passage].text[blocks[lead].start : blocks[lead].end]
        start, end = sentence_spans(text)[-1]
        head = Part(sentence.passage, blocks[lead].start + start, blocks[lead].start + end)
        return Quote((head, self._line(sentence.passage, blocks[lead + 1])))

    def _code_below(self, sentence: Candidate, at: int) -> Quote | None:
        """Quote code with the heading that it stands right below."""
        blocks = self._blocks[sentence.passage]
        if at < 0 or blocks[at].kind not in _HEADINGS or at != sentence.block - 1:
            return None
        heading = _whole(sentence.passage, blocks[at], "heading")
        return Quote((heading, self._line(sentence.passage, blocks[sentence.block])))

    def _line(self, passage: int, block: PassageBlock) -> Part:
        """Return the line of a long sample configuration that the question names, or all of it."""
        text = self._passages[passage].text[block.start : block.end]
        start, end = setting_span(text, self._asked.words)
        return Part(passage, block.start + start, block.start + end, "code")

    def _prose(self, chosen: int) -> Quote | None:
        """Quote a sentence of running text, with its neighbour where it needs one."""
        sentence = self._sentences[chosen]
        stripped = sentence.text.rstrip()
        after = self._neighbour(chosen, 1)
        if stripped.endswith(("?", "？")):
            return None if after is None else Quote((_part(after),))
        if stripped.endswith((":", "：")):
            follows = sentence.block + 1
            blocks = self._blocks[sentence.passage]
            if follows < len(blocks) and blocks[follows].kind in (*_LISTED, "code"):
                return self._list_behind(sentence)
            return None if after is None else Quote((_part(sentence), _part(after)), 0)
        if len(_WORD.findall(stripped)) < LEAST_WORDS and not _HAN_WORDS.search(stripped):
            replies = self._asked.yes_no and _REPLY.match(stripped) and after is not None
            return self._sentence(chosen + 1) if replies else None
        return self._sentence(chosen)

    def _sentence(self, chosen: int) -> Quote:
        """Quote a sentence with the one that it points back to, and the list that it opens."""
        sentence = self._sentences[chosen]
        before = self._neighbour(chosen, -1)
        if self._asked.yes_no and (whole := self._whole_reply(sentence)):
            return whole
        if replied := self._replied(chosen):
            quote = Quote((*replied, _part(sentence)), len(replied))
        elif steps := self._steps_before(chosen):
            quote = Quote((*steps, _part(sentence)), len(steps))
        elif before is not None and self._points_back(sentence.text):
            quote = Quote((_part(before), _part(sentence)), 1)
        else:
            quote = Quote((_part(sentence),), 0)
        if follows := self._follows(chosen):
            return Quote((*quote.parts, *follows), quote.chosen)
        return self._with_list(sentence, quote) if self._asked.many else quote

    def _whole_reply(self, sentence: Candidate) -> Quote | None:
        """Quote the short paragraph that answers a question of the documents.

        A sentence of it is half the truth: "At weekends, yes. On other days just come."
        """
        asks = sentence.path and sentence.path[-1].rstrip().endswith(("?", "？"))
        block = self._blocks[sentence.passage][sentence.block]
        if not asks or block.kind != "text" or block.end - block.start > MOST_BELOW_HEADING:
            return None
        text = self._passages[sentence.passage].text[block.start : block.end]
        if _REPLY.match(text[: sentence_spans(text)[0][1]]):
            return None
        return Quote((_whole(sentence.passage, block),))

    def _steps_before(self, chosen: int) -> tuple[Part, ...]:
        """Return the instructions of a paragraph in front of the one that was chosen."""
        sentence = self._sentences[chosen]
        if not self._asked.how_to or sentence.kind != "text" or not instructs(sentence.text):
            return ()
        parts: list[Part] = []
        room = MOST_BELOW_HEADING
        while (before := self._neighbour(chosen, -1)) is not None:
            room -= before.end - before.start
            if before.block != sentence.block or not instructs(before.text) or room < 0:
                break
            parts.insert(0, _part(before))
            chosen -= 1
        return tuple(parts)

    def _replied(self, chosen: int) -> tuple[Part, ...]:
        """Return what stands before a sentence, from the yes or no with which its paragraph begins.

        Of a long paragraph, only a reply right before it counts.
        """
        if not self._asked.yes_no:
            return ()
        parts: list[Part] = []
        own, room = self._sentences[chosen].block, MOST_BELOW_HEADING
        while (before := self._neighbour(chosen, -1)) is not None and room >= 0:
            replies = _REPLY.match(before.text) is not None
            if before.block != own and (parts or not replies):
                return ()
            parts.insert(0, _part(before))
            if replies:
                return tuple(parts)
            room -= before.end - before.start
            chosen -= 1
        return ()

    def _follows(self, chosen: int) -> tuple[Part, ...]:
        """Return what an answer in running text goes on with behind the chosen sentence."""
        sentence = self._sentences[chosen]
        after = self._neighbour(chosen, 1)
        if after is not None and self._asked.yes_no and _EXCEPTS.match(after.text):
            return (_part(after),)
        if self._asked.how_to and (steps := self._steps(sentence.passage, sentence.path)):
            return steps.parts
        if self._asked.contrast:
            return tuple(self._rest(chosen))
        if self._asked.how_to and after is not None and self._leads_to(sentence, after):
            return (_part(after), *self._sample(chosen + 1))
        if after is not None and after.kind == "text" and goes_on(self._asked, after.text):
            sample = self._sample(chosen + 1) if self._asked.how_to else ()
            return (_part(after), *sample)
        return self._sample(chosen) if self._asked.how_to else ()

    @staticmethod
    def _leads_to(sentence: Candidate, after: Candidate) -> bool:
        """Whether a sentence says why, and the next one of its paragraph what to do."""
        same = after.kind == "text" and after.block == sentence.block
        return same and instructs(after.text) and not instructs(sentence.text)

    def _with_list(self, sentence: Candidate, quote: Quote) -> Quote:
        """Quote a sentence with the list that it opens, or the list of its section instead."""
        if announced := self._announced_near(sentence):
            return announced
        if self._is_last(sentence) and (listed := self._list_behind(sentence)):
            return Quote(quote.parts + listed.parts[1:], quote.chosen)
        return quote

    def _announced_near(self, sentence: Candidate) -> Quote | None:
        """Quote the list of a sentence's section whose lead-in says what the sentence does not."""
        unsaid = [word for word in self._asked.words if not _says(sentence, word)]
        for one in self._sentences:
            same = one.passage == sentence.passage and one.path == sentence.path
            if same and one.kind == "lead" and any(_says(one, word) for word in unsaid):
                return self._list(one.passage, one.block)
        return None

    def _rest(self, chosen: int) -> Iterator[Part]:
        """Yield the sentences behind one in its section, as many as there is room for."""
        room = self._room - len(self._sentences[chosen].text)
        while (after := self._neighbour(chosen, 1)) is not None and after.kind == "text":
            room -= len(after.text)
            if room < 0:
                return
            yield _part(after)
            chosen += 1

    def _sample(self, chosen: int) -> tuple[Part, ...]:
        """Return the code behind a sentence that tells what it is for, with its announcement."""
        sentence = self._sentences[chosen]
        if has_command(sentence.text) or not self._is_last(sentence):
            return ()
        blocks = self._blocks[sentence.passage]
        at = sentence.block + 1
        own = [block for block in blocks[at : at + 2] if block.path == sentence.path]
        kinds = [block.kind for block in own]
        if kinds[:1] == ["code"]:
            return (self._line(sentence.passage, own[0]),)
        if kinds == ["lead", "code"]:
            lead = _whole(sentence.passage, own[0], "text")
            return (lead, self._line(sentence.passage, own[1]))
        return ()

    def _points_back(self, text: str) -> bool:
        """Whether a sentence does not stand alone."""
        thing = _SOME_THING.match(text)
        if thing is not None and not set(content_words(thing["thing"])) <= self._asked.words:
            return True
        return _POINTS_BACK.match(text) is not None

    def _is_last(self, sentence: Candidate) -> bool:
        block = self._blocks[sentence.passage][sentence.block]
        return not self._passages[sentence.passage].text[sentence.end : block.end].strip()

    def _list_behind(self, sentence: Candidate) -> Quote | None:
        """Quote a sentence with the list, or the titles of the parts, that follow its block."""
        passage, follows = sentence.passage, sentence.block + 1
        blocks = self._blocks[passage]
        if follows >= len(blocks):
            return None
        head = (_part(sentence),)
        kind = blocks[follows].kind
        if kind == "code":
            return Quote((*head, self._line(passage, blocks[follows])))
        if kind == "lead" and blocks[follows].path == sentence.path:
            listed = self._list(passage, follows)
            return None if listed is None else Quote(head + listed.parts)
        if kind in _LISTED and blocks[follows].path == sentence.path:
            return self._run(passage, follows, before=head)
        if kind == "heading" and len(blocks[follows].path) >= len(sentence.path):
            depth = len(sentence.path)
            below = [
                i for i in range(follows, len(blocks)) if blocks[i].path[:depth] == sentence.path
            ]
            if blocks[follows].path == sentence.path and (titles := self._titles(passage, below)):
                return Quote(head + titles)
        return None

    def _neighbour(self, chosen: int, step: int) -> Candidate | None:
        """Return the sentence of running text before or behind one, in the same section."""
        at = chosen + step
        if not 0 <= at < len(self._sentences):
            return None
        own, other = self._sentences[chosen], self._sentences[at]
        if other.passage != own.passage or other.path != own.path:
            return None
        if other.kind not in ("text", "lead", "note") or other.text.rstrip().endswith(("?", "？")):
            return None
        return other


def _part(sentence: Candidate) -> Part:
    return Part(sentence.passage, sentence.start, sentence.end, sentence.kind)


def _whole(passage: int, block: PassageBlock, kind: str = "") -> Part:
    return Part(passage, block.start, block.end, kind or block.kind)


def _says(sentence: Candidate, word: str) -> bool:
    """Whether a sentence has a word, or one derived from it."""
    return not derived(word, sentence.words).isdisjoint(sentence.words)


def _covers(part: Part, sentence: Candidate) -> bool:
    return part.passage == sentence.passage and part.start <= sentence.start < part.end
