"""Spans and metrics of OpenTelemetry, for programs that have set it up.

Nothing of OpenTelemetry is imported here unless the program has imported it itself, or asked for
it by `set_up_telemetry`; without that, every call returns at once. What is told are durations,
counts and names of models, stages and errors: never a text, a sound, a source or an id.

Spans: ``voicerag.question`` with ``voicerag.transcribe``, ``voicerag.embed``, ``voicerag.search``,
``voicerag.rerank``, ``voicerag.read`` and ``voicerag.speak`` below it; while indexing,
``voicerag.embed`` and ``voicerag.write``. Metrics: the histograms ``voicerag.stage.duration`` and
``voicerag.question.first_output`` in seconds, the counters ``voicerag.questions``,
``voicerag.index.documents`` and ``voicerag.index.passages``.

Source: OpenTelemetry semantic conventions 1.37, naming, database (``db.*``) and generative AI
(``gen_ai.*``) attributes; units in UCUM.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypeVar

from voicerag_core.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram, Meter
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

__all__ = [
    "Attributes",
    "Exporter",
    "Stage",
    "begin",
    "count",
    "current_ids",
    "flush_telemetry",
    "record",
    "set_up_telemetry",
    "stage",
]

Attributes: TypeAlias = Mapping[str, str | bool | int | float]
Exporter: TypeAlias = Literal["none", "otlp", "console"]

_T = TypeVar("_T")

_SCOPE: Final = "voicerag"

_FLUSH_MILLISECONDS: Final = 2000

_SECONDS: Final = "s"
_UNITS: Final = {
    "voicerag.questions": "{question}",
    "voicerag.index.documents": "{document}",
    "voicerag.index.passages": "{passage}",
}

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Borders of the histograms, in seconds."""


class Stage:
    """A stage in progress; without OpenTelemetry all of its methods do nothing.

    Args:
        name: Of the span.
        attributes: Of the span.
    """

    def __init__(self, name: str, attributes: Attributes) -> None:
        self._name = name
        self._started = time.perf_counter()
        self._ended = False
        self._until: tuple[float, int] | None = None
        tracer = _tracer()
        self._span: Span | None = None
        if tracer is not None:
            self._span = tracer.start_span(name, attributes=dict(attributes))

    def set(self, **values: str | bool | float) -> None:
        """Add attributes; a double underscore in a name stands for a dot."""
        if self._span is not None:
            for name, value in values.items():
                self._span.set_attribute(name.replace("__", "."), value)

    def active(self) -> AbstractContextManager[object]:
        """Make it the parent of what begins inside the block."""
        if self._span is None:
            return nullcontext()
        from opentelemetry.trace import use_span

        return use_span(
            self._span, end_on_exit=False, record_exception=False, set_status_on_exception=False
        )

    def fail(self, error: BaseException) -> None:
        """Note by which kind of error it ended; an early close or an interrupt is none."""
        if self._span is None or not isinstance(error, Exception):
            return
        from opentelemetry.trace import StatusCode

        self._span.set_attribute("error.type", type(error).__name__)
        self._span.set_status(StatusCode.ERROR)

    def mark(self) -> None:
        """Let it have lasted until now, whenever it is ended."""
        self._until = time.perf_counter(), time.time_ns()

    def end(self, error: BaseException | None = None) -> None:
        """End it; a second call does nothing."""
        if self._ended:
            return
        self._ended = True
        if error is not None:
            self.fail(error)
        attributes: dict[str, str] = {"voicerag.stage": self._name.removeprefix("voicerag.")}
        if isinstance(error, Exception):
            attributes["error.type"] = type(error).__name__
        ended, at = self._until or (time.perf_counter(), None)
        record("voicerag.stage.duration", ended - self._started, attributes)
        if self._span is not None:
            self._span.end(at)

    def over(self, pieces: Iterator[_T]) -> Generator[_T, None, None]:
        """Pass a stream on as part of this stage, and end it with the stream."""
        error: BaseException | None = None
        try:
            yield from self.passed(pieces)
        except BaseException as raised:
            error = raised
            raise
        finally:
            self.end(error)

    def passed(self, pieces: Iterator[_T]) -> Generator[_T, None, None]:
        """Pass a stream on, and close it at the end.

        This stage is the parent of what the stream begins, and of nothing that its reader does
        meanwhile.
        """
        try:
            while True:
                with self.active():
                    try:
                        piece = next(pieces)
                    except StopIteration:
                        return
                yield piece
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()


def begin(name: str, attributes: Attributes | None = None) -> Stage:
    """Begin a stage that `Stage.end` or `Stage.over` ends."""
    return Stage(name, attributes or {})


