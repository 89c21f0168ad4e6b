"""The state of a server."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

from voicerag_core.errors import VoiceRAGError
from voicerag_core.ports import ServesMany
from voicerag_core.serving.jobs import Workers
from voicerag_core.serving.messages import message_for_caller
from voicerag_core.serving.tenants import Tenants

__all__ = ["Load", "Status", "load_of", "status_of"]


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a server.

    Args:
        version: Version of voicerag.
        stack: Models that answer.
        database: "ok", or what is wrong with it.
        collection: The default collection.
        passages: How many passages it holds, if the database works.
        strategy: How a spoken question is searched.
        speaks: Whether answers are spoken.
        read_only: Whether writing is disabled.
        max_question_seconds: Longest spoken question.
    """

    version: str
    stack: str
    database: str
    collection: str
    passages: int | None
    strategy: str
    speaks: bool
    read_only: bool
    max_question_seconds: float


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a server is.

    Args:
        workers: Calls that may run at this moment.
        running: Calls that run.
        waiting: Calls that wait for a worker.
        model_capacity: Answers that the model writes at a time; 1 until it is loaded.
        model_running: Answers that it is writing, if it says.
        model_waiting: Questions that wait for it.
        out_of_service: Parts of the model that failed, such as devices.
    """

    workers: int
    running: int
    waiting: int
    model_capacity: int = 1
    model_running: int = 0
    model_waiting: int = 0
    out_of_service: tuple[str, ...] = ()


def load_of(workers: Workers, model: object) -> Load:
    """Return how busy a server is.

    Args:
        workers: Run its calls.
        model: Answers.
    """
    calls = (workers.threads, workers.running, workers.waiting)
    if not isinstance(model, ServesMany):
        return Load(*calls)
    many: ServesMany = model
    return Load(*calls, many.capacity, many.running, many.waiting, many.out_of_service)


def status_of(tenants: Tenants, tenant: str) -> Status:
    """Return the state of the server as a tenant sees it."""
    settings = tenants.settings
    database, passages = "ok", None
    try:
        known = {one.name: one.passages for one in tenants.collections(tenant)}
        passages = known.get(settings.collection, 0)
    except VoiceRAGError as error:
        database = message_for_caller(error)
    return Status(
        version=version("voicerag-core"),
        stack=settings.stack,
        database=database,
        collection=settings.collection,
        passages=passages,
        strategy=settings.question_strategy,
        speaks=tenants.parts.speaker is not None,
        read_only=tenants.read_only,
        max_question_seconds=settings.max_question_seconds,
    )
