"""Time to the first sound, speed and memory of the speaker.

    python -m benchmarks.speech.speak --out benchmarks/results/speak.md

The texts are eight answers of one word to two sentences, spoken as the product does, cut into
segments, and whole. The worst gap is the longest wait between two consecutive pieces during
playback.
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from voicerag_core.local.speaking.speaker import PiperSpeaker
from voicerag_core.local.speaking.speech_stream import speech_segments

TEXTS = """\
The Normans were the people who in the tenth and eleventh centuries gave their name to Normandy, a
region in France. They were descended from Norse raiders.

Paris.

The documents do not answer that.

The Rhine rises in the Swiss canton of Graubünden and flows mainly in a northerly direction
through Germany and the Netherlands, emptying into the North Sea.

Oxygen is a chemical element with symbol O and atomic number eight, and at standard temperature
and pressure two atoms of the element bind to form dioxygen.

In 1888 he moved to New York, where he set up a laboratory of his own. He held many patents.

Packet switching contrasts with another principal networking paradigm, circuit switching, a method
which allocates dedicated network bandwidth specifically for each session.

Construction began in the year 1902 and ended eleven years later because money had run out.
"""


def memory_mb(pid: int) -> float:
    """Return the proportional set size of a process, in MB of 1,000,000 bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("no Pss line in smaps_rollup")


def first_and_whole(speaker: PiperSpeaker, pieces: list[str]) -> tuple[float, float, float, float]:
    """Speak pieces; return time to the first, total, length of sound, and the worst gap."""
    start = time.perf_counter()
    ready: list[float] = []
    heard_until = gap = sound = 0.0
    for audio in speaker.stream(pieces):
        ready.append(time.perf_counter() - start)
        if len(ready) > 1:
            gap = max(gap, ready[-1] - heard_until)
        heard_until = max(heard_until, ready[-1]) + audio.seconds
        sound += audio.seconds
    return ready[0], ready[-1], sound, gap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with PiperSpeaker() as speaker:
        start = time.perf_counter()
        speaker.warm()
        warm = time.perf_counter() - start
        cut, whole = [], []
        for _ in range(options.rounds):
            for text in TEXTS.split("\n\n"):
                cut.append(first_and_whole(speaker, speech_segments(text)))
                whole.append(first_and_whole(speaker, [text]))
        assert speaker.pid is not None
        memory = memory_mb(speaker.pid)
    lines = [
        "# Speech by Piper, voice Joe",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, 2 cores shared with other work: times are upper bounds.",
        "",
        f"    python -m benchmarks.speech.speak {' '.join(sys.argv[1:])}",
        "",
        f"Start with the first word: {warm:.2f} s. Piper's PSS at the end: {memory:.0f} MB.",
        "",
        "| answers | first sound p50 s | p95 s | s of work per s of sound | worst gap s |",
        "|---|---|---|---|---|",
    ]
    for name, rows in (("cut into segments", cut), ("given whole", whole)):
        first = np.percentile([row[0] for row in rows], [50, 95])
        speed = sum(row[1] for row in rows) / sum(row[2] for row in rows)
        gap = max(row[3] for row in rows)
        lines.append(
            f"| {len(rows)} {name} | {first[0]:.2f} | {first[1]:.2f} | {speed:.2f} | {gap:.2f} |"
        )
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
