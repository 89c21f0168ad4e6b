"""Names of packages that are loaded on first use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from voicerag_core import MissingExtraError

FACE = """
from voicerag_core.lazy import Needs, lazy_names

_LAZY = {"near": ".inner", "far": "lazypackage.inner", "torn": ".torn", "broken": ".broken"}
__all__ = ["broken", "far", "near", "torn"]
__getattr__, __dir__ = lazy_names(__name__, _LAZY, NEEDS)
"""


@pytest.fixture(params=['Needs("glm", {"no_such_library"})', "None"], ids=["needs", "plain"])
def package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[ModuleType]:
    folder = tmp_path / "lazypackage"
    folder.mkdir()
    (folder / "__init__.py").write_text(FACE.replace("NEEDS", request.param))
    (folder / "inner.py").write_text("near, far = 1, 2")
    (folder / "torn.py").write_text("import no_such_library.inside")
    (folder / "broken.py").write_text("import another_library")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("lazypackage")
    for name in [name for name in sys.modules if name.partition(".")[0] == "lazypackage"]:
        del sys.modules[name]


def test_a_name_is_loaded_once_and_on_first_use(package: ModuleType) -> None:
    assert "lazypackage.inner" not in sys.modules
    assert (package.near, package.far) == (1, 2)
    assert vars(package)["near"] == 1


def test_names_are_listed_without_being_loaded(package: ModuleType) -> None:
    assert {"near", "far", "torn", "__all__"} <= set(dir(package))
    assert "lazypackage.inner" not in sys.modules


def test_an_unknown_name_is_an_attribute_error(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match="'lazypackage' has no attribute 'nothing'"):
        _ = package.nothing


def test_a_missing_library_names_its_extra(
    package: ModuleType, request: pytest.FixtureRequest
) -> None:
    if "plain" in request.node.name:
        with pytest.raises(ModuleNotFoundError, match="no_such_library"):
            _ = package.torn
        return
    with pytest.raises(MissingExtraError, match=r"torn.*voicerag-core\[glm\]"):
        _ = package.torn


def test_any_other_missing_module_is_a_plain_error(package: ModuleType) -> None:
    with pytest.raises(ModuleNotFoundError, match="another_library"):
        _ = package.broken
