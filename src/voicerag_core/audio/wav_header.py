"""Sizes of the sound in the headers of WAV and AIFF files: true, unknown, or more than there is.

A program that writes a WAV file into a pipe cannot come back to its header. It leaves a size that
stands for "unknown" there, and the sound then lasts to the end of the file.

Source: RIFF chunk layout, Microsoft/IBM Multimedia Programming Interface 1.0; Apple's AIFF 1.3.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO, Literal

from voicerag_core.audio.streams import forgiving
from voicerag_core.errors import AudioError

__all__ = ["with_true_sizes"]

MOST_CHUNKS = 1000
"""Chunks before the sound that are passed over; a real file has a handful."""

UNKNOWN_SIZES = frozenset({0x7FFFF000, 0x7FFFF000 - 36, 0x7FFFFF00, 0x7FFFFF00 - 36})
"""What sox and espeak (the first), and arecord (the last) write for "unknown"."""

UNKNOWN_FROM = 2**31 - 1
"""What most others write is as large as this or larger: 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF."""

UNKNOWN_AIFF_FROM = 0x7F000000
"""What sox writes into an AIFF file; libsndfile itself reads such a file to its end."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a format of this family is laid out.

    Args:
        order: Of the bytes of a number.
        forms: What may stand behind the size of the file.
        sound: The name of the chunk with the sound.
    """

    order: Literal["little", "big"]
    forms: tuple[bytes, ...]
    sound: bytes


_LAYOUTS = {
    b"RIFF": _Layout("little", (b"WAVE",), b"data"),
    b"RIFX": _Layout("big", (b"WAVE",), b"data"),
    b"FORM": _Layout("big", (b"AIFF", b"AIFC"), b"SSND"),
}


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
    layout = _LAYOUTS.get(head[:4])
    if layout is None or head[8:] not in layout.forms:
        return stream
    found = _sound_chunk(stream, layout, end, name)
    stream.seek(0)
    if found is None:
        return stream
    position, size = found
    whole = end - position
    if layout.sound == b"SSND" and size >= UNKNOWN_AIFF_FROM:
        return stream
    announced = int.from_bytes(head[4:8], layout.order) + 8
    if not _is_unknown(size, holds_all=abs(announced - end) <= 1):
        if size > whole:
            raise AudioError(
                f"{name} is truncated: its header announces {size} bytes of sound, "
                f"{whole} are there"
            )
        return stream
    # Over 4 GiB stays unknown, and is too long for any limit.
    sizes = {4: min(end - 8, 2**32 - 1), position - 4: min(whole, 2**32 - 1)}
    patches = {at: value.to_bytes(4, layout.order) for at, value in sizes.items()}
    return forgiving(stream, patches)


def _sound_chunk(stream: BinaryIO, layout: _Layout, end: int, name: str) -> tuple[int, int] | None:
    """Return where the sound begins and the size that its header gives; None: there is none."""
    position = 12
    for _ in range(MOST_CHUNKS):
        if position + 8 > end:
            return None
        stream.seek(position)
        kind = stream.read(4)
        size = int.from_bytes(stream.read(4), layout.order)
        position += 8
        if kind == layout.sound:
            return position, size
        position += size + size % 2
    raise AudioError(f"{name} cannot be read as audio: no sound in its first {MOST_CHUNKS} chunks")


def _is_unknown(size: int, *, holds_all: bool) -> bool:
    """Return whether a size stands for "unknown".

    Args:
        size: Of the sound, as the header gives it.
        holds_all: Whether the size of the whole file is right in the header, so 0 means nothing.
    """
    if size == 0:
        return not holds_all
    return size in UNKNOWN_SIZES or size >= UNKNOWN_FROM
