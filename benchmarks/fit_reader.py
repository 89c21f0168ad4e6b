"""Fit the reader's weights and threshold on half of XQuAD English, and report on the other half.

    python benchmarks/fit_reader.py xquad.en.json [--heysquad FOLDER]

Development is the first 24 titles in sorted order; weights and threshold see nothing else. The
report: how often the chosen sentence contains the gold answer, and how well the reader tells that
the documents do not answer (the right paragraph is left out of the search). With the folder of
HeySQuAD the fitted reader also meets questions as written, as said and as a recogniser heard
them, on paragraphs and titles that development does not have.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from retrieval_quality import Asked, embed_sentences, load_squad, paragraph_scores

from voicerag_core.local.evidence import MEASURES, candidates, measure
from voicerag_core.local.minilm import MiniLMEmbedder
from voicerag_core.local.reader import MOST_PASSAGES, PREVIEW_WEIGHTS, Reader, examine
from voicerag_core.types import Audio, Embedding, Embeddings, Passage

DEVELOPMENT_TITLES = 24
Table = NDArray[np.float64]


class RememberingEmbedder:
    """MiniLM that embeds every text once."""

    transcribes = True

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


def retrieve(embedder: RememberingEmbedder, path: Path) -> list[tuple[str, Case, Case]]:
    """Give for each question its title, and the case with and without the right paragraph."""
    paragraphs, titles, asked = load_squad(path)
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


def fit_logistic(scores: Table, answerable: Table) -> tuple[float, float]:
    """Fit slope and offset of a logistic curve by Newton's method."""
    design = np.stack((scores, np.ones_like(scores)), axis=1)
    line = np.zeros(2)
    for _ in range(50):
        chance = 1 / (1 + np.exp(-design @ line))
        curvature = design.T @ (design * (chance * (1 - chance))[:, None])
        line += np.linalg.solve(curvature, design.T @ (answerable - chance))
    return float(line[0]), float(line[1])


def auroc(positive: Table, negative: Table) -> float:
    """Give the chance that a positive scores above a negative; a tie is half."""
    above = (positive[:, None] > negative[None, :]).mean()
    level = (positive[:, None] == negative[None, :]).mean()
    return float(above + level / 2)


