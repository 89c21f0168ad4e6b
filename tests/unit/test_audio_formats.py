"""Every MP3 as it is, headers that do not know their length, and containers read by ffmpeg."""

from __future__ import annotations

import io
import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from voicerag_core import Audio, AudioError, read_audio
from voicerag_core.audio import ffmpeg, reading
from voicerag_core.audio.mp3_frames import find_mp3

CONTAINERS = Path(__file__).parents[1] / "data" / "sound"
needs_ffmpeg = pytest.mark.skipif(
    ffmpeg.find_ffmpeg() is None, reason="neither ffmpeg nor imageio-ffmpeg is installed"
)


def tone(seconds: float = 1.0, rate: int = 16_000, hz: float = 440.0) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * hz * time)).astype(np.float32)


def encoded(samples: np.ndarray, rate: int = 16_000, kind: str = "WAV", **options: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, **options)
    return buffer.getvalue()


def mp3(samples: np.ndarray, rate: int = 16_000, *, mode: str = "CONSTANT") -> bytes:
    """An MP3 file without tags whose first frame is the Xing frame."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", rate, samples.ndim, format="MP3", bitrate_mode=mode, compression_level=0.4
    ) as file:
        file.write(samples)
    data = buffer.getvalue()
    return data[data.index(b"\xff") :]


def without_xing(data: bytes) -> bytes:
    assert b"Xing" in data[:64] or b"Info" in data[:64], "no Xing frame to take away"
    return data[data.index(data[:2], 4) :]


def loudness_over_time(audio: Audio) -> list[bool]:
    """Whether there is sound, in each tenth of a second."""
    tenth = audio.sample_rate // 10
    whole = len(audio.samples) // tenth * tenth
    return [bool(np.abs(part).max() > 0.05) for part in audio.samples[:whole].reshape(-1, tenth)]


def pitch(audio: Audio) -> float:
    return float(np.abs(np.fft.rfft(audio.samples)).argmax() / audio.seconds)


@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2), (24_000, 2), (8_000, 1)])
def test_an_mp3_without_a_xing_frame_is_read_whole(mode: str, rate: int, channels: int) -> None:
    # Loud at both ends, silent between: a guess by the first frame's bit rate is far off.
    samples = tone(3, rate)
    samples[rate : 2 * rate] = 0
    data = without_xing(mp3(np.column_stack([samples] * channels).squeeze(), rate, mode=mode))
    audio = read_audio(data)
    assert audio.seconds == pytest.approx(3, abs=0.2)
    heard = loudness_over_time(audio)
    assert heard[2:9] == [True] * 7
    assert heard[12:18] == [False] * 6
    assert heard[22:29] == [True] * 7


def test_the_xing_frame_says_when_an_mp3_is_cut_off() -> None:
    data = mp3(tone(3))
    assert read_audio(data).seconds == pytest.approx(3, abs=0.2)
    with pytest.raises(AudioError, match="truncated: its header announces"):
        read_audio(data[: len(data) // 2])


def test_joined_mp3_files_are_read_to_the_end_of_the_last() -> None:
    one = mp3(tone())
    picture = b"ID3\x04\0\0" + bytes([0, 3, 0, 0]) + b"\xff\xfb\x90\x64" * (3 * 2**14 // 4)
    old_tag = b"TAG" + b"title".ljust(125, b"\0")
    audio = read_audio(picture + one + old_tag + picture + without_xing(one) + one)
    assert audio.seconds == pytest.approx(3, abs=0.4)
    assert sum(loudness_over_time(audio)) >= 28


def test_joined_mp3_files_of_different_form_are_refused() -> None:
    for other in (mp3(tone(rate=22_050), 22_050), mp3(np.stack([tone(), tone()], axis=1))):
        with pytest.raises(AudioError, match="several MP3 files of different rate or channels"):
            read_audio(without_xing(mp3(tone())) + without_xing(other))


@pytest.mark.parametrize(
    "around",
    [
        (b"", b"TAG" + bytes(125)),
        (b"\0" * 5000, b"\0" * 5000),
        (b"ID3\x03\0\0\0\0\x02\x05" + bytes(261), b""),
        (b"", b"APETAGEX" + struct.pack("<IIII", 2000, 32, 0, 0xA0 << 24) + bytes(8 + 32)),
        (b"", os.urandom(900)),
    ],
    ids=["old tag", "zeros", "tag", "ape tag", "rubbish"],
)
def test_what_stands_around_the_frames_is_passed_over(around: tuple[bytes, bytes]) -> None:
    audio = read_audio(around[0] + without_xing(mp3(tone())) + around[1])
    assert audio.seconds == pytest.approx(1, abs=0.2)
    assert pitch(audio) == pytest.approx(440, abs=2)


def test_an_mp3_that_ends_in_something_else_is_refused() -> None:
    with pytest.raises(AudioError, match="no sound can be found in its last 70000 bytes"):
        read_audio(mp3(tone()) + bytes(70_000))


def test_an_mp3_that_is_too_long_is_refused_by_its_frames() -> None:
    with pytest.raises(AudioError, match="may last 2 s"):
        read_audio(without_xing(mp3(tone(3))), max_seconds=2)


def test_the_search_for_frames_ends_soon_in_what_is_no_mp3() -> None:
    # A place that looks like a frame every 2 bytes.
    data = b"ID3\x04\0\0\0\0\0\0" + b"\xff\xfb" * 4_000_000
    with pytest.raises(AudioError):
        read_audio(data)
    assert find_mp3(io.BytesIO(bytes(1 << 20)), "zeros", 1 << 22) is None


def in_wav(data: bytes, tag: int, before: bytes = b"") -> bytes:
    """Wrap an MP3 file in a WAV file whose header names the format so."""
    fmt = struct.pack("<HHIIHHHHIHH", tag, 1, 16_000, 4000, 1, 0, 12, 1, 2, 1, 0)
    chunks = before + b"fmt " + struct.pack("<I", len(fmt)) + fmt
    chunks += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


@pytest.mark.parametrize("before", [b"", b"JUNK" + struct.pack("<I", 28) + bytes(28),
                                    b"LIST" + struct.pack("<I", 3000) + bytes(3000)])  # fmt: skip
def test_an_mp3_inside_a_wav_is_read_whole(before: bytes) -> None:
    data = in_wav(without_xing(mp3(tone(3), mode="VARIABLE")), 0x55, before)
    audio = read_audio(data)
    assert audio.seconds == pytest.approx(3, abs=0.2)
    assert pitch(audio) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64", "AIFF", "FLAC", "OGG", "CAF", "AU"])
def test_frames_are_looked_for_only_where_they_can_be(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def noting(stream: object, name: str, most: int) -> None:
        looked.append(name)

    monkeypatch.setattr(reading, "find_mp3", noting)
    assert read_audio(encoded(tone(), kind=kind)).seconds == pytest.approx(1)
    assert looked == []
    for given in (mp3(tone()), in_wav(mp3(tone()), 0x55)):
        read_audio(given)
    assert len(looked) == 2


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize(
    "size", [0x7FFFF000, 0x7FFFF000 - 36, 0x7FFFFF00, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 37, 0]
)
def test_a_wav_of_unknown_size_is_read_to_its_end(size: int, subtype: str) -> None:
    data = bytearray(encoded(tone(1.5), subtype=subtype))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", size)
    data[4:8] = struct.pack("<I", min(size + 36, 2**32 - 1))
    audio = read_audio(bytes(data))
    assert audio.seconds == pytest.approx(1.5)
    assert pitch(audio) == pytest.approx(440, abs=2)


def test_a_big_endian_wav_of_unknown_size_is_read_to_its_end() -> None:
    data = bytearray(encoded(tone(), endian="BIG"))
    assert data.startswith(b"RIFX")
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = b"\xff\xff\xff\xff"
    assert read_audio(bytes(data)).seconds == pytest.approx(1)


def test_a_wav_without_sound_is_empty_even_with_a_chunk_behind_it() -> None:
    data = encoded(np.zeros(0, np.float32)) + b"LIST\x10\0\0\0INFO" + bytes(12)
    data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    with pytest.raises(AudioError, match="no samples"):
        read_audio(data)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["WAV", "AIFF", "OGG", "FLAC"])
def test_a_file_cut_off_in_transfer_is_refused(kind: str, share: float) -> None:
    data = encoded(tone(3), kind=kind)
    with pytest.raises(AudioError, match=r"truncated|cannot be read"):
        read_audio(data[: int(share * len(data))])


def test_sound_behind_thousands_of_empty_chunks_is_refused() -> None:
    data = encoded(tone())
    with pytest.raises(AudioError, match="no sound in its first 1000 chunks"):
        read_audio(data[:12] + b"junk\0\0\0\0" * 2000 + data[12:])


def test_a_flac_that_does_not_know_its_length_is_read() -> None:
    audio = read_audio(CONTAINERS / "piped.flac")
    assert audio.seconds == pytest.approx(1)
    assert pitch(audio) == pytest.approx(440, abs=2)


def test_a_pipe_is_read() -> None:
    data = encoded(tone())
    read_end, write_end = os.pipe()

    def write() -> None:
        with os.fdopen(write_end, "wb") as pipe:
            pipe.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(read_end, "rb") as pipe:
        assert read_audio(pipe) == read_audio(data)
    writer.join()


def test_a_file_that_stands_behind_something_else_is_read_from_there() -> None:
    stream = io.BytesIO(b"header" + encoded(tone()))
    stream.seek(6)
    assert read_audio(stream).seconds == pytest.approx(1)


def test_a_file_opened_as_text_is_refused() -> None:
    with pytest.raises(AudioError, match="binary mode"):
        read_audio(io.StringIO("RIFF"))  # type: ignore[arg-type]


FOREIGN = ["browser.webm", "vorbis.webm", "video.webm", "phone.m4a", "whole.m4a", "fragments.mp4"]
FOREIGN += ["raw.aac", "lossless.caf", "speex.ogg"]


@needs_ffmpeg
@pytest.mark.parametrize("name", FOREIGN)
def test_containers_of_browsers_and_phones_are_read(name: str) -> None:
    path = CONTAINERS / name
    for source in (path, path.read_bytes()):
        audio = read_audio(source)
        assert audio.sample_rate == 16_000
        assert audio.seconds == pytest.approx(1, abs=0.1)
        assert pitch(audio) == pytest.approx(440, abs=2)
    with pytest.raises(AudioError, match=r"may last 0\.5 s"):
        read_audio(path, max_seconds=0.5)


@needs_ffmpeg
def test_ogg_streams_one_after_another_are_read_whole() -> None:
    one = encoded(tone(), 16_000, "OGG")
    assert read_audio(one + one).seconds == pytest.approx(2, abs=0.05)


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "share", "message"),
    [
        ("mute.webm", 1, "holds no sound: it is WebM or Matroska without a sound track"),
        ("phone.m4a", 0.5, "it is damaged or was cut off"),
        ("whole.m4a", 0.6, "partial file"),
        ("browser.webm", 0.5, "it is damaged or was cut off"),
    ],
)
def test_damaged_containers_are_refused(name: str, share: float, message: str) -> None:
    data = (CONTAINERS / name).read_bytes()
    with pytest.raises(AudioError, match=message):
        read_audio(data[: int(share * len(data))])


@pytest.mark.parametrize(
    ("name", "format_name"),
    [("browser.webm", "WebM"), ("phone.m4a", "m4a"), ("speex.ogg", "Ogg"), ("raw.aac", "AAC")],
)
def test_without_ffmpeg_the_format_and_the_way_out_are_named(
    name: str, format_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ffmpeg, "find_ffmpeg", lambda: None)
    path = CONTAINERS / name
    with pytest.raises(AudioError, match=format_name) as raised:
        read_audio(path)
    assert "pip install 'voicerag-core[media]'" in str(raised.value)
    assert f"ffmpeg -i {path} -ac 1 -ar 16000 {path.with_suffix('.wav')}" in str(raised.value)
    with pytest.raises(AudioError, match=r"ffmpeg -i IN -ac 1 -ar 16000 OUT\.wav"):
        read_audio(path.read_bytes())


def test_the_command_that_converts_names_another_file_and_quotes_it() -> None:
    assert ffmpeg.conversion("a b.m4a") == "ffmpeg -i 'a b.m4a' -ac 1 -ar 16000 'a b.wav'"
    assert ffmpeg.conversion("x.wav") == "ffmpeg -i x.wav -ac 1 -ar 16000 x-converted.wav"


def script(folder: Path, text: str) -> str:
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_an_ffmpeg_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "find_ffmpeg", lambda: script(tmp_path, "exec sleep 100"))
    monkeypatch.setattr(ffmpeg, "WALL_SECONDS", 0.2)
    monkeypatch.setattr(ffmpeg, "CPU_SECONDS", 0)
    with pytest.raises(AudioError, match="stopped by signal 9"):
        read_audio(CONTAINERS / "browser.webm")


def test_an_ffmpeg_that_fails_or_cannot_start_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = script(tmp_path, "echo '[opus @ 0x1] bad things' >&2; exit 3")
    monkeypatch.setattr(ffmpeg, "find_ffmpeg", lambda: failing)
    with pytest.raises(AudioError, match=r"\(bad things\)"):
        read_audio(CONTAINERS / "browser.webm")
    monkeypatch.setattr(ffmpeg, "find_ffmpeg", lambda: str(tmp_path / "gone"))
    with pytest.raises(AudioError, match="cannot be started"):
        read_audio(CONTAINERS / "browser.webm")


def test_ffmpeg_has_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = script(tmp_path, 'sleep 0.3; { ulimit -v; ulimit -t; ulimit -f; } | tr "\\n" " " >&2')
    monkeypatch.setattr(ffmpeg, "find_ffmpeg", lambda: report)
    with pytest.raises(AudioError, match=r"\(1048576 10 (1024|2048) ?\)"):
        read_audio(CONTAINERS / "browser.webm")
