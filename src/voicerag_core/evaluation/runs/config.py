"""What a run asks: everything that its result depends on but the models."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

from voicerag_core.errors import ConfigError
from voicerag_core.evaluation.datasets.loading import SETS, parsed
from voicerag_core.evaluation.speech.degrading import (
    CLEAN,
    NOISE_LEVELS,
    ROOM,
    TELEPHONE,
    check_conditions,
)
from voicerag_core.types import SecondRound, Strategy

__all__ = ["FORMAT", "QUICK", "STORES", "TEXT", "RunConfig", "StoreMode"]

FORMAT: Final = 1
"""Of a run's folder; grows when an older program could not read it."""

TEXT: Final = "text"
"""The strategy of typed questions, which is the same whatever strategy sound is searched by."""

StoreMode: TypeAlias = Literal["shared", "own"]
STORES: tuple[StoreMode, ...] = get_args(StoreMode)
"""One store for all questions of a set; one for each question, as GLM-Voice-RAG has them."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The questions of a run, and the ways in which they are asked.

    Args:
        sets: Names of sets, or ``NAME=PATH``.
        data: Folder of the published sets.
        strategies: By which spoken questions are searched.
        stores: Each set is asked over one shared store; sets that give each question its own
            passages also over one store a question.
        typed: Most typed questions of a set; 0 asks none, None all.
        spoken: Most spoken ones.
        hard: Of the spoken ones, those that are also asked under the other conditions.
        conditions: `CONDITIONS` other than clean.
        answers: Most questions of each kind that are also answered.
        two_round: Whether typed questions are asked in two rounds too, in sets that need several
            passages.
        second_round: When the strategy ``two_round`` searches again.
        passages: Most passages of a set, the right ones of its asked questions among them; None
            all. Fewer passages make every question easier: for a quick look alone.
        limit: Hits of a search.
        read: Hits that an answer is made from.
        whole: Whether sets that repeat another's questions are asked in every form too, and
            questions without an answer in every way, answered or not.
        seed: Draws the questions; those that no training, threshold or earlier development saw
            come first.
        voices: Names of voices; empty takes four that are installed.
        voices_root: Folder written by training/speech_encoder/bundle_voices.py, or None.
        speak: Whether answers are spoken and transcribed again.
        judge: Whether a chat model judges the answers.
        tiny: Marks a run of random weights, whose figures mean nothing.
    """

    sets: tuple[str, ...] = ()
    data: str | None = None
    strategies: tuple[Strategy, ...] = ("e2e", "asr", "hybrid", "adaptive")
    stores: tuple[StoreMode, ...] = STORES
    typed: int | None = None
    spoken: int | None = 300
    hard: int = 100
    conditions: tuple[str, ...] = (*(f"{level} dB" for level in NOISE_LEVELS), ROOM, TELEPHONE)
    answers: int | None = 100
    two_round: bool = True
    second_round: SecondRound = "always"
    passages: int | None = None
    limit: int = 10
    read: int = 4
    whole: bool = False
    seed: int = 17
    voices: tuple[str, ...] = ()
    voices_root: str | None = None
    speak: bool = False
    judge: bool = False
    tiny: bool = False

    @property
    def all_conditions(self) -> tuple[str, ...]:
        """`CLEAN`, and the others."""
        return (CLEAN, *self.conditions)

    def checked(self) -> RunConfig:
        """Return the same, with the usual sets where none is named.

        Raises:
            ConfigError: A name is unknown, or a number is out of its range.
        """
        sets = self.sets or tuple(name for name, source in SETS.items() if source.usual)
        for one in sets:
            parsed(one)
        check_conditions(self.conditions)
        for what, names, known in (
            ("strategy", self.strategies, get_args(Strategy)),
            ("store", self.stores, STORES),
        ):
            unknown = [name for name in names if name not in known]
            if unknown:
                raise ConfigError(f"no {what} {unknown[0]!r}; choose of {', '.join(known)}")
        for name in ("typed", "spoken", "hard", "answers", "passages"):
            number = getattr(self, name)
            if number is not None and number < 0:
                raise ConfigError(f"{name} is a number from 0 on, not {number}")
        if not 1 <= self.read <= self.limit:
            raise ConfigError(f"an answer reads 1 to {self.limit} hits, not {self.read}")
        return replace(self, sets=sets)

    def values(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunConfig:
        """Make it of what `as_json` gave.

        Raises:
            ConfigError: A field is unknown: another version wrote it.
        """
        names = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - names)
        if unknown:
            raise ConfigError(f"unknown settings of a run: {', '.join(unknown)}")
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**plain)


QUICK = RunConfig(
    sets=("xquad-en", "hotpotqa", "rgb-en", "rgb-en-refusal", "heysquad-machine-transcribed",
          "llama-questions", "nq-open"),
    typed=10, spoken=4, hard=1, conditions=("10 dB", TELEPHONE), answers=3, passages=60,
)  # fmt: skip
"""A look at everything in less than five minutes; each set is cut to 60 passages."""


def clip_folder(cache: Path) -> Path:
    """Return where spoken questions are kept."""
    return cache / "evaluation-clips"
