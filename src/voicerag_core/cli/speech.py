"""``voicerag transcribe`` and ``voicerag speak``: speech recognition and synthesis alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voicerag_core.cli.command import EXIT_FAULT, GlobalOptions
from voicerag_core.cli.output import say, show_json
from voicerag_core.cli.question import given_text, wav_name
from voicerag_core.cli.sound import Player, Sink, open_player, wav_file
from voicerag_core.errors import AudioError, ConfigError, GenerationError

if TYPE_CHECKING:
    from voicerag_core.settings import Settings
    from voicerag_core.types import Audio

__all__ = ["speak", "transcribe"]

MAX_SECONDS = 3600.0
"""Longest recording to transcribe, in seconds; questions are bounded by their setting."""

_DOUBTFUL = (
    "its words are little more than guessed; speak clearly and close to the microphone, in the "
    "language of VOICERAG_LANGUAGE (English unless it is set)"
)


def transcribe(
    given: GlobalOptions,
    *,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", show_default=False, help="Audio files; '-' reads standard input."
        ),
    ],
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line.")
    ] = False,
) -> None:
    """Transcribe audio files, up to an hour each.

    Unusable files are reported and skipped, and doubtful transcripts are marked (exit code 1).
    """
    settings = given.settings(speak=False)
    from voicerag_core.audio import read_audio
    from voicerag_core.local.model import is_doubtful
    from voicerag_core.stack import open_voicerag

    failed = False
    with open_voicerag(settings) as rag:
        if rag.transcriber is None:
            raise ConfigError(f"the stack {settings.stack!r} transcribes nothing")
        for name in files:
            try:
                audio = read_audio(
                    sys.stdin.buffer.read() if name == "-" else name, max_seconds=MAX_SECONDS
                )
                heard = rag.transcriber.transcribe(audio)
            except (AudioError, GenerationError) as error:
                typer.echo(f"skipped {name}: {error}", err=True)
                failed = True
                continue
            doubtful = is_doubtful(heard)
            failed = failed or doubtful
            if json_output:
                seconds = round(audio.seconds, 3)
                show_json(
                    {"file": name, "text": heard.text, "seconds": seconds, "doubtful": doubtful}
                )
            else:
                typer.echo(f"{name}: {heard.text}" if len(files) > 1 else heard.text)
            if doubtful:
                typer.echo(f"doubtful {name}: {_DOUBTFUL}", err=True)
    if failed:
        raise typer.Exit(EXIT_FAULT)


def speak(
    given: GlobalOptions,
    *,
    text: Annotated[
        str,
        typer.Argument(
            metavar="TEXT", show_default=False, help="Text to speak; '-' reads standard input."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", show_default=False, help="Write the speech as WAV."),
    ] = None,
) -> None:
    """Speak a text with the answering voice, or write it as a WAV file."""
    words = _given_words(text)
    settings = given.settings()
    with ExitStack() as stack:
        sinks: list[Sink] = []
        if out is not None:
            sinks.append(stack.enter_context(wav_file(wav_name(out))))
        elif (player := stack.enter_context(open_player())) is not None:
            sinks.append(player)
        else:
            raise AudioError(
                "no loudspeaker can be used here; write the sound with --out FILE "
                "(`voicerag doctor` says what is missing)"
            )
        seconds = 0.0
        for piece in _spoken(words, settings):
            for sink in sinks:
                sink.write(piece)
            seconds += piece.seconds
        for sink in sinks:
            if isinstance(sink, Player):
                sink.finish()
    if out is not None:
        say("sound", f"{out} ({seconds:.1f} s)")


def _given_words(text: str) -> str:
    """Return what is to be said, from standard input for "-"."""
    from voicerag_core.local.speaking.segments import spoken_line

    words = given_text(text, "TEXT")
    if not spoken_line(words):
        raise typer.BadParameter(
            "there is nothing to say; give text with letters or digits", param_hint="TEXT"
        )
    return words


def _spoken(words: str, settings: Settings) -> Iterator[Audio]:
    from voicerag_core.local.speaking.speaker import PiperSpeaker
    from voicerag_core.local.speaking.speech_stream import spoken_sentences
    from voicerag_core.stack.chosen import chosen_speaker

    sentences = spoken_sentences(words, settings.language)
    with ExitStack() as stack:
        speaker = chosen_speaker(settings, stack)
        if isinstance(speaker, PiperSpeaker):
            yield from speaker.stream(sentences)
        else:
            yield from map(speaker.speak, sentences)
