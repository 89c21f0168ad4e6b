"""Processes of replicas that hang without ending: they are found, ended and started again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.glm import replica_voices
from tests.glm.test_replicas import LONG, SAMPLING, gone, opened, text_of, until
from voicerag_core import ModelError
from voicerag_core.glm.replicas import ReplicatedGLMVoice
from voicerag_core.glm.replicas.beats import BEAT_SECONDS, Quiet
from voicerag_core.glm.replicas.wire import WINDOW

HANGS_AFTER = 1.5
LONGER = 1.5 * HANGS_AFTER
"""Longer than a process may do nothing."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """End processes quickly, and start them again at once."""
    monkeypatch.setattr("voicerag_core.glm.replicas.replica.PAUSES", (0.0,))
    monkeypatch.setattr("voicerag_core.glm.replicas.process.CLOSE_SECONDS", 0.5)


@contextmanager
def two() -> Iterator[ReplicatedGLMVoice]:
    """Open two replicas, and let them answer."""
    loader = replica_voices.scripted
    with opened(loader, loader, hangs_after=HANGS_AFTER) as voice:
        voice.warm()
        yield voice


@pytest.fixture
def pair() -> Iterator[ReplicatedGLMVoice]:
    with two() as voice:
        yield voice


def test_a_stopped_process_is_ended_and_replaced(
    pair: ReplicatedGLMVoice, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (one.process.pid for one in pair._pool.replicas)
    begun, other = (pair.respond(f"work {LONGER}", [], sampling=SAMPLING) for _ in range(2))
    assert [next(begun).text, next(other).text] == ["well"] * 2
    os.kill(first, signal.SIGSTOP)
    assert text_of(pair, "pid").startswith(str(second))  # the first was asked, and did not begin
    with pytest.raises(ModelError, match=r"one failed in the middle .*hangs: no sign of life for"):
        next(begun)
    assert "one is out of service: its process hangs" in caplog.text
    until(lambda: pair.out_of_service == () and gone(first))
    with closing(pair.respond("pid", [], sampling=SAMPLING)) as again:  # the other one is busy
        assert int(next(again).text) == pair._pool.replicas[0].process.pid
    assert next(other).text == f" {second}"  # it worked for longer than another may do nothing


def test_a_call_that_stands_still_in_a_living_process_is_ended(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with two() as pair, ThreadPoolExecutor(1) as pool:
        first, second = (one.process.pid for one in pair._pool.replicas)
        stuck = pair.respond(f"stick {tmp_path / 'first'}", [], sampling=SAMPLING)
        assert next(stuck).text == "well"
        found = pool.submit(next, stuck)
        with pytest.raises(ModelError, match=r"one failed .*hangs: nothing of its work went on"):
            found.result(LONG)
        until(lambda: pair.out_of_service == () and gone(first))
        assert pair._pool.replicas[1].process.pid == second
    assert "in _stick" in capfd.readouterr().err  # where it hung


def test_questions_that_fail_at_once_do_not_hide_it(tmp_path: Path) -> None:
    with opened(replica_voices.scripted, hangs_after=HANGS_AFTER) as voice:
        voice.warm()
        stuck = voice.respond(f"stick {tmp_path / 'first'}", [], sampling=SAMPLING)
        assert next(stuck).text == "well"
        end = time.monotonic() + LONG
        while voice.out_of_service == ():
            assert time.monotonic() < end
            with pytest.raises(ModelError, match=r"a bug|failed with this question|out of service"):
                text_of(voice, "raise value")
            time.sleep(BEAT_SECONDS / 10)


def test_a_reply_that_stands_still_among_others_is_ended_later(
    tmp_path: Path,
) -> None:
    with opened(replica_voices.hasty, hangs_after=HANGS_AFTER) as voice:
        voice.warm()
        other = voice.respond("work 60", [], sampling=SAMPLING)
        assert next(other).text == "well"
        stuck = voice.respond(f"stick {tmp_path / 'first'}", [], sampling=SAMPLING)
        assert next(stuck).text == "well"
        with pytest.raises(ModelError, match=r"one failed .*nothing of its work went on"):
            next(stuck)


def test_what_takes_long_for_the_first_time_is_no_hanging() -> None:
    with opened(partial(replica_voices.slow, LONGER), hangs_after=HANGS_AFTER) as voice:
        assert text_of(voice, f"nap {LONGER}")  # kernels are compiled, say
        voice.warm()  # takes as long
        assert text_of(voice, "pid")
        with pytest.raises(ModelError, match="one failed with this question"):
            text_of(voice, "nap 60")


def test_a_process_that_is_stopped_while_it_loads_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("voicerag_core.glm.replicas.process.PATIENCE", 1.0)
    with pytest.raises(ModelError, match=r"^one: its process hangs: no sign of life for 1\.5 s"):
        opened(replica_voices.stopped, hangs_after=HANGS_AFTER)


def test_a_slow_reader_is_no_hanging(pair: ReplicatedGLMVoice, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with closing(pair.respond(f"count 1000 {log}", [], sampling=SAMPLING)) as slow:
        next(slow)
        until(lambda: len(log.read_text().split()) > WINDOW)
        time.sleep(LONGER)
        assert len(list(slow)) == 999
    assert pair.out_of_service == ()


def test_time_in_which_the_looking_process_did_not_run_is_not_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    quiet = Quiet()
    assert quiet.look(1) == 0

    def after(seconds: float, seen: int, *, excused: bool = False) -> float:
        now[0] += seconds
        return quiet.look(seen, excused=excused)

    assert after(BEAT_SECONDS, 1) == BEAT_SECONDS
    assert after(3600, 1) == 3 * BEAT_SECONDS  # it was stopped
    assert after(BEAT_SECONDS, 1, excused=True) == 0
    assert after(BEAT_SECONDS, 1) == BEAT_SECONDS
    assert after(BEAT_SECONDS, 2) == 0
