"""``voicerag ask`` and ``voicerag search``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voicerag_core.cli.command import EXIT_ASKED_BACK, GlobalOptions
from voicerag_core.cli.output import (
    answer_values,
    hit_values,
    milliseconds,
    say,
    show_hits,
    show_json,
    show_timings,
    status_line,
)
from voicerag_core.cli.question import (
    AudioFile,
    Instructions,
    JsonOutput,
    Limit,
    MaxTokens,
    MinScore,
    StrategyName,
    Table,
    Temperature,
    Text,
    TopP,
    Where,
    Words,
    given_question,
    metadata_filter,
    recorded_question,
    wav_name,
)
from voicerag_core.cli.sound import Player, Sink, open_player, wav_file
from voicerag_core.errors import AudioError, ConfigError
from voicerag_core.types import Answer, Question, Retrieved

if TYPE_CHECKING:
    from voicerag_core.settings import Settings
    from voicerag_core.stack import OpenedVoiceRAG

__all__ = ["ask", "load", "search", "show_answer", "timed"]

MOST_STEM_BYTES = 200
"""Of a clip's name, which has a rank and an ending, too; a name may have 255 bytes."""

Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", show_default=False, help="Write the answer as WAV."),
]


def ask(
    given: GlobalOptions,
    *,
    words: Words = None,
    text: Text = None,
    audio: AudioFile = None,
    out: Out = None,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream/--no-stream",
            help="Show and play the answer as it is generated, or when it is complete.",
        ),
    ] = True,
    speech: Annotated[
        bool,
        typer.Option("--speech/--no-speech", help="Answer in speech as well, or in text only."),
    ] = True,
    limit: Limit = None,
    strategy: StrategyName = None,
    min_score: MinScore = None,
    where: Where = None,
    table: Table = None,
    instructions: Instructions = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    max_tokens: MaxTokens = None,
    json_output: JsonOutput = False,
) -> None:
    """Answer a spoken or typed question from the indexed documents, with sources.

    Without a question it is recorded from the microphone. The answer is played if there is a
    loudspeaker, and written with --out. A spoken question that was not heard well is asked back;
    the exit code is 3 then.
    """
    if out is not None:
        wav_name(out)
        if not speech:
            raise typer.BadParameter(
                "--out needs speech (--no-speech was given)", param_hint="--out"
            )
    condition = metadata_filter(where)
    settings = given.settings(
        strategy=strategy,
        limit=limit,
        table=table,
        instructions=instructions,
        temperature=temperature,
        top_p=top_p,
        max_new_tokens=max_tokens,
    )
    question = given_question(words, audio, text, max_seconds=settings.max_question_seconds)
    from voicerag_core.stack import open_voicerag

    with ExitStack() as stack:
        sinks: list[Sink] = []
        player = None
        speech = speech and not _told_that_no_voice(settings, wanted=speech, out=out)
        if speech and settings.speak and not json_output:
            player = stack.enter_context(open_player())
        if player is not None:
            sinks.append(player)
        if out is not None:
            sinks.append(stack.enter_context(wav_file(out)))
        settings = settings.model_copy(update={"speak": bool(sinks) and settings.speak})
        rag = stack.enter_context(open_voicerag(settings, read_only=True))
        seconds = {"load": load(rag, question)}
        if question is None:
            question = recorded_question(settings.max_question_seconds)
        start = time.perf_counter()
        pieces = rag.stream(question, where=condition, min_score=min_score)
        pieces = timed(pieces, start, seconds)
        if json_output:
            answer = _collected(pieces, sinks)
            asked = question if isinstance(question, str) else answer.transcript
            show_json(answer_values(asked, answer, {**answer.timings, **seconds}))
        else:
            answer = show_answer(pieces, sinks, stream=stream)
            show_timings({**answer.timings, **seconds})
        if out is not None and answer.audio is not None and not json_output:
            say("sound", f"{out} ({answer.audio.seconds:.1f} s)")
    if answer.asked_back:
        raise typer.Exit(EXIT_ASKED_BACK)


def _told_that_no_voice(settings: Settings, *, wanted: bool, out: Path | None) -> bool:
    """Return whether the language has no voice, and say so where speech is wanted.

    Raises:
        ConfigError: The speech was to be written to a file.
    """
    from voicerag_core.stack.chosen import lacks_voice, no_voice

    if not lacks_voice(settings) or settings.stack != "local":
        return False
    if out is not None:
        raise ConfigError("; ".join(no_voice(settings)))
    if wanted and settings.speak:
        typer.echo(f"text only: {'; '.join(no_voice(settings))}", err=True)
    return True


