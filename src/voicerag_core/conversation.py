"""Several questions in a row: turns, follow-ups, questions that are not over yet, what was heard.

A `Conversation` keeps what one user and the documents said to each other, and hands it to every
question: the search finds passages for "and when was he born?", and the model goes on from the
earlier turns. It has no clock and knows no microphone; whoever plays the answer says how much of it
was heard.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Final

from voicerag_core.cancellation import Cancellation, check_cancelled
from voicerag_core.closing import Closing
from voicerag_core.errors import CancelledError, ConfigError
from voicerag_core.filters import Filter
from voicerag_core.ports import RemembersReplies
from voicerag_core.rag import VoiceRAG, checked_instructions
from voicerag_core.types import Answer, Found, Question, Retrieved, Sampling, Strategy, Turn

__all__ = ["MOST_TURNS", "Conversation", "Speculation"]

MOST_TURNS: Final = 20
"""Turns that are kept and shown to the model, the latest ones."""

_POLL_SECONDS = 0.05
_BEYOND_SECONDS = 0.001
"""What an end may lie beyond the sound, for rounding to milliseconds."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """The end of a piece of speech: in the sound in seconds, and in the spoken words."""

    seconds: float
    character: int


@dataclass(slots=True)
class _Kept:
    """A turn as it is being made.

    Args:
        question: As it was asked.
        answer: What came so far, without its sound.
        marks: The end of each piece of speech.
        heard: Seconds that were heard, if it was cut.
        running: Whether pieces may still come.
        complete: Whether all pieces came.
    """

    question: Question
    answer: Answer = field(default_factory=Answer)
    marks: list[_Mark] = field(default_factory=list)
    heard: float | None = None
    running: bool = True
    complete: bool = False

    def add(self, piece: Answer) -> None:
        """Take the next piece."""
        self.answer += replace(piece, audio=None)
        if piece.audio is not None:
            spoken = len(self.answer.spoken)
            self.marks.append(_Mark(self.seconds + piece.audio.seconds, spoken))

    @property
    def seconds(self) -> float:
        """Length of the speech so far."""
        return self.marks[-1].seconds if self.marks else 0.0

    @property
    def turn(self) -> Turn:
        """The turn as it was heard."""
        return Turn(self.question, self.answer if self.heard is None else self._cut(self.heard))

    def _cut(self, seconds: float) -> Answer:
        if self.complete and 0 < self.seconds <= seconds + _BEYOND_SECONDS:
            return self.answer
        words = self.answer.spoken[: self._characters(seconds)].rstrip()
        return replace(self.answer, text=words, spoken=words)

    def _characters(self, seconds: float) -> int:
        """Return where the words end that were heard: whole pieces, and a share of one."""
        begun = _Mark(0.0, 0)
        for mark in self.marks:
            if mark.seconds <= seconds + _BEYOND_SECONDS:
                begun = mark
                continue
            said = self.answer.spoken[begun.character : mark.character]
            share = (seconds - begun.seconds) / (mark.seconds - begun.seconds)
            words = said.split()
            kept = words[: int(share * len(words))]
            return begun.character + _end_of(said, len(kept))
        return begun.character


class Speculation(Closing):
    """A search for a question that may not be over, on a thread of its own.

    `Conversation.stream` takes it in place of the question. Thread-safe.

    Args:
        rag: Searches.
        question: What was said so far.
        history: Earlier turns.
        where: Metadata filter.
        limit: Most hits.
        min_score: Least cosine similarity.
        strategy: How it is searched.
        on_found: Is told the passages as soon as they are known, on that thread; see
            `VoiceRAG.prepare`.
    """

    def __init__(
        self,
        rag: VoiceRAG,
        question: Question,
        *,
        history: Sequence[Turn] = (),
        where: Filter | None = None,
        limit: int | None = None,
        min_score: float | None = None,
        strategy: Strategy | None = None,
        on_found: Callable[[Found], None] | None = None,
    ) -> None:
        self.question = rag.checked(question)
        self._cancellation = Cancellation()
        self._done = threading.Event()
        self._found: Retrieved | None = None
        self._error: BaseException | None = None

        def work() -> None:
            try:
                with self._cancellation.active():
                    self._found = rag.prepare(
                        self.question,
                        history=history,
                        where=where,
                        limit=limit,
                        min_score=min_score,
                        strategy=strategy,
                        on_found=on_found,
                    )
            except BaseException as error:  # noqa: BLE001 - raised again by who wants the result
                self._error = error
            finally:
                self._done.set()

        threading.Thread(target=work, name="voicerag-speculation").start()

    @property
    def done(self) -> bool:
        """Whether the result is there, or the reason for none."""
        return self._done.is_set()

    @property
    def cancelled(self) -> bool:
        """Whether it was thrown away."""
        return self._cancellation.cancelled

    def result(self) -> Retrieved:
        """Wait for what was found.

        Raises:
            CancelledError: It was thrown away, or the running call was cancelled.
            VoiceRAGError: What the search raised.
        """
        while not self._done.wait(_POLL_SECONDS):
            check_cancelled()
        if self.cancelled:
            raise CancelledError("the speculation was thrown away; search for the whole question")
        if self._error is not None:
            raise self._error
        assert self._found is not None
        return self._found

    def cancel(self) -> None:
        """Throw it away: return at once, and start no further stage of it."""
        self._cancellation.cancel()

    def close(self) -> None:
        """Throw it away."""
        self.cancel()


class Conversation:
    """A conversation with the documents.

    Questions are answered one after another; while one is answered, other threads may call
    `truncate` and `speculate`.

    Args:
        rag: Searches and answers.
        history: Turns that came before, oldest first.
        instructions: The manner of answering; None takes those of `rag`.
        sampling: For models that generate; None takes that of `rag`.
        where: Metadata filter.
        limit: Most hits; None takes that of `rag`, and so it is with the next two.
        min_score: Least cosine similarity of a hit.
        strategy: How spoken questions are searched.
        most_turns: Turns that are kept, the latest ones.

    Raises:
        ConfigError: The instructions are too long, or no turn would be kept.
    """

    def __init__(
        self,
        rag: VoiceRAG,
        *,
        history: Sequence[Turn] = (),
        instructions: str | None = None,
        sampling: Sampling | None = None,
        where: Filter | None = None,
        limit: int | None = None,
        min_score: float | None = None,
        strategy: Strategy | None = None,
        most_turns: int = MOST_TURNS,
    ) -> None:
        if most_turns < 1:
            raise ConfigError(f"a conversation keeps at least 1 turn, not {most_turns}")
        self._rag = rag
        self._most_turns = most_turns
        self._lock = threading.Lock()
        self._kept: list[_Kept] = []
        self.sampling = sampling
        self.where, self.limit = where, limit
        self.min_score, self.strategy = min_score, strategy
        self.instructions = instructions
        for turn in history:
            self.add(turn)

    @property
    def instructions(self) -> str | None:
        """The manner of answering from the next question on; None: that of the pipeline."""
        return self._instructions

    @instructions.setter
    def instructions(self, given: str | None) -> None:
        self._instructions = None if given is None else checked_instructions(given)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """What was asked, and what was heard of the answers, oldest first; without their sound."""
        with self._lock:
            return tuple(kept.turn for kept in self._kept)

    def spoken_seconds(self, turn: int = -1) -> float:
        """Return how much speech an answer has so far: the most that `truncate` takes.

        Raises:
            ConfigError: There is no such turn.
        """
        with self._lock:
            return self._at(turn).seconds

    def add(self, turn: Turn) -> None:
        """Append a turn that was made elsewhere."""
        with self._lock:
            kept = _Kept(turn.question, running=False, complete=True)
            kept.add(turn.answer)
            self._append(kept)

    def remove(self, turn: int = -1) -> None:
        """Forget a turn.

        Args:
            turn: Its index in `turns`.

        Raises:
            ConfigError: There is no such turn.
        """
        with self._lock:
            self._kept.remove(self._at(turn))

    def speculate(
        self, question: Question, *, on_found: Callable[[Found], None] | None = None
    ) -> Speculation:
        """Start to search for what was said so far, and to transcribe it if that will be needed.

        Pass the result to `stream` if nothing more was said; cancel it otherwise.

        Args:
            question: What was said so far.
            on_found: Is told the passages as soon as they are known, on a thread of its own: those
                found by sound, if the search also needs the words, and those that stay.

        Raises:
            AudioError: The clip cannot be used.
            ConfigError: The question is empty.
        """
        return Speculation(
            self._rag,
            question,
            history=self.turns,
            where=self.where,
            limit=self.limit,
            min_score=self.min_score,
            strategy=self.strategy,
            on_found=on_found,
        )

    def stream(
        self,
        question: Question | Speculation,
        *,
        instructions: str | None = None,
        sampling: Sampling | None = None,
        on_found: Callable[[Found], None] | None = None,
    ) -> Generator[Answer, None, None]:
        """Answer the next question in pieces; see `VoiceRAG.stream`.

        The turn is kept from its first piece on, also when the generator is closed or the call is
        cancelled: with what came so far. A question that fails before its first piece is not kept.

        Args:
            question: Spoken or typed, or a `Speculation`, whose result is used.
            instructions: The manner of this answer; None takes that of the conversation.
            sampling: Of this answer; None takes that of the conversation.
            on_found: As in `VoiceRAG.stream`; a `Speculation` tells its own.

        Raises:
            CancelledError: The speculation was thrown away, or the call was cancelled.
            VoiceRAGError: As `VoiceRAG.stream`.
        """
        history = self.turns
        prepared = question.result() if isinstance(question, Speculation) else None
        asked = question.question if isinstance(question, Speculation) else question
        asked = self._rag.checked(asked)
        pieces = self._rag.stream(
            asked,
            history=history,
            where=self.where,
            limit=self.limit,
            min_score=self.min_score,
            strategy=self.strategy,
            instructions=self.instructions if instructions is None else instructions,
            sampling=sampling or self.sampling,
            prepared=prepared,
            on_found=on_found,
        )
        yield from self._followed(_Kept(asked), pieces)

    def ask(
        self,
        question: Question | Speculation,
        *,
        instructions: str | None = None,
        sampling: Sampling | None = None,
    ) -> Answer:
        """Answer the next question: the sum of `stream`."""
        pieces = self.stream(question, instructions=instructions, sampling=sampling)
        return sum(pieces, Answer())

    def truncate(self, seconds: float, *, turn: int = -1) -> Turn:
        """Keep of an answer only what was heard.

        Its text becomes the words that were heard: whole pieces of speech, and of the one that was
        cut a share of its words. The question stays, and so do the passages. Works while the answer
        is streamed, too: what comes of it later is not kept. A second call can only shorten.

        Args:
            seconds: How much of the answer's speech was played, 0 or more.
            turn: Index in `turns`.

        Returns:
            The turn as it is kept.

        Raises:
            ConfigError: There is no such turn, or it has less speech.
        """
        with self._lock:
            kept = self._at(turn)
            if not 0 <= seconds <= kept.seconds + _BEYOND_SECONDS:
                raise ConfigError(
                    f"the answer has {kept.seconds:.3f} s of speech so far, and {seconds:.3f} s "
                    "cannot have been heard of it"
                )
            before = kept.turn
            kept.heard = seconds if kept.heard is None else min(seconds, kept.heard)
            after = kept.turn
            running = kept.running
        if not running:
            self._tell_model(before, after, seconds)
        return after

    def _followed(self, kept: _Kept, pieces: Iterator[Answer]) -> Generator[Answer, None, None]:
        """Pass the pieces of a turn on, and keep what they add up to."""
        begun = False
        try:
            with closing(pieces):  # type: ignore[type-var] # a generator
                for piece in pieces:
                    with self._lock:
                        if not begun:
                            self._append(kept)
                            begun = True
                        if kept.heard is None:
                            kept.add(piece)
                    yield piece
            with self._lock:
                kept.complete = kept.heard is None
        finally:
            with self._lock:
                whole = Turn(kept.question, kept.answer)
                kept.running = False
                heard, cut = kept.heard, kept.turn
            if heard is not None:
                self._tell_model(whole, cut, heard)

    def _tell_model(self, whole: Turn, heard: Turn, seconds: float) -> None:
        model: object = self._rag.model
        if isinstance(model, RemembersReplies) and whole != heard:
            model.cut(whole, heard, seconds=seconds)

    def _append(self, kept: _Kept) -> None:
        self._kept.append(kept)
        del self._kept[: -self._most_turns]

    def _at(self, turn: int) -> _Kept:
        try:
            return self._kept[turn]
        except IndexError as error:
            raise ConfigError(
                f"there is no turn {turn}; the conversation has {len(self._kept)}"
            ) from error


def _end_of(text: str, words: int) -> int:
    """Return where the first words of a text end."""
    end = 0
    for word in text.split()[:words]:
        end = text.index(word, end) + len(word)
    return end
