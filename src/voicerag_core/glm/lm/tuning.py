"""Which tile each kernel of the fused forward pass runs with, chosen by measurement."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from voicerag_core.glm.lm.cuda_graphs import seconds_as_graph

__all__ = ["fastest_tiles"]

Tile = TypeVar("Tile")

_logger = logging.getLogger(__name__)


def fastest_tiles(
    runs: Mapping[str, Callable[[Tile], object]], tiles: Sequence[Tile]
) -> dict[str, Tile]:
    """Return the tile with which each run takes the least time on the GPU.

    Args:
        runs: By name, what is run with a tile: all layers, so that caches stay cold.
        tiles: To choose from; one that a smaller GPU has no room for is passed over.
    """
    from triton.runtime.errors import OutOfResources

    chosen = {}
    for name, run in runs.items():
        seconds = {}
        for tile in tiles:
            with suppress(OutOfResources):
                seconds[tile] = seconds_as_graph(partial(run, tile))
        chosen[name] = min(seconds, key=seconds.__getitem__)
    _logger.debug("tiles: %s", chosen)
    return chosen
