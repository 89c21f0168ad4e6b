"""The files of this machine that calls may name."""

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
            if not folder.is_dir():
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
            if found is not None and found.exists():
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

    def read(self, given: str, most_bytes: int) -> bytes:
        """Return the bytes of a regular file.

        The opened file is checked again, so that a link swapped in meanwhile is noticed.

        Raises:
            DocumentError: The path leads outside the folders, or does not exist.
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
