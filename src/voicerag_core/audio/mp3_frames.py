"""The frames of an MP3 file, found one by one.

libsndfile takes the length of an MP3 file from its Xing frame, or else guesses it from the first
frame's bit rate, and reads no further: a file of variable bit rate without a Xing frame loses its
end, one of constant bit rate seems truncated, and of two files joined the second is dropped. So
the frames are counted here, tags and whatever else stands between them are left out, and a Xing
frame with the true count is put before them.

Source: ISO/IEC 11172-3 and 13818-3, frame header; id3.org, ID3v2.4 structure; Xing's and
Fraunhofer's header frames as in mpg123's src/libmpg123/frame.c.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal

from voicerag_core.audio.streams import joined
from voicerag_core.errors import AudioError

__all__ = ["Mp3", "find_mp3", "is_no_mp3"]

MOST_JUNK = 1 << 16
"""Bytes in a row that may be no frames: what stands before the first, or between two, like a tag of
a kind not known here."""

MOST_ATTEMPTS = 100_000
"""Places that look like a frame, in what stands between frames of one file."""

SURE_FRAMES = 3
"""So many frames in a row are no chance."""

HEADER_BYTES = 4
MPEG_1, MPEG_2, MPEG_2_5 = 3, 2, 0
LAYER_3, LAYER_2, LAYER_1 = 1, 2, 3
MONO = 3
SYNC = 0x7FF
NO_RATE = 3

_SYNC = re.compile(rb"\xff[\xe2-\xe7\xf2-\xff]")
_RATES = {MPEG_1: (44_100, 48_000, 32_000), MPEG_2: (22_050, 24_000, 16_000)}
_RATES[MPEG_2_5] = (11_025, 12_000, 8_000)
_KBITS_1 = {
    LAYER_1: (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    LAYER_2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    LAYER_3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_KBITS_2 = {
    LAYER_1: (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    LAYER_2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    LAYER_3: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


@dataclass(frozen=True, slots=True)
class Mp3:
    """An MP3 file reduced to its frames.

    Args:
        sample_rate: In Hz.
        samples: How many a channel the frames hold.
        stream: The frames, after a Xing frame that counts them.
    """

    sample_rate: int
    samples: int
    stream: BinaryIO


@dataclass(frozen=True, slots=True)
class _Header:
    """What the first four bytes of a frame say.

    Args:
        version: Of MPEG, as coded.
        layer: As coded.
        sample_rate: In Hz.
        mono: Whether there is one channel.
        size: Of the frame in bytes, its header included.
    """

    version: int
    layer: int
    sample_rate: int
    mono: bool
    size: int

    @property
    def side_bytes(self) -> int:
        """Bytes between the header and the main data in layer 3."""
        if self.version == MPEG_1:
            return 17 if self.mono else 32
        return 9 if self.mono else 17

    @property
    def samples(self) -> int:
        """Samples a channel in one frame."""
        if self.layer == LAYER_1:
            return 384
        return 1152 if self.version == MPEG_1 or self.layer == LAYER_2 else 576

    def same_kind(self, other: _Header) -> bool:
        """Whether a decoder can go on from one to the other."""
        return (self.version, self.layer, self.sample_rate, self.mono) == (
            other.version,
            other.layer,
            other.sample_rate,
            other.mono,
        )


_OTHERS = (b"fLaC", b"OggS", b"FORM", b".snd", b"caff", b"wvpk")
"""What files of other formats begin with; none of them wraps MP3."""
_MPEG_TAGS = frozenset({0x50, 0x55})
"""Formats in the header of a WAV file that are MPEG sound."""
_EXTENSIBLE = 0xFFFE
"""The format that is named further on in the header."""


def is_no_mp3(head: bytes) -> bool:
    """Return whether the beginning of a file shows that no MP3 has to be looked for in it.

    A WAV file may wrap one; its format says so, where it stands among these bytes.
    """
    if head.startswith(_OTHERS):
        return True
    if head[:4] not in (b"RIFF", b"RIFX", b"RF64") or head[8:12] != b"WAVE":
        return False
    order: Literal["little", "big"] = "big" if head[:4] == b"RIFX" else "little"
    position = 12
    while position + 10 <= len(head):
        size = int.from_bytes(head[position + 4 : position + 8], order)
        if head[position : position + 4] == b"fmt ":
            tag = int.from_bytes(head[position + 8 : position + 10], order)
            if tag == _EXTENSIBLE:
                tag = int.from_bytes(head[position + 32 : position + 34], order)
            return tag not in _MPEG_TAGS
        position += 8 + size + size % 2
    return False


def find_mp3(stream: BinaryIO, name: str, max_bytes: int) -> Mp3 | None:
    """Return the frames of an MP3 file; None when the file is no MP3.

    Args:
        stream: At the beginning of the file.
        name: To speak of the file by.
        max_bytes: Most bytes to look through.

    Raises:
        AudioError: The file ends before its sound does, is joined from files of different form,
            is damaged, or is larger than `max_bytes`.
    """
    head = stream.read(MOST_JUNK)
    start = _after_tags(head, 0)
    # A tag may hold a picture; without one the file is not read whole to be no MP3.
    if start < len(head) and _Scan(head, name).next_run(start) is None:
        _check_no_frame(head, start, name)
        return None
    data = head + stream.read(max(max_bytes - len(head), 0) + 1)
    if len(data) > max_bytes:
        raise AudioError(
            f"{name} is larger than the {max_bytes >> 20} MiB that sound of this length may have"
        )
    mp3 = _Scan(data, name).mp3()
    if mp3 is None:
        _check_no_frame(data, start, name)
    return mp3


def _check_no_frame(data: bytes, position: int, name: str) -> None:
    """Refuse what begins with the header of a frame and has no frames."""
    if _header_at(data, position) is not None:
        raise AudioError(
            f"{name} cannot be read as audio: it begins like an MP3 file and has no whole frames"
        )


class _Scan:
    """One way through the bytes of a file.

    Args:
        data: The bytes.
        name: To speak of the file by.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self._name = name
        self._attempts = 0

    def mp3(self) -> Mp3 | None:
        """Return every frame; None when there is none."""
        position = self.next_run(_after_tags(self._data, 0))
        if position is None:
            return None
        first = _header_at(self._data, position)
        assert first is not None
        spans: list[tuple[int, int]] = []
        frames = announced = announcements = 0
        while True:
            start = position
            while (header := _header_at(self._data, position)) and header.same_kind(first):
                if position + header.size > len(self._data):
                    break
                count = _announced_frames(self._data[position : position + header.size], header)
                if count is not None:
                    spans.append((start, position))
                    start = position + header.size
                    announced += count
                    announcements += 1
                else:
                    frames += 1
                position += header.size
            spans.append((start, position))
            if (after := self._next_part(position, first)) is None:
                break
            position = after
        if frames + announcements < announced:
            raise AudioError(
                f"{self._name} is truncated: its header announces {announced} MP3 frames, "
                f"{frames} are there"
            )
        view = memoryview(self._data)
        return _counted(first, frames, [view[start:end] for start, end in spans if start < end])

    def _next_part(self, position: int, first: _Header) -> int | None:
        """Return where the frames go on after something that is none; None at the end."""
        position = _after_tags(self._data, position)
        after = self.next_run(position)
        if after is None:
            if len(self._data) - position > MOST_JUNK:
                raise AudioError(
                    f"{self._name} is damaged: no sound can be found in its last "
                    f"{len(self._data) - position} bytes"
                )
            return None
        header = _header_at(self._data, after)
        if header is None or not header.same_kind(first):
            raise AudioError(
                f"{self._name} holds several MP3 files of different rate or channels, one after "
                "another; give them one by one, or convert them: "
                "ffmpeg -i FILE -ac 1 -ar 16000 FILE.wav"
            )
        return after

    def next_run(self, position: int) -> int | None:
        """Return where several frames in a row begin next, or the last ones of the file."""
        end = min(position + MOST_JUNK, len(self._data))
        for found in _SYNC.finditer(self._data, position, end):
            self._attempts += 1
            if self._attempts > MOST_ATTEMPTS:
                raise AudioError(f"{self._name} cannot be read as audio: it is no whole MP3 file")
            if self._is_run(found.start()):
                return found.start()
        return None

    def _is_run(self, position: int) -> bool:
        first = header = _header_at(self._data, position)
        for _ in range(SURE_FRAMES):
            if first is None or header is None or not header.same_kind(first):
                return False
            position += header.size
            if position >= len(self._data):
                return position == len(self._data)
            if _after_tags(self._data, position) != position:
                return True
            header = _header_at(self._data, position)
        return True


