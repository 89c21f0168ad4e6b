"""One spoken reply: speech tokens in as they are generated, samples out as soon as final."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from voicerag_core.cancellation import check_cancelled
from voicerag_core.closing import Closing
from voicerag_core.errors import GenerationError
from voicerag_core.glm.decoder.blocks import Block, Decoded
from voicerag_core.glm.decoder.networks import DecoderNetworks
from voicerag_core.glm.decoder.playout import INTERRUPTED, Playout
from voicerag_core.glm.decoder.schedule import Schedule, checked_tokens
from voicerag_core.glm.decoder.service import DecodingService, Task, expected_seconds
from voicerag_core.glm.decoder.vocoder import VocoderStream
from voicerag_core.glm.pace import Pace
from voicerag_core.glm.turns import turns_on
from voicerag_core.types import Samples

__all__ = ["DecoderStream"]

NEAR_TOKENS = 10
"""A block lacks at most this many tokens when it is about to be complete."""
FLOWING_SECONDS = 0.2
"""Tokens that came within this time are followed by more: ids come more often even while prompts
are read."""
DECODING_AGAIN = 1.5
"""The next block may take this many times the longest yet to be decoded."""
RESERVE = 0.04
"""Seconds that a block may wait for others and for its turn."""


class DecoderStream(Closing):
    """Decodes one reply; made by `SpeechDecoder.open_stream`. For one thread at a time.

    The sound depends only on the tokens and the schedule, not on how the tokens are split over
    calls; decoded together with blocks of other replies, its mel may differ by rounding, see
    `SpeechDecoder`. In a crowd (`DecodingService.crowded`) the sound of a first block would end
    before the second one of everybody is decoded: there the first two blocks of the schedule are
    one, which is the sound of a schedule that begins so. Every token becomes sound: n tokens give
    `SpeechDecoder.samples` (n) samples. Memory is bounded.

    Args:
        networks: Shared.
        service: Shared.
        schedule: How the reply is cut.
        ids_until: See `SpeechTokenDecoder.open_stream`.
        pace: See there.
    """

    def __init__(
        self,
        networks: DecoderNetworks,
        service: DecodingService,
        schedule: Schedule,
        *,
        ids_until: Callable[[int], int] | None = None,
        pace: Pace | None = None,
    ) -> None:
        schedule.check(networks.config.flow.block_tokens)
        self._networks = networks
        self._service = service
        self._schedule = schedule
        self._vocoder: VocoderStream | None = networks.vocoder_stream()
        self._tokens: list[int] = []  # from `_first` on
        self._first = 0
        self._decoded = 0  # tokens whose mel was made
        self._stop = 0  # tokens whose mel is made, when the block in work is done
        self._blocks = 0
        self._known = (-1, 0)  # a block, and its padded mel frames
        self._task: Task | None = None
        self._turns = turns_on(networks.device)
        self._pace = Pace() if pace is None else pace
        self._ids_until = (lambda tokens: tokens) if ids_until is None else ids_until
        self._playout = Playout(
            schedule,
            token_rate=networks.config.flow.token_rate,
            ids_until=self._ids_until,
            seconds_for=self._turns.seconds_for,
        )
        self._held_back: list[Samples] = []  # sound that is not played yet
        self._played: float | None = None  # when the sound given so far ends, if played at once
        self._came = 0.0  # when the last token came, by `Turns.free`
        self._fed = False  # whether an id came
        self._together = False  # whether the first two blocks are decoded as one
        self._began = 0.0  # when the block in work was complete
        mels = networks.config.flow.mels
        empty = torch.zeros(1, mels, 0, device=networks.device)
        self._past = empty  # final mel of the history, before the frames in `_held`
        self._held = empty  # mel that the next block makes again
        service.opened(self)

    @property
    def closed(self) -> bool:
        """Whether it was closed or finished."""
        return self._vocoder is None

    def close(self) -> None:
        """Stop and release the state; nothing more can be decoded. May be called again."""
        if self._task is not None:
            self._service.drop(self._task)
        self._service.closed(self)
        self._task = self._vocoder = None
        self._tokens.clear()
        self._held_back.clear()
        self._past = self._held = torch.zeros(1, self._networks.config.flow.mels, 0)

    def push(self, tokens: Iterable[int]) -> Samples:
        """Take more speech tokens; decode what they complete, and return what became final.

        Args:
            tokens: 0 up to the size of the vocabulary.

        Returns:
            Shape [L], float32, at `SpeechDecoder.sample_rate`; often empty.

        Raises:
            GenerationError: A token is out of range, or the stream is closed.
            CancelledError: The running call was cancelled; the stream is closed.
        """
        self._accept(tokens)
        made: list[Samples] = []
        while self._task is not None or self._complete:
            made.append(self._next(last=False))
        return self._given(made)

    @property
    def wants(self) -> int:
        """See `SpeechStream`: tokens until the next block is complete."""
        if self._held_back:
            return 0
        have = self._first + len(self._tokens)
        if self._task is None:
            return max(0, self._decoded + self._size - have)
        return max(0, self._stop + self._schedule.block(self._blocks + self._parts) - have)

    def feed(self, tokens: Iterable[int], *, ids: int = 1) -> Samples:
        """Take more speech tokens, and return what has become final without waiting for it.

        Only the first block is waited for, if no other reply is being decoded: its sound is wanted
        at once. Call it when ids of the language model have come, with no tokens for those that
        are none: from the pace of the calls it tells whether the first sound would end before the
        next comes, and then holds it back for a while; see `Playout`.

        Args:
            tokens: As of `push`.
            ids: How many have come since the last call.

        Returns:
            As of `push`.

        Raises:
            GenerationError: A token is out of range, or the stream is closed.
            CancelledError: The running call was cancelled; the stream is closed.
            ModelError: The device has too little memory; the stream is closed.
        """
        self._accept(tokens)
        self._playout.ids_came(ids)
        self._fed = self._fed or ids > 0
        made: list[Samples] = []
        try:
            check_cancelled()
            if self._task is not None and self._task.done.is_set():
                made.append(self._take(self._task.result(), self._task.seconds))
            self._note_crowd()
            if self._task is None and not self._blocks and self._complete:
                block = self._block(last=False)
                decoded = self._service.alone(block, self._deadline())
                if decoded is None:
                    self._submit(block)
                else:
                    made.append(self._take(decoded, time.monotonic() - self._began))
            self._held_back += [piece for piece in made if piece.size]
            ready = self._held_back and (self._playout.started or self._ready())
            sound = self._given([]) if ready else _joined([])
            if self._task is None and self._complete:
                self._submit(self._block(last=False))
        except BaseException:
            self.close()
            raise
        return sound

    def rest(self) -> Iterator[Samples]:
        """Yield the rest of the sound as it becomes final, and close.

        Raises:
            GenerationError: The stream is closed.
            CancelledError: The running call was cancelled; the stream is closed.
            ModelError: The device has too little memory; the stream is closed.
        """
        self._open()
        try:
            while self._task is not None or self._complete:
                piece = self._given([self._next(last=False)])
                if piece.size:
                    yield piece
            piece = self._given([self._next(last=True)])
        finally:
            self.close()
        if piece.size:
            yield piece

    def finish(self) -> Samples:
        """Return the rest of the sound and close; empty when there were no tokens.

        Raises:
            GenerationError: The stream is closed.
            CancelledError: The running call was cancelled; the stream is closed.
            ModelError: The device has too little memory; the stream is closed.
        """
        return _joined(list(self.rest()))

    @property
    def _complete(self) -> bool:
        """Whether the next block has its tokens."""
        waiting = len(self._tokens) - (self._decoded - self._first)
        return waiting >= self._size

    def _note_crowd(self) -> None:
        """Let the first block wait for the second where both are played together anyway."""
        if self._task is None and not self._blocks and self._complete:
            self._together = self._together or self._service.crowded

    @property
    def _parts(self) -> int:
        """How many blocks of the schedule the next one is, or the one in work."""
        return 2 if self._together and not self._blocks else 1

    @property
    def _size(self) -> int:
        """Tokens of the next block, or of the one in work."""
        return sum(self._schedule.block(self._blocks + part) for part in range(self._parts))

    def _open(self) -> VocoderStream:
        if self._vocoder is None:
            raise GenerationError("this stream is closed; open one for each reply")
        return self._vocoder

    @property
    def _missing(self) -> int:
        """Tokens that the next block lacks."""
        if self._task is not None:
            return 0
        have = len(self._tokens) - (self._decoded - self._first)
        return max(0, self._size - have)

    @property
    def wanting(self) -> bool:
        """See `Coming`."""
        return self._fed and (self._played is None or self._played < time.monotonic())

    def spare(self, step: float) -> float:
        """See `Playing`: until the sound that was given ends, less what the next block takes."""
        played = self._played
        if played is None or self.closed:
            return math.inf
        lacks = self._missing
        ids = self._ids_until(lacks) if lacks else 0
        if ids and self._pace.progress is not None:
            ids = max(0, ids - self._pace.progress()[0])
        decoding = max(DECODING_AGAIN * self._playout.decoding, expected_seconds(self._length()))
        needed = INTERRUPTED * ids * step + decoding + RESERVE
        return played - time.monotonic() - needed

    def coming(self) -> int:
        """See `Coming`."""
        lacks, came = self._missing, self._came
        size = self._size
        if self.closed or not lacks:
            return 0
        if self._pace.progress is not None:
            written, at = self._pace.progress()
            text = self._ids_until(1) - 1
            if written > text:  # speech that was not handed over yet
                lacks, came = max(1, lacks - written + text), max(came, at)
        if lacks > min(NEAR_TOKENS, size - 1) or self._turns.free() - came >= FLOWING_SECONDS:
            return 0
        return self._length()

    def _length(self) -> int:
        """Return the padded mel frames of the next block, or of the one in work."""
        key = self._blocks + self._parts
        if self._known[0] != key:
            frames = self._networks.flow.frames
            stop = self._decoded + self._size
            whole = self._networks.shapes.flow_length(frames(stop) - frames(self._first))
            self._known = key, whole
        return self._known[1]

    def _ready(self) -> bool:
        seconds = sum(len(piece) for piece in self._held_back) / self._networks.config.sample_rate
        return self._playout.ready(
            seconds,
            blocks=self._blocks,
            missing=self._missing,
        )

    def _given(self, made: list[Samples]) -> Samples:
        """Return sound that is played now, and what was held back before it."""
        sound = _joined([*self._held_back, *made])
        self._held_back.clear()
        if sound.size:
            self._playout.started = True
            begun = time.monotonic() if self._played is None else self._played
            self._played = begun + len(sound) / self._networks.config.sample_rate
            if self._task is not None:
                self._task.first, self._task.deadline = False, self._played
        return sound

    def _accept(self, tokens: Iterable[int]) -> None:
        self._open()
        more = checked_tokens(tokens, self._networks.config.flow.vocab_size)
        if more:
            self._came = self._turns.free()
        self._tokens += more

    def _next(self, *, last: bool) -> Samples:
        """Wait for the next block."""
        try:
            check_cancelled()
            if self._task is not None:
                return self._take(self._service.wait(self._task), self._task.seconds)
            block = self._block(last=last)
            decoded = self._service.alone(block, self._deadline())
            if decoded is not None:
                return self._take(decoded, time.monotonic() - self._began)
            task = self._submit(block)
            return self._take(self._service.wait(task), task.seconds)
        except BaseException:
            self.close()
            raise

    def _submit(self, block: Block) -> Task:
        self._task = self._service.submit(
            block,
            self._deadline(),
            first=self._played is None,
            wake=self._pace.wake,
        )
        return self._task

    def _block(self, *, last: bool) -> Block:
        stop = self._first + len(self._tokens)
        if not last:
            stop = self._decoded + self._size
        self._stop = stop
        self._began = time.monotonic()
        frames = self._networks.flow.frames
        return Block(
            tokens=tuple(self._tokens[: stop - self._first]),
            first=self._first,
            fresh=stop - self._decoded,
            past=self._past,
            held=self._held,
            vocoder=self._open(),
            last=last,
            forget=frames(self._kept_from(stop)) - frames(self._first),
        )

    def _take(self, decoded: Decoded, seconds: float) -> Samples:
        """Continue from a block that was decoded in some seconds, and return its sound."""
        self._playout.decoded(seconds)
        self._task = None
        self._blocks += self._parts
        self._decoded = self._stop
        first = self._kept_from(self._stop)
        self._tokens = self._tokens[first - self._first :]
        self._first = first
        self._past, self._held = decoded.past, decoded.held
        self._vocoder = decoded.vocoder
        return decoded.sound

    def _kept_from(self, decoded: int) -> int:
        """Return the first token that the next block needs, when so many are decoded."""
        block = self._networks.config.flow.block_tokens
        needed = max(0, decoded - self._schedule.history_tokens) // block * block
        return max(self._first, needed)

    def _deadline(self) -> float:
        """Return when the next sound is wanted."""
        return time.monotonic() if self._played is None else self._played


def _joined(pieces: list[Samples]) -> Samples:
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
