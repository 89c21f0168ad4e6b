"""The one HTTP client of models behind a URL.

The caller is synchronous. The requests run on an event loop in a thread of the client, so that a
deadline covers a whole call, however slowly its bytes arrive, and a cancelled call closes its
connection at once.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import httpx

from voicerag_core.cancellation import check_cancelled, interruptible
from voicerag_core.closing import Closing
from voicerag_core.errors import CancelledError, ConfigError, EndpointError
from voicerag_core.remote.endpoint import Endpoint
from voicerag_core.remote.refusals import Refusal, retry_after

__all__ = ["Client"]

_T = TypeVar("_T")

ATTEMPTS = 4
"""Tries of one call: the first, and those after HTTP 429 and 503."""
FIRST_PAUSE_SECONDS = 0.5
"""Doubled after each try; a Retry-After header counts instead."""
CONNECT_SECONDS = 10.0
MOST_AT_ONCE = 4
MOST_BYTES = 64 << 20
"""Of one response."""
MOST_ERROR_BYTES = 64 << 10
STOP_SECONDS = 2.0
THREAD = "voicerag-remote"
_BUSY = (429, 503)


class Client(Closing):
    """Calls an endpoint. Thread-safe.

    Calls above the number that may run at once wait for their turn. Redirects are not followed:
    they would take the key and the texts to another place. Proxies and certificates are those of
    the environment, as httpx reads them.

    Args:
        endpoint: Where the model is.
        most_at_once: Calls that may run at the same time.
    """

    def __init__(self, endpoint: Endpoint, *, most_at_once: int = MOST_AT_ONCE) -> None:
        self.endpoint = endpoint
        self.refusal = Refusal(endpoint)
        self._most_at_once = most_at_once
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._closed = False

    def __repr__(self) -> str:
        """Show the address and the model, never the key."""
        return f"Client({self.endpoint.shown!r}, model={self.endpoint.model!r})"

    def call(self, path: str, body: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401
        """Post a JSON body, or get without one, and return the parsed response.

        Raises:
            EndpointError: There is no usable response in time.
            CancelledError: The running call was cancelled.
        """
        raw = self._run(self._whole(path, _json(body) if body is not None else {}))
        return self.refusal.parsed(raw, path)

    def calls(self, path: str, bodies: Sequence[Mapping[str, object]]) -> list[Any]:
        """Post JSON bodies at the same time, and return the parsed responses in their order.

        Raises:
            EndpointError: One of them has no usable response in time.
            CancelledError: The running call was cancelled.
        """
        raw = self._run(self._all(path, [_json(body) for body in bodies]))
        return [self.refusal.parsed(one, path) for one in raw]

    def fetch(self, path: str, body: Mapping[str, object]) -> tuple[bytes, str]:
        """Post a JSON body, and return the response and its content type.

        Raises:
            EndpointError: There is no response in time.
            CancelledError: The running call was cancelled.
        """
        return self._run(self._typed(path, _json(body)))

    def upload(self, path: str, fields: Mapping[str, str], file: tuple[str, bytes, str]) -> Any:  # noqa: ANN401
        """Post a multipart form with one file (name, content, type); return the parsed response.

        Raises:
            EndpointError: There is no usable response in time.
            CancelledError: The running call was cancelled.
        """
        raw = self._run(self._whole(path, {"data": dict(fields), "files": {"file": file}}))
        return self.refusal.parsed(raw, path)

    def stream(self, path: str, body: Mapping[str, object]) -> Generator[bytes, None, None]:
        """Post a JSON body and yield the response as it arrives; closing it closes the connection.

        Raises:
            EndpointError: The endpoint refused, or the next bytes did not come in time.
            CancelledError: The running call was cancelled.
        """
        chunks = self._chunks(path, _json(body))
        try:
            while (chunk := self._run(self._next(path, chunks))) is not None:
                yield chunk
        finally:
            self._drop(chunks)

    def close(self) -> None:
        """End what is running and close the connections; a second call does nothing."""
        with self._lock:
            running, self._running, self._closed = self._running, None, True
        if running is not None:
            running.stop()

    async def _all(self, path: str, contents: Sequence[dict[str, Any]]) -> list[bytes]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._whole(path, one)) for one in contents]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _whole(self, path: str, content: dict[str, Any]) -> bytes:
        return (await self._typed(path, content))[0]

    async def _typed(self, path: str, content: dict[str, Any]) -> tuple[bytes, str]:
        # A call that waits for its turn is not late: each of those before it ends in time.
        async with (
            self._started().turns,
            self._deadline(path),
            self._opened(path, content) as response,
        ):
            raw = bytearray()
            async for chunk in response.aiter_bytes():
                raw += chunk
                if len(raw) > MOST_BYTES:
                    raise EndpointError(self.refusal.said(path, f"sent over {MOST_BYTES} bytes"))
            return bytes(raw), response.headers.get("content-type", "")

    async def _chunks(self, path: str, content: dict[str, Any]) -> AsyncIterator[bytes]:
        """Yield the chunks; the deadline is that of the caller, chunk by chunk."""
        async with self._started().turns, self._opened(path, content) as response:
            seen = 0
            async for chunk in response.aiter_bytes():
                seen += len(chunk)
                if seen > MOST_BYTES:
                    raise EndpointError(self.refusal.said(path, f"sent over {MOST_BYTES} bytes"))
                yield chunk

    async def _next(self, path: str, chunks: AsyncIterator[bytes]) -> bytes | None:
        async with self._deadline(path):
            return await anext(chunks, None)

    @asynccontextmanager
    async def _opened(self, path: str, content: dict[str, Any]) -> AsyncIterator[httpx.Response]:
        """Send a request, again while the endpoint is busy, and close the response at the end."""
        response = await self._sent(self._started(), path, content)
        try:
            yield response
        except httpx.HTTPError as error:
            raise self.refusal.broken(path, error) from error
        finally:
            await response.aclose()

    async def _sent(self, running: _Running, path: str, content: dict[str, Any]) -> httpx.Response:
        until = time.monotonic() + self.endpoint.timeout
        for attempt in range(ATTEMPTS):
            response = await self._answered(running, path, content)
            if response.status_code not in _BUSY:
                break
            pause = retry_after(response.headers, FIRST_PAUSE_SECONDS * 2**attempt)
            if attempt == ATTEMPTS - 1 or time.monotonic() + pause >= until:
                break
            await response.aclose()
            await asyncio.sleep(pause)
        if response.is_success:
            return response
        try:
            text = await _beginning(response)
        except httpx.HTTPError:
            text = ""
        finally:
            await response.aclose()
        models = await self._models(running) if response.status_code in (400, 404) else None
        raise self.refusal.refused(path, response, text, models)

    async def _answered(
        self, running: _Running, path: str, content: dict[str, Any]
    ) -> httpx.Response:
        """Send a request once; once more if a kept connection turned out to be closed."""
        method = "POST" if content else "GET"
        address = self.endpoint.address(path)
        for last in (False, True):
            request = running.http.build_request(method, address, **content)
            try:
                return await running.http.send(request, stream=True)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
                if last or not running.used:
                    raise self.refusal.broken(path, error) from error
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                raise self.refusal.unreachable(path, error) from error
            finally:
                running.used = True
        raise AssertionError("a loop of two tries ended")

    async def _models(self, running: _Running) -> list[str] | None:
        """Ask which models there are, to explain a refusal; None if it does not say."""
        try:
            async with asyncio.timeout(min(5.0, self.endpoint.timeout)):
                request = running.http.build_request("GET", self.endpoint.address("/models"))
                response = await running.http.send(request, stream=True)
                try:
                    text = await _beginning(response)
                finally:
                    await response.aclose()
            return self.refusal.models(text) if response.is_success else None
        except (TimeoutError, httpx.HTTPError):
            return None

    @asynccontextmanager
    async def _deadline(self, path: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.endpoint.timeout):
                yield
        except TimeoutError as error:
            raise self.refusal.late(path) from error

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run on the loop, and wait for it; a call that is cancelled or interrupted is dropped."""
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._started().loop)
        except BaseException:
            work.close()
            raise
        try:
            with interruptible(lambda: _cancel(future)):
                return future.result()
        except concurrent.futures.CancelledError:
            check_cancelled()
            raise CancelledError(f"the client of {self.endpoint.what} was closed") from None
        except BaseException:
            future.cancel()
            raise

    def _drop(self, chunks: AsyncIterator[bytes]) -> None:
        """Close a stream without waiting for it."""
        with self._lock:
            running = self._running
        if running is not None:
            asyncio.run_coroutine_threadsafe(_closed(chunks), running.loop)

    def _started(self) -> _Running:
        with self._lock:
            if self._closed:
                raise EndpointError(f"the client of {self.endpoint.what} is closed; open it again")
            if self._running is None:
                self._running = _Running(self.endpoint, self._most_at_once)
            return self._running


