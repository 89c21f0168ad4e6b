"""How often is an English question rejected, and a foreign one accepted?

    python -m benchmarks.speech.language_check FILE... [--speech AUDIO_ENGLISH]

Each file is a tab-separated table (language, question), JSON lines with the key ``question``, or a
file in SQuAD's form; a language other than ``en`` is taken from the table or from a name like
``xquad.zh.json``. With ``--speech`` the foreign questions of the tables are spoken by espeak-ng
where it has the language, recognised by the English recogniser, and the transcripts checked,
compared with those of the English FLAC files in the given folder.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from voicerag_core import read_audio
from voicerag_core.errors import AudioError
from voicerag_core.local.hearing.whisper import WhisperTranscriber
from voicerag_core.local.model import LEAST_CONFIDENCE
from voicerag_core.local.reading import language

ESPEAK_VOICES = {"fr", "de", "es", "it", "pt", "nl", "pl", "ru", "sv"}


def questions(path: Path) -> Iterator[tuple[str, str]]:
    """Yield language and text of every question in a file."""
    if path.suffix == ".tsv":
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                yield (row[0], row[1]) if len(row[0]) == 2 else ("en", row[0])
        return
    if path.suffix == ".jsonl":
        for line in path.read_text(encoding="utf-8").splitlines():
            yield "en", json.loads(line)["question"]
        return
    code = path.suffixes[0].lstrip(".") if len(path.suffixes) > 1 else "en"
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for entry in paragraph["qas"]:
                yield code, entry["question"]


def report_text(path: Path) -> None:
    """Print how the questions of a file are classified, by language."""
    asked: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for code, text in questions(path):
        asked[code] += 1
        wrong[code] += language.is_english(text) != (code == "en")
    for code, count in sorted(asked.items()):
        print(f"{path.name:<28} {code}  {count:>5} questions, {wrong[code]:>3} judged wrongly")


def report_speech(paths: list[Path], english: Path) -> None:
    """Print how the transcripts of foreign and of English speech are classified."""
    recogniser = WhisperTranscriber()
    groups: dict[str, list[tuple[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        clips = [("en", clip) for clip in sorted(english.glob("*.flac"))]
        for path in paths:
            for code, text in questions(path):
                if path.suffix == ".tsv" and code in ESPEAK_VOICES:
                    clip = Path(folder) / f"{len(clips)}.wav"
                    subprocess.run(["espeak-ng", "-v", code, "-w", clip, text], check=True)
                    clips.append((code, clip))
        for code, clip in clips:
            try:
                heard = recogniser.recognise(read_audio(clip))
            except AudioError as error:
                print(f"{clip.name}: {error}")
                continue
            groups.setdefault(code, []).append((heard.text, heard.avg_logprob))
    floor = float(np.quantile([surety for _, surety in groups["en"]], 0.01))
    print(
        f"mean log-probability below which 1 % of the English clips lie: {floor:.2f}; "
        f"in use: {math.log(LEAST_CONFIDENCE):.2f}"
    )
    for code, clips_heard in sorted(groups.items()):
        by_text = np.array([not language.is_english(text) for text, _ in clips_heard])
        unsure = np.array([surety < math.log(LEAST_CONFIDENCE) for _, surety in clips_heard])
        print(
            f"speech {code}: {len(clips_heard)} clips, refused by text {by_text.mean():.2f}, "
            f"unsure {unsure.mean():.2f}, either {(by_text | unsure).mean():.2f}; "
            f"median log-probability {np.median([surety for _, surety in clips_heard]):.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--speech", type=Path, help="folder of FLAC files in English")
    options = parser.parse_args()
    started = time.perf_counter()
    language.english_probability("a text")
    print(f"language model loaded in {time.perf_counter() - started:.2f} s")
    for path in options.files:
        report_text(path)
    if options.speech:
        report_speech(options.files, options.speech)


if __name__ == "__main__":
    main()
