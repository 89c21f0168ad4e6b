"""Fit the reader's weights and threshold on half of XQuAD English, and report on the other half.

    python benchmarks/fit_reader.py xquad.en.json [--heysquad FOLDER]

Development is the first 24 titles in sorted order, with its questions as written and misheard
(xquad_misheard.tsv); weights and threshold see nothing else. The report: how often the chosen
sentence contains the gold answer, and how well the reader tells that the documents do not answer
(the right paragraph is left out of the search), beside the reader that voicerag had before
(features_reader.py). With the folder of HeySQuAD both readers also meet questions as written, as
said and as a recogniser heard them, on paragraphs and titles that development does not have.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from features_reader import FeaturesReader
from numpy.typing import NDArray
from retrieval_quality import Asked, embed_sentences, load_squad, paragraph_scores

from voicerag_core.local.minilm import MiniLMEmbedder
from voicerag_core.local.reading.answer_scorer import SCORES, AnswerScorer
from voicerag_core.local.reading.features import MEASURES, Candidate, candidates
from voicerag_core.local.reading.reader import MOST_PASSAGES, WEIGHTS, Reader, Reading, examine
from voicerag_core.types import Audio, Embedding, Embeddings, Passage

DEVELOPMENT_TITLES = 24
MISHEARD = Path(__file__).with_name("xquad_misheard.tsv")
SHORT = 4000
"""Characters of passages that are surely read whole, so that each may be scored by itself."""
TIMED = 60
COLUMNS = (*MEASURES, *SCORES)
Table = NDArray[np.float64]


class AnyReader(Protocol):
    """A reader under test."""

    def read(self, question: str, passages: Sequence[Passage]) -> Reading:
        """Read the answer out of the passages."""
        ...


class RememberingScorer:
    """The packaged scorer; reads every passage once for a question."""

    def __init__(self, scorer: AnswerScorer) -> None:
        self._scorer = scorer
        self._known: dict[tuple[str, str], Table] = {}

    def score(
        self,
        question: str,
        passages: Sequence[Passage],
        sentences: Sequence[Candidate],
        preview: Table,
    ) -> Table:
        """Score sentences."""
        if sum(len(passage.text) for passage in passages) > SHORT:
            return self._scorer.score(question, passages, sentences, preview)
        rows = []
        for passage in passages:
            if (key := (question, passage.text)) not in self._known:
                own = candidates([passage])
                nothing = np.zeros(len(own))
                self._known[key] = self._scorer.score(question, [passage], own, nothing)
            rows.append(self._known[key])
        return np.concatenate(rows)


class RememberingEmbedder:
    """MiniLM that embeds every text once."""

    needs_transcriber = True

    def __init__(self) -> None:
        self._embedder = MiniLMEmbedder()
        self.model_id, self.dim = self._embedder.model_id, self._embedder.dim
        self._known: dict[str, Embedding] = {}

    def embed_texts(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts, each of them once."""
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        self._known.update(zip(new, self._embedder.embed_texts(new), strict=True))
        return np.stack([self._known[text] for text in texts])

    def embed_speech(self, clips: Sequence[Audio]) -> Embeddings:
        """Embed clips."""
        return self._embedder.embed_speech(clips)


@dataclass(frozen=True, slots=True)
class Case:
    """A question with the passages that were found for it.

    Args:
        asked: The question and its answer.
        found: Best first.
        answerable: False when the right paragraph was left out of the search.
    """

    asked: Asked
    found: tuple[Passage, ...]
    answerable: bool

    def right(self, text: str) -> bool:
        """Tell whether a text contains the gold answer."""
        return self.asked.answer.lower() in text.lower()


def retrieve(
    embedder: RememberingEmbedder, path: Path, said: Mapping[str, str] | None = None
) -> list[tuple[str, Case, Case]]:
    """Return for each question its title, and the case with and without the right paragraph.

    Args:
        embedder: For the search.
        path: A file in SQuAD's form.
        said: What to ask instead of each question; the others are left out.
    """
    paragraphs, titles, asked = load_squad(path)
    if said is not None:
        asked = [
            replace(one, question=said[one.question.strip()])
            for one in asked
            if one.question.strip() in said
        ]
    passages = [
        Passage(str(i), text, {"title": title})
        for i, (text, title) in enumerate(zip(paragraphs, titles, strict=True))
    ]
    sentences, owners = embed_sentences(embedder, paragraphs)
    vectors = np.concatenate((embedder.embed_texts(paragraphs), sentences))
    owners = np.concatenate((np.arange(len(paragraphs)), owners))
    questions = embedder.embed_texts([one.question for one in asked])
    scores = paragraph_scores(questions, vectors, owners, len(paragraphs))
    cases = []
    for one, row in zip(asked, scores, strict=True):
        order = np.argsort(-row, kind="stable").tolist()
        others = [i for i in order if i != one.paragraph]
        pair = [
            Case(one, tuple(passages[i] for i in ranked[:MOST_PASSAGES]), answerable)
            for ranked, answerable in ((order, True), (others, False))
        ]
        cases.append((titles[one.paragraph], pair[0], pair[1]))
    return cases


