"""The sound of questions, spoken before anything is timed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from voicerag_core.audio import read_audio
from voicerag_core.evaluation.datasets.values import EvalQuestion, EvalSet
from voicerag_core.evaluation.runs.config import RunConfig, clip_folder
from voicerag_core.evaluation.runs.tasks import Progress, Task
from voicerag_core.evaluation.speech.degrading import Degrader
from voicerag_core.evaluation.speech.voices import (
    Clips,
    check_voices,
    installed_voices,
    named_voices,
    voice_of,
)
from voicerag_core.settings import Settings
from voicerag_core.types import Audio

__all__ = ["Speech"]


class Speech:
    """The sound of questions: recordings of a set, or clips that are spoken once and kept.

    Args:
        voices: Names of the voices; empty takes those that are installed.
        config: Of the run.
        settings: Name the folder of the clips.

    Raises:
        ConfigError: There is no such voice.
    """

    def __init__(self, voices: Sequence[str], config: RunConfig, settings: Settings) -> None:
        check_voices(voices)
        self._names = tuple(voices)
        self._spoken = config.spoken != 0
        self._root = None if config.voices_root is None else Path(config.voices_root)
        self._folder = clip_folder(settings.data_dir)
        self._clips: dict[str, Clips] = {}
        self._opened = ExitStack()
        self._degrader = Degrader(None if config.data is None else Path(config.data))

    def __enter__(self) -> Speech:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def names(self, sets: Iterable[EvalSet]) -> tuple[str, ...]:
        """Return the voices that these sets need: kept with a run, which goes on with the same."""
        languages = dict.fromkeys(
            found.language
            for found in sets
            if self._spoken and any(one.sound is None and one.text for one in found.questions)
        )
        return tuple(dict.fromkeys(name for one in languages for name in self._of(one).voices))

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
            voices = (
                named_voices(language, self._names, self._root)
                if self._names
                else installed_voices(language, self._root)
            )
            self._clips[language] = self._opened.enter_context(Clips(self._folder, voices))
        return self._clips[language]

    def _with(self, voice: str) -> Clips:
        return next(clips for clips in self._clips.values() if voice in clips.voices)
