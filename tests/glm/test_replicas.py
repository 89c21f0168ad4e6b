"""GLM-4-Voices in processes of their own: who answers, and what happens when one is lost."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from tests.glm import replica_voices, tiny
from voicerag_core import (
    Answer,
    Audio,
    Cancellation,
    CancelledError,
    ConfigError,
    ModelError,
    Passage,
    Question,
    Sampling,
    Turn,
    load_settings,
)
from voicerag_core.errors import BusyError, CheckpointError, VoiceRAGError
from voicerag_core.glm.replicas import ReplicatedGLMVoice
from voicerag_core.glm.replicas.wire import WINDOW
from voicerag_core.ports import ServesMany
from voicerag_core.stack import open_parts

SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_new_tokens=20, seed=11)
LONG = 60.0
"""Seconds after which a test that waits for another process is broken."""


def opened(*loaders: Any, **options: float) -> ReplicatedGLMVoice:
    return ReplicatedGLMVoice(loaders, ["one", "two"][: len(loaders)], **options)


@pytest.fixture(scope="module")
def shared() -> Iterator[ReplicatedGLMVoice]:
    """Two replicas that no test loses."""
    with opened(replica_voices.scripted, replica_voices.scripted) as voice:
        yield voice


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicatedGLMVoice]:
    """Two replicas that may be lost, and are started again at once."""
    monkeypatch.setattr("voicerag_core.glm.replicas.replica.PAUSES", (0.0,))
    with opened(replica_voices.scripted, replica_voices.scripted) as voice:
        yield voice


def text_of(
    voice: ReplicatedGLMVoice,
    question: Question,
    passages: Sequence[Passage] = (),
    history: Sequence[Turn] = (),
) -> str:
    pieces = voice.respond(question, passages, sampling=SAMPLING, history=history)
    return "".join(piece.text for piece in pieces)


def gone(pid: int) -> bool:
    """Return whether a process has ended and was waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_question_goes_to_the_one_with_the_least_to_do(shared: ReplicatedGLMVoice) -> None:
    streams = [shared.respond("pid", [], sampling=SAMPLING) for _ in range(5)]
    first = [next(stream).text for stream in streams]
    assert sorted(first.count(pid) for pid in set(first)) == [2, 3]
    busiest = max(first, key=first.count)
    for stream, pid in zip(streams, first, strict=True):
        if pid == busiest:
            stream.close()
    more = [shared.respond("pid", [], sampling=SAMPLING) for _ in range(2)]
    assert [next(stream).text for stream in more] == [busiest, busiest]
    for stream in (*streams, *more):
        stream.close()


def test_a_conversation_stays_with_the_one_that_spoke_last(shared: ReplicatedGLMVoice) -> None:
    busy = shared.respond("pid", [], sampling=SAMPLING)
    other = next(busy).text
    reply = text_of(shared, "pid")
    pid = reply.split()[0]
    assert pid != other
    busy.close()
    turn = Turn("pid", Answer(reply))
    assert [text_of(shared, "pid", history=[turn]) for _ in range(3)] == [reply] * 3
    unknown = Turn("never asked", Answer("never said"))
    assert text_of(shared, "pid", history=[unknown]) != reply
    with closing(shared.respond("pid again", [], sampling=SAMPLING)) as left:
        assert next(left).text == other
    busy = shared.respond("pid", [], sampling=SAMPLING)
    assert next(busy).text == other
    left_turn = Turn("pid again", Answer(other))
    assert text_of(shared, "pid", history=[left_turn]).startswith(other)
    busy.close()
    heard = Turn("pid", Answer(pid[:2]))
    shared.cut(turn, heard, seconds=1.5)
    shared.cut(unknown, unknown, seconds=1.0)
    told = text_of(shared, "tell", history=[heard])
    assert told == repr(([], [("pid", pid[:2], None)], [(reply, pid[:2], 1.5)]))


def test_all_that_belongs_to_a_call_arrives(shared: ReplicatedGLMVoice) -> None:
    passage = Passage("p1", "The Rhine.", MappingProxyType({"title": "Rivers"}))
    sound = Audio(np.zeros(8_000, np.float32), 16_000)
    turn = Turn("q", Answer("a", audio=sound))
    (piece,) = shared.respond("tell", [passage], sampling=SAMPLING, history=[turn])
    assert piece.text.startswith(
        "([('p1', 'The Rhine.', [('title', 'Rivers')])], [('q', 'a', None)]"
    )
    assert piece.audio == replica_voices.TONE
    (piece,) = shared.silent().respond("tell", [], sampling=SAMPLING)
    assert piece.audio is None
    assert text_of(shared, sound) == "0.5 s"
    assert shared.transcribe(sound).text == "8000 samples"
    assert shared.further_query("What", [passage]) == "What beyond 1"
    assert shared.further_query("What", [passage], only_unsure=True) is None
    ids = list(shared.tokens("<|user|>", sampling=Sampling(max_new_tokens=500)))
    assert ids == list(range(500))
    assert shared.end_token == 77


