"""Folders are followed file by file; what looks like a lost mount removes nothing."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from voicerag_core import VoiceRAG
from voicerag_core.errors import DocumentError, StoreUnavailableError
from voicerag_core.ingest import WatchEvent, watch_files, watching
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel, InMemoryStore

SETTLE = 5.0


class Flaky(InMemoryStore):
    """A store whose database can be away."""

    away = False

    def document_digests(self) -> Any:
        if self.away:
            raise StoreUnavailableError("the database is away")
        return super().document_digests()


class Watched:
    """A folder that is watched, with a step of a test in each of its pauses."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        embedder = FakeEmbedder()
        self.folder = folder
        self.store = Flaky(embedder.dim)
        self.rag = VoiceRAG(embedder, self.store, FakeVoiceModel())
        self.pauses: list[float] = []
        self.said: list[list[WatchEvent]] = []
        self._now = 1000.0
        monkeypatch.setattr(watching, "time", SimpleNamespace(monotonic=lambda: self._now))

    def run(self, *steps: Callable[[], object], **options: Any) -> list[list[WatchEvent]]:
        """Watch, and return what was said before each step and after the last."""
        todo = list(steps)
        watched = self
        self.said = [[]]

        class Stop(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                watched.pauses.append(timeout or 0.0)
                if todo:
                    todo.pop(0)()
                    watched.said.append([])
                else:
                    self.set()
                return True

        for event in watch_files(self.rag, [self.folder], stop=Stop(), settle=SETTLE, **options):
            self.said[-1].append(event)
        return self.said

    def later(self, seconds: float = SETTLE) -> Callable[[], None]:
        def step() -> None:
            self._now += seconds

        return step

    def writing(self, name: str, text: str, seconds: float = 0.0) -> Callable[[], None]:
        def step() -> None:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)
            self._now += seconds

        return step

    def deleting(self, *names: str) -> Callable[[], None]:
        def step() -> None:
            for name in names:
                (self.folder / name).unlink()

        return step

    @property
    def names(self) -> set[str]:
        return {Path(name).name for name in self.store.document_digests()}


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in "abcd":
        (folder / f"{name}.txt").write_text(f"Text of {name}.")
    return Watched(folder, monkeypatch)


def kinds(events: list[WatchEvent]) -> list[str]:
    return [event.kind for event in events]


def counts(event: WatchEvent) -> tuple[int, int, int]:
    assert event.report is not None
    return event.report.new, event.report.changed, event.report.removed


def test_what_is_there_is_indexed_at_once_and_then_what_changes(watched: Watched) -> None:
    said = watched.run(
        watched.writing("e.txt", "New."), watched.later(),
        watched.writing("a.txt", "Changed."), watched.later(), watched.later(),
    )  # fmt: skip
    assert kinds(said[0]) == ["ready"]
    assert counts(said[0][0]) == (4, 0, 0)
    assert said[1] == [], "it may still be written"
    assert counts(said[2][0]) == (1, 0, 0)
    assert counts(said[4][0]) == (0, 1, 0)
    assert said[3] == said[5] == []
    assert watched.names == {"a.txt", "b.txt", "c.txt", "d.txt", "e.txt"}


def test_a_file_that_grows_is_left_alone_until_it_rests(watched: Watched) -> None:
    grows = [watched.writing("log.txt", "x" * n, seconds=4) for n in range(1, 6)]
    said = watched.run(*grows, watched.later(4), watched.later(4))
    assert said[1:7] == [[]] * 6
    assert counts(said[7][0]) == (1, 0, 0)


def test_a_deleted_file_is_removed_once_it_stays_away(watched: Watched) -> None:
    said = watched.run(
        watched.deleting("a.txt"), watched.later(1), watched.writing("a.txt", "Text of a."),
        watched.later(), watched.deleting("b.txt"), watched.later(), watched.later(),
    )  # fmt: skip
    assert said[1:5] == [[], [], [], said[4]]
    assert watched.names == {"a.txt", "c.txt", "d.txt"}, "a file saved anew is not removed"
    assert [counts(event) for event in said[6]] == [(0, 0, 1)]
    assert said[7] == []


