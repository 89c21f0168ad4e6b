"""What every tool works with, and the way from a call's arguments to a question and back."""

from __future__ import annotations

import base64
import binascii
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Literal, TypeAlias, TypeVar

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ContentBlock
from starlette.requests import Request

from voicerag_core import (
    Audio,
    AudioError,
    CancelledError,
    ConfigError,
    SchemaError,
    StoreError,
    VoiceRAGError,
    read_audio,
    write_wav,
)
from voicerag_core.filters import And, Eq, Filter, In
from voicerag_mcp.auth import Caller, running_caller
from voicerag_mcp.clips import ClipStore
from voicerag_mcp.knowledge import Knowledge
from voicerag_mcp.paths import AllowedPaths
from voicerag_mcp.results import SpokenAudio, audio_link, inline_audio
from voicerag_mcp.settings import ServerSettings
from voicerag_mcp.work import Job, Stopped, Workers

__all__ = ["AudioOutput", "QuestionSource", "Service", "Where", "told"]

AudioOutput: TypeAlias = Literal["link", "none", "inline", "file"]
Where: TypeAlias = Mapping[str, str | int | float | bool | list[str | int | float | bool]]

MOST_INLINE_BYTES = 2_000_000
_MOST_RECENT = 256

_T = TypeVar("_T")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class QuestionSource:
    """The ways by which a call can give a question; exactly one is used."""

    text: str | None = None
    clip: str | None = None
    audio_path: str | None = None
    audio_base64: str | None = None


@dataclass(slots=True)
class Service:
    """The parts of a running server.

    Args:
        knowledge: Models and stores.
        settings: Limits.
        clips: Sound that is kept for a while.
        paths: Files that may be named.
        workers: Threads for what blocks.
    """

    knowledge: Knowledge
    settings: ServerSettings
    clips: ClipStore
    paths: AllowedPaths
    workers: Workers
    _recent: OrderedDict[tuple[str, str], None] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    @property
    def caller(self) -> Caller:
        """Who makes the running call.

        Raises:
            ToolError: It needs a token and has none.
        """
        return running_caller(
            default=self.knowledge.settings.tenant, needs_token=self.settings.authenticates
        )

    @property
    def tenant(self) -> str:
        """Whose data the running call may see."""
        return self.caller.tenant

    async def run(self, ctx: Context[None, object], work: Callable[[Job], _T]) -> _T:
        """Do a call's work on a thread, for as long as its caller is there."""
        request = ctx.request_context.request
        gone = request.is_disconnected if isinstance(request, Request) else None
        return await self.workers.run(work, ctx.report_progress, gone)

    def other_collection(self, collection: str | None) -> str | None:
        """Return the name of a collection, or None for the default one."""
        return None if collection == self.knowledge.settings.collection else collection

    def question(self, given: QuestionSource, tenant: str) -> Audio | str:
        """Make the question of a call's arguments.

        Raises:
            ConfigError: Not exactly one way was used.
            AudioError: The sound cannot be used.
            DocumentError: The path may not be read.
        """
        ways = {
            "text": given.text,
            "clip": given.clip,
            "audio_path": given.audio_path,
            "audio_base64": given.audio_base64,
        }
        used = [name for name, value in ways.items() if value is not None]
        if len(used) != 1:
            raise ConfigError(
                f"give the question in exactly one of {', '.join(ways)}; given: "
                f"{', '.join(used) or 'none'}"
            )
        if given.text is not None:
            return given.text
        return self.audio(given, tenant)

    def audio(self, given: QuestionSource, tenant: str) -> Audio:
        """Make sound of the arguments, whichever of the three ways of sound is used."""
        if given.clip is not None:
            return self.decoded(self.clips.get(tenant, given.clip).wav)
        if given.audio_path is not None:
            return self.decoded(self.paths.read(given.audio_path, self.settings.max_audio_bytes))
        if given.audio_base64 is not None:
            return self.decoded(_from_base64(given.audio_base64, self.settings.max_audio_bytes))
        raise ConfigError("give sound in exactly one of clip, audio_path, audio_base64")

    def decoded(self, data: bytes) -> Audio:
        """Make checked sound of the bytes of a file."""
        return read_audio(data, max_seconds=self.knowledge.settings.max_question_seconds)

    def spoken(
        self, audio: Audio, tenant: str, output: AudioOutput, name: str
    ) -> tuple[SpokenAudio, list[ContentBlock]]:
        """Put speech where the caller wants it.

        Returns:
            Where it is, and the content to send.
        """
        seconds = round(audio.seconds, 3)
        if output == "file":
            path = self.output_folder() / f"{name}-{secrets.token_hex(8)}.wav"
            write_wav(path, audio)
            size = path.stat().st_size
            return SpokenAudio(path=str(path), seconds=seconds, bytes=size), []
        clip = self.clips.add(tenant, audio)
        spoken = SpokenAudio(uri=clip.uri, clip_id=clip.id, seconds=seconds, bytes=len(clip.wav))
        if output == "inline" and len(clip.wav) <= MOST_INLINE_BYTES:
            return spoken, [inline_audio(base64.b64encode(clip.wav).decode())]
        return spoken, [audio_link(spoken, f"{name}.wav")]

    def output_folder(self) -> Path:
        """Return the folder for saved speech.

        Raises:
            ConfigError: There is none.
        """
        folder = self.settings.output_dir
        if folder is None:
            raise ConfigError(
                "this server saves no files; take audio='link', or let whoever runs the server "
                "set VOICERAG_MCP_OUTPUT_DIR"
            )
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def remember(self, tenant: str, ids: Sequence[str]) -> None:
        """Note passages that a call showed, for the completion of their ids."""
        with self._lock:
            for key in ids:
                self._recent[tenant, key] = None
                self._recent.move_to_end((tenant, key))
            while len(self._recent) > _MOST_RECENT:
                self._recent.popitem(last=False)

    def recent(self, tenant: str) -> list[str]:
        """Return the ids of the passages shown last, newest first."""
        with self._lock:
            return [key for owner, key in reversed(self._recent) if owner == tenant]


@contextmanager
def told() -> Iterator[None]:
    """Turn our errors into what the assistant reads; what concerns the server goes to its log.

    Raises:
        ToolError: One of our errors came up.
    """
    try:
        yield
    except (Stopped, CancelledError):
        raise ToolError("the call was stopped") from None
    except StoreError as error:
        if isinstance(error, SchemaError) or error.__cause__ is not None:
            _logger.error("the database failed: %s", error)
            raise ToolError(
                "the database cannot be used at the moment; repeat the call later "
                "(the server's log says what is wrong)"
            ) from error
        raise ToolError(str(error)) from error
    except VoiceRAGError as error:
        raise ToolError(str(error)) from error


def metadata_filter(where: Where | None) -> Filter | None:
    """Make a filter of what metadata must equal; a list means any of its values."""
    if not where:
        return None
    return And(
        tuple(
            In(key, tuple(value)) if isinstance(value, list) else Eq(key, value)
            for key, value in where.items()
        )
    )


def _from_base64(text: str, most_bytes: int) -> bytes:
    body = text.partition(";base64,")[2] if text.startswith("data:") else text
    if len(body) > most_bytes * 4 // 3 + 4:
        raise AudioError(
            f"the sound has about {len(body) * 3 // 4} bytes, and {most_bytes} are taken; give a "
            "shorter or a compressed clip (ogg, mp3), or upload it"
        )
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise AudioError(
            f"audio_base64 is not base64 ({error}); give the bytes of a wav, flac, ogg or mp3 "
            "file in the standard alphabet"
        ) from error
