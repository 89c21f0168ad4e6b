"""The limits of a server: sizes, lifetimes and concurrency."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a server: sizes, lifetimes and concurrency.

    Args:
        prefix: Prefix of the variables that set the limits; messages name them.
        allowed_paths: Folders whose files calls may name.
        output_dir: Folder for speech that is saved as files; None: no files are saved.
        max_audio_bytes: Largest accepted clip, in bytes.
        max_speech_chars: Longest text to speak.
        max_text_chars: Longest text to ingest in one call.
        clip_seconds: Seconds that a clip is kept.
        clip_bytes: Memory for clips per tenant, in bytes.
        clip_bytes_total: Memory for the clips of all tenants, in bytes.
        workers: Calls processed concurrently; None: as many as the model answers at a time, and
            some more for calls that it does not answer.
        max_waiting: Calls that may wait for a worker.
        open_stores: Collections of all tenants kept open at a time.
        read_only: Whether writing is disabled.
    """

    prefix: str = "VOICERAG_"
    allowed_paths: tuple[Path, ...] = ()
    output_dir: Path | None = None
    max_audio_bytes: int = 8_000_000
    max_speech_chars: int = 2000
    max_text_chars: int = 500_000
    clip_seconds: float = 3600
    clip_bytes: int = 64_000_000
    clip_bytes_total: int = 512_000_000
    workers: int | None = None
    max_waiting: int = 64
    open_stores: int = 8
    read_only: bool = False
