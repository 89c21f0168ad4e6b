"""Word error rate and time of speech recognition, compared with faster-whisper on the same weights.

    python -m benchmarks.speech.transcribe --data DATA \
        --rival-python PATH/TO/venv/bin/python --out benchmarks/results/transcribe.md

The rival's environment: ``pip install -r benchmarks/speech/requirements.txt``. Without
``--rival-python`` only our own settings are measured. Every clip passes all candidates before
the next one, in rotating order, so that other load on the machine affects all of them. Texts are
compared in lower case without punctuation; numbers are not spelled out.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from voicerag_core.audio import read_audio, write_wav
from voicerag_core.local.hearing import whisper_network
from voicerag_core.local.hearing.whisper import WhisperTranscriber
from voicerag_core.local.weights.files import weight_folder
from voicerag_core.types import Audio

SETTINGS = {
    "voicerag (15 s, unsure 30 s, 5 beams)": (30.0, 5, whisper_network.SHORT_SECONDS),
    "30 s, 5 beams": (30.0, 5, 0.0),
    "30 s, greedy": (30.0, 1, 0.0),
    "20 s, 5 beams": (20.0, 5, 0.0),
    "15 s, 5 beams": (15.0, 5, 0.0),
    "15 s, greedy": (15.0, 1, 0.0),
}
"""Padding, beams, padding of a first hearing (0: none); the first is what the package does."""


@dataclass
class Clip:
    """A recording with its reference text, and as a 16-bit file that every candidate reads."""

    group: str
    words: list[str]
    audio: Audio
    file: Path


@dataclass
class Score:
    """The result of one candidate on one group."""

    errors: int = 0
    words: int = 0
    exact: int = 0
    seconds: list[float] = field(default_factory=list)


Candidate = Callable[[Clip], tuple[str, float]]


def words_of(text: str) -> list[str]:
    return re.sub(r"[^a-z0-9' ]+", " ", text.lower()).split()


def edits(expected: list[str], found: list[str]) -> int:
    """Count the fewest substitutions, deletions and insertions between two word lists."""
    row = list(range(len(found) + 1))
    for i, word in enumerate(expected, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(found, 1):
            best = min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
            diagonal, row[j] = row[j], best
    return row[-1]


def read_clips(data: Path, folder: Path, every: int) -> list[Clip]:
    listed: list[tuple[str, Path, str]] = []
    questions = data / "llama_questions"
    with (questions / "llama_questions_300.tsv").open(encoding="utf-8") as table:
        for row in list(csv.DictReader(table, delimiter="\t"))[::every]:
            name = Path(row["Wav Filename"]).with_suffix(".flac")
            listed.append(("questions", questions / name, row["Questions"]))
    with (data / "human" / "transcripts.tsv").open(encoding="utf-8") as table:
        listed += [
            ("people", data / "human" / row["file"], row["text"])
            for row in csv.DictReader(table, delimiter="\t")
        ]
    clips = []
    for number, (group, file, text) in enumerate(listed):
        copy = folder / f"{number}.wav"
        write_wav(copy, read_audio(file))
        clips.append(Clip(group, words_of(text), read_audio(copy), copy))
    return clips


def ours(transcriber: WhisperTranscriber, padding: float, beams: int, short: float) -> Candidate:
    def recognise(clip: Clip) -> tuple[str, float]:
        whisper_network.PADDED_SECONDS, whisper_network.BEAMS = padding, beams
        whisper_network.SHORT_SECONDS = short
        start = time.perf_counter()
        text = transcriber.recognise(clip.audio).text
        return text, time.perf_counter() - start

    return recognise


def rival(process: subprocess.Popen[str]) -> Candidate:
    def recognise(clip: Clip) -> tuple[str, float]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{clip.file}\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        return answer["text"], answer["seconds"]

    return recognise


def measure(clips: list[Clip], candidates: dict[str, Candidate]) -> dict[tuple[str, str], Score]:
    scores: dict[tuple[str, str], Score] = {}
    names = list(candidates)
    for name in names:
        candidates[name](clips[0])
    for number, clip in enumerate(clips):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            text, seconds = candidates[name](clip)
            found = words_of(text)
            score = scores.setdefault((name, clip.group), Score())
            score.errors += edits(clip.words, found)
            score.words += len(clip.words)
            score.exact += found == clip.words
            score.seconds.append(seconds)
    return scores


def report(scores: dict[tuple[str, str], Score], threads: int) -> str:
    lines = [
        "# Speech recognition, Whisper tiny.en int8 on CTranslate2",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {threads} threads, 2 cores shared with others.",
        "",
        f"    python -m benchmarks.speech.transcribe {' '.join(shown_arguments())}",
        "",
        "| candidate | clips | WER | exact | p50 s | p95 s |",
        "|---|---|---|---|---|---|",
    ]
    for (name, group), score in sorted(scores.items(), key=lambda item: item[0][1], reverse=True):
        p50, p95 = np.percentile(score.seconds, [50, 95])
        lines.append(
            f"| {name} | {group} | {100 * score.errors / score.words:.2f} % | "
            f"{score.exact}/{len(score.seconds)} | {p50:.2f} | {p95:.2f} |"
        )
    return "\n".join(lines) + "\n"


def shown_arguments() -> list[str]:
    """Return the arguments without the local path of the other environment."""
    hidden = [i + 1 for i, argument in enumerate(sys.argv) if argument == "--rival-python"]
    return ["PYTHON" if i in hidden else a for i, a in enumerate(sys.argv)][1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rival-python")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="take every n-th question only")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    transcriber = WhisperTranscriber(threads=options.threads)
    transcriber.warm()
    candidates = {name: ours(transcriber, *setting) for name, setting in SETTINGS.items()}
    process = None
    if options.rival_python:
        script = Path(__file__).with_name("rival_faster_whisper.py")
        weights = str(weight_folder("whisper-tiny.en"))
        process = subprocess.Popen(
            [options.rival_python, str(script), weights, str(options.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        candidates["faster-whisper (30 s, 5 beams)"] = rival(process)
    with tempfile.TemporaryDirectory() as folder:
        clips = read_clips(options.data, Path(folder), options.every)
        text = report(measure(clips, candidates), options.threads)
    if process is not None and process.stdin is not None:
        process.stdin.close()
        process.wait()
    print(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
