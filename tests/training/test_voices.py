"""The training voices: what they say, at which rate and pitch, and who is kept back.

The system's engines are used, or those in the folder named by VOICERAG_TTS_ROOT (written by
bundle_voices.py); a test whose engine is in neither is skipped.
"""

from __future__ import annotations

import os
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from training.speech_encoder import bundle_voices
from training.speech_encoder.voices import (
    HELD_OUT_SPEAKERS,
    SAMPLE_RATE_HZ,
    Speaker,
    Voice,
    held_out_voices,
    resample,
    training_voices,
    trim,
)
from voicerag_core.evaluation.speech.engines import (
    ENGINES,
    Library,
    MissingVoiceError,
    SynthesisError,
)

ROOT = Path(os.environ["VOICERAG_TTS_ROOT"]) if "VOICERAG_TTS_ROOT" in os.environ else None
TEXT = "Why did the church refuse the new translation?"
SAMPLES = npt.NDArray[np.float32]


def voice_of(engine: str) -> Voice:
    for voice in training_voices(ROOT):
        if voice.engine == engine and voice.formants == 1:
            return voice
    pytest.skip(f"{engine} is not installed here: set VOICERAG_TTS_ROOT to a carried folder")


def fundamental_hz(samples: SAMPLES) -> float:
    """Median over voiced 40 ms frames of the strongest lag of the autocorrelation, 60-400 Hz."""
    size = 640
    found: list[float] = []
    for start in range(0, len(samples) - size, size // 2):
        frame = samples[start : start + size] - samples[start : start + size].mean()
        if np.sqrt(np.mean(frame**2)) < 0.1 * np.abs(samples).max():
            continue
        correlation = np.correlate(frame, frame, "full")[size - 1 :]
        low, high = SAMPLE_RATE_HZ // 400, SAMPLE_RATE_HZ // 60
        lag = low + int(correlation[low:high].argmax())
        if correlation[lag] > 0.4 * correlation[0]:
            found.append(SAMPLE_RATE_HZ / lag)
    return float(np.median(found))


def centroid_hz(samples: SAMPLES) -> float:
    power = np.abs(np.fft.rfft(samples)) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE_HZ)
    return float((hertz * power).sum() / power.sum())


def edge_silence_s(samples: SAMPLES) -> tuple[float, float]:
    (loud,) = np.nonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    return loud[0] / SAMPLE_RATE_HZ, (len(samples) - 1 - loud[-1]) / SAMPLE_RATE_HZ


@pytest.mark.parametrize("engine", ENGINES)
def test_an_utterance_is_normalised_and_close_cut(engine: str) -> None:
    samples = Speaker(voice_of(engine), ROOT).speak(TEXT)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert 0.05 < np.abs(samples).max() <= 1
    assert 1.5 < len(samples) / SAMPLE_RATE_HZ < 6
    assert max(edge_silence_s(samples)) < 0.2


@pytest.mark.parametrize("engine", ENGINES)
def test_rate_and_pitch_are_factors(engine: str) -> None:
    speaker = Speaker(voice_of(engine), ROOT)
    plain = speaker.speak(TEXT)
    fast = speaker.speak(TEXT, rate=1.25)
    assert len(plain) / len(fast) == pytest.approx(1.25, rel=0.12)
    high = speaker.speak(TEXT, pitch=1.2)
    assert fundamental_hz(high) / fundamental_hz(plain) == pytest.approx(1.2, rel=0.1)
    again = speaker.speak(TEXT)
    assert len(again) == pytest.approx(len(plain), rel=0.02)
    assert fundamental_hz(again) == pytest.approx(fundamental_hz(plain), rel=0.03)


@pytest.mark.parametrize("engine", ["flite", "rhvoice", "pico"])
def test_formants_move_without_pitch_and_rate(engine: str) -> None:
    voice = voice_of(engine)
    plain = Speaker(voice, ROOT).speak(TEXT)
    short = next(v for v in training_voices(ROOT) if v.name == voice.name and v.formants > 1.1)
    moved = Speaker(short, ROOT).speak(TEXT)
    assert len(moved) == pytest.approx(len(plain), rel=0.1)
    assert fundamental_hz(moved) == pytest.approx(fundamental_hz(plain), rel=0.1)
    assert centroid_hz(moved) > 1.05 * centroid_hz(plain)


def test_speakers_of_all_engines_share_a_process() -> None:
    chosen = [voice_of(e) for e in ENGINES if any(v.engine == e for v in training_voices(ROOT))]
    if len(chosen) < 2:
        pytest.skip("fewer than two engines are installed here")
    speakers = [Speaker(voice, ROOT) for voice in chosen]
    alone = [len(speaker.speak(TEXT)) for speaker in speakers]
    mixed = [len(speaker.speak(TEXT)) for _ in range(2) for speaker in speakers]
    assert mixed == pytest.approx(alone * 2, rel=0.02)


