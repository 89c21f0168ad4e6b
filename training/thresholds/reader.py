"""Fit the reader's weights and threshold on development questions.

    python -m training.thresholds.reader xquad.en.json --folder FOLDER --data-dir DIR

Development are the first 24 titles of XQuAD in sorted order, as written and misrecognised
(xquad_misheard.tsv), the questions on the documents that the reader's training keeps back, and the
even-numbered questions of FOLDER (`docs`, `questions.jsonl` and `score.py`). What comes out is
written into ``voicerag_core.local.reading`` by hand. `benchmarks.speech.reader` and
`benchmarks.answers.realdocs` measure the shipped reader on other questions.
"""

from __future__ import annotations

import argparse
import json
import lzma
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.speech.reader_cases import (
    COLUMNS,
    RememberingEmbedder,
    RememberingScorer,
    Table,
    development_titles,
    retrieve,
)
from training.reader.prepare import DOCUMENTS
from training.thresholds.reader_questions import folder_questions, own_questions
from training.thresholds.reader_rows import rows_of
from voicerag_core.local.reading.answer_scorer import AnswerScorer
from voicerag_core.local.reading.examined import EVIDENCE
from voicerag_core.local.reading.reader import FIRST_PASSAGES, MOST_PASSAGES
from voicerag_core.local.reading.reader_weights import (
    ANSWERED_EVIDENCE_WEIGHTS,
    ANSWERED_OFFSET,
    ANSWERED_WEIGHTS,
    EVIDENCE_WEIGHTS,
    LEAST_PROBABILITY,
    WEIGHTS,
)

MISHEARD = Path(__file__).with_name("xquad_misheard.tsv")
SHARES = {"xquad": 0.4, "own": 0.3, "folder": 0.3}
"""Weight of each set of questions, whatever their number."""

FOR = 4
"""Columns of the evidence that speak for a sentence; the others speak against it."""

RIDGE = 0.003
STEPS = 3000
CUTS = np.arange(0.3, 0.86, 0.05)
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Looked:
    """A question with what is known of the sentences that may be chosen.

    Args:
        group: Set that the question is of.
        table: [K, C]: measures, scores and evidence.
        right: [K], whether what the reader would say is right.
        answerable: Whether the passages, or other ones, answer.
    """

    group: str
    table: Table
    right: Flags
    answerable: bool


def fit_choice(cases: Sequence[Looked], start: Table) -> Table:
    """Maximise the softmax probability of the right sentences, near the weights at hand."""
    usable = [case for case in cases if case.right.any()]
    rows = np.concatenate([case.table for case in usable])
    good = np.concatenate([case.right for case in usable])
    group = np.repeat(np.arange(len(usable)), [len(case.right) for case in usable])
    share = _shares([case.group for case in usable])[group]
    spread = rows.std(axis=0) + 1e-9
    rows = rows / spread

    def slope(weights: Table) -> Table:
        logits = rows @ weights
        mass = np.exp(logits - logits.max())
        chance = mass / np.bincount(group, mass)[group]
        target = mass * good
        target /= np.bincount(group, target)[group]
        gradient: Table = rows.T @ ((chance - target) * share)
        return gradient

    fitted: Table = _descended(slope, start * spread) / spread
    return fitted


def fit_answered(cases: Sequence[Looked], weights: Table, start: Table) -> Table:
    """Fit the log odds that the chosen sentence is right; the last weight is the offset."""
    usable = [case for case in cases if len(case.table)]
    chosen = [int((case.table @ weights).argmax()) for case in usable]
    rows = np.array([[*case.table[i], 1.0] for case, i in zip(usable, chosen, strict=True)])
    truth = np.array([case.right[i] for case, i in zip(usable, chosen, strict=True)], dtype=float)
    share = _shares([case.group for case in usable])
    spread = np.append(rows[:, :-1].std(axis=0) + 1e-9, 1.0)
    rows = rows / spread

    def slope(line: Table) -> Table:
        chance = 1 / (1 + np.exp(-rows @ line))
        gradient: Table = rows.T @ ((chance - truth) * share)
        return gradient

    fitted: Table = _descended(slope, start * spread) / spread
    return fitted


def _shares(groups: Sequence[str]) -> Table:
    counts = {name: groups.count(name) for name in set(groups)}
    total = sum(SHARES[name] for name in counts)
    return np.array([SHARES[name] / total / counts[name] for name in groups])


def _descended(slope: Callable[[Table], Table], start: Table) -> Table:
    """Descend with Adam; evidence keeps its sign, and all weights stay near where they start."""
    weights, first, second = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for step in range(1, STEPS + 1):
        gradient = slope(weights) + RIDGE * (weights - start)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        rate = 0.02 * (1 - step / STEPS)
        weights -= rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        evidence = weights[len(COLUMNS) : len(COLUMNS) + len(EVIDENCE)]
        np.clip(evidence[:FOR], 0, None, out=evidence[:FOR])
        np.clip(evidence[FOR:], None, 0, out=evidence[FOR:])
    return weights


