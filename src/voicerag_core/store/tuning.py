"""How widely an index has to be searched for a stated recall: measured on the collection itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from psycopg import sql
from psycopg.rows import scalar_row

from voicerag_core.cancellation import check_cancelled
from voicerag_core.store.collection import Collection
from voicerag_core.store.connection import Connection, Database
from voicerag_core.store.rows import halfvec_array
from voicerag_core.store.search_sql import MOST_EF_SEARCH, Query, SearchRow
from voicerag_core.types import Embedding

__all__ = [
    "DEPTH",
    "MORE",
    "RECALL_TARGET",
    "Ask",
    "Tuning",
    "keep",
    "questions_of",
    "sample",
    "tuned",
    "usual_questions",
]

RECALL_TARGET: Final = 0.97
"""Share of the ten nearest passages that a search by the index finds, on average."""

DEPTH: Final = 10

QUESTIONS: Final = 100
_FEWEST_QUESTIONS = 40
_COMPARED = 20_000_000
"""Vectors that are compared to know what is nearest; fewer questions of a larger collection."""

MORE: Final = 4
"""Times as many questions are asked where fewer do not tell whether a value is enough."""

_STEPS: Final = (40, 60, 80, 100, 130, 160, 200, 260, 320, 400, 500, 640, 800, MOST_EF_SEARCH)

_NEIGHBOURS = 200
"""Candidates of the searches that say how far the tenth neighbours are."""

_SAME = 2e-4
"""Two scores of one vector differ by no more: by the index they are computed in float32 from
float16, as in an exact scan, but equal ones come in any order."""

Ask = Callable[[Sequence[Query], Collection, bool], Sequence[Sequence[SearchRow]]]
"""Search as the store does, with the index or by comparing all."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was measured.

    Args:
        ef_search: How many candidates a scan of the index keeps from now on.
        recall: Share of the nearest passages found with it, on average over the questions.
        target: What was aimed at.
        questions: How many were asked.
        measured: The recall of each value that was tried, in ascending order.
    """

    ef_search: int
    recall: float
    target: float
    questions: int
    measured: tuple[tuple[int, float], ...]

    @property
    def reached(self) -> bool:
        """Whether the recall is as high as aimed at."""
        return self.recall >= self.target


def usual_questions(collection: Collection) -> int:
    """Say how many questions are asked of a collection at first; fewer of a large one."""
    return max(_FEWEST_QUESTIONS, min(QUESTIONS, _COMPARED // max(1, collection.vectors)))


def sample(database: Database, collection: Collection, count: int) -> list[Embedding]:
    """Draw stored vectors by chance, the same ones of the same rows; three times as many as asked.

    Args:
        database: Of the collection.
        collection: Which one.
        count: How many questions are to be made of them.
    """
    n = sql.Literal(collection.number)
    (ends,) = database.read((_ENDS.format(n=n), {}), rows=scalar_row)
    low, high = ends[0]
    if low is None:
        return []
    random = np.random.default_rng(collection.number)
    wanted = [int(number) for number in random.integers(low, high, 4 * count, endpoint=True)]
    rows = database.read(*((_FROM.format(n=n), {"pid": pid}) for pid in wanted), rows=scalar_row)
    drawn = {bytes(found[0]): None for found in rows if found}
    return [halfvec_array(data) for data in list(drawn)[: 3 * count]]


def questions_of(vectors: Sequence[Embedding], ask: Ask, collection: Collection) -> list[Embedding]:
    """Make questions of a third of the vectors, as far from them as their tenth neighbours are.

    A stored vector itself is an easy question: the graph was built by searching for it. So each is
    turned away from its place, by the difference of two others, which keeps to the directions that
    the collection knows.
    """
    count = len(vectors) // 3
    if not count:
        return list(vectors)
    queries = [Query(row, None, DEPTH + 1) for row in vectors[:count]]
    near = ask(queries, replace(collection, ef_search=_NEIGHBOURS), True)
    made = []
    for number, rows in enumerate(near):
        place = vectors[number]
        way = vectors[count + 2 * number] - vectors[count + 2 * number + 1]
        way = way - (way @ place) * place
        length = float(np.linalg.norm(way))
        scores = _scores(rows)
        if length == 0 or not scores:
            made.append(place)
            continue
        cosine = min(max(scores[-1], 0.0), 1.0)
        turned = cosine * place + math.sqrt(1 - cosine**2) / length * way
        made.append((turned / np.linalg.norm(turned)).astype(np.float32))
    return made


def tuned(
    collection: Collection,
    questions: Sequence[Embedding],
    ask: Ask,
    *,
    target: float,
    ef_search: int | None = None,
    at_first: int | None = None,
) -> Tuning:
    """Find the smallest number of candidates with which the target is reached.

    A value counts as enough when the mean over the questions, less its standard error, is: else the
    sample would decide. Where the mean is and that is not, more questions are asked; when there are
    no more, the mean decides, for what is left of doubt would cost every search.

    Args:
        collection: Its index is there.
        questions: Made of stored vectors.
        ask: Searches.
        target: The recall aimed at.
        ef_search: Measure this value alone.
        at_first: How many questions are asked before more are needed; None: all.
    """
    wanted = _Wanted(collection, questions, ask)
    count = min(at_first or len(questions), len(questions))
    measured: list[tuple[int, float]] = []
    for step in (ef_search,) if ef_search is not None else _STEPS:
        found: list[float] = []
        while True:
            check_cancelled()
            found += wanted.found(step, len(found), count)
            mean = float(np.mean(found)) if found else 1.0
            error = float(np.std(found)) / math.sqrt(max(1, len(found)))
            if ef_search is not None or not mean - error < target <= mean < 1.0:
                break
            if count == len(questions):
                break
            count = min(2 * count, len(questions))
        measured.append((step, mean))
        if mean >= target:
            break
    chosen, recall = measured[-1]
    return Tuning(chosen, recall, target, count, tuple(measured))


class _Wanted:
    """Questions, and the best of their answers as far as somebody needed them.

    Args:
        collection: Where they are asked.
        questions: All there are.
        ask: Searches.
    """

    def __init__(self, collection: Collection, questions: Sequence[Embedding], ask: Ask) -> None:
        self._collection, self._ask = collection, ask
        self._queries = [Query(row, None, DEPTH) for row in questions]
        self._best: list[list[float]] = []

    def found(self, candidates: int, start: int, stop: int) -> list[float]:
        """Return the recall of some questions with so many candidates."""
        missing = self._queries[len(self._best) : stop]
        self._best += [
            _all_scores(rows) for rows in _one_by_one(self._ask, missing, self._collection)
        ]
        asked = self._queries[start:stop]
        answers = self._ask(asked, replace(self._collection, ef_search=candidates), True)
        return [
            _recall(_all_scores(rows), best)
            for rows, best in zip(answers, self._best[start:stop], strict=True)
        ]


def keep(database: Database, collection: Collection, tuning: Tuning) -> None:
    """Write down with the collection what was measured; open stores take it up."""
    values = {"ef": tuning.ef_search, "recall": tuning.recall, "target": tuning.target}

    def run(connection: Connection) -> None:
        connection.execute(_KEEP.format(n=sql.Literal(collection.number)), values, prepare=False)

    database.write(run)


def _one_by_one(
    ask: Ask, queries: Sequence[Query], collection: Collection
) -> list[Sequence[SearchRow]]:
    """Compare with every vector, each question in a statement with a time limit of its own."""
    answers: list[Sequence[SearchRow]] = []
    for query in queries:
        check_cancelled()
        answers.extend(ask([query], collection, False))
    return answers


def _scores(rows: Sequence[SearchRow]) -> list[float]:
    """Return the scores of the passages found besides the question's own, which comes first."""
    return _all_scores(rows)[1:]


def _all_scores(rows: Sequence[SearchRow]) -> list[float]:
    return [row.score for row in rows if row.id is not None]


def _recall(found: Sequence[float], wanted: Sequence[float]) -> float:
    """Return the share of the wanted ones that was found; equal scores stand for each other."""
    if not wanted:
        return 1.0
    return sum(score >= wanted[-1] - _SAME for score in found[: len(wanted)]) / len(wanted)


_ENDS = sql.SQL(
    "SELECT ARRAY[min(pid), max(pid)] FROM voicerag.tenant_passages WHERE collection_id = {n}"
)
_FROM = sql.SQL(
    "SELECT halfvec_send(embedding) FROM voicerag.vectors "
    "WHERE collection_id = {n} AND passage >= %(pid)s::bigint ORDER BY passage, ordinal LIMIT 1"
)
_KEEP = sql.SQL(
    "UPDATE voicerag.collections SET ef_search = %(ef)s::integer, recall = %(recall)s::real, "
    "recall_target = %(target)s::real, tuned_vectors = vectors, "
    "index_version = index_version + 1 WHERE id = {n}"
)
