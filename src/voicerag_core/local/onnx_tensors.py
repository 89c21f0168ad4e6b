"""Read tensors from an ONNX file without the package onnx, by walking its protobuf fields."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicerag_core.errors import CheckpointError
from voicerag_core.files import regular_file

__all__ = ["read_tensors"]

# Source: onnx/onnx.proto (field numbers, TensorProto.DataType), protobuf's wire format.
GRAPH, INITIALIZER = 7, 5
DIMS, DATA_TYPE, NAME, RAW_DATA = 1, 2, 8, 9
KINDS = {1: np.float32, 3: np.int8}
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def read_tensors(path: Path, names: set[str]) -> dict[str, NDArray[Any]]:
    """Map weights of a model into memory; unused ones are not read.

    Args:
        path: The ONNX file, weights inside it.
        names: Initializers of its graph, float32 or int8.

    Raises:
        CheckpointError: The file is no ONNX model, or has no such weight.
    """
    found: dict[str, NDArray[Any]] = {}
    try:
        with regular_file(path) as stream:
            view = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        for field, start, end in _fields(view, 0, len(view)):
            if field == GRAPH:
                for inner, first, last in _fields(view, start, end):
                    if inner == INITIALIZER:
                        found.update(_tensor(view, first, last, names))
    except (OSError, ValueError, IndexError) as error:
        raise CheckpointError(f"{path} cannot be read as an ONNX model: {error}") from error
    if missing := names - found.keys():
        raise CheckpointError(f"{path} has no weights called {', '.join(sorted(missing))}")
    return found


def _tensor(view: mmap.mmap, start: int, end: int, names: set[str]) -> dict[str, NDArray[Any]]:
    dims: list[int] = []
    kind, name, raw = 0, "", (0, 0)
    for field, first, last in _fields(view, start, end):
        if field == DIMS:
            dims += _packed(view, first, last)
        elif field == DATA_TYPE:
            kind = _packed(view, first, last)[0]
        elif field == NAME:
            name = view[first:last].decode()
        elif field == RAW_DATA:
            raw = (first, last)
    if name not in names:
        return {}
    if kind not in KINDS:
        raise ValueError(f"{name} is of type {kind}, not float32 or int8")
    width = np.dtype(KINDS[kind]).itemsize
    if raw[1] - raw[0] != width * math.prod(dims):
        raise ValueError(f"{name} of shape {dims} has {raw[1] - raw[0]} bytes")
    return {name: np.frombuffer(view, KINDS[kind], math.prod(dims), raw[0]).reshape(dims)}


def _fields(view: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of each field; of a number, start and end of its bytes."""
    while at < end:
        key, at = _varint(view, at)
        wire = key & 7
        start = at
        if wire == VARINT:
            at = _varint(view, at)[1]
        elif wire == FIXED64:
            at += 8
        elif wire == BYTES:
            length, start = _varint(view, at)
            at = start + length
        elif wire == FIXED32:
            at += 4
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at > end:
            raise ValueError(f"a field at byte {start} is longer than the file")
        yield key >> 3, start, at


def _packed(view: mmap.mmap, at: int, end: int) -> list[int]:
    values = []
    while at < end:
        value, at = _varint(view, at)
        values.append(value)
    return values


def _varint(view: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if not byte & 128:
            return value, at
