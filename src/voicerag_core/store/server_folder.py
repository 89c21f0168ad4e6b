"""The folder of an embedded server: who owns it, who may read it, and how its socket is reached."""

from __future__ import annotations

import hashlib
import logging
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from voicerag_core.errors import StoreError

__all__ = [
    "PORT", "SOCKET_NAME", "Account", "account_name", "closed_to_others", "prepare_folder",
    "service_account", "short_path",
]  # fmt: skip

PORT = 5432
_SERVICE_ACCOUNT = "voicerag"
SOCKET_NAME = f".s.PGSQL.{PORT}"
_SOCKET_PATH_BYTES = 103
"""Longest path of a Unix socket on macOS, the shortest of the systems (Linux: 107)."""


_MODE = 0o700
"""Of a new database's folder."""

_OF_OTHERS = stat.S_IWGRP | stat.S_IRWXO
"""Rights with which Postgres does not start. Source: PostgreSQL 18, checkDataDir in
src/backend/utils/init/miscinit.c."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """The ordinary account that the server runs as when the program runs as root."""

    name: str
    uid: int
    gid: int


def service_account(cluster: Path) -> Account:
    """Find or make the account for a server started by root: Postgres refuses to run as root."""
    if cluster.exists() and (uid := cluster.stat().st_uid) != 0:
        entry = pwd.getpwuid(uid)
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    try:
        entry = pwd.getpwnam(_SERVICE_ACCOUNT)
    except KeyError:
        useradd = shutil.which("useradd", path=f"/usr/sbin:/sbin:{os.defpath}")
        options = ["--system", "--no-create-home", "--shell", "/usr/sbin/nologin"]
        if useradd is not None:
            command = [useradd, *options, _SERVICE_ACCOUNT]
            subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - no shell
        try:
            entry = pwd.getpwnam(_SERVICE_ACCOUNT)
        except KeyError:
            entry = pwd.getpwnam("nobody")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def prepare_folder(data_dir: Path, account: Account | None, programs: Path) -> None:
    """Make the folder, close it to others, and let the account pass to it and to the programs."""
    data_dir.mkdir(parents=True, exist_ok=True)
    data_dir.chmod(0o700)
    if account is None:
        return
    os.chown(data_dir, account.uid, account.gid)
    for place in (data_dir, programs):
        for parent in place.parents:
            mode = stat.S_IMODE(parent.stat().st_mode)
            if parent.stat().st_uid != account.uid and not mode & stat.S_IXOTH:
                parent.chmod(mode | stat.S_IXOTH)


def short_path(data_dir: Path) -> Path:
    """Return a path to the folder that fits a socket address: itself, or a private link to it.

    A comma would read as a list of hosts to the client library, which takes no other bytes than
    UTF-8 either.
    """
    name = os.fsencode(data_dir)
    is_plain = b"," not in name and name.decode(errors="replace").encode() == name
    if is_plain and len(os.fsencode(data_dir / SOCKET_NAME)) <= _SOCKET_PATH_BYTES:
        return data_dir
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir() and Path(runtime).stat().st_uid == os.geteuid():
        links = Path(runtime) / "voicerag"
    else:
        links = Path(tempfile.gettempdir()) / f"voicerag-{os.geteuid()}"
    links.mkdir(mode=0o700, exist_ok=True)
    status = links.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise StoreError(
            f"{links} is not a private folder of this user (mode 0700); remove it, or choose a "
            f"data folder with a path shorter than {_SOCKET_PATH_BYTES - len(SOCKET_NAME)} bytes"
        )
    link = links / hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    fresh = link.with_suffix(f".{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(data_dir)
    fresh.replace(link)
    return link


def closed_to_others(cluster: Path, account: Account | None) -> None:
    """Give a database that others may enter, or its owner may not, back the mode it was made with.

    A copy, an unpacked archive or a volume of a
    container can have another one.

    Args:
        cluster: The folder of the database; its parent is private.
        account: Whom the server runs as; None: this user.

    Raises:
        StoreError: It is no folder, or somebody else's.
    """
    uid = account.uid if account else os.geteuid()
    told = cluster.lstat()
    if not stat.S_ISDIR(told.st_mode):
        if stat.S_ISLNK(told.st_mode) and cluster.is_dir():
            return  # moved elsewhere on purpose; Postgres looks at that place itself
        raise StoreError(f"{cluster} is in the way of the database: it is no folder; move it away")
    if told.st_uid != uid:
        own = account_name(uid)
        raise StoreError(
            f"the database in {cluster} belongs to {account_name(told.st_uid)}, and its server "
            f"runs as {own}, which Postgres refuses; give the folder and all in it to that account "
            f"(chown -R {own} {cluster}), or choose another data folder"
        )
    mode = stat.S_IMODE(told.st_mode)
    if not mode & _OF_OTHERS and mode & _MODE == _MODE:
        return
    _set_mode(cluster, _MODE, as_root=account is not None)
    _logger.warning(
        "the folder %s had mode %04o, with which Postgres does not start; it has %04o again",
        cluster, mode, _MODE,
    )  # fmt: skip


def _set_mode(folder: Path, mode: int, *, as_root: bool) -> None:
    if not as_root:
        folder.chmod(mode)
        return
    # The account may put another thing in its place at any moment; root follows no link there.
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchmod(opened, mode)
    finally:
        os.close(opened)


def account_name(uid: int) -> str:
    """Return the name of an account, or its number if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
