"""Clips: made once, the same in every run, and harder ones of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from voicerag_core import Audio, ConfigError, write_wav
from voicerag_core.errors import GenerationError
from voicerag_core.evaluation.speech.degrading import CONDITIONS, Degrader, in_room
from voicerag_core.evaluation.speech.voices import (
    Clips,
    Voice,
    check_voices,
    installed_voices,
    named_voices,
    speakable,
    trimmed,
    voice_of,
)

RATE = 16_000


def tone(hertz: float = 300, seconds: float = 1.0) -> Audio:
    times = np.arange(int(seconds * RATE)) / RATE
    return Audio((0.2 * np.sin(2 * np.pi * hertz * times)).astype(np.float32), RATE)


def voice(said: list[str], sound: Audio | None = None) -> Voice:
    @contextlib.contextmanager
    def opened() -> Iterator[Callable[[str], Audio]]:
        def say(text: str) -> Audio:
            said.append(text)
            return tone() if sound is None else sound

        yield say

    return Voice("test/one+x", trained=False, open=opened)


def test_a_clip_is_made_once_for_each_voice_and_text(tmp_path: Path) -> None:
    said: list[str] = []
    for _ in range(2):
        with Clips(tmp_path, [voice(said)]) as clips:
            first = clips.audio("Who is O\u2019Neil?", "test/one+x")
            assert first == clips.audio("Who is O\u2019Neil?", "test/one+x")
    assert said == ["Who is O'Neil?"]
    assert np.abs(first.samples).max() == pytest.approx(0.25, abs=0.001)
    assert not list(tmp_path.rglob("*.part"))


def test_a_voice_that_says_nothing_or_is_not_there_is_refused(tmp_path: Path) -> None:
    silent = Audio(np.zeros(RATE, np.float32), RATE)
    with Clips(tmp_path, [voice([], silent)]) as clips:
        with pytest.raises(GenerationError, match="said nothing for 'who'"):
            clips.spoken("who", "test/one+x")
        with pytest.raises(ConfigError, match="'other' is not installed"):
            clips.spoken("who", "other")
    assert not list(tmp_path.rglob("*.wav"))


def test_questions_are_spread_over_the_voices_and_keep_theirs() -> None:
    voices = ["a", "b", "c", "d"]
    given = [voice_of(str(n), voices) for n in range(400)]
    assert given == [voice_of(str(n), voices) for n in range(400)]
    assert all(70 < given.count(one) < 130 for one in voices)


def test_texts_are_written_for_voices() -> None:
    assert speakable("Caf\u00e9 \u2013  na\u00efve?") == "Cafe - naive?"
    assert speakable("谁 是?") == "谁 是?"


def test_silence_around_speech_is_trimmed() -> None:
    quiet = np.zeros(RATE, np.float32)
    whole = Audio(np.concatenate((quiet, tone().samples, quiet)), RATE)
    assert trimmed(whole).seconds == pytest.approx(1.1, abs=0.03)


def test_four_unlike_voices_are_found_where_they_are_installed() -> None:
    try:
        voices = installed_voices()
    except ConfigError:
        pytest.skip("no synthesiser is installed")
    assert 1 <= len(voices) <= 4
    assert len({one.name for one in voices}) == len(voices)
    with pytest.raises(ConfigError, match="no voice for 'zh'"):
        installed_voices("zh", Path("/nonexistent"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "noise").mkdir()
    chance = np.random.default_rng(1)
    for name in ("kitchen", "noise4", "noise5"):
        noise = chance.normal(0, 0.1, 3 * RATE).astype(np.float32)
        write_wav(tmp_path / "noise" / f"{name}.wav", Audio(noise, RATE))
    for name in ("rir1", "rir2", "rir3", "rir4"):
        fall = np.exp(-np.arange(RATE // 4) / 800) * chance.normal(0, 0.05, RATE // 4)
        fall[100] = 0.9
        write_wav(tmp_path / "noise" / f"{name}.wav", Audio(fall.astype(np.float32), RATE))
    return tmp_path


@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_condition_is_the_same_in_every_run(data: Path, condition: str) -> None:
    clip = tone()
    first, again = (Degrader(data).apply(clip, condition, "s/q1") for _ in range(2))
    assert first == again
    assert (first == clip) == (condition == "clean")
    assert np.isfinite(first.samples).all()


@pytest.mark.parametrize("level", [20, 10, 5, 0])
def test_noise_is_as_loud_as_it_says(data: Path, level: int) -> None:
    clip = tone()
    noise = Degrader(data).apply(clip, f"{level} dB", "q").samples - clip.samples
    ratio = 10 * np.log10(np.mean(clip.samples**2) / np.mean(noise**2))
    assert ratio == pytest.approx(level, abs=0.1)


def test_a_room_rings_on_without_moving_the_speech() -> None:
    click = np.zeros(RATE, np.float32)
    click[RATE // 2] = 0.5
    response = np.zeros(4000, np.float32)
    response[200], response[2200] = 1.0, 0.5
    wet = in_room(click, response)
    assert int(np.abs(wet).argmax()) == RATE // 2
    assert abs(wet[RATE // 2 + 2000]) > 0.3 * np.abs(wet).max()


def test_without_recordings_noise_is_refused_and_the_telephone_is_not() -> None:
    with pytest.raises(ConfigError, match="--data"):
        Degrader(None).apply(tone(), "10 dB", "q")
    assert Degrader(None).apply(tone(), "telephone", "q") != tone()
    assert [one for one in CONDITIONS if Degrader(None).can(one)] == ["clean", "telephone"]
    with pytest.raises(ConfigError, match="no condition"):
        Degrader(None).apply(tone(), "loud", "q")


def test_a_condition_needs_all_recordings_that_it_may_draw(data: Path) -> None:
    assert [one for one in CONDITIONS if Degrader(data).can(one)] == list(CONDITIONS)
    (data / "noise" / "rir4.wav").unlink()
    assert [one for one in CONDITIONS if not Degrader(data).can(one)] == ["room"]
    (data / "noise" / "noise5.wav").unlink()
    assert [one for one in CONDITIONS if Degrader(data).can(one)] == ["clean", "telephone"]


def test_voices_are_named_and_their_language_is_known() -> None:
    names = ("piper/joe", "espeak/cmn", "rhvoice/clb", "espeak/en-gb", "espeak/de")
    named = {code: [one.name for one in named_voices(code, names)] for code in ("en", "zh", "de")}
    assert named["en"] == ["piper/joe", "rhvoice/clb", "espeak/en-gb"]
    assert named["zh"] == ["espeak/cmn"]
    assert named["de"] == ["espeak/de"]
    with pytest.raises(ConfigError, match="speaks 'fr'"):
        named_voices("fr", names)
    with pytest.raises(ConfigError, match="no voice 'piper/amy'"):
        check_voices(("piper/joe", "piper/amy"))
