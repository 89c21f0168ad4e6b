"""Blocks of many replies, decoded together on one device in the order of their need."""

from __future__ import annotations

import logging
import math
import threading
import time
import weakref
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from voicerag_core.cancellation import check_cancelled
from voicerag_core.glm.decoder.blocks import Block, Decoded, decode, flow_length
from voicerag_core.glm.decoder.networks import DecoderNetworks
from voicerag_core.glm.decoder.shapes import FLOW_FRAMES, batch_size, largest_batch
from voicerag_core.glm.turns import alive, turns_on

__all__ = ["Coming", "DecodingService", "Task", "expected_seconds"]

_logger = logging.getLogger(__name__)

POLL_SECONDS = 0.05
"""How often a waiting thread checks whether its call was cancelled."""
HURRY_SECONDS = 0.25
"""A block that is wanted sooner is urgent: about what a batch takes on a busy GPU."""
HURRY_FRAME_SECONDS = 3e-4
"""That much earlier for each frame of its window: 12 s of it take 0.3 s in a full batch."""
LATEST_SECONDS = 0.02
"""A block waits for others whose last ids are coming until its sound is wanted this soon."""
LATEST_FRAME_SECONDS = 4e-4
"""That much earlier for each frame of its window: a full batch takes about two thirds of both while
the language model waits, and there may be more blocks than one batch takes."""
GATHERING_EACH = 0.006
"""First sounds wait for others this long for each reply that waits for sound: a batch takes 30 ms
and more, in which all of them wait. Only the time counts in which the language model runs."""
MOST_GATHERING = 0.25
FIRST_FRAMES = 2304
"""Most frames of a batch of first sounds: 32 first blocks, or 16 of a crowd, see `DecoderStream`.
It takes 60 ms on an H200, for which the language model waits; a larger one would hold up those who
came first for those who came last."""
LEAST_GATHERING = 0.02
"""Every block that others are coming for waits this long, counted in the same way: where many are
nearly late, or late, one at a time would make all of them late."""
AT_ONCE = 16
"""So many second blocks are decoded before the sound of the first blocks ends; where more replies
wait for sound, their first two blocks are decoded as one."""
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
        first: Whether nothing of its reply was played.
        free: Since when it waits, by `Turns.free`.
        came: When it was submitted.
        wake: Called when it is done, in the service's thread.
    """

    block: Block
    length: int
    deadline: float
    first: bool = False
    free: float = 0.0
    came: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    done: threading.Event = field(default_factory=threading.Event)
    dropped: bool = False
    decoded: Decoded | None = None
    error: BaseException | None = None
    wake: Callable[[], None] | None = None

    def end(self) -> None:
        """Say that it was decoded, or failed."""
        self.done.set()
        if self.wake is not None:
            self.wake()

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

    @property
    def wanting(self) -> bool:
        """Whether ids of it came, but its first sound was not played or its next is late."""
        ...

    def spare(self, step: float) -> float:
        """See `Playing`."""
        ...

    def coming(self) -> int:
        """Return the padded mel frames of the next block if its last ids are about to come.

        Otherwise 0. Called from other threads.
        """
        ...


class DecodingService:
    """Decodes the blocks of all replies of a decoder; shared between threads.

    The block of the only reply is decoded in its caller's thread. Others wait for the service's own
    thread, which takes blocks of one padded length together, since a batch takes little longer than
    a block, and first those that must start first. Blocks wait for others whose last ids are
    coming: those of replies that are being played until their sound is nearly wanted, first sounds
    longer the more replies wait for theirs. A reply that is heard goes before them, all the more
    when it has stopped. While some wait, blocks of the others are
    not begun early. Between two steps of a long batch the thread decodes a short one that is wanted
    sooner. While sound that is wanted at once is made, the language model of the device waits, see
    `Turns`; while that reads prompts, other blocks wait until they are urgent. The thread ends with
    the service; when the program ends, it first decodes what waits. On a GPU everything runs on a
    stream of its own.

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
        self._counted = (-math.inf, 0)
        self._turns.heard(self)

    def opened(self, stream: Coming) -> None:
        """Note a reply that may have blocks to decode."""
        self._streams.add(stream)

    def closed(self, stream: Coming) -> None:
        """Note that a reply has no more."""
        self._streams.discard(stream)

    def spare(self, step: float) -> float:
        """See `Playing`."""
        return min((stream.spare(step) for stream in alive(self._streams)), default=math.inf)

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

    def submit(
        self,
        block: Block,
        deadline: float,
        *,
        first: bool = False,
        wake: Callable[[], None] | None = None,
    ) -> Task:
        """Let a block be decoded by the service's thread.

        Args:
            block: What to decode.
            deadline: When its sound is wanted, by `time.monotonic`.
            first: Whether nothing of its reply was played.
            wake: See `Task`.
        """
        length = flow_length(self._networks, block)
        task = Task(block, length, deadline, first, self._turns.free(), wake=wake)
        with self._changed:
            self._waiting.append(task)
            if not self._working:
                self._thread.submit(self._work)
                self._working = True
            self._changed.notify_all()
        return task

    @property
    def crowded(self) -> bool:
        """Whether so many replies wait for sound that the second blocks of all would be late.

        Questions that are being encoded and prompts that are being read count, too: a reply that is
        heard before them would need its ids while they are read, which makes each come late.
        """
        coming = self._turns.asking + self._turns.reading_steps
        return self._wanting() + coming > AT_ONCE

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
                while self._waiting and (wait := self._next()[0] - time.monotonic()) > 0:
                    self._changed.wait(min(wait, self._looking_again()))
                tasks = self._taken()
                if not tasks:
                    self._working = False
                    return
            with self._networks.exclusive():
                self._finish(tasks)

    def _looking_again(self) -> float:
        """Return for how many seconds to wait at most: what comes, or ends, may change the plan."""
        return POLL_COMING_SECONDS if self._coming() else QUIET_SECONDS

    def _coming(self) -> set[int]:
        return {stream.coming() for stream in alive(self._streams)} - {0}

    def _next(self, shorter: float = math.inf) -> tuple[float, list[Task]]:
        """Return when to decode which blocks next; the lock is held.

        Blocks of replies that are heard go before a batch after which they would be late, or later.

        Args:
            shorter: Only blocks below this length.
        """
        alike: dict[int, list[Task]] = {}
        for task in self._waiting:
            if task.length < shorter:
                alike.setdefault(task.length, []).append(task)
        coming = self._coming() if alike else ()
        plans = [(self._start(tasks, coming), tasks) for tasks in alike.values()]
        if not plans:
            return math.inf, []
        start, tasks = min(plans, key=lambda one: (one[0], one[1][0].came))
        now = time.monotonic()
        heard = [some for some in alike.values() if _ends(some) > -math.inf]
        if heard in ([], [tasks]):
            return start, tasks
        must, first = _last_moment(heard)
        over = max(start, now) + expected_seconds(tasks[0].length)
        if must >= over:
            return start, tasks
        if _ends(first) < now:  # it has stopped; others of its length come with it
            return next(begin for begin, some in plans if some is first), first
        return min(start, must), first

    def _start(self, alike: Sequence[Task], coming: Collection[int]) -> float:
        """Return when to decode blocks of one length together.

        Args:
            alike: The blocks.
            coming: Lengths of blocks that are about to be complete.
        """
        length = alike[0].length
        came = [task.came for task in alike]
        playing = not any(task.first for task in alike)
        hurried = playing and self._wanting() > 0  # others have nothing to play
        largest = _largest(alike)
        calm = self._turns.spare() >= expected_seconds(length)  # nobody needs the decoder meanwhile
        if len(alike) >= min(len(self._streams), largest) and not hurried and (calm or not playing):
            return min(came)
        latest = min(map(self._latest, alike))
        moment = min(max(came) + MOMENT_SECONDS, min(came) + 2 * MOMENT_SECONDS)
        if hurried:
            batches = -(-len(alike) // largest)
            return max(moment, latest - (batches - 1) * LATEST_FRAME_SECONDS * length)
        if length in coming:
            return max(moment, latest)
        if playing:
            hurry = min(_urgent_from(task.deadline, length) for task in alike)
            quiet = max(came) + QUIET_SECONDS if calm and not self._turns.reading else math.inf
            return max(moment, min(latest, hurry, quiet))
        return moment

    def _latest(self, task: Task) -> float:
        """Return until when a block can wait for others."""
        now = time.monotonic()
        came = now - (self._turns.free() - task.free)
        if task.first:
            return came + min(MOST_GATHERING, GATHERING_EACH * self._wanting())
        latest = task.deadline - expected_seconds(task.length)
        return max(latest, came + LEAST_GATHERING)

    def _wanting(self) -> int:
        """Return how many replies wait for sound; it is asked for often, and counted seldom."""
        now = time.monotonic()
        if now >= self._counted[0] + POLL_COMING_SECONDS:
            self._counted = now, sum(stream.wanting for stream in alive(self._streams))
        return self._counted[1]

    def _turn(self, deadline: float, length: int) -> AbstractContextManager[None]:
        """Let the language model wait while a block is decoded that is urgent."""
        urgent = time.monotonic() >= _urgent_from(deadline, length)
        return self._turns.take() if urgent else nullcontext()

    def _taken(self, during: Sequence[Task] = ()) -> list[Task]:
        """Take the blocks to decode now, as many as fit into a batch; the lock is held.

        Args:
            during: What is being decoded; then only short blocks are taken that are wanted sooner
                and wait for no others.
        """
        if not during:
            tasks = self._next()[1]
        else:
            start, tasks = self._next(during[0].length / SHORT)
            wanted = min((task.deadline for task in tasks), default=math.inf)
            now, end = time.monotonic(), min(task.deadline for task in during)
            if start > now or wanted > end:
                return []
            if now < end < now + sum(expected_seconds(one[0].length) for one in (tasks, during)):
                return []  # what is being decoded would be late
        if not tasks:
            return []
        length = tasks[0].length
        tasks = sorted(tasks, key=lambda task: task.deadline)
        tasks = tasks[: batch_size(len(tasks), _largest(tasks), length)]
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
                    self._turns.worked()
                    with self._changed:
                        urgent = self._taken(tasks)
                        waiting = [(task.deadline, task.length) for task in self._waiting]
                    self._finish(urgent)
                    if waiting and not self._turns.taken:  # what is urgent waits for this batch
                        turns.enter_context(self._turn(*min(waiting)))

                begun = time.monotonic()
                made = decode(self._networks, blocks, between=between)
                seconds = time.monotonic() - begun
        except Exception as error:  # noqa: BLE001 - given to the reply that it belongs to
            failed = error
        else:
            for task, decoded in zip(tasks, made, strict=True):
                task.decoded, task.seconds = decoded, seconds
                task.end()
            return
        if len(tasks) == 1:
            tasks[0].error = failed
            tasks[0].end()
            return
        _logger.warning("%d blocks are decoded in two batches after: %s", len(tasks), failed)
        del failed  # its traceback holds what takes the memory
        half = (len(tasks) + 1) // 2
        self._finish(tasks[:half])
        self._finish(tasks[half:])


def _largest(alike: Sequence[Task]) -> int:
    """Return how many blocks of one length are decoded at once at most."""
    most = FIRST_FRAMES if any(task.first for task in alike) else FLOW_FRAMES
    return largest_batch(alike[0].length, most)


def expected_seconds(length: int) -> float:
    """Return the seconds in which a batch of windows of so many frames is surely decoded."""
    return LATEST_SECONDS + LATEST_FRAME_SECONDS * length


def _ends(alike: Sequence[Task]) -> float:
    """Return when the first sound that is heard ends before one of these blocks; -inf: none is."""
    heard = [task.deadline for task in alike if not task.first]
    return min(heard, default=-math.inf)


def _last_moment(plans: Sequence[list[Task]]) -> tuple[float, list[Task]]:
    """Return when the first batch must be begun for the sound that is heard to go on, and which.

    The batches of all lengths follow each other, those first whose sound ends first.
    """
    moment, first = math.inf, plans[0]
    for tasks in sorted(plans, key=_ends, reverse=True):
        length = tasks[0].length
        further = -(-len(tasks) // largest_batch(length, FLOW_FRAMES)) - 1
        takes = expected_seconds(length) + further * LATEST_FRAME_SECONDS * length
        moment, first = min(moment, _ends(tasks)) - takes, tasks
    return moment, first


def _urgent_from(deadline: float, length: int) -> float:
    """Return from when on a block of so many frames is decoded before anything else."""
    return deadline - HURRY_SECONDS - HURRY_FRAME_SECONDS * length
