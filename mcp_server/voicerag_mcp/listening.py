"""Listening over HTTP: signals, requests that never end, and no more connections than files."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator
from typing import Any, Final

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from voicerag_core import CancelledError, ConfigError
from voicerag_mcp.settings import ServerSettings

__all__ = ["ENDING_SECONDS", "STOPPING_SECONDS", "Connection", "Listener", "listener", "serve"]

STOPPING_SECONDS: Final = 2
"""Seconds that running calls get to finish after a signal; then their callers are told."""

ENDING_SECONDS: Final = STOPPING_SECONDS + 1
"""Seconds after which a call that is still not answered is cut off."""

_SLOWEST_BYTES: Final = 8_000
"""Bytes per second at which a body must arrive, on average, after its first seconds."""

_STALLED_SECONDS: Final = 30.0
"""Seconds in which a client must take something of its answer."""

_IDLE_SECONDS: Final = 5
_ACCEPTED_AT_ONCE: Final = 16
"""Connections that are accepted before any is looked at: fewer than the files kept in reserve."""

_WAITING_IN_KERNEL: Final = 512
_LOOK_TICKS: Final = 5
_RESERVED_FILES: Final = 128
_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

_logger = logging.getLogger(__name__)


class Connection(H11Protocol):
    """A connection that knows since when it waits for its client.

    A connection without a whole request is closed when its time is over, and earlier if its place
    is needed; one whose request is being answered is closed only if the client stops reading.
    """

    request_seconds = 10.0
    most = 1000

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place; the connection that has waited longest for its client gives way."""
        self._begun = time.monotonic()
        self._bytes = 0
        self._stalled: float | None = None
        super().connection_made(transport)
        too_many = len(self.connections) > most_connections(self.most)
        if too_many or _uses_reserve(transport):
            waiting = [
                one
                for one in self.connections
                if isinstance(one, Connection) and one is not self and one.waits
            ]
            if waiting:
                min(waiting, key=lambda one: (one.waits, one._begun)).give_way()
            elif too_many:
                self.give_way()

    @property
    def waits(self) -> int:
        """For what the connection waits: 1 a request or its head, 2 its body, 0 for nothing."""
        if self.transport.is_closing():
            return 0
        if self.conn.their_state is h11.IDLE and (
            self.cycle is None or self.cycle.response_complete
        ):
            return 1
        if (
            self.conn.their_state is h11.SEND_BODY
            and not self.flow.read_paused
            and not self.cycle.response_complete
        ):
            return 2
        return 0

    def data_received(self, data: bytes) -> None:
        """Count what arrives."""
        if self._bytes == 0:
            self._begun = time.monotonic()
        self._bytes += len(data)
        super().data_received(data)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._begun, self._bytes = time.monotonic(), 0
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Note that the client does not read."""
        self._stalled = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that the client reads."""
        self._stalled = None
        super().resume_writing()

    def look(self, now: float) -> None:
        """Close the connection if its client is too slow."""
        if self._stalled is not None and now - self._stalled > _STALLED_SECONDS:
            self.transport.abort()
        elif (waits := self.waits) and self.timeout_keep_alive_task is None:
            extra = self._bytes / _SLOWEST_BYTES if waits == 2 else 0.0  # noqa: PLR2004
            if now - self._begun > self.request_seconds + extra:
                self.give_way()

    def give_way(self) -> None:
        """Close the connection; a client that sends a body is told why."""
        if self.waits == 2 and self.conn.our_state is h11.SEND_RESPONSE:  # noqa: PLR2004
            self.transport.write(_TOO_SLOW)
        self.transport.close()


def most_connections(wanted: int) -> int:
    """Return how many connections fit, with files to spare for the database, models and clips."""
    first = _first_reserved()
    return wanted if first is None else max(1, min(wanted, first))


