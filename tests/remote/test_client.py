"""One client: deadlines, retries, refusals, secrets, cancellation, over a real loopback."""

from __future__ import annotations

import logging
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.remote import wire as faults
from tests.remote.conftest import endpoint_of
from tests.remote.wire import Fault, Wire
from tests.waiting import wait_until
from voicerag_core import Cancellation, CancelledError, ConfigError, EndpointError
from voicerag_core.remote import client as client_module
from voicerag_core.remote.client import Client
from voicerag_core.remote.endpoint import Endpoint, read_key

BODY = {"model": "tiny", "input": ["a"]}
SECRET = "sk-very-secret"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_PAUSE_SECONDS", 0.01)


def call(wire: Wire, **values: Any) -> Any:
    with Client(endpoint_of(wire, **values)) as client:
        return client.call("/embeddings", BODY)


def refusal(wire: Wire, **values: Any) -> str:
    with pytest.raises(EndpointError) as caught:
        call(wire, **values)
    return str(caught.value)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(wire: Wire, status: int) -> None:
    wire.faults = [faults.busy(status), faults.busy(status, Retry_After="0")]
    assert len(call(wire)["data"]) == 1
    assert len(wire.requests) == 3


def test_a_server_that_stays_busy_is_given_up(wire: Wire) -> None:
    wire.always = faults.busy(429)
    assert "too busy (HTTP 429)" in refusal(wire)
    assert len(wire.requests) == client_module.ATTEMPTS


def test_a_pause_longer_than_the_time_left_is_not_waited_for(wire: Wire) -> None:
    wire.faults = [faults.busy(503, Retry_After="3600")]
    assert "too busy (HTTP 503)" in refusal(wire)
    assert len(wire.requests) == 1


@pytest.mark.parametrize("fault", [faults.silent, faults.dripping])
def test_the_deadline_covers_whatever_the_server_does(wire: Wire, fault: Fault) -> None:
    wire.always = fault
    message = refusal(wire, timeout=0.3)
    assert "gave nothing for 0.3 s" in message
    assert "VOICERAG_CHAT_TIMEOUT" in message


