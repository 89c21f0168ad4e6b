"""A question is told to OpenTelemetry by its stages and counts, and never by its words."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from voicerag_core import Audio, Document, VoiceRAG, chunk_document, telemetry
from voicerag_core.errors import ConfigError, StoreError
from voicerag_core.ingest import index_documents
from voicerag_core.testing import (
    FakeEmbedder,
    FakeTranscriber,
    FakeVoiceModel,
    InMemoryStore,
)
from voicerag_core.types import Transcription

pytest.importorskip("opentelemetry.sdk")

SECRET = "Rumpelstiltskin"


class Told:
    """What was exported since the test began."""

    def __init__(self, spans: Any, reader: Any) -> None:
        self._spans, self._reader = spans, reader
        spans.clear()
        self._before = self._points()

    def spans(self) -> list[Any]:
        return list(self._spans.get_finished_spans())

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans() if span.name == name]

    def children(self, parent: Any) -> set[str]:
        key = parent.context.span_id
        return {span.name for span in self.spans() if span.parent and span.parent.span_id == key}

    def metrics(self) -> dict[tuple[str, tuple[tuple[str, object], ...]], float]:
        """How much each metric grew: sums of counters, counts of histograms."""
        return {
            key: number - self._before.get(key, 0)
            for key, number in self._points().items()
            if number != self._before.get(key, 0)
        }

    def _points(self) -> dict[tuple[str, tuple[tuple[str, object], ...]], float]:
        data = self._reader.get_metrics_data()
        found = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    self.units[metric.name] = metric.unit
                    for point in metric.data.data_points:
                        key = (metric.name, tuple(sorted(dict(point.attributes).items())))
                        found[key] = getattr(point, "count", getattr(point, "value", 0))
        return found

    units: dict[str, str] = {}  # noqa: RUF012 - the same for all


@pytest.fixture(scope="module")
def exporters() -> tuple[Any, Any]:
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
    return spans, reader


@pytest.fixture
def told(exporters: tuple[Any, Any]) -> Told:
    return Told(*exporters)


@pytest.fixture
def rag() -> VoiceRAG:
    embedder = FakeEmbedder()
    built = VoiceRAG(
        embedder,
        InMemoryStore(embedder.dim),
        FakeVoiceModel(),
        FakeTranscriber(),
        strategy="asr",
    )
    built.index(chunk_document(Document(f"{SECRET}.md", f"{SECRET} is his name. He spins gold.")))
    return built


def clip() -> Audio:
    tone = np.sin(np.arange(16_000, dtype=np.float32) / 20) / 2
    return Audio(tone.astype(np.float32), 16_000)


def test_a_spoken_question_is_a_tree_of_its_stages(told: Told, rag: VoiceRAG) -> None:
    answer = rag.ask(clip())
    assert answer.text
    (question,) = told.named("voicerag.question")
    children = told.children(question)
    assert {"voicerag.transcribe", "voicerag.embed", "voicerag.search", "voicerag.read"} <= children
    (read,) = told.named("voicerag.read")
    assert told.children(read) == {"voicerag.speak"}
    (speak,) = told.named("voicerag.speak")
    assert speak.attributes["voicerag.speech.seconds"] > 0
    assert dict(question.attributes) == {
        "voicerag.question.kind": "speech",
        "voicerag.strategy": "asr",
        "voicerag.hits": len(answer.hits),
        "voicerag.answered": True,
    }
    (embed,) = told.named("voicerag.embed")
    assert embed.attributes["gen_ai.operation.name"] == "embeddings"
    assert embed.attributes["gen_ai.request.model"] == rag.embedder.model_id
    (search,) = told.named("voicerag.search")
    assert search.attributes["db.operation.name"] == "search"
    assert search.attributes["voicerag.hits"] == 1
    assert all(span.end_time >= span.start_time for span in told.spans())


def test_counts_and_times_are_measured(told: Told, rag: VoiceRAG) -> None:
    rag.ask(clip())
    rag.ask("What is his name?")
    found = told.metrics()
    for kind in ("speech", "text"):
        key = (("voicerag.answered", True), ("voicerag.question.kind", kind))
        assert found["voicerag.questions", key] == 1
    assert found["voicerag.stage.duration", (("voicerag.stage", "search"),)] == 2
    assert found["voicerag.stage.duration", (("voicerag.stage", "transcribe"),)] == 1
    first = (("voicerag.output", "text"), ("voicerag.question.kind", "text"))
    assert found["voicerag.question.first_output", first] == 1
    assert Told.units["voicerag.stage.duration"] == "s"
    assert Told.units["voicerag.questions"] == "{question}"


def test_nothing_that_was_said_or_written_is_told(told: Told, rag: VoiceRAG) -> None:
    rag.transcriber = replaced(rag.transcriber)
    rag.ask(clip())
    rag.ask(f"Who is {SECRET}?")
    index_documents(rag, [Document(f"{SECRET}.txt", SECRET)])
    everything = json.dumps([json.loads(span.to_json()) for span in told.spans()])
    everything += repr(told.metrics())
    assert "voicerag.question" in everything
    assert SECRET not in everything


def replaced(transcriber: object) -> Any:
    class Secret:
        def transcribe(self, audio: Audio) -> Transcription:
            return Transcription(f"Who is {SECRET}?", 0.9, "en")

    return Secret()


def test_a_failure_is_told_by_its_kind(told: Told, rag: VoiceRAG) -> None:
    class Broken(InMemoryStore):
        def search(self, *_: Any, **__: Any) -> Any:
            raise StoreError(f"{SECRET} is not to be told")

    rag.store = Broken(rag.embedder.dim)
    with pytest.raises(StoreError):
        rag.ask("Who?")
    for name in ("voicerag.search", "voicerag.question"):
        (span,) = told.named(name)
        assert span.attributes["error.type"] == "StoreError"
        assert span.status.status_code.name == "ERROR"
        assert SECRET not in span.to_json()
    key = (("error.type", "StoreError"), ("voicerag.stage", "search"))
    assert told.metrics()["voicerag.stage.duration", key] == 1


def test_a_stream_that_is_closed_early_ends_its_spans_without_an_error(
    told: Told, rag: VoiceRAG
) -> None:
    pieces: Iterator[Any] = rag.stream("Who?")
    next(pieces)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    (question,) = told.named("voicerag.question")
    assert question.status.status_code.name == "UNSET"
    assert told.named("voicerag.read")


def test_what_the_reader_of_a_stream_does_is_not_part_of_it(told: Told, rag: VoiceRAG) -> None:
    from opentelemetry import trace

    with trace.get_tracer("app").start_as_current_span("app") as app:
        for _ in rag.stream("Who?"):
            assert trace.get_current_span() is app
    (question,) = told.named("voicerag.question")
    assert question.parent.span_id == app.get_span_context().span_id


def test_an_ingest_is_counted(told: Told, rag: VoiceRAG) -> None:
    index_documents(rag, [Document("a", "Herons fish."), Document("b", "Owls sleep.")])
    found = told.metrics()
    assert found["voicerag.index.documents", ()] == 2
    assert found["voicerag.index.passages", ()] == 2
    assert told.named("voicerag.write")
    assert told.named("voicerag.embed")


WITHOUT = """
import sys
{before}
from voicerag_core import Document, VoiceRAG, chunk_document
from voicerag_core.telemetry import set_up_telemetry
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel, InMemoryStore
embedder = FakeEmbedder()
rag = VoiceRAG(embedder, InMemoryStore(embedder.dim), FakeVoiceModel())
rag.index(chunk_document(Document("a", "Herons fish.")))
assert rag.ask("Who fishes?").text
set_up_telemetry("none", service="test")
assert not [name for name in sys.modules if name.startswith("opentelemetry") {but}]
try:
    set_up_telemetry("otlp", service="test")
