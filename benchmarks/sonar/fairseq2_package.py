"""SONAR in plain torch compared with the SONAR package, on the CPU, alternating on the same input.

    make test-fairseq2        # creates the environment that has both
    .venv-fairseq2/bin/python -m benchmarks.sonar.fairseq2_package --out FOLDER
    .venv-fairseq2/bin/python -m benchmarks.sonar.fairseq2_package --out FOLDER --from FILE.json

Both sides run in one process, in float32, with the same threads and the same random weights: a
speech encoder of full size, and a text encoder of full size except for its token table, which has
the 606 rows that the tokenizer of the tests needs. It takes 6 GB of memory and, with the defaults,
several minutes on an otherwise idle machine. `--tiny` is a smoke test of seconds.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.chart import Bar, Panel, bars, paragraph, table, write_json, write_report
from benchmarks.sample import ROOT
from voicerag_core import Audio
from voicerag_core.sonar import Fairseq2SonarEmbedder, SonarEmbedder
from voicerag_core.sonar.speech_encoder import SonarSpeechEncoder, SpeechSizes
from voicerag_core.sonar.text_encoder import TextEncoder, TextSizes

COMMAND = ".venv-fairseq2/bin/python -m benchmarks.sonar.fairseq2_package"
TOKENIZER = ROOT / "tests/sonar/golden/tokenizer.model.xz"
TEXTS = ["Where does the river reach the sea?"] * 4 + ["It sits in Edinburgh. " * 4] * 4


def drawn(module: nn.Module) -> dict[str, torch.Tensor]:
    """Draw random weights that keep activations near 1."""
    torch.manual_seed(0)
    state = {}
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            state[name] = torch.ones((), dtype=tensor.dtype)
            continue
        x = torch.randn(tensor.shape, device="cpu")
        if name.endswith("running_var"):
            x = x.abs() + 0.5
        elif "norm" in name and name.endswith(".weight"):
            x = 1 + 0.1 * x
        elif x.ndim == 1 or name.endswith("_bias"):
            x *= 0.1
        else:
            x *= x[0].numel() ** -0.5
        state[name] = x
    return state


def write_models(folder: Path, *, tiny: bool) -> None:
    """Write the two checkpoints and the tokenizer."""
    text = TextSizes(606, 128, 2, 2, 256) if tiny else TextSizes(606, 1024, 24, 16, 8192)
    speech = (
        SpeechSizes(160, 128, 2, 2, 256, 31, 128, 3, 256)
        if tiny
        else SpeechSizes(160, 1024, 24, 16, 4096, 31, 1024, 3, 4096)
    )
    with torch.device("meta"):
        models = {
            "sonar_text_encoder.pt": TextEncoder(text),
            "spenc.eng.pt": SonarSpeechEncoder(speech),
        }
    for name, model in models.items():
        torch.save({"model": drawn(model)}, folder / name)
    packed = TOKENIZER.read_bytes()
    (folder / "sentencepiece.source.256000.model").write_bytes(lzma.decompress(packed))


def alternate(sides: dict[str, Callable[[], np.ndarray]], times: int) -> dict[str, Any]:
    """Time the sides in turn, after one run of each to compare their results."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    worked: dict[str, list[float]] = {name: [] for name in sides}
    rows = [run() for run in sides.values()]
    difference = float(np.abs(rows[0] - rows[1]).max())
    assert difference < 1e-5, "the sides differ"
    for turn in range(times):
        for name in list(sides)[:: 1 if turn % 2 else -1]:
            start, before = time.perf_counter(), time.process_time()
            sides[name]()
            taken[name].append(time.perf_counter() - start)
            worked[name].append(time.process_time() - before)
    return {"seconds": taken, "CPU seconds": worked, "difference": difference}


