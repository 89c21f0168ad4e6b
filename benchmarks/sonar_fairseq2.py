"""SONAR in plain torch beside SONAR's own package, on the CPU, alternating on the same input.

    make test-fairseq2        # creates the environment that has both
    .venv-fairseq2/bin/python -P benchmarks/sonar_fairseq2.py --out FOLDER

Both sides run in one process, in float32, with the same threads and the same random weights: a
speech encoder of the true size, and a text encoder of the true size but for its token table, which
has the 606 rows that the tokenizer of the tests needs. `--tiny` shows in seconds that it runs. With
``-P`` Python does not take `benchmarks/sonar.py` for SONAR's package.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from voicerag_core import Audio
from voicerag_core.embedding import Fairseq2SonarEmbedder, SonarEmbedder
from voicerag_core.embedding.speech_encoder import SpeechEncoder, SpeechSizes
from voicerag_core.embedding.text_encoder import TextEncoder, TextSizes

TOKENIZER = Path(__file__).parents[1] / "tests/embedding/golden/tokenizer.model.xz"
TEXTS = ["Where does the river reach the sea?"] * 4 + ["It sits in Edinburgh. " * 4] * 4


def drawn(module: nn.Module) -> dict[str, torch.Tensor]:
    """Draw weights of a scale that keeps activations near 1."""
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
        models = {"sonar_text_encoder.pt": TextEncoder(text), "spenc.eng.pt": SpeechEncoder(speech)}
    for name, model in models.items():
        torch.save({"model": drawn(model)}, folder / name)
    packed = TOKENIZER.read_bytes()
    (folder / "sentencepiece.source.256000.model").write_bytes(lzma.decompress(packed))


def alternate(sides: dict[str, Callable[[], np.ndarray]], times: int) -> dict[str, list[float]]:
    """Time the sides in turn, after one run of each that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    rows = [run() for run in sides.values()]
    assert np.abs(rows[0] - rows[1]).max() < 1e-4, "the sides differ"
    for turn in range(times):
        for name in list(sides)[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            sides[name]()
            taken[name].append(time.perf_counter() - start)
    return taken


def main() -> None:
    """Measure and write ``sonar_fairseq2.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of the clip")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    draw = np.random.default_rng(0).standard_normal(round(given.seconds * 16_000))
    clip = Audio((0.1 * draw).astype(np.float32), 16_000)
    figures: dict[str, object] = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "load average": os.getloadavg()[0],
        "clip seconds": given.seconds,
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_models(folder, tiny=given.tiny)
        paths = folder / "sonar_text_encoder.pt", folder / "spenc.eng.pt"
        ours = SonarEmbedder(*paths, device="cpu")
        theirs = Fairseq2SonarEmbedder(*paths, device="cpu")
        for what, sides in {
            "one clip": {
                "ours": lambda: ours.embed_speech([clip]),
                "fairseq2": lambda: theirs.embed_speech([clip]),
            },
            "8 texts": {
                "ours": lambda: ours.embed_texts(TEXTS),
                "fairseq2": lambda: theirs.embed_texts(TEXTS),
            },
        }.items():
            taken = alternate(sides, given.times)
            figures[what] = {
                name: {"median s": statistics.median(all_), "least s": min(all_)}
                for name, all_ in taken.items()
            }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "sonar_fairseq2.json").write_text(json.dumps(figures, indent=1))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
