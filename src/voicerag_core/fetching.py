"""Resumable downloads.

A file is fetched as ``NAME.part``. An interrupted download is resumed from there, and only a
complete file, with the right SHA-256 if that is known, is renamed to its final name. The version
reported by the server is kept in ``NAME.part.version``, so that a file that has changed since is
fetched again from the start.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import IO, TypeAlias
from urllib.parse import urlsplit

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import CheckpointError, ConfigError

__all__ = ["OnBytes", "check_address", "check_room", "fetch_file", "sha256_of"]

READ_BYTES = 1 << 18
TIMEOUT_SECONDS = 30.0
"""Seconds to wait for data from the server."""
ATTEMPTS = 3
"""Attempts per broken connection."""
LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost")

_TOTAL = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)$")

OnBytes: TypeAlias = Callable[[str, int, int | None], None]
"""Called with a file's name, bytes so far and bytes in all, or None if the server does not say;
at least once per file."""


class _ChangedError(ConnectionError):
    """The received bytes are not the beginning of the file on the server."""


@dataclass(frozen=True, slots=True)
class _Version:
    """Identifies a version of a file.

    Args:
        total: Size in bytes, or None if the server does not say.
        validator: Strong entity tag or Last-Modified date; "" if there is none.
    """

    total: int | None = None
    validator: str = ""

    def differs(self, other: _Version) -> bool:
        """Whether both know a property and disagree on it."""
        totals, validators = {self.total, other.total}, {self.validator, other.validator}
        return len(totals - {None}) > 1 or len(validators - {""}) > 1


@dataclass(frozen=True, slots=True)
class _Download:
    address: str
    target: Path
    size: int | None
    on_progress: OnBytes | None

    @property
    def part(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def note(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part.version")

    def report(self, have: int, total: int | None) -> None:
        if self.on_progress is not None:
            self.on_progress(self.target.name, have, total)


def fetch_file(
    address: str,
    target: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    advice: str = "",
    on_progress: OnBytes | None = None,
) -> None:
    """Fetch a file, even if it exists already.

    It may be interrupted at any time, also by an exception from `on_progress` or a
    `Cancellation`: received bytes are kept, and the next call resumes there.

    Args:
        address: Of the file; https, or http on this machine.
        target: Where to write it; its folder is created.
        size: Its size in bytes, if known; a file of another size is rejected.
        sha256: Its hash, if known; a file with another hash is rejected and deleted.
        advice: What else the user can do, for error messages, such as "copy the file to DIR".
        on_progress: See `OnBytes`.

    Raises:
        CheckpointError: The file cannot be fetched, there is no room for it, it is not the
            expected one, or another process is fetching it.
        ConfigError: The address is neither https, nor http on this machine.
    """
    check_address(address)
    download = _Download(address, target, size, on_progress)
    otherwise = f", or {advice}" if advice else ""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with download.part.open("ab") as output:
            _hold(output, download.part)
            _receive(download, output)
        _verify(download, sha256)
        download.part.replace(target)
        download.note.unlink(missing_ok=True)
    except urllib.error.HTTPError as error:
        raise CheckpointError(
            f"{target.name} could not be fetched: {address} was refused with HTTP {error.code} "
            f"{error.reason}; check the address{otherwise}"
        ) from error
    except (http.client.HTTPException, OSError) as error:
        raise CheckpointError(
            f"{target.name} could not be fetched from {address}: {_reason(error)}; what has "
            f"arrived is kept, so run the download again once that is fixed{otherwise}"
        ) from error


def check_address(address: str) -> None:
    """Reject an address whose responses could be altered in transit.

    Raises:
        ConfigError: It is neither https, nor http on this machine.
    """
    parts = urlsplit(address)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOCAL_HOSTS):
        return
    raise ConfigError(
        f"weights are fetched over https, or over http from this machine, not from {address!r}"
    )


def check_room(folder: Path, needed: int, what: str) -> None:
    """Reject a download for which the disk lacks space.

    Args:
        folder: A folder on the target disk.
        needed: Bytes still to be downloaded.
        what: Named in the message.

    Raises:
        CheckpointError: There is less free space.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CheckpointError(
            f"{what} needs {needed} more bytes, and {folder} has {free} free; make room, or choose "
            "another data folder"
        )


