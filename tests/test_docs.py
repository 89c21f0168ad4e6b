"""What the README says is run, or compared with the code."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

from voicerag_core import load_settings
from voicerag_core.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def settings_table() -> str:
    """Make the table of settings that the README has to show."""
    rows = ["| variable | default | what |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        shown = "your data folder" if name == "data_dir" else f"`{default}`"
        shown = "" if default is None and name != "data_dir" else shown
        rows.append(f"| `VOICERAG_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)


def test_the_readme_lists_every_setting() -> None:
    assert settings_table() in README


def test_the_readme_lists_every_extra_for_users() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in set(project["optional-dependencies"]) - {"dev"}:
        assert f"| `{extra}` |" in README


def test_every_local_link_leads_somewhere() -> None:
    for page in (ROOT / "README.md", *ROOT.glob("*/README.md"), ROOT / "examples/sample/README.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_every_command_of_the_readme_exists() -> None:
    lines = [
        shlex.split(line, comments=True)
        for kind, block in BLOCKS
        if kind == "sh"
        for line in block.splitlines()
    ]
    commands = {tuple(words[1:3]) for words in lines if words[:1] == ["voicerag"]}
    assert {command[0] for command in commands} >= {"index", "ask", "doctor", "db"}
    for name, *rest in commands:
        group = [name, *rest] if name == "db" else [name]
        done = subprocess.run(
            [sys.executable, "-m", "voicerag_core.cli", *group, "--help"],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, group
    makefile = (ROOT / "Makefile").read_text()
    for words in lines:
        if words[:1] == ["make"]:
            assert f"\n{words[1]}:" in makefile


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "data")
    program = [
        "text = 'The committee scrutinises private bills. The committee sits in Edinburgh.'",
        "def my_llm(messages): yield 'The committee does [1].'",
    ]
    blocks = [block.replace("    ...", "    print(rag.ask('Who scrutinises bills?').text)")
              for kind, block in BLOCKS if kind == "python"]  # fmt: skip
    indexing = next(block for block in blocks if "rag.index(" in block)
    blocks.remove(indexing)
    speak = [sys.executable, "-m", "voicerag_core.cli", "speak", "Where does the committee sit?"]
    subprocess.run([*speak, "--out", "question.wav"], cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*program, indexing, *blocks])],
        cwd=tmp_path,
        env={**os.environ, "VOICERAG_DATA_DIR": str(settings.data_dir)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "The committee sits in Edinburgh." in done.stdout
    assert "Handbook" in done.stdout
    assert "The committee does" in done.stdout
    assert (tmp_path / "answer.wav").stat().st_size > 10_000
