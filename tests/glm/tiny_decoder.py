"""A tiny decoder whose random pitch is that of a voice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests.glm.tiny import DECODER, state_of, write_decoder
from voicerag_core.glm.weights.configs import DecoderConfig
from voicerag_core.glm.weights.tensor_shapes import hift_original

SEED = 7


def write_voiced_decoder(folder: Path, config: DecoderConfig = DECODER) -> Path:
    """Write the tree of `write_decoder` with another pitch predictor, of 0 to 80 Hz, and loudness.

    Random weights alone would say less than 10 Hz, which is silence to the harmonic source, and
    most samples would be clipped.
    """
    write_decoder(folder, config, seed=SEED)
    state = state_of(hift_original(config.hift), SEED)
    state["f0_predictor.classifier.weight"] *= 40.0
    state["f0_predictor.classifier.bias"] += 20.0
    state["conv_post.weight_g"] *= 0.1
    state["conv_post.bias"] -= 1.0
    torch.save(state, folder / "hift.pt")
    return folder


def speech(count: int) -> list[int]:
    """Return speech tokens, the same ones every time."""
    raw = np.random.PCG64(count).random_raw(count) % DECODER.flow.vocab_size
    return [int(token) for token in raw]


__all__ = ["DECODER", "speech", "write_voiced_decoder"]
