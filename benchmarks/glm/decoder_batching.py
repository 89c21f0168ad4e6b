"""Many replies at once: the decoder in batches, and the speech tokenizer in prepared lengths.

    PYTHONPATH=src python -m benchmarks.glm.decoder_batching --out OUT.md

Weights are random and of the released sizes; bfloat16 as a GPU runs them. All speech tokens of a
reply are there from the start, so the decoder alone is measured. `--tiny` uses small networks, to
try the program on a CPU. Figures are written as JSON next to OUT.md after every part.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.chart import write_json
from benchmarks.glm.decoder import flush, relative, speech, timed
from tests.glm.tiny import SPEECH_TOKENIZER, write_speech_tokenizer
from tests.glm.tiny_decoder import DECODER, write_voiced_decoder
from voicerag_core import Audio
from voicerag_core.glm.decoder import SpeechDecoder
from voicerag_core.glm.decoder.graphs import Window
from voicerag_core.glm.decoder.networks import DecoderNetworks
from voicerag_core.glm.decoder.vocoder import speak
from voicerag_core.glm.speech_tokenizer.tokenizer import SpeechTokenizer
from voicerag_core.glm.weights.configs import DecoderConfig, SpeechTokenizerConfig

REPLIES = (1, 2, 4, 8, 16, 32, 64)
CLIPS = 40


class Figures:
    """What was measured, kept after every line."""

    def __init__(self, out: Path, device: str) -> None:
        self._path = out.with_suffix(".json")
        gpu = device.startswith("cuda")
        self.values: dict[str, Any] = {
            "date": datetime.now(tz=UTC).date().isoformat(),
            "device": torch.cuda.get_device_name() if gpu else platform.machine(),
            "torch": torch.__version__,
        }

    def add(self, name: str, value: object) -> None:
        """Keep and print a figure."""
        self.values[name] = value
        print(f"{name}: {json.dumps(value)}", flush=True)
        write_json(self._path, self.values)


def main() -> None:
    options = parsed()
    figures = Figures(options.out, options.device)
    torch.set_float32_matmul_precision("high")
    for part in (decoder_part, tokenizer_part):
        try:
            if options.device.startswith("cuda"):
                gc.collect()
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            with tempfile.TemporaryDirectory() as folder:
                part(Path(folder), options, figures)
        except Exception:  # noqa: BLE001 - a failing part must not end the other
            traceback.print_exc()
    options.out.write_text(report(figures.values))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each reply")
    parser.add_argument("--replies", type=int, nargs="+", default=REPLIES)
    parser.add_argument("--tiny", action="store_true", help="small networks")
    parser.add_argument("--profile", action="store_true", help="name the longest kernels")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def decoder_part(folder: Path, options: argparse.Namespace, figures: Figures) -> None:
    config = DECODER if options.tiny else DecoderConfig()
    begun = time.perf_counter()
    write_voiced_decoder(folder, config)
    gpu = options.device.startswith("cuda")
    dtype = torch.bfloat16 if gpu else torch.float32
    decoder = SpeechDecoder.load(folder, device=options.device, dtype=dtype)
    figures.add("decoder: weights made, s", round(time.perf_counter() - begun, 1))
    begun = time.perf_counter()
    if gpu:
        decoder.warm()
    flush()
    figures.add("decoder: warm, s", round(time.perf_counter() - begun, 1))
    figures.add("decoder: memory after warm, MiB", mebibytes())
    figures.add("decoder: most memory during warm, MiB", peak_mebibytes())
    passes(decoder.networks, figures, config)
    alone(decoder, figures, config)
    for count in options.replies:
        figures.add(f"decoder: {count} replies", together(decoder, count, options.seconds, config))
    figures.add("decoder: most memory, MiB", peak_mebibytes())
    if options.profile and gpu:
        profiled(decoder.networks, config)


def windows(
    networks: DecoderNetworks, tokens: int, rows: int, config: DecoderConfig
) -> list[Window]:
    """Make windows of which a third is known, each of other tokens."""
    ids = speech(tokens * rows / 12.5, config)
    draw = torch.Generator().manual_seed(rows)
    frames = networks.flow.frames(tokens)
    return [
        Window(
            ids[row * tokens : (row + 1) * tokens],
            torch.randn(1, 80, frames, generator=draw).to(networks.device),
            torch.randn(1, 80, frames // 3, generator=draw).to(networks.device),
        )
        for row in range(rows)
    ]


def passes(networks: DecoderNetworks, figures: Figures, config: DecoderConfig) -> None:
    """Time the passes by batch, and compare batches with single windows."""
    shapes = ((10, (1, 4, 16)), (150, (1, 2, 4, 8)))
    for tokens, rows in shapes:
        for count in rows:
            given = windows(networks, tokens, count, config)
            frames = networks.shapes.flow_length(networks.flow.frames(tokens))
            with networks.exclusive():
                took = timed(partial(networks.flow_graphs.mel, given, count, frames))
                figures.add(f"flow: {count} windows of {tokens} tokens, ms", round(took, 2))
                if count == rows[-1]:
                    made = networks.flow_graphs.mel(given, count, frames)
                    single = [networks.flow_graphs.mel([one], 1, frames)[0] for one in given]
                    figures.add(
                        f"flow: mel of {count} windows of {tokens} tokens against each alone",
                        max(relative(one, other) for one, other in zip(made, single, strict=True)),
                    )
    for frames, rows in ((34, (1, 4, 16)), (729, (1, 2, 4))):
        for count in rows:
            mels = torch.randn(count, 80, frames, device=networks.device)
            batch, run = networks.vocoder_batch(count, networks.shapes.vocoder_length(frames))

            def vocode(mels: torch.Tensor = mels, batch: Any = batch, run: Any = run) -> list[Any]:  # noqa: ANN401
                return speak(
                    batch, run, [(networks.vocoder_stream(), one[None], False) for one in mels]
                )

            with networks.exclusive():
                figures.add(f"vocoder: {count} of {frames} frames, ms", round(timed(vocode), 2))
                if count == rows[-1]:
                    made = [sound for sound, _ in vocode()]
                    single = [networks.vocoder_stream().push(one[None]) for one in mels]
                    pairs = list(zip(made, single, strict=True))
                    figures.add(
                        f"vocoder: {count} of {frames} frames against each alone, greatest",
                        max(float((one - other).abs().max()) for one, other in pairs),
                    )


def alone(decoder: SpeechDecoder, figures: Figures, config: DecoderConfig) -> None:
    """Decode replies of lengths not seen before, one after another."""
    firsts, rests = [], []
    for tokens in np.random.default_rng(3).integers(4, 250, CLIPS).tolist():
        ids = speech(tokens / 12.5, config)
        with decoder.open_stream() as stream:
            begun = time.perf_counter()
            stream.push(ids[:10])
            firsts.append(1000 * (time.perf_counter() - begun))
            stream.push(ids[10:])
            begun = time.perf_counter()
            stream.finish()
            rests.append(1000 * (time.perf_counter() - begun))
    figures.add("decoder: first block after warm, ms", spread(firsts[1:]))
    figures.add("decoder: last block of any length after warm, ms", spread(rests))


def together(
    decoder: SpeechDecoder, count: int, seconds: float, config: DecoderConfig
) -> dict[str, float]:
    """Decode replies of as many threads."""
    ids = speech(seconds, config)
    gate = threading.Barrier(count + 1)

    def reply(which: int) -> tuple[float, float]:
        gate.wait()
        begun = time.perf_counter()
        first, late, played = 0.0, 0.0, 0.0
        with decoder.open_stream() as stream:
            turned = ids[which:] + ids[:which]
            pieces = [stream.feed(turned)]
            rest = stream.rest()
            while True:
                for piece in pieces:
                    if piece.size:
                        now = time.perf_counter() - begun
                        first = first or now
                        late = max(late, now - first - played)
                        played += len(piece) / decoder.sample_rate
                try:
                    pieces = [next(rest)]
                except StopIteration:
                    return first, late

    with ThreadPoolExecutor(count) as threads:
        running = [threads.submit(reply, which) for which in range(count)]
        gate.wait()
        begun = time.perf_counter()
        found = [one.result() for one in running]
        took = time.perf_counter() - begun
    firsts = [1000 * first for first, _ in found]
    return {
        "speech a second": round(count * seconds / took, 1),
        "first sound p50, ms": round(statistics.median(firsts), 1),
        "first sound max, ms": round(max(firsts), 1),
        "latest behind its playing, ms": round(1000 * max(late for _, late in found), 1),
    }


def tokenizer_part(folder: Path, options: argparse.Namespace, figures: Figures) -> None:
    gpu = options.device.startswith("cuda")
    config = SPEECH_TOKENIZER if options.tiny else SpeechTokenizerConfig()
    write_speech_tokenizer(folder, config)
    tokenizer = SpeechTokenizer.load(
        folder, device=options.device, dtype=torch.bfloat16 if gpu else torch.float32
    )
    draw = np.random.default_rng(5)
    clips = [
        Audio((0.1 * draw.standard_normal(int(16_000 * seconds))).astype(np.float32), 16_000)
        for seconds in draw.uniform(0.5, 30, 3 * CLIPS)
    ]
    different = spread_codes(tokenizer, clips[2 * CLIPS :])
    before, fresh = each(tokenizer, clips[:CLIPS])
    figures.add("tokenizer: a new length each, not warmed, ms", spread(before))
    again, _ = each(tokenizer, clips[:CLIPS])
    figures.add("tokenizer: the same lengths again, not warmed, ms", spread(again))
    begun = time.perf_counter()
    if gpu:
        tokenizer.warm()
    flush()
    figures.add("tokenizer: warm, s", round(time.perf_counter() - begun, 1))
    figures.add("tokenizer: memory after warm, MiB", mebibytes())
    figures.add("tokenizer: most memory during warm, MiB", peak_mebibytes())
    after, prepared = each(tokenizer, clips[CLIPS : 2 * CLIPS])
    figures.add("tokenizer: a new length each after warm, ms", spread(after))
    _, prepared = each(tokenizer, clips[:CLIPS])
    figures.add("tokenizer: ids as not warmed, part", agreement(prepared, fresh, different))
    for count in (8, 16):
        begun = time.perf_counter()
        times, found = at_once(tokenizer, clips[:CLIPS], count)
        took = time.perf_counter() - begun
        seconds = sum(clip.seconds for clip in clips[:CLIPS])
        figures.add(
            f"tokenizer: {count} threads, each a clip, ms",
            spread(times) | {"speech a second": round(seconds / took)},
        )
        figures.add(
            f"tokenizer: ids of {count} threads as each alone, part",
            agreement(found, prepared, different),
        )


def spread_codes(tokenizer: SpeechTokenizer, clips: list[Audio]) -> int:
    """Make codes of vectors that occur: among random ones, one is nearest to every frame.

    Returns:
        How many they are; those behind repeat them.
    """
    heard: list[torch.Tensor] = []
    network = tokenizer._network
    plain = network.encode

    def encode(features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        hidden = plain(features, lengths)
        heard.append(hidden.flatten(0, 1))
        return hidden

    network.encode = encode  # type: ignore[method-assign]
    tokenizer.encode(clips, batch_size=8)
    network.encode = plain  # type: ignore[method-assign]
    rows = torch.cat(heard)
    codes = network.codebook.weight
    picked = torch.arange(len(codes), device=rows.device) % len(rows)
    with torch.no_grad():
        codes.copy_(rows[picked])
    return min(len(rows), len(codes))


def each(tokenizer: SpeechTokenizer, clips: list[Audio]) -> tuple[list[float], list[list[int]]]:
    times, found = [], []
    for clip in clips:
        begun = time.perf_counter()
        found += tokenizer.encode([clip])
        times.append(1000 * (time.perf_counter() - begun))
    return times, found


def at_once(
    tokenizer: SpeechTokenizer, clips: list[Audio], count: int
) -> tuple[list[float], list[list[int]]]:
    """Encode so many clips at the same time, and then the next ones."""

    def one(clip: Audio, gate: threading.Barrier) -> tuple[float, list[int]]:
        gate.wait()
        begun = time.perf_counter()
        (ids,) = tokenizer.encode([clip])
        return 1000 * (time.perf_counter() - begun), ids

    made: list[tuple[float, list[int]]] = []
    with ThreadPoolExecutor(count) as threads:
        for start in range(0, len(clips), count):
            some = clips[start : start + count]
            made += threads.map(one, some, [threading.Barrier(len(some))] * len(some))
    return [took for took, _ in made], [ids for _, ids in made]


def agreement(some: list[list[int]], others: list[list[int]], different: int) -> float:
    """Return the part of ids that are the same code."""
    pairs = [
        one % different == other % different
        for ids, expected in zip(some, others, strict=True)
        for one, other in zip(ids, expected, strict=True)
    ]
    return round(sum(pairs) / len(pairs), 4)


def spread(times: list[float]) -> dict[str, float]:
    """Return median, 95th percentile and greatest."""
    low, high = np.quantile(times, [0.5, 0.95])
    return {"p50": round(low, 2), "p95": round(high, 2), "max": round(max(times), 2)}


def mebibytes() -> int:
    """Return what torch holds of the GPU's memory."""
    if not torch.cuda.is_available():
        return 0
    flush()
    return int(torch.cuda.memory_reserved() / 2**20)


