"""Means with bootstrap intervals, paired differences, and quantiles of times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Difference", "Estimate", "compared", "difference", "estimate", "quantiles"]

RESAMPLES = 4000
INTERVAL = (2.5, 97.5)
"""Percentiles of the 95 % interval."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """Format as in the tables."""
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def points(self) -> str:
        """Format a difference of shares in percentage points."""
        return f"{100 * self.mean:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference.

    Args:
        estimate: Its mean with its interval.
        questions: How many pairs.
        chance: Two-sided bootstrap probability of a difference of the other sign, or none.
    """

    estimate: Estimate
    questions: int
    chance: float


def estimate(values: Sequence[float]) -> Estimate:
    """Return mean and interval, by bootstrap over the questions.

    A question in several voices is one sample: its clips are not independent.
    """
    array = np.asarray(values, np.float64)
    low, high = np.percentile(_means(array), INTERVAL)
    return Estimate(float(array.mean()), float(low), float(high))


def difference(*terms: tuple[float, Mapping[str, float]]) -> Estimate:
    """Return the weighted sum of scores with its interval, paired by question."""
    return estimate(_paired(*terms))


def compared(one: Mapping[str, float], other: Mapping[str, float]) -> Difference | None:
    """Return how far one way is ahead of another on the questions of both; None without any."""
    values = np.asarray(_paired((1.0, one), (-1.0, other)), np.float64)
    if not len(values):
        return None
    means = _means(values)
    chance = min(1.0, 2 * min(float((means <= 0).mean()), float((means >= 0).mean())))
    return Difference(estimate(list(values)), len(values), chance)


def quantiles(seconds: Iterable[float]) -> tuple[float, float]:
    """Return median and 95th percentile."""
    p50, p95 = np.percentile(np.fromiter(seconds, np.float64), (50, 95))
    return float(p50), float(p95)


def _paired(*terms: tuple[float, Mapping[str, float]]) -> list[float]:
    items = set.intersection(*(set(scores) for _, scores in terms))
    return [sum(weight * scores[item] for weight, scores in terms) for item in sorted(items)]


def _means(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray:
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    means: np.ndarray = values[drawn].mean(axis=1)
    return means
