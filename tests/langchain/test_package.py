"""Importing the adapter: what it needs, what it says without it, and the oldest versions."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

import voicerag_integrations.langchain as adapter

ROOT = Path(__file__).parents[2]


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )


def test_it_loads_no_other_framework_and_no_driver_of_its_own() -> None:
    done = python(
        "import sys, voicerag_integrations.langchain\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = set(done.stdout.split())
    assert "langchain_core" in loaded, done.stderr
    assert not loaded & {"llama_index", "mcp", "torch", "transformers", "ctranslate2", "langchain"}


def test_the_adapters_package_loads_none_of_them() -> None:
    done = python("import sys, voicerag_integrations; print('langchain_core' in sys.modules)")
    assert done.stdout.strip() == "False"


def test_a_missing_framework_is_named_with_the_install_line() -> None:
    done = python(
        "import sys\nsys.modules['langchain_core'] = None\nimport voicerag_integrations.langchain"
    )
    last = done.stderr.strip().splitlines()[-1]
    assert "MissingExtraError" in last
    assert "pip install 'voicerag-core[langchain]'" in last


def test_a_fault_of_another_kind_is_not_taken_for_it() -> None:
    done = python("import sys\nsys.modules['numpy'] = None\nimport voicerag_integrations.langchain")
    assert done.stderr.strip().splitlines()[-1].startswith("ModuleNotFoundError")


def test_every_public_name_is_documented_in_the_guide() -> None:
    guide = (ROOT / "docs/langchain.md").read_text()
    for name in adapter.__all__:
        assert getattr(adapter, name).__doc__
        assert f"`{name}" in guide, name


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_oldest_supported_versions_pass_too(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (bound,) = project["optional-dependencies"]["langchain"]
    lowest = re.search(r">=([\d.]+)", bound)
    assert lowest is not None
    core = f"langchain-core=={lowest[1]}.*"
    folder = tmp_path / "venv"
    venv.create(folder, with_pip=True)
    own = str(folder / "bin/python")
    pip = [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    reachable = subprocess.run([*pip, "--no-deps", "idna"], capture_output=True, check=False)
    if reachable.returncode:
        pytest.skip("no package index can be reached, so no environment can be made")
    oldest = subprocess.run(
        [own, "-m", "pip", "index", "versions", "langchain-core"],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    versions = re.findall(rf"\b{re.escape(lowest[1])}\.\d+\b", oldest)
    if versions:
        core = f"langchain-core=={min(versions, key=lambda one: int(one.rpartition('.')[2]))}"
    packages = [
        "langchain-tests",
        "pytest-asyncio",
        "pytest-socket",
        "pytest-timeout",
        "hypothesis",
    ]
    subprocess.run([*pip, core, *packages, "-e", f"{ROOT}[local]"], check=True)
    tests = [f"--ignore=tests/langchain/{name}.py" for name in ("test_agent", "test_guide")]
    done = subprocess.run(
        [own, "-m", "pytest", "tests/langchain", "-q", "-p", "no:cacheprovider", *tests],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    assert "skipped" not in done.stdout