def sha256_of(path: Path) -> str:
    """Hash a file, in lower-case hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _receive(download: _Download, output: IO[bytes]) -> None:
    """Download the rest of the open file, over several connections if necessary."""
    if download.size is not None:
        check_room(download.part.parent, download.size - _length(output), download.target.name)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _transfer(download, output)
        except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
            if isinstance(error, _ChangedError):
                output.truncate(0)
            if attempt == ATTEMPTS:
                raise
        else:
            return


def _transfer(download: _Download, output: IO[bytes]) -> None:
    """Append the missing bytes to the open file, or rewrite it if the server has no ranges."""
    have = _length(output)
    if download.size is not None and have > download.size:
        output.truncate(0)
        have = 0
    if have == download.size:
        download.report(have, have)
        return
    known = _read_version(download.note) if have else _Version()
    headers = {"User-Agent": "voicerag"}
    if have:
        headers["Range"] = f"bytes={have}-"
    if known.validator:
        headers["If-Range"] = known.validator
    request = urllib.request.Request(download.address, headers=headers)  # noqa: S310 - checked
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection until it is collected
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        _check_complete(error.headers, have, known)
        download.report(have, have)
        return
    with answer:
        if have and answer.status == HTTPStatus.PARTIAL_CONTENT:
            _check_continues(answer.headers, have, known)
        elif have:
            output.truncate(0)
            have = 0
        version = _version(answer.headers)
        _check_announced(download, version.total, have)
        _write_version(download.note, version)
        _copy(answer, output, download, have, version.total)


def _check_complete(headers: Message, have: int, known: _Version) -> None:
    """Check, after a refused range request, that the file is complete.

    Raises:
        _ChangedError: It has not: the file has become shorter, or is another one.
    """
    span = _TOTAL.match(headers.get("Content-Range", ""))
    total = span[2] if span else known.total
    if str(total) != str(have) or _validator(headers) not in {known.validator, ""}:
        raise _ChangedError(f"{have} bytes have arrived, and the server has {total}")


def _check_continues(headers: Message, have: int, known: _Version) -> None:
    """Reject a range that does not continue the received bytes.

    Raises:
        _ChangedError: It starts elsewhere, or the file has changed since.
    """
    span = _TOTAL.match(headers.get("Content-Range", ""))
    if span is None or int(span[1] or -1) != have or _version(headers).differs(known):
        raise _ChangedError("the file has changed on the server")


def _check_announced(download: _Download, total: int | None, have: int) -> None:
    if total is None:
        return
    if download.size is None:
        check_room(download.part.parent, total - have, download.target.name)
    elif total != download.size:
        raise CheckpointError(
            f"{download.address} announces {total} bytes, and {download.size} are expected; this "
            "is another file, try another mirror"
        )


def _copy(
    answer: IO[bytes], output: IO[bytes], download: _Download, have: int, total: int | None
) -> None:
    """Write the response body to the file.

    Raises:
        CheckpointError: The body is longer than the expected file.
        IncompleteRead: The connection ended early.
    """
    expected = total if download.size is None else download.size
    download.report(have, expected)
    while block := answer.read(READ_BYTES):
        check_cancelled()
        have += len(block)
        if download.size is not None and have > download.size:
            output.truncate(0)
            raise CheckpointError(
                f"{download.address} sends more than the {download.size} bytes of the expected "
                "file; try another mirror"
            )
        output.write(block)
        download.report(have, expected)
    output.flush()
    if expected is not None and have < expected:
        raise http.client.IncompleteRead(b"", expected - have)


def _verify(download: _Download, sha256: str | None) -> None:
    """Delete the received file unless it has the expected hash.

    Raises:
        CheckpointError: It has another one.
    """
    if sha256 is None:
        return
    found = sha256_of(download.part)
    if found != sha256:
        size = download.part.stat().st_size
        download.part.unlink()
        download.note.unlink(missing_ok=True)
        raise CheckpointError(
            f"{download.address} does not hold the expected file: expected SHA-256 {sha256}, found "
            f"{size} bytes with SHA-256 {found}; it was deleted. Try again, or another mirror"
        )


def _version(headers: Message) -> _Version:
    """Read the version of the whole file from a response."""
    span = _TOTAL.match(headers.get("Content-Range", ""))
    total = span[2] if span else headers.get("Content-Length", "")
    return _Version(int(total) if total.isdecimal() else None, _validator(headers))


def _validator(headers: Message) -> str:
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")


def _read_version(note: Path) -> _Version:
    try:
        total, _, validator = note.read_text("utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return _Version()
    return _Version(int(total) if total.isdecimal() else None, validator.strip())


def _write_version(note: Path, version: _Version) -> None:
    total = "" if version.total is None else version.total
    note.write_text(f"{total}\n{version.validator}\n", "utf-8")


def _length(output: IO[bytes]) -> int:
    output.flush()
    return os.fstat(output.fileno()).st_size


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__


def _hold(output: IO[bytes], part: Path) -> None:
    """Lock the file against a second download while it is open.

    Raises:
        CheckpointError: Another process holds it.
    """
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise CheckpointError(
            f"{part} is being fetched by another process; wait until it is done"
        ) from error
