"""How fast is the local voice free after an interruption, and does the next sentence wait?

    python -m benchmarks.conversation.interruptions --out benchmarks/results/interruptions.md

An answer of two long sentences is spoken and interrupted while one of them is being made; then a
short sentence is spoken at once. Beside it the same short sentence when nothing was before, and
behind an answer that goes on (one process, as it was before the second one stood by).
"""

from __future__ import annotations

import argparse
import os
import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import chart
from voicerag_core import Answer, Cancellation, CancelledError
from voicerag_core.local.speaking.answer_speech import spoken_answer
from voicerag_core.local.speaking.speaker import PiperSpeaker

LONG = (
    "The Rhine rises in the Swiss canton of Graubünden and flows mainly in a northerly direction "
    "through Germany and the Netherlands, emptying into the North Sea. Oxygen is a chemical "
    "element with symbol O and atomic number eight, and two atoms of it bind to form dioxygen."
)
SHORT = "It was founded in 1263."


def speak(speaker: PiperSpeaker, text: str) -> float:
    """Return the seconds to the first sound of a text."""
    start = time.perf_counter()
    pieces = spoken_answer((Answer(part) for part in [text]), speaker)
    for piece in pieces:
        if piece.audio is not None:
            spent = time.perf_counter() - start
            pieces.close()
            return spent
    raise RuntimeError("nothing was spoken")


def interrupted(speaker: PiperSpeaker, seconds: float) -> tuple[float, float]:
    """Interrupt a long answer; return the time until free, and until the next first sound."""
    call = Cancellation()
    cancelled = 0.0

    def cancel() -> None:
        nonlocal cancelled
        cancelled = time.perf_counter()
        call.cancel()

    timer = threading.Timer(seconds, cancel)
    timer.start()
    try:
        with call.active():
            for _ in spoken_answer((Answer(part) for part in [LONG]), speaker):
                pass
    except CancelledError:
        free = time.perf_counter() - cancelled
        return free, speak(speaker, SHORT)
    raise RuntimeError("the answer was over before it was interrupted")


def behind(speaker: PiperSpeaker, seconds: float) -> float:
    """Return the time to the first sound behind an answer that goes on in the same process."""
    done = threading.Thread(target=speaker.speak, args=(LONG,))
    done.start()
    time.sleep(seconds)
    spent = speak(speaker, SHORT)
    done.join()
    return spent


def row(name: str, seconds: Sequence[float]) -> list[str]:
    ordered = sorted(seconds)
    late = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    values = (statistics.median(ordered), late, ordered[-1])
    return [name, *(f"{1000 * value:.0f}" for value in values)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, help="write the report")
    given = parser.parse_args()
    free, after, alone, queued = [], [], [], []
    with PiperSpeaker() as speaker, PiperSpeaker() as single:
        for one in (speaker, single):
            one.warm()
        speaker.stand_by()
        time.sleep(5)
        for number in range(given.rounds):
            alone.append(speak(speaker, SHORT))
            wait = 0.1 + 0.02 * (number % 10)
            spent = interrupted(speaker, wait)
            free.append(spent[0])
            after.append(spent[1])
            time.sleep(2)
            queued.append(behind(single, wait))
    when = f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores"
    lines = [
        "# Interruptions of the local voice",
        "",
        f"{when}, load average {os.getloadavg()[0]:.1f} at the end. Command:",
        "",
        "    python -m benchmarks.conversation.interruptions",
        "",
        *chart.paragraph(
            f"{given.rounds} rounds; a long answer is interrupted 0.1 to 0.3 s after its speech "
            "began to be made. The voice is warm, and a second process stands by."
        ),
        *chart.table(
            ["milliseconds", "median", "95 %", "longest"],
            [
                row("cancelled, until the caller is free", free),
                row("then the next sentence, until it sounds", after),
                row("the same sentence with nothing before it", alone),
                row("the same sentence behind the long one (as before)", queued),
            ],
        ),
    ]
    if given.out:
        chart.write_text(given.out, lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
