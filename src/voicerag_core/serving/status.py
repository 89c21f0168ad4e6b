"""The state of a server."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

from voicerag_core.errors import VoiceRAGError
from voicerag_core.serving.messages import message_for_caller
from voicerag_core.serving.tenants import Tenants

__all__ = ["Status", "status_of"]


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
