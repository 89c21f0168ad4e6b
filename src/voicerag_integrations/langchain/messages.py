"""Answers as AI messages with text and audio blocks, whole or in chunks."""

from __future__ import annotations

import base64
import functools
import math
import operator
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np
from langchain_core.load.serializable import SerializedConstructor, SerializedNotImplemented
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage

from voicerag_core import Answer, Audio, AudioError, read_audio, to_wav_bytes

__all__ = ["AnswerToolMessage", "MessageStream", "answer_message", "block_audio", "message_audio"]

_TEXT, _AUDIO = 0, 1
"""Index by which LangChain joins the blocks of chunks."""

_BASE64_GROUP: Final = 3
"""Bytes that base64 encodes without padding, so that encoded chunks can be joined."""

_FULL_SCALE: Final = 32768.0
_PCM: Final = "audio/pcm"


class AnswerToolMessage(ToolMessage):
    """The message of a tool whose artifact is an `Answer`, with its sound.

    ``dumps`` writes a plain `ToolMessage`, whose artifact is the answer as a dict without sound, so
    that ``loads`` reads a history back.
    """

    @classmethod
    def lc_id(cls) -> list[str]:
        """Return the id of `ToolMessage`."""
        return ToolMessage.lc_id()

    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """Return what ``dumps`` writes."""
        written = super().to_json()
        if written["type"] == "constructor" and isinstance(self.artifact, Answer):
            hits = tuple(replace(hit, embedding=None) for hit in self.artifact.hits)
            written["kwargs"]["artifact"] = asdict(replace(self.artifact, audio=None, hits=hits))
        return written


def answer_message(answer: Answer, *, message_id: str | None = None) -> AIMessage:
    """Return a whole answer as one message.

    The text is a text block with a citation for each supporting span; the sound is an audio block
    of 16-bit little-endian mono PCM. ``response_metadata`` holds ``answered``, ``transcript``,
    ``timings`` and ``sources``.
    """
    content: list[Any] = [_text_block(answer.text, answer)]
    if answer.audio is not None:
        content.append(_audio_block(_pcm(answer.audio), answer.audio.sample_rate))
    return AIMessage(
        content, id=message_id, response_metadata={"sources": _sources(answer), **_ending(answer)}
    )


class MessageStream:
    """Turns the pieces of one answer into chunks that add up to `answer_message` of their sum.

    LangChain concatenates the strings of chunks. So type and rate of the sound are sent once,
    every chunk but the last carries complete base64 groups, and what is only known at the end
    (citations, `answered`, transcript, timings) comes with the last.

    Args:
        message_id: Id of every chunk.
    """

    def __init__(self, message_id: str) -> None:
        self._id = message_id
        self._so_far = Answer()
        self._rate: int | None = None
        self._rest = b""

    def chunk(self, piece: Answer) -> AIMessageChunk | None:
        """Return the next chunk, or None if a piece contains nothing to show yet.

        Raises:
            AudioError: The rate of the sound changed.
        """
        self._so_far += replace(piece, audio=None)
        content: list[Any] = []
        metadata: dict[str, Any] = {"sources": _sources(piece)} if piece.hits else {}
        if piece.text:
            content.append({"type": "text", "text": piece.text, "index": _TEXT})
        if piece.audio is not None:
            content += self._sound(piece.audio)
        if not content and not metadata:
            return None
        return AIMessageChunk(content=content, id=self._id, response_metadata=metadata)

    def last(self) -> AIMessageChunk:
        """Return the chunk that completes the message."""
        content: list[Any] = [_text_block("", self._so_far)]
        if self._rest:
            content.append({"type": "audio", "base64": _encoded(self._rest), "index": _AUDIO})
            self._rest = b""
        return AIMessageChunk(
            content=content,
            id=self._id,
            response_metadata=_ending(self._so_far),
            chunk_position="last",
        )

    def _sound(self, audio: Audio) -> list[Any]:
        first = self._rate is None
        if not first and audio.sample_rate != self._rate:
            raise AudioError(
                f"the answer's sound changed from {self._rate} Hz to {audio.sample_rate} Hz; "
                "a voice model keeps one rate"
            )
        self._rate = audio.sample_rate
        data = self._rest + _pcm(audio)
        whole = len(data) - len(data) % _BASE64_GROUP
        self._rest = data[whole:]
        if first:
            return [_audio_block(data[:whole], audio.sample_rate)]
        return [{"type": "audio", "base64": _encoded(data[:whole]), "index": _AUDIO}]


