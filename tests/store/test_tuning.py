"""How widely an index is to be searched: which value a sample of questions leads to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from voicerag_core.store.collection import Collection
from voicerag_core.store.search_sql import Query, SearchRow
from voicerag_core.store.tuning import DEPTH, tuned

TARGET = 0.97


def row(score: float) -> SearchRow:
    return SearchRow("p", "", {}, score, ["vector"], None, DEPTH, True, None)


@dataclass
class Index:
    """An index that finds all of a question's nearest from so many candidates on, else none.

    Args:
        needed: How many candidates each question takes.
        compared: How many questions were compared with all vectors.
    """

    needed: Sequence[int]
    compared: list[int] = field(default_factory=list)

    def __call__(
        self, queries: Sequence[Query], collection: Collection, by_index: bool
    ) -> list[list[SearchRow]]:
        answers = []
        for query in queries:
            assert query.embedding is not None
            number = int(query.embedding[0])
            if not by_index:
                self.compared.append(number)
            lost = by_index and (collection.ef_search or 0) < self.needed[number]
            answers.append([row(0.1 if lost else 0.9)] * DEPTH)
        return answers


def chosen(index: Index, collection: Collection, *, at_first: int | None = None) -> tuple[int, int]:
    questions = [np.array([number], np.float32) for number in range(len(index.needed))]
    tuning = tuned(collection, questions, index, target=TARGET, at_first=at_first)
    assert tuning.reached
    return tuning.ef_search, tuning.questions


@pytest.fixture
def collection() -> Collection:
    return Collection(
        number=1, tenant="t", dim=1, language="english", passages=10**6, vectors=10**6, indexed=True
    )


def test_more_questions_are_asked_instead_of_more_candidates(collection: Collection) -> None:
    """Of 40 one is lost from 80 to 800 candidates, a share of 0.975, of 160 two."""
    needed = [80] * 160
    needed[7] = needed[50] = 800
    index = Index(needed)
    assert chosen(index, collection, at_first=40) == (80, 160)
    assert sorted(index.compared) == list(range(160)), "each once"


def test_no_more_are_asked_than_it_takes(collection: Collection) -> None:
    index = Index([40] * 160)
    assert chosen(index, collection, at_first=40) == (40, 40)
    assert len(index.compared) == 40


def test_what_is_lost_too_often_takes_more_candidates(collection: Collection) -> None:
    """A lucky beginning, of which nothing is lost but one, does not decide."""
    needed = [40] * 40 + [40, 40, 40, 200] * 30
    needed[0] = 300
    assert chosen(Index(needed), collection, at_first=40) == (200, 80)


def test_without_more_questions_the_mean_decides(collection: Collection) -> None:
    needed = [60] * 40
    needed[3] = 640
    assert chosen(Index(needed), collection) == (60, 40)
