"""Write small ONNX networks without the package onnx, as their protobuf fields.

Source: onnx/onnx.proto (field numbers, TensorProto.DataType), protobuf's wire format.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

__all__ = ["Graph"]

IR_VERSION = 8
OPSETS = {"": 17, "com.microsoft": 1}
KINDS = {"float32": 1, "uint8": 2, "int32": 6}
VARINT, BYTES, FIXED32 = 0, 2, 5
FLOAT_ATTRIBUTE, INT_ATTRIBUTE = 1, 2


@dataclass(slots=True)
class Graph:
    """A network under construction: nodes in the order in which they run.

    Args:
        name: Of the graph.
    """

    name: str
    _nodes: list[bytes] = field(default_factory=list)
    _weights: list[bytes] = field(default_factory=list)
    _inputs: list[bytes] = field(default_factory=list)
    _outputs: list[bytes] = field(default_factory=list)

    def weight(self, name: str, values: NDArray[Any]) -> str:
        """Add a weight of type float32, uint8 or int32, and return its name."""
        parts = [_number(1, size) for size in values.shape]
        parts += [_number(2, KINDS[values.dtype.name]), _text(8, name), _bytes(9, values.tobytes())]
        self._weights.append(b"".join(parts))
        return name

    def input(self, name: str, kind: str, shape: Sequence[int | str]) -> str:
        """Add an input; a word in its shape stands for any size."""
        self._inputs.append(_value(name, kind, shape))
        return name

    def output(self, name: str, shape: Sequence[int | str]) -> None:
        """Make a float32 value an output."""
        self._outputs.append(_value(name, "float32", shape))

    def node(
        self,
        kind: str,
        inputs: Sequence[str],
        output: str,
        settings: Mapping[str, int | float] | None = None,
        *,
        domain: str = "",
    ) -> str:
        """Add an operation, and return the name of its output."""
        parts = [*(_text(1, one) for one in inputs), _text(2, output), _text(4, kind)]
        for name, value in (settings or {}).items():
            parts.append(_bytes(5, _attribute(name, value)))
        parts.append(_text(7, domain))
        self._nodes.append(b"".join(parts))
        return output

    def serialized(self) -> bytes:
        """Return the file."""
        graph = [_bytes(1, node) for node in self._nodes]
        graph.append(_text(2, self.name))
        graph += [_bytes(5, weight) for weight in self._weights]
        graph += [_bytes(11, value) for value in self._inputs]
        graph += [_bytes(12, value) for value in self._outputs]
        model = [_number(1, IR_VERSION), _bytes(7, b"".join(graph))]
        model += [_bytes(8, _text(1, name) + _number(2, at)) for name, at in OPSETS.items()]
        return b"".join(model)


def _attribute(name: str, value: float) -> bytes:
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, INT_ATTRIBUTE)
    packed = _varint(2 << 3 | FIXED32) + struct.pack("<f", value)
    return _text(1, name) + packed + _number(20, FLOAT_ATTRIBUTE)


def _value(name: str, kind: str, shape: Sequence[int | str]) -> bytes:
    sizes = [_text(2, size) if isinstance(size, str) else _number(1, size) for size in shape]
    shaped = b"".join(_bytes(1, size) for size in sizes)
    tensor = _number(1, KINDS[kind]) + _bytes(2, shaped)
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _number(field_number: int, value: int) -> bytes:
    return _varint(field_number << 3 | VARINT) + _varint(value)


def _text(field_number: int, value: str) -> bytes:
    return _bytes(field_number, value.encode())


def _bytes(field_number: int, value: bytes) -> bytes:
    return _varint(field_number << 3 | BYTES) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:  # noqa: PLR2004 - seven bits a byte
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)
