"""The features against those of faster-whisper.

`golden_log_mel.npz` holds what ``faster_whisper.feature_extractor.FeatureExtractor()`` of
faster-whisper 1.2.1 gives for the clip made below, called with ``padding=0``: ``plain`` is every
7th frame for the clip itself, ``padded`` every 11th of the first 400 frames for the clip followed
by zeros to 480,000 samples. To make it anew, run that in an environment of its own and store the
two arrays with ``numpy.savez_compressed``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from voicerag_core.local.hearing.log_mel import MELS, log_mel
from voicerag_core.mel import mel_filters
from voicerag_core.types import Samples

TOLERANCE = 1e-4


@pytest.fixture
def clip() -> Samples:
    """A sweep that swells three times a second over a faint high tone, 3 s."""
    time = np.arange(3 * 16_000) / 16_000
    sweep = 0.4 * np.sin(2 * np.pi * (80 * time + 650 * time**2))
    swell = (1 + np.sin(2 * np.pi * 3 * time)) / 2
    return (sweep * swell + 0.02 * np.sin(2 * np.pi * 5000 * time)).astype(np.float32)


def test_features_are_the_library_s(clip: Samples) -> None:
    with np.load(Path(__file__).with_name("golden_log_mel.npz")) as golden:
        ours = log_mel(clip)
        assert ours.shape == (MELS, 300)
        assert ours.dtype == np.float32
        assert np.abs(ours[:, ::7] - golden["plain"]).max() < TOLERANCE
        padded = log_mel(np.pad(clip, (0, 480_000 - len(clip))))
        assert padded.shape == (MELS, 3000)
        assert np.abs(padded[:, :400:11] - golden["padded"]).max() < TOLERANCE


@pytest.mark.parametrize("seconds", [0.02, 2.99, 3.0, 15.0])
def test_silence_behind_a_clip_need_not_be_written(clip: Samples, seconds: float) -> None:
    said, length = clip[: int(16_000 * seconds)], 48_000 if seconds < 4 else 240_000
    padded = log_mel(np.pad(said, (0, length - len(said))))
    assert np.array_equal(log_mel(said, length=length), padded)


def test_features_tell_clips_apart(clip: Samples) -> None:
    changed = clip + 0.01 * np.sin(np.arange(len(clip))).astype(np.float32)
    assert np.abs(log_mel(changed) - log_mel(clip)).max() > 100 * TOLERANCE


def test_each_filter_has_the_same_area() -> None:
    filters = mel_filters(MELS)
    assert filters.shape == (MELS, 201)
    wide = filters[40:].sum(axis=1)
    assert np.allclose(40 * wide, 1, rtol=0.08)  # a bin is 40 Hz wide


def test_silence_gives_an_even_floor() -> None:
    floor = log_mel(np.zeros(16_000, np.float32))
    assert np.allclose(floor, -1.5)
