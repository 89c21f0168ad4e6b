"""Data sizes in the headers of WAV files: true, unknown, or more than there is.

A program that writes a WAV file into a pipe cannot come back to its header. It leaves a size that
stands for "unknown" there, and the sound then lasts to the end of the file.

Source: RIFF chunk layout, Microsoft/IBM Multimedia Programming Interface 1.0.
"""

from __future__ import annotations

import io
from typing import BinaryIO, Literal

from voicerag_core.errors import AudioError

__all__ = ["with_true_sizes"]

MOST_CHUNKS = 1000
"""Chunks before the sound that are passed over; a real file has a handful."""

UNKNOWN_SIZES = frozenset({0x7FFFF000, 0x7FFFF000 - 36, 0x7FFFFF00, 0x7FFFFF00 - 36})
"""What sox and espeak (the first), and arecord (the last) write for "unknown"."""

UNKNOWN_FROM = 2**31 - 1
"""What most others write is as large as this or larger: 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF."""

_ORDERS: dict[bytes, Literal["little", "big"]] = {b"RIFF": "little", b"RIFX": "big"}


def with_true_sizes(stream: BinaryIO, name: str) -> BinaryIO:
    """Return the stream, with the size of the sound in its place where the header does not know it.

    Args:
        stream: Seekable, at the beginning of the file; is left there.
        name: To speak of the file by.

    Raises:
        AudioError: The file ends before its sound does.
    """
    head = stream.read(12)
    end = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    order = _ORDERS.get(head[:4])
    if order is None or head[8:] != b"WAVE":
        return stream
    found = _data_chunk(stream, order, end, name)
    stream.seek(0)
    if found is None:
        return stream
    position, size = found
    whole = end - position
    announced = int.from_bytes(head[4:8], order) + 8
    if not _is_unknown(size, holds_all=announced in {end, end - 1, end + 1}):
        if size > whole:
            raise AudioError(
                f"{name} is truncated: its header announces {size} bytes of sound, "
                f"{whole} are there"
            )
        return stream
    # Over 4 GiB stays unknown, and is too long for any limit.
    sizes = {4: min(end - 8, 2**32 - 1), position - 4: min(whole, 2**32 - 1)}
    patches = {at: value.to_bytes(4, order) for at, value in sizes.items()}
    return io.BufferedReader(_Overlaid(stream, patches))


def _data_chunk(
    stream: BinaryIO, order: Literal["little", "big"], end: int, name: str
) -> tuple[int, int] | None:
    """Return where the sound begins and the size that its header gives; None: there is none."""
    position = 12
    for _ in range(MOST_CHUNKS):
        if position + 8 > end:
            return None
        stream.seek(position)
        kind = stream.read(4)
        size = int.from_bytes(stream.read(4), order)
        position += 8
        if kind == b"data":
            return position, size
        position += size + size % 2
    raise AudioError(
        f"{name} cannot be read as audio: no sound in its first {MOST_CHUNKS} RIFF chunks"
    )


def _is_unknown(size: int, *, holds_all: bool) -> bool:
    """Tell whether a size stands for "unknown".

    Args:
        size: Of the sound, as the header gives it.
        holds_all: Whether the size of the whole file is right in the header, so 0 means nothing.
    """
    if size == 0:
        return not holds_all
    return size in UNKNOWN_SIZES or size >= UNKNOWN_FROM


class _Overlaid(io.RawIOBase):
    """A file that reads as if some bytes of it were others.

    Args:
        stream: The file; is not closed with this.
        patches: Bytes by their place.
    """

    def __init__(self, stream: BinaryIO, patches: dict[int, bytes]) -> None:
        super().__init__()
        self._stream = stream
        self._patches = patches

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move as the file does."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the place in the file."""
        return self._stream.tell()

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Read as the file does, and lay the other bytes over what was read."""
        start = self._stream.tell()
        data = bytearray(self._stream.read(len(buffer)))
        for at, patch in self._patches.items():
            first, last = max(at, start), min(at + len(patch), start + len(data))
            if first < last:
                data[first - start : last - start] = patch[first - at : last - at]
        buffer[: len(data)] = data
        return len(data)
