"""Which files of this machine a call may name."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from voicerag_core.errors import AudioError, ConfigError, DocumentError

__all__ = ["AllowedPaths"]


@dataclass(frozen=True, slots=True)
class AllowedPaths:
    """Folders whose content may be named; with none, no path is taken.

    A path counts by what it leads to once every link is followed. Whether something outside
    exists is never told.

    Args:
        folders: Absolute, links followed.
        prefix: Prefix of the variables that set the server's limits; messages name them.
    """

    folders: tuple[Path, ...] = ()
    prefix: str = "VOICERAG_"

    @classmethod
    def of(cls, folders: Sequence[Path], *, prefix: str = "VOICERAG_") -> AllowedPaths:
        """Allow what lies in these folders.

        Raises:
            ConfigError: One of them is not a folder.
        """
        resolved = []
        for folder in folders:
            if not folder.is_dir():
                raise ConfigError(f"the allowed path {folder} is not a folder")
            resolved.append(folder.resolve(strict=True))
        return cls(tuple(resolved), prefix)

    def find(self, given: str) -> Path:
        """Return what a path leads to; a relative one is looked for in each folder.

        Raises:
            DocumentError: It leads outside, or to nothing.
        """
        if not self.folders:
            raise DocumentError(
                "this server takes no paths; give the content itself, or let whoever runs the "
                f"server set {self.prefix}ALLOWED_PATHS"
            )
        for folder in self.folders:
            found = self.inside(folder / given)
            if found is not None and found.exists():
                return found
        raise DocumentError(
            f"{given[:200]!r} is not in a folder that this server may read "
            f"({', '.join(map(str, self.folders))}), or is not there"
        )

    def inside(self, path: Path) -> Path | None:
        """Return what a path leads to when that lies in an allowed folder, else None."""
        try:
            found = path.resolve()
        except (OSError, ValueError, RuntimeError):  # a NUL, a name too long, a loop of links
            return None
        return found if any(found.is_relative_to(folder) for folder in self.folders) else None

    def read(self, given: str, most_bytes: int) -> bytes:
        """Return the bytes of a regular file.

        The open file is looked at again, so that a link put in its place meanwhile is noticed.

        Raises:
            DocumentError: The path leads outside, or to nothing.
            AudioError: It is not a regular file, too large, or cannot be read.
        """
        path = self.find(given)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError as e:
            raise AudioError(f"{given!r} cannot be read: {e.strerror}") from e
        try:
            opened = Path(f"/proc/self/fd/{handle}")
            if opened.exists() and self.inside(opened) is None:
                raise DocumentError(f"{given!r} is not in a folder that this server may read")
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise AudioError(f"{given!r} is not a file")
            with os.fdopen(handle, "rb", closefd=False) as file:
                data = file.read(most_bytes + 1)
        finally:
            os.close(handle)
        if len(data) > most_bytes:
            raise AudioError(
                f"{given!r} has more than {most_bytes} bytes; give a shorter clip "
                f"({self.prefix}MAX_AUDIO_BYTES sets the limit)"
            )
        return data
