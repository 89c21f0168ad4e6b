"""The end of speech, the growing WAV file, the player: without any device."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from voicerag_core import Audio, AudioError, MissingExtraError
from voicerag_core.cli.sound import (
    Player,
    devices,
    record,
    wav_file,
)

RATE = 16_000
QUESTION = Path(__file__).parents[2] / "examples/sample/audio/report-01.flac"


def piece(seconds: float, level: float = 0.1) -> Audio:
    return Audio(np.full(round(seconds * RATE), level, np.float32), RATE)


def test_a_wav_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "answer.wav"
    with wav_file(path) as file:
        file.write(piece(0.5))
        assert not path.exists()
        file.write(piece(0.25, level=2.0))
    samples, rate = soundfile.read(path)
    assert rate == RATE
    assert len(samples) == 0.75 * RATE
    assert samples[-1] == pytest.approx(1, abs=1e-3)
    assert list(tmp_path.iterdir()) == [path]


def test_a_wav_file_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "answer.wav"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with wav_file(path) as file:
            file.write(piece(0.5))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with wav_file(path):
        pass
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_wav_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="cannot write"), wav_file(tmp_path / "none" / "a.wav"):
        pass


class FakeStream:
    def __init__(self, rate: int, *, channels: int, dtype: str) -> None:
        assert (rate, channels, dtype) == (RATE, 1, "float32")
        self.written: list[np.ndarray] = []
        self.ended = ""

    def start(self) -> None:
        self.ended = "no"

    def write(self, block: np.ndarray) -> None:
        if self.ended != "no":
            raise RuntimeError("not started")
        assert block.shape[1] == 1
        self.written.append(block)

    def stop(self) -> None:
        self.ended = "stopped"

    def abort(self) -> None:
        self.ended = "aborted"

    def close(self) -> None:
        pass


class FakeDevice:
    """Stands for the sounddevice library."""

    def __init__(self) -> None:
        self.streams: list[FakeStream] = []

    def OutputStream(self, rate: int, *, channels: int, dtype: str) -> FakeStream:
        self.streams.append(FakeStream(rate, channels=channels, dtype=dtype))
        return self.streams[-1]


def test_a_player_plays_everything_in_order() -> None:
    device = FakeDevice()
    player = Player(device)
    player.write(piece(0.12, 0.1))
    player.write(piece(0.1, 0.2))
    player.finish()
    (stream,) = device.streams
    played = np.concatenate(stream.written)[:, 0]
    assert np.array_equal(
        played, np.concatenate((piece(0.12, 0.1).samples, piece(0.1, 0.2).samples))
    )
    assert stream.ended == "stopped"
    player.finish()


def test_a_player_says_what_failed() -> None:
    class Broken(FakeDevice):
        def OutputStream(self, rate: int, *, channels: int, dtype: str) -> FakeStream:
            raise OSError("unplugged")

    player = Player(Broken())
    player.write(piece(0.1))
    with pytest.raises(AudioError, match="unplugged"):
        player.finish()


class FakeMicrophone:
    """Stands for the sounddevice library, with a microphone that hears a question."""

    PortAudioError = type("PortAudioError", (Exception,), {})

    def query_devices(self, kind: str) -> dict[str, object]:
        if kind == "output":
            raise self.PortAudioError("no output device")
        return {"name": "desk", "default_samplerate": 16_000.0}

    @contextmanager
    def InputStream(
        self,
        rate: int,
        blocksize: int,
        *,
        channels: int,
        dtype: str,
        callback: Callable[[np.ndarray, int, object, object], None],
    ) -> Iterator[None]:
        assert (rate, channels, dtype) == (RATE, 1, "float32")
        speech, _ = soundfile.read(QUESTION, dtype="float32")
        sound = np.concatenate((speech, np.zeros(3 * RATE, np.float32)))[:, None]
        for start in range(0, len(sound), blocksize):
            callback(sound[start : start + blocksize], blocksize, None, None)
        yield


def test_a_question_is_recorded_until_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", FakeMicrophone())
    audio = record(30)
    speech, _ = soundfile.read(QUESTION, dtype="float32")
    assert audio.sample_rate == RATE
    assert 0.8 * len(speech) < len(audio.samples) < len(speech) + 2 * RATE
    whole = np.concatenate((speech, np.zeros(3 * RATE, np.float32)))
    begins = [
        at for at in range(RATE // 2) if np.array_equal(audio.samples[:500], whole[at : at + 500])
    ]
    assert np.array_equal(audio.samples, whole[begins[0] :][: len(audio.samples)])
    assert record(1.5).seconds == pytest.approx(1.5, abs=0.05)
    assert devices() == {"input": "desk"}


class Breathing(FakeMicrophone):
    """Hears a question with a breath in it."""

    sound = np.concatenate(
        [
            soundfile.read(QUESTION, dtype="float32")[0],
            np.zeros(int(0.4 * RATE), np.float32),
            soundfile.read(QUESTION, dtype="float32")[0],
            np.zeros(3 * RATE, np.float32),
        ]
    )

    @contextmanager
    def InputStream(self, rate: int, blocksize: int, **options: Any) -> Iterator[None]:
        for start in range(0, len(self.sound), blocksize):
            options["callback"](self.sound[start : start + blocksize, None], 0, None, None)
        yield


def test_a_pause_is_told_with_all_that_was_said_and_so_is_going_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", Breathing())
    told: list[str] = []
    said: list[Audio] = []

    def paused(audio: Audio) -> None:
        told.append("paused")
        said.append(audio)

    audio = record(30, paused=paused, resumed=lambda: told.append("resumed"))
    assert told[-1] == "paused"
    assert told.count("paused") == told.count("resumed") + 1 > 1
    first, last = said[0], said[-1]
    assert len(first.samples) < len(last.samples) < len(audio.samples)
    assert np.array_equal(audio.samples[: len(last.samples)], last.samples)


def test_who_says_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Breathing):
        sound = np.zeros(3 * RATE, np.float32)

    monkeypatch.setitem(sys.modules, "sounddevice", Silent())
    with pytest.raises(AudioError, match="no speech was heard within 2 s"):
        record(2)


def test_no_microphone_names_the_other_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(FakeMicrophone):
        def query_devices(self, kind: str) -> dict[str, object]:
            raise self.PortAudioError("Error querying device -1")

    monkeypatch.setitem(sys.modules, "sounddevice", Deaf())
    with pytest.raises(AudioError, match="in words or with --audio FILE"):
        record(30)
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingExtraError, match=r"voicerag-core\[audio\]"):
        record(30)
