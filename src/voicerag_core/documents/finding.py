"""Which files there are to read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from voicerag_core.documents.formats import FORMATS
from voicerag_core.errors import DocumentError

__all__ = [
    "OLD_OFFICE",
    "RECORDING_SUFFIXES",
    "SUFFIXES",
    "FoundFiles",
    "check_known",
    "check_name",
    "find_files",
    "source_of",
]

SUFFIXES = tuple(FORMATS)
"""Ends of the names of files that can be read, in lower case."""

OLD_OFFICE = {
    ".doc": ".docx", ".dot": ".docx", ".rtf": ".docx", ".xls": ".xlsx", ".ppt": ".pptx",
    ".pps": ".pptx", ".pages": ".docx", ".numbers": ".xlsx", ".key": ".pptx", ".ods": ".xlsx",
    ".odp": ".pptx", ".xlsb": ".xlsx",
}  # fmt: skip
"""Kinds of office files that are not read, and what to save them as."""

AUDIO_SUFFIXES = (
    ".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma",
)  # fmt: skip

RECORDING_SUFFIXES = (".aif", ".aiff", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav")
"""Those of them that libsndfile reads."""

_PRUNED = frozenset({"__pycache__", "node_modules", "site-packages"})


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """What a search for files came to.

    Args:
        files: To be read, each once, in a fixed order.
        skipped: Passed over inside folders: of a kind that cannot be read, or a linked folder.
        problems: Paths that were named but are not there or cannot be read, folders that cannot
            be listed; one error each.
        folders: The folders that were named and are there, absolute.
    """

    files: tuple[Path, ...]
    skipped: tuple[Path, ...] = ()
    problems: tuple[DocumentError, ...] = ()
    folders: tuple[Path, ...] = ()

    @property
    def passed_over(self) -> dict[str, tuple[str, ...]]:
        """Names of the skipped files by the ending of their names, the commonest ending first.

        Links to folders are not among them.
        """
        names: dict[str, list[str]] = {}
        for path in self.skipped:
            if not os.path.isdir(path):
                names.setdefault(path.suffix.lower(), []).append(path.name)
        ordered = sorted(names, key=lambda suffix: (-len(names[suffix]), suffix))
        return {suffix: tuple(names[suffix]) for suffix in ordered}

    def vanished(self, sources: Iterable[str]) -> list[str]:
        """Return those of the known sources that lay in these folders and are files no longer.

        A source counts as vanished only when the system says that nothing has its name; one in a
        folder that cannot be listed, or on a named path that is missing as a whole, stays.
        """
        roots = tuple(folder.as_posix().rstrip("/") + "/" for folder in self.folders)
        return [source for source in sources if source.startswith(roots) and _is_gone(source)]


def source_of(path: str | os.PathLike[str]) -> str:
    """Return the name by which a file's passages are known: its absolute path with slashes.

    Links are not resolved: a file is known by the path it was named by.
    """
    return Path(os.path.abspath(path)).as_posix()


def find_files(paths: Sequence[str | os.PathLike[str]], *, recordings: bool = False) -> FoundFiles:
    """Find the readable files among paths; folders are searched to the bottom, in name order.

    Inside folders, hidden files and folders, Python environments, caches and package folders are
    passed over, and links to folders are not followed, so that no loop can arise; links to files
    are. A path that is named itself is taken whatever its name begins with.

    Args:
        paths: Files and folders.
        recordings: Take sound files, too.

    Returns:
        Files, what was passed over, and one `DocumentError` for each path that cannot be used:
        missing, of unknown kind, or a folder that cannot be listed.
    """
    search = _Search(SUFFIXES + RECORDING_SUFFIXES if recordings else SUFFIXES)
    for path in paths:
        search.add(Path(source_of(path)))
    return FoundFiles(
        files=tuple(search.files),
        skipped=tuple(search.skipped),
        problems=tuple(search.problems),
        folders=tuple(search.folders),
    )


def check_known(path: Path) -> str:
    """Return the suffix of a file that can be read, in lower case.

    Raises:
        DocumentError: The suffix is not one of `SUFFIXES`.
    """
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return suffix
    if suffix in AUDIO_SUFFIXES:
        raise DocumentError(
            f"{path} is audio, and documents are text; give it as a question instead, index a "
            "transcript of it, or index it with an embedder that needs no transcript"
        )
    if better := OLD_OFFICE.get(suffix):
        raise DocumentError(
            f"{path} is an office file of a kind that is not read; save it as {better[1:]} in the "
            f"program that made it, or with: soffice --headless --convert-to {better[1:]} FILE"
        )
    raise DocumentError(
        f"{path} is of a kind that cannot be read ({suffix or 'its name has no ending'}); "
        f"readable are {' '.join(SUFFIXES)}"
    )


def check_name(path: Path) -> None:
    """Refuse a path that no database could keep.

    Raises:
        DocumentError: The path is not text.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as e:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise DocumentError(f"the name of {shown} is not UTF-8; rename it") from e


class _Search:
    """Files found so far; dictionaries keep the order and each path once."""

    def __init__(self, suffixes: tuple[str, ...]) -> None:
        self.suffixes = suffixes
        self.files: dict[Path, None] = {}
        self.skipped: dict[Path, None] = {}
        self.folders: dict[Path, None] = {}
        self.problems: list[DocumentError] = []

    def add(self, path: Path) -> None:
        """Take up a path that was named."""
        try:
            check_name(path)
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                self.folders[path] = None
                self.walk(path)
                return
            if path.suffix.lower() not in self.suffixes:
                check_known(path)
            if not stat.S_ISREG(mode):
                raise DocumentError(f"{path} is neither a file nor a folder")
        except DocumentError as e:
            self.problems.append(e)
        except (OSError, ValueError) as e:
            self.problems.append(_named(f"{path} cannot be read: {_reason(e)}", e))
        else:
            self.files[path] = None

    def walk(self, root: Path) -> None:
        """Take up what a folder holds."""
        for folder, subfolders, names in os.walk(root, onerror=self.unlisted):
            here = Path(folder)
            self.skipped.update((here / name, None) for name in subfolders if _is_link(here, name))
            subfolders[:] = sorted(name for name in subfolders if _is_wanted(here, name))
            for name in sorted(names):
                if not name.startswith("."):
                    self.add_inside(here / name)

    def add_inside(self, path: Path) -> None:
        """Take up a file in a folder."""
        try:
            check_name(path)
        except DocumentError as e:
            self.problems.append(e)
            return
        known = path.suffix.lower() in self.suffixes and not _is_special(path)
        (self.files if known else self.skipped)[path] = None

    def unlisted(self, error: OSError) -> None:
        """Note a folder that cannot be listed."""
        message = f"the folder {error.filename} cannot be listed: {_reason(error)}"
        self.problems.append(_named(message, error))


def _named(message: str, cause: Exception) -> DocumentError:
    error = DocumentError(message)
    error.__cause__ = cause
    return error


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _is_link(folder: Path, name: str) -> bool:
    return not name.startswith(".") and os.path.islink(folder / name)


def _is_wanted(folder: Path, name: str) -> bool:
    if name.startswith(".") or name in _PRUNED:
        return False
    return not os.path.exists(folder / name / "pyvenv.cfg")  # False, not an error, when locked


def _is_special(path: Path) -> bool:
    """Whether a path is a pipe, socket or device, whose opening could block for ever."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _is_gone(source: str) -> bool:
    try:
        os.lstat(source)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False
