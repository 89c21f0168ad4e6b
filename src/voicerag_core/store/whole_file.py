"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from voicerag_core.errors import StoreError

__all__ = ["whole_file"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
    partial = target.with_name(f".voicerag-{secrets.token_hex(8)}.partial")
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
    if os.path.isdir(target):
        raise StoreError(f"{target} is a folder; name the file that is to be written")
    if os.path.exists(target) and not replace:
        raise StoreError(
            f"{target} is there already and stays as it is; choose another name, or replace it "
            "(--force; from Python: replace=True)"
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
