"""Speech/noise detection: thresholds chosen on one half, reported on the other.

    python -m training.thresholds.no_speech --data DATA --out benchmarks/results/no_speech.md

Speech: recorded people and synthetic questions, clean and mixed with recorded noise at 20 to 0 dB,
and espeak-ng and flite if installed. Other sound: sections of recorded noise of 2 to 20 s, white,
pink and brown noise of many levels, near-silence, tones, hum and clicks. Items with an even index
in each group are for development, the others are reported.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voicerag_core.audio import read_audio
from voicerag_core.local.hearing import whisper_network
from voicerag_core.local.hearing.whisper import Recognition, WhisperTranscriber
from voicerag_core.types import Audio

RATE = 16_000
UPSTREAM = (0.6, -1.0)
NO_SPEECH = (0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6)
LOG_PROBABILITY = (-0.3, -0.4, -0.5, -0.6, -0.8, -1.0)
VOICES = {
    "espeak-ng": ("en-us", "en-gb", "en-gb-scotland", "en-us+f3"),
    "flite": ("kal", "awb", "rms", "slt", "kal16"),
}

Samples = NDArray[np.float64]
Heard = dict[str, list[Recognition]]


def synthetic(questions: list[str], folder: Path) -> Iterator[tuple[str, Audio]]:
    for program, voices in VOICES.items():
        if shutil.which(program) is None:
            continue
        for voice, number in itertools.product(voices, range(8)):
            file, text = folder / "voice.wav", questions[7 * number + 3]
            if program == "flite":
                command = [program, "-voice", voice, "-t", text, "-o", str(file)]
            else:
                command = [program, "-v", voice, "-w", str(file), text]
            subprocess.run(command, check=True)
            yield program, read_audio(file)


def speech(data: Path, folder: Path) -> Iterator[tuple[str, Audio]]:
    with (data / "llama_questions" / "llama_questions_300.tsv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    people = [read_audio(file) for file in sorted((data / "human").glob("*.wav"))]
    questions = [
        read_audio(data / "llama_questions" / Path(row["Wav Filename"]).with_suffix(".flac"))
        for row in rows[::6]
    ]
    yield from (("people", clip) for clip in people)
    yield from (("questions", clip) for clip in questions)
    yield from synthetic([row["Questions"] for row in rows], folder)
    noises = [noise for _, noise in recorded(data)]
    random = np.random.default_rng(1)
    for decibels in (20, 10, 5, 0):
        for clip in people + questions[:30]:
            noise = excerpt(noises[random.integers(len(noises))], len(clip.samples), random)
            power = np.mean(np.square(clip.samples)) / (np.mean(np.square(noise)) + 1e-12)
            gain = np.sqrt(power) / 10 ** (decibels / 20)
            yield f"noisy, {decibels} dB", as_audio(clip.samples + gain * noise)


def recorded(data: Path) -> Iterator[tuple[str, Samples]]:
    for file in sorted((data / "noise").glob("*.wav")):
        if not file.name.startswith("rir"):
            yield file.stem, read_audio(file, max_seconds=600).samples.astype(np.float64)


def excerpt(sound: Samples, count: int, random: np.random.Generator) -> Samples:
    sound = np.tile(sound, -(-count // len(sound)))
    start = random.integers(len(sound) - count + 1)
    return sound[start : start + count]


def as_audio(samples: NDArray[np.floating]) -> Audio:
    return Audio(samples.astype(np.float32), RATE)


def other_sound(data: Path) -> Iterator[tuple[str, Audio]]:
    random = np.random.default_rng(0)
    for (_, sound), seconds in itertools.product(recorded(data), (2, 4, 8, 20)):
        for _ in range(4):
            yield f"recorded, {seconds} s", as_audio(excerpt(sound, seconds * RATE, random))
    slopes = {"white": 0.0, "pink": 0.5, "brown": 1.0}
    for (name, slope), seconds in itertools.product(slopes.items(), (1, 3, 5, 8, 8, 15)):
        white = np.fft.rfft(random.standard_normal(seconds * RATE))
        shaped = np.fft.irfft(white / np.maximum(1, np.arange(len(white))) ** slope)
        yield name, as_audio(10 ** random.uniform(-3, -0.3) * shaped / np.abs(shaped).max())
    for seconds in (1, 3, 8, 20):
        yield "near-silence", as_audio(1e-4 * random.standard_normal(seconds * RATE))
    time = np.arange(4 * RATE) / RATE
    for pitch in (50, 220, 440, 1000, 3000):
        yield "tone", as_audio(0.3 * np.sin(2 * np.pi * pitch * time))
    for _ in range(5):
        hum = sum(0.1 / k * np.sin(2 * np.pi * 50 * k * time) for k in range(1, 8))
        yield "hum", as_audio(hum + 0.003 * random.standard_normal(len(time)))
        yield "clicks", as_audio(0.8 * (random.random(len(time)) < 5 / RATE))


def listen(whisper_: WhisperTranscriber, clips: Iterator[tuple[str, Audio]]) -> Heard:
    heard: Heard = {}
    for group, clip in clips:
        heard.setdefault(group, []).append(whisper_.recognise(clip))
    return heard


def wrong(heard: Heard, part: slice, is_wrong: Callable[[Recognition], bool]) -> tuple[int, int]:
    chosen = [one for group in heard.values() for one in group[part]]
    return sum(map(is_wrong, chosen)), len(chosen)


def is_speech(one: Recognition, limits: tuple[float, float]) -> bool:
    words = any(letter.isalnum() for letter in one.text)
    return words and not (one.no_speech_prob > limits[0] and one.avg_logprob < limits[1])


def report(spoken: Heard, other: Heard) -> str:
    develop, rest = slice(0, None, 2), slice(1, None, 2)

    def errors(part: slice, limits: tuple[float, float]) -> tuple[tuple[int, int], tuple[int, int]]:
        rejected = wrong(spoken, part, lambda one: not is_speech(one, limits))
        return rejected, wrong(other, part, lambda one: is_speech(one, limits))

    grid = list(itertools.product(NO_SPEECH, LOG_PROBABILITY))
    totals = {limits: sum(count for count, _ in errors(develop, limits)) for limits in grid}
    fewest = min(totals.values())
    best = [limits for limits in grid if totals[limits] == fewest]
    shipped = (whisper_network.NO_SPEECH_PROBABILITY, whisper_network.AVERAGE_LOG_PROBABILITY)
    lines = [
        "# Speech or not, by Whisper tiny.en's own probabilities",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}. Command:",
        "",
        f"    python -m training.thresholds.no_speech {' '.join(sys.argv[1:])}",
        "",
        "A clip is refused when its no-speech probability is above the first limit and its mean",
        "log-probability below the second, or when it has no words.",
        "",
        f"Fewest errors on the development half: {fewest}, with {best}.",
        "",
        "| limits | half | speech refused | other sound accepted |",
        "|---|---|---|---|",
    ]
    for name, limits in (("shipped", shipped), ("upstream's", UPSTREAM)):
        for half, part in (("development", develop), ("report", rest)):
            refused, accepted = errors(part, limits)
            lines.append(
                f"| {name} {limits} | {half} | {refused[0]}/{refused[1]} | "
                f"{accepted[0]}/{accepted[1]} |"
            )
    lines += [
        "",
        "| group | clips | no-speech probability, least to most | log-probability |",
        "|---|---|---|---|",
    ]
    for group, ones in [*spoken.items(), *other.items()]:
        silent = [one.no_speech_prob for one in ones]
        sure = [one.avg_logprob for one in ones]
        lines.append(
            f"| {group} | {len(ones)} | {min(silent):.3f} to {max(silent):.3f} | "
            f"{min(sure):.2f} to {max(sure):.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    transcriber = WhisperTranscriber()
    with tempfile.TemporaryDirectory() as folder:
        spoken = listen(transcriber, speech(options.data, Path(folder)))
    text = report(spoken, listen(transcriber, other_sound(options.data)))
    print(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
