"""Pairs of a question and a window of a passage, with what is to be learned from them."""

from __future__ import annotations

import json
import lzma
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from training.reader.mishearing import mishear

__all__ = ["Drawing", "Examples", "Pair", "Passages", "read_json", "stack"]

LONGEST = 320
LONGEST_QUESTION = 64
CLS, SEP = 101, 102
TEXT_MARK = 1086
PAIRS_A_QUESTION = 3
FILLERS = (
    "so ",
    "um ",
    "please tell me, ",
    "hi, ",
    "quick question: ",
    "hello, ",
    "do you know, ",
    "",
)
LETTERS = "aeiourstlnmpbdkc"


def read_json(path: Path) -> dict[str, Any]:
    """Read compressed JSON."""
    held: dict[str, Any] = json.loads(lzma.decompress(path.read_bytes()))
    return held


@dataclass(frozen=True, slots=True)
class Drawing:
    """How pairs are drawn.

    Args:
        mix: Share of each group of questions.
        noise: Share of the questions in spoken form, by group; that of "" for all others.
        cut: Share of the passages that are also shown without what answers.
        changed: Share of the questions that are also asked about something else.
        cropped: Share of the passages of documents of which only a part is shown.
        path: Whether the headings above a window are shown.
        marks: Whether the kinds of blocks are marked.
    """

    mix: dict[str, float]
    noise: dict[str, float] = field(default_factory=lambda: {"wikipedia": 0.5, "": 0.3})
    cut: float = 0.4
    changed: float = 0.3
    cropped: float = 0.35
    path: bool = True
    marks: bool = True


@dataclass(frozen=True, slots=True)
class Pair:
    """Question and passage as tokens, with the targets.

    Args:
        ids: [CLS] question [SEP] window [SEP].
        question: Tokens up to and with the first [SEP].
        spans: First and one past the last token of each sentence that may be chosen.
        right: Which of the spans answer; () when none does.
        start: Token that starts the answer; 0, that is [CLS], when it is not known.
        end: Token that ends it.
    """

    ids: list[int]
    question: int
    spans: list[tuple[int, int]]
    right: tuple[int, ...] = ()
    start: int = 0
    end: int = 0