def test_two_voices_of_one_engine_keep_their_own_sound() -> None:
    voice_of("espeak")
    names = {v.name: v for v in training_voices(ROOT) if v.engine == "espeak"}
    man, woman = Speaker(names["en-us+m3"], ROOT), Speaker(names["en-us+f2"], ROOT)
    low, high = fundamental_hz(man.speak(TEXT)), fundamental_hz(woman.speak(TEXT))
    assert high > 1.3 * low
    assert fundamental_hz(man.speak(TEXT)) == pytest.approx(low, rel=0.02)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("text", ["", " ... "])
def test_saying_nothing_is_an_error(engine: str, text: str) -> None:
    with pytest.raises(SynthesisError, match="said nothing"):
        Speaker(voice_of(engine), ROOT).speak(text)


def test_markup_is_read_as_text() -> None:
    speaker = Speaker(voice_of("pico"), ROOT)
    plain = speaker.speak("one twenty thousand three")
    assert len(speaker.speak("one <twenty thousand> three")) == pytest.approx(len(plain), rel=0.1)


def test_no_training_voice_has_a_held_out_speaker(tmp_path: Path) -> None:
    everything(tmp_path)
    trained, kept = training_voices(tmp_path), held_out_voices(tmp_path)
    assert {v.speaker for v in kept} == {"rms", "clb"}
    assert not {v.speaker for v in trained} & set(HELD_OUT_SPEAKERS)
    assert {v.speaker for v in trained} >= {"slt", "awb", "kal", "bdl", "kh0", "lh0"}
    assert len(set(trained)) == len(trained)


def test_weights_give_every_recorded_voice_the_same_share(tmp_path: Path) -> None:
    everything(tmp_path)
    shares: defaultdict[str, float] = defaultdict(float)
    for voice in training_voices(tmp_path):
        key = voice.engine if voice.engine == "espeak" else f"{voice.engine}/{voice.name}"
        shares[key] += voice.weight
    assert shares.pop("espeak") == pytest.approx(3)
    assert len(shares) == 8
    assert list(shares.values()) == pytest.approx([1] * 8)


def test_a_folder_without_engines_has_no_voices(tmp_path: Path) -> None:
    assert training_voices(tmp_path) == []
    with pytest.raises(MissingVoiceError, match=r"libttspico.*bundle_voices"):
        Speaker(Voice("pico", "en-GB", "kh0", "British", "Apache-2.0"), tmp_path)


def test_carried_voices_are_the_training_voices() -> None:
    carried = {("flite", v) for v in bundle_voices.FLITE_VOICES}
    carried |= {("rhvoice", v) for v in bundle_voices.RHVOICE_VOICES}
    kept = set(bundle_voices.HELD_OUT.items())
    assert {name for _, name in kept} <= set(HELD_OUT_SPEAKERS)
    assert not {name for _, name in carried} & set(HELD_OUT_SPEAKERS)


def everything(folder: Path) -> None:
    """Lay out names of every engine's files, empty: enough to be listed."""
    (folder / "lib").mkdir()
    flite = [*bundle_voices.FLITE_VOICES, bundle_voices.HELD_OUT["flite"]]
    for name in ("libespeak-ng.so.1", *(f"libflite_cmu_us_{v}.so.1" for v in flite)):
        (folder / "lib" / name).touch()
    for voice in (*bundle_voices.RHVOICE_VOICES, bundle_voices.HELD_OUT["rhvoice"]):
        (folder / "RHVoice/voices" / voice).mkdir(parents=True)
    (folder / "pico").mkdir()
    for name in bundle_voices.PICO_FILES:
        (folder / "pico" / name).touch()
    assert Library(folder).find("libespeak-ng.so.1")


@pytest.mark.parametrize(("from_hz", "tone_hz"), [(22_050, 1000), (24_000, 3000), (8_000, 700)])
def test_resampling_keeps_a_tone(from_hz: int, tone_hz: int) -> None:
    time_s = np.arange(from_hz) / from_hz
    tone = np.sin(2 * np.pi * tone_hz * time_s).astype(np.float32)
    out = resample(tone, from_hz, SAMPLE_RATE_HZ)
    assert len(out) == SAMPLE_RATE_HZ
    expected = np.sin(2 * np.pi * tone_hz * np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ)
    assert out[500:-500] == pytest.approx(expected[500:-500], abs=0.02)


def test_resampling_cuts_what_cannot_be_kept() -> None:
    time_s = np.arange(24_000) / 24_000
    tone = np.sin(2 * np.pi * 10_000 * time_s).astype(np.float32)
    assert np.abs(resample(tone, 24_000, SAMPLE_RATE_HZ)[500:-500]).max() < 0.01


def test_resampling_takes_a_fraction() -> None:
    samples = np.ones(4410, np.float32)
    assert len(resample(samples, Fraction(22_050) * Fraction(6, 5), SAMPLE_RATE_HZ)) == 2667


def test_trimming_keeps_a_little_silence() -> None:
    tone = np.sin(np.arange(8_000, dtype=np.float32))
    silence = np.zeros(16_000, np.float32)
    trimmed = trim(np.concatenate([silence, tone, silence]))
    assert len(trimmed) == pytest.approx(8_000 + 2 * 800, abs=160)
    assert trim(silence).size == 0
