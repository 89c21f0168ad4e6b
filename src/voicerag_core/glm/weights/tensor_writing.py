"""Write safetensors files tensor by tensor; only the one being written is held in memory."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from voicerag_core.glm.weights.tensor_files import DTYPES, TensorInfo

__all__ = ["planned_shards", "write_tensors"]

ALIGNMENT = 8
"""Bytes to a multiple of which the header is filled.

Source: the safetensors format, README of huggingface/safetensors @ v0.5.3."""


def planned_shards(infos: Mapping[str, TensorInfo], shard_bytes: int) -> list[list[str]]:
    """Split tensors, in order, into files of bounded size; a larger tensor gets its own file."""
    shards: list[list[str]] = []
    filled = 0
    for name, info in infos.items():
        if not shards or filled + info.bytes > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += info.bytes
    return shards


def write_tensors(
    path: Path,
    infos: Mapping[str, TensorInfo],
    names: Sequence[str],
    tensor: Callable[[str], torch.Tensor],
) -> None:
    """Write a safetensors file.

    Args:
        path: Where.
        infos: Shape and dtype of each tensor.
        names: Those to write.
        tensor: Returns one; it is released before the next is asked for.
    """
    codes = {dtype: code for code, dtype in DTYPES.items()}
    ordered = sorted(names, key=lambda name: -infos[name].dtype.itemsize)  # keeps all aligned
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in ordered:
        start, end = end, end + infos[name].bytes
        header[name] = {
            "dtype": codes[infos[name].dtype],
            "shape": list(infos[name].shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)))
        stream.write(text)
        for name in ordered:
            _write(stream.write, tensor(name), infos[name])


def _write(write: Callable[[memoryview], int], values: torch.Tensor, announced: TensorInfo) -> None:
    assert values.dtype == announced.dtype
    assert tuple(values.shape) == announced.shape
    write(values.contiguous().reshape(-1).view(torch.uint8).numpy().data)
