"""Questions with the passages found for them, to fit and evaluate a reader.

Used by `benchmarks.speech.reader` to evaluate and by `training.thresholds.reader` to fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.speech.retrieval_quality import Asked, embed_sentences, load_squad, paragraph_scores
from voicerag_core.local.minilm import MiniLMEmbedder
from voicerag_core.local.reading.answer_scorer import SCORES, AnswerScorer
from voicerag_core.local.reading.examined import examine
from voicerag_core.local.reading.features import MEASURES, Candidate
from voicerag_core.local.reading.reader import FIRST_PASSAGES
from voicerag_core.types import Audio, Embedding, Embeddings, Passage

__all__ = [
    "COLUMNS",
    "Case",
    "Measured",
    "RememberingEmbedder",
    "RememberingScorer",
    "Table",
    "auroc",
    "development_titles",
    "look",
    "retrieve",
    "variant",
]

DEVELOPMENT_TITLES = 24
SHORT = 4000
"""Characters of passages that are surely read whole, so that each may be scored by itself."""
COLUMNS = (*MEASURES, *SCORES)
Table = NDArray[np.float64]
Pairs = Sequence[tuple["Measured", "Measured"]]


class RememberingScorer:
    """The packaged scorer, with a cache of results per question and passage."""

    def __init__(self, scorer: AnswerScorer) -> None:
        self._scorer = scorer
        self._known: dict[tuple[str, str, tuple[tuple[int, int], ...]], Table] = {}

    def score(
        self,
        question: str,
        passages: Sequence[Passage],
        sentences: Sequence[Candidate],
        preview: Table,
    ) -> Table:
        """Score sentences, those of each passage once."""
        if sum(len(passage.text) for passage in passages) > SHORT:
            return self._scorer.score(question, passages, sentences, preview)
        table = np.full((len(sentences), len(SCORES)), np.nan)
        for index, passage in enumerate(passages):
            rows = [row for row, one in enumerate(sentences) if one.passage == index]
            own = [replace(sentences[row], passage=0) for row in rows]
            key = (question, passage.text, tuple((one.start, one.end) for one in own))
            if key not in self._known:
                nothing = np.zeros(len(own))
                self._known[key] = self._scorer.score(question, [passage], own, nothing)
            table[rows] = self._known[key]
        return table


class RememberingEmbedder:
    """MiniLM with a cache."""

    needs_transcriber = True

    def __init__(self) -> None:
        self._embedder = MiniLMEmbedder()
        self.model_id, self.dim = self._embedder.model_id, self._embedder.dim
        self._known: dict[str, Embedding] = {}

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts, each of them once."""
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        self._known.update(zip(new, self._embedder.embed_passages(new), strict=True))
        return np.stack([self._known[text] for text in texts])

    def embed_questions(self, texts: Sequence[str]) -> Embeddings:
        """Embed questions."""
        return self._embedder.embed_questions(texts)

    def embed_speech(self, clips: Sequence[Audio]) -> Embeddings:
        """Embed clips."""
        return self._embedder.embed_speech(clips)


@dataclass(frozen=True, slots=True)
class Case:
    """A question with the passages that were found for it.

    Args:
        asked: The question and its answer.
        found: Best first.
        answerable: False if the right paragraph was excluded from the search.
    """

    asked: Asked
    found: tuple[Passage, ...]
    answerable: bool

    def right(self, text: str) -> bool:
        """Return whether a text contains the gold answer."""
        return self.asked.answer.lower() in text.lower()


def retrieve(
    embedder: RememberingEmbedder, path: Path, said: Mapping[str, str] | None = None
) -> list[tuple[str, Case, Case]]:
    """Return for each question its title, and the case with and without the right paragraph.

    Args:
        embedder: For the search.
        path: A file in SQuAD's form.
        said: Replacements of the questions; the others are skipped.
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
    vectors = np.concatenate((embedder.embed_passages(paragraphs), sentences))
    owners = np.concatenate((np.arange(len(paragraphs)), owners))
    questions = embedder.embed_passages([one.question for one in asked])
    scores = paragraph_scores(questions, vectors, owners, len(paragraphs))
    cases = []
    for one, row in zip(asked, scores, strict=True):
        order = np.argsort(-row, kind="stable").tolist()
        others = [i for i in order if i != one.paragraph]
        pair = [
            Case(one, tuple(passages[i] for i in ranked[:FIRST_PASSAGES]), answerable)
            for ranked, answerable in ((order, True), (others, False))
        ]
        cases.append((titles[one.paragraph], pair[0], pair[1]))
    return cases


def development_titles(cases: Sequence[tuple[str, Case, Case]]) -> set[str]:
    """Return the titles that may be fitted on: the first in sorted order."""
    return set(sorted({title for title, _, _ in cases})[:DEVELOPMENT_TITLES])


@dataclass(frozen=True, slots=True)
class Measured:
    """A case with the features of its sentences.

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
    """Return a case with the measures of its sentences."""
    seen = examine(case.asked.question, case.found, scorer)
    return Measured(case, tuple(seen.sentences[i].text for i in seen.kept), seen.table)


def auroc(positive: Table, negative: Table) -> float:
    """Return the probability that a positive scores above a negative; a tie counts half."""
    above = (positive[:, None] > negative[None, :]).mean()
    level = (positive[:, None] == negative[None, :]).mean()
    return float(above + level / 2)


def variant(name: str, pairs: Pairs, score: Callable[[Table], Table]) -> str:
    """Return one row of the table of variants: gold answer in the chosen sentence, and AUROC.

    Args:
        name: Of the variant.
        pairs: Each case with the right paragraph, and without it.
        score: From measures to one score per sentence.
    """
    hits = [bool(one.right[score(one.table).argmax()]) for one, _ in pairs]
    there, gone = (np.array([score(pair[i].table).max() for pair in pairs]) for i in (0, 1))
    return f"  {name:<42} {np.mean(hits):.3f}   {auroc(there, gone):.3f}"
