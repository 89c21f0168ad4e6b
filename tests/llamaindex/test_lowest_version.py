"""The suite once more with the oldest LlamaIndex that the extra admits."""

from __future__ import annotations

import re
import subprocess
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_oldest_supported_version_passes_too(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (bound,) = project["optional-dependencies"]["llamaindex"]
    lowest = re.search(r">=([\d.]+)", bound)
    assert lowest is not None
    venv.create(tmp_path / "venv", with_pip=True)
    own = str(tmp_path / "venv/bin/python")
    pip = [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    reachable = subprocess.run([*pip, "--no-deps", "idna"], capture_output=True, check=False)
    if reachable.returncode:
        pytest.skip("no package index can be reached, so no environment can be made")
    plugins = ["pytest-asyncio", "pytest-socket", "pytest-timeout", "hypothesis"]
    core = f"llama-index-core=={lowest[1]}"
    subprocess.run([*pip, core, *plugins, "-e", f"{ROOT}[local]"], check=True)
    done = subprocess.run(
        [own, "-m", "pytest", "tests/llamaindex", "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert re.search(r"\b[1-9]\d\d passed", done.stdout), done.stdout[-1000:]
