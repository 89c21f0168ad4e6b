"""The network of multilingual-e5-small as ONNX, made of packed weights that stay packed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voicerag_core.local.multilingual.onnx_writing import Graph
from voicerag_core.local.multilingual.packed_file import BLOCK, PackedFile

__all__ = ["EMBEDDED", "LENGTHS", "STATES", "network"]

EMBEDDED, LENGTHS, STATES = "embedded", "lengths", "states"
"""Inputs and output: token embeddings [N, T, K], tokens of each text [N], token states."""

MICROSOFT = "com.microsoft"
INT8 = 4
"""Activations are rounded to int8 as well (MatMulNBits, ``accuracy_level``)."""


def network(packed: PackedFile) -> bytes:
    """Write the encoder behind the table of words as an ONNX file.

    Source: Devlin et al., BERT (2019), with the operators of onnxruntime (ContribOperators.md).
    """
    sizes = packed.sizes
    graph = Graph("multilingual-e5-small")
    shape = ("texts", "tokens", sizes.width)
    graph.input(EMBEDDED, "float32", shape)
    graph.input(LENGTHS, "int32", ("texts",))
    states = graph.node(
        "LayerNormalization",
        [EMBEDDED, _floats(graph, packed, "emb.ln.w"), _floats(graph, packed, "emb.ln.b")],
        "normalised",
        {"epsilon": packed.epsilon},
    )
    for number in range(sizes.layers):
        states = _layer(graph, packed, f"l{number}", states)
    graph.node("Identity", [states], STATES)
    graph.output(STATES, shape)
    return graph.serialized()


def _layer(graph: Graph, packed: PackedFile, name: str, states: str) -> str:
    """Add a layer: attention, then the feed-forward part, each added to its input."""
    width, inner = packed.sizes.width, packed.sizes.inner
    query, key, value = (_product(graph, packed, f"{name}.{one}", states, width) for one in "qkv")
    biases = np.concatenate([packed.floats(f"{name}.{one}.b") for one in "qkv"])
    mixed = graph.node(
        "MultiHeadAttention",
        [query, key, value, graph.weight(f"{name}.qkv.b", biases), LENGTHS],
        f"{name}.mixed",
        {"num_heads": packed.sizes.heads},
        domain=MICROSOFT,
    )
    attended = _product(graph, packed, f"{name}.ao", mixed, width)
    states = _added(graph, packed, attended, states, (f"{name}.ao.b", f"{name}.aln"))
    widened = graph.node(
        "BiasGelu",
        [
            _product(graph, packed, f"{name}.fi", states, width),
            _floats(graph, packed, f"{name}.fi.b"),
        ],
        f"{name}.gelu",
        domain=MICROSOFT,
    )
    narrowed = _product(graph, packed, f"{name}.fo", widened, inner)
    return _added(graph, packed, narrowed, states, (f"{name}.fo.b", f"{name}.oln"))


def _product(graph: Graph, packed: PackedFile, name: str, states: str, width: int) -> str:
    """Add the product with a packed matrix [N, K]."""
    scales, halves = packed.blocks(f"{name}.w", width)
    rows = len(scales)
    inputs = [
        states,
        graph.weight(f"{name}.w", _in_pairs(halves)),
        graph.weight(f"{name}.scales", scales.reshape(-1)),
    ]
    settings = {"K": width, "N": rows, "bits": 4, "block_size": BLOCK, "accuracy_level": INT8}
    return graph.node("MatMulNBits", inputs, f"{name}.product", settings, domain=MICROSOFT)


def _in_pairs(halves: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return blocks with weights 2i and 2i + 1 in byte i, as MatMulNBits takes them."""
    weights = np.concatenate((halves & 15, halves >> 4), axis=-1)
    pairs: NDArray[np.uint8] = weights[..., ::2] | weights[..., 1::2] << 4
    return pairs


def _added(
    graph: Graph, packed: PackedFile, states: str, before: str, names: tuple[str, str]
) -> str:
    """Add states and their bias to those before, and normalise the sum."""
    bias, norm = names
    inputs = [states, before]
    inputs += [_floats(graph, packed, one) for one in (f"{norm}.w", f"{norm}.b", bias)]
    settings = {"epsilon": packed.epsilon}
    return graph.node("SkipLayerNormalization", inputs, f"{norm}.sum", settings, domain=MICROSOFT)


def _floats(graph: Graph, packed: PackedFile, name: str) -> str:
    return graph.weight(name, packed.floats(name))