def peak_mebibytes() -> int:
    """Return the most that torch held since the last part began."""
    return int(torch.cuda.max_memory_reserved() / 2**20) if torch.cuda.is_available() else 0


def profiled(networks: DecoderNetworks, config: DecoderConfig) -> None:
    """Print the longest kernels of a batch in the flow, and in the vocoder."""
    given = windows(networks, 150, 8, config)
    mels = torch.randn(4, 80, 729, device=networks.device)

    def flow() -> object:
        return networks.flow_graphs.mel(given, 8, 1040)

    def vocoder() -> object:
        batch, run = networks.vocoder_batch(4, networks.shapes.vocoder_length(729))
        return speak(batch, run, [(networks.vocoder_stream(), one[None], False) for one in mels])

    for run in (flow, vocoder):
        kernels(run, networks)


def kernels(run: Callable[[], object], networks: DecoderNetworks) -> None:
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with networks.exclusive(), torch.profiler.profile(activities=activities) as found:
        run()
        flush()
    rows = sorted(found.key_averages(), key=lambda row: -row.self_device_time_total)
    for row in rows[:14]:
        print(f"{row.self_device_time_total / 1000:9.2f} ms {row.count:6d} {row.key[:100]}")


def report(values: dict[str, Any]) -> str:
    lines = [
        "# GLM-4-Voice: decoder and speech tokenizer for many callers",
        "",
        f"{values['date']} · {values['device']} · torch {values['torch']}; released sizes, random",
        "weights, bfloat16. Command:",
        "",
        "    PYTHONPATH=src python -m benchmarks.glm.decoder_batching --out OUT.md",
        "",
        "| what | figure |",
        "|---|---|",
    ]
    for name, value in values.items():
        if name in {"date", "device", "torch"}:
            continue
        said = value
        if isinstance(value, dict):
            said = ", ".join(f"{key} {number}" for key, number in value.items())
        lines.append(f"| {name} | {said} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
