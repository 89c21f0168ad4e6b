"""Runs every question of every set in every way, and goes on where one stopped."""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from voicerag_core.errors import VoiceRAGError
from voicerag_core.evaluation.datasets.loading import load_set
from voicerag_core.evaluation.datasets.values import EvalSet, cut, drawn
from voicerag_core.evaluation.runs.asking import Asker
from voicerag_core.evaluation.runs.config import RunConfig
from voicerag_core.evaluation.runs.records import Record, RunFolder
from voicerag_core.evaluation.runs.shared import (
    RememberedTexts,
    shared_embedder,
    shared_transcriber,
)
from voicerag_core.evaluation.runs.sound import Speech
from voicerag_core.evaluation.runs.tasks import TYPED, Progress, Task, tasks
from voicerag_core.evaluation.speech.degrading import Degrader
from voicerag_core.languages import ANY
from voicerag_core.rag import embed_passages
from voicerag_core.settings import Settings
from voicerag_core.stack import GivenParts, OpenedVoiceRAG, Parts, open_parts, open_store
from voicerag_core.types import Passage, Question

__all__ = ["run"]

BATCH = 64

_logger = logging.getLogger(__name__)


def run(
    folder: Path,
    config: RunConfig,
    settings: Settings,
    *,
    given: GivenParts | None = None,
    loaded: Mapping[str, EvalSet] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> list[Record]:
    """Ask everything that has not been asked yet; safe to interrupt, and to call again.

    Args:
        folder: Of the run.
        config: What is asked; that of an interrupted run must be the same. Conditions whose
            recordings are not there are left out, which the log and the notes of the sets say.
        settings: The models, and the database: by default one in the data folder. Passages of sets
            are in collections of a tenant of their own, ``evaluation``.
        given: Parts instead of those of the settings.
        loaded: Sets that were read already, by the names in the config.
        on_progress: Called after each clip and record.

    Returns:
        All records of the run.

    Raises:
        ConfigError: The config is not valid, or the folder cannot be used.
        DocumentError: A set cannot be read.
        VoiceRAGError: A part failed.
    """
    config = config.checked()
    place = RunFolder(folder)
    data = None if config.data is None else Path(config.data)
    config, silent = _makeable(config, data)
    ready = loaded or {}
    sets = {
        named: _reduced(ready[named] if named in ready else load_set(named, data), config)
        for named in config.sets
    }
    settings = settings.model_copy(
        update={
            "tenant": "evaluation",
            "speak": config.speak and settings.speak,
            "second_round": config.second_round,
            "database_url": settings.database_url,
        }
    )
    tell = on_progress or (lambda _: None)
    with ExitStack() as stack:
        parts = stack.enter_context(open_parts(settings, given=given or GivenParts()))
        speech = stack.enter_context(Speech(config.voices or place.voices(), config, settings))
        config = replace(config, voices=speech.names(sets.values()))
        place.begin(config, _about(settings, parts))
        done = {record.key for record in place.records()}
        plan = {named: list(tasks(found, config, speech.voice)) for named, found in sets.items()}
        for named, found in sets.items():
            _note(place, found, plan[named], [*silent, *_foreign(found, settings)])
        total = sum(map(len, plan.values()))
        count = len(done)
        rest = {
            named: [task for task in own if task.key not in done] for named, own in plan.items()
        }
        speech.make([task for own in rest.values() for task in own], tell)
        asking = _Asking(config, settings, _shared(parts), speech, tell)
        for named, found in sets.items():
            for record in asking.asked(found, rest[named]):
                place.add(record)
                count += 1
                tell(Progress("questions", found.name, count, total))
    return place.records()


def _reduced(found: EvalSet, config: RunConfig) -> EvalSet:
    """Cut a set to the passages that a quick look takes."""
    if config.passages is None:
        return found
    counts = [one for one in (config.typed, config.spoken) if one is not None]
    asked = drawn(found, max(counts, default=0), config.seed) if len(counts) == 2 else found  # noqa: PLR2004
    return cut(found, config.passages, asked.questions)


def _shared(parts: Parts) -> Parts:
    """Return the parts with those that hear asked once for each clip."""
    ears = parts.transcriber
    return replace(
        parts,
        embedder=shared_embedder(parts.embedder),
        transcriber=None if ears is None else shared_transcriber(ears),
    )


class _Asking:
    """Makes records, with what stays the same throughout a run."""

    def __init__(
        self,
        config: RunConfig,
        settings: Settings,
        parts: Parts,
        speech: Speech,
        tell: Callable[[Progress], None],
    ) -> None:
        self._config, self._settings, self._parts = config, settings, parts
        self._speech, self._tell = speech, tell
        self._texts = RememberedTexts(parts.embedder)

    def asked(self, found: EvalSet, wanted: Sequence[Task]) -> Iterator[Record]:
        """Make the records of a set."""
        config = self._config
        passages = {one.id: one for one in found.passages}
        groups: dict[str, list[Task]] = {}
        for task in wanted:
            of = "" if task.store == "shared" else f"-{task.question.id}"
            groups.setdefault(f"{found.digest}{of}", []).append(task)
        for name, own in groups.items():
            kept = (
                found.passages
                if own[0].store == "shared"
                else [passages[one] for one in own[0].question.own]
            )
            with self._opened(found.name, name, kept) as rag:
                asker = Asker(rag, limit=config.limit, read=config.read, seed=config.seed,
                              speak=config.speak)  # fmt: skip
                if name == next(iter(groups)):  # loading is no part of a question's time
                    rag.warm(hearing=any(one.form != TYPED for one in own), speech=config.speak)
                for task in own:
                    yield self._one(task, asker, passages)

    def _one(self, task: Task, asker: Asker, passages: Mapping[str, Passage]) -> Record:
        """Make one record; a part that fails on one question fails that record alone."""
        one = task.question
        start = Record(
            task.set, task.store, one.id, task.form, task.strategy, one.text, task.voice,
            answers=one.answers, sources=one.sources, all_sources=one.all_sources,
            answerable=one.answerable, development=one.development,
        )  # fmt: skip
        question: Question = one.text
        if task.form != TYPED:
            try:
                question, file = self._speech.sound(task)
            except VoiceRAGError as error:
                return replace(start, refused=f"its sound cannot be used: {error}", answered=False)
            start = replace(start, clip=str(file), clip_seconds=round(question.seconds, 3))
        return asker.ask(start, one, question, passages, answer=task.answer)

    @contextmanager
    def _opened(
        self, named: str, collection: str, passages: Sequence[Passage]
    ) -> Iterator[OpenedVoiceRAG]:
        """Open a collection that holds exactly these passages; what it has already is kept."""
        settings = self._settings.model_copy(update={"collection": f"{named}-{collection}"})
        with open_store(settings, self._parts.embedder) as store:
            for start in range(0, len(passages), BATCH):
                batch = passages[start : start + BATCH]
                known = {one.id: one for one in store.get([one.id for one in batch])}
                fresh = [one for one in batch if known.get(one.id) != one]
                if fresh:
                    rows, owners = embed_passages(
                        self._texts, fresh, sentences=settings.sentence_vectors  # type: ignore[arg-type]
                    )  # fmt: skip
                    store.add(fresh, rows, owners=owners)
                if len(passages) > BATCH:
                    self._tell(Progress("passages", named, start + len(batch), len(passages)))
            yield OpenedVoiceRAG(self._parts, store, settings, speak=settings.speak)


def _makeable(config: RunConfig, data: Path | None) -> tuple[RunConfig, list[str]]:
    """Leave out conditions whose recordings are not there; say, and log, which."""
    degrader = Degrader(data)
    conditions = tuple(one for one in config.conditions if degrader.can(one))
    missing = [one for one in config.conditions if one not in conditions]
    if not missing or config.spoken == 0 or config.hard == 0:
        return config, []
    told = (
        f"nothing is asked with {', '.join(missing)}: noise and rooms are recordings in noise/ of "
        "the folder of the sets, which --data names"
    )
    _logger.warning("%s", told)
    return replace(config, conditions=conditions), [told]


def _foreign(found: EvalSet, settings: Settings) -> list[str]:
    """Say, and log, which languages of a set the local models are not set to."""
    if settings.stack != "local" or settings.language == ANY:
        return []
    told = [
        f"{what} are in {language!r}, and VOICERAG_LANGUAGE is {settings.language!r}: the figures "
        f"say nothing about {language!r}; set it to {language!r}, or to 'auto' for several"
        for what, language in (("questions", found.language), ("passages", found.passage_language))
        if language != settings.language
    ]
    for one in told:
        _logger.warning("%s: its %s", found.name, one)
    return told


def _note(
    place: RunFolder, found: EvalSet, wanted: Sequence[Task], problems: Sequence[str]
) -> None:
    spoken = {task.question.id for task in wanted if task.form != TYPED}
    silent = [one.id for one in found.questions if not one.text and one.sound is None]
    place.note_set(
        found.name,
        {
            "questions": len(found.questions), "passages": len(found.passages),
            "language": found.language, "passage_language": found.passage_language,
            "asked": len({task.question.id for task in wanted}), "spoken": len(spoken),
            "has_answers": found.has_answers, "seen": found.seen,
            "problems": [
                *found.problems, *problems,
                *(f"question {one}: no words and no sound" for one in silent),
            ],
        },
    )  # fmt: skip


def _about(settings: Settings, parts: Parts) -> dict[str, Any]:
    """Say what the figures were made with."""
    transcriber = parts.transcriber
    return {
        "date": time.strftime("%Y-%m-%d"),
        "stack": settings.stack,
        "embedder": parts.embedder.model_id,
        "transcriber": "" if transcriber is None else type(transcriber).__name__,
        "model": type(parts.text_model).__name__,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
    }
