"""A file by its name and content, and reading it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from voicerag_core.documents import FileContent, read_file


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., FileContent]:
    """Write a file of this name and content, and read it."""

    def read_content(name: str, content: str | bytes, **options: str) -> FileContent:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_file(path, **options)  # type: ignore[arg-type]

    return read_content