class _Running:
    """The event loop in its thread, and what belongs to it."""

    def __init__(self, endpoint: Endpoint, most_at_once: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.turns = asyncio.Semaphore(most_at_once)
        self.used = False
        self.http = _connections(endpoint)
        logging.getLogger("httpx").addFilter(_of_others)
        self._thread = threading.Thread(target=self._serve, name=THREAD, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Cancel what runs, close the connections and end the thread."""
        asyncio.run_coroutine_threadsafe(self._end(), self.loop)
        self._thread.join(STOP_SECONDS)

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.http.aclose()
        self.loop.stop()


def _connections(endpoint: Endpoint) -> httpx.AsyncClient:
    headers = {"User-Agent": "voicerag"}
    if endpoint.key:
        headers["Authorization"] = f"Bearer {endpoint.key}"
    try:
        return httpx.AsyncClient(
            headers=headers,
            # The deadline of a call is above these; they only keep a socket from hanging.
            timeout=httpx.Timeout(endpoint.timeout, connect=min(CONNECT_SECONDS, endpoint.timeout)),
            limits=httpx.Limits(max_connections=None, keepalive_expiry=30.0),
            follow_redirects=False,
        )
    except (ImportError, OSError, ValueError) as error:
        raise ConfigError(
            f"{endpoint.what} cannot be asked by the proxy or the certificates of the environment "
            f"(HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE): {type(error).__name__}"
        ) from error


def _of_others(record: logging.LogRecord) -> bool:
    """Drop the lines of httpx on calls of this client: they hold the whole URL."""
    return record.threadName != THREAD


def _json(body: Mapping[str, object]) -> dict[str, Any]:
    """Return a request's content; letters that no UTF-8 can carry become question marks."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return {
        "content": text.encode("utf-8", "replace"),
        "headers": {"Content-Type": "application/json"},
    }


def _cancel(future: concurrent.futures.Future[Any]) -> None:
    future.cancel()


async def _closed(chunks: AsyncIterator[bytes]) -> None:
    # A step that was cancelled has not ended yet, and closes by itself.
    with suppress(RuntimeError):
        await chunks.aclose()  # type: ignore[attr-defined]


async def _beginning(response: httpx.Response) -> str:
    """Read the beginning of a body that explains an error."""
    raw = bytearray()
    async for chunk in response.aiter_bytes():
        raw += chunk
        if len(raw) >= MOST_ERROR_BYTES:
            break
    return bytes(raw[:MOST_ERROR_BYTES]).decode("utf-8", "replace")