class Passages:
    """Passages as sentences of tokens, put together to windows as the reader does.

    Args:
        held: As `training.reader.passages` writes them.
        drawing: Whether headings and marks are shown.
    """

    def __init__(self, held: list[dict[str, Any]], drawing: Drawing) -> None:
        self._held = held
        self._drawing = drawing

    def count(self, passage: int) -> int:
        """Return the number of sentences of a passage."""
        return len(self._held[passage]["s"])

    def kinds(self, passage: int) -> list[str]:
        """Return the kind of block of each sentence of a passage."""
        kinds: list[str] = self._held[passage]["k"]
        return kinds

    def window(
        self, passage: int, order: Sequence[int], room: int
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """Return tokens and spans of some sentences, as many as there is room for."""
        held = self._held[passage]
        ids: list[int] = []
        if self._drawing.path and order:
            ids += held["heads"][held["h"][order[0]]]
        spans = []
        for number, i in enumerate(order):
            mark = held["m"][i]
            if mark and self._drawing.marks and (number or mark != TEXT_MARK):
                ids.append(mark)
            spans.append((min(len(ids), room), min(len(ids) + len(held["s"][i]), room)))
            ids += held["s"][i]
        return ids[:room], spans

    def fitting(self, passage: int, chosen: int, room: int) -> list[int]:
        """Return the run of sentences in which the reader sees one of a long passage."""
        held = self._held[passage]
        first, size = 0, len(held["heads"][held["h"][0]]) if held["h"] else 0
        for i, ids in enumerate(held["s"]):
            more = len(ids) + 1
            if size + more > room and i > first:
                if chosen < i:
                    return list(range(first, i))
                first, size = i, len(held["heads"][held["h"][i]])
            size += more
        return list(range(first, len(held["s"])))


class Examples:
    """Draws questions with passages that answer and that do not.

    Args:
        tokenizer: Of the network.
        folder: What prepare.py made.
        drawing: How to draw.
        chance: Draws.
    """

    def __init__(
        self, tokenizer: tokenizers.Tokenizer, folder: Path, drawing: Drawing, chance: random.Random
    ) -> None:
        held = read_json(folder / "training.json.xz")
        words = read_json(folder / "misheard.json.xz")
        self._tokenizer = tokenizer
        self._drawing = drawing
        self._chance = chance
        self._table, self._counts = words["alternatives"], words["counts"]
        self.passages = Passages(held["passages"], drawing)
        self.groups: dict[str, list[dict[str, Any]]] = {}
        for question in held["questions"]:
            if drawing.mix.get(question["g"], 0) > 0:
                self.groups.setdefault(question["g"], []).append(question)

    def reseeded(self, seed: object) -> Examples:
        """Return the same with draws of its own."""
        other = object.__new__(Examples)
        other.__dict__.update(self.__dict__)
        other._chance = random.Random(str(seed))
        return other

    def words(self, question: dict[str, Any], text: str | None = None) -> str:
        """Return a question as typed, as spoken or as misrecognised; a changed one as typed."""
        chance = self._chance
        noise = self._drawing.noise
        if text is None and chance.random() < noise.get(question["g"], noise[""]):
            level = chance.choice((0.0, 0.4, 0.8, 1.2))
            return mishear(question["s"], self._table, self._counts, chance, level)
        said = str(question["t"]) if text is None else text
        if question["g"] == "wikipedia":
            return said
        if chance.random() < 0.15:
            said = chance.choice(FILLERS) + said
        if chance.random() < 0.2:
            said = said.rstrip("?. ") + chance.choice(("", "?", " ?", "??"))
        return self._with_typo(said) if chance.random() < 0.12 else said

    def _with_typo(self, said: str) -> str:
        places = [
            i for i, letter in enumerate(said[:-1]) if letter.isalpha() and said[i + 1].isalpha()
        ]
        if not places:
            return said
        i = self._chance.choice(places)
        changes = (
            said[i + 1] + said[i],
            said[i],
            said[i] + self._chance.choice(LETTERS) + said[i + 1],
        )
        return said[:i] + self._chance.choice(changes) + said[i + 2 :]

    def draw(self, question: dict[str, Any]) -> list[Pair]:
        """Return the pairs of a question."""
        head = self._head(self.words(question))
        pairs: list[Pair] = []
        chance = self._chance
        if question["own"]:
            passage, right, exact = chance.choice(question["own"])
            own = self._own(head, question, passage, right, exact)
            pairs += [own] if own else []
            if question["changed"] and chance.random() < self._drawing.changed:
                other = self._head(self.words(question, chance.choice(question["changed"])))
                pairs.append(
                    self._without(other, question, passage, range(self.passages.count(passage)))
                )
            elif chance.random() < self._drawing.cut:
                rest = [i for i in range(self.passages.count(passage)) if i not in right]
                if rest and (exact is None or not self._repeated(passage, rest, exact)):
                    pairs.append(self._without(head, question, passage, rest))
        for passage, sentence in self._others(question, PAIRS_A_QUESTION - len(pairs)):
            count = self.passages.count(passage)
            pairs.append(self._without(head, question, passage, range(count), sentence))
        return pairs

    def _others(self, question: dict[str, Any], count: int) -> list[list[int]]:
        """Draw passages that do not answer; those that tempt come first."""
        chance = self._chance
        found: list[list[int]] = []
        pools = [question[name] for name in ("hard", "near", "far") if question[name]]
        while len(found) < count and pools:
            weights = [
                3 if pool is question["hard"] else 2 if pool is question["near"] else 1
                for pool in pools
            ]
            found.append(chance.choice(chance.choices(pools, weights)[0]))
        return found

    def _head(self, text: str) -> list[int]:
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids[:LONGEST_QUESTION]
        return [CLS, *ids, SEP]

    def _own(
        self, head: list[int], question: dict[str, Any], passage: int, right: list[int],
        exact: list[int] | None,
    ) -> Pair | None:  # fmt: skip
        room = LONGEST - len(head) - 1
        order = self.passages.fitting(passage, right[0], room)
        if question["g"] != "wikipedia" and self._chance.random() < self._drawing.cropped:
            order = self._cropped(order, [i for i in order if i in right])
        order = self._mixed(passage, order)
        ids, spans = self.passages.window(passage, order, room)
        shift = len(head)
        spans = [(a + shift, b + shift) for a, b in spans]
        place = {i: n for n, i in enumerate(order)}
        good = tuple(
            place[i] for i in right if i in place and spans[place[i]][1] > spans[place[i]][0]
        )
        if not good:
            return None
        start = end = 0
        if exact is not None and exact[0] in place and exact[2] in place:
            start, end = spans[place[exact[0]]][0] + exact[1], spans[place[exact[2]]][0] + exact[3]
            if end >= shift + len(ids):
                return None
        return Pair([*head, *ids, SEP], shift, spans, good, start, end)

    def _without(
        self, head: list[int], question: dict[str, Any], passage: int, sentences: Sequence[int],
        tempting: int = -1,
    ) -> Pair:  # fmt: skip
        """Return a pair without answer, of some sentences of a passage."""
        room = LONGEST - len(head) - 1
        chance = self._chance
        seen = self.passages.fitting(passage, max(tempting, 0), room)
        order = [i for i in seen if i in set(sentences)]
        if question["g"] != "wikipedia" and chance.random() < self._drawing.cropped and order:
            order = self._cropped(order, [tempting if tempting in order else chance.choice(order)])
        ids, spans = self.passages.window(passage, self._mixed(passage, order), room)
        shift = len(head)
        return Pair([*head, *ids, SEP], shift, [(a + shift, b + shift) for a, b in spans])

    def _cropped(self, order: list[int], needed: list[int]) -> list[int]:
        """Return a run of sentences with those that are needed and a few around them."""
        if not needed:
            return order
        first, last = order.index(min(needed)), order.index(max(needed))
        more = self._chance.choice((0, 0, 1, 3, 8))
        return order[
            max(0, first - self._chance.randint(0, more)) : last + 1 + self._chance.randint(0, more)
        ]

    def _mixed(self, passage: int, order: list[int]) -> list[int]:
        """Return the sentences with the rows of each table in any order, half of the time."""
        if self._chance.random() < 0.5:
            return order
        kinds = self.passages.kinds(passage)
        mixed = list(order)
        at = 0
        while at < len(mixed):
            end = at
            while end < len(mixed) and kinds[mixed[end]] in ("row", "field"):
                end += 1
            part = mixed[at:end]
            self._chance.shuffle(part)
            mixed[at:end] = part
            at = max(end, at + 1)
        return mixed

    def _repeated(self, passage: int, rest: Sequence[int], exact: list[int]) -> bool:
        """Whether an answer stands in other sentences, too."""
        ids = self.passages._held[passage]["s"]
        answer = ids[exact[0]][exact[1] : exact[3] + 1] if exact[0] == exact[2] else []
        return bool(answer) and any(
            ids[i][at : at + len(answer)] == answer for i in rest for at in range(len(ids[i]))
        )

    def batches(self, size: int) -> Iterator[list[Pair]]:
        """Yield batches endlessly: pairs of about `size` questions, of similar length."""
        names = [name for name in self._drawing.mix if name in self.groups]
        shares = [self._drawing.mix[name] for name in names]
        orders = {name: _endless(self.groups[name], self._chance) for name in names}
        while True:
            drawn: list[Pair] = []
            for _ in range(8 * size):
                drawn += self.draw(next(orders[self._chance.choices(names, shares)[0]]))
            drawn.sort(key=lambda pair: len(pair.ids))
            step = PAIRS_A_QUESTION * size
            groups = [drawn[i : i + step] for i in range(0, len(drawn) - step // 2, step)]
            self._chance.shuffle(groups)
            yield from groups


def _endless(questions: list[dict[str, Any]], chance: random.Random) -> Iterator[dict[str, Any]]:
    order = list(questions)
    while True:
        chance.shuffle(order)
        yield from order


def stack(pairs: Sequence[Pair]) -> dict[str, NDArray[Any]]:
    """Pad pairs to one length.

    Returns:
        `ids` and `kinds` [B, T]; `mask`, where there is a token; `open`, which may be chosen;
        `inside`, which lie in a sentence that answers, or [CLS] when none does; `ends`, [B, 2],
        start and end of the answer, -1 when only the sentence is known.
    """
    width = -(-max(len(pair.ids) for pair in pairs) // 16) * 16
    ids = np.zeros((len(pairs), width), np.int64)
    kinds = np.zeros_like(ids)
    mask, opened, inside = (np.zeros_like(ids, dtype=bool) for _ in range(3))
    ends = np.full((len(pairs), 2), -1)
    for row, pair in enumerate(pairs):
        ids[row, : len(pair.ids)] = pair.ids
        kinds[row, pair.question : len(pair.ids)] = 1
        mask[row, : len(pair.ids)] = True
        for a, b in pair.spans:
            opened[row, a:b] = True
        for i in pair.right:
            inside[row, pair.spans[i][0] : pair.spans[i][1]] = True
        if pair.start or not pair.right:
            ends[row] = pair.start, pair.end
        inside[row, 0] = not pair.right
    opened[:, 0] = True
    return {
        "ids": ids,
        "kinds": kinds,
        "mask": mask,
        "open": opened,
        "inside": inside,
        "ends": ends,
    }
