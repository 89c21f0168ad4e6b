"""A session as a state machine: events of the client in, events of the server and commands out.

It has no socket, no thread and no clock of its own. What takes time is asked of a `Work`, which
hands the pieces of answers back.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from voicerag_core import (
    SPEECH_RATE_HZ,
    Answer,
    Audio,
    AudioError,
    Question,
    Sampling,
    Turn,
    VoiceRAGError,
    resample,
)
from voicerag_core.serving import message_for_caller, samples_of_pcm16
from voicerag_web.errors import RequestError, error_code
from voicerag_web.realtime.config import (
    MOST_INSTRUCTIONS,
    OwnConfig,
    SessionConfig,
    TurnDetection,
    merged,
)
from voicerag_web.realtime.events import error_event, event, new_id
from voicerag_web.realtime.hearing import MOST_SECONDS, Detector, Heard, Hearing
from voicerag_web.realtime.items import Content, Exchange, Item, Items
from voicerag_web.realtime.reply import Emit, Reply, ReplyForm

__all__ = ["MOST_AUDIO_BYTES", "Inquiry", "Session", "SessionLimits", "Work"]

MOST_AUDIO_BYTES: Final = 1 << 20
"""Decoded bytes of one `input_audio_buffer.append`."""
TRUNCATE_SECONDS: Final = 2.0
"""How long an interrupted answer waits for the client to say what was heard."""

_MOST_METADATA: Final = 16
_MOST_VALUE: Final = 512
_NOT_HEARD: Final = "I did not hear a question."

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """The limits of a session.

    Args:
        question_seconds: Longest spoken question.
        question_chars: Longest typed question.
        items: Items that are kept.
    """

    question_seconds: float = 30.0
    question_chars: int = 4000
    items: int = 200


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question for the documents.

    Args:
        question: Spoken or typed.
        history: Earlier turns, oldest first.
        speaks: Answer in speech.
        instructions: The manner of answering.
        sampling: For models that generate.
        options: How passages are searched.
        transcribe: Make a transcript whether the answer needs it or not.
        prepared: Number of a search that began before the question was over.
    """

    question: Question
    history: tuple[Turn, ...]
    speaks: bool
    instructions: str
    sampling: Sampling
    options: OwnConfig
    transcribe: bool = False
    prepared: int | None = None


class Work(Protocol):
    """What takes time. Its results come back to the session by number."""

    def answer(self, number: int, asked: Inquiry) -> Exchange:
        """Answer a question: `Session.piece` and `Session.ended` follow."""
        ...

    def say(self, number: int, text: str, *, speaks: bool) -> None:
        """Say a text: `Session.piece` and `Session.ended` follow."""
        ...

    def transcribe(self, number: int, audio: Audio) -> None:
        """Transcribe a clip: `Session.transcribed` follows."""
        ...

    def prepare(self, number: int, asked: Inquiry) -> None:
        """Begin to search for a question that may not be over."""
        ...

    def stop(self, number: int) -> None:
        """Give up an answer, a transcript or a search."""
        ...


@dataclass(slots=True)
class _Running:
    """An answer that is being made."""

    reply: Reply
    asked: Item | None
    apologising: bool = False


@dataclass(slots=True)
class _Speech:
    """A turn of the user that is going on.

    Args:
        item: Id of its item.
        prepared: Number of the search that began at its last pause.
    """

    item: str
    prepared: int | None = None


@dataclass(slots=True)
class _Unconfirmed:
    """An interrupted answer whose client has not said yet what was heard of it."""

    item: Item
    until: float
    played: float


