"""Blocks of many replies, decoded together on one device in the order of their need."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from voicerag_core.cancellation import check_cancelled
from voicerag_core.glm.decoder.blocks import Block, Decoded, decode, flow_length
from voicerag_core.glm.decoder.networks import DecoderNetworks
from voicerag_core.glm.decoder.shapes import FLOW_FRAMES, batch_size, largest_batch
from voicerag_core.glm.turns import turns_on

__all__ = ["Coming", "DecodingService", "Task"]

_logger = logging.getLogger(__name__)

POLL_SECONDS = 0.05
"""How often a waiting thread checks whether its call was cancelled."""
HURRY_SECONDS = 0.25
"""A block that is wanted sooner is urgent: about what a batch takes on a busy GPU."""
HURRY_FRAME_SECONDS = 3e-4
"""That much earlier for each frame of its window: 12 s of it take 0.3 s in a full batch."""
GATHERING_SECONDS = 0.05
"""Urgent blocks wait this long at most for others whose last ids are coming."""
GATHERING_WHILE_READING = 0.2
"""The same while prompts are read: ids are slow then, and each batch holds up the reading."""
POLL_COMING_SECONDS = 0.005
QUIET_SECONDS = 0.03
"""Others are waited for as long as one came within this time."""
MOMENT_SECONDS = 0.005
"""The same where the sound is wanted at once: replies get their ids together, step by step."""
SHORT = 1.5
"""A block this many times shorter than those being decoded may come between two of their steps."""


@dataclass(slots=True, eq=False)
class Task:
    """A block that waits, is being decoded, or is done.

    Args:
        block: What to decode.
        length: Its padded mel frames.
        deadline: When its sound is wanted, by `time.monotonic`.
        came: When it was submitted.
    """

    block: Block
    length: int
    deadline: float
    came: float = field(default_factory=time.monotonic)
    done: threading.Event = field(default_factory=threading.Event)
    dropped: bool = False
    decoded: Decoded | None = None
    error: BaseException | None = None

    def result(self) -> Decoded:
        """Return what became of it.

        Raises:
            ModelError: The device had too little memory.
        """
        if self.error is not None:
            raise self.error
        assert self.decoded is not None
        return self.decoded


class Coming(Protocol):
    """A reply whose next block may be submitted soon."""

    def coming(self) -> int:
        """Return the padded mel frames of the next block if its last ids are about to come.

        Otherwise 0. Called from other threads.
        """
        ...


class DecodingService:
    """Decodes the blocks of all replies of a decoder; shared between threads.

    The block of the only reply is decoded in its caller's thread. Others wait for the service's own
    thread, which takes the block whose sound is wanted first, and with it others of its padded
    length, since a batch takes little longer than a block; it waits for those whose last ids are
    coming, and longer while the sound is not wanted yet. Between two steps of a long batch it
    decodes a short one that is wanted sooner. While sound that is wanted at once is made, the
    language model of the device waits, see `Turns`; while that reads prompts, other blocks wait
    until they are urgent. The thread ends with the service; when the program ends, it first decodes
    what waits. On a GPU everything runs on a stream of its own.

    Args:
        networks: Shared.
    """

    def __init__(self, networks: DecoderNetworks) -> None:
        self._networks = networks
        self._turns = turns_on(networks.device)
        self._changed = threading.Condition()
        self._streams: weakref.WeakSet[Coming] = weakref.WeakSet()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="voicerag-decoder")
        self._waiting: list[Task] = []
        self._working = False

    def opened(self, stream: Coming) -> None:
        """Note a reply that may have blocks to decode."""
        self._streams.add(stream)

    def closed(self, stream: Coming) -> None:
        """Note that a reply has no more."""
        self._streams.discard(stream)

    def alone(self, block: Block, deadline: float) -> Decoded | None:
        """Decode a block in this thread, if there is no other reply; else return None.

        Args:
            block: What to decode.
            deadline: When its sound is wanted, by `time.monotonic`.

        Raises:
            CancelledError: The running call was cancelled.
            ModelError: The device has too little memory.
        """
        if len(self._streams) > 1:
            return None
        length = flow_length(self._networks, block)
        with self._networks.exclusive(wait=False) as free, self._turn(deadline, length):
            return decode(self._networks, [block])[0] if free and not self._waiting else None

    def submit(self, block: Block, deadline: float) -> Task:
        """Let a block be decoded by the service's thread.

        Args:
            block: What to decode.
            deadline: When its sound is wanted, by `time.monotonic`.
        """
        task = Task(block, flow_length(self._networks, block), deadline)
        with self._changed:
            self._waiting.append(task)
            if not self._working:
                self._thread.submit(self._work)
                self._working = True
            self._changed.notify_all()
        return task

    def drop(self, task: Task) -> None:
        """Forget a block; if it is being decoded, its sound is dropped."""
        with self._changed:
            task.dropped = True
            if task in self._waiting:
                self._waiting.remove(task)

    def wait(self, task: Task) -> Decoded:
        """Wait until a block is decoded.

        Raises:
            CancelledError: The running call was cancelled; the block is dropped.
            ModelError: The device has too little memory.
        """
        try:
            while not task.done.wait(POLL_SECONDS):
                check_cancelled()
            check_cancelled()
        except BaseException:
            self.drop(task)
            raise
        return task.result()

    def _work(self) -> None:
        while True:
            with self._changed:
                while (wait := self._patience()) > 0:
                    self._changed.wait(wait)
                tasks = self._taken()
                if not tasks:
                    self._working = False
                    return
            with self._networks.exclusive():
                self._finish(tasks)

    def _patience(self) -> float:
        """Return for how many seconds to wait with the most urgent block, or to look again."""
        if not self._waiting:
            return 0.0
        now = time.monotonic()
        urgent = min(self._waiting, key=lambda task: task.deadline)
        hurry = _urgent_from(urgent.deadline, urgent.length)
        if self._turns.reading and now < hurry:
            return min(hurry - now, QUIET_SECONDS)
        alike = [task for task in self._waiting if task.length == urgent.length]
        if len(alike) >= min(len(self._streams), largest_batch(urgent.length, FLOW_FRAMES)):
            return 0.0
        came = [task.came for task in alike]
        most = GATHERING_WHILE_READING if self._turns.reading else GATHERING_SECONDS
        if now < max(min(came), hurry) + most and any(
            stream.coming() == urgent.length for stream in tuple(self._streams)
        ):
            return POLL_COMING_SECONDS
        moment = min(max(came) + MOMENT_SECONDS, min(came) + 2 * MOMENT_SECONDS)
        return max(moment, min(hurry, max(came) + QUIET_SECONDS)) - now

    def _turn(self, deadline: float, length: int) -> AbstractContextManager[None]:
        """Let the language model wait while a block is decoded that is urgent."""
        urgent = time.monotonic() >= _urgent_from(deadline, length)
        return self._turns.take() if urgent else nullcontext()

    def _taken(self, during: Sequence[Task] = ()) -> list[Task]:
        """Take the most urgent block and others that fit into its batch; the lock is held.

        Args:
            during: What is being decoded; then only short blocks that are wanted sooner are taken.
        """
        if not self._waiting:
            return []
        urgent = sorted(self._waiting, key=lambda task: task.deadline)
        length = urgent[0].length
        if during and (
            length * SHORT > during[0].length
            or urgent[0].deadline > min(task.deadline for task in during)
        ):
            return []
        tasks = [task for task in urgent if task.length == length]
        tasks = tasks[: batch_size(len(tasks), largest_batch(length, FLOW_FRAMES))]
        for task in tasks:
            self._waiting.remove(task)
        return tasks

    def _finish(self, tasks: Sequence[Task]) -> None:
        """Decode blocks, in smaller batches when that fails; each ends with its own error."""
        tasks = [task for task in tasks if not task.dropped]
        if not tasks:
            return

        blocks = [task.block for task in tasks]
        first = min(task.deadline for task in tasks)
        try:
            with self._networks.memory(), ExitStack() as turns:
                turns.enter_context(self._turn(first, tasks[0].length))

                def between() -> None:
                    with self._changed:
                        urgent = self._taken(tasks)
                        waiting = [(task.deadline, task.length) for task in self._waiting]
                    self._finish(urgent)
                    if waiting and not self._turns.taken:  # what is urgent waits for this batch
                        turns.enter_context(self._turn(*min(waiting)))

                made = decode(self._networks, blocks, between=between)
        except Exception as error:  # noqa: BLE001 - given to the reply that it belongs to
            failed = error
        else:
            for task, decoded in zip(tasks, made, strict=True):
                task.decoded = decoded
                task.done.set()
            return
        if len(tasks) == 1:
            tasks[0].error = failed
            tasks[0].done.set()
            return
        _logger.warning("%d blocks are decoded in two batches after: %s", len(tasks), failed)
        del failed  # its traceback holds what takes the memory
        half = (len(tasks) + 1) // 2
        self._finish(tasks[:half])
        self._finish(tasks[half:])


def _urgent_from(deadline: float, length: int) -> float:
    """Return from when on a block of so many frames is decoded before anything else."""
    return deadline - HURRY_SECONDS - HURRY_FRAME_SECONDS * length
