"""Speak the sample's questions: `questions.jsonl` and `unanswerable.jsonl` into `audio/`.

Usage: python make_audio.py

Needs the programs espeak-ng and flite (Debian 12: 1.51 and 2.2; both produce the same samples on
every run) and the libraries numpy, soundfile and soxr.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import soundfile
import soxr

HERE = Path(__file__).resolve().parent

RATE = 16_000
"""Hz."""

PEAK = 0.25
"""Largest absolute sample of each clip: -12 dB below full scale, as a careful recording has."""


def plain(question: str) -> str:
    """Convert a question to ASCII for the voices: no accents, simple dashes."""
    dashes = str.maketrans(
        {"\N{EN DASH}": "-", "\N{EM DASH}": "-", "\N{RIGHT SINGLE QUOTATION MARK}": "'"}
    )
    decomposed = unicodedata.normalize("NFKD", question.translate(dashes))
    return decomposed.encode("ascii", "ignore").decode()


def command(voice: str, text_file: Path, wav: Path) -> list[str]:
    """Return the command that speaks a text file; `voice` is program/voice."""
    program, name = voice.split("/")
    found = shutil.which(program)
    if found is None:
        sys.exit(f"{program} is not installed: apt install espeak-ng flite")
    if program == "espeak-ng":
        return [found, "-v", name, "-f", str(text_file), "-w", str(wav)]
    return [found, "-voice", name, "-f", str(text_file), "-o", str(wav)]


def speak(question: str, voice: str, flac: Path) -> None:
    """Synthesize a question as mono 16-bit FLAC at 16 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        text_file, wav = Path(folder, "question.txt"), Path(folder, "question.wav")
        text_file.write_text(plain(question) + "\n", encoding="ascii")
        subprocess.run(command(voice, text_file, wav), check=True, capture_output=True)
        samples, rate = soundfile.read(wav, dtype="float32")
    samples = soxr.resample(samples, rate, RATE)
    samples *= PEAK / np.abs(samples).max()
    flac.parent.mkdir(exist_ok=True)
    soundfile.write(flac, samples, RATE, format="FLAC", subtype="PCM_16", compression_level=1.0)


def main() -> None:
    """Speak every question that names an audio file."""
    for name in ("questions.jsonl", "unanswerable.jsonl"):
        for line in (HERE / name).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["audio"] is not None:
                speak(row["question"], row["voice"], HERE / row["audio"])


if __name__ == "__main__":
    main()
