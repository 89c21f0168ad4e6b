"""Recordings as documents: windows of speech that are found by their sound and extracted as clips.

A window is a passage without text: its metadata holds the file and the start and end in seconds.
Any embedder that needs no transcript can compute its vector.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voicerag_core.audio import MIN_SECONDS, SPEECH_RATE_HZ, read_audio, resample
from voicerag_core.chunking import passage_id
from voicerag_core.documents import source_of
from voicerag_core.errors import AudioError, ConfigError
from voicerag_core.types import Audio, JSONValue, Passage

__all__ = [
    "RECORDING_VERSION",
    "WINDOW_SECONDS",
    "Window",
    "cut_clip",
    "read_recording",
    "speech_windows",
]

WINDOW_SECONDS = 12.0
"""Default longest window: one or two sentences, which is what speech encoders were trained on."""

MAX_RECORDING_SECONDS = 12 * 3600.0

RECORDING_VERSION = 1
"""Incremented when recordings are split differently; part of every digest."""

FRAME_SECONDS = 0.02
PAUSE_SECONDS = 0.3
"""A shorter gap does not split speech, in seconds."""
BREAK_SECONDS = 1.5
"""A longer gap always ends a window, in seconds."""
LEAST_SECONDS = 0.3
"""Shorter sounds are clicks, in seconds."""
MARGIN_SECONDS = 0.1
"""Kept on either side of speech, in seconds, so that soft beginnings and ends are not lost."""
RANGE_DB = 40.0
"""Speech is assumed to lie at most this far below the loudest frames of a recording, in dB."""
NOISE_DB = 6.0
"""How far above the noise floor of a recording a speech frame has to be, in dB."""

SILENT_DB = -70.0
"""Below this level nothing is speech, however quiet the rest."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of speech.

    Args:
        start: Its first sample.
        end: One past its last.
        sample_rate: Hz.
    """

    start: int
    end: int
    sample_rate: int

    @property
    def seconds(self) -> tuple[float, float]:
        """Start and end in seconds."""
        return self.start / self.sample_rate, self.end / self.sample_rate


def speech_windows(audio: Audio, *, max_seconds: float = WINDOW_SECONDS) -> list[Window]:
    """Split a recording at its pauses into ordered, non-overlapping windows of speech.

    Speech is distinguished from pauses by loudness. If there is no pause for longer than
    `max_seconds`, the window is cut at the quietest point of its second half.

    Args:
        audio: Of any length and rate.
        max_seconds: Longest window, at least 1.

    Raises:
        ConfigError: `max_seconds` is below 1.
    """
    if max_seconds < 1:
        raise ConfigError(f"a window is at least 1 s long, not {max_seconds:g} s")
    frame = max(1, round(FRAME_SECONDS * audio.sample_rate))
    levels = _levels(audio, frame)
    most = int(max_seconds / FRAME_SECONDS)
    margin = round(MARGIN_SECONDS / FRAME_SECONDS)
    windows: list[tuple[int, int]] = []
    for start, end in _stretches(levels):
        spread = (
            max(start - margin, windows[-1][1] if windows else 0),
            min(end + margin, len(levels)),
        )
        pieces = _bounded(levels, *spread, most)
        joins = (
            windows
            and pieces[0][1] - windows[-1][0] <= most
            and pieces[0][0] - windows[-1][1] <= BREAK_SECONDS / FRAME_SECONDS
        )
        if joins:
            windows[-1] = windows[-1][0], pieces.pop(0)[1]
        windows += pieces
    return [
        Window(start * frame, min(end * frame, len(audio.samples)), audio.sample_rate)
        for start, end in windows
        if (end - start) * FRAME_SECONDS >= LEAST_SECONDS
    ]


def read_recording(
    path: str | os.PathLike[str], *, max_seconds: float = WINDOW_SECONDS
) -> tuple[list[Passage], list[Audio]]:
    """Read a recording as passages, one per window, with the sound of each at 16 kHz.

    Passages carry `source`, `title` (the file's name), `position`, `kind` ("recording"),
    `start_seconds` and `end_seconds`; their text names the file and the time.

    Args:
        path: A file that libsndfile reads.
        max_seconds: Longest window.

    Raises:
        AudioError: The file cannot be read, is silent, or lasts longer than 12 hours.
    """
    source = source_of(path)
    name = Path(path).name
    audio = read_audio(path, max_seconds=MAX_RECORDING_SECONDS)
    passages, clips = [], []
    for position, window in enumerate(speech_windows(audio, max_seconds=max_seconds)):
        start, end = window.seconds
        text = f"{name}, {_clock(start)} to {_clock(end)}"
        metadata: dict[str, JSONValue] = {
            "source": source,
            "title": name,
            "position": position,
            "kind": "recording",
            "start_seconds": round(start, 3),
            "end_seconds": round(end, 3),
        }
        passages.append(Passage(passage_id(source, position, text), text, metadata))
        clips.append(Audio(audio.samples[window.start : window.end].copy(), audio.sample_rate))
    return passages, clips


def cut_clip(
    passage: Passage, *, margin_seconds: float = 0.0, sample_rate: int = SPEECH_RATE_HZ
) -> Audio:
    """Read the sound of a window from its file; no other part of the file is read.

    Args:
        passage: A passage of a recording.
        margin_seconds: How much to add on either side, within the file.
        sample_rate: Hz to convert to.

    Raises:
        ConfigError: The passage is not of a recording.
        AudioError: The file is gone, cannot be read, or has become shorter.
    """
    start, end = passage.metadata.get("start_seconds"), passage.metadata.get("end_seconds")
    if not isinstance(start, int | float) or not isinstance(end, int | float):
        raise ConfigError(
            f"passage {passage.id} of {passage.source or 'no source'} is text; only passages of "
            "recordings, with start_seconds and end_seconds, can be cut out"
        )
    import soundfile

    try:
        with soundfile.SoundFile(passage.source) as file:
            rate = int(file.samplerate)
            first = max(0, round((start - margin_seconds) * rate))
            last = min(file.frames, round((end + margin_seconds) * rate))
            file.seek(min(first, file.frames))
            block = file.read(max(0, last - first), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(f"{passage.source} cannot be read any more: {error}") from error
    if len(block) < MIN_SECONDS * rate:
        raise AudioError(
            f"{passage.source} has become shorter: it ends before {start:.2f} s; index it again"
        )
    return resample(Audio(block.mean(axis=1, dtype=np.float32), rate), sample_rate)


def _levels(audio: Audio, frame: int) -> NDArray[np.float64]:
    """Return the loudness of each frame in dB; the last frame may be shorter."""
    whole = -(-len(audio.samples) // frame)
    levels = np.empty(whole)
    for start in range(0, whole, 4096):  # in blocks: a recording may last hours
        piece = audio.samples[start * frame : (start + 4096) * frame].astype(np.float64)
        piece = np.pad(piece, (0, -len(piece) % frame))
        power = np.square(piece.reshape(-1, frame)).mean(axis=1)
        levels[start : start + len(power)] = 10 * np.log10(power + 1e-12)
    return levels


def _stretches(levels: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Find where speech is, in frames; gaps shorter than a pause belong to it."""
    if not len(levels):
        return []
    loud, floor = np.percentile(levels, 98), np.percentile(levels, 5)
    threshold = max(SILENT_DB, loud - RANGE_DB, min(floor + NOISE_DB, loud - NOISE_DB))
    active = np.flatnonzero(levels > threshold)
    if not len(active):
        return []
    gaps = np.flatnonzero(np.diff(active) > PAUSE_SECONDS / FRAME_SECONDS)
    starts = active[np.concatenate(([0], gaps + 1))]
    ends = active[np.concatenate((gaps, [len(active) - 1]))] + 1
    return [(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]


def _bounded(levels: NDArray[np.float64], start: int, end: int, most: int) -> list[tuple[int, int]]:
    """Split a stretch into parts of at most `most` frames, each at its quietest point."""
    pieces = []
    while end - start > most:
        later = start + most // 2
        cut = later + int(np.argmin(levels[later : start + most])) + 1
        pieces.append((start, cut))
        start = cut
    return [*pieces, (start, end)]


def _clock(seconds: float) -> str:
    """Write seconds as h:mm:ss, or m:ss below an hour."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