def _first_reserved() -> int | None:
    """Return the number from which on files are kept for others than clients; None: no limit."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        return None
    return files - min(_RESERVED_FILES, files // 4)


def _uses_reserve(transport: asyncio.Transport) -> bool:
    """Return whether a connection took a file from the reserve: all lower numbers are in use.

    So that models, libraries and the database count, too, however many files they have open.
    """
    first, taken = _first_reserved(), transport.get_extra_info("socket")
    return first is not None and taken is not None and taken.fileno() >= first


class Listener(uvicorn.Server):
    """An HTTP server that leaves the process alive when a signal ends it.

    The first SIGTERM or SIGINT stops it after the running calls, or after `STOPPING_SECONDS`; the
    second at once. `signal_number` is that of the first, or None.
    """

    signal_number: int | None = None
    stop_calls: Callable[[], None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle signals in the event loop, and give them back afterwards."""
        loop, handled = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT)
        try:
            for one in handled:
                loop.add_signal_handler(one, self._stop, one)
        except (RuntimeError, ValueError):  # not the main thread: whoever started it stops it
            yield
            return
        yield  # the handlers stay until the loop is closed: what follows is not interrupted

    async def serve_until_signal(self, stop_calls: Callable[[], None] | None = None) -> int:
        """Serve until a signal arrives; return the exit code: 128 and the signal's number, or 0.

        Args:
            stop_calls: Releases the callers of what still runs.

        Raises:
            ConfigError: The address cannot be listened on.
        """
        self.stop_calls = stop_calls
        logging.getLogger("uvicorn.error").addFilter(_is_worth_saying)
        await asyncio.shield(self.serve())
        return 0 if self.signal_number is None else 128 + self.signal_number

    def _stop(self, number: int) -> None:
        if self.should_exit:
            self.force_exit = True
            return
        self.signal_number = number
        self.should_exit = True
        if self.stop_calls is not None:
            asyncio.get_running_loop().call_later(STOPPING_SECONDS, self.stop_calls)
        calls = len(self.server_state.tasks)
        if calls:
            sys.stderr.write(
                f"stopping; {calls} running calls get {STOPPING_SECONDS} s "
                "(again to stop at once)\n"
            )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, with a long queue in the kernel and a short one in the process."""
        asyncio.get_running_loop().set_exception_handler(_Exceptions())
        try:
            await super().startup(sockets)
        except SystemExit as error:
            raise ConfigError(
                f"the server cannot listen on {self.config.host}:{self.config.port}: the address "
                "is taken, or is not one of this machine; give another --port or --host"
            ) from error
        for server in self.servers:
            for bound in server.sockets:
                with socket.fromfd(bound.fileno(), bound.family, bound.type) as same:
                    same.listen(_WAITING_IN_KERNEL)

    async def on_tick(self, counter: int) -> bool:
        """Look at the connections twice a second."""
        if counter % _LOOK_TICKS == 0:
            now = time.monotonic()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.look(now)
        return await super().on_tick(counter)


class _Exceptions:
    """Reports errors of the event loop; that files run out is said once a minute, in one line."""

    def __init__(self) -> None:
        self._said = float("-inf")

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "socket" not in context or not isinstance(context.get("exception"), OSError):
            loop.default_exception_handler(context)
            return
        if time.monotonic() - self._said > 60:  # noqa: PLR2004
            self._said = time.monotonic()
            _logger.error("a connection cannot be accepted: %s", context["exception"])


def _is_worth_saying(record: logging.LogRecord) -> bool:
    """Leave out that a stream was cut off when the server stopped: it was meant to be."""
    error = record.exc_info[1] if record.exc_info else None
    while error is not None:
        if isinstance(error, asyncio.CancelledError | CancelledError):
            return False
        error = error.__cause__ or error.__context__
    return "graceful shutdown" not in str(record.msg)


def listener(app: ASGIApp, settings: ServerSettings) -> Listener:
    """Create the HTTP server of an application."""

    class Bounded(Connection):
        most = settings.connections
        request_seconds = settings.request_seconds

    return Listener(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=Bounded,
            ws="none",
            log_config=None,  # its lines take the form of all others
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_ACCEPTED_AT_ONCE,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=ENDING_SECONDS,
        )
    )


async def serve(app: ASGIApp, settings: ServerSettings) -> int:
    """Serve until a signal arrives; return the exit code: 128 and the signal's number, or 0.

    Raises:
        ConfigError: The address cannot be listened on.
    """
    server = listener(app, settings)
    _logger.info("listening on http://%s:%d", settings.host, settings.port)
    return await server.serve_until_signal(getattr(getattr(app, "state", None), "stop_calls", None))
