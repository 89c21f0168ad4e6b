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

__all__ = ["DEPTH", "RECALL_TARGET", "Ask", "Tuning", "keep", "questions_of", "sample", "tuned"]

RECALL_TARGET: Final = 0.97
"""Share of the ten nearest passages that a search by the index finds, on average."""

DEPTH: Final = 10

QUESTIONS: Final = 100
_FEWEST_QUESTIONS = 40
_COMPARED = 20_000_000
"""Vectors that are compared to know what is nearest; fewer questions of a larger collection."""

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


def sample(database: Database, collection: Collection, most: int | None) -> list[Embedding]:
    """Draw stored vectors by chance, the same ones of the same rows; three times as many as asked.

    Args:
        database: Of the collection.
        collection: Which one.
        most: How many questions are to be made of them; None: as many as its size allows.
    """
    count = most or max(_FEWEST_QUESTIONS, min(QUESTIONS, _COMPARED // max(1, collection.vectors)))
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
) -> Tuning:
    """Find the smallest number of candidates with which the target is reached.

    A value counts as enough when the mean over the questions, less its standard error, is: else the
    sample would decide.

    Args:
        collection: Its index is there.
        questions: Made of stored vectors.
        ask: Searches.
        target: The recall aimed at.
        ef_search: Measure this value alone.
    """
    queries = [Query(row, None, DEPTH) for row in questions]
    best = [_all_scores(rows) for rows in _one_by_one(ask, queries, collection)]
    measured: list[tuple[int, float]] = []
    for step in (ef_search,) if ef_search is not None else _STEPS:
        check_cancelled()
        answers = ask(queries, replace(collection, ef_search=step), True)
        found = [
            _recall(_all_scores(rows), wanted) for rows, wanted in zip(answers, best, strict=True)
        ]
        mean = float(np.mean(found)) if found else 1.0
        error = float(np.std(found)) / math.sqrt(max(1, len(found)))
        measured.append((step, mean))
        if mean - error >= target or mean == 1.0:
            break
    chosen, recall = measured[-1]
    return Tuning(chosen, recall, target, len(queries), tuple(measured))


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
