"""Channels that cancel each other, sound beyond full scale, and headers that lie about the form."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO, cast

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from voicerag_core import Audio, AudioError, check_audio, read_audio
from voicerag_core.audio import mixing, reading
from voicerag_core.audio.resampling import BlockResampler, resample
from voicerag_core.cancellation import Cancellation
from voicerag_core.errors import CancelledError


def tone(seconds: float = 1.0, rate: int = 16_000, hz: float = 440.0) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * hz * time)).astype(np.float32)


def encoded(samples: np.ndarray, rate: int = 16_000, kind: str = "WAV", **options: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, **options)
    return buffer.getvalue()


NOISE = np.random.default_rng(7).normal(0, 0.02, 16_000).astype(np.float32)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize(
    "factors", [(1, -1), (-1, 1), (1, -0.8), (1, -1, 1, -1)], ids=["LR", "RL", "weaker", "four"]
)
def test_of_channels_in_opposite_phase_the_loudest_is_heard(
    kind: str, factors: tuple[float, ...]
) -> None:
    if kind == "MP3" and len(factors) > 2:
        pytest.skip("MP3 has two channels")
    audio = read_audio(encoded(np.outer(tone(), factors).astype(np.float32), kind=kind))
    assert np.abs(audio.samples[2_000:-2_000]).max() == pytest.approx(0.3, rel=0.2)
    spectrum = np.abs(np.fft.rfft(audio.samples))
    assert spectrum.argmax() / audio.seconds == pytest.approx(440, abs=2)


def test_noise_and_a_constant_part_do_not_hide_that_channels_cancel() -> None:
    for added in (NOISE, np.full(16_000, 0.1, np.float32)):
        audio = read_audio(encoded(np.stack([tone() + added, -tone() + added], axis=1)))
        assert audio.samples.std() == pytest.approx(tone().std(), rel=0.1)


def test_channels_that_do_not_cancel_are_averaged() -> None:
    for other in (tone(), tone(hz=880), np.zeros(16_000, np.float32), -0.3 * tone(), NOISE):
        stereo = np.stack([tone(), other], axis=1)
        audio = read_audio(encoded(stereo, subtype="FLOAT"))
        np.testing.assert_allclose(audio.samples, stereo.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("scale", [1.5, 100, 2.0**15, 2.0**23, 2.0**31])
def test_sound_beyond_full_scale_is_scaled_to_it(scale: float) -> None:
    audio = read_audio(encoded(tone() / 0.3 * np.float32(scale), subtype="FLOAT"))
    np.testing.assert_allclose(audio.samples, tone() / 0.3, atol=1e-3)


@pytest.mark.parametrize("scale", [1e10, 1e20, 1e30, 1e38])
@pytest.mark.parametrize("channels", [1, 2])
def test_sound_beyond_every_scale_is_refused(scale: float, channels: int) -> None:
    samples = np.column_stack([tone() * np.float32(scale)] * channels)
    with pytest.raises(AudioError, match="times full scale"):
        read_audio(encoded(samples, subtype="FLOAT"))
    with pytest.raises(AudioError, match="times full scale"):
        check_audio(Audio(samples[:, 0], 16_000))


def test_numbers_too_large_for_32_bits_are_refused() -> None:
    with pytest.raises(AudioError, match="not finite"):
        read_audio(encoded(tone().astype(np.float64) * 1e300, subtype="DOUBLE"))


def wav(data: bytes, *, rate: int = 16_000, channels: int = 1, bits: int = 16) -> bytes:
    align = channels * bits // 8
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * align % 2**32, align, bits)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )


PCM = (tone() * 32_767).astype("<i2").tobytes()


@pytest.mark.parametrize("rate", [1, 7, 999, 768_001, 10**9, 2**31 - 1])
def test_a_rate_that_no_recording_has_is_refused(rate: int) -> None:
    with pytest.raises(AudioError, match=f"announces {rate} samples per second"):
        read_audio(wav(PCM, rate=rate))


@pytest.mark.parametrize("rate", [1_000, 99_991, 192_000, 768_000])
def test_unusual_rates_are_read(rate: int) -> None:
    assert read_audio(wav(PCM * 20, rate=rate), max_seconds=400).sample_rate == 16_000


@pytest.mark.parametrize("channels", [65, 255, 1_024])
def test_channels_that_no_recording_has_are_refused(channels: int) -> None:
    with pytest.raises(AudioError, match=f"announces {channels} channels"):
        read_audio(wav(PCM * 50, channels=channels))


def test_64_channels_are_read() -> None:
    audio = read_audio(encoded(np.column_stack([tone()] * 64)))
    np.testing.assert_allclose(audio.samples, tone(), atol=1e-4)


def test_a_compressed_file_with_a_false_rate_is_decoded_no_further_than_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # An hour in a few kilobytes, said to last a few seconds.
    data = bytearray(encoded(np.zeros(16_000 * 600, np.float32), kind="FLAC"))
    announced = int.from_bytes(data[18:26], "big")
    data[18:26] = (announced & (1 << 44) - 1 | 655_350 << 44).to_bytes(8, "big")
    monkeypatch.setattr(mixing, "MAX_VALUES_PER_SECOND", 16_000)
    with pytest.raises(AudioError, match="holds too much sound"):
        read_audio(bytes(data))


@pytest.mark.parametrize("start", [b"ID3\x04\0\0\0\x7f\x7f\x7f", b"\xff\xfb\x90\x64"])
def test_more_bytes_than_sound_of_that_length_may_have_are_refused(
    start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SPARE_BYTES", 1_000)
    data = start + bytes(413) + start + bytes(413) + start + bytes(413) + bytes(200_000)
    with pytest.raises(AudioError, match=r"larger than|cannot be read|no sound"):
        read_audio(data, max_seconds=1)


def test_a_pipe_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SPARE_BYTES", 1_000)

    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
            return len(buffer)

    with pytest.raises(AudioError, match="gives more than"):
        read_audio(cast(BinaryIO, Endless()), max_seconds=1)


def test_reading_stops_when_the_call_is_cancelled() -> None:
    cancellation = Cancellation()
    with cancellation.active():
        cancellation.cancel()
        with pytest.raises(CancelledError):
            read_audio(encoded(tone()))


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_conversion_in_blocks_gives_what_conversion_at_once_gives(rate: int) -> None:
    samples = tone(2, rate)
    converter = BlockResampler(rate, 16_000)
    for start in range(0, len(samples), 1_234):
        converter.add(samples[start : start + 1_234])
    whole = resample(Audio(samples, rate), 16_000).samples
    np.testing.assert_allclose(converter.samples(), whole, atol=1e-5)


STARTS = [
    b"",
    b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\1\0\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0data\0\0\0\0",
    b"ID3\x04\0\0\0\0\0\5",
    b"\xff\xfb\x90\x64",
    b"OggS\0\2",
    b"fLaC\0\0\0\x22",
    b"FORM\0\0\0\0AIFFCOMM\0\0\0\x12\0\1\0\0\0\0\0\x10\x40\x0c\xfa\0\0\0\0\0\0\0SSND",
    b"\x1a\x45\xdf\xa3",
    b"\0\0\0\x18ftypM4A ",
    b"caff\0\1\0\0desc",
]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(STARTS), st.binary(max_size=600))
@example(STARTS[1], b"\xff\x7f" * 600)
def test_any_bytes_are_sound_or_an_audio_error(start: bytes, rest: bytes) -> None:
    if not start + rest:
        return
    try:
        audio = read_audio(start + rest)
    except AudioError:
        return
    assert audio.sample_rate == 16_000
    assert np.isfinite(audio.samples).all()
    assert np.abs(audio.samples).max() <= 1.01


def flac_that_says(rate: int, *, channels: int, seconds: int) -> bytes:
    """A FLAC file of near silence at 48 kHz whose header announces another rate."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", 48_000, channels, format="FLAC") as file:
        block = np.zeros((48_000, channels), np.float32)
        block[:100] = 0.5
        for _ in range(seconds):
            file.write(block)
    data = bytearray(buffer.getvalue())
    fields = int.from_bytes(data[18:26], "big")
    data[18:26] = (fields & ((1 << 44) - 1) | rate << 44).to_bytes(8, "big")
    return bytes(data)


@pytest.mark.parametrize(("channels", "seconds"), [(8, 70), (2, 260), (4, 130)])
def test_a_false_rate_does_not_hide_how_much_there_is(
    channels: int, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = flac_that_says(655_350, channels=channels, seconds=seconds)
    decoded: list[int] = []
    real = soundfile.SoundFile.read

    def counted(self: soundfile.SoundFile, *args: object, **named: object) -> object:
        decoded.append(1)
        return real(self, *args, **named)

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    with pytest.raises(AudioError, match="too much sound"):
        read_audio(bomb)
    assert not decoded, "its header tells it"


@pytest.mark.parametrize(("rate", "channels"), [(192_000, 2), (96_000, 8), (48_000, 16)])
def test_what_studios_record_is_read(rate: int, channels: int) -> None:
    data = np.tile(np.sin(np.arange(rate, dtype=np.float32) / 9)[:, None] * 0.3, channels)
    buffer = io.BytesIO()
    soundfile.write(buffer, data, rate, format="WAV")
    assert read_audio(buffer.getvalue(), max_seconds=1).seconds == 1
