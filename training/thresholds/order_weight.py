"""Choose how much better a passage has to answer to go before one that was found earlier.

    python -m training.thresholds.order_weight RUN --data DATA --out FILE.md

RUN is a folder of `voicerag eval run RUN --data DATA` with `VOICERAG_RERANKER=none`, so that its
hits stand in the order of the search. The reader's network reads each question, as it was typed or
heard, with its first passages; a table shows for every weight how often the first passage is a
right one, on the development questions and, apart, on the others. No search is made.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import platformdirs
from numpy.typing import NDArray

from voicerag_core.evaluation.datasets import load_set
from voicerag_core.evaluation.runs import RunFolder
from voicerag_core.local.reading.answer_scorer import AnswerScorer
from voicerag_core.local.reading.reader import FIRST_PASSAGES
from voicerag_core.local.reading.reranker import ORDER_WEIGHT, ReaderReranker
from voicerag_core.types import Passage

WEIGHTS = (math.inf, 0.0, 1.0, 2.0, 3.0, ORDER_WEIGHT, 6.0, 8.0)
"""inf leaves the order of the search, 0 minds it nowhere."""

SETS = ("xquad-en", "hotpotqa", "heysquad-original", "rgb-en")

Group: TypeAlias = tuple[str, str, str]
"""Set, store, and "typed" or "spoken"."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """A question and how well its first passages answer.

    Args:
        group: What it counts for.
        development: Whether thresholds may be chosen by it.
        answers: [K] log odds of the first passages, in the order of the search.
        right: [K] whether each is a right one.
    """

    group: Group
    development: bool
    answers: NDArray[np.float64]
    right: NDArray[np.bool_]


def first_is_right(one: Sorted, weight: float) -> bool:
    """Return whether a right passage comes first with a weight of the order."""
    if math.isinf(weight):
        return bool(one.right[0])
    order = weight * np.log1p(np.arange(len(one.answers)))
    return bool(one.right[int(np.argmax(one.answers - order))])


def shares(asked: Sequence[Sorted], *, development: bool) -> dict[float, dict[Group, float]]:
    """Return for each weight the share of first passages that are right, by group."""
    groups: dict[Group, list[Sorted]] = {}
    for one in asked:
        if one.development == development:
            groups.setdefault(one.group, []).append(one)
    return {
        weight: {
            group: float(np.mean([first_is_right(one, weight) for one in own]))
            for group, own in sorted(groups.items())
        }
        for weight in WEIGHTS
    }


def table(found: Mapping[float, Mapping[Group, float]]) -> list[str]:
    """Return lines of a table with a row for each weight, and the mean of its groups."""
    names = list(next(iter(found.values())))
    head = ["weight", "mean", *(" ".join(name) for name in names)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for weight, by_group in found.items():
        values = (float(np.mean(list(by_group.values()))), *by_group.values())
        name = "order of the search" if math.isinf(weight) else f"{weight:g}"
        lines.append(f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |")
    return lines


def read(
    run: Path, data: Path, *, sets: Collection[str], conditions: Iterable[str], first: int
) -> list[Sorted]:
    """Let the network read the questions of a run with the passages that were found first."""
    reranker = ReaderReranker(AnswerScorer(data_dir=Path(platformdirs.user_data_dir("voicerag"))))
    passages: dict[str, dict[str, Passage]] = {}
    known: dict[tuple[str, ...], NDArray[np.float64]] = {}
    asked = []
    forms = {"typed", *conditions}
    records = [one for one in RunFolder(run).records() if one.set in sets and one.form in forms]
    for number, one in enumerate(records):
        words = one.text if one.form == "typed" else one.heard
        near = one.found[:first]
        if not (words and near and one.sources) or one.strategy not in {"text", "hybrid"}:
            continue
        if one.set not in passages:
            passages[one.set] = {each.id: each for each in load_set(one.set, data).passages}
        if (key := (one.set, words, *near)) not in known:
            scores = reranker.score_passages(words, [passages[one.set][each] for each in near])
            known[key] = scores + ORDER_WEIGHT * np.log1p(np.arange(len(near)))
        group = (one.set, one.store, "typed" if one.form == "typed" else "spoken")
        right = np.array([each in one.sources for each in near])
        asked.append(Sorted(group, one.development, known[key], right))
        if sys.stderr.isatty():
            print(f"\r{number + 1} of {len(records)}", end="", file=sys.stderr)
    return asked


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("run", type=Path, help="folder of a run without a reranker")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--first", type=int, default=FIRST_PASSAGES, help="passages that are read")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--conditions", nargs="*", default=["clean", "telephone"])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    asked = read(
        given.run, given.data, sets=given.sets, conditions=given.conditions, first=given.first
    )
    lines = []
    for development, title in ((True, "Development questions"), (False, "The other questions")):
        count = sum(one.development == development for one in asked)
        lines += [f"{title}: {count}", "", *table(shares(asked, development=development)), ""]
    text = "\n".join(lines)
    print(text)
    if given.out is not None:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