def _counted(first: _Header, frames: int, parts: list[memoryview]) -> Mp3 | None:
    """Put a Xing frame with the count before the frames; only layer 3 knows such a frame."""
    if not frames:
        return None
    counts = first.layer == LAYER_3
    xing = _xing_frame(first, bytes(parts[0][:HEADER_BYTES]), frames) if counts else b""
    return Mp3(first.sample_rate, frames * first.samples, joined([xing, *parts]))


def _xing_frame(first: _Header, header: bytes, frames: int) -> bytes:
    bits = int.from_bytes(header, "big")
    # Without checksum and padding, at the ninth bit rate: large enough for the count.
    bits = (bits | 1 << 16) & ~(0xF << 12) & ~(1 << 9) | 9 << 12
    whole = _parsed(bits.to_bytes(HEADER_BYTES, "big"))
    assert whole is not None
    start = bits.to_bytes(HEADER_BYTES, "big") + bytes(first.side_bytes)
    return (start + b"Xing" + b"\0\0\0\1" + frames.to_bytes(4, "big")).ljust(whole.size, b"\0")


def _announced_frames(frame: bytes, header: _Header) -> int | None:
    """Return how many frames a header frame announces; None: the frame is sound."""
    if header.layer != LAYER_3:
        return None
    for at in (HEADER_BYTES + header.side_bytes, HEADER_BYTES + header.side_bytes + 2):
        if frame[at : at + 4] in {b"Xing", b"Info"}:
            given = frame[at + 7 : at + 8] and frame[at + 7] & 1
            return int.from_bytes(frame[at + 8 : at + 12], "big") if given else 0
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[50:54], "big")
    return None


