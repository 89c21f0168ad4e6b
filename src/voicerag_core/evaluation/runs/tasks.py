"""What a run asks, one task for each record, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from voicerag_core.evaluation.datasets.values import EvalQuestion, EvalSet, drawn
from voicerag_core.evaluation.runs.config import TEXT, RunConfig, StoreMode
from voicerag_core.evaluation.runs.records import Key
from voicerag_core.evaluation.speech.degrading import CLEAN
from voicerag_core.types import Strategy

__all__ = ["TYPED", "Progress", "Task", "tasks"]

TYPED = "typed"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Args:
        stage: "speech" while questions are spoken, "passages" while a store is filled,
            "questions" while they are asked.
        set: Name of the set.
        done: Clips spoken, passages embedded, or records made, before this run too.
        total: Of them.
    """

    stage: str
    set: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Task:
    """One record to make."""

    set: str
    store: StoreMode
    question: EvalQuestion
    form: str
    strategy: str
    voice: str
    answer: bool

    @property
    def key(self) -> Key:
        """See `Record.key`."""
        return (self.set, self.store, self.question.id, self.form, self.strategy)


def tasks(
    found: EvalSet, config: RunConfig, voice_for: Callable[[str, EvalQuestion], str]
) -> Iterator[Task]:
    """List what is asked of a set: every store, then every question, then every way of it."""
    typed, spoken, hard, answered = (
        {one.id for one in drawn(found, most, config.seed).questions}
        for most in (config.typed, config.spoken, config.hard, config.answers)
    )
    if not config.whole and found.forms != "all":
        hard = set()
        spoken = spoken if found.forms == "clean" else set()
    reads = found.has_answers or any(not one.answerable for one in found.questions)
    stores: list[StoreMode] = ["shared"] if "shared" in config.stores else []
    if "own" in config.stores and any(one.own for one in found.questions):
        stores.append("own")
    for store in stores:
        for one in found.questions:
            if store == "own" and not one.own:
                continue
            answer = reads and one.id in answered and bool(found.passages)
            if not one.answerable and not (answer or config.whole):
                continue  # there is nothing to find, and nothing to refuse
            if one.id in typed and one.text:
                yield Task(found.name, store, one, TYPED, TEXT, "", answer)
                if config.two_round and one.all_sources:
                    yield Task(found.name, store, one, TYPED, "two_round", "", False)
            if one.id in spoken and (one.text or one.sound):
                voice = voice_for(found.language, one)
                for form, strategy in _ways(one, store, config, hard=one.id in hard):
                    last = strategy == config.strategies[-1] and form == CLEAN
                    yield Task(found.name, store, one, form, strategy, voice, answer and last)


def _ways(
    one: EvalQuestion, store: StoreMode, config: RunConfig, *, hard: bool
) -> Iterable[tuple[str, Strategy]]:
    """Return the conditions and strategies of a spoken question."""
    if not one.answerable and not config.whole:
        return [(CLEAN, config.strategies[-1])]
    forms = config.all_conditions if hard and store == "shared" else (CLEAN,)
    return product(forms, config.strategies)