@contextmanager
def stage(name: str, attributes: Attributes | None = None) -> Iterator[Stage]:
    """Make the block a stage."""
    here = Stage(name, attributes or {})
    try:
        with here.active():
            yield here
    except BaseException as error:
        here.end(error)
        raise
    here.end()


def record(name: str, seconds: float, attributes: Attributes | None = None) -> None:
    """Record a duration."""
    histogram = _instruments().histogram(name)
    if histogram is not None:
        histogram.record(seconds, dict(attributes or {}))


def count(name: str, number: int, attributes: Attributes | None = None) -> None:
    """Add to a counter."""
    counter = _instruments().counter(name)
    if counter is not None and number:
        counter.add(number, dict(attributes or {}))


def current_ids() -> tuple[str, str] | None:
    """Return trace and span id of the running stage in hexadecimal, if there is one."""
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)


def set_up_telemetry(exporter: Exporter, *, service: str) -> None:
    """Send spans and metrics of this process somewhere, unless its program does so already.

    Args:
        exporter: "otlp": to a collector by OTLP over HTTP, set by the variables ``OTEL_*`` of
            OpenTelemetry; "console": to standard error; "none".
        service: ``service.name``, unless ``OTEL_SERVICE_NAME`` says otherwise.

    Raises:
        MissingExtraError: The extra ``telemetry`` is not installed.
    """
    if exporter == "none":
        return
    try:
        from opentelemetry import metrics, trace
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise MissingExtraError("telemetry", "VOICERAG_TELEMETRY") from error
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    from importlib.metadata import version

    spans, readings = _exporters(exporter)
    own = Resource({"service.name": service, "service.version": version("voicerag-core")})
    told = Resource.create()  # of the variables OTEL_*
    named = not str(told.attributes["service.name"]).startswith("unknown_service")
    resource = own.merge(told) if named else told.merge(own)
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(
        MeterProvider(resource=resource, metric_readers=[PeriodicExportingMetricReader(readings)])
    )


def flush_telemetry() -> None:
    """Send what is still to be sent, in a few seconds or not at all; for a program that ends."""
    if "opentelemetry.sdk.trace" not in sys.modules:
        return
    from opentelemetry import metrics, trace

    for provider in (trace.get_tracer_provider(), metrics.get_meter_provider()):
        flush = getattr(provider, "force_flush", None)
        if flush is not None:
            flush(_FLUSH_MILLISECONDS)


def _exporters(exporter: Exporter) -> tuple[SpanExporter, MetricExporter]:
    if exporter == "console":
        from opentelemetry.sdk.metrics.export import ConsoleMetricExporter
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr), ConsoleMetricExporter(out=sys.stderr)
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise MissingExtraError("telemetry", "VOICERAG_TELEMETRY=otlp") from error
    try:
        return OTLPSpanExporter(), OTLPMetricExporter()
    except ValueError as error:
        raise ConfigError(f"a variable OTEL_EXPORTER_OTLP_* is not valid: {error}") from error


class _Instruments:
    """The metrics of one meter, made when they are first used.

    Args:
        meter: None without OpenTelemetry.
    """

    def __init__(self, meter: Meter | None) -> None:
        self._meter = meter
        self._histograms: dict[str, Histogram] = {}
        self._counters: dict[str, Counter] = {}

    def histogram(self, name: str) -> Histogram | None:
        """Return a histogram of seconds."""
        if self._meter is None:
            return None
        if name not in self._histograms:
            self._histograms[name] = self._meter.create_histogram(
                name, unit=_SECONDS, explicit_bucket_boundaries_advisory=_BUCKETS
            )
        return self._histograms[name]

    def counter(self, name: str) -> Counter | None:
        """Return a counter."""
        if self._meter is None:
            return None
        if name not in self._counters:
            self._counters[name] = self._meter.create_counter(name, unit=_UNITS[name])
        return self._counters[name]


_NOTHING = _Instruments(None)
_known: dict[int, tuple[object, _Instruments]] = {}
"""The instruments of the providers seen so far, by their identity."""


def _instruments() -> _Instruments:
    if "opentelemetry.metrics" not in sys.modules:
        return _NOTHING
    from opentelemetry import metrics

    provider = metrics.get_meter_provider()
    found = _known.get(id(provider))
    if found is None:
        meter = provider.get_meter(_SCOPE)
        found = _known[id(provider)] = (provider, _Instruments(meter))
    return found[1]


def _tracer() -> Tracer | None:
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import trace

    return trace.get_tracer(_SCOPE)
