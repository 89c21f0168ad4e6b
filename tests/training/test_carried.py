"""What trains on a GPU machine needs its own folder there, and nothing else of the project."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CARRIED = {"speech_encoder": "voicerag_core.evaluation.speech.engines"}
"""What a room takes from the core, which loads numpy and nothing heavier."""


def imported(module: str, seen: set[str]) -> set[str]:
    """Every module that one imports, those of `training` followed."""
    if module in seen:
        return seen
    seen.add(module)
    path = ROOT / Path(*module.split(".")).with_suffix(".py")
    if module.startswith("training.") and path.is_file():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{one.name}" for one in node.names)]
            else:
                continue
            for name in names:
                imported(name, seen)
    return seen


@pytest.mark.parametrize("room", ["reader", "speech_encoder"])
def test_the_training_needs_nothing_of_the_project(room: str) -> None:
    found = imported(f"training.{room}.train", set())
    own = {name for name in found if name.startswith(f"training.{room}.")}
    assert len(own) > 2, "the imports are followed"
    rooms = {".".join(name.split(".")[:2]) for name in found if name.startswith("training.")}
    assert rooms == {f"training.{room}"}
    packages = {name.partition(".")[0] for name in found}
    assert not packages & {"benchmarks", "tests", "voicerag_mcp", "voicerag_web"}
    core = {name for name in found if name.startswith("voicerag_core")}
    assert all(name.startswith(CARRIED.get(room, "nothing")) for name in core)
