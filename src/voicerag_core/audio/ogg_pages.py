"""The pages of an Ogg file, looked through before libsndfile reads it.

libsndfile reads the first stream of a file and stops without a word where a second follows, or
where the file ends within a page.

Source: RFC 3533, section 6.
"""

from __future__ import annotations

import io
from typing import BinaryIO

from voicerag_core.errors import AudioError

__all__ = ["holds_one_known_stream"]

HEADER_BYTES = 27
BEGINS = 0x02
KNOWN = (b"\x01vorbis", b"OpusHead")
"""How the first packet of what libsndfile decodes begins."""


def holds_one_known_stream(stream: BinaryIO, name: str) -> bool:
    """Return whether libsndfile reads all of an Ogg file.

    Args:
        stream: Seekable, at the beginning of the file; is left there.
        name: To speak of the file by.

    Raises:
        AudioError: The file ends within a page.
    """
    end = stream.seek(0, io.SEEK_END)
    position = streams = 0
    known = False
    while position < end:
        stream.seek(position)
        header = stream.read(HEADER_BYTES)
        segments = stream.read(header[-1]) if len(header) == HEADER_BYTES else b""
        body = sum(segments)
        if not header.startswith(b"OggS"):
            break  # what stands between pages is libsndfile's to pass over
        position += HEADER_BYTES + header[-1] + body
        if position > end:
            raise AudioError(
                f"{name} is truncated: {position - end} bytes of its last page are missing"
            )
        if header[5] & BEGINS:
            streams += 1
            known = streams == 1 and stream.read(body).startswith(KNOWN)
    stream.seek(0)
    return known
