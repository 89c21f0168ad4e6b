"""The sample base of `examples/sample`, which most benchmarks use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "SAMPLE", "read_rows"]

ROOT = Path(__file__).parents[1]
"""Of the project."""
SAMPLE = ROOT / "examples" / "sample"


def read_rows(name: str) -> list[dict[str, Any]]:
    """Return the lines of a JSON Lines file of the sample.

    Args:
        name: Such as "questions.jsonl".
    """
    return [json.loads(line) for line in (SAMPLE / name).read_text("utf-8").splitlines()]
