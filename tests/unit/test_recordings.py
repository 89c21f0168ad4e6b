"""Recordings are cut on their pauses, indexed by their sound, and cut out again."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile

from voicerag_core import (
    Audio,
    AudioError,
    ConfigError,
    FileProgress,
    Passage,
    SilentError,
    VoiceRAG,
    index_files,
    resample,
)
from voicerag_core.recordings import cut_clip, read_recording, speech_windows
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel, InMemoryStore

RATE = 16_000
DIM = 64


def tone(seconds: float, pitch: float = 200.0, loudness: float = 0.3) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (loudness * np.sin(2 * np.pi * pitch * time)).astype(np.float32)


def hum(seconds: float) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal(round(seconds * RATE))
    return (0.0005 * noise).astype(np.float32)


def joined(*parts: np.ndarray) -> Audio:
    return Audio(np.concatenate(parts), RATE)


def spans(audio: Audio, max_seconds: float = 12.0) -> list[tuple[float, float]]:
    return [window.seconds for window in speech_windows(audio, max_seconds=max_seconds)]


def test_pauses_part_windows() -> None:
    found = spans(joined(hum(2), tone(3), hum(2), tone(4), hum(2), tone(1.5), hum(3)))
    expected = [(2, 5), (7, 11), (13, 14.5)]
    assert np.abs(np.array(found) - expected).max() < 0.15


def test_short_pauses_do_not_part_what_fits_one_window() -> None:
    found = spans(joined(tone(2), hum(0.6), tone(2), hum(0.6), tone(2)))
    assert np.abs(np.array(found) - [(0, 7.2)]).max() < 0.15
    apart = spans(joined(tone(2), hum(0.6), tone(2), hum(0.6), tone(2)), max_seconds=5)
    assert np.abs(np.array(apart) - [(0, 4.6), (5.2, 7.2)]).max() < 0.15


def test_speech_without_a_pause_is_cut_where_it_is_quietest() -> None:
    dip = tone(0.1, loudness=0.05)
    found = spans(joined(tone(8), dip, tone(8), dip, tone(3)), max_seconds=10)
    assert np.abs(np.array(found) - [(0, 8.1), (8.1, 16.2), (16.2, 19.2)]).max() < 0.15


@pytest.mark.parametrize("seed", range(20))
def test_windows_are_in_order_apart_and_bounded(seed: int) -> None:
    draw = np.random.default_rng(seed)
    parts = [
        part
        for _ in range(draw.integers(1, 12))
        for part in (hum(draw.uniform(0, 3)), tone(draw.uniform(0.05, 20), draw.uniform(80, 900)))
    ]
    audio = joined(*parts)
    found = speech_windows(audio, max_seconds=7)
    edges = [edge for window in found for edge in (window.start, window.end)]
    assert edges == sorted(edges)
    assert all(0 < window.end - window.start <= 7.01 * RATE for window in found)
    assert not edges or (edges[0] >= 0 and edges[-1] <= len(audio.samples))
    inside = np.zeros(len(audio.samples), bool)
    for window in found:
        inside[window.start : window.end] = True
    loud = np.abs(audio.samples) > 0.25
    assert loud[~inside].sum() <= 0.02 * loud.sum() + 0.3 * RATE


def test_silence_and_clicks_hold_no_window() -> None:
    assert spans(Audio(np.zeros(5 * RATE, np.float32), RATE)) == []
    assert spans(Audio(np.zeros(0, np.float32), RATE)) == []
    assert len(spans(joined(hum(3), tone(0.02), hum(3), tone(2), hum(1)))) == 1


def test_a_window_below_a_second_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1 s"):
        speech_windows(joined(tone(1)), max_seconds=0.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    talk = joined(hum(1), tone(3, 210), hum(3), tone(4, 330), hum(3), tone(2, 470), hum(1))
    soundfile.write(tmp_path / "talk.wav", talk.samples, RATE, "FLOAT")
    (tmp_path / "note.txt").write_text("Herons fish.")
    return tmp_path


@pytest.fixture
def rag() -> VoiceRAG:
    return VoiceRAG(FakeEmbedder(DIM), InMemoryStore(DIM), FakeVoiceModel())


def test_a_question_finds_the_minute_in_a_recording(rag: VoiceRAG, folder: Path) -> None:
    report = index_files(rag, [folder], recordings=True)
    assert (report.new, report.passages, report.failures) == (2, 4, ())
    passages, clips = read_recording(folder / "talk.wav")
    for passage, clip in zip(passages, clips, strict=True):
        hit = rag.retrieve(clip, limit=1).hits[0]
        assert hit.passage == passage
        assert hit.score > 0.999
        assert hit.passage.source == str(folder / "talk.wav")
        assert cut_clip(hit.passage) == clip
    middle = passages[1].metadata
    assert (middle["kind"], middle["title"], middle["position"]) == ("recording", "talk.wav", 1)
    assert abs(float(str(middle["start_seconds"])) - 7) < 0.15
    assert abs(float(str(middle["end_seconds"])) - 11) < 0.15
    assert passages[1].text == "talk.wav, 0:06 to 0:11"


def test_recordings_are_kept_in_step(rag: VoiceRAG, folder: Path) -> None:
    index_files(rag, [folder], recordings=True)
    again = index_files(rag, [folder], recordings=True, chunk_size=50)
    assert again.unchanged + again.changed == 2
    assert again.vectors == 1  # the note alone: chunk sizes do not touch recordings
    soundfile.write(folder / "talk.wav", tone(2), RATE, "FLOAT")
    changed = index_files(rag, [folder], recordings=True, chunk_size=50)
    assert (changed.changed, changed.vectors) == (1, 1)
    assert rag.store.count() == 2
    (folder / "talk.wav").unlink()
    assert index_files(rag, [folder], recordings=True, chunk_size=50).removed == 1
    assert rag.store.count() == 1


def test_progress_counts_windows_and_bytes(rag: VoiceRAG, folder: Path) -> None:
    steps: list[FileProgress] = []
    index_files(rag, [folder], recordings=True, on_progress=steps.append)
    last = steps[-1]
    assert (last.files, last.passages, last.vectors) == (2, 4, 4)
    assert last.bytes == last.bytes_total
    updates = [step.bytes for step in steps if step.step == "update"]
    assert all(one <= other for one, other in itertools.pairwise(updates))


def test_a_dry_run_counts_windows_and_writes_nothing(rag: VoiceRAG, folder: Path) -> None:
    report = index_files(rag, [folder], recordings=True, dry_run=True)
    assert (report.new, report.passages) == (2, 4)
    assert rag.store.count() == 0


def test_a_broken_recording_is_reported_and_the_rest_is_indexed(
    rag: VoiceRAG, folder: Path
) -> None:
    (folder / "broken.mp3").write_bytes(b"no sound")
    soundfile.write(folder / "silent.wav", np.zeros(RATE, np.float32), RATE)
    report = index_files(rag, [folder], recordings=True)
    assert [type(error) for error in report.failures] == [AudioError, SilentError]
    assert rag.store.count() == 4


def test_recordings_are_taken_on_request_alone(rag: VoiceRAG, folder: Path) -> None:
    report = index_files(rag, [folder])
    assert (report.new, report.skipped) == (1, 1)


def test_an_embedder_that_transcribes_takes_no_recordings(folder: Path) -> None:
    hearing = VoiceRAG(
        FakeEmbedder(DIM, needs_transcriber=True),
        InMemoryStore(DIM),
        FakeVoiceModel(),
        strategy="asr",
    )
    report = index_files(hearing, [folder])
    assert (report.new, report.skipped) == (1, 1)
    named = index_files(hearing, [folder / "talk.wav"])
    assert "needs no transcript" in str(named.failures[0])
    with pytest.raises(ConfigError, match="needs a transcript"):
        index_files(hearing, [folder], recordings=True)


def test_clips_of_any_rate_and_channels_are_cut(tmp_path: Path) -> None:
    both = np.stack((tone(4, 200), tone(4, 300)), axis=1)
    soundfile.write(tmp_path / "talk.flac", np.repeat(both, 3, axis=0), 48_000)
    passage = Passage(
        "p", "", {"source": str(tmp_path / "talk.flac"), "start_seconds": 1.0, "end_seconds": 2.5}
    )
    clip = cut_clip(passage)
    assert (clip.sample_rate, clip.seconds) == (RATE, 1.5)
    mixed = np.repeat(both.mean(axis=1), 3)[48_000:120_000].astype(np.float32)
    expected = resample(Audio(mixed, 48_000), RATE).samples
    assert np.abs(clip.samples - expected).max() < 1e-3
    assert cut_clip(passage, margin_seconds=10).seconds == pytest.approx(4, abs=0.01)


def test_what_cannot_be_cut_out_is_said(folder: Path) -> None:
    with pytest.raises(ConfigError, match="is text"):
        cut_clip(Passage("p", "words", {"source": "a.txt"}))
    passage = read_recording(folder / "talk.wav")[0][2]
    soundfile.write(folder / "talk.wav", tone(2), RATE)
    with pytest.raises(AudioError, match="has become shorter"):
        cut_clip(passage)
    (folder / "talk.wav").unlink()
    with pytest.raises(AudioError, match="cannot be read any more"):
        cut_clip(passage)
