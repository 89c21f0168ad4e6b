"""Questions of four sets over one collection: found, answered, and rightly declined?

    python -m benchmarks.answers.shared_store --data DATA [--limit N] [--out FILE.md]

HeySQuAD in three forms, HotpotQA and RGB share one collection of an embedded Postgres; all
questions are typed. RGB is asked again without the passages that answer, and without all others
that hold the answer's words. Questions of NQ-open are about other things.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import chart
from benchmarks.answers.lookups import READ, Lookup, look_up
from benchmarks.answers.shares import Share, share
from benchmarks.speech.retrieval_figures import estimate
from benchmarks.speech.typed_sets import FORMS, Asked, load_mixed
from voicerag_core import Answer, Passage, Sampling
from voicerag_core.local.model import LocalVoiceModel
from voicerag_core.local.reading.answer_scorer import AnswerScorer
from voicerag_core.local.reading.reader import Reader

NEAR_MISS = "RGB without what answers"
ELSEWHERE = "NQ-open"
FOREIGN = 300
"""Questions of NQ-open that are asked: the first of the file."""

LEAST_AHEAD = {**dict(zip(FORMS, (4, 8, 6), strict=True)), "HotpotQA": 6, "RGB": 4}
"""Points of R@1 that the default is to be ahead of the vector alone."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a question.

    Args:
        asked: The question.
        answer: Of the reader.
        cited: Ids of the passages that it quotes.
    """

    asked: Asked
    answer: Answer
    cited: frozenset[str]

    @property
    def verdict(self) -> str:
        """Return "gold", "both", "wrong" or "declined".

        "both": a question with yes or no for an answer, and passages on both sides are quoted.
        """
        if not self.answer.answered:
            return "declined"
        if settled := {"yes", "no"}.intersection(map(str.lower, self.asked.gold)):
            if normal(self.answer.text).split(" ", 1)[0] in settled:
                return "gold"
            return "both" if self.cited.issuperset(self.asked.right) else "wrong"
        return "gold" if holds(self.answer.text, self.asked.gold) else "wrong"


def normal(text: str) -> str:
    """Return a text in lower case without accents, articles and marks."""
    flat = unicodedata.normalize("NFKD", text.lower().replace("&", " and "))
    plain = "".join(letter for letter in flat if not unicodedata.combining(letter))
    words = re.findall(r"\w+", re.sub(r"(?<=\d),(?=\d{3})", "", plain))
    return " ".join(word for word in words if word not in ("a", "an", "the"))


def holds(text: str, gold: Iterable[str]) -> bool:
    """Tell whether a text holds an answer, in any of the ways to write it."""
    padded = f" {normal(text)} "
    return any(f" {normal(one)} " in padded for one in gold)


def near_misses(passages: Mapping[str, Passage], asked: Asked, found: Lookup) -> list[Passage]:
    """Return what is found for a question when no passage with the answer is there."""
    return [
        passages[name]
        for name in found.default
        if name not in asked.right and not holds(passages[name].text, asked.gold)
    ][:READ]


def load_foreign(path: Path) -> Iterator[Asked]:
    """Read questions of NQ-open."""
    for line in path.read_text("utf-8").splitlines()[:FOREIGN]:
        one = json.loads(line)
        yield Asked(ELSEWHERE, one["question"] + "?", (), False, tuple(one["answer"]))


def answered(reader: LocalVoiceModel, question: str, passages: Sequence[Passage]) -> Answer:
    """Ask the product's model with its passages at hand."""
    return sum(reader.respond(question, passages, sampling=Sampling()), Answer())


def read_all(
    passages: Mapping[str, Passage], asked: Sequence[Asked], found: Sequence[Lookup]
) -> dict[str, list[Outcome]]:
    """Answer HotpotQA, RGB with the answer and without, and NQ-open."""
    reader = LocalVoiceModel(Reader(AnswerScorer()))
    outcomes: dict[str, list[Outcome]] = {}
    for one, own in zip(asked, found, strict=True):
        if one.set in FORMS:
            continue
        given = {one.set: [passages[name] for name in own.default[:READ]]}
        if one.set == "RGB":
            given[NEAR_MISS] = near_misses(passages, one, own)
        for name, near in given.items():
            answer = answered(reader, one.question, near)
            cited = frozenset(place.passage_id for place in answer.citations)
            outcomes.setdefault(name, []).append(Outcome(one, answer, cited))
    return outcomes


def recall_rows(asked: Sequence[Asked], found: Sequence[Lookup]) -> list[list[str]]:
    """Return the rows of the table of what the search finds."""
    rows = []
    for name, least in LEAST_AHEAD.items():
        own = [(one, it) for one, it in zip(asked, found, strict=True) if one.set == name]
        firsts = {
            (way, cut): [any(key in one.right for key in getattr(it, way)[:cut]) for one, it in own]
            for way in ("vector", "default")
            for cut in (1, 4)
        }
        ahead = [
            float(a) - float(b)
            for a, b in zip(firsts["default", 1], firsts["vector", 1], strict=True)
        ]
        shares = [str(share(flags)) for flags in firsts.values()]
        rows.append([name, *shares, estimate(ahead).points(), f"+{least}"])
    return rows


