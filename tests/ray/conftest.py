"""Ray, when it is installed: it is no part of the usual test environment (make test-ray)."""

from __future__ import annotations

import pytest

collect_ignore_glob: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests of this folder open sockets: Ray's processes talk over them."""
    for item in items:
        if "tests/ray/" in item.path.as_posix():
            item.add_marker(pytest.mark.enable_socket)
