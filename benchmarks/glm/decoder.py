"""Speed and memory of the GLM-4-Voice decoder, compared with the upstream demo.

    PYTHONPATH=src python -m benchmarks.glm.decoder --reference PATH --out OUT.md
    PYTHONPATH=src python -m benchmarks.glm.decoder --from OUT.json --out OUT.md

Weights are random and of the released sizes, the same for both. All speech tokens are available
from the start, so the times are the decoder's alone; each chunk of sound is copied to the host.
Medians are of three replies, after a warm-up. `--tiny` uses small networks, to try the program on a
CPU. Without `--reference` only our decoder runs; see upstream_decoder.py for the content of PATH.
Figures are written as JSON next to OUT.md after every part, the report and its plot at the end;
`--from` rewrites these from a JSON file.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.chart import write_json
from benchmarks.glm.decoder_report import UPSTREAM, report
from benchmarks.glm.upstream_decoder import stream_upstream, upstream_decoder
from tests.glm.tiny_decoder import DECODER, write_voiced_decoder
from voicerag_core.glm.decoder import Schedule, SpeechDecoder
from voicerag_core.glm.decoder.graphs import Window
from voicerag_core.glm.weights.checkpoints import DecoderWeights, load_decoder
from voicerag_core.glm.weights.configs import DecoderConfig

TOKENS_PER_SECOND = 12.5
REPEATS = 3


@dataclass(frozen=True)
class Row:
    """One measurement.

    Args:
        who: Decoder and how it ran.
        seconds: Length of the reply.
        total_ms: From the first token to the last sample, median.
        first_ms: From the first token to the first sample, median.
        first_tokens: Tokens that the first sample needs.
        peak_mib: Peak GPU memory, including weights and graphs.
    """

    who: str
    seconds: float
    total_ms: float
    first_ms: float
    first_tokens: int
    peak_mib: float


def main() -> None:
    options = parsed()
    if options.source:
        report(options.out, json.loads(options.source.read_text()))
        return
    device, config = options.device, DECODER if options.tiny else DecoderConfig()
    started = time.perf_counter()
    rows: list[Row] = []
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder)
        write_voiced_decoder(weights, config)
        loaded = load_decoder(weights)
        upstream = None
        if options.reference:
            upstream = upstream_decoder(options.reference, weights, device)
    say(f"weights and libraries after {time.perf_counter() - started:.1f} s")
    for mode in MODES:
        if mode.graphs and device != "cuda":
            continue
        try:
            found, said = run_mode(mode, loaded, upstream, options)
            rows += found
            notes += said
        except RuntimeError:  # a failing mode must not end the others
            notes.append(f"{mode.name}: failed")
            traceback.print_exc()
        gc.collect()
        keep(rows, notes, options)
    torch.set_float32_matmul_precision("highest")
    if upstream is not None:
        rows += [theirs(upstream, seconds, config) for seconds in options.reference_seconds]
    notes.append(f"the whole run took {time.perf_counter() - started:.0f} s")
    keep(rows, notes, options)
    report(options.out, json.loads(options.out.with_suffix(".json").read_text()))
    say(options.out.read_text())


@dataclass(frozen=True)
class Mode:
    """How our decoder runs."""

    name: str
    dtype: torch.dtype
    precision: str
    graphs: bool


MODES = (
    Mode("ours, float32", torch.float32, "highest", graphs=False),
    Mode("ours, float32, graphs", torch.float32, "highest", graphs=True),
    Mode("ours, TF32, graphs", torch.float32, "high", graphs=True),
    Mode("ours, bfloat16 U-Net, graphs", torch.bfloat16, "high", graphs=True),
)


def run_mode(
    mode: Mode,
    loaded: DecoderWeights,
    upstream: Any,  # noqa: ANN401
    options: argparse.Namespace,
) -> tuple[list[Row], list[str]]:
    torch.set_float32_matmul_precision(mode.precision)
    decoder = made(loaded, options.device, mode.dtype)
    notes = []
    if mode.graphs:
        begun = time.perf_counter()
        decoder.warm()
        took = time.perf_counter() - begun
        notes.append(f"{mode.name}: graphs recorded in {took:.1f} s, once")
    lengths = options.seconds if mode == MODES[-1] else options.seconds[:2]
    other = 0.0 if upstream is None else mebibytes(upstream.flow, upstream.hift)
    rows = [ours(mode.name, decoder, seconds, loaded.config, other) for seconds in lengths]
    return rows, notes + checks(mode.name, decoder, loaded, upstream, loaded.config)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--reference", type=Path, help="folder of the upstream sources")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 30, 60, 120, 300])
    parser.add_argument("--reference-seconds", type=float, nargs="+", default=[10, 30, 60])
    parser.add_argument("--tiny", action="store_true", help="small networks")
    parser.add_argument("--from", dest="source", type=Path, help="figures to report again")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="Markdown file to write; JSON and plot are written next to it",
    )
    return parser.parse_args()


def made(loaded: DecoderWeights, device: str, dtype: torch.dtype) -> SpeechDecoder:
    return SpeechDecoder.from_state(
        loaded.config, loaded.flow, loaded.hift, device=device, dtype=dtype
    )


def speech(seconds: float, config: DecoderConfig) -> list[int]:
    raw = np.random.default_rng(1).integers(0, config.flow.vocab_size, 10_000)
    return [int(token) for token in raw[: round(seconds * TOKENS_PER_SECOND)]]


def ours(
    name: str, decoder: SpeechDecoder, seconds: float, config: DecoderConfig, other_mib: float
) -> Row:
    tokens = speech(seconds, config)
    first = Schedule().block_tokens[0]
    return measured(name, seconds, first, lambda: decoder.stream(tokens), other_mib)


def theirs(upstream: Any, seconds: float, config: DecoderConfig) -> Row:  # noqa: ANN401
    tokens = speech(seconds, config)
    return measured(UPSTREAM, seconds, 25, lambda: stream_upstream(upstream, tokens))


def measured(
    who: str,
    seconds: float,
    first_tokens: int,
    run: Callable[[], Iterable[NDArray[np.float32]]],
    other_mib: float = 0.0,
) -> Row:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    totals, firsts = [], []
    for _ in range(REPEATS + 1):
        begun = time.perf_counter()
        first = 0.0
        samples = 0
        for piece in run():
            first = first or time.perf_counter() - begun
            samples += len(piece)
        totals.append(time.perf_counter() - begun)
        firsts.append(first)
        assert abs(samples / 22050 - seconds) < 0.2, (samples, seconds)
    peak = torch.cuda.max_memory_allocated() / 2**20 - other_mib if torch.cuda.is_available() else 0
    row = Row(
        who,
        seconds,
        1000 * statistics.median(totals[1:]),
        1000 * statistics.median(firsts[1:]),
        first_tokens,
        peak,
    )
    say(json.dumps(asdict(row)))
    return row


def checks(
    name: str,
    decoder: SpeechDecoder,
    loaded: DecoderWeights,
    upstream: Any,  # noqa: ANN401
    config: DecoderConfig,
) -> list[str]:
    """Time the two stages of a steady block, and compare its mel with float32 and upstream's."""
    device = decoder.networks.device
    window = torch.tensor([speech(12, config)], device=device)
    frames = decoder.networks.flow.frames(window.shape[1])
    generator = torch.Generator(device=device).manual_seed(42)
    noise = torch.randn(1, config.flow.mels, frames, device=device, generator=generator)
    whole = Window(speech(12, config), noise, noise[:, :, :0])
    padded = decoder.networks.shapes.flow_length(frames)
    with torch.inference_mode():
        flow_ms = timed(lambda: decoder.networks.flow_graphs.mel([whole], 1, padded))
        (mel,) = decoder.networks.flow_graphs.mel([whole], 1, padded)
        hift_ms = timed(lambda: decoder.networks.vocoder_stream().push(mel, last=True))
        eager = decoder.networks.flow.mel(window, noise)
    found = [
        f"{name}: 12 s take {flow_ms:.1f} ms in the flow and {hift_ms:.1f} ms in the vocoder",
        f"{name}: mel differs from the same without graphs by {worst(mel, eager):.1e} at most",
    ]
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    exact = made(loaded, str(device), torch.float32).networks.flow.mel(window, noise)
    found.append(f"{name}: mel differs from float32 by {relative(mel, exact):.1e} of its norm")
    if upstream is not None:
        found.append(
            f"{name}: and from upstream by {relative(mel, reference(upstream, window)):.1e}"
        )
    torch.set_float32_matmul_precision(precision)
    for line in found:
        say(line)
    return found


