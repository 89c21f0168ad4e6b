"""The engine: one Ray Data stage, whose actors read, embed and write."""

from __future__ import annotations

import math
import pickle
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import ray
import ray.data
from ray.exceptions import RayError

from voicerag_core import ConfigError, VoiceRAGError
from voicerag_core.ingest import Cutting, Engine, Indexed, Source
from voicerag_core.settings import Settings
from voicerag_core.stack import require_server
from voicerag_integrations.ray.worker import Worker

__all__ = ["ray_engine"]

DOCUMENTS = 16
"""Documents of a batch: enough to fill the embedder's batches, few enough to share them out evenly
and to lose little with a machine."""

_REACH_SECONDS = 10

WORKER_CPUS = 0.5
"""CPUs that a worker reserves. Less than a whole one, so that on a node with one CPU room is left
for Ray's own tasks; how many threads a model uses is VOICERAG_THREADS."""


@contextmanager
def ray_engine(
    settings: Settings, *, address: str = "auto", workers: int | None = None
) -> Iterator[Engine]:
    """Connect to a cluster, and disconnect at the end of the block.

    Every node needs voicerag-core with the extras of the stack, and the files under the same paths,
    on a shared folder. The settings go to the workers as they are, the password of the database
    too: protect the cluster as you protect that.

    Args:
        settings: Which database, and which models.
        address: Of the cluster, such as "auto", "127.0.0.1:6379" or "ray://host:10001"; "local"
            starts one on this machine.
        workers: How many, each with its own models; None: one for each node.

    Raises:
        ConfigError: Only this machine reaches the database, or there is no cluster.
    """
    require_server(settings, "indexing on several machines")
    _reach(address)
    mine = not ray.is_initialized()
    if mine:
        try:
            ray.init(
                address=None if address == "local" else address,
                include_dashboard=False if address == "local" else None,
                log_to_driver=False,
                logging_level="ERROR",
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise _no_cluster(address, error) from error
    try:
        yield lambda sources, cutting: _indexed(settings, sources, cutting, workers)
    finally:
        if mine:
            ray.shutdown()


def _reach(address: str) -> None:
    """Refuse an address where nobody listens at once; Ray itself would try for minutes.

    Raises:
        ConfigError: It is none, or nobody does.
    """
    if address in {"auto", "local"}:
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_REACH_SECONDS).close()
    except (OSError, ValueError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"there is no Ray cluster at {address!r}: {error}; give the address that `ray start "
        "--head` prints, 'auto' on one of its nodes, or 'local'"
    )


def _indexed(
    settings: Settings, sources: Sequence[Source], cutting: Cutting, workers: int | None
) -> Iterator[Indexed]:
    """Index the sources; a source comes twice when the first result was lost with its node.

    Raises:
        VoiceRAGError: A worker cannot go on, or the cluster gave up; what was written is kept.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    batches = math.ceil(len(sources) / DOCUMENTS)
    rows = [{"source": pickle.dumps(source)} for source in sources]
    count = min(batches, workers or _nodes())
    done = ray.data.from_items(rows, override_num_blocks=batches).map_batches(
        cast("Any", Worker),
        fn_constructor_args=(settings, cutting),
        batch_size=DOCUMENTS,
        num_cpus=WORKER_CPUS,
        compute=ray.data.ActorPoolStrategy(size=count),
        ray_remote_args_fn=lambda: {"scheduling_strategy": "SPREAD"},
    )
    try:
        for row in done.iter_rows():
            one: Indexed | VoiceRAGError = pickle.loads(row["indexed"])  # noqa: S301 - our worker's
            if isinstance(one, VoiceRAGError):
                raise one
            yield one
    except RayError as error:
        raise VoiceRAGError(
            f"the Ray cluster gave up: {error}; what was written is kept, run it again"
        ) from error


def _nodes() -> int:
    """Count the nodes that compute."""
    return max(1, sum(bool(one["Alive"] and one["Resources"].get("CPU")) for one in ray.nodes()))
