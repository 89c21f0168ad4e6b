"""Talking with the documents in the terminal: typed, spoken, and ended in every way."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.waiting import PATIENCE
from voicerag_core import Audio, Conversation, Speculation
from voicerag_core.cli import chat as chats
from voicerag_core.settings import load_settings
from voicerag_core.testing import FakeEmbedder, FakeTranscriber, FakeVoiceModel, InMemoryStore

Voicerag = Callable[..., "subprocess.CompletedProcess[str]"]
QUESTION = "Which player was criticized for not jumping into the pile to recover the ball?"


def test_questions_go_on_from_each_other_until_quit(voicerag: Voicerag, sample: str) -> None:
    lines = [QUESTION, "What did he not do?", "/new", "/what", "??", "", "/quit", "never asked"]
    result = voicerag(
        "chat", "--no-speech", "--collection", sample, given="\n".join(lines).encode()
    )
    assert result.returncode == 0, result.stderr
    assert len(re.findall(r"^answer ", result.stdout, re.MULTILINE)) == 2
    assert "Newton" in result.stdout
    assert "*1  " in result.stdout, "with its sources"
    assert "forgotten" in result.stderr
    assert "/what is no command" in result.stderr
    assert "that is no question" in result.stderr


def test_the_end_of_input_ends_the_chat_and_what_is_not_followed_is_named(
    voicerag: Voicerag, sample: str
) -> None:
    result = voicerag(
        "chat",
        "--no-speech",
        "--collection",
        sample,
        "--instructions",
        "sound sad",
        given=b"Is it?",
    )
    assert result.returncode == 0, result.stderr
    assert "sound sad" in result.stderr
    empty = voicerag("chat", "--no-speech", "--collection", "nothing-here", given=b"Who?\nWhen?\n")
    assert empty.returncode == 1
    assert "voicerag index PATHS... --collection nothing-here" in empty.stderr
    assert not empty.stdout


@pytest.mark.parametrize("key", [b"\x04", b"\x03"], ids=["Ctrl-D", "Ctrl-C"])
def test_a_key_ends_the_chat_without_a_traceback(data_dir: Path, sample: str, key: bytes) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "voicerag_core.cli", "chat", "--no-speech", "--collection", sample],
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509 - no other thread of this test is running
        env={**os.environ, "VOICERAG_DATA_DIR": str(data_dir)},
    )
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        while "Type a question" not in said:
            assert process.poll() is None, said
            said = process.stderr.readline()
        os.write(leader, key)
        _, rest = process.communicate(timeout=PATIENCE)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        os.close(leader)
        os.close(follower)
    assert process.returncode == (0 if key == b"\x04" else 130), rest
    assert "Traceback" not in rest


def _take_terminal() -> None:
    """Make standard input the terminal that keys interrupt."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def clip() -> Audio:
    samples, rate = soundfile.read(
        Path(__file__).parents[2] / "examples/sample/audio/report-01.flac", dtype="float32"
    )
    return Audio(np.asarray(samples), rate)


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_spoken_question_is_searched_at_its_pause(
    monkeypatch: pytest.MonkeyPatch, goes_on: bool
) -> None:
    from voicerag_core import Passage, VoiceRAG

    begun: list[Speculation] = []

    class Talk(Conversation):
        def speculate(self, question: Audio) -> Speculation:  # type: ignore[override]
            begun.append(super().speculate(question))
            return begun[-1]

    def record(
        most: float, *, paused: Callable[[Audio], None], resumed: Callable[[], None]
    ) -> Audio:
        paused(clip())
        if goes_on:
            resumed()
        return clip()

    monkeypatch.setattr(chats, "record", record)
    embedder = FakeEmbedder()
    rag = VoiceRAG(embedder, InMemoryStore(embedder.dim), FakeVoiceModel(), FakeTranscriber())
    rag.index([Passage("sea", "The river reaches the sea.")])
    heard = chats._listened(Talk(rag), load_settings())
    if goes_on:
        assert heard == clip()
        assert begun[0].cancelled
    else:
        assert heard is begun[0]
        assert [hit.passage.id for hit in begun[0].result().hits] == ["sea"]
