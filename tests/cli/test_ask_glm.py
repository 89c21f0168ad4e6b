from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

pytest.importorskip("torch")

from tests.glm import tiny

Voicerag = Callable[..., "CompletedProcess[str]"]


def test_ask_answers_with_glm(
    voicerag: Voicerag, sample: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.write_trees(tmp_path)
    monkeypatch.setenv("VOICERAG_GLM_DIR", str(tmp_path))
    monkeypatch.setenv("VOICERAG_GLM_DEVICE", "cpu")
    words = ("ask", "--collection", sample, "--text", "What is it?", "--no-speech", "--json")
    done = voicerag(*words, "--stack", "glm")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answer"]


def test_the_context_is_a_setting(
    voicerag: Voicerag, sample: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.write_trees(tmp_path)
    monkeypatch.setenv("VOICERAG_GLM_DIR", str(tmp_path))
    monkeypatch.setenv("VOICERAG_GLM_DEVICE", "cpu")
    monkeypatch.setenv("VOICERAG_GLM_MAX_CONTEXT", "1024")
    words = ("ask", "--collection", sample, "--text", "zq" * 900, "--no-speech")
    done = voicerag(*words, "--stack", "glm")
    assert done.returncode == 1
    assert "768 are left besides the reply" in " ".join(done.stderr.split())


def test_ask_without_the_weights_says_how_to_get_them(
    voicerag: Voicerag, sample: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOICERAG_GLM_DIR", str(tmp_path))
    done = voicerag("ask", "--collection", sample, "--text", "What is it?", "--stack", "glm")
    assert done.returncode == 1
    assert "voicerag download glm" in done.stderr
