"""Choosing a collection's thresholds on questions of its owner."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Final

import numpy as np

from voicerag_core.audio import read_audio
from voicerag_core.errors import AudioError, ConfigError
from voicerag_core.evaluation.datasets.own import load_simple
from voicerag_core.evaluation.datasets.values import EvalQuestion, names_of
from voicerag_core.evaluation.metrics.answers import best, contained
from voicerag_core.evaluation.runs.config import clip_folder
from voicerag_core.evaluation.runs.tasks import Progress
from voicerag_core.evaluation.speech.voices import Clips, installed_voices, voice_of
from voicerag_core.filters import In
from voicerag_core.ports import DocumentStore, SelfAssessingModel
from voicerag_core.rag import VoiceRAG
from voicerag_core.retrieval import Search, find_by_words
from voicerag_core.types import Answer, Audio, Hit, Sampling, Thresholds

__all__ = ["Calibration", "calibrated"]

LEAST: Final = 10
"""Fewest questions of a kind by which a threshold is chosen."""
DEPTH: Final = 10
_NAMED_BY: Final = ("id", "origin")
"""Metadata of a row of a file that name it: its own id, and the address it came from."""
WORSE: Final = 0.01
"""How far R@10 and R@1 may be below those of ``hybrid``."""
CONFIDENCES = tuple(float(one) for one in np.round(np.arange(0.0, 1.01, 0.05), 2))
GAPS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2)


@dataclass(frozen=True, slots=True)
class Note:
    """What was measured on one spoken question.

    Args:
        confidence: Of the speech encoder.
        gap: Lead of the best passage.
        sound: Rank by sound alone, from 0; `DEPTH` if not found.
        hybrid: The same by sound and words.
        sound_seconds: To the hits by sound.
        hybrid_seconds: To the hits by sound and words.
    """

    confidence: float
    gap: float
    sound: int
    hybrid: int
    sound_seconds: float
    hybrid_seconds: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was chosen, and on what.

    Args:
        thresholds: Chosen; None where there were too few questions, or nothing to choose.
        spoken: Spoken questions with known sources.
        answerable: Questions whose answer is known.
        unanswerable: Questions that nothing answers.
        figures: What the choice gives on these very questions, by name.
        notes: Why something was not chosen.
    """

    thresholds: Thresholds
    spoken: int
    answerable: int
    unanswerable: int
    figures: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return it as lines to read."""
        chosen = self.thresholds
        asked = f"{self.answerable} answerable, {self.unanswerable} unanswerable questions"
        told = [
            f"adaptive: confidence {chosen.confidence}, lead {chosen.gap} ({self.spoken} spoken)",
            f"declining: least probability {chosen.answered} ({asked})",
        ]
        told += [f"{name}: {value:.3f}" for name, value in self.figures.items()]
        return [*told, *self.notes]


def calibrated(
    rag: VoiceRAG,
    questions: Path,
    *,
    clips: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Calibration:
    """Choose thresholds on questions about what a collection holds.

    ``adaptive`` gets the fastest pair of thresholds whose recall among one and ten is at most
    `WORSE` below that of ``hybrid``. The reader gets the least probability at which right answers
    to answerable questions and refusals of unanswerable ones, each as a share, add up to most; of
    equals the lowest.

    Args:
        rag: Over the collection; its models are those of later searches.
        questions: JSON lines or a folder, as `load_simple` reads; sources are ids of passages or
            of rows, titles, addresses (``origin``), or names of documents of the collection.
        clips: Data folder that keeps clips of typed questions, which are spoken; None speaks none.
        on_progress: Called after each question.

    Raises:
        ConfigError: There are fewer than `LEAST` usable questions.
        DocumentError: The questions cannot be read.
    """
    own = load_simple(questions).questions
    tell = on_progress or (lambda _: None)
    notes: list[str] = []
    spoken, said = _spoken(rag, own, clips, tell)
    chosen: dict[str, float | None] = {"confidence": None, "gap": None, "answered": None}
    figures: dict[str, float] = {}
    if len(spoken) >= LEAST:
        pair = _adaptive(spoken)
        if pair is None:
            notes.append("no pair of thresholds is as good as hybrid; adaptive stays as it is")
        else:
            (chosen["confidence"], chosen["gap"]), told = pair
            figures |= told
    else:
        notes.append(
            f"{len(spoken)} spoken questions with a source that the collection holds; {LEAST} are "
            f"needed for adaptive{said}"
        )
    answered = _answers(rag, own, tell)
    yes, no = ([one for one in answered if one[0] is kind] for kind in (True, False))
    if min(len(yes), len(no)) >= LEAST:
        chosen["answered"], told = _declining(yes, no)
        figures |= told
    else:
        notes.append(
            f"{len(yes)} answerable questions with answers and {len(no)} unanswerable ones "
            f'("answerable": false); {LEAST} of each are needed for declining'
        )
    if all(value is None for value in chosen.values()):
        raise ConfigError("nothing could be chosen: " + "; ".join(notes))
    return Calibration(Thresholds(**chosen), len(spoken), len(yes), len(no), figures, tuple(notes))


def _spoken(
    rag: VoiceRAG, own: Sequence[EvalQuestion], clips: Path | None, tell: Callable[[Progress], None]
) -> tuple[list[Note], str]:
    """Search for every spoken question in both ways."""
    asked = [one for one in own if one.sources and one.answerable]
    if rag.embedder.needs_transcriber or rag.transcriber is None:
        return [], "; this embedder or stack searches by sound or by words alone"
    notes: list[Note] = []
    lost: list[str] = []
    voices = [] if clips is None else installed_voices()
    with Clips(clip_folder(clips or Path()), voices) as speech:
        for number, one in enumerate(asked, 1):
            audio = _sound(one, speech)
            if audio is not None:
                note = _note(rag, one, audio)
                notes += [note] if note is not None else []
                lost += one.sources[:1] if note is None else ()
            tell(Progress("sound", "your questions", number, len(asked)))
    if not lost:
        return notes, ""
    return notes, (
        f"; it holds no {', '.join(map(repr, lost[:3]))} (a source is the name of a document, "
        "a title, an address, or the id of a row or passage)"
    )


def _sound(one: EvalQuestion, speech: Clips) -> Audio | None:
    if one.sound is not None:
        return read_audio(one.sound)
    if not speech.voices or not one.text:
        return None
    return speech.audio(one.text, voice_of(one.id, list(speech.voices)))


def _note(rag: VoiceRAG, one: EvalQuestion, audio: Audio) -> Note | None:
    """Search for one question by sound, and by sound and words; None if the source is not there."""
    search = Search(rag.embedder, rag.store, rag.transcriber, limit=DEPTH)
    vector, confidence = search.judge_speech(audio)
    near = () if vector is None else search.candidates(vector, least=2)
    by_sound = sum(search.timings.values())
    gap = near[0].score - near[1].score if len(near) > 1 else 0.0
    start = time.perf_counter()
    try:
        found = find_by_words(search, search.transcribe(audio), vector).hits
    except AudioError:
        found = ()
    seconds = by_sound + time.perf_counter() - start
    if not any(_is_right(hit, one) for hit in (*near, *found)) and not _holds(rag, one):
        return None
    return Note(confidence, gap, _rank(near, one), _rank(found, one), by_sound, seconds)


def _is_right(hit: Hit, one: EvalQuestion) -> bool:
    passage = hit.passage
    names = {*names_of(passage), passage.title}
    names |= {str(passage.metadata[key]) for key in _NAMED_BY if passage.metadata.get(key)}
    return bool(names & set(one.sources))


def _holds(rag: VoiceRAG, one: EvalQuestion) -> bool:
    """Return whether the collection holds one of the sources under any of its names."""
    store, names = rag.store, list(one.sources)
    if store.get(names) or any(
        store.count(where=In(key, tuple(names))) for key in ("title", *_NAMED_BY)
    ):
        return True
    if not isinstance(store, DocumentStore):
        return False
    held = store.document_digests()
    return any(name in held for name in names) or bool(
        {Path(source).name for source in held}.intersection(names)
    )


def _rank(hits: Sequence[Hit], one: EvalQuestion) -> int:
    return next((place for place, hit in enumerate(hits) if _is_right(hit, one)), DEPTH)


def _adaptive(notes: Sequence[Note]) -> tuple[tuple[float, float], dict[str, float]] | None:
    """Return the fastest good pair of thresholds, and what it gives."""
    whole = fmean(one.hybrid_seconds for one in notes)
    least = {cut: fmean(one.hybrid < cut for one in notes) - WORSE for cut in (1, DEPTH)}
    good = []
    for confidence, gap in product(CONFIDENCES, GAPS):
        sure = [one.confidence >= confidence and one.gap >= gap for one in notes]
        ranks = [one.sound if yes else one.hybrid for one, yes in zip(notes, sure, strict=True)]
        if all(fmean(rank < cut for rank in ranks) >= bar for cut, bar in least.items()):
            spent = fmean(
                one.sound_seconds if yes else one.hybrid_seconds
                for one, yes in zip(notes, sure, strict=True)
            )
            good.append((round(spent / max(whole, 1e-9), 3), -confidence, -gap, ranks))
    if not good:
        return None
    share, confidence, gap, ranks = min(good)
    return (-confidence, -gap), {
        "adaptive R@10": fmean(rank < DEPTH for rank in ranks),
        "hybrid R@10": fmean(one.hybrid < DEPTH for one in notes),
        "adaptive's mean time by hybrid's": share,
    }


def _answers(
    rag: VoiceRAG, own: Sequence[EvalQuestion], tell: Callable[[Progress], None]
) -> list[tuple[bool, float, bool]]:
    """Return of each typed question: can it be answered, how sure the reader is, is it right."""
    model: object = rag.model
    if not isinstance(model, SelfAssessingModel):
        return []
    eager = model.declining_below(0.0)
    asked = [one for one in own if one.text and (one.answers or not one.answerable)]
    found = []
    for number, one in enumerate(asked, 1):
        hits = rag.retrieve(one.text).hits
        passages = [hit.passage for hit in hits]
        sure = model.answer_probability(one.text, passages) if passages else 0.0
        tell(Progress("answers", "your questions", number, len(asked)))
        if sure is None:
            return []
        pieces = eager.respond(one.text, passages, sampling=Sampling())
        said = sum(pieces, Answer()).text
        found.append((one.answerable, sure, bool(best(contained, said, one.answers))))
    return found


def _declining(
    yes: Sequence[tuple[bool, float, bool]], no: Sequence[tuple[bool, float, bool]]
) -> tuple[float, dict[str, float]]:
    """Return the best least probability, and what it gives."""
    tried = np.round(np.arange(0.05, 1.0, 0.05), 2)

    def shares(least: float) -> tuple[float, float]:
        right = fmean(sure >= least and good for _, sure, good in yes)
        return right, fmean(sure < least for _, sure, _ in no)

    chosen = max(tried, key=lambda least: (round(sum(shares(least)), 6), -least))
    right, refused = shares(float(chosen))
    return float(chosen), {"answerable answered right": right, "unanswerable refused": refused}
