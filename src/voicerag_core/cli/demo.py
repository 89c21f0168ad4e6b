"""``voicerag demo``: the sample knowledge base, indexed once and asked a recorded question."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voicerag_core.cli.ask import load, show_answer, timed
from voicerag_core.cli.command import GlobalOptions
from voicerag_core.cli.index import summary
from voicerag_core.cli.index_progress import index_progress
from voicerag_core.cli.output import say, show_timings
from voicerag_core.cli.question import StrategyName, wav_name
from voicerag_core.cli.sound import Sink, open_player, wav_file
from voicerag_core.errors import DocumentError
from voicerag_core.files import parsed_json
from voicerag_core.types import Audio, Strategy

if TYPE_CHECKING:
    from voicerag_core.rag import VoiceRAG

__all__ = ["COLLECTION", "demo", "find_sample"]

COLLECTION = "sample"
ROUTES: tuple[Strategy, ...] = ("e2e", "asr")
"""The strategies that the demo compares: search by the sound, and by its transcript."""
PASSAGES = "passages.jsonl"
QUESTIONS = "questions.jsonl"
ASKED = "report-16"
"""Recording to ask, if the sample contains it; otherwise the first."""


def demo(
    given: GlobalOptions,
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="WAV file for the spoken answer.")
    ] = Path("answer.wav"),
    sample: Annotated[
        Path | None,
        typer.Option(
            "--sample",
            metavar="DIR",
            show_default=False,
            help="Folder of the sample knowledge base; default: that of the source checkout.",
        ),
    ] = None,
    speech: Annotated[
        bool,
        typer.Option("--speech/--no-speech", help="Answer in speech as well, or in text only."),
    ] = True,
    strategy: StrategyName = None,
) -> None:
    """Index the sample knowledge base and ask it a recorded question.

    The passages are retrieved twice: by the speech vector, and by a transcript. The first run
    creates the database and indexes 240 paragraphs; later runs only ask. The sample has a separate
    collection, so your documents stay untouched.
    """
    wav_name(out)
    folder = find_sample() if sample is None else sample
    asked, recording = _question(folder)
    settings = given.settings(
        collection=given.collection or COLLECTION, strategy=strategy, speak=speech
    )
    from voicerag_core.audio import read_audio
    from voicerag_core.ingest import index_files
    from voicerag_core.stack import open_voicerag

    question = read_audio(recording, max_seconds=settings.max_question_seconds)
    with ExitStack() as stack:
        rag = stack.enter_context(open_voicerag(settings))
        if settings.database_url is None and not os.path.exists(settings.data_dir / "postgres"):
            typer.echo(f"first run: making a database in {settings.data_dir}", err=True)
        seconds = {"load": load(rag, question)}
        start = time.perf_counter()
        with index_progress() as progress:
            report = index_files(
                rag,
                [folder / PASSAGES],
                chunk_size=settings.chunk_size,
                chunk_overlap=settings.chunk_overlap,
                on_progress=progress.update,
            )
        for failure in report.failures:
            raise failure
        seconds["index"] = time.perf_counter() - start
        say("sample", summary(report, seconds["index"]))
        say("question", f"{asked} ({recording.name})")
        _show_routes(rag, question)
        sinks: list[Sink] = []
        if speech:
            sinks.append(stack.enter_context(wav_file(out)))
            player = stack.enter_context(open_player())
            if player is not None:
                sinks.append(player)
        start = time.perf_counter()
        answer = show_answer(timed(rag.stream(question), start, seconds), sinks)
        show_timings({**answer.timings, **seconds})
    if answer.audio is not None:
        say("sound", f"{out} ({answer.audio.seconds:.1f} s)")


def _show_routes(rag: VoiceRAG, question: Audio) -> None:
    """Print what is found with and without a transcript, and how fast."""
    for strategy in ROUTES:
        seconds = []
        for _ in range(2):  # the first run may still load something
            start = time.perf_counter()
            hits = rag.retrieve(question, strategy=strategy).hits
            seconds.append(time.perf_counter() - start)
        best = hits[0].passage.title if hits else "nothing"
        say(strategy, f"{1000 * min(seconds):.0f} ms to the passages; the best: {best}")


def find_sample() -> Path:
    """Find the sample knowledge base in the source checkout, or below the working directory.

    Raises:
        DocumentError: It is in neither place.
    """
    import voicerag_core

    for root in (Path(voicerag_core.__file__).resolve().parents[2], Path.cwd()):
        if os.path.isfile(root / "examples" / "sample" / PASSAGES):
            return root / "examples" / "sample"
    raise DocumentError(
        "the sample knowledge base is not here: it is part of the source repository, not of the "
        "installed package; get a checkout and run `make demo` there, or name the folder with "
        "--sample DIR"
    )


def _question(folder: Path) -> tuple[str, Path]:
    """Return the text and the recording of the demo's question."""
    listed = folder / QUESTIONS
    try:
        with listed.open(encoding="utf-8") as lines:
            rows = [parsed_json(line) for line in lines]
        asked = next((row for row in rows if Path(str(row["audio"])).stem == ASKED), rows[0])
        return str(asked["question"]), folder / str(asked["audio"])
    except OSError as error:
        raise DocumentError(
            f"{folder} is not the sample knowledge base: {listed} cannot be read "
            f"({error.strerror}); expected are {PASSAGES}, {QUESTIONS} and their recordings"
        ) from error
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise DocumentError(
            f"{listed} does not hold JSON objects that have 'question' and 'audio', one per line"
        ) from error
