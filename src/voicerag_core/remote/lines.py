"""A stream of bytes, line by line."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

__all__ = ["TooLongError", "lines_of"]

MOST_LINE_BYTES = 4 << 20


class TooLongError(ValueError):
    """A line does not end."""


def lines_of(chunks: Generator[bytes, None, None]) -> Generator[str, None, None]:
    """Yield whole lines without their ends, and "" for a chunk that ends none.

    The empty lines let the reader look at the clock however slowly the bytes arrive.

    Raises:
        TooLongError: A line is longer than `MOST_LINE_BYTES`.
    """
    rest = b""
    with closing(chunks):
        for chunk in chunks:
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line.rstrip(b"\r").decode("utf-8", "replace")
            if not whole:
                yield ""
            if len(rest) > MOST_LINE_BYTES:
                raise TooLongError(f"a line of more than {MOST_LINE_BYTES} bytes")
    if rest:
        yield rest.decode("utf-8", "replace")
