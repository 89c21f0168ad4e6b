"""``voicerag chat``: one question after another, typed or spoken."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Annotated, Final

import typer

from voicerag_core.cancellation import Cancellation
from voicerag_core.cli.ask import load, show_answer
from voicerag_core.cli.command import GlobalOptions
from voicerag_core.cli.output import say
from voicerag_core.cli.question import (
    Instructions,
    Limit,
    MaxTokens,
    MinScore,
    StrategyName,
    Table,
    Temperature,
    TopP,
    Where,
    metadata_filter,
)
from voicerag_core.cli.sound import Player, Sink, find_microphone, open_player, record
from voicerag_core.conversation import Conversation, Speculation
from voicerag_core.errors import AudioError, ConfigError, MissingExtraError, VoiceRAGError
from voicerag_core.types import Audio, Question

if TYPE_CHECKING:
    from voicerag_core.settings import Settings
    from voicerag_core.stack import OpenedVoiceRAG

__all__ = ["chat"]

PROMPT: Final = "> "
QUIT: Final = ("/quit", "/exit", "/q")
NEW: Final = "/new"


def chat(
    given: GlobalOptions,
    *,
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
) -> None:
    """Talk with the indexed documents: type a question, or press Enter and speak it.

    Questions may go on from earlier ones: "Who founded it?", then "And when?". /new forgets what
    was said, /quit ends, as Ctrl-D and Ctrl-C do; while an answer is given, Ctrl-C stops that.
    """
    condition = metadata_filter(where)
    settings = given.settings(
        strategy=strategy,
        limit=limit,
        table=table,
        instructions=instructions,
        temperature=temperature,
        top_p=top_p,
        max_new_tokens=max_tokens,
        speak=None if speech else False,
    )
    from voicerag_core.stack import open_voicerag

    hears = _hears()
    with ExitStack() as stack:
        settings = _with_voice(settings, stack)
        rag = stack.enter_context(open_voicerag(settings, read_only=True))
        load(rag, None if hears else "typed")
        _stand_by(rag)
        talk = Conversation(rag, where=condition, min_score=min_score)
        _greet(hears=hears)
        for question in _questions(talk, settings, hears=hears):
            _answer(talk, question, speak=settings.speak)


def _hears() -> bool:
    """Whether a question can be spoken: at a terminal, with a microphone."""
    if not sys.stdin.isatty():
        return False
    try:
        find_microphone()
    except (MissingExtraError, AudioError):
        return False
    return True


def _with_voice(settings: Settings, stack: ExitStack) -> Settings:
    """Turn speech off where nothing can be heard: no loudspeaker, or no voice of the language."""
    from voicerag_core.stack.chosen import lacks_voice

    if settings.stack == "local" and lacks_voice(settings):
        return settings.model_copy(update={"speak": False})
    if settings.speak:
        with open_player() as player:
            if player is None:
                return settings.model_copy(update={"speak": False})
    return settings


def _stand_by(rag: OpenedVoiceRAG) -> None:
    """Have a second voice ready, so that a question does not wait for an answer given up."""
    from voicerag_core.local.speaking.speaker import PiperSpeaker

    if isinstance(rag.speaker, PiperSpeaker):
        rag.speaker.stand_by()


def _greet(*, hears: bool) -> None:
    spoken = ", or press Enter and speak" if hears else ""
    typer.echo(f"Type a question{spoken}; /new forgets what was said, /quit ends.", err=True)


def _questions(
    talk: Conversation, settings: Settings, *, hears: bool
) -> Iterator[Question | Speculation]:
    """Yield the questions of the user, until they end."""
    while True:
        if sys.stdin.isatty():
            typer.echo(PROMPT, nl=False, err=True)
        line = sys.stdin.readline()
        if not line:
            return
        words = " ".join(line.split())
        if words.lower() in QUIT:
            return
        if words.lower() == NEW:
            while talk.turns:
                talk.remove()
            typer.echo("forgotten", err=True)
        elif words.startswith("/"):
            typer.echo(f"{words.split()[0]} is no command; there are {NEW} and {QUIT[0]}", err=True)
        elif any(letter.isalnum() for letter in words):
            yield words
        elif words:
            typer.echo("that is no question; give words", err=True)
        elif hears and (heard := _listened(talk, settings)) is not None:
            yield heard


def _listened(talk: Conversation, settings: Settings) -> Question | Speculation | None:
    """Record a question, and search for it at its first pause; None when nobody spoke."""
    early: Speculation | None = None

    def paused(audio: Audio) -> None:
        nonlocal early
        early = talk.speculate(audio)

    def resumed() -> None:
        nonlocal early
        if early is not None:
            early.cancel()
            early = None

    typer.echo("speak now; silence or Enter ends the question", err=True)
    try:
        audio = record(settings.max_question_seconds, paused=paused, resumed=resumed)
    except AudioError as error:
        resumed()
        typer.echo(f"{error}", err=True)
        return None
    return early or audio


def _answer(talk: Conversation, question: Question | Speculation, *, speak: bool) -> None:
    """Show an answer and play it; an error ends this turn, an interrupt stops this answer."""
    call = Cancellation()
    sinks: list[Sink] = []
    with ExitStack() as stack:
        player: Player | None = stack.enter_context(open_player()) if speak else None
        if player is not None:
            sinks.append(player)
        try:
            with call.active(), closing(talk.stream(question)) as pieces:
                show_answer(pieces, sinks)
        except ConfigError:
            raise
        except VoiceRAGError as error:
            typer.echo(f"error: {error}", err=True)
        except KeyboardInterrupt:
            call.cancel()
            if player is not None:
                _cut_to_what_was_played(talk, player)
            typer.echo()
            say("stopped", "ask on, or end with /quit")


def _cut_to_what_was_played(talk: Conversation, player: Player) -> None:
    """Keep of an answer that was stopped what the loudspeaker played of it."""
    player.stop()
    if talk.turns:
        talk.truncate(min(player.played_seconds, talk.spoken_seconds()))