def test_a_response_without_end_is_not_read_to_its_end(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MOST_BYTES", 1 << 20)
    wire.always = faults.huge
    assert "over 1048576 bytes" in refusal(wire)


def test_a_web_page_is_no_model(wire: Wire) -> None:
    wire.always = faults.html
    message = refusal(wire)
    assert "no JSON" in message
    assert "Welcome" in message
    assert "VOICERAG_CHAT_URL" in message


def test_nobody_there_says_which_address(socket_enabled: None) -> None:
    nowhere = Endpoint("http://127.0.0.1:9/v1", "the chat model", "VOICERAG_CHAT")
    with Client(nowhere) as client, pytest.raises(EndpointError) as caught:
        client.call("/embeddings", BODY)
    assert "http://127.0.0.1:9/v1/embeddings cannot be reached" in str(caught.value)
    assert "VOICERAG_CHAT_URL" in str(caught.value)


def test_a_wrong_path_says_so(wire: Wire) -> None:
    message = refusal(wire, url=wire.url + "/api")
    assert "is not there (HTTP 404)" in message
    assert "often ending in /v1" in message


def test_a_model_that_does_not_exist_names_those_that_do(wire: Wire) -> None:
    wire.models = ("small", "large")
    message = refusal(wire, model="huge")
    assert "'huge'" in message
    assert "small, large" in message
    assert "VOICERAG_CHAT_MODEL" in message


def test_a_whole_address_is_a_base_too(wire: Wire) -> None:
    for url in (wire.url + "/", wire.url + "/embeddings", wire.url + "/chat/completions/"):
        assert len(call(wire, url=url)["data"]) == 1


@pytest.mark.parametrize("given", ["", "sk-guessed", SECRET + "x"])
def test_a_wrong_key_is_not_shown(wire: Wire, given: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wire.key = SECRET
    url = wire.url.replace("http://", "http://ada:hunter2@") + "?token=hush"
    with Client(endpoint_of(wire, key=given, url=url)) as client:
        with pytest.raises(EndpointError) as caught:
            client.call("/embeddings", BODY)
        shown = f"{client!r} {client.endpoint!r}"
    text = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "VOICERAG_CHAT_KEY" in str(caught.value)
    for secret in (given, "hunter2", "hush"):
        assert not secret or secret not in text
    for secret in (given, SECRET, "hunter2", "hush"):
        assert not secret or secret not in shown


def test_the_right_key_opens(wire: Wire) -> None:
    wire.key = SECRET
    assert call(wire, key=SECRET)["data"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_takes_no_key_elsewhere(wire: Wire, status: int) -> None:
    with faults.serving() as other:
        place = other.url + "/embeddings?key=hush"
        wire.always = faults.refusing(status, {}, Location=place)
        message = refusal(wire, key=SECRET)
        assert other.requests == []
    assert f"redirects to {other.url}/embeddings," in message
    assert "hush" not in message


def test_an_error_of_the_server_is_passed_on_without_the_key(wire: Wire) -> None:
    wire.always = faults.refusing(400, {"error": {"message": f"bad\nthing for {SECRET}" * 99}})
    message = refusal(wire, key=SECRET)
    assert "HTTP 400 (bad thing for …" in message
    assert SECRET not in message
    assert len(message) < 700


def test_no_more_calls_run_at_once_than_allowed(wire: Wire) -> None:
    with Client(endpoint_of(wire), most_at_once=2) as client, ThreadPoolExecutor(8) as threads:
        done = [threads.submit(client.call, "/embeddings", BODY) for _ in range(24)]
        assert all(one.result()["data"] for one in done)
    assert wire.most_at_once <= 2


def test_a_cancelled_call_is_released_and_its_connection_closed(wire: Wire) -> None:
    wire.always = faults.slow_close_seen
    cancellation = Cancellation()
    ended: list[BaseException] = []
    begun = threading.Event()

    def read() -> None:
        try:
            with cancellation.active(), Client(endpoint_of(wire)) as client:
                for _ in client.stream("/chat/completions", {}):
                    begun.set()
        except BaseException as error:  # noqa: BLE001 - looked at below
            ended.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    assert begun.wait(20)
    cancellation.cancel()
    thread.join(20)
    assert isinstance(ended[0], CancelledError)
    assert wire.gone.wait(20)


def test_a_call_that_waits_for_a_silent_server_can_be_cancelled(wire: Wire) -> None:
    wire.always = faults.silent
    cancellation = Cancellation()
    timer = threading.Timer(0.2, cancellation.cancel)
    timer.start()
    with (
        Client(endpoint_of(wire)) as client,
        cancellation.active(),
        pytest.raises(CancelledError),
    ):
        client.call("/embeddings", BODY)
    timer.join()


def test_closing_a_stream_closes_its_connection(wire: Wire) -> None:
    wire.always = faults.slow_close_seen
    with Client(endpoint_of(wire)) as client:
        stream = client.stream("/chat/completions", {})
        next(stream)
        stream.close()
        assert wire.gone.wait(20)


def test_a_closed_client_leaves_no_thread(wire: Wire) -> None:
    client = Client(endpoint_of(wire))
    client.call("/embeddings", BODY)
    client.close()
    client.close()
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == client_module.THREAD])
    with pytest.raises(EndpointError, match="closed"):
        client.call("/embeddings", BODY)


def test_a_kept_connection_that_the_server_closed_is_opened_again(wire: Wire) -> None:
    def closes(handler: faults.Handler) -> None:
        handler.close_connection = True

    with Client(endpoint_of(wire)) as client:
        client.call("/embeddings", BODY)
        wire.faults = [closes]
        assert client.call("/embeddings", BODY)["data"]


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "ftp://host/v1", "http://", "http://host:port/v1", "/v1"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="VOICERAG_CHAT_URL is an address"):
        Endpoint(url, "the chat model", "VOICERAG_CHAT")


def test_keys_come_from_a_variable_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")
    assert read_key(None, file, "VOICERAG_CHAT") == SECRET
    assert read_key(SECRET, None, "VOICERAG_CHAT") == SECRET
    assert read_key(None, None, "VOICERAG_CHAT") == ""
    with pytest.raises(ConfigError, match="not both"):
        read_key(SECRET, file, "VOICERAG_CHAT")
    file.write_text("")
    for wrong in (file, tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigError, match="VOICERAG_CHAT_KEY_FILE"):
            read_key(None, wrong, "VOICERAG_CHAT")
    with pytest.raises(ConfigError, match="no HTTP header"):
        Endpoint("http://host/v1", "the chat model", "VOICERAG_CHAT", key="line\nbreak")