def answer_rows(outcomes: Mapping[str, Sequence[Outcome]]) -> list[list[str]]:
    """Return the rows of the table of answers to questions that the passages answer."""
    groups = {
        "RGB": outcomes["RGB"],
        "HotpotQA": outcomes["HotpotQA"],
        "HotpotQA, yes or no": [o for o in outcomes["HotpotQA"] if _is_yes_or_no(o)],
        "HotpotQA, others": [o for o in outcomes["HotpotQA"] if not _is_yes_or_no(o)],
    }
    names = ("gold", "both", "wrong", "declined")
    return [
        [name, *(str(_share(own, verdict)) for verdict in names)] for name, own in groups.items()
    ]


def _is_yes_or_no(outcome: Outcome) -> bool:
    return outcome.asked.gold[0].lower() in ("yes", "no")


def _share(outcomes: Sequence[Outcome], verdict: str) -> Share:
    return share(outcome.verdict == verdict for outcome in outcomes)


def listed(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the lines of a list of questions that were answered, to be judged by eye."""
    lines = []
    for one in outcomes:
        if one.answer.answered:
            mark = ", gold in it" if holds(one.answer.text, one.asked.gold) else ""
            lines.append(f"- {one.asked.question} (gold: {one.asked.gold[0]}{mark})")
            lines.append(f"  {' '.join(one.answer.text.split())}")
    return [*lines, ""]


def report(
    passages: Sequence[Passage], asked: Sequence[Asked], found: Sequence[Lookup],
    outcomes: Mapping[str, Sequence[Outcome]],
) -> list[str]:  # fmt: skip
    """Return the lines of the report."""
    when = f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores"
    refused = [[name, str(_share(outcomes[name], "declined"))] for name in (NEAR_MISS, ELSEWHERE)]
    answered_ways = ["passages", "gold in the answer", "both sides quoted", "wrong", "declined"]
    return [
        "# Answers over one collection of several sets",
        "",
        f"{when}, load average {os.getloadavg()[0]:.1f} at the end. Command:",
        "",
        "    python -m benchmarks.answers.shared_store --data DATA",
        "",
        *chart.paragraph(
            f"HeySQuAD, HotpotQA and RGB in one collection of {len(passages):,} passages, typed, "
            "no chat model, ten passages at hand. No weight and no threshold is computed from "
            "these sets, but rules that decline were written with RGB's failures at hand: its "
            "figures flatter. Shares with Wilson's interval of 95 %; that of points is a paired "
            "bootstrap."
        ),
        "## Found",
        "",
        *chart.paragraph(
            "'vector': the vector alone, over vectors without titles. 'default': what "
            "`VoiceRAG.retrieve` does. Of HotpotQA one of the two supporting paragraphs counts."
        ),
        *chart.table(
            ["questions", "vector R@1", "vector R@4", "default R@1", "default R@4",
             "R@1 ahead, points", "at least"],
            recall_rows(asked, found),
        ),
        "## Answered",
        "",
        *chart.paragraph(
            "'gold': the answer's words are in what is quoted. 'both sides quoted': a question "
            "with yes or no for an answer, answered by quoting both supporting paragraphs."
        ),
        *chart.table(answered_ways, answer_rows(outcomes)),
        "## Declined",
        "",
        *chart.paragraph(
            f"'{NEAR_MISS}': each question without its right passages and all others that hold "
            "the answer's words; what is about the same thing in another year, edition or person "
            f"stays. {ELSEWHERE}: the first {len(outcomes[ELSEWHERE])} questions of its "
            "development part."
        ),
        *chart.table(["questions", "declined"], refused),
        f"Answered of {NEAR_MISS} (to be read: some are true, told without the gold's words):",
        "",
        *listed(outcomes[NEAR_MISS]),
        f"Answered of {ELSEWHERE}:",
        "",
        *listed(outcomes[ELSEWHERE]),
        "Answered of HotpotQA, neither with the gold nor with both sides:",
        "",
        *listed([one for one in outcomes["HotpotQA"] if one.verdict == "wrong"]),
    ]  # fmt: skip


def first_of_each(asked: Sequence[Asked], limit: int | None) -> list[Asked]:
    """Return the first questions of each set."""
    names = dict.fromkeys(one.set for one in asked)
    return [one for name in names for one in [a for a in asked if a.set == name][:limit]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with heysquad, hotpotqa, rgb and nq_open"
    )
    parser.add_argument("--limit", type=int, help="ask only the first questions of each set")
    parser.add_argument("--vectors", type=Path, help=".npz file that keeps vectors between runs")
    parser.add_argument("--found", type=Path, help=".json file that keeps what the search finds")
    parser.add_argument("--out", type=Path, help="write the report")
    given = parser.parse_args()
    passages, asked = load_mixed(given.data)
    asked += load_foreign(given.data / "nq_open" / "NQ-open.dev.jsonl")
    asked = first_of_each(asked, given.limit)
    found = look_up(passages, asked, vectors=given.vectors, kept=given.found)
    outcomes = read_all({passage.id: passage for passage in passages}, asked, found)
    text = report(passages, asked, found, outcomes)
    if given.out:
        chart.write_text(given.out, text)
    print("\n".join(text))


if __name__ == "__main__":
    main()
