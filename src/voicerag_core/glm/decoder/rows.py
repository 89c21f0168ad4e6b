"""Copies of many rows of tensors in one call: a call takes longer than the copy of a short row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["copied", "copy_rows"]


def copy_rows(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy each source into its target.

    Args:
        targets: Of one data type, on one device; where they are contiguous as their sources are,
            a GPU copies many at once.
        sources: Of the shapes and the data type of the targets.
    """
    pairs = [pair for pair in zip(targets, sources, strict=True) if pair[1].numel()]
    if pairs:
        torch._foreach_copy_([target for target, _ in pairs], [source for _, source in pairs])


def copied(views: Sequence[Tensor]) -> list[Tensor]:
    """Return contiguous copies that do not keep what the views are of.

    Args:
        views: Of one data type, on one device.
    """
    made = [torch.empty(view.shape, dtype=view.dtype, device=view.device) for view in views]
    copy_rows(made, views)
    return made
