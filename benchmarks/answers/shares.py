"""Shares with Wilson's interval, as they stand in the tables of answers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Share", "share"]

Z = 1.959964
"""Standard deviations of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many.

    Args:
        count: Those that count.
        total: All of them.
    """

    count: int
    total: int

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval of 95 %; 0..1 of nothing.

        Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA
        22 (1927).
        """
        if not self.total:
            return 0.0, 1.0
        spread = Z**2 / self.total
        centre = self.count / self.total + spread / 2
        mean = self.count / self.total
        half = math.sqrt(mean * (1 - mean) * spread + spread**2 / 4)
        return (centre - half) / (1 + spread), (centre + half) / (1 + spread)

    def __str__(self) -> str:
        """Format as in the tables: count, share, interval."""
        if not self.total:
            return "none"
        low, high = (min(max(bound, 0.0), 1.0) for bound in self.interval)
        return (
            f"{self.count} of {self.total}, {self.count / self.total:.2f} [{low:.2f}, {high:.2f}]"
        )


def share(flags: Iterable[bool]) -> Share:
    """Count how many hold."""
    counted = list(flags)
    return Share(sum(counted), len(counted))