def _after_tags(data: bytes, position: int) -> int:
    """Return the first place at or after this one where no tag begins."""
    while True:
        if data.startswith(b"ID3", position) and len(data) >= position + 10:
            flags = data[position + 5]
            size = 0
            for byte in data[position + 6 : position + 10]:
                size = size << 7 | byte & 0x7F
            position += 10 + size + (10 if flags & 0x10 else 0)
        elif data.startswith(b"TAG", position) and position + 128 <= len(data):
            position += 128
        elif data.startswith(b"APETAGEX", position) and len(data) >= position + 32:
            size = int.from_bytes(data[position + 12 : position + 16], "little")
            is_header = data[position + 23] & 0x20
            position += 32 + (size if is_header else 0)
        else:
            return position


def _header_at(data: bytes, position: int) -> _Header | None:
    return _parsed(data[position : position + HEADER_BYTES])


@functools.lru_cache(maxsize=4096)
def _parsed(header: bytes) -> _Header | None:
    """Read a frame's header; None when these bytes are none."""
    if len(header) < HEADER_BYTES:
        return None
    bits = int.from_bytes(header, "big")
    version, layer = bits >> 19 & 3, bits >> 17 & 3
    bit_rate, rate, padding = bits >> 12 & 15, bits >> 10 & 3, bits >> 9 & 1
    # Free bit rates (0) do not say how long a frame is; nobody records with them.
    if bits >> 21 != SYNC or version == 1 or layer == 0 or bit_rate in {0, 15} or rate == NO_RATE:
        return None
    sample_rate = _RATES[version][rate]
    kbits = (_KBITS_1 if version == MPEG_1 else _KBITS_2)[layer][bit_rate - 1]
    mono = bits >> 6 & 3 == MONO
    blank = _Header(version, layer, sample_rate, mono, 0)
    slot = 4 if layer == LAYER_1 else 1
    size = (blank.samples // 8 // slot * kbits * 1000 // sample_rate + padding) * slot
    return replace(blank, size=size)
