"""The answers of a session: begun, given, interrupted, and what was heard of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from voicerag_core import Answer, Audio, AudioError, Found, Question, Turn, VoiceRAGError
from voicerag_core.serving import message_for_caller
from voicerag_web.errors import RequestError, error_code
from voicerag_web.realtime.config import MOST_INSTRUCTIONS, SessionConfig
from voicerag_web.realtime.events import error_event, event, new_id
from voicerag_web.realtime.inquiry import Inquiry, SessionLimits, Work
from voicerag_web.realtime.items import Item, Items
from voicerag_web.realtime.reply import Emit, Reply, ReplyForm

__all__ = ["Answers"]

TRUNCATE_SECONDS: Final = 2.0
"""How long an interrupted answer waits for the client to say what was heard."""

_NOT_HEARD: Final = "I did not hear a question."


@dataclass(slots=True)
class _Running:
    """An answer that is being made.

    Args:
        reply: What is sent of it.
        asked: The question.
        prepared: Number of the search that began before the question was over.
        apologising: Whether it says that nothing was heard.
    """

    reply: Reply
    asked: Item | None
    prepared: int | None = None
    apologising: bool = False


@dataclass(slots=True)
class _Unconfirmed:
    """An interrupted answer whose client has not said yet what was heard of it."""

    item: Item
    until: float
    played: float


class Answers:
    """The answers that are being given, and the transcripts that are being made.

    Args:
        items: The conversation.
        work: Does what takes time.
        emit: Sends an event, or sound as bytes.
        clock: Returns seconds.
        limits: Limits of the session.
        measure: Takes a stage of an answer and the seconds from the end of the question.
    """

    def __init__(
        self,
        items: Items,
        work: Work,
        emit: Emit,
        clock: Callable[[], float],
        *,
        limits: SessionLimits,
        measure: Callable[[str, float], None],
    ) -> None:
        self._items, self._work, self._emit, self._clock = items, work, emit, clock
        self._limits, self._measure = limits, measure
        self.config = SessionConfig()
        self.spoke = False
        """Whether an answer was spoken already."""
        self._conversation = new_id("conv")
        self._running: dict[int, _Running] = {}
        self._transcribing: dict[int, Item] = {}
        self._number = 0
        self._waiting: Item | None = None
        self._unconfirmed: _Unconfirmed | None = None
        self._last: Reply | None = None

    def next(self) -> int:
        """Return a new number for work."""
        self._number += 1
        return self._number

    @property
    def busy(self) -> bool:
        """Whether an answer is being given."""
        return bool(self._running)

    @property
    def names(self) -> list[str]:
        """The ids of the responses that are being given."""
        return [running.reply.name for running in self._running.values()]

    def later(self, item: Item) -> None:
        """Answer an item when nothing else is answered any more."""
        self._waiting = item

    def respond(
        self,
        item: Item | None,
        *,
        began: float,
        config: SessionConfig | None = None,
        kept: bool = True,
        turns: tuple[Turn, ...] | None = None,
        wanted: Mapping[str, Any] | None = None,
        prepared: int | None = None,
        found: Found | None = None,
    ) -> None:
        """Begin to answer an item; without one, what the request's instructions ask.

        Args:
            item: The question.
            began: When it ended, in seconds.
            config: How it is answered; None: as the session has it.
            kept: Whether question and answer become a part of the conversation.
            turns: Earlier turns; None: those of the conversation.
            wanted: The client's request.
            prepared: Number of a search that began before the question was over.
            found: What that has found so far.

        Raises:
            RequestError: There is no question, or it is too long.
        """
        config = config or self.config
        wanted = wanted or {}
        question = None if item is None else item.question
        if question is None:
            question = str(wanted.get("instructions") or "").strip() or None
        if question is None:
            raise RequestError(
                "there is no question to answer; send one with conversation.item.create or "
                "input_audio_buffer.append first",
                "response",
                "no_question",
            )
        if isinstance(question, str) and len(question) > self._limits.question_chars:
            raise RequestError(
                f"the question has {len(question)} characters, and "
                f"{self._limits.question_chars} are taken; shorten it",
                "response.input",
                "text_too_long",
            )
        self.assume_heard()
        self._leave_words_to_answer(item)
        history = self._items.turns(item) if turns is None else turns
        number = self.next()
        answer = Item(new_id("item"), "assistant", status="in_progress")
        reply = Reply(
            new_id("resp"),
            answer,
            self._form(config, kept=kept, metadata=wanted.get("metadata")),
            self._emit,
            conversation=self._conversation,
            began=began,
            measure=self._measure,
        )
        self._running[number] = _Running(reply, item, prepared)
        if kept:
            reply.previous = self._items.add(answer)
        self._last = reply
        self.spoke = self.spoke or config.speaks
        reply.begin()
        if found is not None:
            reply.found(found, self._clock())
        asked = self.inquiry(question, history, config, prepared)
        answer.exchange = self._work.answer(number, asked)

    def inquiry(
        self,
        question: Question,
        history: tuple[Turn, ...],
        config: SessionConfig,
        prepared: int | None = None,
    ) -> Inquiry:
        """Return what is asked of the work below.

        Args:
            question: Spoken or typed.
            history: Earlier turns.
            config: How it is answered.
            prepared: Number of a search that began before the question was over.
        """
        said = "\n".join([config.instructions, *self._items.instructions()]).strip()
        return Inquiry(
            question,
            history,
            config.speaks,
            said[:MOST_INSTRUCTIONS],
            config.most_tokens,
            config.voicerag,
            config.audio.input.transcription is not None,
            prepared,
        )

    def found(self, number: int, found: Found) -> None:
        """Tell the passages of a question whose answer has not begun.

        Args:
            number: Of the answer, or of the search that began before the question was over.
            found: What is known so far.
        """
        for own, running in self._running.items():
            if number in (own, running.prepared):
                running.reply.found(found, self._clock())

    def piece(self, number: int, piece: Answer) -> None:
        """Take a piece of an answer; one of an answer that was given up is dropped."""
        running = self._running.get(number)
        if running is None:
            return
        if piece.transcript is not None and running.asked is not None:
            self._heard_words(running.asked, piece.transcript)
        running.reply.add(piece, self._clock())
        self._settle()

    def ended(self, number: int, error: VoiceRAGError | None = None) -> None:
        """Note that an answer is complete, or why it is not."""
        running = self._running.get(number)
        if running is None:
            return
        if isinstance(error, AudioError) and not running.apologising:
            running.apologising = True
            if running.asked is not None:
                self._not_heard(running.asked, error)
            self._work.say(number, _NOT_HEARD, speaks=running.reply.form.speaks)
            return
        failure = None
        if error is not None:
            code = error_code(error)
            kind = "invalid_request_error" if code == "invalid_value" else "server_error"
            failure = (code, kind)
            self._emit(error_event(message_for_caller(error), code=code, kind=kind))
        self._wordless(running)
        running.reply.end(self._clock(), failure)
        self._settle()

    def transcribed(self, number: int, text: str, error: VoiceRAGError | None = None) -> None:
        """Take a transcript, or the reason why there is none."""
        item = self._transcribing.pop(number, None)
        if item is None:
            return
        if error is not None:
            self._not_heard(item, error)
        else:
            self._heard_words(item, text)

    def cancel(self, reason: str, *, item: Item | None = None, name: object | None = None) -> bool:
        """End responses here; return whether there were any.

        Args:
            reason: Why, as `status_details` tell it.
            item: Only the response that fills this item.
            name: Only the response of this id.
        """
        chosen = [
            number
            for number, running in self._running.items()
            if item in (None, running.reply.item) and name in (None, running.reply.name)
        ]
        for number in chosen:
            running = self._running.pop(number)
            self._work.stop(number)
            running.reply.cancel(reason)
            self._tidy(running)
            self._wordless(running)
        return bool(chosen)

    def interrupt(self, reason: str) -> None:
        """End what is being said, and note how much of it can have been heard."""
        now = self._clock()
        last = self._last
        unsaid = last is not None and last.active and last.form.speaks
        self.cancel(reason)
        if last is None or not last.item.content:
            return
        if unsaid and last.first_sound is None:
            self.cut(last.item, 0.0)  # words that were written, and none of them heard
        elif last.may_sound(now):
            self._unconfirmed = _Unconfirmed(
                last.item, now + TRUNCATE_SECONDS, last.played_seconds(now)
            )

    def cut(self, item: Item, seconds: float) -> None:
        """Keep of an answer only what was heard."""
        if self._unconfirmed is not None and self._unconfirmed.item is item:
            self._unconfirmed = None
        if item.exchange is None or not item.content:
            return
        turn = item.exchange.truncate(seconds)
        if turn is not None:
            item.content[0].text = turn.answer.text

    def assume_heard(self) -> None:
        """Cut an interrupted answer to what a client that plays at once has played."""
        pending, self._unconfirmed = self._unconfirmed, None
        if pending is not None and pending.played * 1000 < pending.item.content[0].audio_ms:
            self.cut(pending.item, pending.played)

    def transcribe(self, item: Item) -> None:
        """Transcribe an item that no answer follows, if the client asked for transcripts."""
        audio = item.question
        if self.config.audio.input.transcription is not None and isinstance(audio, Audio):
            number = self.next()
            self._transcribing[number] = item
            self._work.transcribe(number, audio)

    def _leave_words_to_answer(self, item: Item | None) -> None:
        """Give up the transcript of an item that is answered: the answer brings its words."""
        for number, transcribed in list(self._transcribing.items()):
            if transcribed is item:
                del self._transcribing[number]
                self._work.stop(number)

    def may_sound(self, now: float) -> bool:
        """Return whether an answer may still be playing at the client."""
        return self._last is not None and self._last.may_sound(now)

    def _form(self, config: SessionConfig, *, kept: bool, metadata: object) -> ReplyForm:
        output = config.audio.output
        own = config.voicerag
        return ReplyForm(
            config.speaks,
            output.format.rate,
            output.voice,
            own.binary,
            own.sources,
            own.timing,
            kept,
            metadata if isinstance(metadata, dict) else None,
            config.max_output_tokens,
        )

    def _settle(self) -> None:
        """Forget the answers that are given, and begin with one that waited."""
        for number, running in list(self._running.items()):
            if not running.reply.active:
                del self._running[number]
                self._tidy(running)
        if self._waiting is not None and not self._running:
            item, self._waiting = self._waiting, None
            self.respond(item, began=self._clock())

    def _tidy(self, running: _Running) -> None:
        """Drop what no later turn needs: an answer without words, the sound of a known question."""
        answer = running.reply.item
        if not answer.content and running.reply.form.kept:
            self._items.discard(answer)
        if running.asked is not None and answer.content:
            for part in running.asked.content:
                if part.known:
                    part.audio = None

    def _wordless(self, running: _Running) -> None:
        """Transcribe a question that was answered by its sound alone, if that was asked for."""
        item = running.asked
        if item is not None and not item.failed and not all(part.known for part in item.content):
            self.transcribe(item)

    def _heard_words(self, item: Item, words: str) -> None:
        """Tell the words of a spoken question, once."""
        part = next((part for part in item.content if part.kind == "input_audio"), None)
        if part is None or part.known:
            return
        part.text, part.known = words, True
        seconds = 0.0 if part.audio is None else round(part.audio.seconds, 3)
        head = {"item_id": item.id, "content_index": item.content.index(part)}
        name = "conversation.item.input_audio_transcription"
        if self.config.audio.input.transcription is not None:
            self._emit(event(f"{name}.delta", delta=words, **head))
        usage = {"type": "duration", "seconds": seconds}
        self._emit(event(f"{name}.completed", transcript=words, usage=usage, **head))

    def _not_heard(self, item: Item, error: VoiceRAGError) -> None:
        """Tell why a spoken question has no words, once."""
        if item.failed:
            return
        item.failed = True
        code = "no_speech" if isinstance(error, AudioError) else error_code(error)
        told = {
            "type": "transcription_error",
            "code": code,
            "message": message_for_caller(error),
            "param": None,
        }
        self._emit(
            event(
                "conversation.item.input_audio_transcription.failed",
                item_id=item.id,
                content_index=0,
                error=told,
            )
        )

    def tick(self) -> float | None:
        """Send what is due; return the seconds until something is due again."""
        now = self._clock()
        waits = [running.reply.tick(now) for running in list(self._running.values())]
        self._settle()
        if self._unconfirmed is not None:
            waits.append(max(0.0, self._unconfirmed.until - now))
            if now >= self._unconfirmed.until:
                self.assume_heard()
        return min((wait for wait in waits if wait is not None), default=None)

    def close(self) -> None:
        """Give up everything that runs."""
        for number in [*self._running, *self._transcribing]:
            self._work.stop(number)
        self._running.clear()
        self._transcribing.clear()
