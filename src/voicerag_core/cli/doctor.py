"""``voicerag doctor``."""

from __future__ import annotations

from voicerag_core.cli.question import JsonOutput
from voicerag_core.cli.running import Given

__all__ = ["doctor"]


def doctor(given: Given, json_output: JsonOutput = False) -> None:
    """Check what runs here, and say of each finding what to do about it."""
