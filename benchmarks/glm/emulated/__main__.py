"""Many callers of GLM-4-Voice beside a device that only waits, on a CPU.

    PYTHONPATH=src python -m benchmarks.glm.emulated --crowds burst16 burst64 cached16 cached32

Scheduler, decoding service, streams and callers are the real ones, each in its threads; the device
takes its turns between language model and sound and sleeps for as long as an H200 was measured to
compute (`device.Costs`). All clocks run `--slower` times slower, so that two cores have time for
the work of Python; figures are of the slowed clock. It shows what rules of who goes first do to
callers, and nothing of kernels: use it to compare two states of the program, in turns, on one
machine.

- `burst16`, `burst64`: as of `many_callers`.
- `cached16`, `cached32`: so many callers come within 0.1 s whose prompts were read before, all but
  their end, as in a conversation; from `--after` on come others, 64 in all, within a second.
- `soak`: as of `many_callers`, with calls for `--soak-seconds` after 5 s.

`--set scheduler.MOST_PAUSED=0.2` changes a constant of a module of the engine.
"""

from __future__ import annotations

import argparse
import importlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

MODULES = {
    "scheduler": "voicerag_core.glm.lm.scheduler",
    "service": "voicerag_core.glm.decoder.service",
    "stream": "voicerag_core.glm.decoder.stream",
    "playout": "voicerag_core.glm.decoder.playout",
    "tokenizer": "voicerag_core.glm.speech_tokenizer.tokenizer",
}


@contextmanager
def slower(times: float) -> Iterator[None]:
    """Let all clocks and waits of this process go slower in the block."""
    monotonic, counter, sleep = time.monotonic, time.perf_counter, time.sleep
    wait = threading.Condition.wait

    def waited(condition: threading.Condition, timeout: float | None = None) -> bool:
        return wait(condition, None if timeout is None else timeout * times)

    with (
        patch.object(time, "monotonic", lambda: monotonic() / times),
        patch.object(time, "perf_counter", lambda: counter() / times),
        patch.object(time, "sleep", lambda seconds: sleep(seconds * times)),
        patch.object(threading.Condition, "wait", waited),
    ):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--crowds", nargs="+", default=["burst16", "burst64", "cached16"])
    parser.add_argument("--runs", type=int, default=3, help="of each crowd")
    parser.add_argument("--reply-seconds", type=float, default=8.0)
    parser.add_argument(
        "--after",
        type=float,
        default=0.4,
        help="when others begin to come; by then the cached are heard",
    )
    parser.add_argument("--soak-seconds", type=float, default=60.0)
    parser.add_argument("--slower", type=float, default=3.0)
    parser.add_argument("--set", nargs="*", default=[], metavar="MODULE.NAME=VALUE")
    options = parser.parse_args()
    with slower(options.slower):
        run(options)


def run(options: argparse.Namespace) -> None:
    """Run the crowds; the engine is imported here, after its clocks were slowed."""
    import torch

    from benchmarks.glm.callers import Call, run_calls
    from benchmarks.glm.emulated.crowds import brief, crowd, soak
    from benchmarks.glm.emulated.device import emulated
    from voicerag_core.heaps import settle

    torch.set_num_threads(1)
    for one in options.set:
        place, _, value = one.partition("=")
        module, _, name = place.partition(".")
        loaded = importlib.import_module(MODULES[module])
        setattr(loaded, name, type(getattr(loaded, name))(float(value)))
    with emulated() as engine:
        run_calls(engine, [Call(1, reply_seconds=1.6)])
        settle()
        for name in options.crowds:
            for number in range(1 if name == "soak" else options.runs):
                found = (
                    soak(engine, options.soak_seconds)
                    if name == "soak"
                    else crowd(engine, name, number, options.reply_seconds, options.after)
                )
                print(name, number, brief(found), flush=True)
                for part in ("cached", "new"):
                    if part in found:
                        print("   ", part, brief(found[part]), flush=True)
                print("   ", json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
