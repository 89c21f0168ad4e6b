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
"""Candidates of the searches that find the neighbours of a stored vector."""

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
    """Draw up to so many stored vectors by chance, the same ones of the same rows."""
    n = sql.Literal(collection.number)
    (ends,) = database.read((_ENDS.format(n=n), {}), rows=scalar_row)
    low, high = ends[0]
    if low is None:
        return []
    random = np.random.default_rng(collection.number)
    wanted = [int(number) for number in random.integers(low, high, 2 * count, endpoint=True)]
    rows = database.read(*((_FROM.format(n=n), {"pid": pid}) for pid in wanted), rows=scalar_row)
    drawn = {bytes(found[0]): None for found in rows if found}
    return [halfvec_array(data) for data in list(drawn)[:count]]


def questions_of(vectors: Sequence[Embedding], ask: Ask, collection: Collection) -> list[Embedding]:
    """Make a question near each of the vectors, as one more of its neighbourhood would be.

    A stored vector itself is an easy question: the graph was built by searching for it. So each
    question is the mean of a vector and its nearest ones, and from there as far away as those are,
    in the direction in which another one lies from the mean of its own nearest ones.
    """
    queries = [Query(row, None, DEPTH + 1, with_vectors=True) for row in vectors]
    near = ask(queries, replace(collection, ef_search=_NEIGHBOURS), True)
    around = [
        np.array([vector, *(halfvec_array(row.vector) for row in rows[1:] if row.vector)])
        for vector, rows in zip(vectors, near, strict=True)
    ]
    means = [rows.mean(axis=0) for rows in around]
    made = []
    for place, vector in enumerate(vectors):
        way = vectors[place - 1] - means[place - 1]
        length = float(np.linalg.norm(way))
        others = around[place][1:] - means[place]
        moved = vector
        if length > 0 and len(others):
            far = float(np.sqrt(np.mean(np.sum(others**2, axis=1))))
            moved = means[place] + far / length * way
        norm = float(np.linalg.norm(moved))
        made.append((moved / norm).astype(np.float32) if norm else vector)
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
