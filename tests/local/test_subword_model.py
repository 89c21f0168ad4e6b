"""The piece model: probabilities that add up, backing off, and files that are refused."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.local import tones
from voicerag_core.errors import CheckpointError
from voicerag_core.local.hearing.subword_model import SubwordModel
from voicerag_core.local.weights.files import weight_folder

PIECES = ["▁who", "▁found", "▁it"]


def small() -> dict[str, Any]:
    """Return a model in which "▁found" is known to follow "▁who", and nothing else is."""
    nats = 16
    return {
        "pieces": np.int64(3),
        "word": np.array([0, 0, 1, 2, 3, 4, 1], np.uint16),
        "children": np.array([5, 1, 0, 0, 0, 0, 0], np.uint16),
        "prob": np.array([0, nats, 2 * nats, 3 * nats, 4 * nats, 0, 8], np.uint8),
        "backoff": np.array([0, 32, 0, 0, 0, 0, 0], np.uint8),
    }


def test_a_pair_that_was_not_met_backs_off() -> None:
    arrays = small()
    model = SubwordModel(int(arrays.pop("pieces")), **arrays)
    first, after = model.log_prob(model.begin, 0)
    assert first == -1.0
    assert model.log_prob(after, 1)[0] == -0.5
    assert model.log_prob(after, 2)[0] == -(2.0 + 3.0)
    assert model.log_prob(after, model.end)[0] == -(2.0 + 4.0)
    _, unknown = model.log_prob(after, 2)
    assert model.log_prob(unknown, 0)[0] == -1.0


def test_what_follows_adds_up_to_one_in_the_shipped_model() -> None:
    model = SubwordModel.load(weight_folder("speech-encoder") / "speech_piece_model.npz")
    draw = np.random.default_rng(3)
    state = model.begin
    for _ in range(12):
        follow = [math.exp(model.log_prob(state, piece)[0]) for piece in range(model.end + 1)]
        assert sum(follow) == pytest.approx(1, abs=0.06), "rounded to sixteenths of a nat"
        chosen = int(draw.choice(model.end + 1, p=np.array(follow) / sum(follow)))
        state = model.begin if chosen == model.end else model.log_prob(state, chosen)[1]


def test_a_file_says_what_the_arrays_say(tmp_path: Path) -> None:
    arrays = tones.bigrams([PIECES, PIECES[:2]], PIECES)
    path = tmp_path / "model.npz"
    np.savez(path, **{**arrays, "word": np.diff(arrays["word"], prepend=np.uint16(0))})
    loaded, made = SubwordModel.load(path), tones.piece_model([PIECES, PIECES[:2]], PIECES)
    assert len(loaded) == len(made)
    states = [made.begin, *(made.log_prob(made.begin, piece)[1] for piece in range(3))]
    for state in states:
        for piece in range(4):
            assert loaded.log_prob(state, piece) == made.log_prob(state, piece)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prob": np.zeros(3, np.uint8)}, "several lengths"),
        ({"children": np.array([5, 2, 0, 0, 0, 0, 0])}, "make no tree"),
        ({"children": np.array([5, 0, 0, 0, 0, 0, 1])}, "make no tree"),
        ({"word": np.array([0, 0, 1, 2, 4, 3, 1])}, "every token"),
        ({"word": np.array([0, 0, 1, 2, 3, 4, 9])}, "not its end"),
        ({"pieces": np.int64(2)}, "make no tree"),
        ({"backoff": None}, "backoff"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    arrays = {**small(), **changes}
    arrays["word"] = np.diff(arrays["word"].astype(np.uint16), prepend=np.uint16(0))
    path = tmp_path / "model.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(CheckpointError, match=message):
        SubwordModel.load(path)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\3\4 broken"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.npz"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a subword model") as caught:
        SubwordModel.load(path)
    assert caught.value.__cause__ is not None


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="no file"):
        SubwordModel.load(tmp_path / "pipe")
