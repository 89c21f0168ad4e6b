"""``voicerag models``, and what ``voicerag doctor`` says of each model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import typer

from voicerag_core.cli.checks import Finding
from voicerag_core.cli.command import GlobalOptions
from voicerag_core.cli.output import show_json
from voicerag_core.cli.question import JsonOutput
from voicerag_core.errors import AudioError, VoiceRAGError

if TYPE_CHECKING:
    from voicerag_core.settings import Part, Settings
    from voicerag_core.stack import Parts

__all__ = ["calls", "chosen_parts", "models"]

HTTP: Final = "http"
WORD: Final = "Ready."


@dataclass(frozen=True, slots=True)
class Choice:
    """What can be chosen for a part.

    Args:
        part: Name of the part.
        variable: The variable that chooses it.
        chosen: The running choice.
        choices: All of them.
        sent: What a server receives, with the choice ``http``.
        examples: Models that are known to fit.
    """

    part: Part
    variable: str
    chosen: str
    choices: tuple[str, ...]
    sent: str
    examples: tuple[str, ...] = ()


_FOLDER = "a folder or a name on the hub"

_CHOICES: Final[dict[Part, tuple[tuple[str, ...], str, tuple[str, ...]]]] = {
    "chat": (
        ("none: a reader quotes the documents", "http: an OpenAI-compatible server"),
        "the question in words, earlier turns and the passages found",
        ("Ollama, LM Studio, vLLM, llama.cpp, OpenAI",),
    ),
    "transcriber": (
        (
            "local: Whisper tiny.en; for languages besides English, Whisper base",
            f"{_FOLDER}: Whisper for CTranslate2",
            "glm: GLM-4-Voice",
            "sonar",
            "http: /audio/transcriptions",
        ),
        "the sound of spoken questions and of recordings",
        ("Systran/faster-whisper-small", "Systran/faster-whisper-large-v3"),
    ),
    "embedder": (
        (
            "local: MiniLM and a speech encoder; for languages besides English, as multilingual",
            "multilingual: multilingual-e5-small",
            f"{_FOLDER}: an ONNX encoder",
            "sonar",
            "http: /embeddings",
        ),
        "the text of every document that is indexed, and questions in words",
        ("intfloat/multilingual-e5-small", "BAAI/bge-small-en-v1.5"),
    ),
    "reranker": (
        (
            "none",
            "local: the reader's network (English)",
            f"{_FOLDER}: an ONNX cross-encoder",
            "http: /rerank",
        ),
        "the question in words and the passages found",
        ("cross-encoder/ms-marco-MiniLM-L6-v2", "BAAI/bge-reranker-v2-m3"),
    ),
    "voice": (
        ("local: Piper's Joe (English)", "the .onnx file of a Piper voice", "http: /audio/speech"),
        "the text of the answers",
        (),
    ),
}
"""Choices, what a server receives, and examples."""


GLM_SERVER_RECEIVES: Final = "questions as speech tokens or text, and the passages"


def models(given: GlobalOptions, *, json_output: JsonOutput = False) -> None:
    """List the models that can be chosen for each part, and those that are.

    Each is chosen by a variable, such as VOICERAG_CHAT. The choice "http" takes the URL, the name
    and the key of the model from the variables VOICERAG_CHAT_URL, _MODEL and _KEY or _KEY_FILE.
    """
    settings = given.settings()
    listed = [_choice(settings, part) for part in _CHOICES]
    if json_output:
        show_json({"parts": [asdict(one) for one in listed]})
        return
    for one in listed:
        typer.echo(f"{one.variable}={one.chosen}")
        for choice in one.choices:
            typer.echo(f"    {choice}")
        if one.examples:
            typer.echo(f"    for example {', '.join(one.examples)}")
        typer.echo(f"    with http, the server receives {one.sent}")


def chosen_parts(settings: Settings) -> Iterator[Finding]:
    """Say what each part is, where it runs, and what leaves this machine."""
    leaving = 0
    if settings.stack == "glm" and settings.glm_lm == "vllm":
        leaves, findings = _served(settings, "glm_server", GLM_SERVER_RECEIVES)
        leaving += leaves
        yield from findings
    for part in _CHOICES:
        given = settings.remote(part)
        if settings.choice(part) == HTTP:
            leaves, findings = _served(settings, part, _CHOICES[part][1])
            leaving += leaves
            yield from findings
            continue
        yield _here(settings, part)
        if given.url is not None:
            yield Finding(
                part, "warn", f"{given.prefix}_URL is set and not used",
                f"set {given.prefix}={HTTP} to use it",
            )  # fmt: skip
    if not leaving:
        yield Finding("privacy", "ok", "no text and no sound leaves this machine")


def _served(settings: Settings, part: Part, sent: str) -> tuple[bool, list[Finding]]:
    """Say which server runs a part; return whether it is on another machine, too.

    Args:
        settings: Name the server.
        part: The part.
        sent: What the server receives.
    """
    from voicerag_core.stack.remote import endpoint

    place = endpoint(settings, part)
    name = f" {place.model!r}" if place.model else ""
    if place.is_here:
        return False, [Finding(part, "ok", f"http:{name} on this machine, at {place.shown}")]
    found = [Finding(part, "ok", f"http:{name} at {place.shown}; it receives {sent}")]
    if place.key and place.shown.startswith("http:"):
        found.append(
            Finding(
                part, "warn", "the key and the data travel without encryption",
                f"use an https address in {settings.remote(part).prefix}_URL",
            )
        )  # fmt: skip
    return True, found


def _here(settings: Settings, part: Part) -> Finding:
    """Say that a part runs on this machine, or that there is no voice for the language."""
    from voicerag_core.stack.chosen import lacks_voice, no_voice

    if settings.stack == "glm" and part in ("chat", "voice"):
        served = part == "chat" and settings.glm_lm == "vllm"
        place = "its language model on the server named above" if served else "on this machine"
        return Finding(part, "ok", f"GLM-4-Voice itself, {place}")
    if part == "voice" and lacks_voice(settings):
        return Finding(part, "warn", *no_voice(settings))
    return Finding(part, "ok", f"{_named(settings, part)}, on this machine")


def _named(settings: Settings, part: Part) -> str:
    """Name the choice of a part with what it is, and where its files come from."""
    choice = settings.choice(part)
    for known in _CHOICES[part][0]:
        if known.partition(":")[0] == choice:
            return known
    from voicerag_core.local.weights.hub import origin

    return origin(choice, settings.data_dir / "weights") or choice


def calls(settings: Settings) -> Iterator[Finding]:
    """Call each part once, with a word, and say how long it took."""
    from voicerag_core.stack import open_parts

    if settings.stack == "glm":
        yield Finding("calls", "ok", "GLM-4-Voice is not loaded for a check")
        return
    with open_parts(settings) as parts:
        yield from _called(settings, parts)


def _called(settings: Settings, parts: Parts) -> Iterator[Finding]:
    from voicerag_core.audio import SPEECH_RATE_HZ, resample

    def embed() -> str:
        return f"width {parts.embedder.embed_passages([WORD]).shape[1]}, {parts.embedder.model_id}"

    yield _timed("embedder", embed)
    clips = []
    if parts.speaker is not None:
        speaker = parts.speaker

        def speak() -> str:
            clips.append(speaker.speak(WORD))
            return f"{clips[0].seconds:.1f} s of speech at {clips[0].sample_rate} Hz"

        yield _timed("voice", speak)
    if parts.transcriber is not None and clips:
        recogniser = parts.transcriber

        def hear() -> str:
            try:
                heard = recogniser.transcribe(resample(clips[0], SPEECH_RATE_HZ))
            except AudioError:
                return "heard no speech in a word of this voice"
            return f"heard {heard.text!r}"

        yield _timed("transcriber", hear)
    if settings.chat == HTTP:
        yield _timed("chat", lambda: _chat(settings))
    if parts.reranker is not None:
        reranker = parts.reranker
        yield _timed("reranker", lambda: f"score {reranker.score(WORD, [WORD])[0]:.2f}")


def _chat(settings: Settings) -> str:
    """Ask the chat model for a word."""
    from contextlib import closing

    from voicerag_core.local.reading.chat import ChatMessage
    from voicerag_core.remote.chat import ChatEndpoint
    from voicerag_core.stack.remote import endpoint

    text = ""
    with (
        ChatEndpoint(endpoint(settings, "chat")) as chat,
        closing(chat([ChatMessage("user", "Say the word: ready")])) as pieces,
    ):
        for piece in pieces:
            text += piece
            if len(text) > len(WORD):
                break
    return f"said {text[:40]!r}"


def _timed(part: str, call: Callable[[], str]) -> Finding:
    """Make a call, and say how long it took with loading."""
    started = time.perf_counter()
    try:
        said = call()
    except VoiceRAGError as error:
        return Finding(part, "fail", str(error), "see the message")
    spent = time.perf_counter() - started
    return Finding(part, "ok", f"one call, with loading: {spent:.2f} s, {said}")


def _choice(settings: Settings, part: Part) -> Choice:
    choices, sent, examples = _CHOICES[part]
    variable = settings.remote(part).prefix
    return Choice(part, variable, settings.choice(part), choices, sent, examples)
