"""Retrieval from speech, with and without a transcript, on the same clips.

    python -m benchmarks.speech.retrieval --data DATA --out benchmarks/results/retrieval.md

XQuAD questions of the report half in several voices, some of them held out from training, over all
240 paragraphs in an embedded Postgres; the held-out voices also with noise at 20 to 0 dB and
through a simulated telephone. Then 300 spoken questions and recordings of people: the nearest text
of the same set. Every clip passes all routes before the next one, in rotating order. Questions are
synthesized once and cached. Without ``--data`` only XQuAD runs, clean and through the telephone.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import platformdirs

from benchmarks.sample import read_rows
from benchmarks.speech.retrieval_figures import MISSED, Outcome
from benchmarks.speech.retrieval_report import report, sweep
from benchmarks.speech.spoken_sets import (
    Clip,
    installed_voices,
    llama_questions,
    people,
    report_questions,
    speak,
    spoiled,
)
from benchmarks.speech.transcribe import edits, words_of
from voicerag_core import Audio, Passage, VoiceRAG, load_settings, open_voicerag
from voicerag_core.errors import AudioError
from voicerag_core.local.hearing.ctc_recognizer import CTCRecognizer
from voicerag_core.local.hearing.number_words import with_digits
from voicerag_core.retrieval import STRATEGIES
from voicerag_core.types import Embedding, Embeddings, Strategy

ROUTES: tuple[Strategy, ...] = ("e2e", "asr")
DEPTH = 10

Listen = Callable[[Audio], tuple[Embedding, str]]
"""From a clip to its vector, and to the words in it as far as the route knows them."""


def index(rag: VoiceRAG) -> None:
    rows = read_rows("passages.jsonl")
    rag.index([Passage(row["id"], row["text"], {"title": row["title"]}) for row in rows])


def turn(routes: Sequence[Strategy], number: int) -> list[Strategy]:
    """Rotate the order of the routes."""
    start = number % len(routes)
    return [*routes[start:], *routes[:start]]


def search(rag: VoiceRAG, clip: Clip, route: Strategy) -> Outcome:
    """Query the store, and look for the right passage among the first ten."""
    rank, vector, transcribed, refused = MISSED, None, route != "e2e", False
    start = time.perf_counter()
    try:
        retrieved = rag.retrieve(clip.audio, limit=DEPTH, strategy=route)
    except AudioError:
        refused = True
    else:
        found = [hit.passage.id for hit in retrieved.hits]
        rank = found.index(clip.item.right) if clip.item.right in found else MISSED
        vector = sum(retrieved.timings.get(stage, 0.0) for stage in ("transcribe", "embed"))
        transcribed = retrieved.transcription is not None
    seconds = time.perf_counter() - start
    return Outcome(
        "XQuAD", clip.group, clip.condition, clip.item.id, route, rank, clip.audio.seconds,
        seconds if vector is None else vector, seconds, transcribed=transcribed, refused=refused,
    )  # fmt: skip


def nearest(
    clip: Clip,
    texts: Embeddings,
    row: int,
    *,
    route: Strategy,
    listen: Listen,
    words: str | None,
) -> Outcome:
    """Rank the clip's text among all texts of its set; ties count against it.

    Args:
        clip: The spoken text.
        texts: Vectors of all texts.
        row: Index of the clip's text.
        route: Name of the route.
        listen: The route.
        words: Transcript of the route, if it does not search by it.
    """
    start = time.perf_counter()
    rank, heard, refused = MISSED, "", False
    try:
        embedding, heard = listen(clip.audio)
    except AudioError:
        refused = True
    else:
        similar = texts @ embedding
        rank = int((similar >= similar[row]).sum()) - 1
    seconds = time.perf_counter() - start
    spoken = words_of(with_digits(clip.item.text))
    wrong = edits(spoken, words_of(with_digits(heard if words is None else words)))
    return Outcome(
        clip.group, clip.group, clip.condition, clip.item.id, route, rank, clip.audio.seconds,
        seconds, seconds, len(spoken), wrong, route != "e2e", refused,
    )  # fmt: skip


def nearest_texts(rag: VoiceRAG, encoder: CTCRecognizer, clips: Sequence[Clip]) -> list[Outcome]:
    transcriber = rag.transcriber
    assert transcriber is not None

    def by_sound(audio: Audio) -> tuple[Embedding, str]:
        return rag.embedder.embed_speech([audio])[0], ""

    def by_words(audio: Audio) -> tuple[Embedding, str]:
        words = transcriber.transcribe(audio).text
        return rag.embedder.embed_passages([words])[0], words

    said = list(dict.fromkeys(clip.item.text for clip in clips))
    texts = rag.embedder.embed_passages(said)
    guesses = [encoder.hear([clip.audio])[0].hypotheses[0].text for clip in clips]
    outcomes = []
    for number, (clip, guess) in enumerate(zip(clips, guesses, strict=True)):
        row = said.index(clip.item.text)
        for route in turn(ROUTES, number):
            listen, words = (by_sound, guess) if route == "e2e" else (by_words, None)
            outcomes.append(nearest(clip, texts, row, route=route, listen=listen, words=words))
    return outcomes


def ask_all(rag: VoiceRAG, clips: Sequence[Clip], routes: Sequence[Strategy]) -> list[Outcome]:
    for route in routes:
        search(rag, clips[0], route)
    return [
        search(rag, clip, route)
        for number, clip in enumerate(clips)
        for route in turn(routes, number)
    ]


def measure(rag: VoiceRAG, options: argparse.Namespace) -> tuple[list[Outcome], dict[str, bool]]:
    """Run everything; return the outcomes, and for each voice whether it was trained on."""
    voices = installed_voices(options.voices)
    items = report_questions(options.limit)
    outcomes: list[Outcome] = []
    for voice in voices:
        clips = speak(items, voice, options.clips)
        outcomes += ask_all(rag, clips, ROUTES if voice.trained else tuple(STRATEGIES))
        if not voice.trained:
            harder = spoiled(clips[: options.noisy], options.data)
            outcomes += ask_all(rag, harder, ROUTES)
        print(f"{voice.name}: {sweep(outcomes, voice.name)}", flush=True)
    if options.data is not None:
        encoder = CTCRecognizer()
        encoder.warm()
        for clips in (llama_questions(options.data, options.llama), people(options.data)):
            outcomes += nearest_texts(rag, encoder, clips)
            print(f"{clips[0].group}: {sweep(outcomes, clips[0].group)}", flush=True)
    return outcomes, {voice.name: voice.trained for voice in voices}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with llama_questions, human and noise")
    parser.add_argument("--limit", type=int, default=60, help="XQuAD questions a voice")
    parser.add_argument("--noisy", type=int, default=24, help="of them with noise and telephone")
    parser.add_argument("--llama", type=int, default=300, help="Llama Questions")
    parser.add_argument("--voices", type=Path, help="folder written by bundle_voices.py")
    parser.add_argument(
        "--clips",
        type=Path,
        default=platformdirs.user_cache_path("voicerag", appauthor=False) / "benchmark-clips",
        help="where spoken questions are kept",
    )
    parser.add_argument("--records", type=Path, help="write every outcome, one JSON object a line")
    parser.add_argument("--out", type=Path, help="write the report and its plot")
    options = parser.parse_args()
    if min(options.limit, options.noisy, options.llama) < 1:
        parser.error("--limit, --noisy and --llama are at least 1")
    return options


def main() -> None:
    options = arguments()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(data_dir=Path(folder), speak=False, strategy="e2e")
        with open_voicerag(settings) as rag:
            rag.warm()
            index(rag)
            outcomes, trained = measure(rag, options)
    if options.records:
        lines = (json.dumps(dataclasses.asdict(one)) for one in outcomes)
        options.records.write_text("\n".join(lines) + "\n", encoding="utf-8")
    plot_name = options.out.with_suffix(".svg").name if options.out else "retrieval.svg"
    text, drawing = report(
        outcomes, trained, seconds=time.perf_counter() - start, plot_name=plot_name
    )
    print(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
        (options.out.parent / plot_name).write_text(drawing, encoding="utf-8")


if __name__ == "__main__":
    main()
