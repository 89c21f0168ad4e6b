"""The larger network that the reader learns from: equal to transformers' MPNet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.reader.teacher import SHIFT, TeacherNetwork, packed, teacher_weights
from training.reader.train import distance_of

transformers = pytest.importorskip("transformers")

CLS, SEP, PAD = 101, 102, 0


@pytest.fixture(scope="module")
def reference() -> torch.nn.Module:
    torch.manual_seed(0)
    config = transformers.MPNetConfig(
        vocab_size=400 + SHIFT, hidden_size=48, num_hidden_layers=2, num_attention_heads=12,
        intermediate_size=192, max_position_embeddings=200, layer_norm_eps=1e-5,
    )  # fmt: skip
    model: torch.nn.Module = transformers.MPNetModel(config, add_pooling_layer=False).eval()
    for values in model.parameters():
        torch.nn.init.normal_(values, std=0.2)
    return model


def weights_of(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: values.numpy() for name, values in model.state_dict().items()}


def test_states_are_those_of_transformers(reference: torch.nn.Module) -> None:
    """Pieces, positions, distances in both directions and padding: two texts of unlike length."""
    teacher = TeacherNetwork(weights_of(reference)).eval()
    chance = torch.Generator().manual_seed(1)
    ids = torch.randint(110, 400, (2, 180), generator=chance)
    ids[:, 0], ids[0, 20], ids[0, -1], ids[1, 90] = CLS, SEP, SEP, SEP
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[1, 91:] = False
    ids[~mask] = PAD
    theirs = ids + SHIFT
    for own, piece in ((CLS, 0), (SEP, 2), (PAD, 1)):
        theirs[ids == own] = piece
    with torch.no_grad():
        wanted = reference(input_ids=theirs, attention_mask=mask.long()).last_hidden_state
        states = teacher.states(ids, torch.zeros_like(ids), mask)
    torch.testing.assert_close(states[mask], wanted[mask], rtol=1e-4, atol=1e-4)


def test_packed_weights_are_close(reference: torch.nn.Module, tmp_path: Path) -> None:
    """A row of int8 is within half a step of the row, and small tables stay as they are."""
    weights = weights_of(reference)
    held: dict[str, Any] = dict(packed(weights))
    np.savez(tmp_path / "teacher-0.npz", **held)
    read = teacher_weights(tmp_path)
    assert read.keys() == weights.keys()
    for name, values in weights.items():
        step = np.abs(values).max(axis=-1, keepdims=True) / 127
        assert (np.abs(read[name] - values) <= 0.51 * step).all(), name


def test_distance_is_zero_for_the_teachers_own_scores() -> None:
    """It also ignores what is not open, and grows when the reader prefers another token."""
    chance = torch.Generator().manual_seed(2)
    taught = torch.randn(2, 5, 3, generator=chance)
    opened = torch.tensor([[True, True, True, False, True]] * 2)
    batch = {"open": opened}
    own = torch.where(opened[..., None], taught, torch.randn(2, 5, 3, generator=chance))
    assert distance_of(own, taught, batch).abs() < 1e-6
    own[0, 1] += 1.0
    assert distance_of(own, taught, batch) > 1e-3
