"""The progress of an index run: honest about the time left, by a clock of the tests."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from tests.waiting import PATIENCE
from voicerag_core.cli import index as command
from voicerag_core.cli.index_progress import IndexProgress, Lines, index_progress, progress_line
from voicerag_core.cli.time_left import TimeLeft, duration
from voicerag_core.ingest import Estimate, FileProgress, indexing

Voicerag = Callable[..., "subprocess.CompletedProcess[str]"]


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Task:
    """Pieces of one unit each, timed by a clock."""

    def __init__(self, left: TimeLeft, clock: Clock, total: float = 1000) -> None:
        self.left, self.clock, self.total = left, clock, total
        self.done = 0

    def work(self, pieces: int, seconds: float) -> None:
        """Do pieces that take so many seconds."""
        for _ in range(pieces):
            self.clock.now += seconds
            self.done += 1
            self.left.update(self.done, self.total)


def test_the_time_left_follows_the_measured_rate(clock: Clock) -> None:
    left = TimeLeft(clock)
    task = Task(left, clock)
    clock.now += 500  # loading
    left.begin()
    task.work(1, 2)
    assert left.seconds() is None  # too early to tell
    task.work(9, 2)
    assert left.seconds() == pytest.approx(990 * 2)
    clock.now += 1.5
    assert left.seconds() == pytest.approx(990 * 2 - 1.5)


def test_one_slow_piece_changes_the_estimate_little_and_a_new_pace_changes_it(
    clock: Clock,
) -> None:
    left = TimeLeft(clock)
    task = Task(left, clock)
    left.begin()
    task.work(100, 1)
    assert left.seconds() == pytest.approx(900)
    task.work(1, 5)
    slowed = left.seconds()
    assert slowed is not None
    assert 900 < slowed < 1000
    task.work(100, 4)
    assert left.seconds() == pytest.approx(799 * 4, rel=0.02)


def test_while_a_piece_takes_long_the_time_left_grows_instead_of_running_out(clock: Clock) -> None:
    left = TimeLeft(clock)
    left.begin()
    Task(left, clock, total=20).work(10, 1)
    seen = []
    for _ in range(60):
        clock.now += 1
        seen.append(left.seconds() or 0.0)
    assert all(value >= 9 for value in seen)
    assert seen == sorted(seen)
    assert seen[-1] > 50


def test_a_rate_from_a_sample_counts_until_others_are_measured(clock: Clock) -> None:
    left = TimeLeft(clock, rate=4)
    task = Task(left, clock)
    left.begin()
    left.update(0, 1000)
    assert left.seconds() == pytest.approx(250)
    task.work(300, 1)
    assert left.seconds() == pytest.approx(700, rel=0.02)


def test_more_work_than_expected_gives_more_time(clock: Clock) -> None:
    left = TimeLeft(clock)
    left.begin()
    Task(left, clock, total=20).work(10, 1)
    left.update(10, 2000)
    assert left.seconds() == pytest.approx(1990)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "less than a minute"), (61, "about 2 min"), (3600, "about 60 min"),
        (7200, "about 2 h"), (12_300, "about 3 h 20 min"), (300_000, "about 3 days"),
    ],
)  # fmt: skip
def test_a_duration_is_as_exact_as_an_estimate(seconds: float, words: str) -> None:
    assert duration(seconds) == words


START = FileProgress("compare", 0, 0, 0, 0, doing="opening")
HALF = FileProgress("update", 5, 10, 500, 1000, 48, 400, "embedding", 100)


def test_a_line_says_how_far_it_is() -> None:
    assert progress_line(START, None) == ""
    assert progress_line(HALF, 200) == "5 of 10 files, 48 of about 100 passages, about 4 min left"
    done = replace(HALF, files=10, passages=100)
    assert progress_line(done, 0) == "10 of 10 files, 100 of 100 passages"


def test_elsewhere_than_on_a_terminal_a_line_comes_now_and_then(clock: Clock) -> None:
    written: list[str] = []
    lines = Lines(written.append, clock)
    for second in range(100):
        lines.show(START if second < 10 else HALF, lambda: 60.0)
        clock.now += 1
    assert written == [
        "opening the knowledge base",
        *["embedding: 5 of 10 files, 48 of about 100 passages, about 1 min left"] * 3,
    ]


def test_loading_does_not_count_as_work(clock: Clock) -> None:
    written: list[str] = []
    shown = IndexProgress(Lines(written.append, clock), clock)
    nothing = replace(HALF, files=0, bytes=0, passages=0)
    previous = signal.getsignal(signal.SIGINT)
    try:
        shown.update(START)
        shown.update(replace(nothing, doing="loading"))
        clock.now += 1000
        shown.update(nothing)
        clock.now += 48
        shown.update(HALF)
        clock.now += 1
        shown.update(replace(HALF, doing="writing"))
    finally:
        signal.signal(signal.SIGINT, previous)
    assert written[-1].endswith("48 of about 100 passages, less than a minute left")


def tell(estimate: Estimate, *, yes: bool = False, dry_run: bool = False) -> None:
    with index_progress() as progress:
        command._told(progress, yes=yes, dry_run=dry_run)(estimate)


LONG = Estimate(20, 100_000, 4 * 3600.0)
SHORT = Estimate(20, 1000, 100.0)


def test_a_long_run_is_announced_and_goes_on_where_nobody_can_be_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell(LONG)
    said = capsys.readouterr()
    assert said.out == ""
    assert "20 new or changed files with about 100,000 passages: indexing takes" in said.err
    assert "about 4 h on this machine (6.9 passages a second)" in said.err
    tell(SHORT)
    assert capsys.readouterr().err == ""
    tell(SHORT, dry_run=True)
    assert "about 2 min on this machine" in capsys.readouterr().out


def test_when_all_is_written_an_interrupt_ends_the_run_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before, it waits for the end of a transaction."""
    written = FileProgress("update", 8, 8, 80, 80, passages=8, doing="writing")
    previous = signal.getsignal(signal.SIGINT)

    def run() -> None:
        with index_progress() as shown:
            shown.update(written)
            shown.update(replace(written, doing="preparing"))
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(PATIENCE)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert "kept: 8 of 8 new or changed files" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is previous


