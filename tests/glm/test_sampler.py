from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import TopPLogitsWarper

from voicerag_core.errors import ConfigError
from voicerag_core.glm.lm.sampler import NOT_FINITE, checked_sampling, sample, uniform_noise
from voicerag_core.types import Sampling


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value)


def test_draws_follow_the_nucleus_of_the_reference() -> None:
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 40))).float()
    legal = torch.ones(40, dtype=torch.bool)
    legal[::7] = False
    masked = logits.masked_fill(~legal, -torch.inf)
    expected = torch.softmax(TopPLogitsWarper(0.8)(torch.zeros(1, 1), masked / 0.7), -1)[0]
    count = 20000
    uniform = torch.from_numpy(np.random.default_rng(1).random(count, np.float32))
    ids = sample(logits.expand(count, -1), legal, uniform, scalar(0.7), scalar(0.8))
    seen = torch.bincount(ids, minlength=40) / count
    assert set(torch.nonzero(seen)[:, 0].tolist()) == set(torch.nonzero(expected)[:, 0].tolist())
    assert (seen - expected).abs().max() < 0.012


def test_no_random_number_reaches_an_illegal_id() -> None:
    logits = torch.tensor([[9.0, 1.0, 0.0, 8.0]])
    legal = torch.tensor([False, True, True, False])
    for value in (0.0, 0.5, 1 - 2**-24):
        for top_p in (0.01, 0.9, 1.0):
            drawn = sample(logits, legal, torch.tensor([value]), scalar(1.0), scalar(top_p))
            assert drawn.item() in {1, 2}


def test_temperature_0_takes_the_likeliest() -> None:
    logits = torch.tensor([[0.0, 3.0, 3.1, 9.0]])
    legal = torch.tensor([True, True, True, False])
    for value in (0.0, 0.99):
        drawn = sample(logits, legal, torch.tensor([value]), scalar(0.0), scalar(1.0))
        assert drawn.item() == 2


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_reported(broken: float) -> None:
    logits = torch.tensor([[0.0, broken], [0.0, 1.0]])
    legal = torch.ones(2, dtype=torch.bool)
    drawn = sample(logits, legal, torch.tensor([0.1, 0.1]), scalar(0.0), scalar(1.0))
    assert drawn.tolist() == [NOT_FINITE, 1]


def test_a_seed_repeats_its_draws_and_touches_no_other_generator() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, again = (uniform_noise(Sampling(seed=3, max_new_tokens=50)) for _ in range(2))
    assert torch.equal(one, again)
    assert not torch.equal(one, uniform_noise(Sampling(max_new_tokens=50)))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=-0.1),
        Sampling(temperature=float("nan")),
        Sampling(top_p=0.0),
        Sampling(top_p=1.1),
        Sampling(max_new_tokens=0),
    ],
)
def test_values_out_of_range_are_refused(sampling: Sampling) -> None:
    with pytest.raises(ConfigError, match="sampling"):
        checked_sampling(sampling)
