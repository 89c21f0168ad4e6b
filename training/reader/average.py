"""Average networks that were trained from the same start.

    python -m training.reader.average MEAN FOLDER... [--start reader.onnx --share 0.45]

Each FOLDER and MEAN hold the files reader-*.safetensors of train.py. The mean of several seeds does
better than each of them (Wortsman et al. 2022, "Model soups"), and so does a point between the
start and the trained network ("Robust fine-tuning of zero-shot models", the same year).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from training.reader.starts import reader_weights

__all__ = ["averaged", "between"]


def averaged(networks: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the mean of each tensor, in half precision."""
    return {
        name: np.mean([one[name].astype(np.float32) for one in networks], axis=0).astype(np.float16)
        for name in networks[0]
    }


def between(
    start: dict[str, np.ndarray], trained: dict[str, np.ndarray], share: float
) -> dict[str, np.ndarray]:
    """Return start + share * (trained - start), in half precision."""
    return {
        name: (start[name] + share * (values.astype(np.float32) - start[name])).astype(np.float16)
        for name, values in trained.items()
    }


def main() -> None:
    """Average."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mean", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--start", type=Path, help="the exported reader that was started from")
    parser.add_argument("--share", type=float, default=0.5, help="of the way from there")
    options = parser.parse_args()
    options.mean.mkdir(parents=True, exist_ok=True)
    held = reader_weights(options.start) if options.start else None
    for part in sorted(path.name for path in options.folders[0].glob("reader-*.safetensors")):
        mean = averaged([load_file(folder / part) for folder in options.folders])
        save_file(mean if held is None else between(held, mean, options.share), options.mean / part)


if __name__ == "__main__":
    main()