def test_the_load_of_both_is_known(shared: ReplicatedGLMVoice, tmp_path: Path) -> None:
    assert isinstance(shared, ServesMany)
    assert (shared.capacity, shared.out_of_service) == (6, ())
    waits = f"wait {tmp_path / 'file'}"
    streams = [shared.respond(waits, [], sampling=SAMPLING) for _ in range(2)]
    for stream in streams:
        next(stream)
    until(lambda: shared.running == 2)
    for stream in streams:
        stream.close()
    until(lambda: shared.running == 0)


def test_a_slow_reader_holds_up_nobody_and_has_a_bounded_number_of_pieces(
    shared: ReplicatedGLMVoice, tmp_path: Path
) -> None:
    logs = [tmp_path / "one", tmp_path / "two"]
    slow = [shared.respond(f"count 1000 {log}", [], sampling=SAMPLING) for log in logs]
    read = [next(stream).text for stream in slow]
    for _ in range(4):
        assert text_of(shared, "pid")
    until(lambda: all(len(log.read_text().split()) > WINDOW for log in logs))
    assert text_of(shared, "pid")
    made = [len(log.read_text().split()) for log in logs]
    assert max(made) <= WINDOW + 1
    rest = ["".join(piece.text for piece in stream) for stream in slow]
    assert [a + b for a, b in zip(read, rest, strict=True)] == [
        "".join(f"{n} " for n in range(1000))
    ] * 2


def test_more_calls_than_the_capacity_run_at_once_in_threads_that_are_kept(
    shared: ReplicatedGLMVoice, tmp_path: Path
) -> None:
    waits = [shared.respond(f"wait {tmp_path / 'x'}", [], sampling=SAMPLING) for _ in range(8)]
    assert [next(stream).text for stream in waits] == ["well"] * 8
    for stream in waits:
        stream.close()
    counts = [int(text_of(shared, "threads")) for _ in range(20)]
    assert counts[-1] - counts[0] <= 2  # for calls that came before the thread of the last was free


