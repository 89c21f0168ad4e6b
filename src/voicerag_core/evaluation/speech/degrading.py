"""Clips with noise, in rooms, and through a telephone; repeatable."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from voicerag_core.audio import SPEECH_RATE_HZ, read_audio
from voicerag_core.errors import ConfigError
from voicerag_core.types import Audio, Samples

__all__ = [
    "CLEAN",
    "CONDITIONS",
    "NOISE_LEVELS",
    "ROOM",
    "TELEPHONE",
    "Degrader",
    "add_noise",
    "in_room",
    "telephone",
]

CLEAN, TELEPHONE, ROOM = "clean", "telephone", "room"
NOISE_LEVELS = (20, 10, 5, 0)
"""Decibels by which the speech is louder than the noise."""
CONDITIONS = (CLEAN, *(f"{level} dB" for level in NOISE_LEVELS), ROOM, TELEPHONE)
UNTRAINED_NOISES = ("kitchen", "noise4", "noise5")
"""Of the recorded noises those that training/speech_encoder/prepare.py leaves alone."""
ROOMS = ("rir1", "rir2", "rir3", "rir4")
TELEPHONE_BAND_HZ = (300.0, 3400.0)


class Degrader:
    """Makes clips harder, each the same way in every run.

    Args:
        data: Folder with ``noise/``; None: only `CLEAN` and `TELEPHONE` can be made.
    """

    def __init__(self, data: Path | None) -> None:
        self._data = data
        self._read: dict[str, Samples] = {}

    def can(self, condition: str) -> bool:
        """Return whether all recordings are there that a condition may need."""
        needed = {ROOM: ROOMS, CLEAN: (), TELEPHONE: ()}.get(condition, UNTRAINED_NOISES)
        return all((file := self._file(name)) is not None and file.is_file() for name in needed)

    def apply(self, audio: Audio, condition: str, key: str) -> Audio:
        """Return a clip under a condition.

        Args:
            audio: At 16 kHz.
            condition: One of `CONDITIONS`.
            key: Chooses noise, offset and room, such as the id of the question.

        Raises:
            ConfigError: The condition is unknown, or needs recordings that are not there.
        """
        if condition == CLEAN:
            return audio
        samples = audio.samples
        if condition == TELEPHONE:
            return Audio(telephone(samples), audio.sample_rate)
        chance = np.random.default_rng(
            int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
        )
        if condition == ROOM:
            room = self._recording(ROOMS[int(chance.integers(len(ROOMS)))])
            return Audio(in_room(samples, room), audio.sample_rate)
        if condition not in CONDITIONS:
            raise ConfigError(f"no condition {condition!r}; choose of {', '.join(CONDITIONS)}")
        noise = self._recording(UNTRAINED_NOISES[int(chance.integers(len(UNTRAINED_NOISES)))])
        level = float(condition.split(maxsplit=1)[0])
        return Audio(add_noise(samples, noise, level, chance), audio.sample_rate)

    def _file(self, name: str) -> Path | None:
        return None if self._data is None else self._data / "noise" / f"{name}.wav"

    def _recording(self, name: str) -> Samples:
        file = self._file(name)
        if file is None:
            raise ConfigError("noise and rooms are recordings: give --data, the folder with noise/")
        if name not in self._read:
            if not file.is_file():
                raise ConfigError(
                    f"{file} is missing; --data is the folder that holds noise/{name}.wav"
                )
            self._read[name] = read_audio(file, max_seconds=600).samples
        return self._read[name]


def check_conditions(conditions: Sequence[str]) -> None:
    """Refuse conditions that there are none of.

    Raises:
        ConfigError: One is unknown.
    """
    unknown = [one for one in conditions if one not in CONDITIONS]
    if unknown:
        raise ConfigError(f"no condition {unknown[0]!r}; choose of {', '.join(CONDITIONS)}")


def add_noise(
    samples: Samples, noise: Samples, level: float, random: np.random.Generator
) -> Samples:
    """Mix in a random section of noise, `level` dB below the speech by mean power."""
    noise = np.tile(noise, -(-len(samples) // len(noise)))
    start = random.integers(len(noise) - len(samples) + 1)
    piece = noise[start : start + len(samples)]
    power = np.mean(np.square(samples)) / max(float(np.mean(np.square(piece))), 1e-12)
    mixed: Samples = (samples + piece * np.sqrt(power) * 10 ** (-level / 20)).astype(np.float32)
    return mixed


def in_room(samples: Samples, response: Samples) -> Samples:
    """Convolve with the impulse response of a room, at the loudness of the clip."""
    size = len(samples) + len(response) - 1
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(response, size)
    wet = np.fft.irfft(spectrum, size)
    # The direct sound stays where it was: its delay is no part of the room's sound.
    wet = wet[int(np.abs(response).argmax()) :][: len(samples) + len(response) // 2]
    power = np.mean(np.square(samples)) / max(float(np.mean(np.square(wet))), 1e-12)
    loud: Samples = np.clip(wet * np.sqrt(power), -1, 1).astype(np.float32)
    return loud


def telephone(samples: Samples) -> Samples:
    """Band-limit to a telephone and quantize to 8-bit mu-law (ITU-T G.711, mu 255)."""
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / SPEECH_RATE_HZ)
    low, high = TELEPHONE_BAND_HZ
    narrow = np.fft.irfft(spectrum * ((hertz >= low) & (hertz <= high)), len(samples))
    peak = max(float(np.abs(narrow).max()), 1e-9)
    compressed = np.sign(narrow) * np.log1p(255 * np.abs(narrow) / peak) / np.log(256)
    stepped = np.round(compressed * 127) / 127
    heard: Samples = np.sign(stepped) * (256 ** np.abs(stepped) - 1) / 255 * peak
    return heard.astype(np.float32)
