"""One response: its events in their order, its sound at the pace at which it is played."""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from voicerag_core import Answer, Found, Hit
from voicerag_core.serving import LiveResampler, pcm16
from voicerag_web.realtime.events import USAGE, event
from voicerag_web.realtime.items import Content, Item
from voicerag_web.sources import found_passages, sources_of

__all__ = ["Emit", "Reply", "ReplyForm"]

Emit: TypeAlias = Callable[[dict[str, object] | bytes], None]
Status: TypeAlias = Literal["completed", "cancelled", "failed", "incomplete"]

CHUNK_SECONDS: Final = 0.1
"""Sound of one event."""
AT_ONCE_SECONDS: Final = 10.0
"""Sound that is sent as fast as it is made."""
AHEAD_SECONDS: Final = 5.0
"""After that, sound is sent so much ahead of its playing: it bounds memory and what an interruption
wastes."""
_METADATA_CHARS: Final = 512
"""Longest value of a response's metadata in OpenAI's API."""


@dataclass(frozen=True, slots=True)
class ReplyForm:
    """How a response is given.

    Args:
        speaks: In speech, or in text.
        rate: Rate of its sound, in Hz.
        voice: Name of the voice, as the session has it.
        binary: Sound goes out as binary frames.
        sources: `voicerag.sources` events go out.
        timing: A `voicerag.timing` event goes out.
        kept: It becomes a part of the conversation.
        metadata: Of the request, sent back.
        most_tokens: As the request has it.
    """

    speaks: bool
    rate: int
    voice: object = "default"
    binary: bool = False
    sources: bool = False
    timing: bool = False
    kept: bool = True
    metadata: Mapping[str, str] | None = None
    most_tokens: int | Literal["inf"] = "inf"


