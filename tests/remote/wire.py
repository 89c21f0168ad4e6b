"""A server on the loopback that speaks the wire formats of model servers, with faults on demand.

The formats are those of OpenAI's API reference, of text-embeddings-inference and of Jina and Cohere
for reranking; the models behind them are made up.
"""

from __future__ import annotations

import base64
import io
import json
import re
import threading
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

Fault = Callable[["Handler"], None]
DIM = 16


@dataclass
class Request:
    """What a client sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Wire:
    """The server: what it answers, and what it was asked.

    Args:
        url: Its base, with ``/v1``.
    """

    url: str
    key: str = ""
    models: tuple[str, ...] = ("tiny",)
    reply: str | Callable[[list[dict[str, str]]], str] = "It is 48 metres tall [1]."
    transcript: str = "how tall is the tower"
    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    """Taken one by one by the calls, before the server answers as it should."""
    always: Fault | None = None
    gone: threading.Event = field(default_factory=threading.Event)
    """Set when a client closed a stream."""
    most_at_once: int = 0
    most_texts: int = 1000
    base64_vectors: bool = True
    running: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]


class Handler(BaseHTTPRequestHandler):
    """Answers one request after another on a connection."""

    protocol_version = "HTTP/1.1"
    wire: Wire
    request_seen: Request

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.serve()

    def do_POST(self) -> None:
        self.serve()

    def serve(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        self.request_seen = Request(self.command, self.path, dict(self.headers.items()), body)
        wire = self.wire
        with wire.lock:
            wire.requests.append(self.request_seen)
            wire.running += 1
            wire.most_at_once = max(wire.most_at_once, wire.running)
            fault = wire.always or (wire.faults.pop(0) if wire.faults else None)
        try:
            (fault or type(self).answer)(self)
        except (BrokenPipeError, ConnectionResetError):
            wire.gone.set()
            self.close_connection = True
        finally:
            with wire.lock:
                wire.running -= 1

    def answer(self) -> None:
        path = self.path.split("?", 1)[0]
        if self.wire.key and self.headers.get("Authorization") != f"Bearer {self.wire.key}":
            given = self.headers.get("Authorization", "")
            self.send_json(401, {"error": {"message": f"Incorrect API key provided: {given}"}})
        elif path == "/v1/models":
            self.send_json(200, {"object": "list", "data": [{"id": m} for m in self.wire.models]})
        elif path in ROUTES:
            ROUTES[path](self)
        else:
            self.send_json(404, {"detail": "Not Found"})

    def knows_model(self, model: object) -> bool:
        if model in self.wire.models:
            return True
        message = f"The model `{model}` does not exist."
        self.send_json(404, {"error": {"message": message, "code": "model_not_found"}})
        return False

    def send_bytes(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def send_json(self, status: int, value: object, **headers: str) -> None:
        self.send_bytes(status, json.dumps(value).encode(), "application/json", **headers)

    def begin_stream(self, kind: str = "text/event-stream") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def event(self, value: object) -> None:
        self.chunk(b"data: " + json.dumps(value).encode() + b"\n\n")

    def delta(self, text: str) -> None:
        self.event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})

    def end_stream(self) -> None:
        self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")

    def chat(self) -> None:
        asked = self.request_seen.json
        if not self.knows_model(asked.get("model")):
            return
        reply = self.wire.reply
        text = reply(asked["messages"]) if callable(reply) else reply
        self.begin_stream()
        self.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        for word in re.findall(r"\S+\s*", text):
            self.delta(word)
        self.end_stream()

    def embeddings(self) -> None:
        asked = self.request_seen.json
        if not self.knows_model(asked.get("model")):
            return
        texts = asked["input"]
        if len(texts) > self.wire.most_texts:
            self.send_json(413, {"error": {"message": f"at most {self.wire.most_texts} inputs"}})
            return
        rows = [vector_of(text, asked.get("dimensions") or DIM) for text in texts]
        packed = self.wire.base64_vectors and asked.get("encoding_format") == "base64"
        data = [
            {
                "index": index,
                "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode()
                if packed
                else row.tolist(),
            }
            for index, row in enumerate(rows)
        ]
        self.send_json(200, {"object": "list", "data": data[::-1], "model": asked["model"]})

    def transcriptions(self) -> None:
        body = self.request_seen.body
        if b"RIFF" not in body or b"WAVE" not in body:
            self.send_json(400, {"error": {"message": "no WAV file"}})
            return
        self.send_json(200, {"text": self.wire.transcript, "language": "english"})

    def speech(self) -> None:
        asked = self.request_seen.json
        if not self.knows_model(asked.get("model")):
            return
        samples = (np.sin(np.arange(2400 * max(1, len(asked["input"]) // 10)) / 9) * 9000).astype(
            "<i2"
        )
        if asked.get("response_format") == "pcm":
            self.send_bytes(200, samples.tobytes(), "audio/pcm")
            return
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(24_000)
            file.writeframes(samples.tobytes())
        self.send_bytes(200, buffer.getvalue(), "audio/wav")

    def rerank(self) -> None:
        """Text-embeddings-inference."""
        asked = self.request_seen.json
        if "texts" not in asked:
            self.send_json(422, {"error": "missing field `texts`"})
            return
        scores = overlaps(asked["query"], asked["texts"])
        found = [{"index": i, "score": score} for i, score in enumerate(scores)]
        self.send_json(200, sorted(found, key=lambda one: -one["score"]))

    def jina(self) -> None:
        """Jina, Cohere, vLLM."""
        asked = self.request_seen.json
        if "documents" not in asked:
            self.send_json(422, {"detail": "missing field documents"})
            return
        scores = overlaps(asked["query"], asked["documents"])
        found = [{"index": i, "relevance_score": score} for i, score in enumerate(scores)]
        results = sorted(found, key=lambda one: -one["relevance_score"])
        self.send_json(200, {"model": asked.get("model"), "results": results})


ROUTES: dict[str, Fault] = {
    "/v1/chat/completions": Handler.chat,
    "/v1/embeddings": Handler.embeddings,
    "/v1/audio/transcriptions": Handler.transcriptions,
    "/v1/audio/speech": Handler.speech,
    "/rerank": Handler.rerank,
    "/v1/rerank": Handler.jina,
}


def vector_of(text: str, dim: int = DIM) -> np.ndarray:
    """A vector of the words of a text: texts with common words are near each other."""
    row = np.zeros(dim, np.float32)
    for word in text.lower().split():
        row[sum(map(ord, word.strip(".,?!"))) % dim] += 1.0
    row[0] += 0.01
    return row


def overlaps(query: str, texts: Sequence[str]) -> list[float]:
    """How many words of the query each text has."""
    words = set(query.lower().split())
    return [len(words & set(text.lower().split())) / max(1, len(words)) for text in texts]


@contextmanager
def serving(kind: type[Handler] = Handler) -> Iterator[Wire]:
    """Run the server for a block; `kind` says what it answers."""
    handler: type[Handler] = type("BoundHandler", (kind,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    wire = Wire(f"http://127.0.0.1:{server.server_address[1]}/v1")
    handler.wire = wire
    thread = threading.Thread(target=lambda: server.serve_forever(0.02), daemon=True)
    thread.start()
    try:
        yield wire
    finally:
        wire.gone.set()
        server.shutdown()
        server.server_close()
        thread.join()


def busy(status: int, **headers: str) -> Fault:
    """Refuse a call because of too much work."""
    return lambda handler: handler.send_json(status, {"error": {"message": "busy"}}, **headers)


def refusing(status: int, body: object = "", **headers: str) -> Fault:
    """Refuse a call."""
    return lambda handler: handler.send_json(status, body, **headers)


def silent(handler: Handler) -> None:
    """Never answer; ends with the test server."""
    handler.wire.gone.wait(60)
    handler.close_connection = True


def dripping(handler: Handler) -> None:
    """Send a header now and then, but no response."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    with suppress(BrokenPipeError, ConnectionResetError):
        for number in range(10_000):
            handler.wfile.write(f"X-{number}: 1\r\n".encode())
            handler.wfile.flush()
            if handler.wire.gone.wait(0.02):
                break
    handler.close_connection = True


