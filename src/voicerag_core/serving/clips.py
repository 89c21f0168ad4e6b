"""Temporary storage of uploaded and spoken clips by id."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from voicerag_core.audio import to_wav_bytes, write_wav
from voicerag_core.errors import AudioError, NotFoundError
from voicerag_core.types import Audio

__all__ = ["ClipStore", "KeptClip", "KeptSpeech", "clip_uri", "save_speech"]

_URI = "voicerag://clip/"
_CLIP_BYTES = 500
"""Memory of a kept clip beyond its sound; it bounds the number of short ones."""

_MOST_REMEMBERED = 4096
"""Number of expired ids that are remembered, to distinguish them from unknown ones."""


@dataclass(frozen=True, slots=True)
class KeptClip:
    """A stored clip.

    Args:
        id: Random, not guessable.
        wav: The bytes of a 16-bit WAV file.
        seconds: Its length.
        expires: When it expires, on the clock of the store.
    """

    id: str
    wav: bytes
    seconds: float
    expires: float

    @property
    def uri(self) -> str:
        """The clip as a resource."""
        return clip_uri(self.id)

    def __repr__(self) -> str:
        """Show everything but the sound."""
        return f"KeptClip({self.id!r}, {self.seconds:.2f} s, {len(self.wav)} bytes)"


@dataclass(frozen=True, slots=True)
class KeptSpeech:
    """Speech generated for a caller, stored as a clip or as a file.

    Args:
        seconds: Its length.
        size: Bytes of its WAV file.
        clip: The clip.
        path: The file.
    """

    seconds: float
    size: int
    clip: KeptClip | None = None
    path: Path | None = None


def save_speech(folder: Path, audio: Audio, name: str) -> KeptSpeech:
    """Write speech to a new file of a folder; `name` begins the file's name."""
    path = folder / f"{name}-{secrets.token_hex(8)}.wav"
    write_wav(path, audio)
    return KeptSpeech(audio.seconds, path.stat().st_size, path=path)


def clip_uri(clip_id: str) -> str:
    """Return the URI of a clip."""
    return f"{_URI}{clip_id}"


class ClipStore:
    """Stores clips in memory, visible only to their tenant. Thread-safe.

    Clips are removed when they expire, and the oldest also when the tenant's share is full. When
    the memory for all is full, the tenant that holds most gives up its oldest.

    Args:
        lifetime: Seconds that a clip is kept.
        most_bytes: Bytes kept for each tenant.
        most_of_all: Bytes kept for all tenants together; None: no bound.
        prefix: Prefix of the variables that set the server's limits; messages name them.
        clock: Returns seconds.
    """

    def __init__(
        self,
        lifetime: float,
        most_bytes: int,
        *,
        most_of_all: int | None = None,
        prefix: str = "VOICERAG_",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lifetime = lifetime
        self._prefix = prefix
        self._most_bytes = most_bytes if most_of_all is None else min(most_bytes, most_of_all)
        self._most_of_all = most_of_all
        self._clock = clock
        self._lock = threading.Lock()
        self._clips: dict[str, OrderedDict[str, KeptClip]] = {}
        self._bytes: Counter[str] = Counter()
        self._gone: OrderedDict[tuple[str, str], None] = OrderedDict()

    def add(self, tenant: str, audio: Audio) -> KeptClip:
        """Store a clip.

        Raises:
            AudioError: The clip alone exceeds the tenant's share.
        """
        wav = to_wav_bytes(audio)
        if len(wav) > self._most_bytes:
            raise AudioError(
                f"the sound has {len(wav)} bytes, and {self._most_bytes} are kept for each tenant; "
                f"take a shorter one ({self._prefix}CLIP_BYTES sets the limit)"
            )
        now = self._clock()
        clip = KeptClip(secrets.token_urlsafe(16), wav, audio.seconds, now + self.lifetime)
        with self._lock:
            self._drop_expired(now)
            size = len(wav) + _CLIP_BYTES
            while self._bytes[tenant] + size > self._most_bytes:
                if not self._clips.get(tenant):
                    break  # a clip of the whole share is kept, alone
                self._drop_oldest(tenant)
            while self._most_of_all is not None and self._bytes.total() + size > self._most_of_all:
                if not self._clips:
                    break
                self._drop_oldest(max(self._clips, key=lambda one: self._bytes[one]))
            self._clips.setdefault(tenant, OrderedDict())[clip.id] = clip
            self._bytes[tenant] += size
        return clip

    def get(self, tenant: str, name: str) -> KeptClip:
        """Return a clip by id or URI.

        Raises:
            NotFoundError: It does not exist, or has expired.
        """
        key = name.removeprefix(_URI)
        with self._lock:
            self._drop_expired(self._clock())
            clip = self._clips.get(tenant, OrderedDict[str, KeptClip]()).get(key)
            expired = (tenant, key) in self._gone
        if clip is not None:
            return clip
        shown = key if len(key) <= 64 else key[:64] + "…"  # noqa: PLR2004
        if expired:
            raise NotFoundError(
                f"the clip {shown!r} has expired: clips are kept for {self.lifetime / 60:g} "
                "minutes and make room for newer ones; upload it again"
            )
        raise NotFoundError(
            f"there is no clip {shown!r}; give the id of an uploaded clip or of a spoken answer"
        )

    def ids(self, tenant: str) -> list[str]:
        """Return the ids of a tenant's clips, newest first."""
        with self._lock:
            self._drop_expired(self._clock())
            return list(reversed(self._clips.get(tenant, {})))

    def _drop_expired(self, now: float) -> None:
        for tenant, clips in list(self._clips.items()):
            while clips and next(iter(clips.values())).expires <= now:
                self._drop_oldest(tenant)

    def _drop_oldest(self, tenant: str) -> None:
        clips = self._clips[tenant]
        oldest, clip = clips.popitem(last=False)
        self._bytes[tenant] -= len(clip.wav) + _CLIP_BYTES
        self._remember(tenant, oldest)
        if not clips:
            del self._clips[tenant], self._bytes[tenant]

    def _remember(self, tenant: str, key: str) -> None:
        self._gone[tenant, key] = None
        if len(self._gone) > _MOST_REMEMBERED:
            self._gone.popitem(last=False)
