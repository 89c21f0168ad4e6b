"""Bytes and files to checked `Audio`, and back.

Sound is checked once, here at the edge; later stages check only the rate. A file may come from a
stranger, so its frames, channels, rate and bytes are bounded besides its seconds, and it is
decoded block by block. What libsndfile reads is decoded in this process; other containers are
decoded by the ``ffmpeg`` program in a process with limits.
"""

from __future__ import annotations

from voicerag_core.audio.checks import (
    MAX_SECONDS,
    MIN_SECONDS,
    SPEECH_RATE_HZ,
    check_audio,
)
from voicerag_core.audio.reading import read_audio
from voicerag_core.audio.resampling import LiveResampler, resample
from voicerag_core.audio.streaming import (
    SOUND_FORMATS,
    PcmReader,
    SoundEncoder,
    SoundFormat,
    pcm16,
    samples_of_pcm16,
)
from voicerag_core.audio.writing import private_draft, to_wav_bytes, write_wav

__all__ = [
    "MAX_SECONDS",
    "MIN_SECONDS",
    "SOUND_FORMATS",
    "SPEECH_RATE_HZ",
    "LiveResampler",
    "PcmReader",
    "SoundEncoder",
    "SoundFormat",
    "check_audio",
    "pcm16",
    "private_draft",
    "read_audio",
    "resample",
    "samples_of_pcm16",
    "to_wav_bytes",
    "write_wav",
]
