"""The engine beside an emulated device: the command runs, and its callers hear their replies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_crowd_with_cached_prompts_is_answered() -> None:
    command = [
        sys.executable, "-m", "benchmarks.glm.emulated", "--crowds", "cached16", "--runs", "1",
        "--reply-seconds", "2", "--slower", "2", "--set", "scheduler.MOST_PAUSED=0.3",
    ]  # fmt: skip
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["errors"] == 0
    assert (found["cached"]["first_audio_ms"]["n"], found["new"]["first_audio_ms"]["n"]) == (16, 48)
    assert 0 < found["read"] < 64 * 960  # tokens of the others' prompts
