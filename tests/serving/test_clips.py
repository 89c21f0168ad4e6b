"""Clips are bounded in size and time, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from voicerag_core import Audio, AudioError, NotFoundError, read_audio
from voicerag_core.serving import ClipStore
from voicerag_core.serving.clips import save_speech


def sound(seconds: float) -> Audio:
    return Audio(np.full(round(16_000 * seconds), 0.1, np.float32), 16_000)


def test_a_clip_is_its_tenants_alone() -> None:
    clips = ClipStore(60, 1_000_000)
    clip = clips.add("a", sound(1))
    assert clips.get("a", clip.uri) is clips.get("a", clip.id) is clip
    with pytest.raises(NotFoundError, match="there is no clip"):
        clips.get("b", clip.id)
    assert clips.ids("b") == []


def test_a_clip_expires() -> None:
    now = 0.0
    clips = ClipStore(60, 1_000_000, clock=lambda: now)
    clip = clips.add("a", sound(1))
    now = 59.9
    assert clips.get("a", clip.id) is clip
    now = 60.0
    with pytest.raises(NotFoundError, match="expired"):
        clips.get("a", clip.id)
    assert clips.ids("a") == []


def test_the_oldest_clip_of_the_same_tenant_makes_room() -> None:
    clips = ClipStore(60, 100_000, prefix="VOICERAG_X_")
    other = clips.add("b", sound(2))
    first, second, third = (clips.add("a", sound(1.4)) for _ in range(3))
    assert clips.ids("a") == [third.id, second.id]
    assert clips.get("b", other.id) is other
    with pytest.raises(NotFoundError, match="expired"):
        clips.get("a", first.id)
    with pytest.raises(AudioError, match=r"100000 are kept.*VOICERAG_X_CLIP_BYTES"):
        clips.add("a", sound(4))


def test_ids_cannot_be_guessed_and_sound_is_never_shown() -> None:
    clips = ClipStore(60, 1_000_000)
    made = [clips.add("a", sound(0.1)) for _ in range(50)]
    assert len({clip.id for clip in made}) == 50
    assert all(len(clip.id) >= 20 for clip in made)
    assert "RIFF" not in repr(made[0])


def test_speech_is_saved_under_a_new_name_each_time(tmp_path: Path) -> None:
    first, second = (save_speech(tmp_path, sound(1), "answer") for _ in range(2))
    assert first.path is not None
    assert first.path != second.path
    assert first.path.name.startswith("answer-")
    assert first.path.stat().st_size == first.size
    assert read_audio(first.path).seconds == first.seconds == 1


def test_the_memory_for_all_tenants_is_bounded() -> None:
    clips = ClipStore(60, 100_000, most_of_all=300_000)
    small = clips.add("small", sound(1))
    for number in range(40):
        clips.add(f"tenant-{number % 10}", sound(1))
        clips.add("greedy", sound(1))
    names = ["small", "greedy", *(f"tenant-{number}" for number in range(10))]
    kept = [clip for name in names for clip in clips.ids(name)]
    assert len(kept) * 32_544 <= 300_000
    assert len(clips.ids("greedy")) <= 2
    assert small.id not in kept or clips.get("small", small.id) is small


def test_a_tenant_alone_cannot_take_what_others_keep() -> None:
    clips = ClipStore(60, 100_000, most_of_all=150_000)
    other = clips.add("other", sound(1))
    for _ in range(50):
        clips.add("greedy", sound(1))
    assert clips.get("other", other.id) is other


def test_many_short_clips_are_bounded_too() -> None:
    clips = ClipStore(60, 100_000)
    made = [clips.add("a", sound(0.025)) for _ in range(500)]
    assert 50 < len(clips.ids("a")) < 100
    assert clips.ids("a")[0] == made[-1].id
