"""Why an embedded server does not start, read from what it said, and what to do about it.

Only what is known here ends a start at once; anything else may pass, as memory that a killed
server's last process still holds, and is worth another try.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from voicerag_core.errors import StoreUnavailableError

__all__ = ["damaged", "refuse_full_disk", "refuse_known_fault", "tail"]

_DISK_FULL = "No space left on device"
_FORBIDDEN = "Permission denied"
"""As the server says it, in English."""

_PREFIX = re.compile(r"^\S+ \S+ \S+ \[\d+\] ")
_LABEL = re.compile(r"^[A-Z]+:  |^postgres: |^but ")
_FATAL = re.compile(r"^(?:FATAL|PANIC):  |^postgres: could not ")
_MORE = re.compile(r"^(?:DETAIL:  |Expected to find it |but could not )")
_SETTINGS = re.compile(
    r"configuration file .* contains errors|could not load .*\.conf|server configuration file"
)
_OF_SETTINGS = re.compile(r"\.conf\b|^LOG:  (?:invalid|syntax|unrecognized)")
_DAMAGED = re.compile(
    r"could not (?:find|open|read|access|locate|stat|seek|create missing)\b"
    r"|directory \"[^\"]*\" does not exist|subdirectory .* is missing"
    r"|incompatible with server|not a valid data directory"
    r"|incorrect checksum|invalid data|invalid page|unexpected data beyond EOF|corrupted"
)
_PASSING = re.compile(
    r"Too many open files|Cannot allocate memory|Read-only file system|Resource temporarily"
)


def refuse_known_fault(said: str, data_dir: Path, account: str) -> None:
    """Say what to do if a server program failed for a reason that another try does not change.

    Args:
        said: What it said; nothing, if not even that found room.
        data_dir: Folder of the server, whose database is in ``pgdata``.
        account: Name of the account that the server runs as.

    Raises:
        StoreUnavailableError: The disk is full, the settings are faulty, or files are damaged,
            missing or of somebody else.
    """
    refuse_full_disk(said, data_dir)
    lines = [_PREFIX.sub("", line) for line in said.splitlines()]
    for number, line in enumerate(lines):
        if not _FATAL.match(line):
            continue
        of_settings = _SETTINGS.search(line) is not None
        cause = lines if of_settings else [line, *_following(lines[number + 1 :])]
        forbidden = [one for one in cause if _FORBIDDEN in one]
        if forbidden:
            raise _not_its_own(_joined(forbidden[:1]), data_dir, account)
        if of_settings:
            raise _faulty_settings(lines, data_dir)
        what = _joined(cause)
        if _DAMAGED.search(what) and not _PASSING.search(what):
            raise damaged(data_dir, what)


def damaged(data_dir: Path, what: str) -> StoreUnavailableError:
    """Return the error of a database whose files are not what they were."""
    folder = shlex.quote(str(data_dir))
    away = shlex.quote(f"{data_dir}.damaged")
    return StoreUnavailableError(
        f"the database in {data_dir} is damaged: {what}; move it away (mv {folder} {away}), then "
        "restore a backup with `voicerag db restore`, or index your files again with "
        "`voicerag index`"
    )


def tail(path: Path, lines: int = 12, start: int = 0) -> str:
    """Return the last lines of a log, of what stands in it from a byte on."""
    try:
        text = path.read_bytes()[start:].decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])
    except OSError as error:
        return f"(no log: {error})"


def refuse_full_disk(said: str, data_dir: Path) -> None:
    """Say so if a server program failed, or said nothing, because the disk is full.

    Raises:
        StoreUnavailableError: It is.
    """
    lines = [_PREFIX.sub("", line) for line in said.splitlines()]
    why = [line for line in lines if _DISK_FULL in line]
    if why or (not lines and shutil.disk_usage(data_dir).free == 0):
        raise StoreUnavailableError(
            f"the disk of {data_dir} is full, and the embedded Postgres does not start"
            + "".join(f": {line}" for line in why[-1:])
            + "; free some space and repeat the call, what is there already is kept"
        )


def _not_its_own(what: str, data_dir: Path, account: str) -> StoreUnavailableError:
    folder = shlex.quote(str(data_dir))
    return StoreUnavailableError(
        f"the server of the database in {data_dir} runs as {account}, and may not read or write "
        f"all of its files: {what}; give them to that account with the rights to read and write "
        f"(chown -R {account} {folder} && chmod -R u+rwX {folder})"
    )


def _faulty_settings(lines: list[str], data_dir: Path) -> StoreUnavailableError:
    what = [line for line in lines if _OF_SETTINGS.search(line)]
    exact = [line for line in what if not _FATAL.match(line)] or what
    return StoreUnavailableError(
        f"the settings of the database in {data_dir} are faulty: {_joined(exact)}; put that file "
        "right, or take it from a copy of the folder; the rows are not touched"
    )


def _following(lines: list[str]) -> list[str]:
    """Return the lines that go on about the one before them."""
    for number, line in enumerate(lines):
        if not _MORE.match(line):
            return lines[:number]
    return lines


def _joined(lines: list[str]) -> str:
    said = [_LABEL.sub("", line).rstrip(".,") for line in lines if not line.startswith("Expected ")]
    return "; ".join(said)