def report(name: str, cases: Sequence[Looked], weights: Table, line: Table) -> None:
    """Print what each threshold does to each set."""
    print(f"{name}: threshold, then of each set right / wrong / declined | declined rightly")
    groups = list(dict.fromkeys(case.group for case in cases))
    for cut in CUTS:
        shown = []
        for group in groups:
            own = [case for case in cases if case.group == group]
            counts = _verdicts(own, weights, line, float(cut))
            n, m = sum(counts[:3]), sum(counts[3:])
            shown.append(
                f"{group} {counts[0] / n:.3f} / {counts[1] / n:.3f} / {counts[2] / n:.3f}"
                f" | {counts[3] / max(1, m):.3f}"
            )
        print(f"  {cut:.2f}  {'   '.join(shown)}")


def _verdicts(cases: Sequence[Looked], weights: Table, line: Table, cut: float) -> list[int]:
    counts = [0] * 5
    for case in cases:
        said = False
        if len(case.table):
            i = int((case.table @ weights).argmax())
            odds = float(np.append(case.table[i], 1.0) @ line)
            said = 1 / (1 + np.exp(-odds)) >= cut
        if case.answerable:
            counts[0 if said and case.right[i] else 1 if said else 2] += 1
        else:
            counts[4 if said else 3] += 1
    return counts


def named(weights: Table) -> str:
    """Write weights with their names."""
    names = (*COLUMNS, *EVIDENCE, "offset")
    return ", ".join(f"{n} {w:.3f}" for n, w in zip(names, weights.tolist(), strict=False))


def fit(cases: Sequence[Looked]) -> None:
    """Print the weights at hand and the fitted ones, and what they do."""
    held = np.concatenate((WEIGHTS, EVIDENCE_WEIGHTS))
    answered = np.concatenate((ANSWERED_WEIGHTS, ANSWERED_EVIDENCE_WEIGHTS, [ANSWERED_OFFSET]))
    print(f"{len(cases)} cases; LEAST_PROBABILITY at hand {LEAST_PROBABILITY}")
    report("as in the package", cases, held, answered)
    weights = fit_choice(cases, held)
    line = fit_answered(cases, weights, answered)
    report("as fitted", cases, weights, line)
    print("WEIGHTS, EVIDENCE_WEIGHTS:", named(weights))
    print("ANSWERED_...:", named(line))


def xquad_cases(path: Path, scorer: RememberingScorer, every: int) -> Iterator[Looked]:
    """Yield the development titles' questions, as written and misheard, with and without answer.

    Of each title, `every`-th question.
    """
    embedder = RememberingEmbedder()
    lines = MISHEARD.read_text(encoding="utf-8").splitlines()
    misheard = retrieve(embedder, path, dict(line.split("\t") for line in lines))
    cases = retrieve(embedder, path)
    development = development_titles(cases)
    for number, (title, present, absent) in enumerate((*cases, *misheard)):
        for case in (present, absent) if title in development and number % every == 0 else ():
            rows = rows_of(scorer, case.asked.question, case.found)
            right = np.array([case.right(text) for text in rows.sentences], dtype=np.bool_)
            table = np.hstack((rows.table, rows.evidence))
            yield Looked("xquad", table, right & case.answerable, case.answerable)


def document_cases(options: argparse.Namespace, scorer: RememberingScorer) -> Iterator[Looked]:
    """Yield the questions on documents, with the passages first read and with all."""
    even = re.compile(r"\D*\d*[02468]\b")
    sets = {
        "own": own_questions(DOCUMENTS),
        "folder": folder_questions(
            options.folder, options.data_dir, lambda one: bool(even.match(one["id"]))
        ),
    }
    for group, shown in sets.items():
        for number, one in enumerate(shown):
            # Of a document's questions, runs of four: what is alike stands together.
            if group == "own" and number // 4 % options.every:
                continue
            for most in (FIRST_PASSAGES, MOST_PASSAGES):
                rows = rows_of(scorer, one.text, one.passages[:most])
                right = np.array([one.right is not None and one.right(t) for t in rows.texts], bool)
                table = np.hstack((rows.table, rows.evidence))
                yield Looked(group, table, right, one.right is not None)


def kept_cases(path: Path, make: Callable[[], Sequence[Looked]]) -> Sequence[Looked]:
    """Return the cases that a file holds, or make them and write it."""
    if not path.exists():
        cases = make()
        lines = [[c.group, c.table.tolist(), c.right.tolist(), c.answerable] for c in cases]
        path.write_bytes(lzma.compress(json.dumps(lines).encode(), preset=3))
    held: list[Any] = json.loads(lzma.decompress(path.read_bytes()))
    width = len(COLUMNS) + len(EVIDENCE)
    return [
        Looked(group, np.array(table, float).reshape(-1, width), np.array(right, bool), answerable)
        for group, table, right, answerable in held
    ]


def main() -> None:
    """Fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("xquad", type=Path, help="XQuAD English, in SQuAD's form")
    parser.add_argument("--folder", type=Path, required=True, help="documents with questions")
    parser.add_argument("--data-dir", type=Path, required=True, help="where indexes are kept")
    parser.add_argument("--every", type=int, default=1, help="look at every N-th question only")
    parser.add_argument("--kept", type=Path, help="file that keeps what was examined")
    options = parser.parse_args()

    def make() -> list[Looked]:
        scorer = RememberingScorer(AnswerScorer())
        return [
            *xquad_cases(options.xquad, scorer, options.every),
            *document_cases(options, scorer),
        ]

    fit(kept_cases(options.kept, make) if options.kept else make())


if __name__ == "__main__":
    main()
