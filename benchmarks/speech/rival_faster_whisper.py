"""faster-whisper as a process: reads a WAV path per line, writes ``{"text": ..., "seconds": ...}``.

Run by `transcribe.py` with the Python of another environment; it does not import voicerag.
"""

from __future__ import annotations

import json
import sys
import time
import wave

import numpy as np
from faster_whisper import WhisperModel  # type: ignore[import-not-found]


def main(folder: str, threads: int) -> None:
    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=threads)
    for line in sys.stdin:
        with wave.open(line.strip(), "rb") as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        start = time.perf_counter()
        segments, _ = model.transcribe(
            samples.astype(np.float32) / 32768.0,
            language="en",
            beam_size=5,
            without_timestamps=True,
            condition_on_previous_text=False,
        )
        text = "".join(segment.text for segment in segments).strip()
        print(json.dumps({"text": text, "seconds": time.perf_counter() - start}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
