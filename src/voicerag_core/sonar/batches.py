"""Batches of things of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

__all__ = ["batches_by_length"]


def batches_by_length(lengths: Sequence[int], *, most: int, budget: int) -> Iterator[list[int]]:
    """Yield the places of N things, longest first, in batches of bounded size.

    Args:
        lengths: Length of each thing.
        most: Most things of a batch.
        budget: Most that a batch may come to when all are padded to its longest; one thing alone
            may be longer.
    """
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    at = 0
    while at < len(order):
        size = max(1, min(most, budget // max(1, lengths[order[at]])))
        yield order[at : at + size]
        at += size
