"""Batches of inputs of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

__all__ = ["batches_by_length"]


def batches_by_length(lengths: Sequence[int], *, most: int, budget: int) -> Iterator[list[int]]:
    """Yield the indices of N inputs, longest first, in batches of bounded size.

    Args:
        lengths: Length of each input.
        most: Most inputs per batch.
        budget: Largest size of a batch, padding included; a single input may be larger.
    """
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    at = 0
    while at < len(order):
        size = max(1, min(most, budget // max(1, lengths[order[at]])))
        yield order[at : at + size]
        at += size
