"""Files that are no files, and JSON that is no JSON."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from voicerag_core.files import parsed_json, read_json, regular_file

NESTED = ["[" * 200_000, '{"a":' * 200_000]


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "absent", "loop", "long"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("n" * 300 if kind == "long" else kind)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    with pytest.raises(OSError, match=r"\S"), regular_file(path):
        pass
    with pytest.raises(OSError, match=r"\S"):
        read_json(path)


@pytest.mark.parametrize("text", ["", "{", "\ud800{", *NESTED, "9" * 5000])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parsed_json(text)


def test_json_is_read_with_and_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_text('{"a": "\u00e4"}', encoding)
        assert read_json(path) == {"a": "\u00e4"}
