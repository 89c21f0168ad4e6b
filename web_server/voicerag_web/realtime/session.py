"""A session as a state machine: events of the client in, events of the server and commands out.

It has no socket, no thread and no clock of its own. What takes time is asked of a `Work`, which
hands the pieces of answers back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from voicerag_core import SPEECH_RATE_HZ, Audio, Found, TurnDetector, VoiceRAGError
from voicerag_core.serving import message_for_caller
from voicerag_web.errors import RequestError, error_code
from voicerag_web.realtime.answers import Answers
from voicerag_web.realtime.config import SessionConfig, TurnDetection, merged
from voicerag_web.realtime.events import error_event, event, new_id
from voicerag_web.realtime.hearing import Heard, Hearing
from voicerag_web.realtime.inquiry import SessionLimits, Work
from voicerag_web.realtime.items import Content, Item, Items
from voicerag_web.realtime.parsing import (
    RESPONSE_FIELDS,
    check_metadata,
    field_object,
    field_text,
    item_of,
    json_object,
    sound_bytes,
)
from voicerag_web.realtime.reply import Emit
from voicerag_web.sources import found_passages

__all__ = ["MOST_AUDIO_BYTES", "Session"]

MOST_AUDIO_BYTES: Final = 1 << 20
"""Decoded bytes of one `input_audio_buffer.append`."""


@dataclass(slots=True)
class _Speech:
    """A turn of the user that is going on.

    Args:
        item: Id of its item.
        prepared: Number of the search that began at its last pause.
        found: What that has found so far.
    """

    item: str
    prepared: int | None = None
    found: Found | None = None


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
        detector: Callable[[TurnDetection], TurnDetector],
        check_language: Callable[[str | None], None] = lambda _: None,
        measure: Callable[[str, float], None] = lambda _stage, _seconds: None,
        config: SessionConfig | None = None,
        limits: SessionLimits | None = None,
        expires_at: int = 0,
    ) -> None:
        self.name, self.model = name, model
        self.config = config or SessionConfig()
        self._limits = limits or SessionLimits()
        self._work, self._emit, self._clock = work, emit, clock
        self.items = Items(self._limits.items)
        self.answers = Answers(self.items, work, emit, clock, limits=self._limits, measure=measure)
        self.answers.config = self.config
        self._make_detector = detector
        self._check_language = check_language
        self._expires_at = expires_at
        self._hearing = self._listen(0)
        self._speech: _Speech | None = None
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
            given = json_object(message)
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
        return self.answers.tick()

    def close(self) -> None:
        """Give up everything that runs."""
        self._drop_speech()
        self.answers.close()

    # Session and input

    def _on_session_update(self, given: dict[str, Any]) -> None:
        update = field_object(given, "session")
        before = self.config
        after = merged(before, update)
        voice = after.audio.output.voice != before.audio.output.voice
        rate = after.audio.output.format != before.audio.output.format
        if self.answers.spoke and (voice or rate):
            raise RequestError(
                "voice and format of the output cannot change after the first sound",
                "session.audio.output",
                "cannot_update",
            )
        wording = after.audio.input.transcription
        self._check_language(None if wording is None else wording.language)
        self.config = self.answers.config = after
        if after.audio.input.format != before.audio.input.format or (
            after.audio.input.turn_detection != before.audio.input.turn_detection
        ):
            self._drop_speech()
            self._hearing = self._listen(self._hearing.total)
        self._emit(event("session.updated", session=self._described()))

    def _on_append(self, given: dict[str, Any]) -> None:
        self._hear(sound_bytes(given.get("audio"), "audio"))

    def _hear(self, data: bytes) -> None:
        if len(data) > MOST_AUDIO_BYTES:
            raise RequestError(
                f"one event carries at most {MOST_AUDIO_BYTES} bytes of sound, not {len(data)}; "
                "send shorter pieces",
                "audio",
                "audio_too_large",
            )
        now = self._clock()
        for heard in self._hearing.add(data, playing=self.answers.may_sound(now)):
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
                self.answers.interrupt("turn_detected")
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
        speech.prepared = self.answers.next()
        self._work.prepare(
            speech.prepared, self.answers.inquiry(audio, self.items.turns(), self.config)
        )

    def found(self, number: int, found: Found) -> None:
        """Tell the passages of a question: while it goes on as candidates, then as its sources.

        Args:
            number: Of the answer, or of the search that began at a pause.
            found: What is known so far.
        """
        speech = self._speech
        if speech is None or speech.prepared != number:
            self.answers.found(number, found)
            return
        speech.found = found
        if self.config.voicerag.candidates and found.hits:
            self._emit(
                event(
                    "voicerag.candidates",
                    item_id=speech.item,
                    final=found.final,
                    passages=[one.model_dump() for one in found_passages(found.hits)],
                )
            )

    def _give_up_speculation(self, speech: _Speech) -> None:
        if speech.prepared is not None:
            self._work.stop(speech.prepared)
            speech.prepared = speech.found = None

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
            self.answers.transcribe(item)
            return
        if self.answers.busy:
            self._give_up_speculation(speech)
            self.answers.later(item)
            return
        self.answers.respond(
            item,
            began=self._clock() - behind,
            prepared=speech.prepared,
            found=speech.found,
        )

    def _on_commit(self, given: dict[str, Any]) -> None:
        del given
        speech, self._speech = self._speech, None
        if speech is not None:
            self._give_up_speculation(speech)
        item = self._committed(
            self._hearing.commit(), new_id("item") if speech is None else speech.item
        )
        self.answers.transcribe(item)

    def _committed(self, audio: Audio, name: str) -> Item:
        """Make an item of a spoken question."""
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
        item = self._item(field_object(given, "item"))
        after = given.get("previous_item_id")
        before = self.items.add(item, after if isinstance(after, str) else None)
        self._announce(item, before)

    def _on_item_retrieve(self, given: dict[str, Any]) -> None:
        item = self.items.get(field_text(given, "item_id"))
        self._emit(event("conversation.item.retrieved", item=item.described()))

    def _on_item_delete(self, given: dict[str, Any]) -> None:
        name = field_text(given, "item_id")
        self.items.remove(name)
        self._emit(event("conversation.item.deleted", item_id=name))

    def _on_item_truncate(self, given: dict[str, Any]) -> None:
        item = self.items.get(field_text(given, "item_id"))
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
        self.answers.cancel("client_cancelled", item=item)
        self.answers.cut(item, end / 1000)
        self._emit(
            event(
                "conversation.item.truncated",
                item_id=item.id,
                content_index=0,
                audio_end_ms=end,
            )
        )

    # Responses

    def _on_response_create(self, given: dict[str, Any]) -> None:
        if self.answers.busy:
            name = self.answers.names[0]
            raise RequestError(
                f"the conversation has an active response already ({name}); wait for its "
                "response.done, or cancel it",
                None,
                "conversation_already_has_active_response",
            )
        asked = given.get("response")
        wanted: dict[str, Any] = asked if isinstance(asked, dict) else {}
        check_metadata(wanted.get("metadata"))
        known = {key: wanted[key] for key in RESPONSE_FIELDS if wanted.get(key) is not None}
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
            self.answers.assume_heard()
            turns = self.items.turns(item)
        self.answers.respond(
            item, began=self._clock(), config=config, kept=kept, turns=turns, wanted=wanted
        )

    def _given(self, one: dict[str, Any]) -> Item:
        if one.get("type") == "item_reference":
            return self.items.get(field_text(one, "id"))
        return self._item(one)

    def _item(self, given: dict[str, Any]) -> Item:
        return item_of(
            given,
            rate=self.config.audio.input.format.rate,
            most_chars=self._limits.question_chars,
        )

    def _on_response_cancel(self, given: dict[str, Any]) -> None:
        name = given.get("response_id")
        if not self.answers.cancel("client_cancelled", name=name):
            raise RequestError(
                "Cancellation failed: there is no active response",
                "response_id",
                "response_cancel_not_active",
            )

    def _on_output_clear(self, given: dict[str, Any]) -> None:
        del given
        self.answers.interrupt("client_cancelled")

    # Words and errors

    def _complain(self, error: VoiceRAGError, caused_by: str | None) -> None:
        param = error.param if isinstance(error, RequestError) else None
        self._emit(
            error_event(
                message_for_caller(error), code=error_code(error), param=param, caused_by=caused_by
            )
        )

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
