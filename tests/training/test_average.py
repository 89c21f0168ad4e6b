"""Means of networks, and points between two."""

from __future__ import annotations

import numpy as np
import pytest

from training.reader.average import averaged, between


@pytest.mark.parametrize(("share", "wanted"), [(0.0, 1.0), (0.45, 1.9), (1.0, 3.0)])
def test_a_point_lies_between_start_and_end(share: float, wanted: float) -> None:
    start = {"head.bias": np.ones(2, np.float32)}
    trained = {"head.bias": np.full(2, 3, np.float16)}
    got = between(start, trained, share)["head.bias"]
    assert got.dtype == np.float16
    np.testing.assert_allclose(got, wanted, rtol=1e-3)


def test_the_mean_is_that_of_each_tensor() -> None:
    networks = [{"a": np.full(1, value, np.float16)} for value in (1, 2, 6)]
    assert averaged(networks)["a"] == np.float16(3)