@pytest.mark.parametrize("how", ["emptied", "unmounted", "most"])
def test_a_folder_that_loses_most_at_once_loses_nothing(watched: Watched, how: str) -> None:
    def lose() -> None:
        if how == "unmounted":
            shutil.move(watched.folder, watched.folder.with_name("elsewhere"))
            return
        for path in sorted(watched.folder.iterdir())[: 4 if how == "emptied" else 3]:
            path.unlink()

    said = watched.run(lose, watched.later(), watched.later(), watched.later())
    (kept,) = [event for events in said for event in events if event.kind == "kept"]
    assert (kept.folder, kept.known) == (watched.folder, 4)
    assert kept.vanished == (3 if how == "most" else 4)
    assert len(watched.names) == 4
    assert sum(len(events) for events in said) == 2, "it is said once"


def test_a_mount_that_comes_back_goes_on(watched: Watched) -> None:
    away = watched.folder.with_name("elsewhere")
    said = watched.run(
        lambda: shutil.move(watched.folder, away), watched.later(), watched.later(),
        lambda: shutil.move(away, watched.folder), watched.later(),
        watched.deleting("a.txt"), watched.later(),
    )  # fmt: skip
    assert kinds([event for events in said for event in events]) == ["ready", "kept", "indexed"]
    assert counts(said[-1][0]) == (0, 0, 1)


def test_a_mount_that_goes_away_again_is_told_again(watched: Watched) -> None:
    away = watched.folder.with_name("elsewhere")

    def leave() -> None:
        shutil.move(watched.folder, away)

    def return_() -> None:
        shutil.move(away, watched.folder)

    said = watched.run(
        leave, watched.later(), watched.later(), return_, watched.later(), leave, watched.later(),
        watched.later(),
    )  # fmt: skip
    assert kinds([event for events in said for event in events]) == ["ready", "kept", "kept"]


def test_a_start_on_an_emptied_folder_removes_nothing(watched: Watched) -> None:
    watched.run()
    for path in watched.folder.iterdir():
        path.unlink()
    said = watched.run(watched.later())
    assert kinds(said[0]) == ["ready", "kept"]
    assert len(watched.names) == 4


def test_without_prune_nothing_is_removed(watched: Watched) -> None:
    said = watched.run(watched.deleting("a.txt"), watched.later(), watched.later(), prune=False)
    assert said[1:] == [[]] * 3
    assert len(watched.names) == 4


def test_many_files_are_taken_in_rounds(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MOST_FILES", 3)
    many = [watched.writing(f"n{n}.txt", f"Number {n}.") for n in range(7)]
    said = watched.run(*many, watched.later(), watched.later(0), watched.later(0))
    assert [counts(events[0])[0] for events in said[8:11]] == [3, 3, 1]


def test_a_file_that_cannot_be_read_is_reported_once_until_it_changes(watched: Watched) -> None:
    broken = b"%PDF-1.4 this is no pdf"
    said = watched.run(
        lambda: (watched.folder / "x.pdf").write_bytes(broken), watched.later(), watched.later(),
        watched.writing("x.pdf", "%PDF-1.4 nor is this"), watched.later(),
    )  # fmt: skip
    reported = [len(event.report.failures) for events in said for event in events if event.report]
    assert reported == [0, 1, 1]


def test_a_database_that_is_away_is_waited_for_and_nothing_is_forgotten(watched: Watched) -> None:
    def away(value: bool) -> Callable[[], None]:
        return lambda: setattr(watched.store, "away", value)

    said = watched.run(
        watched.writing("e.txt", "New."), away(True), watched.later(), watched.later(),
        watched.later(), away(False), watched.later(0), interval=2.0,
    )  # fmt: skip
    assert {kind for events in said[3:6] for kind in kinds(events)} == {"waiting"}
    assert "e.txt" in watched.names
    growing = watched.pauses[3:6]
    assert growing == sorted(growing)
    assert growing[-1] > growing[0] >= 4.0
    assert watched.pauses[-1] == 2.0


def test_only_folders_are_watched(watched: Watched) -> None:
    watched.folder = watched.folder / "a.txt"
    with pytest.raises(DocumentError, match="is not a folder"):
        watched.run()


def test_an_interval_beyond_the_clock_waits_as_long_as_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(tmp_path, monkeypatch)
    watched.run(interval=float("inf"))
    assert watched.pauses == [threading.TIMEOUT_MAX]