@dataclass(frozen=True, slots=True)
class Measured:
    """A case with what is known of the sentences on its shortlist.

    Args:
        case: The case.
        texts: The sentences.
        table: Their measures.
    """

    case: Case
    texts: tuple[str, ...]
    table: Table

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which of the sentences contain the gold answer."""
        return np.array([self.case.right(text) for text in self.texts], dtype=np.bool_)


def look(case: Case, embedder: RememberingEmbedder, preview: Table) -> Measured:
    sentences, kept, table = examine(
        case.asked.question, case.found, embedder, preview_weights=preview
    )
    return Measured(case, tuple(sentences[i].text for i in kept), table)


def look_without_vectors(case: Case) -> Measured:
    sentences = candidates(case.found)
    table = measure(case.asked.question, case.found, sentences)
    return Measured(case, tuple(one.text for one in sentences), table[:, : len(PREVIEW_WEIGHTS)])


def compare(
    name: str, present: list[Measured], absent: list[Measured], score: Callable[[Table], Table]
) -> None:
    """Print one row of the table of variants."""
    hits = [bool(one.right[score(one.table).argmax()]) for one in present]
    area = auroc(
        np.array([score(one.table).max() for one in present]),
        np.array([score(one.table).max() for one in absent]),
    )
    print(f"  {name:<38} {np.mean(hits):.3f}   {area:.3f}")


def report_reader(reader: Reader, present: list[Case], absent: list[Case]) -> None:
    """Print what a user of the finished reader meets."""
    read = [(case, reader.read(case.asked.question, case.found)) for case in (*present, *absent)]
    ours = [(case, one) for case, one in read if case.answerable]
    answered = [(case, one) for case, one in ours if one.answered]
    right = sum(case.right(one.text) for case, one in answered)
    found = sum(str(case.asked.paragraph) in {p.id for p in case.found} for case, _ in ours)
    declined = sum(not one.answered for case, one in read if not case.answerable)
    area = auroc(
        np.array([one.score for case, one in read if case.answerable]),
        np.array([one.score for case, one in read if not case.answerable]),
    )
    print(
        f"  answerable {len(ours)}: right paragraph found {found / len(ours):.3f}, "
        f"answered {len(answered) / len(ours):.3f}, "
        f"gold answer in the text {right / len(ours):.3f} of all, "
        f"{right / len(answered):.3f} of the answered\n"
        f"  right paragraph left out {len(absent)}: declined {declined / len(absent):.3f}; "
        f"AUROC {area:.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("xquad", type=Path, help="XQuAD English, in SQuAD's form")
    parser.add_argument("--heysquad", type=Path, help="folder of dev-common-*-1002.json")
    options = parser.parse_args()
    embedder = RememberingEmbedder()
    cases = retrieve(embedder, options.xquad)
    ours = set(sorted({title for title, _, _ in cases})[:DEVELOPMENT_TITLES])

    words = [look_without_vectors(case) for title, case, _ in cases if title in ours]
    preview = fit_choice([one.table for one in words], [one.right for one in words])
    developed = [
        (look(present, embedder, preview), look(absent, embedder, preview))
        for title, present, absent in cases
        if title in ours
    ]
    weights = fit_choice([one.table for one, _ in developed], [one.right for one, _ in developed])
    best = np.array([[(one.table @ weights).max() for one in pair] for pair in developed])
    truth = np.tile([1.0, 0.0], (len(best), 1))
    slope, offset = fit_logistic(best.ravel(), truth.ravel())
    chance = 1 / (1 + np.exp(-(slope * best + offset)))
    grid = np.linspace(0.05, 0.95, 181)
    gain = [(chance[:, 0] >= cut).mean() - (chance[:, 1] >= cut).mean() for cut in grid]
    print(f"development: {len(developed)} questions")
    print("  PREVIEW_WEIGHTS   ", dict(zip(MEASURES, preview.round(2).tolist(), strict=False)))
    print("  WEIGHTS           ", dict(zip(MEASURES, weights.round(2).tolist(), strict=True)))
    print(f"  ANSWERED_SLOPE     {slope:.3f}\n  ANSWERED_OFFSET    {offset:.3f}")
    print(f"  LEAST_PROBABILITY  {grid[int(np.argmax(gain))]:.3f} (largest right minus wrong)")

    held_out = [(present, absent) for title, present, absent in cases if title not in ours]
    looked = [[look(case, embedder, preview) for case in pair] for pair in held_out]
    present, absent = [pair[0] for pair in looked], [pair[1] for pair in looked]
    print(f"report: {len(held_out)} questions\n  {'variant':<38} gold in  AUROC")
    by_words = [[look_without_vectors(case) for case in pair] for pair in held_out]
    nearest = [[nearest_sentences(case, embedder) for case in pair] for pair in held_out]
    compare("nearest sentence (baseline)", [p[0] for p in nearest], [p[1] for p in nearest],
            lambda t: t[:, MEASURES.index("cosine")])  # fmt: skip
    compare("shared words alone", [p[0] for p in by_words], [p[1] for p in by_words],
            lambda t: t[:, MEASURES.index("overlap")])  # fmt: skip
    compare("all but the vectors", [p[0] for p in by_words], [p[1] for p in by_words],
            lambda t: t @ preview)  # fmt: skip
    compare("shortlist of 8, all measures", present, absent, lambda t: t @ weights)
    print("the reader as it stands in the package:")
    reader = Reader(embedder)
    report_reader(reader, [p for p, _ in held_out], [a for _, a in held_out])
    if options.heysquad:
        report_heysquad(reader, embedder, options, ours)


def nearest_sentences(case: Case, embedder: RememberingEmbedder) -> Measured:
    """Measure every sentence of a case by its vector."""
    sentences = candidates(case.found)
    rows = embedder.embed_texts([case.asked.question, *(one.text for one in sentences)])
    cosines = (rows[1:] @ rows[0]).astype(np.float64)
    table = measure(case.asked.question, case.found, sentences, cosines)
    return Measured(case, tuple(one.text for one in sentences), table)


def report_heysquad(
    reader: Reader, embedder: RememberingEmbedder, options: argparse.Namespace, ours: set[str]
) -> None:
    """Print how the reader does on unseen paragraphs, and on spoken questions."""
    known = set(load_squad(options.xquad)[0])
    for form in ("original", "human-transcribed", "machine-transcribed"):
        cases = retrieve(embedder, options.heysquad / f"dev-common-{form}-1002.json")
        fresh = [
            (present, absent)
            for title, present, absent in cases
            if title not in ours and not known.intersection(one.text for one in present.found)
        ]
        print(f"HeySQuAD, {form}:")
        report_reader(reader, [p for p, _ in fresh], [a for _, a in fresh])


if __name__ == "__main__":
    main()
