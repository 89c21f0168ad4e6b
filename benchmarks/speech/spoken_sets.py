"""Spoken questions for `retrieval.py`: several voices, with controlled degradation."""

from __future__ import annotations

import contextlib
import csv
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.sample import read_rows
from voicerag_core.audio import SPEECH_RATE_HZ, read_audio, resample
from voicerag_core.errors import ConfigError
from voicerag_core.evaluation.datasets.spoken import load_llama_questions
from voicerag_core.evaluation.speech.degrading import (
    CLEAN,
    NOISE_LEVELS,
    TELEPHONE,
    UNTRAINED_NOISES,
    add_noise,
    telephone,
)
from voicerag_core.evaluation.speech.voices import Clips, Voice
from voicerag_core.local.speaking.speaker import PiperSpeaker
from voicerag_core.types import Audio, Samples

__all__ = [
    "CLEAN",
    "NOISE_LEVELS",
    "TELEPHONE",
    "Clip",
    "Item",
    "Voice",
    "installed_voices",
    "llama_questions",
    "people",
    "report_questions",
    "speak",
    "spoiled",
]


TRAINED = (("espeak", "en-us"), ("flite", "slt"), ("rhvoice", "bdl"), ("pico", "en-US"))
"""Voices that the encoder was trained on, of which the first two installed are taken."""


@dataclass(frozen=True, slots=True)
class Item:
    """A question and its expected result.

    Args:
        id: Unique within its set.
        text: The spoken text.
        right: Id of the passage that answers it; the item's own id if its text is searched for.
    """

    id: str
    text: str
    right: str


@dataclass(frozen=True, slots=True)
class Clip:
    """A spoken question.

    Args:
        item: The question.
        group: The voice, or the name of the set.
        condition: `CLEAN`, `TELEPHONE` or noise such as "10 dB".
        audio: At 16 kHz.
    """

    item: Item
    group: str
    condition: str
    audio: Audio


def installed_voices(root: Path | None) -> list[Voice]:
    """List the voices: two of the training voices, and all held-out ones.

    Args:
        root: Folder written by training/speech_encoder/bundle_voices.py; None: the system's voices.
    """
    from training.speech_encoder import voices

    heard = {
        (voice.engine, voice.name): voice
        for voice in voices.training_voices(root)
        if voice.formants == 1
    }
    trained = [heard[key] for key in TRAINED if key in heard][:2]

    def synthesiser(voice: voices.Voice) -> Voice:
        @contextlib.contextmanager
        def opened() -> Iterator[Callable[[str], Audio]]:
            speaker = voices.Speaker(voice, root)
            yield lambda text: Audio(speaker.speak(text), SPEECH_RATE_HZ)

        return Voice(f"{voice.engine}/{voice.name}", voice in trained, opened)

    return [
        *map(synthesiser, trained),
        *map(synthesiser, voices.held_out_voices(root)),
        Voice("piper/joe", trained=False, open=_piper),
    ]


@contextlib.contextmanager
def _piper() -> Iterator[Callable[[str], Audio]]:
    with PiperSpeaker() as speaker:
        yield lambda text: resample(speaker.speak(text), SPEECH_RATE_HZ)


def report_questions(limit: int) -> list[Item]:
    """Draw XQuAD questions of the report half, the same ones on every machine."""
    items = [
        Item(row["id"], row["question"], row["passage"])
        for row in read_rows("text_questions.jsonl")
        if row["split"] == "report"
    ]
    return sorted(items, key=lambda item: hashlib.sha256(item.id.encode()).digest())[:limit]


def speak(items: Sequence[Item], voice: Voice, folder: Path) -> list[Clip]:
    """Return the questions in a voice; clips that `folder` already contains are reused."""
    with Clips(folder, [voice]) as clips:
        return [Clip(item, voice.name, CLEAN, clips.audio(item.text, voice.name)) for item in items]


def llama_questions(data: Path, limit: int) -> list[Clip]:
    """Read the Llama Questions, evenly sampled if fewer than all are wanted."""
    found = load_llama_questions(data).questions
    chosen = found[:: -(-len(found) // limit)]
    return [
        Clip(Item(one.id, one.text, one.id), "Llama Questions", CLEAN, read_audio(one.sound))
        for one in chosen
        if one.sound is not None
    ]


def people(data: Path) -> list[Clip]:
    """Read the recordings of people."""
    folder = data / "human"
    with (folder / "transcripts.tsv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    return [
        Clip(Item(row["file"], row["text"], row["file"]), "people", CLEAN,
             read_audio(folder / row["file"]))
        for row in rows
    ]  # fmt: skip


def spoiled(clips: Sequence[Clip], data: Path | None) -> list[Clip]:
    """Return every clip through a telephone, and with noise of each level if noise is available.

    The noise and its offset depend on the clip's index, so that every run is the same.
    """
    noises = [] if data is None else [_noise(data, name) for name in UNTRAINED_NOISES]
    result = []
    for number, clip in enumerate(clips):
        result.append(_with(clip, TELEPHONE, telephone(clip.audio.samples)))
        random = np.random.default_rng(number)
        for level in NOISE_LEVELS if noises else ():
            noise = noises[number % len(noises)]
            noisy = add_noise(clip.audio.samples, noise, level, random)
            result.append(_with(clip, f"{level} dB", noisy))
    return result


def _with(clip: Clip, condition: str, samples: Samples) -> Clip:
    return replace(clip, condition=condition, audio=Audio(samples, clip.audio.sample_rate))


def _noise(data: Path, name: str) -> Samples:
    file = data / "noise" / f"{name}.wav"
    if not file.is_file():
        raise ConfigError(f"{file} is missing; --data is the folder that holds noise/{name}.wav")
    return read_audio(file, max_seconds=600).samples
