"""One question, asked in one way: what was found, heard and answered, and its scores."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from voicerag_core.audio import SPEECH_RATE_HZ, resample
from voicerag_core.errors import AudioError, VoiceRAGError
from voicerag_core.evaluation.datasets.values import EvalQuestion
from voicerag_core.evaluation.metrics.answers import best, contained, exact_match, f1, rouge_l
from voicerag_core.evaluation.metrics.recognition import heard_errors
from voicerag_core.evaluation.runs.config import TEXT
from voicerag_core.evaluation.runs.records import Record
from voicerag_core.evaluation.runs.shared import Shared
from voicerag_core.local.caveats import without_caveats
from voicerag_core.rag import VoiceRAG
from voicerag_core.types import Answer, Audio, Passage, Question, Retrieved, Sampling, Strategy

__all__ = ["Asker"]

SHOWN, CUT = 3, 300
"""Hits whose text is kept for the report, and how much of it; where an answer was made, all that it
was made from is kept."""


class Asker:
    """Asks questions of one store.

    Args:
        rag: Over that store; parts of it that are `Shared` count what they saved for everybody.
        limit: Hits of a search.
        read: Hits that an answer is made from.
        seed: Of the sampling of models that generate.
        speak: Whether answers are spoken and transcribed again.
    """

    def __init__(
        self,
        rag: VoiceRAG,
        *,
        limit: int,
        read: int,
        seed: int,
        speak: bool,
    ) -> None:
        self._rag = rag
        self._limit, self._read, self._speak = limit, read, speak
        self._sampling = Sampling(seed=seed)

    def ask(
        self,
        start: Record,
        asked: EvalQuestion,
        question: Question,
        passages: Mapping[str, Passage],
        *,
        answer: bool,
    ) -> Record:
        """Search, answer if that is wanted, and score.

        Args:
            start: The record as far as it is known.
            asked: The question with its gold answers.
            question: Its sound, or its words.
            passages: Those of the set, by id.
            answer: Whether to answer it too.

        Raises:
            VoiceRAGError: A part failed in another way than by hearing no speech.
        """
        strategy: Strategy | None = None if start.strategy == TEXT else start.strategy  # type: ignore[assignment]
        typed = isinstance(question, str)
        if typed and strategy is None:
            strategy = "e2e"  # words are searched the same way by every strategy of one round
        shared = {stage: part for stage, part in self._stages() if isinstance(part, Shared)}
        for part in shared.values():
            part.saved = 0.0
        begun = time.perf_counter()
        try:
            found = self._rag.retrieve(question, limit=self._limit, strategy=strategy)
        except AudioError as error:
            spent = time.perf_counter() - begun + sum(part.saved for part in shared.values())
            return replace(start, refused=str(error), seconds=spent, answered=False,
                           answer="" if answer else None)  # fmt: skip
        saved = {stage: part.saved for stage, part in shared.items()}
        found = replace(found, timings={
            stage: spent + saved.get(stage, 0.0) for stage, spent in found.timings.items()
        })  # fmt: skip
        record = self._searched(start, found)
        context = "\n".join(hit.passage.text for hit in found.hits[: self._read])
        measures = dict(record.measures)
        if asked.answers and asked.answerable:
            overlap = max((rouge_l(context, self._gold(asked, gold, passages)) for gold in asked.answers), key=lambda one: one.recall)  # fmt: skip  # noqa: E501
            measures |= {"rouge_l_recall": overlap.recall, "rouge_l_f1": overlap.f1}
            measures["context_contains"] = best(contained, context, asked.answers)
        if not typed and asked.text and found.transcription is not None:
            errors = heard_errors(asked.text, found.transcription.text)
            measures |= {"wrong": errors.wrong, "units": errors.units}
        record = replace(record, measures=measures)
        return self._answered(record, asked, question, found) if answer else record

    @staticmethod
    def _gold(asked: EvalQuestion, gold: str, passages: Mapping[str, Passage]) -> str:
        """Return what the context is compared with: the right passages, as the original does."""
        texts = [passages[name].text for name in asked.sources if name in passages]
        return "\n".join(texts) if texts and asked.all_sources else texts[0] if texts else gold

    def _stages(self) -> Iterable[tuple[str, object]]:
        """Return the parts by the stages in which they are asked about sound."""
        return (("embed", self._rag.embedder), ("transcribe", self._rag.transcriber))

    @staticmethod
    def _searched(start: Record, found: Retrieved) -> Record:
        heard = found.transcription
        return replace(
            start,
            found=tuple(hit.passage.id for hit in found.hits),
            scores=tuple(round(float(hit.score), 4) for hit in found.hits),
            matched=tuple(hit.matched_by for hit in found.hits),
            shown=tuple(hit.passage.text[:CUT] for hit in found.hits[:SHOWN]),
            heard=None if heard is None else heard.text,
            confidence=None if heard is None else heard.confidence,
            seconds=sum(found.timings.values()),
            timings=dict(found.timings),
        )

    def _answered(
        self, record: Record, asked: EvalQuestion, question: Question, found: Retrieved
    ) -> Record:
        """Let the model answer from the hits that were found, and score what it says."""
        kept = replace(found, hits=found.hits[: self._read],
                       more=(*found.hits[self._read :], *found.more))  # fmt: skip
        begun = time.perf_counter()
        pieces: list[Answer] = []
        first: dict[str, float] = {}
        try:
            for piece in self._rag.respond(question, kept, sampling=self._sampling):
                now = time.perf_counter() - begun
                if piece.text:
                    first.setdefault("first_text", now)
                if piece.audio is not None:
                    first.setdefault("first_sound", now)
                pieces.append(piece)
        except VoiceRAGError as error:
            return replace(record, answer="", answered=False, refused=str(error))
        whole = sum(pieces, Answer())
        timings = {**record.timings, **first}
        own = dict(whole.timings)
        for stage in ("read", "respond", "first_audio"):
            if stage in own:
                timings[stage] = own[stage]
        measures = {**record.measures, **self._scored(whole, asked)}
        if whole.audio is not None and self._speak:
            measures |= self._heard_again(whole)
        heard = record.heard if record.heard is not None else whole.transcript
        return replace(
            record, answer=whole.text, answered=whole.answered, timings=timings,
            measures=measures, heard=heard,
            shown=tuple(hit.passage.text for hit in found.hits[: self._read]),
        )  # fmt: skip

    @staticmethod
    def _scored(whole: Answer, asked: EvalQuestion) -> dict[str, float]:
        if not asked.answers or not asked.answerable:
            return {}
        said = without_caveats(whole.text) if whole.answered else ""
        scores = {
            "em": best(exact_match, said, asked.answers),
            "f1": best(lambda told, gold: f1(told, gold).f1, said, asked.answers),
            "contained": best(contained, said, asked.answers),
        }
        if asked.fake_answers:
            scores["contains_fake"] = best(contained, said, asked.fake_answers)
        return scores

    def _heard_again(self, whole: Answer) -> dict[str, float]:
        """Transcribe a spoken answer, and compare it with its text."""
        if whole.audio is None or self._rag.transcriber is None:
            return {}
        sound: Audio = resample(whole.audio, SPEECH_RATE_HZ)
        try:
            heard = self._rag.transcriber.transcribe(sound).text
        except AudioError:
            heard = ""
        errors = heard_errors(without_caveats(whole.text), heard)
        return {"spoken_wrong": errors.wrong, "spoken_units": errors.units}
