"""Runs every question of every set in every way, and goes on where one stopped."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from voicerag_core.audio import read_audio
from voicerag_core.errors import VoiceRAGError
from voicerag_core.evaluation.datasets.loading import load_set
from voicerag_core.evaluation.datasets.values import EvalQuestion, EvalSet, cut, drawn
from voicerag_core.evaluation.runs.asking import Asker
from voicerag_core.evaluation.runs.config import TEXT, RunConfig, StoreMode, clip_folder
from voicerag_core.evaluation.runs.records import Key, Record, RunFolder
from voicerag_core.evaluation.runs.shared import (
    RememberedTexts,
    shared_embedder,
    shared_transcriber,
)
from voicerag_core.evaluation.speech.degrading import CLEAN, Degrader
from voicerag_core.evaluation.speech.voices import Clips, installed_voices, voice_of
from voicerag_core.rag import embed_passages
from voicerag_core.settings import Settings
from voicerag_core.stack import GivenParts, OpenedVoiceRAG, Parts, open_parts, open_store
from voicerag_core.types import Audio, Passage, Question, Strategy

__all__ = ["Progress", "run"]

TYPED = "typed"
BATCH = 64


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Args:
        stage: "speech" while questions are spoken, "questions" while they are asked.
        set: Name of the set.
        done: Clips spoken, or records made, before this run too.
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
        config: What is asked; that of an interrupted run must be the same.
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
        config = place.begin(config, _about(settings, parts))
        done = {record.key for record in place.records()}
        speech = Speech(config, settings)
        stack.enter_context(speech)
        plan = {named: list(_tasks(found, config, speech)) for named, found in sets.items()}
        for named, found in sets.items():
            _note(place, found, plan[named])
        total = sum(map(len, plan.values()))
        count = len(done)
        speech.make(
            [task for tasks in plan.values() for task in tasks if task.key not in done], tell
        )
        for named, found in sets.items():
            rest = [task for task in plan[named] if task.key not in done]
            for record in _asked(
                found, rest, config=config, settings=settings, parts=parts, speech=speech
            ):
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


class Speech:
    """The sound of questions: recordings of a set, or clips that are spoken once and kept."""

    def __init__(self, config: RunConfig, settings: Settings) -> None:
        self._config = config
        self._root = None if config.voices_root is None else Path(config.voices_root)
        self._folder = clip_folder(settings.data_dir)
        self._clips: dict[str, Clips] = {}
        self._opened = ExitStack()
        self._degrader = Degrader(None if config.data is None else Path(config.data))

    def __enter__(self) -> Speech:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def voice(self, language: str, question: EvalQuestion) -> str:
        """Return who asks a question: "recording", or a voice."""
        if question.sound is not None:
            return "recording"
        return voice_of(question.id, list(self._of(language).voices))

    def make(self, tasks: Sequence[Task], tell: Callable[[Progress], None]) -> None:
        """Speak what is missing, before anything is timed."""
        wanted = {
            (task.set, task.voice, task.question.text)
            for task in tasks
            if task.voice not in ("", "recording")
        }
        for number, (name, voice, text) in enumerate(sorted(wanted), 1):
            self._with(voice).spoken(text, voice)
            tell(Progress("speech", name, number, len(wanted)))

    def sound(self, task: Task) -> tuple[Audio, Path]:
        """Return the sound of a task, and the file of its clean clip."""
        if task.question.sound is not None:
            file = task.question.sound
        else:
            file = self._with(task.voice).spoken(task.question.text, task.voice)
        audio = read_audio(file, max_seconds=120)
        return self._degrader.apply(audio, task.form, f"{task.set}/{task.question.id}"), file

    def _of(self, language: str) -> Clips:
        if language not in self._clips:
            voices = installed_voices(language, self._root)
            if self._config.voices:
                voices = [one for one in voices if one.name in self._config.voices] or voices
            self._clips[language] = self._opened.enter_context(Clips(self._folder, voices))
        return self._clips[language]

    def _with(self, voice: str) -> Clips:
        return next(clips for clips in self._clips.values() if voice in clips.voices)


def _tasks(found: EvalSet, config: RunConfig, speech: Speech) -> Iterator[Task]:
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
                voice = speech.voice(found.language, one)
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


def _asked(
    found: EvalSet,
    tasks: Sequence[Task],
    *,
    config: RunConfig,
    settings: Settings,
    parts: Parts,
    speech: Speech,
) -> Iterator[Record]:
    """Make the records of a set."""
    passages = {one.id: one for one in found.passages}
    remembered = RememberedTexts(parts.embedder)
    transcriber = parts.transcriber
    shared = replace(
        parts,
        embedder=shared_embedder(parts.embedder),
        transcriber=None if transcriber is None else shared_transcriber(transcriber),
    )
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        of = "" if task.store == "shared" else task.question.id
        groups.setdefault(f"{found.digest}-{of}" if of else found.digest, []).append(task)
    for name, own in groups.items():
        first = own[0]
        kept = (
            list(found.passages)
            if first.store == "shared"
            else [passages[one] for one in first.question.own]
        )
        with _opened(f"{found.name}-{name}", kept, settings, shared, remembered) as rag:
            asker = Asker(rag, limit=config.limit, read=config.read, seed=config.seed,
                          speak=config.speak)  # fmt: skip
            if name == next(iter(groups)):  # loading is no part of a question's time
                rag.warm(hearing=any(task.form != TYPED for task in tasks), speech=config.speak)
            for task in own:
                yield _one(task, asker, speech, passages)


def _one(task: Task, asker: Asker, speech: Speech, passages: Mapping[str, Passage]) -> Record:
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
            question, file = speech.sound(task)
        except VoiceRAGError as error:
            return replace(start, refused=f"its sound cannot be used: {error}", answered=False)
        start = replace(start, clip=str(file), clip_seconds=round(question.seconds, 3))
    return asker.ask(start, one, question, passages, answer=task.answer)


@contextmanager
def _opened(
    collection: str,
    passages: Sequence[Passage],
    settings: Settings,
    parts: Parts,
    texts: RememberedTexts,
) -> Iterator[OpenedVoiceRAG]:
    """Open a collection that holds exactly these passages; what it has already is kept."""
    chosen = settings.model_copy(update={"collection": collection})
    with open_store(chosen, parts.embedder) as store:
        for start in range(0, len(passages), BATCH):
            batch = passages[start : start + BATCH]
            known = {one.id: one for one in store.get([one.id for one in batch])}
            fresh = [one for one in batch if known.get(one.id) != one]
            if fresh:
                rows, owners = embed_passages(texts, fresh, sentences=settings.sentence_vectors)  # type: ignore[arg-type]
                store.add(fresh, rows, owners=owners)
        yield OpenedVoiceRAG(parts, store, chosen, speak=settings.speak)


def _note(place: RunFolder, found: EvalSet, tasks: Sequence[Task]) -> None:
    spoken = {task.question.id for task in tasks if task.form != TYPED}
    silent = [one.id for one in found.questions if not one.text and one.sound is None]
    place.note_set(
        found.name,
        {
            "questions": len(found.questions), "passages": len(found.passages),
            "language": found.language, "passage_language": found.passage_language,
            "asked": len({task.question.id for task in tasks}), "spoken": len(spoken),
            "has_answers": found.has_answers, "seen": found.seen,
            "problems": [
                *found.problems, *(f"question {one}: no words and no sound" for one in silent)
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
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
    }
