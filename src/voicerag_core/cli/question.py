"""The question of a command: a file, standard input, typed words or the microphone."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from voicerag_core.filters import And, Eq, Filter, In
from voicerag_core.retrieval import STRATEGIES
from voicerag_core.types import Question

__all__ = [
    "AudioFile",
    "Instructions",
    "JsonOutput",
    "Limit",
    "MaxTokens",
    "MinScore",
    "StrategyName",
    "Table",
    "Temperature",
    "Text",
    "TopP",
    "Where",
    "Words",
    "given_question",
    "given_text",
    "metadata_filter",
    "recorded_question",
    "wav_name",
]

AudioFile = Annotated[
    str | None,
    typer.Option(
        "--audio",
        metavar="FILE",
        show_default=False,
        help="Spoken question: wav, flac, ogg, opus, mp3, aiff or caf, and with ffmpeg webm, m4a "
        "and the like; '-' reads it from standard input.",
    ),
]
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="QUESTION",
        show_default=False,
        help="Typed question, in quotation marks; '-' reads it from standard input.",
    ),
]
Text = Annotated[
    str | None,
    typer.Option(
        "--text",
        metavar="QUESTION",
        show_default=False,
        help="The same as an option, for a question that begins with a dash.",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        min=1,
        max=1000,
        show_default=False,
        help="Number of passages to find; default 4.",
    ),
]
StrategyName = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        metavar="NAME",
        show_default=False,
        help=f"How a spoken question is searched: {', '.join(STRATEGIES)}; "
        "`voicerag doctor` names the default.",
    ),
]
Table = Annotated[
    str | None,
    typer.Option(
        "--table",
        metavar="NAME",
        show_default=False,
        help="Ask a Postgres table that another program fills; see `voicerag table inspect`. "
        "(VOICERAG_TABLE)",
    ),
]
MinScore = Annotated[
    float | None,
    typer.Option(
        "--min-score", min=-1, max=1, show_default=False, help="Lowest cosine similarity of a hit."
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="KEY=VALUE",
        show_default=False,
        help="Only passages with this metadata; may be repeated.",
    ),
]
Instructions = Annotated[
    str | None,
    typer.Option(
        "--instructions",
        metavar="TEXT",
        show_default=False,
        help="Manner of speaking: emotion, tone, pace, dialect, role. (VOICERAG_INSTRUCTIONS)",
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        min=0,
        max=2,
        show_default=False,
        help="Of the model that answers. (VOICERAG_TEMPERATURE)",
    ),
]
TopP = Annotated[
    float | None,
    typer.Option(
        "--top-p",
        max=1,
        show_default=False,
        help="Share of the probability mass to draw from, above 0. (VOICERAG_TOP_P)",
    ),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        "--max-tokens",
        min=1,
        max=100_000,
        show_default=False,
        help="Most tokens of an answer. (VOICERAG_MAX_NEW_TOKENS)",
    ),
]
JsonOutput = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def given_question(
    words: list[str] | None, audio: str | None, text: str | None, *, max_seconds: float
) -> Question | None:
    """Read the question given by argument or option; None means the microphone.

    Args:
        words: The arguments of the command.
        audio: The value of --audio.
        text: The value of --text.
        max_seconds: Longest spoken question.

    Raises:
        AudioError: The file is not usable sound, or there is no microphone.
        MissingExtraError: The microphone is needed and the extra ``audio`` is not installed.
    """
    ways = (("QUESTION", words), ("--text", text), ("--audio", audio))
    given = [name for name, value in ways if value]
    if len(given) > 1:
        raise typer.BadParameter(f"give {' or '.join(given)}, not both")
    if words:
        return _typed_question(_one_argument(words), "QUESTION")
    if text is not None:
        return _typed_question(text, "--text")
    if audio is None:
        from voicerag_core.cli.sound import find_microphone

        find_microphone()  # fail before anything is loaded
        return None
    from voicerag_core.audio import read_audio

    source: str | bytes = sys.stdin.buffer.read() if audio == "-" else audio
    return read_audio(source, max_seconds=max_seconds)


def given_text(text: str, name: str) -> str:
    """Return a text given on the command line, or standard input for "-".

    Args:
        text: The value.
        name: The argument or option that it was given for.
    """
    try:
        # Bytes of an argument that are not UTF-8 are surrogates, which have no UTF-8 form.
        given = sys.stdin.buffer.read() if text == "-" else text.encode()
        return given.decode("utf-8-sig")
    except UnicodeError as error:
        raise typer.BadParameter(
            "the text holds bytes that are not UTF-8; convert it first, as with iconv -t UTF-8",
            param_hint=name,
        ) from error


def _one_argument(words: list[str]) -> str:
    if len(words) > 1:
        whole = " ".join(words).replace('"', "'")
        raise typer.BadParameter(
            f'{len(words)} arguments were given; put the question in quotation marks: "{whole}"',
            param_hint="QUESTION",
        )
    word = words[0]
    if _is_file(word):
        raise typer.BadParameter(
            f"{word} is a file, not a question; give a recording with --audio {word}, or a text "
            f"with - < {word}",
            param_hint="QUESTION",
        )
    if _RECORDING.fullmatch(word):
        raise typer.BadParameter(
            f"there is no file {word}; give a recording that exists with --audio, or a question",
            param_hint="QUESTION",
        )
    return word


_RECORDING = re.compile(r"\S+\.(?:wav|mp3|flac|ogg|oga|opus|m4a|aac|webm)", re.IGNORECASE)
"""A word that names a recording and asks nothing."""


def _is_file(word: str) -> bool:
    return bool(Path(word).suffix) and os.path.isfile(word)


def _typed_question(text: str, name: str) -> str:
    question = " ".join(given_text(text, name).split())
    if not any(letter.isalnum() for letter in question):
        given = "standard input holds no question" if text == "-" else "the question is empty"
        raise typer.BadParameter(f"{given}; give words", param_hint=name)
    return question


def recorded_question(max_seconds: float) -> Question:
    """Record the question from the microphone.

    Raises:
        MissingExtraError: The extra ``audio`` is not installed.
        AudioError: There is no microphone, or it cannot be used.
    """
    from voicerag_core.cli.sound import record

    typer.echo("speak now; silence or Enter ends the question", err=True)
    return record(max_seconds)


def metadata_filter(conditions: list[str] | None) -> Filter | None:
    """Build a filter from ``key=value`` conditions that must all hold.

    A value that parses as a number, true, false or null also matches its text, since tables store
    their cells as text.
    """
    nodes: list[Filter] = []
    for condition in conditions or ():
        key, equals, value = condition.partition("=")
        if not equals or not key.strip():
            raise typer.BadParameter(
                f"a condition is KEY=VALUE, not {condition!r}", param_hint="--where"
            )
        nodes.append(_equals(key.strip(), value.strip()))
    return And(tuple(nodes)) if nodes else None


def _equals(key: str, value: str) -> Filter:
    try:
        parsed = json.loads(value, parse_constant=lambda _: value)
    except (ValueError, RecursionError):
        parsed = value
    if isinstance(parsed, list | dict | str):
        return Eq(key, value)
    return In(key, (value, parsed))


def wav_name(path: Path) -> Path:
    """Reject a file name with the ending of another format than WAV."""
    if path.suffix.lower() not in ("", ".wav", ".wave"):
        raise typer.BadParameter(
            f"{path.name}: sound is written as WAV; name it {path.with_suffix('.wav').name}",
            param_hint="--out",
        )
    return path