def pinging(handler: Handler) -> None:
    """Keep a stream alive by comments alone."""
    handler.begin_stream()
    while not handler.wire.gone.wait(0.02):
        handler.chunk(b": ping\n\n")


def endless(handler: Handler) -> None:
    """Talk without end."""
    handler.begin_stream()
    while not handler.wire.gone.is_set():
        handler.delta("It is tall and taller. ")


def dropping(handler: Handler) -> None:
    """Break the connection in the middle of an answer."""
    handler.begin_stream()
    handler.delta("It is 48 ")
    handler.close_connection = True


def cut(handler: Handler) -> None:
    """End the response properly, though the answer has not ended."""
    handler.begin_stream()
    handler.delta("It is 48 ")
    handler.chunk(b"")


def rubbish(handler: Handler) -> None:
    """Send what is no event."""
    handler.begin_stream()
    handler.chunk(b"data: {\x00\xff not json\n\n")
    handler.chunk(b"")


def failing(handler: Handler) -> None:
    """Report an error inside the stream."""
    handler.begin_stream()
    handler.delta("It is ")
    handler.event({"error": {"message": "CUDA out of memory", "code": 500}})
    handler.chunk(b"")


def hanging(handler: Handler) -> None:
    """Stop in the middle of an answer without an end."""
    handler.begin_stream()
    handler.delta("It is 48 ")
    while not handler.wire.gone.wait(0.02):
        pass
    handler.close_connection = True


def slow_close_seen(handler: Handler) -> None:
    """Write one word at a time until the client is gone."""
    handler.begin_stream()
    try:
        while True:
            handler.delta("word ")
            time.sleep(0.01)
    except OSError:
        handler.wire.gone.set()
        raise BrokenPipeError from None


def html(handler: Handler) -> None:
    """Answer like a web site."""
    handler.send_bytes(200, b"<html><body>Welcome</body></html>", "text/html")


def huge(handler: Handler) -> None:
    """Send more than anybody wants."""
    handler.begin_stream("application/json")
    while not handler.wire.gone.is_set():
        handler.chunk(b"[" * 65536)
