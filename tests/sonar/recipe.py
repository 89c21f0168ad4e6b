"""Weights, sound and strings that any program with numpy can make again.

The golden vectors were made from these by SONAR's own package; `golden/README.md` tells how.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

WIDTH, LAYERS, HEADS, INNER = 128, 3, 2, 256
"""Sizes of the small models; heads are 64 wide, as SONAR's are."""

PIECES, LANGUAGES = 400, 202
VOCABULARY = PIECES + 1 + LANGUAGES + 3

SCRIPTS = (
    "abcdefghijklmnopqrstuvwxyz",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZäöüßéèçñøåłğ",
    "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    "αβγδεζηθικλμνξοπρστυφχψως",
    "的一是不了人我在有他这中大来上国个到说们",
    "あいうえおかきくけこサシスセソタチツテト",
    "가나다라마바사아자차카타파하",
    "अआइईउऊएऐओऔकखगघचछजझ",
    "ابتثجحخدذرزسشصضطظعغ",
    "אבגדהוזחטיכלמנסעפצק",
    "กขคงจฉชซญดตถทนบ",
    "0123456789.,;:!?-()[]{}'\"/\\@#$%&*+=<>",
    " \t\n\u00a0\u200b\u3000",
    "ﬁﬂ①②Ａｂ１／Å\u0301\u0308😀🎉👍🏽",
)


def weight(name: str, shape: Sequence[int], seed: int) -> Array:
    """Draw one tensor of a checkpoint.

    The draw is seeded with the CRC-32 of ``seed:name``, so that the order of tensors is of no
    effect. Matrices are scaled by the root of their inputs, norms are near one, spreads positive.
    """
    draw = np.random.default_rng(zlib.crc32(f"{seed}:{name}".encode()))
    x = draw.standard_normal(tuple(shape), dtype=np.float32)
    if name.endswith("running_var"):
        return np.abs(x) + np.float32(0.5)
    if "norm" in name and name.endswith(".weight"):
        return np.float32(1) + np.float32(0.1) * x
    if name.endswith((".bias", "_bias", "running_mean")):
        return np.float32(0.1) * x
    inputs = math.prod(shape[1:])
    return x * np.float32(inputs**-0.5)


def weights(shapes: Mapping[str, Sequence[int]], seed: int) -> dict[str, Array | NDArray[np.int64]]:
    """Draw a checkpoint of these names and shapes."""
    return {
        name: np.array(1, np.int64)
        if name.endswith("num_batches_tracked")
        else weight(name, shape, seed)
        for name, shape in shapes.items()
    }


def sound(seed: int, seconds: float, rate: int = 16_000) -> Array:
    """Make a clip: four tones that swell and fade, and noise."""
    draw = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    samples = 0.01 * draw.standard_normal(len(time))
    for pitch, swell in zip(draw.uniform(100, 3000, 4), draw.uniform(0.5, 8, 4), strict=True):
        loudness = 0.5 - 0.5 * np.cos(2 * np.pi * swell * time)
        samples += 0.1 * loudness * np.sin(2 * np.pi * pitch * time)
    return samples.astype(np.float32)


def strings(count: int, seed: int) -> list[str]:
    """Draw strings of 0 to 40 characters, of one script or of several."""
    draw = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        scripts = draw.choice(len(SCRIPTS), size=draw.integers(1, 4))
        letters = "".join(SCRIPTS[script] for script in scripts) + "  "
        length = int(draw.integers(0, 41))
        made.append("".join(letters[place] for place in draw.integers(0, len(letters), length)))
    return made
