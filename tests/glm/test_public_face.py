"""The names of the package load when they are used, and say what to install when they cannot."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from voicerag_core import glm

BLOCKED = """
import sys
for name in {missing!r}:
    sys.modules[name] = None
from voicerag_core import MissingExtraError, glm
try:
    glm.{name}
except MissingExtraError as error:
    print(error)
"""


def python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", glm.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(glm, name).__name__ == name
    assert name in dir(glm)


def test_importing_the_package_loads_nothing_heavy() -> None:
    program = "import json, sys\nimport voicerag_core.glm\nprint(json.dumps([*sys.modules]))"
    loaded = {name.partition(".")[0] for name in json.loads(python(program))}
    assert not loaded & {"torch", "transformers", "tokenizers", "huggingface_hub", "yaml"}


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("open_checkpoint", ["torch"]),
        ("SpeechTokenizer", ["torch"]),
    ],
)
def test_without_the_extra_its_name_is_said(name: str, missing: list[str]) -> None:
    said = python(BLOCKED.format(name=name, missing=missing))
    assert "pip install 'voicerag-core[glm]'" in said


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        glm.nothing  # noqa: B018