class Session:
    """A Realtime session.

    Args:
        name: Its id.
        model: Name of its model.
        work: Does what takes time.
        emit: Sends an event, or sound as bytes.
        clock: Returns seconds.
        detector: Makes a detector of turns.
        check_language: Refuses a language that is not heard.
        measure: Takes a stage of an answer and the seconds from the end of the question.
        config: What it begins with.
        limits: Its limits.
        expires_at: When it is closed, in seconds since the epoch.
    """

    def __init__(
        self,
        name: str,
        model: str,
        work: Work,
        emit: Emit,
        clock: Callable[[], float],
        *,
        detector: Callable[[TurnDetection], Detector],
        check_language: Callable[[str | None], None] = lambda _: None,
        measure: Callable[[str, float], None] = lambda _stage, _seconds: None,
        config: SessionConfig | None = None,
        limits: SessionLimits | None = None,
        expires_at: int = 0,
    ) -> None:
        self.name, self.model = name, model
        self.config = config or SessionConfig()
        self.items = Items((limits or SessionLimits()).items)
        self._limits = limits or SessionLimits()
        self._work, self._emit, self._clock = work, emit, clock
        self._make_detector = detector
        self._check_language = check_language
        self._measure = measure
        self._expires_at = expires_at
        self._conversation = new_id("conv")
        self._hearing = self._listen(0)
        self._speech: _Speech | None = None
        self._running: dict[int, _Running] = {}
        self._transcribing: dict[int, Item] = {}
        self._number = 0
        self._spoke = False
        self._waiting: Item | None = None
        self._unconfirmed: _Unconfirmed | None = None
        self._last: Reply | None = None
        self._last_voiced: float | None = None
        self._handlers: Mapping[str, Callable[[dict[str, Any]], None]] = {
            "session.update": self._on_session_update,
            "input_audio_buffer.append": self._on_append,
            "input_audio_buffer.commit": self._on_commit,
            "input_audio_buffer.clear": self._on_clear,
            "conversation.item.create": self._on_item_create,
            "conversation.item.retrieve": self._on_item_retrieve,
            "conversation.item.delete": self._on_item_delete,
            "conversation.item.truncate": self._on_item_truncate,
            "response.create": self._on_response_create,
            "response.cancel": self._on_response_cancel,
            "output_audio_buffer.clear": self._on_output_clear,
        }

    # What comes in

    def begin(self) -> None:
        """Greet the client."""
        self._emit(event("session.created", session=self._described()))

    def receive(self, message: str | bytes) -> str:
        """Take a message of the client; return the type of its event, "" if it has none.

        An error is answered by an `error` event, and the session goes on.
        """
        caused_by: str | None = None
        kind = ""
        try:
            if isinstance(message, bytes):
                kind = "input_audio_buffer.append"
                self._hear(message)
                return kind
            given = _object(message)
            caused_by = given["event_id"] if isinstance(given.get("event_id"), str) else None
            name = given.get("type")
            handler = self._handlers.get(name) if isinstance(name, str) else None
            if handler is None:
                shown = str(name)[:64]
                raise RequestError(
                    f"there is no client event {shown!r}; there are: {', '.join(self._handlers)}",
                    "type",
                    "unknown_event",
                )
            kind = str(name)
            handler(given)
        except VoiceRAGError as error:
            self._complain(error, caused_by)
        return kind

    def tick(self) -> float | None:
        """Send what is due; return the seconds until something is due again."""
        now = self._clock()
        waits = [running.reply.tick(now) for running in list(self._running.values())]
        self._settle()
        if self._unconfirmed is not None:
            waits.append(max(0.0, self._unconfirmed.until - now))
            if now >= self._unconfirmed.until:
                self._assume_heard()
        return min((wait for wait in waits if wait is not None), default=None)

    def close(self) -> None:
        """Give up everything that runs."""
        for number in [*self._running, *self._transcribing]:
            self._work.stop(number)
        if self._speech is not None and self._speech.prepared is not None:
            self._work.stop(self._speech.prepared)
        self._running.clear()
        self._transcribing.clear()

    # What the work hands back

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

    @property
    def busy(self) -> bool:
        """Whether an answer is being given."""
        return bool(self._running)

    @property
    def replies(self) -> list[Reply]:
        """The responses that are being given."""
        return [running.reply for running in self._running.values()]

    # Session and input

    def _on_session_update(self, given: dict[str, Any]) -> None:
        update = _part(given, "session")
        before = self.config
        after = merged(before, update)
        voice = after.audio.output.voice != before.audio.output.voice
        rate = after.audio.output.format != before.audio.output.format
        if self._spoke and (voice or rate):
            raise RequestError(
                "voice and format of the output cannot change after the first sound",
                "session.audio.output",
                "cannot_update",
            )
        wording = after.audio.input.transcription
        self._check_language(None if wording is None else wording.language)
        self.config = after
        if after.audio.input.format != before.audio.input.format or (
            after.audio.input.turn_detection != before.audio.input.turn_detection
        ):
            self._drop_speech()
            self._hearing = self._listen(self._hearing.total)
        self._emit(event("session.updated", session=self._described()))

    def _on_append(self, given: dict[str, Any]) -> None:
        self._hear(_bytes_of(given.get("audio"), "audio"))

    def _hear(self, data: bytes) -> None:
        if len(data) > MOST_AUDIO_BYTES:
            raise RequestError(
                f"one event carries at most {MOST_AUDIO_BYTES} bytes of sound, not {len(data)}; "
                "send shorter pieces",
                "audio",
                "audio_too_large",
            )
        now = self._clock()
        for heard in self._hearing.add(data, playing=self._may_sound(now)):
            self._follow(heard)

    def _follow(self, heard: Heard) -> None:
        """Act on a change in who speaks."""
        if heard.kind == "started":
            self._speech = _Speech(new_id("item"))
            self._emit(
                event(
                    "input_audio_buffer.speech_started",
                    audio_start_ms=heard.ms,
                    item_id=self._speech.item,
                )
            )
            detection = self.config.audio.input.turn_detection
            if detection is not None and detection.interrupt_response:
                self._interrupt("turn_detected")
            return
        if self._speech is None:
            return
        if heard.kind == "paused" and heard.audio is not None:
            self._speculate(self._speech, heard.audio)
        elif heard.kind == "resumed":
            self._give_up_speculation(self._speech)
        elif heard.kind == "stopped" and heard.audio is not None:
            self._stopped(self._speech, heard)

    def _speculate(self, speech: _Speech, audio: Audio) -> None:
        detection = self.config.audio.input.turn_detection
        if detection is None or not detection.create_response:
            return
        self._give_up_speculation(speech)
        speech.prepared = self._next()
        self._work.prepare(speech.prepared, self._asking(audio, self.items.turns()))

    def _give_up_speculation(self, speech: _Speech) -> None:
        if speech.prepared is not None:
            self._work.stop(speech.prepared)
            speech.prepared = None

    def _stopped(self, speech: _Speech, heard: Heard) -> None:
        assert heard.audio is not None
        self._speech = None
        behind = max(0, self._hearing.total - heard.ms * SPEECH_RATE_HZ // 1000) / SPEECH_RATE_HZ
        self._emit(
            event("input_audio_buffer.speech_stopped", audio_end_ms=heard.ms, item_id=speech.item)
        )
        item = self._committed(heard.audio, speech.item)
        detection = self.config.audio.input.turn_detection
        if detection is None or not detection.create_response:
            self._wanted(item)
            return
        if self._running:
            self._give_up_speculation(speech)
            self._waiting = item
            return
        self._respond(item, began=self._clock() - behind, prepared=speech.prepared)

    def _on_commit(self, given: dict[str, Any]) -> None:
        del given
        speech, self._speech = self._speech, None
        if speech is not None:
            self._give_up_speculation(speech)
        item = self._committed(
            self._hearing.commit(), new_id("item") if speech is None else speech.item
        )
        self._wanted(item)

    def _committed(self, audio: Audio, name: str) -> Item:
        """Make an item of a spoken question."""
        self._last_voiced = self._clock()
        item = Item(name, "user", [Content("input_audio", audio=audio, known=False)])
        before = self.items.add(item)
        self._emit(event("input_audio_buffer.committed", previous_item_id=before, item_id=item.id))
        self._announce(item, before)
        return item

    def _announce(self, item: Item, before: str | None) -> None:
        for name in ("added", "done"):
            self._emit(
                event(f"conversation.item.{name}", previous_item_id=before, item=item.described())
            )

    def _wanted(self, item: Item) -> None:
        """Transcribe an item that no answer follows, if the client asked for transcripts."""
        audio = item.question
        if self.config.audio.input.transcription is not None and isinstance(audio, Audio):
            number = self._next()
            self._transcribing[number] = item
            self._work.transcribe(number, audio)

    def _on_clear(self, given: dict[str, Any]) -> None:
        del given
        self._drop_speech()
        self._hearing.clear()
        self._emit(event("input_audio_buffer.cleared"))

    def _drop_speech(self) -> None:
        if self._speech is not None:
            self._give_up_speculation(self._speech)
            self._speech = None

    # Items

    def _on_item_create(self, given: dict[str, Any]) -> None:
        item = self._item(_part(given, "item"))
        after = given.get("previous_item_id")
        before = self.items.add(item, after if isinstance(after, str) else None)
        self._announce(item, before)

    def _item(self, given: dict[str, Any]) -> Item:
        name = given.get("id") or new_id("item")
        if not isinstance(name, str) or len(name) > 64:  # noqa: PLR2004
            raise RequestError("an id has at most 64 characters", "item.id")
        kind = given.get("type", "message")
        if kind == "function_call_output":
            output = str(given.get("output", ""))[: self._limits.question_chars]
            return Item(name, "user", output=(str(given.get("call_id", ""))[:64], output))
        role = given.get("role", "user")
        if kind != "message" or role not in {"user", "assistant", "system"}:
            raise RequestError(
                f"an item is a message of user, assistant or system, not {kind!r} of {role!r}",
                "item.type",
            )
        parts = given.get("content")
        if not isinstance(parts, list) or not parts:
            raise RequestError("a message has content: a list of parts", "item.content")
        return Item(name, role, [self._content(part) for part in parts[:100]])

    def _content(self, part: object) -> Content:
        if not isinstance(part, dict):
            raise RequestError("a part of a message is an object", "item.content")
        kind = part.get("type")
        if kind == "input_audio":
            data = _bytes_of(part.get("audio"), "item.content.audio")
            return Content(
                "input_audio",
                str(part.get("transcript") or ""),
                self._clip(data),
                known=bool(part.get("transcript")),
            )
        if kind in {"input_text", "output_text", "text"}:
            text = part.get("text")
        elif kind in {"output_audio", "audio"}:
            text = part.get("transcript")
        else:
            raise RequestError(
                f"a part of a message is input_text, input_audio, output_text or output_audio, "
                f"not {kind!r}",
                "item.content.type",
            )
        if not isinstance(text, str):
            raise RequestError("a part of a message has words", "item.content.text")
        if len(text) > max(self._limits.question_chars, MOST_INSTRUCTIONS):
            raise RequestError(
                f"the text has {len(text)} characters, and {self._limits.question_chars} are "
                "taken; shorten it",
                "item.content.text",
                "text_too_long",
            )
        return Content("input_text" if kind in {"input_text", "text"} else "output_text", text)

    def _clip(self, data: bytes) -> Audio:
        rate = self.config.audio.input.format.rate
        if len(data) < 2 or len(data) > 2 * rate * MOST_SECONDS:  # noqa: PLR2004 - one sample
            raise RequestError(
                f"a clip has 1 sample to {MOST_SECONDS:g} s of sound", "item.content.audio"
            )
        return resample(Audio(samples_of_pcm16(data[: len(data) & ~1]), rate), SPEECH_RATE_HZ)

    def _on_item_retrieve(self, given: dict[str, Any]) -> None:
        item = self.items.get(_text(given, "item_id"))
        self._emit(event("conversation.item.retrieved", item=item.described()))

    def _on_item_delete(self, given: dict[str, Any]) -> None:
        name = _text(given, "item_id")
        self.items.remove(name)
        self._emit(event("conversation.item.deleted", item_id=name))

    def _on_item_truncate(self, given: dict[str, Any]) -> None:
        item = self.items.get(_text(given, "item_id"))
        end = given.get("audio_end_ms")
        if not isinstance(end, int) or isinstance(end, bool) or end < 0:
            raise RequestError("audio_end_ms is a number of milliseconds", "audio_end_ms")
        if item.role != "assistant" or not item.content:
            raise RequestError(
                "only a spoken answer can be truncated", "item_id", "not_truncatable"
            )
        content = item.content[0]
        if end > content.audio_ms + 1:
            raise RequestError(
                f"the answer has {content.audio_ms} ms of sound so far, and {end} ms cannot have "
                "been heard of it",
                "audio_end_ms",
            )
        for number, running in list(self._running.items()):
            if running.reply.item is item:
                self._cancel(number, "client_cancelled")
        self._cut(item, end / 1000)
        self._emit(
            event(
                "conversation.item.truncated",
                item_id=item.id,
                content_index=0,
                audio_end_ms=end,
            )
        )

    def _cut(self, item: Item, seconds: float) -> None:
        """Keep of an answer only what was heard."""
        if self._unconfirmed is not None and self._unconfirmed.item is item:
            self._unconfirmed = None
        if item.exchange is None or not item.content:
            return
        turn = item.exchange.truncate(seconds)
        item.content[0].audio_ms = min(item.content[0].audio_ms, int(seconds * 1000))
        if turn is not None:
            item.content[0].text = turn.answer.text

    def _assume_heard(self) -> None:
        """Cut an interrupted answer to what a client that plays at once has played."""
        pending, self._unconfirmed = self._unconfirmed, None
        if pending is not None and pending.played * 1000 < pending.item.content[0].audio_ms:
            self._cut(pending.item, pending.played)

    # Responses

    def _on_response_create(self, given: dict[str, Any]) -> None:
        if self._running:
            name = self.replies[0].name
            raise RequestError(
                f"the conversation has an active response already ({name}); wait for its "
                "response.done, or cancel it",
                None,
                "conversation_already_has_active_response",
            )
        asked = given.get("response")
        wanted: dict[str, Any] = asked if isinstance(asked, dict) else {}
        _check_metadata(wanted.get("metadata"))
        known = {key: wanted[key] for key in _RESPONSE_FIELDS if wanted.get(key) is not None}
        config = merged(self.config, known)
        kept = wanted.get("conversation", "auto") != "none"
        given_items = wanted.get("input")
        item: Item | None
        if isinstance(given_items, list):
            given_items = [one for one in given_items if isinstance(one, dict)]
            items = [self._given(one) for one in given_items[: self._limits.items]]
            scratch = Items(self._limits.items)
            for one in items:
                if all(known_item.id != one.id for known_item in scratch):
                    scratch.add(one)
            item, turns = scratch.last_question(), scratch.turns(scratch.last_question())
        else:
            item = self.items.last_question()
            self._assume_heard()
            turns = self.items.turns(item)
        self._respond(
            item, began=self._clock(), config=config, kept=kept, turns=turns, wanted=wanted
        )

    def _given(self, one: dict[str, Any]) -> Item:
        if one.get("type") == "item_reference":
            return self.items.get(_text(one, "id"))
        return self._item(one)

    def _respond(
        self,
        item: Item | None,
        *,
        began: float,
        config: SessionConfig | None = None,
        kept: bool = True,
        turns: tuple[Turn, ...] | None = None,
        wanted: Mapping[str, Any] | None = None,
        prepared: int | None = None,
    ) -> None:
        """Begin to answer an item; without one, what the request's instructions ask."""
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
        self._assume_heard()
        history = self.items.turns(item) if turns is None else turns
        number = self._next()
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
        self._running[number] = _Running(reply, item)
        if kept:
            reply.previous = self.items.add(answer)
        self._last = reply
        self._spoke = self._spoke or config.speaks
        reply.begin()
        asked = self._asking(question, history, config, prepared)
        answer.exchange = self._work.answer(number, asked)

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

    def _asking(
        self,
        question: Question,
        history: tuple[Turn, ...],
        config: SessionConfig | None = None,
        prepared: int | None = None,
    ) -> Inquiry:
        config = config or self.config
        said = "\n".join([config.instructions, *self.items.instructions()]).strip()
        return Inquiry(
            question,
            history,
            config.speaks,
            said[:MOST_INSTRUCTIONS],
            config.voicerag.sampling(config.most_tokens),
            config.voicerag,
            config.audio.input.transcription is not None,
            prepared,
        )

    def _on_response_cancel(self, given: dict[str, Any]) -> None:
        name = given.get("response_id")
        numbers = [
            number
            for number, running in self._running.items()
            if name is None or running.reply.name == name
        ]
        if not numbers:
            raise RequestError(
                "Cancellation failed: there is no active response",
                "response_id",
                "response_cancel_not_active",
            )
        for number in numbers:
            self._cancel(number, "client_cancelled")

    def _on_output_clear(self, given: dict[str, Any]) -> None:
        del given
        self._interrupt("client_cancelled")

    def _interrupt(self, reason: str) -> None:
        """End what is being said, and note how much of it can have been heard."""
        now = self._clock()
        last = self._last
        for number in list(self._running):
            self._cancel(number, reason)
        if last is not None and last.may_sound(now) and last.item.content:
            self._unconfirmed = _Unconfirmed(
                last.item, now + TRUNCATE_SECONDS, last.played_seconds(now)
            )

    def _cancel(self, number: int, reason: str) -> None:
        running = self._running.pop(number)
        self._work.stop(number)
        running.reply.cancel(reason)
        self._tidy(running)
        self._wordless(running)

    def _settle(self) -> None:
        """Forget the answers that are given, and begin with one that waited."""
        for number, running in list(self._running.items()):
            if not running.reply.active:
                del self._running[number]
                self._tidy(running)
        if self._waiting is not None and not self._running:
            item, self._waiting = self._waiting, None
            self._respond(item, began=self._clock())

    def _tidy(self, running: _Running) -> None:
        """Drop what no later turn needs: an answer without words, the sound of a known question."""
        answer = running.reply.item
        if not answer.content and running.reply.form.kept:
            self.items.discard(answer)
        if running.asked is not None and answer.content:
            for part in running.asked.content:
                if part.known:
                    part.audio = None

    def _wordless(self, running: _Running) -> None:
        """Transcribe a question that was answered by its sound alone, if that was asked for."""
        item = running.asked
        if item is not None and not item.failed and not all(part.known for part in item.content):
            self._wanted(item)

    # Words and errors

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

    def _complain(self, error: VoiceRAGError, caused_by: str | None) -> None:
        param = error.param if isinstance(error, RequestError) else None
        self._emit(
            error_event(
                message_for_caller(error), code=error_code(error), param=param, caused_by=caused_by
            )
        )

    def _may_sound(self, now: float) -> bool:
        return self._last is not None and self._last.may_sound(now)

    def _described(self) -> dict[str, object]:
        return self.config.described(self.name, self.model, self._expires_at)

    def _listen(self, before: int) -> Hearing:
        detection = self.config.audio.input.turn_detection
        return Hearing(
            self.config,
            None if detection is None else self._make_detector(detection),
            most_seconds=self._limits.question_seconds,
            before=before,
        )

    def _next(self) -> int:
        self._number += 1
        return self._number


_RESPONSE_FIELDS: Final = (
    "output_modalities", "instructions", "max_output_tokens", "audio", "voicerag",
)  # fmt: skip
"""Fields of a session that a response may have otherwise."""


def _object(message: str) -> dict[str, Any]:
    try:
        given = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"an event is a JSON object ({error})", None, "invalid_json") from error
    if not isinstance(given, dict):
        raise RequestError("an event is a JSON object with a type", None, "invalid_json")
    return given


def _part(given: dict[str, Any], name: str) -> dict[str, Any]:
    part = given.get(name)
    if not isinstance(part, dict):
        raise RequestError(f"the event has an object {name!r}", name, "missing_field")
    return part


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise RequestError(f"the event has a text {name!r}", name, "missing_field")
    return value


def _bytes_of(value: object, param: str) -> bytes:
    if not isinstance(value, str):
        raise RequestError("sound is sent as base64 of 16-bit PCM", param, "invalid_base64")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(
            f"the sound is not base64 ({error}); encode 16-bit PCM in the standard alphabet",
            param,
            "invalid_base64",
        ) from error


def _check_metadata(given: object) -> None:
    if given is None:
        return
    fits = isinstance(given, dict) and len(given) <= _MOST_METADATA
    if not fits or not all(
        isinstance(value, str) and len(value) <= _MOST_VALUE
        for value in given.values()  # type: ignore[attr-defined]
    ):
        raise RequestError(
            f"metadata is up to {_MOST_METADATA} texts of {_MOST_VALUE} characters each",
            "response.metadata",
        )
