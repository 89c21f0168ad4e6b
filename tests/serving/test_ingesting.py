"""Texts and files are taken in for callers that may write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.fakes import fake_serving
from voicerag_core import CancelledError, ConfigError, DocumentError, ForbiddenError
from voicerag_core.serving import Caller, Job, Limits, Query, QuestionSource, Serving

WRITER = Caller("default", may_write=True)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    return folder


@pytest.fixture
def serving(docs: Path) -> Iterator[Serving]:
    with fake_serving(limits=Limits(allowed_paths=(docs,), max_text_chars=1000)) as opened:
        yield opened


def test_a_text_is_taken_in_once(serving: Serving) -> None:
    def take(text: str, title: str = "Tea") -> tuple[int, int, int]:
        taken = serving.ingesting.take_text(
            Job(), WRITER, text, source="tea", title=title, collection="drinks"
        )
        assert taken.collection == "drinks"
        return taken.sources, taken.unchanged, taken.passages

    assert take("Tea grows in Assam.") == (1, 0, 1)
    assert take("Tea grows in Assam.") == (0, 1, 0)
    assert take("Tea grows in Assam.", title="Teas")[:2] == (1, 0)
    assert take("Tea grows in Ceylon.")[:2] == (1, 0)
    query = Query(QuestionSource(text="tea"), collection="drinks")
    (hit,) = serving.asking.search(Job(), "default", query).hits
    assert hit.passage.text == "Tea grows in Ceylon."


def test_a_text_without_a_name_is_known_again(serving: Serving) -> None:
    first = serving.ingesting.take_text(Job(), WRITER, "Tea grows in Assam.")
    again = serving.ingesting.take_text(Job(), WRITER, "Tea grows in Assam.")
    other = serving.ingesting.take_text(Job(), WRITER, "Tea grows in Ceylon.")
    assert (first.sources, again.unchanged, other.sources) == (1, 1, 1)


@pytest.mark.parametrize(
    ("text", "said"), [("x" * 1001, "cut it into several"), ("a\0b", "NUL character")]
)
def test_a_text_that_cannot_be_kept_is_refused(serving: Serving, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        serving.ingesting.take_text(Job(), WRITER, text)


def test_only_who_may_write_does(serving: Serving, docs: Path) -> None:
    (docs / "tea.txt").write_text("Tea grows in Assam.")
    reader = Caller("default", may_write=False)
    with pytest.raises(ForbiddenError, match="lacks the scope 'voicerag:write'"):
        serving.ingesting.take_text(Job(), reader, "Tea.")
    with pytest.raises(ForbiddenError, match="may not write"):
        serving.ingesting.take_paths(Job(), reader, ["tea.txt"])
    assert [one.passages for one in serving.tenants.collections("default")] == [2]


def test_folders_are_kept_in_step(serving: Serving, docs: Path) -> None:
    (docs / "tea.md").write_text("# Tea\n\nTea grows in Assam.")
    (docs / "gone.txt").write_text("Coffee grows in Brazil.")
    (docs / "broken.txt").write_bytes(b"\xff\xfe\x00")
    first = serving.ingesting.take_paths(Job(), WRITER, ["."])
    assert (first.sources, len(first.failures)) == (2, 1)
    (docs / "gone.txt").unlink()
    again = serving.ingesting.take_paths(Job(), WRITER, [str(docs)])
    assert (again.sources, again.unchanged, again.removed) == (0, 1, 1)


def test_failures_are_bounded(serving: Serving, docs: Path) -> None:
    for number in range(25):
        (docs / f"{number}.txt").write_bytes(b"\xff\xfe\x00")
    failures = serving.ingesting.take_paths(Job(), WRITER, ["."]).failures
    assert len(failures) == 21
    assert failures[-1] == "and 5 more"


def test_a_path_outside_is_refused(serving: Serving, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("swordfish")
    with pytest.raises(DocumentError, match="not in a folder"):
        serving.ingesting.take_paths(Job(), WRITER, ["../secret.txt"])


class StoppedAtOnce(Job):
    """A job whose caller leaves after the first sign of progress."""

    def report(
        self, message: str, progress: float | None = None, total: float | None = None
    ) -> None:
        super().report(message, progress, total)
        self.stop()


def test_a_stopped_job_writes_nothing_more(serving: Serving, docs: Path) -> None:
    for name in ("tea.txt", "coffee.txt"):
        (docs / name).write_text(f"{name} is about a drink.")
    with pytest.raises(CancelledError):
        serving.ingesting.take_paths(StoppedAtOnce(), WRITER, ["."])
    assert serving.ingesting.take_paths(Job(), WRITER, ["."]).sources == 2
