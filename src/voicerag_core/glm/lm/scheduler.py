"""Continuous batching: replies join and leave at every step of one thread that owns the device."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from voicerag_core.closing import Closing
from voicerag_core.errors import BusyError, GenerationError, ModelError, VoiceRAGError
from voicerag_core.glm.lm.rows import Batch, Launched, Part, Reply, Row, Runner, common_prefix
from voicerag_core.glm.lm.sampler import NOT_FINITE, UNDECIDED, finite
from voicerag_core.glm.turns import Turns

__all__ = ["LONG_PART", "Scheduler", "long_part"]

_logger = logging.getLogger(__name__)

WORTH_COPYING = 16
"""Tokens of a prefix that is copied from another row; fewer are as quickly computed."""
SECONDS_OF_A_REPLY = 10.0
"""Assumed until a reply was seen to its end."""
NEWEST_WEIGHT = 0.2
"""Of the latest reply in the running mean of their durations."""
MOST_WAITING = 0.06
"""Seconds for which sound that is wanted at once may hold up a step: a batch of first blocks."""
LONG_QUEUE, LONG_PART = 4, 1.4
"""Where texts of so many parts wait to be read, a step reads so many parts at once: each step also
reads the weights. With 960 tokens a part, the longest step then takes 48 ms on an H200; with two
parts it takes 63. Weights of 8 and 4 bits take longer to unpack, and get no longer parts."""
FEW_TOKENS = 128
"""Fewer tokens of texts are not read in a step for the sake of replies that are heard."""
MOST_PAUSED = 0.1
"""Texts wait for replies that are heard so many seconds at most, until all are read."""
PAUSE_SECONDS = 0.003
"""How often a text that waits so is looked at when nothing else runs."""
CLOSE_SECONDS = 10.0
"""How long closing waits for the step that runs."""


def long_part(part_tokens: int, block: int, parts: float) -> int:
    """Return the tokens of texts in a step beside a long queue, in whole blocks."""
    return max(part_tokens, int(parts * part_tokens) // block * block)


class Scheduler(Closing):
    """Admits replies in the order in which they came, and runs all that have a row together.

    A step runs one more token of every reply in a row, and a part of the texts that are being read.
    A text takes the idle row that holds its beginning, or the one that was idle longest, into which
    the beginning is copied if another row holds it. What a reader has not read yet waits in its own
    queue, which its reply's limit bounds: a slow reader holds up nobody and keeps no row.

    When memory runs out in a step, the newest reply gives up its row and is read again once another
    has ended. When anything else goes wrong, all replies end with the error, and the next one
    starts afresh.

    Args:
        runner: Of the device.
        rows: Of its cache.
        part_tokens: Most tokens of texts in a step; bounds how long the others wait for theirs.
        parts: So many times as many where many wait.
        max_waiting: Most replies that wait for a row.
        memory: Turns an out-of-memory error into one that says what to choose.
        turns: Of the device; sound that is wanted at once goes before the next step.
    """

    def __init__(
        self,
        runner: Runner,
        rows: int,
        *,
        part_tokens: int,
        parts: float,
        max_waiting: int,
        memory: Callable[[], AbstractContextManager[None]],
        turns: Turns,
    ) -> None:
        self._runner, self._memory, self._turns = runner, memory, turns
        self._part_tokens = max(1, part_tokens // runner.block) * runner.block
        self._parts = parts
        self._max_waiting = max_waiting
        self._rows = [Row(index) for index in range(rows)]
        self._seconds: float | None = None
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Reply] = deque()
        self._running: list[Reply] = []
        self._tasks: deque[_Task] = deque()
        self._launched: deque[tuple[Batch, Launched, float]] = deque()
        self._collected = 0.0  # when the latest step was over
        self._paused = 0.0  # seconds for which texts have waited since there were none
        self._paused_at: float | None = None
        self._held_back = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        for row in self._rows:
            row.ids, row.reply = [], None

    @property
    def running(self) -> int:
        """Replies that have a row."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Replies that wait for one."""
        return len(self._waiting)

    def submit(self, reply: Reply) -> None:
        """Let a reply wait for its turn.

        Raises:
            BusyError: Too many wait; says when to come back.
            GenerationError: The scheduler was closed.
        """
        if os.getpid() != self._process:  # a fork has none of its parent's threads
            self._start_afresh()
        with self._changed:
            if len(self._waiting) >= self._max_waiting + self._free_rows():
                seconds = self._expected_wait()
                raise BusyError(
                    f"the language model writes {len(self._running)} replies and "
                    f"{len(self._waiting)} wait; come back in about {seconds} s",
                    retry_after=seconds,
                )
            reply.reader = threading.get_ident()
            self._waiting.append(reply)
            self._wake()

    def cancel(self, reply: Reply) -> None:
        """End a reply whose reader has gone; its row is free before the next step."""
        with self._changed:
            reply.cancelled = True
            self._changed.notify_all()

    def allow(self, reply: Reply) -> None:
        """Go on with a reply whose reader has set `Reply.allowed`."""
        with self._changed:
            reply.reader = threading.get_ident()
            self._changed.notify_all()

    def check(self, reply: Reply) -> None:
        """Return if a reply can still come; ask now and then while waiting for an event.

        Raises:
            GenerationError: It waits for a row that its own reader holds, or the thread is gone.
        """
        with self._changed:
            if reply.ended:
                return
            me = threading.get_ident()
            if (
                reply.row is None
                and self._running
                and all(other.allowed is None and other.reader == me for other in self._running)
            ):
                raise GenerationError(
                    "this thread has answers that are neither finished nor closed, and they hold "
                    "every place of the device; close one before asking again"
                )
            if self._thread is None or not self._thread.is_alive():
                raise GenerationError("the language model's thread has ended; ask again")

    def call(self, task: Callable[[], None]) -> None:
        """Run a task in the thread that owns the device, between two steps, and wait for it."""
        made = _Task(task)
        with self._changed:
            self._tasks.append(made)
            self._wake()
        made.over.wait()
        if made.error is not None:
            raise made.error

    def forget(self) -> None:
        """Forget what idle rows hold."""
        with self._changed:
            for row in self._rows:
                if row.reply is None:
                    row.ids = []

    def close(self) -> None:
        """End all replies and the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSE_SECONDS)

    def _wake(self) -> None:
        """Start the thread if there is none; the lock is held."""
        if self._closed:
            raise GenerationError("the language model was closed")
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="voicerag-lm", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _free_rows(self) -> int:
        return sum(row.reply is None for row in self._rows)

    def _expected_wait(self) -> int:
        seconds = self._seconds or SECONDS_OF_A_REPLY
        return max(1, math.ceil(seconds * (len(self._waiting) + 1) / len(self._rows)))

    def _work(self) -> None:
        """Run steps until closed; the thread's main function."""
        try:
            with torch.inference_mode(), self._runner.working():
                while self._turn():
                    pass
            self._end_all(GenerationError("the language model was closed"))
        except BaseException as error:
            _logger.exception("the language model's scheduler failed")
            self._end_all(error)

    def _end_all(self, error: BaseException) -> None:
        with self._changed:
            for reply in (*self._running, *self._waiting):
                reply.leave_row()
                reply.end(_told(error))
            for task in self._tasks:
                task.error = error
                task.over.set()
            self._running, self._waiting = [], deque()
            self._turns.reading, self._turns.reading_steps = False, 0
            self._tasks.clear()
            self._launched.clear()
            self._thread = None
            for row in self._rows:
                row.ids = []

    def _turn(self) -> bool:
        """Launch a step and take the ids of the one before; return whether to go on."""
        with self._changed:
            batch = self._next_batch()
            while batch is None and not self._launched and not self._closed and not self._tasks:
                self._changed.wait(None if self._paused_at is None else PAUSE_SECONDS)
                batch = self._next_batch()
            if self._closed:
                return False
            tasks = [self._tasks.popleft() for _ in range(len(self._tasks))]
        if tasks:
            self._finish_launched()
            for task in tasks:
                task.run()
            return True
        if batch is not None and batch.parts and self._launched:
            # One such step is all that urgent sound may have to wait for.
            self._runner.prepare(batch)
            self._launched[-1][1].wait()
        if batch is not None and self._turns.taken:
            batch = self._made_way()
        if batch is not None:
            self._launch(batch)
        while len(self._launched) > (self._runner.ahead if batch is not None else 0):
            self._collect(*self._launched.popleft())
        return True

    def _made_way(self) -> Batch | None:
        """Let sound that is wanted at once go before; return what to run then."""
        self._finish_launched()
        self._turns.wait(MOST_WAITING)
        with self._changed:
            return None if self._closed else self._next_batch()

    def _finish_launched(self) -> None:
        while self._launched:
            self._collect(*self._launched.popleft())

    def _next_batch(self) -> Batch | None:
        """Drop cancelled replies, admit waiting ones, and say what the next step runs."""
        for reply in [reply for reply in self._running if reply.cancelled or reply.ended]:
            self._drop(reply)
        for reply in [reply for reply in self._waiting if reply.cancelled]:
            self._waiting.remove(reply)
            reply.end()
        if self._tasks:
            return None
        parts, room = [], self._room()
        for reply in self._running:
            if reply.reading and not reply.flying and reply.allowed is not None and room:
                parts.append(_part(reply, room))
                room -= self._room_of(parts[-1])
        while self._waiting and room and not self._held_back and self._free_rows():
            reply = self._waiting.popleft()
            self._admit(reply)
            parts.append(_part(reply, room))
            room -= self._room_of(parts[-1])
        self._turns.reading = bool(parts)
        self._turns.reading_steps = self._steps_to_read()
        begun = {part.reply for part in parts}
        replies = [
            reply
            for reply in self._running
            if reply not in begun and (reply.flying or not reply.reading)
            and reply.allowed is not None and reply.number + reply.flying < reply.room
            and (self._runner.ahead or not reply.flying)
            and (reply.table is not None or not reply.flying)
        ]  # fmt: skip
        return Batch(parts, replies) if parts or replies else None

    def _room(self) -> int:
        """Return how many tokens of texts the next step may read.

        Replies that are heard go first: a step of 960 tokens takes as long as five others, and the
        first sound of a reply lasts 0.16 s.
        """
        now = time.monotonic()
        if self._paused_at is not None:
            self._paused += now - self._paused_at
            self._paused_at = None
        unread, most = self._unread(), self._part_tokens
        if not unread:
            self._paused = 0.0
            return most
        if unread >= LONG_QUEUE * most:
            most = long_part(most, self._runner.block, self._parts)
        room = self._turns.readable()
        if room >= most or self._paused > MOST_PAUSED:
            return most
        block = self._runner.block
        room = int(room) // block * block
        if room < FEW_TOKENS:
            room = 0
            self._paused_at = now
        return room

    def _steps_to_read(self) -> int:
        """Return the steps in which all texts that have come are read."""
        unread, part = self._unread(), self._part_tokens
        most = long_part(part, self._runner.block, self._parts)
        long = max(0, (unread - LONG_QUEUE * part) // most + 1)
        return long + -(-max(0, unread - long * most) // part)

    def _unread(self) -> int:
        """Return the tokens of all texts that have come and are not read."""
        unread = sum(reply.unread for reply in self._running if reply.reading)
        return unread + sum(len(reply.text) for reply in self._waiting)

    def _room_of(self, part: Part) -> int:
        block = self._runner.block
        return -(-(part.stop - part.start) // block) * block

    def _admit(self, reply: Reply) -> None:
        """Give a reply a row, with as much of its text as some row holds."""
        wanted = reply.text[:-1]
        shared = {row.index: common_prefix(wanted, row.ids) for row in self._rows}
        idle = [row for row in self._rows if row.reply is None]
        source = max(self._rows, key=lambda row: shared[row.index])
        own = max(idle, key=lambda row: (shared[row.index], -row.used))
        oldest = min(idle, key=lambda row: (bool(row.ids), row.used))
        count = shared[own.index]
        if count == shared[source.index] and (2 * count >= len(own.ids) or own is oldest):
            row = own
        else:
            row, count = oldest, shared[oldest.index]
            if shared[source.index] >= count + WORTH_COPYING:
                count = shared[source.index]
                self._runner.copy(source.index, row.index, count)
        row.ids = wanted[:count]
        row.reply, reply.row = reply, row
        reply.admitted = time.monotonic()
        self._running.append(reply)
        self._runner.seat(reply)

    def _launch(self, batch: Batch) -> None:
        begun = time.monotonic()
        try:
            with self._memory():
                launched = self._runner.launch(batch)
        except ModelError as error:
            self._out_of_memory(error)
            return
        for part in batch.parts:
            assert part.reply.row is not None
            part.reply.row.ids += part.reply.text[part.start : part.stop]
        for reply in batch.sampled:
            reply.flying += 1
        self._launched.append((batch, launched, begun))

    def _collect(self, batch: Batch, launched: Launched, begun: float) -> None:
        try:
            with self._memory():
                ids = launched.ids()
            now = time.monotonic()
            tokens = sum(part.stop - part.start for part in batch.parts)
            seconds = now - max(begun, self._collected)
            self._turns.stepped(seconds, reading=tokens > 0, tokens=tokens)
            self._collected = now
        except ModelError as error:
            for reply in batch.sampled:
                reply.flying -= 1
            self._out_of_memory(error)
            return
        fed = {id(reply) for reply in batch.replies}
        came = self._turns.free()
        for reply, token in zip(batch.sampled, ids, strict=True):
            reply.flying -= 1
            reply.came = came
            if reply.ended or reply.cancelled:
                continue
            assert reply.row is not None
            if token == UNDECIDED:
                reply.by_sort = True
                if id(reply) not in fed:
                    reply.row.ids.pop()  # its last token is run again
                continue
            if id(reply) in fed:
                reply.row.ids.append(reply.text[-1])
            if token == NOT_FINITE:
                self._end_broken(reply)
            elif reply.took(token):
                reply.end()

    def _end_broken(self, reply: Reply) -> None:
        """End a reply whose scores are no numbers, alone."""
        assert reply.row is not None
        try:
            finite(NOT_FINITE)
        except GenerationError as error:
            reply.end(error)
        reply.row.ids = []

    def _drop(self, reply: Reply) -> None:
        """Free the row of a reply that has ended; the lock is held."""
        self._running.remove(reply)
        reply.leave_row()
        reply.end()
        self._held_back = False
        seconds = time.monotonic() - reply.admitted
        known = seconds if self._seconds is None else self._seconds
        self._seconds = known + NEWEST_WEIGHT * (seconds - known)

    def _out_of_memory(self, error: ModelError) -> None:
        """Let the newest reply wait for another to end; the only one ends with the error."""
        self._finish_launched()
        with self._changed:
            alive = [reply for reply in self._running if not (reply.ended or reply.cancelled)]
            if not alive:
                return
            newest = alive[-1]
            if newest.row is not None:
                newest.row.ids = []
            if len(alive) == 1:
                newest.end(error)
                return
            self._running.remove(newest)
            newest.leave_row()
            self._waiting.appendleft(newest)
            self._held_back = True


class _Task:
    """Something to do between two steps."""

    def __init__(self, run: Callable[[], None]) -> None:
        self._run = run
        self.error: BaseException | None = None
        self.over = threading.Event()

    def run(self) -> None:
        """Do it, and keep its error for who waits."""
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self.error = error
        self.over.set()


def _part(reply: Reply, room: int) -> Part:
    assert reply.row is not None
    start = len(reply.row.ids)
    stop = min(len(reply.text), start + room)
    return Part(reply, start, stop, stop == len(reply.text))


def _told(error: BaseException) -> BaseException:
    """Return the error as a reader is told it: one for each, since raising it changes it."""
    if isinstance(error, VoiceRAGError):
        told: BaseException = type(error)(str(error))
    else:
        told = GenerationError(
            f"the language model stopped with {type(error).__name__}: {error}; ask again"
        )
    told.__cause__ = error
    return told
