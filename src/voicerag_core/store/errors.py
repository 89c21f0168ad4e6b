"""From the driver's errors to ours, and connection strings that may be shown."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from voicerag_core.errors import SchemaError, StoreError, StoreUnavailableError

__all__ = [
    "MIGRATE",
    "OutcomeUnknownError",
    "checked_dsn",
    "connection_lost",
    "is_starting",
    "other_machines_reach",
    "reason",
    "redacted",
    "translated",
    "without_password",
]

MIGRATE = "run `voicerag db migrate`"

_LIMIT_EXCEEDED = "54"
"""Class of the server's codes for values that are too large."""

_STARTING = ("starting up", "in recovery mode", "shutting down", "not yet accepting")

_SHOWN = ("host", "hostaddr", "port", "dbname", "user", "service")


class OutcomeUnknownError(psycopg.OperationalError):
    """The connection was lost while a transaction was committed: it was, or it was not."""


def checked_dsn(dsn: str) -> str:
    """Return the connection string back if it can be read.

    Raises:
        StoreError: It cannot be; nothing of it is repeated, since it may hold a password.
    """
    try:
        conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise StoreError(
            "the database's connection string cannot be read (it is not shown, it may hold a "
            "password); expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE or "
            "'host=HOST dbname=DATABASE user=USER'"
        ) from None
    return dsn


def redacted(dsn: str) -> str:
    """Name server, database and user, and nothing secret."""
    parts = conninfo_to_dict(dsn)
    return make_conninfo("", **{key: parts[key] for key in _SHOWN if parts.get(key)})


def other_machines_reach(dsn: str) -> bool:
    """Tell whether a connection string names a server by a network address."""
    parts = conninfo_to_dict(dsn)
    hosts = str(parts.get("hostaddr") or parts.get("host") or "").split(",")
    return all(host and not host.startswith(("/", "@")) for host in hosts)


def without_password(dsn: str) -> str:
    """Return a connection string without its password, in the form in which it was given."""
    parts = conninfo_to_dict(checked_dsn(dsn))
    secret = parts.get("password")
    if not secret:
        return dsn
    if "://" not in dsn:
        return make_conninfo("", **{key: parts[key] for key in parts if key != "password"})
    address = urlsplit(dsn)
    user, _, host = address.netloc.rpartition("@")
    query = [pair for pair in parse_qsl(address.query) if pair[0] != "password"]
    netloc = f"{user.partition(':')[0]}@{host}" if user else host
    return urlunsplit(address._replace(netloc=netloc, query=urlencode(query)))


def reason(error: Exception) -> str:
    """Return the driver's message without details, hints and context."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    return " ".join(str(error).split()) or type(error).__name__


def connection_lost(error: BaseException) -> bool:
    """Tell whether the connection went away, so that a new one may succeed."""
    return isinstance(error, psycopg.OperationalError) and (
        error.sqlstate is None
        or error.sqlstate.startswith("08")
        or isinstance(error, pg.AdminShutdown | pg.CrashShutdown | pg.CannotConnectNow)
    )


def is_starting(error: BaseException) -> bool:
    """Tell whether a server refused a connection only until it is up again.

    While connecting, the driver gives no code of the error; the words are the English ones.
    """
    return isinstance(error, pg.CannotConnectNow) or any(one in str(error) for one in _STARTING)


@contextlib.contextmanager
def translated(dsn: str) -> Iterator[None]:
    """Raise the driver's errors as ours, with what to do about them."""
    try:
        yield
    except (psycopg.Error, PoolTimeout, PoolClosed, TooManyRequests) as error:
        raise _translate(error, redacted(dsn)) from error
    except UnicodeEncodeError as error:
        raise StoreError(
            f"a text for {redacted(dsn)} holds half a character: {error}; texts are valid Unicode"
        ) from error


def _translate(error: Exception, place: str) -> StoreError:  # noqa: PLR0911 - one line a fault
    said = reason(error)
    match error:
        case PoolClosed():
            return StoreError(f"the store on {place} was closed; open it again")
        case PoolTimeout() | TooManyRequests():
            return StoreUnavailableError(
                f"no connection to {place} became free in time: {said}; use a larger pool_size, "
                "fewer threads, or a longer timeout"
            )
        case pg.InvalidPassword() | pg.InvalidAuthorizationSpecification():
            return _refused_login(place, said)
        case pg.UndefinedTable() | pg.InvalidSchemaName() | pg.UndefinedFunction():
            return SchemaError(f"{place} lacks a part of voicerag's schema: {said}; {MIGRATE}")
        case pg.InsufficientPrivilege():
            return StoreError(
                f"the login may not do this on {place}: {said}; let an administrator grant it"
            )
        case pg.DiskFull():
            return StoreUnavailableError(
                f"the disk of {place} is full: {said}; free some space and repeat the call, "
                "what is there already is not written again"
            )
        case pg.DataCorrupted() | pg.IndexCorrupted() | pg.UndefinedFile() | pg.IoError():
            return StoreUnavailableError(
                f"the database of {place} is damaged: {said}; REINDEX DATABASE mends it if that is "
                "a file of an index; else restore a backup into a fresh database with "
                "`voicerag db restore`, or index your files again there with `voicerag index`"
            )
        case pg.LockNotAvailable() | pg.DeadlockDetected() | pg.SerializationFailure():
            return StoreError(
                f"another program holds rows of this collection on {place}: {said}; repeat the call"
            )
        case pg.QueryCanceled():
            return StoreError(
                f"the query on {place} was stopped: {said}; allow more time with "
                "statement_timeout, or build the index with build_index()"
            )
    return _unusual(error, place, said)


def _unusual(error: Exception, place: str, said: str) -> StoreError:
    if isinstance(error, OutcomeUnknownError):
        return StoreUnavailableError(
            f"{place} went away while it committed: {said}; whether this call was kept is "
            "unknown, repeat it: what is there already is not written again"
        )
    if isinstance(error, pg.OutOfMemory | pg.TooManyConnections):
        return StoreUnavailableError(f"{place} has no room: {said}; repeat the call later")
    if _only_reads(error):
        return StoreError(
            f"{place} only reads, as a replica does: {said}; write to the primary server, and open "
            "this one with read_only"
        )
    if isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith(_LIMIT_EXCEEDED):
        return StoreError(
            f"{place} cannot hold a value of this call: {said}; nothing of it was kept, split the "
            "text or shorten the value"
        )
    return _unclassified(error, place, said)


def _unclassified(error: Exception, place: str, said: str) -> StoreError:
    if connection_lost(error) or isinstance(error, psycopg.InterfaceError):
        if "authentication failed" in said:  # while connecting, libpq gives no code of the error
            return _refused_login(place, said)
        return StoreUnavailableError(
            f"{place} cannot be reached or went away: {said}; check that the server runs"
        )
    return StoreError(f"{place} refused: {said}")


def _only_reads(error: Exception) -> bool:
    """Tell whether the server refused to begin or do a write; a standby has a code for one only."""
    return isinstance(error, pg.ReadOnlySqlTransaction) or (
        isinstance(error, pg.FeatureNotSupported) and "recovery" in str(error)
    )


def _refused_login(place: str, said: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"{place} refused the user or password: {said}; check VOICERAG_DATABASE_URL"
    )
