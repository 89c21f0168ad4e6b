"""Paths that no file can have, at every command that takes one, and names that are odd but good."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from voicerag_core.audio import write_wav
from voicerag_core.cli.ask import _write_clips
from voicerag_core.cli.sound import wav_file
from voicerag_core.errors import AudioError
from voicerag_core.store.whole_file import whole_file
from voicerag_core.types import Audio, Hit, Passage, Retrieved

Voicerag = Callable[..., "subprocess.CompletedProcess[str]"]

SOUND = Audio(np.full(1600, 0.25, np.float32), 16_000)
LONG = "n" * 300
"""A file name of more than 255 bytes."""

DOORS = {
    "index": ("index", "PATH"),
    "ask --audio": ("ask", "--audio", "PATH"),
    "search --clips": ("search", "--clips", "PATH", "Where do herons fish?"),
    "transcribe": ("transcribe", "PATH"),
    "export": ("export", "PATH"),
    "import": ("import", "PATH"),
    "db backup": ("db", "backup", "PATH"),
    "db restore": ("db", "restore", "PATH"),
    "watch": ("watch", "PATH"),
    "calibrate": ("calibrate", "PATH"),
    "convert": ("convert", "PATH", "OTHER"),
    "eval run": ("eval", "run", "PATH", "--quick", "--data", "."),
    "eval report": ("eval", "report", "PATH"),
    "eval compare": ("eval", "compare", "PATH", "PATH"),
    "eval judge": ("eval", "judge", "PATH"),
    "embedder": ("search", "herons", "--embedder", "PATH"),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", ["long", "loop", "through a file"])
def test_a_path_that_cannot_be_is_said_in_one_line(
    voicerag: Voicerag, sample: str, tmp_path: Path, door: str, kind: str
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("text")
    path = {
        "long": tmp_path / LONG,
        "loop": tmp_path / "loop" / "f",
        "through a file": tmp_path / "file" / "f",
    }[kind]
    words = [{"PATH": path, "OTHER": tmp_path / "o"}.get(word, word) for word in DOORS[door]]
    done = voicerag(*words, "--collection", sample)
    assert done.returncode == 1, done.stderr
    assert "unexpected" not in done.stderr
    assert "Errno" not in done.stderr


@pytest.mark.parametrize("name", ["x" * 251 + ".wav", "\N{PERFORMING ARTS}" * 62 + ".wav"])
def test_a_name_as_long_as_one_may_be_is_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with wav_file(path) as file:
        file.write(SOUND)
    size = path.stat().st_size
    path.unlink()
    write_wav(path, SOUND)
    assert path.stat().st_size == size
    path.unlink()
    with whole_file(path) as written:
        written.write(b"whole")
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_of_other_bytes_than_utf8_is_written(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    with wav_file(path) as file:
        file.write(SOUND)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_is_no_place_for_a_sound(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="Is a directory"), wav_file(tmp_path) as file:
        file.write(SOUND)
    with pytest.raises(AudioError, match="Is a directory"):
        write_wav(tmp_path, SOUND)


def test_a_clip_of_a_recording_with_a_long_name_is_cut_out(tmp_path: Path) -> None:
    source = tmp_path / (124 * "ä" + "!.wav")
    tone = 0.25 * np.sin(np.arange(16_000, dtype=np.float32) / 9)
    write_wav(source, Audio(tone.astype(np.float32), 16_000))
    spoken = Passage(
        "p", "", {"source": str(source), "kind": "recording", "start_seconds": 0, "end_seconds": 1}
    )
    (clip,) = _write_clips(Retrieved((Hit(spoken, 1.0, 1),)), tmp_path / "clips")
    assert clip.name.startswith("01-ää")
    assert clip.stat().st_size > 30_000
