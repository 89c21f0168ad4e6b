"""The process that parses strangers' files: requests on standard input, replies on output."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Hashable
from typing import IO

from voicerag_core.documents.apart import IDLE_EXIT, receive, send
from voicerag_core.documents.formats import Parsed, parse
from voicerag_core.errors import DocumentError, MissingExtraError
from voicerag_core.types import Document, JSONValue

__all__ = ["main"]

_IDLE_SECONDS = 30.0
_OUT_OF_MEMORY = 77
_LARGE_BYTES = 700 << 20
"""A process that has grown beyond is not used again."""


def main() -> None:
    """Serve requests until the input ends, or nothing is asked for a while."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "r+b") as nothing:  # what a library prints is no reply
        os.dup2(nothing.fileno(), 0)
        os.dup2(nothing.fileno(), 1)
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        while _is_asked(requests):
            request = receive(requests)
            data = receive(requests)
            if request is None or data is None:
                break
            send(replies, _reply(json.loads(request), data))
            if _has_grown():
                break
    os._exit(IDLE_EXIT)


def _is_asked(requests: IO[bytes]) -> bool:
    """Wait for a request; False when none comes for a while, where the system can tell."""
    if sys.platform == "win32":
        return True
    import select

    return bool(select.select([requests], [], [], _IDLE_SECONDS)[0])


def _reply(request: dict[str, JSONValue], data: bytes) -> bytes:
    """Parse a file; whatever goes wrong becomes a reply, but for a crash."""
    source, suffix = str(request["source"]), str(request["suffix"])
    column, encoding = request["text_column"], request["encoding"]
    _bound(int(float(str(request["seconds"]))), int(str(request["memory"])))
    try:
        parsed = parse(
            data,
            source,
            suffix,
            text_column=column if isinstance(column, str) else None,
            encoding=encoding if isinstance(encoding, str) else None,
        )
        reply = _encoded(parsed)
    except DocumentError as e:
        reply = {"refused": str(e)}
    except MissingExtraError as e:
        reply = {"missing": [e.extra, e.needed_for]}
    except MemoryError:
        os._exit(_OUT_OF_MEMORY)
    except Exception as e:  # noqa: BLE001 - parsers fail in many ways on a damaged file
        reply = {
            "refused": f"{source} cannot be read as {suffix[1:]} ({type(e).__name__}: "
            f"{str(e)[:200]}); open it in the program that made it and save it anew"
        }
    if hasattr(signal, "alarm"):
        signal.alarm(0)
    return json.dumps(reply).encode()


def _bound(seconds: int, memory: int) -> None:
    """Bound time, so that we end even when nobody waits for us any more, and memory."""
    if hasattr(signal, "alarm"):
        signal.alarm(seconds + 5)
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        return  # not on this system


def _has_grown() -> bool:
    return _peak_bytes() > _LARGE_BYTES


def _peak_bytes() -> int:
    """Return the largest memory of this program so far, 0 where the system does not say.

    Linux counts the memory of the program that started this one into ``ru_maxrss``; its
    ``VmHWM`` begins anew with every program.
    """
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _encoded(parsed: Parsed) -> dict[str, JSONValue]:
    return {
        "documents": [_document(document) for document in parsed.documents],
        "notices": list(parsed.notices),
    }


def _document(document: Document) -> JSONValue:
    paths: dict[Hashable, int] = {}
    places: dict[Hashable, int] = {}
    blocks: list[JSONValue] = []
    for block in document.blocks:
        path = paths.setdefault(block.path, len(paths))
        place = None if block.place is None else places.setdefault(block.place, len(places))
        blocks.append([block.start, block.end, block.kind, path, block.level, place])
    return {
        "source": document.source,
        "text": document.text,
        "title": document.title,
        "metadata": dict(document.metadata),
        "paths": [list(path) for path in paths],  # type: ignore[call-overload]
        "places": [[place.unit, place.at, place.sheet] for place in places],  # type: ignore[attr-defined]
        "blocks": blocks,
    }
