"""What a server takes in, keeps and does at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server takes in, keeps and does at a time.

    Args:
        prefix: Prefix of the variables that set the limits; messages name them.
        allowed_paths: Folders whose files may be named in calls.
        output_dir: Folder for speech that is saved as files; None saves none.
        max_audio_bytes: Largest clip that is taken in.
        max_speech_chars: Longest text to speak.
        max_text_chars: Longest text to ingest in one call.
        clip_seconds: How long a clip is kept.
        clip_bytes: Clips kept for each tenant.
        workers: Calls worked on at a time.
        max_waiting: Calls that may wait for a worker.
        open_stores: Collections of all tenants kept open at a time.
        read_only: Whether nothing may be written.
    """

    prefix: str = "VOICERAG_"
    allowed_paths: tuple[Path, ...] = ()
    output_dir: Path | None = None
    max_audio_bytes: int = 8_000_000
    max_speech_chars: int = 2000
    max_text_chars: int = 500_000
    clip_seconds: float = 3600
    clip_bytes: int = 64_000_000
    workers: int = 4
    max_waiting: int = 64
    open_stores: int = 8
    read_only: bool = False
