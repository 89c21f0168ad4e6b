"""Files and bytes to checked audio, and every way in which they can be bad."""

from __future__ import annotations

import io
import os
import resource
import stat
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voicerag_core import Audio, AudioError, check_audio, read_audio, resample
from voicerag_core.audio import to_wav_bytes, write_wav
from voicerag_core.cli.sound import wav_file


def tone(seconds: float = 1.0, rate: int = 16_000, hz: float = 440.0) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * hz * time)).astype(np.float32)


def encoded(samples: np.ndarray, rate: int = 16_000, kind: str = "WAV", **options: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "AU"])
def test_any_format_is_read(kind: str, tmp_path: Path) -> None:
    data = encoded(tone(), kind=kind)
    path = tmp_path / "question.bin"
    path.write_bytes(data)
    for source in (data, path, str(path), bytearray(data), io.BytesIO(data)):
        audio = read_audio(source)
        assert audio.sample_rate == 16_000
        assert audio.seconds == pytest.approx(1.0, abs=0.1)
        spectrum = np.abs(np.fft.rfft(audio.samples))
        assert spectrum.argmax() / audio.seconds == pytest.approx(440, abs=2)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_any_rate_is_converted(rate: int) -> None:
    audio = read_audio(encoded(tone(rate=rate), rate))
    assert audio.sample_rate == 16_000
    assert audio.seconds == pytest.approx(1.0, abs=0.001)
    middle = slice(1000, -1000)
    expected = tone()[: len(audio.samples)]
    np.testing.assert_allclose(audio.samples[middle], expected[middle], atol=2e-3)


def test_what_the_new_rate_cannot_hold_is_filtered_out() -> None:
    audio = read_audio(encoded(tone(rate=48_000, hz=12_000) + tone(rate=48_000), 48_000))
    spectrum = np.abs(np.fft.rfft(audio.samples))
    assert spectrum[3_900:4_100].max() < spectrum[440] / 1_000, "12 kHz folded down to 4 kHz"


def test_channels_are_averaged() -> None:
    left, right = tone(hz=440), tone(hz=880)
    audio = read_audio(encoded(np.stack([left, right], axis=1), subtype="FLOAT"))
    np.testing.assert_allclose(audio.samples, (left + right) / 2, atol=1e-6)


def test_an_open_file_of_the_caller_stays_open() -> None:
    stream = io.BytesIO(encoded(tone()))
    read_audio(stream)
    assert not stream.closed


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "no bytes"),
        (b"this is a text and no sound" * 9, "cannot be read as audio"),
        (b"RIFF\x00\x00", "cannot be read as audio"),
        (encoded(tone())[:16_000], "truncated: its header announces 32000 bytes"),
        (encoded(tone(), kind="FLAC")[:3_000], "cannot be read as audio"),
        (encoded(np.zeros(0, np.float32)), "no samples"),
        (encoded(np.zeros(16_000, np.float32)), "silent"),
        (encoded(tone(0.024)), "24.0 ms"),
        (encoded(np.full(16_000, np.nan, np.float32), subtype="FLOAT"), "not finite"),
        (encoded(np.full(16_000, np.inf, np.float32), subtype="FLOAT"), "not finite"),
        (encoded(tone(31)), "lasts 31.0 s"),
        ("/no/such/file.wav", "No such file"),
        ("bad\0path", "not a path"),
    ],
)
def test_bad_sound_is_refused(source: bytes | str, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        read_audio(source)


def test_a_text_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("a text")
    with pytest.raises(AudioError, match=r"notes\.txt cannot be read as audio"):
        read_audio(text)
    with pytest.raises(AudioError, match="directory"):
        read_audio(tmp_path)
    (tmp_path / "empty.wav").touch()
    with pytest.raises(AudioError, match=r"empty\.wav is empty"):
        read_audio(tmp_path / "empty.wav")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret.wav"
    path.write_bytes(encoded(tone()))
    path.chmod(0)
    with pytest.raises(AudioError, match="Permission denied"):
        read_audio(path)


def test_ten_minutes_are_refused_by_the_header() -> None:
    header = bytearray(encoded(np.zeros(10, np.float32), 8_000)[:44])
    header[40:44] = (600 * 8_000 * 2).to_bytes(4, "little")
    data = bytes(header) + bytes(600 * 8_000 * 2)
    with pytest.raises(AudioError, match=r"lasts 600\.0 s or more; a question may last 30 s"):
        read_audio(data)
    with pytest.raises(AudioError, match="silent"):
        read_audio(data, max_seconds=601)


def test_a_stream_of_unknown_length_is_read_and_limited() -> None:
    data = bytearray(encoded(tone(2)))
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    assert read_audio(bytes(data)).seconds == pytest.approx(2)
    with pytest.raises(AudioError, match="may last 1 s"):
        read_audio(bytes(data), max_seconds=1)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 400), st.binary(max_size=40), st.sampled_from(["WAV", "FLAC", "OGG"]))
