"""The files of this machine that calls may name."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from voicerag_core.documents import as_regular
from voicerag_core.errors import AudioError, ConfigError, DocumentError

__all__ = ["AllowedPaths"]


@dataclass(frozen=True, slots=True)
class AllowedPaths:
    """Folders whose files calls may name; without folders, no path is accepted.

    A path is judged after resolving every link. Whether something outside the folders exists is
    never revealed.

    Args:
        folders: Absolute, with links resolved.
        prefix: Prefix of the variables that set the server's limits; messages name them.
    """

    folders: tuple[Path, ...] = ()
    prefix: str = "VOICERAG_"

    @classmethod
    def of(cls, folders: Sequence[Path], *, prefix: str = "VOICERAG_") -> AllowedPaths:
        """Allow the content of these folders.

        Raises:
            ConfigError: One of them is not a folder.
        """
        resolved = []
        for folder in folders:
            if not os.path.isdir(folder):
                raise ConfigError(f"the allowed path {folder} is not a folder")
            resolved.append(folder.resolve(strict=True))
        return cls(tuple(resolved), prefix)

    def find(self, given: str) -> Path:
        """Resolve a path; a relative one is looked up in each folder.

        Raises:
            DocumentError: It leads outside the folders, or does not exist.
        """
        if not self.folders:
            raise DocumentError(
                "this server takes no paths; give the content itself, or let whoever runs the "
                f"server set {self.prefix}ALLOWED_PATHS"
            )
        for folder in self.folders:
            found = self.inside(folder / given)
            if found is not None and os.path.exists(found):
                return found
        raise DocumentError(
            f"{given[:200]!r} is not in a folder that this server may read "
            f"({', '.join(map(str, self.folders))}), or is not there"
        )

    def inside(self, path: Path) -> Path | None:
        """Resolve a path if it lies in an allowed folder, else return None."""
        try:
            found = path.resolve()
        except (OSError, ValueError, RuntimeError):  # a NUL, a name too long, a loop of links
            return None
        return found if any(found.is_relative_to(folder) for folder in self.folders) else None

    def open(self, path: Path) -> BinaryIO:
        """Open a regular file of the folders without following a link on the way.

        The path is resolved and judged, and then opened folder by folder below the allowed one, so
        that neither a file nor a folder that is swapped for a link meanwhile leads out.

        Raises:
            DocumentError: It leads outside the folders, cannot be opened, or is no regular file.
        """
        found = self.inside(path)
        folder = next((one for one in self.folders if found and found.is_relative_to(one)), None)
        if found is None or folder is None:
            raise DocumentError(f"{path} leads out of the folders that this server may read")
        try:
            handle = _opened_below(folder, found.relative_to(folder).parts)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise DocumentError(
                    f"{path} became a link while it was opened; this server follows none"
                ) from error
            raise DocumentError(f"{path} cannot be read: {error.strerror or error}") from error
        return as_regular(handle, path)

    def read(self, given: str, most_bytes: int) -> bytes:
        """Return the bytes of a regular file; it is opened as by `open`.

        Raises:
            DocumentError: The path leads outside the folders, or does not exist.
            AudioError: It is not a regular file, too large, or cannot be read.
        """
        path = self.find(given)
        try:
            if not os.path.isfile(path):
                raise AudioError(f"{given!r} is not a file")
            with self.open(path) as file:
                data = file.read(most_bytes + 1)
        except OSError as error:
            raise AudioError(f"{given!r} cannot be read: {error.strerror or error}") from error
        if len(data) > most_bytes:
            raise AudioError(
                f"{given!r} has more than {most_bytes} bytes; give a shorter clip "
                f"({self.prefix}MAX_AUDIO_BYTES sets the limit)"
            )
        return data


def _opened_below(folder: Path, parts: Sequence[str]) -> int:
    """Open what lies below a folder, following no link."""
    search = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
    here = os.open(folder, search)
    try:
        for part in parts[:-1]:
            below = os.open(part, search, dir_fd=here)
            os.close(here)
            here = below
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(parts[-1] if parts else ".", flags, dir_fd=here)
    finally:
        os.close(here)
