"""The runs of GLM-Voice-RAG, with its options, on either stack.

Source of the options, their defaults and the order of the steps: examples/*.py of
the-bird-F/GLM-Voice-RAG @ 0d154f8. Unlike there, an interrupted run goes on, nothing is dropped as
an outlier, and a clip that is missing is counted.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from voicerag_core.audio import read_audio
from voicerag_core.chunking import chunk_document
from voicerag_core.errors import ConfigError, VoiceRAGError
from voicerag_core.evaluation.datasets.spoken import with_clips
from voicerag_core.evaluation.datasets.values import EvalQuestion, EvalSet, checked, drawn
from voicerag_core.evaluation.metrics.answers import best, contained, exact_match, f1
from voicerag_core.evaluation.report.tables import Table, tables
from voicerag_core.evaluation.runs import Record, RunConfig, RunFolder, run
from voicerag_core.settings import Settings, load_settings
from voicerag_core.stack import open_parts
from voicerag_core.types import Answer, Document, Passage, Sampling, SecondRound, Strategy

__all__ = ["RAG", "add_options", "chunked", "run_original"]

RAG: Final = ("e2e", "asr", "oracle", "none")
"""By the sound; by its transcript; by the written question; without any passage."""


def add_options(
    parser: argparse.ArgumentParser,
    *,
    data_path: Path,
    input_path: Path | None,
    k: int = 4,
    chunk_size: int = 1000,
) -> None:
    """Add the options that the original's scripts share.

    Args:
        parser: Of the script.
        data_path: Default of the questions.
        input_path: Default of the folder of clips; None: they are spoken, or part of the data.
        k: Default number of chunks.
        chunk_size: Default length of a chunk, in characters.
    """
    parser.add_argument("--data-path", type=Path, default=data_path, help="the questions")
    parser.add_argument(
        "--input-path",
        type=Path,
        default=input_path,
        help="folder of QUESTION_ID/question.wav; without it questions are spoken by a voice",
    )
    parser.add_argument("--rag", choices=RAG, default="e2e", help="how passages are found")
    parser.add_argument("--k", type=int, default=k, help="chunks found for a question")
    parser.add_argument("--chunk-size", type=int, default=chunk_size, help="characters")
    parser.add_argument("--chunk-overlap", type=int, default=100, help="characters")
    parser.add_argument("--limit", type=int, help="most questions; default: all")
    parser.add_argument("--stack", choices=("local", "glm"), help="default: VOICERAG_STACK")
    parser.add_argument("--data-dir", type=Path, help="default: your data folder")
    parser.add_argument("--out", type=Path, default=Path("original-run"), help="folder of the run")


def run_original(
    found: EvalSet,
    options: argparse.Namespace,
    *,
    strategy: Strategy | None = None,
    second_round: SecondRound = "always",
) -> Iterator[Table]:
    """Ask every question over its own passages, and yield the tables of the run.

    Args:
        found: The questions.
        options: As `add_options` added them.
        strategy: Instead of that of ``--rag``.
        second_round: When ``two_round`` searches again.

    Raises:
        ConfigError: The options contradict each other.
        VoiceRAGError: A part failed.
    """
    if options.input_path is not None:
        found = with_clips(found, options.input_path)
    found = drawn(chunked(found, options.chunk_size, options.chunk_overlap), options.limit, 17)
    own = any(one.own for one in found.questions)
    settings = load_settings(data_dir=options.data_dir, stack=options.stack, speak=False)
    if options.rag == "none" and strategy is None:
        yield from tables(list(_without_passages(found, options, settings)), seen=True)
        return
    typed = options.rag == "oracle"
    sound: Strategy = strategy or ("asr" if options.rag == "asr" else "e2e")
    config = RunConfig(
        sets=("simple=given",), strategies=(sound,), stores=("own",) if own else ("shared",),
        typed=None if typed else 0, spoken=0 if typed else None, hard=0, conditions=(),
        answers=None, two_round=False, second_round=second_round,
        limit=max(options.k, 1), read=max(options.k, 1),
    )  # fmt: skip
    records = run(options.out, config, settings, loaded={"simple=given": found})
    yield from tables(records, seen=True)


def chunked(found: EvalSet, size: int, overlap: int) -> EvalSet:
    """Cut the passages of a set into chunks; a right passage stands for all of its chunks.

    Where all sources are needed, the first chunk of each is; short passages stay as they are.
    """
    chunks: dict[str, list[Passage]] = {}
    for one in found.passages:
        if len(one.text) <= size:
            chunks[one.id] = [one]
            continue
        pieces = chunk_document(Document(one.id, one.text, one.title), size=size, overlap=overlap)
        chunks[one.id] = [replace(piece, id=f"{one.id}.{n}") for n, piece in enumerate(pieces)]

    def moved(question: EvalQuestion) -> EvalQuestion:
        sources = [chunks[name] for name in question.sources]
        kept = [own[:1] for own in sources] if question.all_sources else sources
        return replace(
            question,
            sources=tuple(piece.id for own in kept for piece in own),
            own=tuple(piece.id for name in question.own for piece in chunks[name]),
        )

    return checked(
        replace(
            found,
            passages=tuple(piece for own in chunks.values() for piece in own),
            questions=tuple(moved(one) for one in found.questions),
        )
    )


def _without_passages(
    found: EvalSet, options: argparse.Namespace, settings: Settings
) -> Iterator[Record]:
    """Let the model answer from what it knows by itself."""
    place = RunFolder(options.out)
    place.begin(RunConfig(sets=("simple=none",), answers=None), {"stack": settings.stack})
    done = {record.question: record for record in place.records()}
    with open_parts(settings) as parts:
        for one in found.questions:
            if one.id not in done:
                question = one.text if one.sound is None else read_audio(one.sound)
                if not question:
                    raise ConfigError(f"question {one.id!r} has neither words nor sound")
                start = Record(found.name, "none", one.id, "typed", "none", one.text,
                               answers=one.answers, answerable=one.answerable)  # fmt: skip
                try:
                    pieces = parts.text_model.respond(question, [], sampling=Sampling(seed=17))
                    whole = sum(pieces, Answer())
                except VoiceRAGError as error:
                    place.add(replace(start, refused=str(error), answered=False, answer=""))
                    continue
                scores = {
                    "em": best(exact_match, whole.text, one.answers),
                    "f1": best(lambda said, gold: f1(said, gold).f1, whole.text, one.answers),
                    "contained": best(contained, whole.text, one.answers),
                }
                place.add(replace(start, answer=whole.text, answered=whole.answered,
                                  measures=scores))  # fmt: skip
    yield from place.records()
