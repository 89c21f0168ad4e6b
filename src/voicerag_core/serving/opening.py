"""Assemble the parts of a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from voicerag_core.ports import ServesMany
from voicerag_core.serving.asking import Asking
from voicerag_core.serving.clips import ClipStore
from voicerag_core.serving.ingesting import Ingesting
from voicerag_core.serving.jobs import Workers
from voicerag_core.serving.limits import Limits
from voicerag_core.serving.paths import AllowedPaths
from voicerag_core.serving.tenants import HOW_TO_INGEST, Tenants, open_tenants
from voicerag_core.settings import Settings

__all__ = ["Serving", "open_serving"]

USUAL_WORKERS: Final = 4
"""Calls processed concurrently, where a model that answers many does not add its own."""


@dataclass(frozen=True, slots=True)
class Serving:
    """The parts of a running server; all are thread-safe.

    Args:
        tenants: Models and collections.
        asking: Searches, asks, transcribes and speaks.
        ingesting: Ingests texts and files.
        clips: Sound that is kept temporarily.
        paths: Folders whose files calls may name.
        workers: Threads for blocking work.
        limits: Limits of the server.
    """

    tenants: Tenants
    asking: Asking
    ingesting: Ingesting
    clips: ClipStore
    paths: AllowedPaths
    workers: Workers
    limits: Limits


@contextmanager
def open_serving(
    settings: Settings,
    limits: Limits,
    *,
    tenants: Tenants | None = None,
    how_to_ingest: str = HOW_TO_INGEST,
) -> Iterator[Serving]:
    """Assemble the parts of a server; nothing is loaded or connected before its first use.

    Args:
        settings: Settings of models and database.
        limits: Limits of the server.
        tenants: Models and collections that are already open; None opens those of the settings.
        how_to_ingest: How to ingest documents, for the message that there are none.

    Raises:
        ConfigError: The settings contradict each other, or an allowed path is no folder.
    """
    with ExitStack() as stack:
        paths = AllowedPaths.of(limits.allowed_paths, prefix=limits.prefix)
        if tenants is None:
            tenants = stack.enter_context(
                open_tenants(
                    settings,
                    most_open=lambda: max(limits.open_stores, threads() + 1),  # a call each
                    read_only=limits.read_only,
                    how_to_ingest=how_to_ingest,
                )
            )
        threads = _threads(limits, tenants)
        workers = Workers(threads, limits.max_waiting)
        stack.callback(workers.close)
        clips = ClipStore(
            limits.clip_seconds,
            limits.clip_bytes,
            most_of_all=limits.clip_bytes_total,
            prefix=limits.prefix,
        )
        yield Serving(
            tenants,
            Asking(tenants, clips, paths, limits),
            Ingesting(tenants, paths, limits),
            clips,
            paths,
            workers,
            limits,
        )


def _threads(limits: Limits, tenants: Tenants) -> Callable[[], int]:
    """Return what says how many calls may run: more, once a model that answers many is loaded."""
    model: object = tenants.parts.model
    if limits.workers is None and isinstance(model, ServesMany):
        many: ServesMany = model
        return lambda: USUAL_WORKERS if many.capacity == 1 else many.capacity + USUAL_WORKERS
    fixed = USUAL_WORKERS if limits.workers is None else limits.workers
    return lambda: fixed
