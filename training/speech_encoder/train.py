"""Train the speech encoder on one GPU while other processes speak.

    python -m training.speech_encoder.train --data DATA --voices VOICES --out RUN --seconds 520

Reads DATA, which `prepare.py` wrote (texts.txt, pieces.json, whisper.safetensors, human clips in
human/ and validation sets in valid/), and writes the weights with the lowest error on unseen
voices, with a log. VOICES is the output of `bundle_voices.py`. The training itself is in `loop.py`,
which is imported after the speech processes have been forked: without torch they start a minute
earlier.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import time
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np

from training.speech_encoder.voices import Speaker, Utterance, training_voices
from voicerag_core.evaluation.speech.engines import MissingVoiceError, SynthesisError

RATE = 16_000


def speak(
    worker: int, seed: int, voices_root: str, texts: list[str], spoken: Queue[list[Utterance]]
) -> None:
    """Speak random texts until killed; put lists of (int16 samples, text, voice)."""
    os.nice(10)
    generator = random.Random(worker * 7919 + seed * 104_729 + int(time.time()))
    root = Path(voices_root) if voices_root else None
    voices = training_voices(root)
    speakers: dict[int, Speaker] = {}
    weights = [voice.weight for voice in voices]
    while True:
        done: list[Utterance] = []
        for _ in range(16):
            number = generator.choices(range(len(voices)), weights)[0]
            text = generator.choice(texts)
            try:
                if number not in speakers:
                    speakers[number] = Speaker(voices[number], root)
                wave = speakers[number].speak(
                    text, rate=generator.uniform(0.8, 1.25), pitch=generator.uniform(0.85, 1.2)
                )
            # Some voices cannot say some texts.
            except (MissingVoiceError, SynthesisError, ValueError, OSError) as error:
                if generator.random() < 0.01:
                    print(f"{voices[number]}: {error!r}: {text}", flush=True)
                continue
            if 0.4 * RATE < len(wave) < 11 * RATE:
                done.append((np.clip(wave * 30000, -32768, 32767).astype(np.int16), text, number))
        spoken.put(done)


def main() -> None:
    """Train, validate on unseen voices, and keep the best averaged weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--voices", default="", help="folder of bundled voices; default: the installed ones"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="weights of an earlier run to continue from")
    parser.add_argument("--seconds", type=float, default=520.0)
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument(
        "--first", type=int, default=4000, help="clips to collect before the first step"
    )
    parser.add_argument("--budget", type=int, default=900, help="seconds of sound in a batch")
    parser.add_argument(
        "--hours", type=float, default=180.0, help="maximum hours of sound in GPU memory"
    )
    parser.add_argument(
        "--human", type=float, default=0.07, help="share of human speech in a batch"
    )
    parser.add_argument("--head-rate", type=float, default=1e-3)
    parser.add_argument("--encoder-rate", type=float, default=4e-5)
    parser.add_argument(
        "--anchor", type=float, default=0.3, help="weight of the distance to the original states"
    )
    parser.add_argument(
        "--freeze",
        type=int,
        choices=(1, 2),
        default=1,
        help="lower layers of the encoder to freeze",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layers", type=int, default=4)
    arguments = parser.parse_args()
    arguments.begun = time.monotonic()
    texts = (arguments.data / "texts.txt").read_text().splitlines()
    context = multiprocessing.get_context("fork")
    spoken: Queue[list[Utterance]] = context.Queue(maxsize=64)
    os.environ["OMP_NUM_THREADS"] = "1"
    speakers = [
        context.Process(
            target=speak, args=(i, arguments.seed, arguments.voices, texts, spoken), daemon=True
        )
        for i in range(arguments.workers)
    ]
    for process in speakers:
        process.start()
    os.environ["OMP_NUM_THREADS"] = "2"
    from training.speech_encoder.loop import Trainer

    try:
        Trainer(arguments).run(spoken)
    finally:
        for process in speakers:
            process.kill()


if __name__ == "__main__":
    main()