def reference(upstream: Any, window: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
    """Compute upstream's mel of a window without dropout; seeds the generator with 42."""
    flow, device = upstream.flow, window.device
    none = torch.zeros(1, 0, dtype=torch.int64, device=device)
    zero = torch.zeros(1, dtype=torch.int32, device=device)
    length = torch.tensor([window.shape[1]], dtype=torch.int32, device=device)
    speaker = torch.zeros(1, flow.spk_embed_affine_layer.in_features, device=device)
    flow.eval()
    mel = flow.inference(
        token=window,
        token_len=length,
        prompt_token=none,
        prompt_token_len=zero,
        prompt_feat=torch.zeros(1, 0, 80, device=device),
        prompt_feat_len=zero,
        embedding=speaker,
    )
    flow.train()
    assert isinstance(mel, torch.Tensor)
    return mel


def mebibytes(*networks: torch.nn.Module) -> float:
    return sum(one.nbytes for network in networks for one in network.parameters()) / 2**20


def timed(run: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS + 1):
        flush()
        begun = time.perf_counter()
        run()
        flush()
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times[1:])


def worst(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def flush() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def say(line: str) -> None:
    print(line, flush=True)


def keep(rows: list[Row], notes: list[str], options: argparse.Namespace) -> None:
    """Write the figures measured so far."""
    gpu = options.device.startswith("cuda")
    machine = {
        "date": datetime.now(tz=UTC).date().isoformat(),
        "device": torch.cuda.get_device_name() if gpu else platform.machine(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "sizes": "small" if options.tiny else "released",
    }
    values = {"machine": machine, "rows": [asdict(row) for row in rows], "notes": notes}
    write_json(options.out.with_suffix(".json"), values)


if __name__ == "__main__":
    main()