class Reply:
    """A response that is being given.

    Args:
        name: Its id.
        item: The item that it fills.
        form: How it is given.
        emit: Sends an event.
        conversation: Id of the conversation.
        began: When the question ended, in seconds.
        measure: Takes a stage and the seconds from the end of the question.
    """

    def __init__(
        self,
        name: str,
        item: Item,
        form: ReplyForm,
        emit: Emit,
        *,
        conversation: str,
        began: float,
        measure: Callable[[str, float], None] = lambda _stage, _seconds: None,
    ) -> None:
        self.name = name
        self.item = item
        self.form = form
        self.answer = Answer()
        self.stages: dict[str, float] = {}
        self.first_sound: float | None = None
        self.active = True
        self.previous: str | None = None
        """Id of the item before it."""
        self._emit = emit
        self._conversation = conversation
        self._began = began
        self._measure = measure
        self._part: Content | None = None
        self._resampler: LiveResampler | None = None
        self._rest = b""
        self._pending: deque[bytes] = deque()
        self._sent_bytes = 0
        self._ended = False
        self._failure: tuple[str, str] | None = None
        self._told: tuple[Hit, ...] = ()

    def begin(self) -> None:
        """Announce the response."""
        self._emit(event("response.created", response=self._described("in_progress")))

    def found(self, found: Found, now: float) -> None:
        """Tell the passages that are known before the answer's first piece."""
        if not self.active or not found.hits or self.answer.hits:
            return
        if found.final:
            self._reached("sources", now)
            self._told = found.hits
        else:
            self._reached("early_sources", now)
        self._send_sources(found.hits, final=found.final)

    def add(self, piece: Answer, now: float) -> None:
        """Take the next piece of the answer."""
        self.answer += Answer(
            piece.text, None, piece.hits, piece.citations, piece.answered, piece.asked_back,
            piece.transcript, timings=piece.timings, notes=piece.notes,
        )  # fmt: skip
        if piece.transcript is not None:
            self._reached("transcript", now)
        if piece.hits:
            self._reached("sources", now)
        if piece.citations or (piece.hits and self.answer.hits != self._told):
            self._send_sources(self.answer.hits)
        if piece.text:
            self._reached("first_text", now)
            part = self._begun()
            part.text += piece.text
            self._about("output_audio_transcript" if self.form.speaks else "output_text", "delta",
                        delta=piece.text)  # fmt: skip
        if piece.audio is not None and self.form.speaks:
            self._reached("first_audio", now)
            self._begun()
            if self._resampler is None:
                self._resampler = LiveResampler(piece.audio.sample_rate, self.form.rate)
            self._queue(pcm16(self._resampler.push(piece.audio.samples)))
        self.tick(now)

    def end(self, now: float, failure: tuple[str, str] | None = None) -> None:
        """Note that no more pieces come.

        Args:
            now: In seconds.
            failure: Code and kind of the error that ended it.
        """
        if self._resampler is not None:
            self._queue(pcm16(self._resampler.push(np.zeros(0, np.float32), last=True)))
            if self._rest:
                self._pending.append(self._rest)
                self._rest = b""
        self._ended, self._failure = True, failure
        self.tick(now)

    def tick(self, now: float) -> float | None:
        """Send what is due; return the seconds until something is due again, None if nothing is."""
        while self.active and self._pending:
            wait = self._wait(now)
            if wait > 0:
                return wait
            self._send_sound(self._pending.popleft(), now)
        if self.active and self._ended:
            self._finish("completed" if self._failure is None else "failed")
        return None

    def cancel(self, reason: str) -> None:
        """End it here; what was not sent yet is dropped."""
        if self.active:
            self._pending.clear()
            self._finish("cancelled", reason)

    @property
    def sent_seconds(self) -> float:
        """Sound that was sent."""
        return self._sent_bytes / 2 / self.form.rate

    def played_seconds(self, now: float) -> float:
        """Sound that a client which plays at once can have played."""
        if self.first_sound is None:
            return 0.0
        return min(self.sent_seconds, now - self.first_sound)

    def may_sound(self, now: float) -> bool:
        """Return whether its sound may still be playing."""
        return self.first_sound is not None and self.played_seconds(now) < self.sent_seconds

    def _reached(self, stage: str, now: float) -> None:
        if stage not in self.stages:
            self.stages[stage] = max(0.0, now - self._began)
            self._measure(stage, self.stages[stage])

    def _wait(self, now: float) -> float:
        if self.first_sound is None or self.sent_seconds < AT_ONCE_SECONDS:
            return 0.0
        return self.sent_seconds - (now - self.first_sound) - AHEAD_SECONDS

    def _queue(self, data: bytes) -> None:
        """Cut sound into pieces of one length."""
        size = 2 * round(self.form.rate * CHUNK_SECONDS)
        data = self._rest + data
        whole = len(data) // size * size
        self._pending.extend(data[at : at + size] for at in range(0, whole, size))
        self._rest = data[whole:]

    def _send_sound(self, data: bytes, now: float) -> None:
        if self.first_sound is None:
            self.first_sound = now
        self._sent_bytes += len(data)
        assert self._part is not None
        self._part.audio_ms = int(self.sent_seconds * 1000)
        if self.form.binary:
            self._emit(data)
        else:
            self._about("output_audio", "delta", delta=base64.b64encode(data).decode())

    def _begun(self) -> Content:
        """Announce the item and its only part before the first delta."""
        if self._part is None:
            self._part = Content("output_audio" if self.form.speaks else "output_text")
            self._emit(
                event(
                    "response.output_item.added",
                    response_id=self.name,
                    output_index=0,
                    item=self.item.described(),
                )
            )
            if self.form.kept:
                self._emit(
                    event(
                        "conversation.item.added",
                        previous_item_id=self.previous,
                        item=self.item.described(),
                    )
                )
            self._about("content_part", "added", part=self._described_part())
            self.item.content = [self._part]
        return self._part

    def _described_part(self) -> dict[str, object]:
        text = "" if self._part is None else self._part.text
        if self.form.speaks:
            return {"type": "audio", "transcript": text}
        return {"type": "text", "text": text}

    def _about(self, what: str, change: str, **fields: object) -> None:
        self._emit(
            event(
                f"response.{what}.{change}",
                response_id=self.name,
                item_id=self.item.id,
                output_index=0,
                content_index=0,
                **fields,
            )
        )

    def _send_sources(self, hits: Sequence[Hit], *, final: bool = True) -> None:
        if self.form.sources:
            self._emit(
                event(
                    "voicerag.sources",
                    response_id=self.name,
                    item_id=self.item.id,
                    final=final,
                    answered=self.answer.answered,
                    sources=[one.model_dump() for one in sources_of(self.answer)],
                    passages=[one.model_dump() for one in found_passages(hits)],
                )
            )

    def _finish(self, status: Status, reason: str | None = None) -> None:
        self.active = False
        self.item.status = "completed" if status == "completed" else "incomplete"
        part = self._part
        if part is not None:
            if self.form.speaks:
                self._about("output_audio", "done")
                self._about("output_audio_transcript", "done", transcript=part.text)
            else:
                self._about("output_text", "done", text=part.text)
            self._about("content_part", "done", part=self._described_part())
            self._emit(
                event(
                    "response.output_item.done",
                    response_id=self.name,
                    output_index=0,
                    item=self.item.described(),
                )
            )
            if self.form.kept:
                self._emit(
                    event(
                        "conversation.item.done",
                        previous_item_id=self.previous,
                        item=self.item.described(),
                    )
                )
        if self.form.timing:
            stages = {stage: round(seconds, 4) for stage, seconds in self.stages.items()}
            own = {stage: round(seconds, 4) for stage, seconds in self.answer.timings.items()}
            self._emit(event("voicerag.timing", response_id=self.name, stages=stages, within=own))
        self._emit(event("response.done", response=self._described(status, reason)))

    def _described(
        self, status: Status | Literal["in_progress"], reason: str | None = None
    ) -> dict[str, object]:
        done = status != "in_progress"
        details: dict[str, object] | None = None
        if status == "cancelled":
            details = {"type": "cancelled", "reason": reason}
        elif status == "failed" and self._failure is not None:
            code, kind = self._failure
            details = {"type": "failed", "error": {"code": code, "type": kind}}
        form = {"type": "audio/pcm", "rate": self.form.rate}
        return {
            "id": self.name,
            "object": "realtime.response",
            "status": status,
            "status_details": details,
            "output": [self.item.described()] if done and self._part is not None else [],
            "conversation_id": self._conversation if self.form.kept else None,
            "output_modalities": ["audio"] if self.form.speaks else ["text"],
            "max_output_tokens": self.form.most_tokens,
            "audio": {"output": {"format": form, "voice": self.form.voice}},
            "usage": dict(USAGE) if done else None,
            "metadata": self._metadata() if done else self.form.metadata,
        }

    def _metadata(self) -> dict[str, str] | None:
        """Return the request's metadata and, within the length of a value, sources and notes."""
        sources = [
            {"id": hit.passage.id, "title": hit.passage.title, "score": round(hit.score, 3)}
            for hit in self.answer.hits
        ]
        while sources and len(json.dumps(sources)) > _METADATA_CHARS:
            sources.pop()
        own = {"voicerag.sources": json.dumps(sources)} if sources else {}
        if self.answer.notes:
            own["voicerag.notes"] = "\n".join(self.answer.notes)[:_METADATA_CHARS]
        if not own:
            return None if self.form.metadata is None else dict(self.form.metadata)
        return {**(self.form.metadata or {}), **own}
