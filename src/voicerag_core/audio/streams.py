"""Files as libsndfile is to see them."""

from __future__ import annotations

import bisect
import io
import itertools
from collections.abc import Mapping, Sequence
from typing import BinaryIO

__all__ = ["forgiving", "joined"]


def forgiving(stream: BinaryIO, patches: Mapping[int, bytes] | None = None) -> BinaryIO:
    """Return a view of a file with some bytes exchanged, in which no seek fails.

    libsndfile is sent to places before the start by damaged headers, and its Python binding would
    print the error of the file on standard error.

    Args:
        stream: Seekable; is not closed with the view.
        patches: Other bytes by their place.
    """
    return io.BufferedReader(_View(stream, patches or {}))


def joined(parts: Sequence[bytes | memoryview]) -> BinaryIO:
    """Return a file of these parts, one after another, without a copy of them."""
    return io.BufferedReader(_Joined(parts))


class _View(io.RawIOBase):
    """See `forgiving`."""

    def __init__(self, stream: BinaryIO, patches: Mapping[int, bytes]) -> None:
        super().__init__()
        self._stream = stream
        self._patches = patches

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return self._stream.seek(offset, whence)
        except (ValueError, OSError, OverflowError):
            return self._stream.seek(0, io.SEEK_END if offset > 0 else io.SEEK_SET)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        start = self._stream.tell()
        data = bytearray(self._stream.read(len(buffer)))
        for at, patch in self._patches.items():
            first, last = max(at, start), min(at + len(patch), start + len(data))
            if first < last:
                data[first - start : last - start] = patch[first - at : last - at]
        buffer[: len(data)] = data
        return len(data)


class _Joined(io.RawIOBase):
    """See `joined`."""

    def __init__(self, parts: Sequence[bytes | memoryview]) -> None:
        super().__init__()
        self._parts = [memoryview(part) for part in parts]
        self._ends = list(itertools.accumulate(len(part) for part in parts))
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._ends[-1]}
        self._position = max(bases[whence] + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        at = bisect.bisect_right(self._ends, self._position)
        if at == len(self._parts):
            return 0
        start = self._position - (self._ends[at - 1] if at else 0)
        data = self._parts[at][start : start + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