def search(
    given: GlobalOptions,
    *,
    words: Words = None,
    text: Text = None,
    audio: AudioFile = None,
    limit: Limit = None,
    strategy: StrategyName = None,
    min_score: MinScore = None,
    diversity: Annotated[
        float,
        typer.Option(
            "--diversity",
            min=0,
            max=1,
            help="Above 0, prefer passages that differ from each other.",
        ),
    ] = 0.0,
    where: Where = None,
    table: Table = None,
    clips: Annotated[
        Path | None,
        typer.Option(
            "--clips",
            metavar="DIR",
            show_default=False,
            help="Folder for hits in recordings, one WAV file per hit.",
        ),
    ] = None,
    json_output: JsonOutput = False,
) -> None:
    """Find the passages for a spoken or typed question, without an answer."""
    condition = metadata_filter(where)
    settings = given.settings(strategy=strategy, limit=limit, speak=False, table=table)
    question = given_question(words, audio, text, max_seconds=settings.max_question_seconds)
    from voicerag_core.stack import open_voicerag

    with open_voicerag(settings, read_only=True) as rag:
        seconds = {"load": load(rag, question)}
        if question is None:
            question = recorded_question(settings.max_question_seconds)
        found = rag.retrieve(question, where=condition, min_score=min_score, diversity=diversity)
    timings = {**found.timings, **seconds}
    heard = None if found.transcription is None else found.transcription.text
    written = [] if clips is None else _write_clips(found, clips)
    if json_output:
        show_json(
            {
                "question": question if isinstance(question, str) else heard,
                "hits": [hit_values(hit) for hit in found.hits],
                **({"notes": list(found.notes)} if found.notes else {}),
                "timings_ms": milliseconds(timings),
                **({} if clips is None else {"clips": [str(path) for path in written]}),
            }
        )
        return
    if heard is not None:
        say("heard", heard)
    for note in found.notes:
        typer.echo(note, err=True)
    if not found.hits:
        typer.echo("nothing was found", err=True)
    show_hits(found.hits)
    for path in written:
        say("clip", str(path))
    show_timings(timings)


def _write_clips(found: Retrieved, folder: Path) -> list[Path]:
    """Write the hits found in recordings as WAV files, best first."""
    from voicerag_core.audio import write_wav
    from voicerag_core.recordings import cut_clip

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AudioError(
            f"{folder} cannot hold clips: {error.strerror or error}; give a folder"
        ) from error
    written = []
    for rank, hit in enumerate(found.hits, 1):
        if hit.passage.metadata.get("kind") == "recording":
            stem = os.fsencode(Path(hit.passage.source).stem)[:MOST_STEM_BYTES]
            path = folder / f"{rank:02}-{stem.decode(errors='ignore')}.wav"
            write_wav(path, cut_clip(hit.passage))
            written.append(path)
    return written


def load(rag: OpenedVoiceRAG, question: Question | None) -> float:
    """Load what a question needs, in parallel, and return how many seconds that took."""
    start = time.perf_counter()
    with status_line("loading models and database"):
        rag.warm(hearing=not isinstance(question, str))
    return time.perf_counter() - start


def show_answer(pieces: Iterator[Answer], sinks: list[Sink], *, stream: bool = True) -> Answer:
    """Print the transcript, the answer (streamed or complete) and its sources."""
    if stream:
        answer = Answer()
        for piece in pieces:
            if piece.transcript is not None and answer.transcript is None:
                say("heard", piece.transcript)
            if piece.text and not answer.text:
                typer.echo(typer.style(f"{'answer':<10}", bold=True), nl=False)
            typer.echo(piece.text, nl=False)
            _sound(piece, sinks)
            answer += piece
        typer.echo()
    else:
        answer = _collected(pieces, [])
        if answer.transcript is not None:
            say("heard", answer.transcript)
        _sound(answer, sinks)
        say("answer", answer.text)
    for sink in sinks:
        if isinstance(sink, Player):
            sink.finish()
    for note in answer.notes:
        typer.echo(note, err=True)
    if answer.hits:
        typer.echo()
        show_hits(answer.hits, answer.citations)
        typer.echo()
    return answer


def _collected(pieces: Iterator[Answer], sinks: list[Sink]) -> Answer:
    def add(answer: Answer, piece: Answer) -> Answer:
        _sound(piece, sinks)
        return answer + piece

    return reduce(add, pieces, Answer())


def _sound(piece: Answer, sinks: list[Sink]) -> None:
    if piece.audio is not None:
        for sink in sinks:
            sink.write(piece.audio)


def timed(pieces: Iterator[Answer], start: float, seconds: dict[str, float]) -> Iterator[Answer]:
    """Yield the pieces, and record when the first words and the first sound arrived."""
    for piece in pieces:
        now = time.perf_counter() - start
        if piece.text:
            seconds.setdefault("first_text", now)
        if piece.audio is not None:
            seconds.setdefault("first_sound", now)
        yield piece
    seconds["total"] = time.perf_counter() - start
