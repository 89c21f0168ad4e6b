"""Spoken questions for `retrieval.py`: several voices, with controlled degradation."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.sample import read_rows
from voicerag_core.audio import SPEECH_RATE_HZ, read_audio, resample
from voicerag_core.errors import ConfigError
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
PEAK = 0.25
"""Largest sample of a clip: -12 dB, as a careful recording has."""

CLEAN, TELEPHONE = "clean", "telephone"
NOISE_LEVELS = (20, 10, 5, 0)
"""Decibels by which the speech is louder than the noise."""
UNTRAINED_NOISES = ("kitchen", "noise4", "noise5")
"""Of the recorded noises those that training/speech_encoder/prepare.py leaves alone."""
TELEPHONE_BAND_HZ = (300.0, 3400.0)


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


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice that speaks the questions.

    Args:
        name: engine/name.
        trained: Whether the encoder was trained on it.
        open: Context manager that yields a function from text to sound at 16 kHz.
    """

    name: str
    trained: bool
    open: Callable[[], contextlib.AbstractContextManager[Callable[[str], Audio]]]


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
    files = []
    for item in items:
        words = _ascii(item.text)
        name = hashlib.sha256(words.encode()).hexdigest()[:16]
        files.append((words, folder / voice.name.replace("/", "-") / f"{name}.flac"))
    missing = {file: words for words, file in files if not file.is_file()}
    if missing:
        with voice.open() as say:
            for file, words in missing.items():
                file.parent.mkdir(parents=True, exist_ok=True)
                samples = say(words).samples
                _write(file, samples * (PEAK / np.abs(samples).max()))
    return [
        Clip(item, voice.name, CLEAN, read_audio(file))
        for item, (_, file) in zip(items, files, strict=True)
    ]


def _write(file: Path, samples: Samples) -> None:
    """Write atomically, so that an interrupted run leaves no incomplete clip."""
    part = file.with_suffix(".part")
    soundfile.write(part, samples, SPEECH_RATE_HZ, format="FLAC", subtype="PCM_16")
    part.replace(file)


def _ascii(text: str) -> str:
    """Write a question in ASCII, as not every voice can read more."""
    dashes = str.maketrans({"\N{EN DASH}": "-", "\N{EM DASH}": "-", "\N{RIGHT SINGLE QUOTATION MARK}": "'"})  # fmt: skip  # noqa: E501
    decomposed = unicodedata.normalize("NFKD", text.translate(dashes))
    return " ".join(decomposed.encode("ascii", "ignore").decode().split())


def llama_questions(data: Path, limit: int) -> list[Clip]:
    """Read the Llama Questions, evenly sampled if fewer than all are wanted."""
    folder = data / "llama_questions"
    with (folder / "llama_questions_300.tsv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    clips = []
    for row in rows[:: -(-len(rows) // limit)]:
        name = Path(row["Wav Filename"]).with_suffix(".flac")
        item = Item(name.stem, row["Questions"], name.stem)
        clips.append(Clip(item, "Llama Questions", CLEAN, read_audio(folder / name)))
    return clips


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


def add_noise(
    samples: Samples, noise: Samples, level: float, random: np.random.Generator
) -> Samples:
    """Mix in a random section of noise, `level` dB below the speech by mean power."""
    noise = np.tile(noise, -(-len(samples) // len(noise)))
    start = random.integers(len(noise) - len(samples) + 1)
    piece = noise[start : start + len(samples)]
    power = np.mean(np.square(samples)) / max(float(np.mean(np.square(piece))), 1e-12)
    mixed: Samples = (samples + piece * np.sqrt(power) * 10 ** (-level / 20)).astype(np.float32)
    return mixed


def telephone(samples: Samples) -> Samples:
    """Band-limit to a telephone and quantize to 8-bit mu-law (ITU-T G.711, mu 255)."""
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / SPEECH_RATE_HZ)
    low, high = TELEPHONE_BAND_HZ
    narrow = np.fft.irfft(spectrum * ((hertz >= low) & (hertz <= high)), len(samples))
    peak = max(float(np.abs(narrow).max()), 1e-9)
    compressed = np.sign(narrow) * np.log1p(255 * np.abs(narrow) / peak) / np.log(256)
    stepped = np.round(compressed * 127) / 127
    heard: Samples = np.sign(stepped) * (256 ** np.abs(stepped) - 1) / 255 * peak
    return heard.astype(np.float32)