@pytest.mark.parametrize("answer", ["y", "n", "interrupt", "yes option"])
def test_on_a_terminal_a_long_run_is_asked_about(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr(command, "is_interactive", lambda: True)
    asked: list[str] = []

    def confirm(text: str, *, err: bool) -> bool:
        asked.append(text)
        assert err
        if answer == "interrupt":
            raise typer.Abort
        return answer == "y"

    monkeypatch.setattr(typer, "confirm", confirm)
    previous = signal.getsignal(signal.SIGINT)
    if answer == "n":
        with pytest.raises(typer.Exit):
            tell(LONG)
        assert "nothing was written" in capsys.readouterr().err
    elif answer == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            tell(LONG)
        assert "nothing was written" in capsys.readouterr().err
    else:
        tell(LONG, yes=answer == "yes option")
    assert len(asked) == (answer != "yes option")
    assert signal.getsignal(signal.SIGINT) is previous


def test_a_dry_run_tells_the_time(voicerag: Voicerag, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The office opens at nine.")
    told = voicerag("index", tmp_path, "--collection", "dry", "--dry-run")
    assert told.returncode == 0, told.stderr
    first, last = told.stdout.splitlines()
    assert first.startswith(
        "1 new or changed file with about 1 passage: indexing takes less than a minute"
    )
    assert last.startswith("dry run, nothing was written; files: 1 new")


def test_large_work_is_estimated_by_the_command(
    voicerag: Voicerag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "is_large", lambda plan: True)
    monkeypatch.setattr(command, "LONG_SECONDS", 0.0)
    (tmp_path / "a.txt").write_text("The office opens at nine.")
    told = voicerag("index", tmp_path, "--collection", "large")
    assert told.returncode == 0, told.stderr
    assert "1 new or changed file with about 1 passage:" in told.stderr


def test_a_terminal_shows_movement_from_the_beginning(data_dir: Path, tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"{number}.txt").write_text(f"Ship {number} sails to port {number % 7}.")
    here, there = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "voicerag_core.cli", "index", tmp_path, "--collection", "shown"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=there, text=True,
        env={**os.environ, "VOICERAG_DATA_DIR": str(data_dir), "TERM": "xterm", "COLUMNS": "120"},
    )  # fmt: skip
    os.close(there)
    shown = b""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        if select.select([here], [], [], 1)[0]:
            try:
                shown += os.read(here, 65_536)
            except OSError:  # the other end was closed
                break
    out, _ = process.communicate(timeout=PATIENCE)
    os.close(here)
    assert "files: 60 new" in out
    text = shown.decode()
    opening, counted = text.find("opening the knowledge base"), text.find("of 60 files")
    assert 0 <= opening < counted, text  # something is seen before anything can be counted
    assert text.count("\r") > 3  # drawn again and again
