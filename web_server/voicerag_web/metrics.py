"""Counts and durations for Prometheus; without the extra ``telemetry`` nothing is counted."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Final

from voicerag_core.serving.status import Load

__all__ = ["Metrics"]

_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)


class Metrics:
    """What the server counts, in a registry of its own."""

    def __init__(self) -> None:
        self._registry: Any = None
        if find_spec("prometheus_client") is None:
            return
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "voicerag_requests", "Requests by door and status", ["door", "status"],
            registry=registry,
        )  # fmt: skip
        self._events = Counter(
            "voicerag_realtime_events", "Realtime events by type", ["direction", "type"],
            registry=registry,
        )  # fmt: skip
        self._stages = Histogram(
            "voicerag_stage_seconds", "Seconds from the end of a question", ["stage"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._speculations = Counter(
            "voicerag_speculations", "Searches that began before a question was over", ["outcome"],
            registry=registry,
        )  # fmt: skip
        self._sessions = Gauge("voicerag_sessions", "Open Realtime sessions", registry=registry)
        self._jobs = Gauge(
            "voicerag_jobs", "Jobs that wait or run on the workers", registry=registry
        )
        self._workers = Gauge("voicerag_workers", "Threads of the workers", registry=registry)
        self._waiting = Gauge(
            "voicerag_jobs_waiting", "Jobs that wait for a worker", registry=registry
        )
        self._answers = Gauge(
            "voicerag_model_answers", "Answers of the model: its capacity, written now, waiting",
            ["state"], registry=registry,
        )  # fmt: skip
        self._broken = Gauge(
            "voicerag_model_out_of_service", "Parts of the model that failed", registry=registry
        )

    @property
    def enabled(self) -> bool:
        """Whether anything is counted."""
        return self._registry is not None

    def request(self, door: str, status: int) -> None:
        """Count an answered request."""
        if self.enabled:
            self._requests.labels(door, str(status)).inc()

    def event(self, direction: str, name: str) -> None:
        """Count a Realtime event; `name` is one of a fixed set."""
        if self.enabled:
            self._events.labels(direction, name).inc()

    def speculation(self, outcome: str) -> None:
        """Count a search that began before a question was over: held, thrown away, or lost."""
        if self.enabled:
            self._speculations.labels(outcome).inc()

    def stage(self, name: str, seconds: float) -> None:
        """Record when a stage of a spoken turn was reached, in seconds from the end of speech."""
        if self.enabled:
            self._stages.labels(name).observe(seconds)

    def page(self, *, sessions: int, load: Load) -> bytes:
        """Return the text for Prometheus with the load of this moment."""
        from prometheus_client import generate_latest

        self._sessions.set(sessions)
        self._jobs.set(load.running + load.waiting)
        self._workers.set(load.workers)
        self._waiting.set(load.waiting)
        self._answers.labels("capacity").set(load.model_capacity)
        self._answers.labels("running").set(load.model_running)
        self._answers.labels("waiting").set(load.model_waiting)
        self._broken.set(len(load.out_of_service))
        return bytes(generate_latest(self._registry))
