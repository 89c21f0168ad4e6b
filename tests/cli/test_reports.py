"""Structured lines on standard error, and telemetry of a command, where they are asked for."""

from __future__ import annotations

import http.server
import io
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from voicerag_core.logs import JsonFormatter, set_up_logs


@pytest.fixture
def restored() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def test_a_record_is_one_line_of_json(restored: None) -> None:
    stream = io.StringIO()
    set_up_logs("json", "info", stream=stream)
    logging.getLogger("a.b").info("two\nlines %s", "Ä", extra={"hits": 3, "place": Path("/x")})
    try:
        raise ValueError("bad")
    except ValueError:
        logging.getLogger("a").exception("failed")
    logging.getLogger("a").debug("left out")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info", "logger": "a.b", "message": "two\nlines Ä", "hits": 3, "place": "/x",
    }  # fmt: skip
    assert (second["level"], second["error"]["type"]) == ("error", "ValueError")
    assert "Traceback" in second["error"]["traceback"]


def test_a_line_names_the_span_it_was_written_in() -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    context = trace.SpanContext(1, 2, is_remote=False)
    record = logging.makeLogRecord({"msg": "x", "levelname": "INFO"})
    with trace.use_span(trace.NonRecordingSpan(context)):
        value = json.loads(JsonFormatter().format(record))
    assert (value["trace_id"], value["span_id"]) == (f"{1:032x}", f"{2:016x}")


def voicerag(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "voicerag_core.cli", *map(str, words)],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, **variables},
    )  # fmt: skip


def test_a_command_reports_in_json(tmp_path: Path) -> None:
    place = ("--data-dir", tmp_path / "none")
    done = voicerag("db", "backup", tmp_path / "b.zip", *place, VOICERAG_LOG_FORMAT="json")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    value = json.loads(line)
    assert (value["level"], value["error_type"]) == ("error", "StoreError")
    assert value["message"].startswith("error: there is nothing to back up")
    plain = voicerag("db", "backup", tmp_path / "b.zip", *place)
    assert plain.stderr.startswith("error: there is nothing to back up")
    wrong = voicerag("db", "status", *place, VOICERAG_LOG_FORMAT="xml")
    assert "log_format" in wrong.stderr


def test_the_mcp_server_reports_in_json() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "voicerag_mcp", "--transport", "http", "--host", "0.0.0.0"],
        capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "VOICERAG_LOG_FORMAT": "json", "VOICERAG_LIMIT": "none"},
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["level"] == "error"


@pytest.fixture
def collector(socket_enabled: None) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """A collector that keeps what it is sent."""
    kept: list[tuple[str, bytes]] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kept.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", kept
        server.shutdown()


def test_a_command_sends_its_spans_to_a_collector(
    tmp_path: Path, collector: tuple[str, list[tuple[str, bytes]]]
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    address, kept = collector
    (tmp_path / "a.txt").write_text("Herons fish in the Rhine.")
    done = voicerag(
        "index", tmp_path / "a.txt", "--data-dir", tmp_path / "data",
        VOICERAG_TELEMETRY="otlp", OTEL_EXPORTER_OTLP_ENDPOINT=address,
        OTEL_EXPORTER_OTLP_COMPRESSION="none",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {path for path, _ in kept} == {"/v1/traces", "/v1/metrics"}
    sent = b"".join(body for _, body in kept)
    assert b"voicerag.write" in sent
    assert b"voicerag.index.documents" in sent
    assert b"voicerag-core" not in sent or b"service.name" in sent
    assert b"Herons" not in sent
    assert b"a.txt" not in sent