def test_damaged_files_raise_audio_errors_alone(at: int, junk: bytes, kind: str) -> None:
    data = encoded(tone(0.05), kind=kind)
    damaged = data[:at] + junk + data[at + len(junk) :]
    try:
        audio = read_audio(damaged)
    except AudioError:
        return
    assert np.isfinite(audio.samples).all()


def test_wav_round_trip(tmp_path: Path) -> None:
    audio = Audio(tone(rate=22_050), 22_050)
    again = read_audio(to_wav_bytes(audio), sample_rate=22_050)
    np.testing.assert_allclose(again.samples, audio.samples, atol=1 / 32_000)
    write_wav(tmp_path / "answer.wav", audio)
    assert read_audio(tmp_path / "answer.wav", sample_rate=22_050) == again
    assert [path.name for path in tmp_path.iterdir()] == ["answer.wav"]


def test_a_wav_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="cannot write"):
        write_wav(tmp_path / "no" / "answer.wav", Audio(tone(), 16_000))
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(AudioError, match="cannot write"):
        write_wav(target, Audio(tone(), 16_000))
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_written_wav_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        new, old = tmp_path / "new.wav", tmp_path / "old.wav"
        old.touch(0o640)
        for path, mode in ((new, 0o600), (old, 0o640)):
            write_wav(path, Audio(tone(), 16_000))
            assert stat.S_IMODE(path.stat().st_mode) == mode
        write_wav(tmp_path / ("x" * 250 + ".wav"), Audio(tone(), 16_000))
        with pytest.raises(AudioError, match="cannot write"):
            write_wav(tmp_path / ("x" * 252 + ".wav"), Audio(tone(), 16_000))
    finally:
        os.umask(before)


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_wav(pipe, Audio(tone(), 16_000))
    assert os.read(reading, 4) == b"RIFF"
    os.close(reading)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_disk_that_is_full_leaves_nothing_half_written(tmp_path: Path) -> None:
    target = tmp_path / "answer.wav"
    write_wav(target, Audio(tone(), 16_000))
    kept = target.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(AudioError, match="cannot write"):
            write_wav(target, Audio(tone(), 16_000))
        with pytest.raises(AudioError, match="cannot write"), wav_file(target) as file:
            file.write(Audio(np.tile(tone(), 10), 16_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["answer.wav"]
    assert target.read_bytes() == kept


def test_clipping_does_not_wrap_around() -> None:
    loud = Audio(np.full(1_000, 1.5, np.float32), 16_000)
    assert read_audio(to_wav_bytes(loud)).samples.min() > 0.99


def test_checked_audio_comes_back_as_it_is() -> None:
    audio = Audio(tone(), 16_000)
    assert check_audio(audio) is audio
    assert resample(audio, 16_000) is audio
    with pytest.raises(AudioError, match="above 0"):
        resample(audio, 0)
