"""Weights to start from: the packaged MiniLM, and the reader that is shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper

__all__ = ["packaged_weights", "reader_weights"]


def packaged_weights(path: Path) -> dict[str, np.ndarray]:
    """Read the packaged MiniLM: int8 rows with a scale each, [out, in] like torch's layers."""
    graph = onnx.load(path).graph
    held = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    table = {}
    for name in ("word_embeddings", "position_embeddings"):
        stem = f"inner.embeddings.{name}.weight"
        table[f"{name}.q"], table[f"{name}.scale"] = held[f"{stem}_q"], held[f"{stem}_scale"]
    for name, values in held.items():
        if name.startswith("inner.") and values.dtype == np.float32 and "_scale" not in name:
            table[name.removeprefix("inner.")] = values
    places = ("attention.self.query", "attention.self.key", "attention.self.value",
              "attention.output.dense", "intermediate.dense", "output.dense")  # fmt: skip
    linear = [name[:-2] for name in held if name.startswith("val_") and name.endswith("_q")]
    for number, name in enumerate(linear):
        stem = f"encoder.layer.{number // 6}.{places[number % 6]}"
        table[f"{stem}.q"] = np.ascontiguousarray(held[f"{name}_q"].T)
        table[f"{stem}.scale"] = np.ascontiguousarray(held[f"{name}_scale"].T)
    return table


def reader_weights(path: Path) -> dict[str, np.ndarray]:
    """Read an exported reader as the tensors of ReaderNetwork."""
    graph = onnx.load(path).graph
    held = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    table: dict[str, np.ndarray] = {"head.weight": held["head.weight"].T}
    for name, values in held.items():
        stem, _, end = name.rpartition(".")
        layer, _, part = stem.rpartition(".")
        if end == "int8":
            whole = (values.astype(np.float32) * held[f"{stem}.scale"]).T
            names = ("query", "key", "value") if part == "qkv" else (part,)
            for own, rows in zip(names, np.split(whole, len(names)), strict=True):
                table[f"{layer}.{own}.weight"] = rows
        elif end == "bias" and part == "qkv":
            for own, rows in zip(("query", "key", "value"), np.split(values, 3), strict=True):
                table[f"{layer}.{own}.bias"] = rows
        elif end in ("weight", "bias") and name not in table:
            table[name] = values
    return {name: values.astype(np.float32) for name, values in table.items()}