def fit_choice(tables: Sequence[Table], right: Sequence[NDArray[np.bool_]]) -> Table:
    """Maximise the probability that a softmax over the sentences gives to the right ones."""
    usable = [(t, r) for t, r in zip(tables, right, strict=True) if r.any()]
    rows = np.concatenate([table for table, _ in usable])
    good = np.concatenate([flags for _, flags in usable])
    group = np.repeat(np.arange(len(usable)), [len(flags) for _, flags in usable])
    spread = rows.std(axis=0) + 1e-9
    rows = rows / spread
    weights = np.zeros(rows.shape[1])
    for _ in range(4000):
        logits = rows @ weights
        mass = np.exp(logits - logits.max())
        chance = mass / np.bincount(group, mass)[group]
        target = mass * good
        target /= np.bincount(group, target)[group]
        slope = rows.T @ (chance - target) / len(usable) + 0.01 * weights
        weights -= 0.3 * slope
    fitted: Table = weights / spread
    return fitted


def fit_logistic(rows: Table, answerable: Table) -> tuple[Table, float]:
    """Fit weights and offset of a logistic curve by Newton's method, with a small ridge."""
    mean, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-9
    design = np.hstack(((rows - mean) / spread, np.ones((len(rows), 1))))
    ridge = np.diag([1.0] * rows.shape[1] + [0.0])
    line = np.zeros(design.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-design @ line))
        curvature = design.T @ (design * (chance * (1 - chance))[:, None]) + ridge
        line += np.linalg.solve(curvature, design.T @ (answerable - chance) - ridge @ line)
    weights: Table = line[:-1] / spread
    return weights, float(line[-1] - weights @ mean)


def auroc(positive: Table, negative: Table) -> float:
    """Return the chance that a positive scores above a negative; a tie is half."""
    above = (positive[:, None] > negative[None, :]).mean()
    level = (positive[:, None] == negative[None, :]).mean()
    return float(above + level / 2)