def measured(*, seconds: float, times: int, tiny: bool) -> dict[str, Any]:
    """Run both sides on one clip and on eight texts."""
    draw = np.random.default_rng(0).standard_normal(round(seconds * 16_000))
    clip = Audio((0.1 * draw).astype(np.float32), 16_000)
    figures: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "torch": torch.__version__,
        "fairseq2": version("fairseq2"),
        "sonar-space": version("sonar-space"),
        "threads": torch.get_num_threads(),
        "load average at the start": os.getloadavg()[0],
        "clip seconds": seconds,
        "times": times,
        "tiny": tiny,
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_models(folder, tiny=tiny)
        paths = folder / "sonar_text_encoder.pt", folder / "spenc.eng.pt"
        ours = SonarEmbedder(*paths, device="cpu")
        theirs = Fairseq2SonarEmbedder(*paths, device="cpu")
        for what, sides in {
            "one clip": {
                "ours": lambda: ours.embed_speech([clip]),
                "fairseq2": lambda: theirs.embed_speech([clip]),
            },
            "8 texts": {
                "ours": lambda: ours.embed_passages(TEXTS),
                "fairseq2": lambda: theirs.embed_passages(TEXTS),
            },
        }.items():
            figures[what] = alternate(sides, times)
    figures["load average at the end"] = os.getloadavg()[0]
    return figures


def report(figures: Mapping[str, Any], plot: str) -> tuple[list[str], list[Panel]]:
    """Return the lines of the report and its plot."""
    rows, drawn = [], []
    for what in ("one clip", "8 texts"):
        ours, theirs = _medians(figures[what]["seconds"])
        worked = " / ".join(f"{x:.3f}" for x in _medians(figures[what]["CPU seconds"]))
        met = "yes" if ours <= theirs else "**no**"
        rows.append(
            [what, f"{ours:.3f}", f"{theirs:.3f}", f"{theirs / ours:.2f}", met, worked,
             f"{figures[what]['difference']:.1e}"]
        )  # fmt: skip
        drawn += [
            Bar(f"{what}, {side}", {side: 1000 * value})
            for side, value in (("ours", ours), ("fairseq2", theirs))
        ]
    size = (
        "Small models: this shows that it runs."
        if figures["tiny"]
        else "Encoders of the true size, but for the table of tokens."
    )
    before, after = (figures[f"load average at the {when}"] for when in ("start", "end"))
    options = f"--seconds {figures['clip seconds']:g} --times {figures['times']}"
    options += " --tiny" if figures["tiny"] else ""
    lines = [
        "# SONAR compared with its authors' package, on the CPU",
        "",
        *paragraph(
            f"{figures['date']}, {figures['threads']} threads, load average {before:.1f} before "
            f"and {after:.1f} after, torch {figures['torch']}, sonar-space "
            f"{figures['sonar-space']}, fairseq2 {figures['fairseq2']}. Command:"
        ),
        f"    {COMMAND} --out FOLDER {options}",
        "",
        *paragraph(
            f"One clip of {figures['clip seconds']:g} s, and 8 texts, {figures['times']} times on "
            "either side in turn, in one process, after one run of each that is not counted; "
            f"float32, the same random weights. {size} Medians; CPU seconds are of all threads."
        ),
        *table(
            ["what", "ours, s", "fairseq2, s", "times as fast", "not slower",
             "CPU seconds, ours / fairseq2", "vectors differ by"],
            rows,
        ),
        f"![time of each side]({plot})",
    ]  # fmt: skip
    return lines, [bars("Median time, ms", drawn)]


def _medians(taken: Mapping[str, list[float]]) -> tuple[float, float]:
    return statistics.median(taken["ours"]), statistics.median(taken["fairseq2"])


def main() -> None:
    """Measure, or read earlier figures, and write ``sonar_fairseq2.json``, ``.md``, ``.svg``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of the clip")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--from", dest="file", type=Path, help="figures of an earlier run")
    given = parser.parse_args()
    figures = (
        json.loads(given.file.read_text())
        if given.file
        else measured(seconds=given.seconds, times=given.times, tiny=given.tiny)
    )
    path = given.out / "sonar_fairseq2.md"
    write_json(path.with_suffix(".json"), figures)
    write_report(path, *report(figures, path.with_suffix(".svg").name))
    print(path.read_text())


if __name__ == "__main__":
    main()