def test_a_reply_that_is_left_ends_in_the_process(
    shared: ReplicatedGLMVoice, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with closing(shared.respond(f"count 1000 {log}", [], sampling=SAMPLING)) as pieces:
        next(pieces)
    until(lambda: log.read_text().endswith("over\n"))
    assert len(log.read_text().split()) < 200
    with closing(shared.respond(f"wait {tmp_path / 'second'}", [], sampling=SAMPLING)) as pieces:
        next(pieces)
    until((tmp_path / "second").exists)


def test_a_cancelled_call_is_released_and_ends_in_the_process(
    shared: ReplicatedGLMVoice, tmp_path: Path
) -> None:
    cancellation = Cancellation()
    with cancellation.active():
        pieces = shared.respond(f"wait {tmp_path / 'file'}", [], sampling=SAMPLING)
        next(pieces)
        threading.Timer(0.05, cancellation.cancel).start()
        with pytest.raises(CancelledError):
            next(pieces)
    until((tmp_path / "file").exists)


@pytest.mark.parametrize("name", replica_voices.ERRORS)
def test_errors_of_the_tree_come_as_themselves_and_others_as_model_errors(
    shared: ReplicatedGLMVoice, name: str
) -> None:
    wanted = replica_voices.ERRORS[name]
    with pytest.raises(VoiceRAGError) as raised:
        text_of(shared, f"raise {name}")
    if name in ("busy", "extra", "audio"):
        assert (type(raised.value), str(raised.value)) == (type(wanted), str(wanted))
    else:
        assert type(raised.value) is ModelError
        assert str(raised.value) == f"{type(wanted).__name__}: {wanted}"
    if isinstance(raised.value, BusyError):
        assert raised.value.retry_after == 3.5
    assert "in _raise" in str(raised.value.__cause__)
    assert shared.out_of_service == ()


def test_what_is_printed_or_logged_there_harms_nothing(
    shared: ReplicatedGLMVoice, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    assert text_of(shared, "print") == "printed"
    until(lambda: "left out 3 passages" in caplog.text)
    assert capfd.readouterr().out == ""


def test_an_interrupt_at_the_terminal_is_left_to_the_parent(shared: ReplicatedGLMVoice) -> None:
    pids = [one.process.pid for one in shared._pool.replicas]
    for pid in pids:
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
    streams = [shared.respond("pid", [], sampling=SAMPLING) for _ in pids]
    assert {int(next(stream).text) for stream in streams} == set(pids)
    for stream in streams:
        stream.close()
    assert shared.out_of_service == ()


def test_a_lost_process_is_replaced_and_its_question_answered_by_the_other(
    pair: ReplicatedGLMVoice, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert text_of(pair, "frozen") == "0"
    pair.warm()
    assert int(text_of(pair, "frozen")) > 0, "what is kept is not searched for garbage"
    first, second = (one.process.pid for one in pair._pool.replicas)
    waits = pair.respond("wait " + str(tmp_path / "never"), [], sampling=SAMPLING)
    assert next(waits).text == "well"  # of the first
    assert text_of(pair, f"die 0 {tmp_path / 'second'}") == str(first)
    assert "two is out of service: its process was ended by SIGKILL" in caplog.text
    until(lambda: pair.out_of_service == ())
    pids = [one.process.pid for one in pair._pool.replicas]
    assert pids[0] == first
    assert pids[1] not in (first, second)
    assert text_of(pair, "tell") == repr(([], [], [("warm", "", 0.0)]))  # of the new one
    assert text_of(pair, f"break {tmp_path / 'new'}") == str(first)
    until(lambda: pair.out_of_service == ())
    os.kill(first, signal.SIGKILL)
    with pytest.raises(ModelError, match=r"one failed in the middle of the answer .*SIGKILL"):
        next(waits)
    assert gone(second)


def test_a_question_that_ends_every_process_is_asked_of_each_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("voicerag_core.glm.replicas.replica.PAUSES", (LONG,))
    with opened(replica_voices.scripted, replica_voices.scripted) as voice:
        with pytest.raises(ModelError, match="one and two failed with this question"):
            text_of(voice, "die 0")
        with pytest.raises(ModelError, match=r"every replica is out of service \(one: .*two: "):
            text_of(voice, "pid")
        assert len(voice.out_of_service) == 2
        assert voice.silent().out_of_service == voice.out_of_service
        assert voice.capacity == 0
    with pytest.raises(ModelError, match="was closed"):
        text_of(voice, "pid")


def test_starting_again_is_tried_until_it_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("voicerag_core.glm.replicas.replica.PAUSES", (0.0,))
    with opened(partial(replica_voices.flaky, tmp_path / "log")) as voice:
        with pytest.raises(ModelError, match="one failed with this question"):
            text_of(voice, "break")
        until(lambda: voice.out_of_service == ())
        assert "one: RuntimeError: CUDA error: device-side assert triggered" in caplog.text
        assert "starting it again failed: one: not now" in caplog.text
        assert text_of(voice, "pid")


def test_what_loading_raises_names_the_device(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(CheckpointError, match=r"^two: model.safetensors is missing"):
        opened(replica_voices.scripted, replica_voices.damaged)
    with pytest.raises(ModelError, match=r"^one: its process was ended by SIGKILL"):
        opened(replica_voices.killed)
    with pytest.raises(ConfigError):
        ReplicatedGLMVoice([], [])
    assert caplog.records == []


def test_a_voice_that_is_closed_or_forgotten_ends_its_processes() -> None:
    with opened(replica_voices.scripted) as closed:
        pid = closed._pool.replicas[0].process.pid
        assert not gone(pid)
    assert gone(pid)
    closed.close()
    forgotten = opened(replica_voices.scripted)
    pid = forgotten._pool.replicas[0].process.pid
    silent = forgotten.silent()
    del forgotten
    gc.collect()
    assert text_of(silent, "pid").startswith(str(pid))
    del silent
    gc.collect()
    assert gone(pid)


PARENT = """
import os, sys, time
from tests.glm import replica_voices
from voicerag_core import ModelError, Sampling
from voicerag_core.glm.replicas import ReplicatedGLMVoice

def ask():
    return "".join(p.text for p in voice.respond("pid", [], sampling=Sampling()))

voice = ReplicatedGLMVoice([replica_voices.scripted], ["one"])
fork = os.fork()
if not fork:
    try:
        ask()
    except ModelError as error:
        os.write(2, str(error).encode())
    os._exit(0)
os.waitpid(fork, 0)
print(ask(), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kill", [True, False])
def test_no_process_outlives_its_parent(kill: bool) -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PARENT]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline().split()[0])
        assert pid != parent.pid
        if kill:
            parent.kill()
        # Returns when nobody has the standard error any more, which the child inherited.
        _, said = parent.communicate(timeout=LONG)
    assert said.startswith("the replica on one belongs to the process that was forked")
    assert said.count("\n") == 0
    assert parent.returncode == (-signal.SIGKILL if kill else 0)


def test_the_settings_make_a_replica_on_each_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    trees = tiny.write_trees(tmp_path)
    settings = {
        "stack": "glm", "glm_dir": trees.root, "speak": False, "data_dir": tmp_path, "glm_rows": 3,
        "transcriber": "glm",
    }  # fmt: skip
    answers = []
    for device in ("cpu", "cpu,cpu"):
        with open_parts(load_settings(**settings, glm_device=device)) as parts:
            model: object = parts.model
            assert isinstance(model, ServesMany)
            many: ServesMany = model
            assert many.capacity == 1
            parts.loads["model"]()
            assert many.capacity == 3 * len(device.split(","))
            answers.append([
                "".join(p.text for p in parts.model.respond("the heat", [], sampling=SAMPLING))
                for _ in range(2)
            ])  # fmt: skip
            with pytest.raises(ModelError, match="takes 18141 tokens") as raised:
                list(parts.model.respond("zq" * 9000, [], sampling=SAMPLING))
            answers[-1].append(repr(raised.value))
    assert answers[0] == answers[1]
    with pytest.raises(ConfigError, match="glm_device"):
        load_settings(glm_device="cpu,gpu")
