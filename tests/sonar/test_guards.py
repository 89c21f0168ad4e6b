"""What is refused behind the encoders, whoever runs them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from voicerag_core import ModelError
from voicerag_core.sonar.guards import finite_rows, running, unit_rows


def test_rows_are_scaled_to_length_1() -> None:
    scaled = unit_rows(np.array([[3.0, 4.0], [0.0, 1e-3]], np.float32))
    assert scaled.dtype == np.float32
    assert scaled == pytest.approx(np.array([[0.6, 0.8], [0.0, 1.0]]))


def test_a_vector_without_direction_is_refused() -> None:
    with pytest.raises(ModelError, match="zeros"):
        unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    rows = np.ones((2, 3), np.float32)
    assert finite_rows(rows, "text") is rows
    rows[1, 2] = bad
    with pytest.raises(ModelError, match=r"text encoder.*bfloat16"):
        finite_rows(rows, "text")


def test_want_of_memory_is_told_apart_from_other_faults() -> None:
    for error, told in (
        (torch.OutOfMemoryError("CUDA out of memory"), "too little memory"),
        (RuntimeError("shapes differ"), "failed: shapes differ"),
    ):
        with (
            pytest.raises(ModelError, match=told) as raised,
            running("text encoder", torch.device("cpu")),
        ):
            raise error
        assert raised.value.__cause__ is error
