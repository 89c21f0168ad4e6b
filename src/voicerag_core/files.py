"""Files that are read only if they are files, and JSON that cannot break its reader."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["parsed_json", "read_json", "regular_file"]


@contextmanager
def regular_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that can be read twice; a pipe or a device is not waited for.

    Args:
        path: The file, or a link to it.

    Raises:
        OSError: It cannot be read, or is a folder, a pipe, a socket or a device.
    """
    opened = os.open(path.expanduser(), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(opened).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, and no file")
    except OSError:
        os.close(opened)
        raise
    with os.fdopen(opened, "rb") as file:
        yield file


def read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON
    """Read a file of JSON, UTF-8 with or without a mark.

    Raises:
        OSError: It cannot be read, or is no regular file.
        ValueError: It is no JSON.
    """
    with regular_file(path) as file:
        return parsed_json(file.read())


def parsed_json(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON
    """Parse JSON.

    Raises:
        ValueError: It is none, or is nested so deeply that nothing here could use it.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
