"""Files that are written whole or not at all, and read only if they are files."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from voicerag_core.errors import StoreError

__all__ = ["regular_file", "whole_file"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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


@contextmanager
def whole_file(path: Path, *, replace: bool = False) -> Iterator[BinaryIO]:
    """Yield a file that gets its name at the end of the block, and is removed when that fails.

    It is written beside its place under a name of its own, mode 0600, and is on the disk before it
    is renamed. What the block raises is passed on, but for errors of the file system.

    Args:
        path: Where the file is to be.
        replace: Take the place of a file of this name.

    Raises:
        StoreError: The file is there already, cannot be written, or the disk is full.
    """
    target = path.expanduser().absolute()
    _refuse_existing(target, replace=replace)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        file = os.fdopen(
            os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w+b"
        )
    except OSError as error:
        raise _named(error, target) from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _refuse_existing(target, replace=replace)
        partial.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _named(error, target) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _refuse_existing(target: Path, *, replace: bool) -> None:
    if target.is_dir() or (target.exists() and not replace):
        raise StoreError(
            f"{target} is there already and stays as it is; choose another name, or replace it "
            "(--force)"
        )


def _named(error: OSError, target: Path) -> StoreError:
    if error.errno in _FULL:
        return StoreError(
            f"there is no room for {target}: {error.strerror}; nothing of it was kept, free some "
            "space or choose another place"
        )
    return StoreError(
        f"{target} cannot be written: {error.strerror or error}; nothing of it was kept, choose "
        "another place"
    )


def _sync_folder(folder: Path) -> None:
    """Put the new name on the disk, where the system can."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
