"""Write the trained reader as ONNX with int8 layers.

    python -m training.reader.export FOLDER reader.onnx

FOLDER holds reader-0.safetensors and reader-1.safetensors of train.py. The model takes one
question with one passage: `embedded`, [T, 384], the sums of word, position and kind embeddings,
and gives `logits`, [T, 3].
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

WIDTH = 384
HEADS = 12
LAYERS = 6
OUTPUTS = 3
EPSILON = 1e-12
LARGEST = 63
"""Seven bits: with eight, sums of pairs overflow on processors that have AVX2 but no VNNI.

Source: onnxruntime's documentation of quantisation (reduce_range).
"""
MICROSOFT = "com.microsoft"


class Graph:
    """Collects nodes and weights."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self._weights = {name: values.astype(np.float32) for name, values in weights.items()}
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def weight(self, name: str) -> np.ndarray:
        """Return a tensor of the network."""
        return self._weights[name]

    def hold(self, name: str, values: np.ndarray) -> str:
        """Store values in the model."""
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(
        self,
        kind: str,
        inputs: Sequence[str],
        out: str,
        domain: str = "",
        **settings: Any,  # noqa: ANN401 - attributes of an ONNX node
    ) -> str:
        """Add a node with one output."""
        self.nodes.append(helper.make_node(kind, inputs, [out], domain=domain, **settings))
        return out

    def norm(self, stem: str, states: str) -> str:
        """Add a layer norm."""
        inputs = [states, *(self.hold(f"{stem}.{end}", self.weight(f"{stem}.{end}"))
                            for end in ("weight", "bias"))]  # fmt: skip
        return self.add("LayerNormalization", inputs, f"{stem}.out", axis=-1, epsilon=EPSILON)

    def linear(self, stem: str, parts: Sequence[str], states: str, *, biased: bool = True) -> str:
        """Multiply by the concatenated int8 weights of `parts`, with a scale per output."""
        rows = np.concatenate([self.weight(f"{part}.weight") for part in parts])
        scales = np.abs(rows).max(axis=1) / LARGEST
        whole = np.clip(np.rint(rows / scales[:, None]), -LARGEST, LARGEST).astype(np.int8)
        inputs = [states, self.hold(f"{stem}.int8", whole.T), self.hold(f"{stem}.scale", scales)]
        if biased:
            bias = np.concatenate([self.weight(f"{part}.bias") for part in parts])
            inputs += ["", self.hold(f"{stem}.bias", bias)]
        return self.add("DynamicQuantizeMatMul", inputs, f"{stem}.out", MICROSOFT)

    def add_and_norm(self, stem: str, norm: str, states: str, change: str) -> str:
        """Add a bias and the residual, then norm."""
        ends = [self.hold(f"{norm}.{end}", self.weight(f"{norm}.{end}"))
                for end in ("weight", "bias")]  # fmt: skip
        bias = self.hold(f"{stem}.bias", self.weight(f"{stem}.bias"))
        return self.add("SkipLayerNormalization", [change, states, *ends, bias], f"{norm}.out",
                        MICROSOFT, epsilon=EPSILON)  # fmt: skip

    def layer(self, number: int, states: str) -> str:
        """Add an encoder layer."""
        stem = f"layers.{number}"
        parts = [f"{stem}.{part}" for part in ("query", "key", "value")]
        whole = self.linear(f"{stem}.qkv", parts, states)
        split = [f"{stem}.{part}.rows" for part in ("query", "key", "value")]
        self.nodes.append(helper.make_node("Split", [whole], split, axis=2, num_outputs=3))
        seen = self.add("MultiHeadAttention", split, f"{stem}.seen", MICROSOFT, num_heads=HEADS)
        mixed = self.linear(f"{stem}.mixed", [f"{stem}.mixed"], seen, biased=False)
        states = self.add_and_norm(f"{stem}.mixed", f"{stem}.first_norm", states, mixed)
        wide = self.linear(f"{stem}.wide", [f"{stem}.wide"], states, biased=False)
        bias = self.hold(f"{stem}.wide.bias", self.weight(f"{stem}.wide.bias"))
        wide = self.add("BiasGelu", [wide, bias], f"{stem}.bent", MICROSOFT)
        narrow = self.linear(f"{stem}.narrow", [f"{stem}.narrow"], wide, biased=False)
        return self.add_and_norm(f"{stem}.narrow", f"{stem}.second_norm", states, narrow)


def build(weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """Build the model from the tensors of ReaderNetwork."""
    graph = Graph(weights)
    one = graph.add("Unsqueeze", ["embedded", graph.hold("zero", np.array([0], np.int64))], "row")
    states = graph.norm("norm", one)
    for number in range(LAYERS):
        states = graph.layer(number, states)
    head = [states, graph.hold("head.weight", graph.weight("head.weight").T)]
    product = graph.add("MatMul", head, "head.product")
    bias = graph.hold("head.bias", graph.weight("head.bias"))
    states = graph.add("Add", [product, bias], "head.out")
    graph.add("Squeeze", [states, "zero"], "logits")
    tensor = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(
            graph.nodes, "reader",
            [tensor("embedded", TensorProto.FLOAT, ["tokens", WIDTH])],
            [tensor("logits", TensorProto.FLOAT, ["tokens", OUTPUTS])],
            graph.tensors,
        ),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(MICROSOFT, 1)],
        ir_version=9,
    )  # fmt: skip
    onnx.checker.check_model(model)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    weights = {}
    for path in sorted(options.folder.glob("reader-*.safetensors")):
        weights.update(load_file(path))
    onnx.save(build(weights), options.out)
    print(f"{options.out}: {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
