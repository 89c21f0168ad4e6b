"""Leave out what a model thinks aloud before its answer."""

from __future__ import annotations

from collections.abc import Generator, Iterable

__all__ = ["without_thoughts"]

OPEN, CLOSE = "<think>", "</think>"


def without_thoughts(pieces: Iterable[str]) -> Generator[str, None, None]:
    """Yield a streamed text without ``<think>…</think>`` at its beginning."""
    buffer = ""
    state = "undecided"
    for piece in pieces:
        if state == "answer":
            yield piece
            continue
        buffer += piece
        if state == "undecided":
            begun = buffer.lstrip()
            if begun.startswith(OPEN):
                state = "thought"
            elif begun and not OPEN.startswith(begun):
                state = "answer"
                yield buffer
                continue
        if state == "thought":
            _, closed, after = buffer.partition(CLOSE)
            if closed:
                state = "answer"
                if after.lstrip():
                    yield after.lstrip()
            else:
                buffer = OPEN + buffer.removeprefix(OPEN)[-len(CLOSE) :]
    if state == "undecided" and buffer:
        yield buffer
