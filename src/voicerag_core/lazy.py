"""Names of a package that are loaded when they are first used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from voicerag_core.errors import MissingExtraError

__all__ = ["Needs", "lazy_names"]


@dataclass(frozen=True, slots=True)
class Needs:
    """Libraries that the names of a package require.

    Args:
        extra: The extra that installs them.
        libraries: Top-level modules.
        feature: What needs them, for the error message; "": the requested name.
    """

    extra: str
    libraries: Collection[str]
    feature: str = ""


def lazy_names(
    package: str, modules: Mapping[str, str], needs: Needs | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make ``__getattr__`` and ``__dir__`` of a package whose names are loaded on first use.

    `dir` lists the names of ``__all__``, loaded or not; a name that was loaded stays.

    Args:
        package: The package's ``__name__``.
        modules: The module of each name; one that begins with a dot lies in the package.
        needs: Optional requirements; without them, a missing library is a plain `ImportError`.

    Raises:
        MissingExtraError: By the function made: a library of `needs` is not installed.
    """

    def load(name: str) -> Any:  # noqa: ANN401 - any of the names
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            value = getattr(import_module(modules[name], package), name)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if needs is None or missing not in needs.libraries:
                raise
            raise MissingExtraError(needs.extra, needs.feature or name) from error
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        loaded = vars(sys.modules[package])
        return sorted({*loaded, *loaded["__all__"]})

    return load, names