except Exception as error:
    print(type(error).__name__, error)
"""


def test_nothing_is_imported_that_nobody_set_up() -> None:
    program = WITHOUT.format(before="", but="")
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_the_extra_all_works_and_the_setting_names_it() -> None:
    before = "sys.modules['opentelemetry'] = None"
    program = WITHOUT.format(before=before, but="and sys.modules[name]")
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert "MissingExtraError" in done.stdout
    assert "voicerag-core[telemetry]" in done.stdout


def test_a_stage_without_opentelemetry_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    with telemetry.stage("voicerag.search") as here:
        here.set(voicerag__hits=1)
    assert telemetry.current_ids() is None
    with pytest.raises(ConfigError), telemetry.stage("voicerag.search"):
        raise ConfigError("x")


def test_what_is_still_to_be_sent_is_sent_before_an_abrupt_end() -> None:
    program = (
        "import os, sys\n"
        "from voicerag_core.telemetry import flush_telemetry, set_up_telemetry, stage\n"
        "flush_telemetry()\n"
        "set_up_telemetry('console', service='mine')\n"
        "with stage('voicerag.search'):\n"
        "    pass\n"
        "flush_telemetry()\n"
        "sys.stderr.flush()\n"
        "os._exit(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert '"name": "voicerag.search"' in done.stderr
    assert '"service.name": "mine"' in done.stderr
    assert "voicerag.stage.duration" in done.stderr
    assert done.stdout == ""