def message_audio(message: BaseMessage) -> Audio | None:
    """Return the sound of a message's audio blocks, or None if it has none.

    Raises:
        AudioError: A block cannot be read.
    """
    blocks = [block for block in message.content_blocks if block["type"] == "audio"]
    clips = [block_audio(block) for block in blocks]
    return functools.reduce(operator.add, clips) if clips else None


def block_audio(block: Mapping[str, Any], *, max_seconds: float = math.inf) -> Audio:
    """Read the sound of a standard audio block: a file in base64, or bare 16-bit PCM.

    PCM keeps its rate, and its length is not checked; a file is converted to 16 kHz. Nothing is
    fetched from a URL, since messages are untrusted; a ``data:`` URL is read.

    Raises:
        AudioError: The block contains no sound, or it cannot be read.
    """
    encoded, mime_type = block.get("base64"), str(block.get("mime_type") or "")
    url = str(block.get("url") or "")
    if encoded is None and url.startswith("data:"):
        head, _, encoded = url.partition(",")
        mime_type = mime_type or head.removeprefix("data:").removesuffix(";base64")
    if not isinstance(encoded, str):
        raise AudioError(
            "the audio block holds no sound, only "
            f"{', '.join(sorted(set(block) - {'type', 'mime_type'})) or 'its type'}; "
            "fetch it yourself and give the bytes: "
            "{'type': 'audio', 'base64': ..., 'mime_type': 'audio/wav'}"
        )
    try:
        data = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise AudioError(f"the audio block's base64 cannot be decoded: {error}") from error
    if mime_type.lower().startswith(_PCM):
        return _from_pcm(data, mime_type)
    return read_audio(data, max_seconds=max_seconds)


def _text_block(text: str, answer: Answer) -> dict[str, Any]:
    titles = {hit.passage.id: hit.passage for hit in answer.hits}
    block: dict[str, Any] = {"type": "text", "text": text, "index": _TEXT}
    annotations = []
    for place in answer.citations:
        passage = titles.get(place.passage_id)
        annotations.append(
            {
                "type": "citation",
                "title": "" if passage is None else passage.title,
                "cited_text": "" if passage is None else passage.text[place.start : place.end],
                "extras": {
                    "passage_id": place.passage_id, "start": place.start, "end": place.end
                },
            }
        )  # fmt: skip
    if annotations:
        block["annotations"] = annotations
    return block


def _audio_block(data: bytes, sample_rate: int) -> dict[str, Any]:
    return {
        "type": "audio",
        "base64": _encoded(data),
        "mime_type": f"{_PCM};rate={sample_rate}",
        "index": _AUDIO,
    }


def _sources(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "passage_id": hit.passage.id,
            "title": hit.passage.title,
            "score": hit.score,
            "rank": hit.rank,
        }
        for hit in answer.hits
    ]


def _ending(answer: Answer) -> dict[str, Any]:
    return {
        "output_version": "v1",  # the content is already in standard blocks
        "answered": answer.answered,
        "transcript": answer.transcript,
        "timings": dict(answer.timings),
    }


def _pcm(audio: Audio) -> bytes:
    """Return the samples as 16-bit little-endian PCM."""
    size = 2 * len(audio.samples)
    return to_wav_bytes(audio)[-size:] if size else b""


def _from_pcm(data: bytes, mime_type: str) -> Audio:
    rate = re.search(r";\s*rate=(\d{1,6})\b", mime_type)
    if rate is None or len(data) % 2:
        raise AudioError(
            f"an audio block of {mime_type!r} with {len(data)} bytes cannot be read; PCM is "
            "16-bit little-endian mono, and its type names the rate: 'audio/pcm;rate=16000'"
        )
    samples = np.frombuffer(data, "<i2").astype(np.float32) / _FULL_SCALE
    return Audio(samples, int(rate[1]))


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
