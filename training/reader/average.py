"""Average networks that were trained from the same start.

    python -m training.reader.average MEAN FOLDER...

Each FOLDER and MEAN hold reader-0.safetensors and reader-1.safetensors of train.py. The mean of
several seeds does better than each of them (Wortsman et al. 2022, "Model soups").
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

__all__ = ["averaged"]


def averaged(networks: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the mean of each tensor, in half precision."""
    return {
        name: np.mean([one[name].astype(np.float32) for one in networks], axis=0).astype(np.float16)
        for name in networks[0]
    }


def main() -> None:
    """Average."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mean", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    options = parser.parse_args()
    options.mean.mkdir(parents=True, exist_ok=True)
    for part in ("reader-0.safetensors", "reader-1.safetensors"):
        mean = averaged([load_file(folder / part) for folder in options.folders])
        save_file(mean, options.mean / part)


if __name__ == "__main__":
    main()