@dataclass(frozen=True, slots=True)
class Measured:
    """A case with what is known of the sentences that were read.

    Args:
        case: The case.
        texts: The sentences.
        table: Their measures and scores.
    """

    case: Case
    texts: tuple[str, ...]
    table: Table

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which of the sentences contain the gold answer."""
        return np.array([self.case.right(text) for text in self.texts], dtype=np.bool_)

    def chosen(self, weights: Table) -> Table:
        """Return the row of the best sentence."""
        row: Table = self.table[(self.table @ weights).argmax()]
        return row


def look(case: Case, scorer: RememberingScorer) -> Measured:
    sentences, kept, table = examine(case.asked.question, case.found, scorer)
    return Measured(case, tuple(sentences[i].text for i in kept), table)


def compare(
    name: str, pairs: Sequence[tuple[Measured, Measured]], score: Callable[[Table], Table]
) -> None:
    """Print one row of the table of variants."""
    hits = [bool(one.right[score(one.table).argmax()]) for one, _ in pairs]
    there, gone = (np.array([score(pair[i].table).max() for pair in pairs]) for i in (0, 1))
    print(f"  {name:<42} {np.mean(hits):.3f}   {auroc(there, gone):.3f}", flush=True)


def report_readers(
    readers: Mapping[str, AnyReader], present: list[Case], absent: list[Case]
) -> None:
    """Print what a user of each reader meets."""
    found = np.mean([str(case.asked.paragraph) in {p.id for p in case.found} for case in present])
    print(f"  {len(present)} questions, right paragraph found {found:.3f}")
    for name, reader in readers.items():
        ours = [(case, reader.read(case.asked.question, case.found)) for case in present]
        gone = [reader.read(case.asked.question, case.found) for case in absent]
        answered = [(case, one) for case, one in ours if one.answered]
        right = sum(case.right(one.text) for case, one in answered)
        area = auroc(np.array([one.score for _, one in ours]), np.array([x.score for x in gone]))
        print(
            f"  {name:<9} answered {len(answered) / len(ours):.3f}, gold answer in the text "
            f"{right / len(ours):.3f} of all, {right / len(answered):.3f} of the answered; "
            f"declined when the paragraph is left out "
            f"{np.mean([not one.answered for one in gone]):.3f}; AUROC {area:.3f}",
            flush=True,
        )


def fit(pairs: Sequence[tuple[Measured, Measured]]) -> Table:
    """Print the weights and the threshold; return the weights that choose."""
    weights = fit_choice([one.table for one, _ in pairs], [one.right for one, _ in pairs])
    rows = np.array([[one.chosen(weights) for one in pair] for pair in pairs])
    truth = np.tile([1.0, 0.0], (len(rows), 1))
    answered, offset = fit_logistic(rows.reshape(-1, rows.shape[-1]), truth.ravel())
    chance = 1 / (1 + np.exp(-(rows @ answered + offset)))
    grid = np.linspace(0.05, 0.95, 181)
    gain = [(chance[:, 0] >= cut).mean() - (chance[:, 1] >= cut).mean() for cut in grid]
    words = [one.table[:, : len(MEASURES)] for one, _ in pairs]
    preview = fit_choice(words, [one.right for one, _ in pairs])
    print(f"development: {len(pairs)} questions")
    print("  PREVIEW_WEIGHTS   ", dict(zip(MEASURES, preview.round(2).tolist(), strict=True)))
    print("  WEIGHTS           ", dict(zip(COLUMNS, weights.round(2).tolist(), strict=True)))
    print("  ANSWERED_WEIGHTS  ", dict(zip(COLUMNS, answered.round(3).tolist(), strict=True)))
    print(f"  ANSWERED_OFFSET    {offset:.3f}")
    print(f"  LEAST_PROBABILITY  {grid[int(np.argmax(gain))]:.3f} (largest right minus wrong)")
    return weights


def report_variants(pairs: Sequence[tuple[Measured, Measured]], weights: Table) -> None:
    """Print what each part of the reader is worth."""
    print("variants                                     gold in  AUROC")
    for column in ("overlap", "sentence", "span"):
        place = COLUMNS.index(column)
        compare(f"{column} alone", pairs, lambda table, place=place: table[:, place])  # type: ignore[misc]
    compare("all, as fitted", pairs, lambda table: table @ weights)
    compare("all, as in the package", pairs, lambda table: table @ WEIGHTS)


def report_nearest(cases: Sequence[tuple[Case, Case]], embedder: RememberingEmbedder) -> None:
    """Print the row of the sentence with the nearest vector."""
    pairs = []
    for pair in cases:
        looked = []
        for case in pair:
            texts = tuple(one.text for one in candidates(case.found))
            rows = embedder.embed_texts([case.asked.question, *texts])
            looked.append(Measured(case, texts, (rows[1:] @ rows[:1].T).astype(np.float64)))
        pairs.append((looked[0], looked[1]))
    compare("nearest sentence (baseline)", pairs, lambda table: table[:, 0])


def report_times(readers: Mapping[str, AnyReader], cases: Sequence[Case]) -> None:
    """Print the time of a reading, the readers in turn."""
    wall: dict[str, list[float]] = {name: [] for name in readers}
    work: dict[str, list[float]] = {name: [] for name in readers}
    for case in cases[:: max(1, len(cases) // TIMED)]:
        for name, reader in readers.items():
            started, worked = time.perf_counter(), time.process_time()
            reader.read(case.asked.question, case.found)
            wall[name].append(time.perf_counter() - started)
            work[name].append(time.process_time() - worked)
    for name in readers:
        cuts = [statistics.quantiles(times, n=20) for times in (wall[name], work[name])]
        print(
            f"  {name:<9} {len(wall[name])} readings of four passages: p50 {cuts[0][9]:.3f} s, "
            f"p95 {cuts[0][18]:.3f} s; of processors p50 {cuts[1][9]:.3f} s, "
            f"p95 {cuts[1][18]:.3f} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("xquad", type=Path, help="XQuAD English, in SQuAD's form")
    parser.add_argument("--heysquad", type=Path, help="folder of dev-common-*-1002.json")
    options = parser.parse_args()
    embedder, scorer = RememberingEmbedder(), RememberingScorer(AnswerScorer())
    lines = MISHEARD.read_text(encoding="utf-8").splitlines()
    misheard = retrieve(embedder, options.xquad, dict(line.split("\t") for line in lines))
    cases = retrieve(embedder, options.xquad)
    ours = set(sorted({title for title, _, _ in cases})[:DEVELOPMENT_TITLES])
    held_out = [(present, absent) for title, present, absent in cases if title not in ours]
    print("time:")
    fresh: dict[str, AnyReader] = {
        "features": FeaturesReader(MiniLMEmbedder()),
        "reader": Reader(AnswerScorer()),
    }
    report_times(fresh, [present for present, _ in held_out])

    developed = [
        (look(present, scorer), look(absent, scorer))
        for title, present, absent in (*cases, *misheard)
        if title in ours
    ]
    weights = fit(developed)
    print(f"report: {len(held_out)} questions")
    report_nearest(held_out, embedder)
    report_variants([(look(a, scorer), look(b, scorer)) for a, b in held_out], weights)
    readers: dict[str, AnyReader] = {
        "features": FeaturesReader(embedder),
        "reader": Reader(scorer),
    }
    print("XQuAD, the other titles:")
    report_readers(readers, [a for a, _ in held_out], [b for _, b in held_out])
    if options.heysquad:
        report_heysquad(readers, embedder, options, ours)


def report_heysquad(
    readers: Mapping[str, AnyReader],
    embedder: RememberingEmbedder,
    options: argparse.Namespace,
    ours: set[str],
) -> None:
    """Print how the readers do on unseen paragraphs, and on spoken questions."""
    known = set(load_squad(options.xquad)[0])
    for form in ("machine-transcribed", "human-transcribed", "original"):
        cases = retrieve(embedder, options.heysquad / f"dev-common-{form}-1002.json")
        fresh = [
            (present, absent)
            for title, present, absent in cases
            if title not in ours and not known.intersection(one.text for one in present.found)
        ]
        print(f"HeySQuAD, {form}:")
        report_readers(readers, [a for a, _ in fresh], [b for _, b in fresh])


if __name__ == "__main__":
    main()
