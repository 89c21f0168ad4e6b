from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

pytest.importorskip("torch")

from tests.glm import tiny
from voicerag_core import Audio, Transcription
from voicerag_core.glm import GLMVoice

QUESTION = Path(__file__).parents[2] / "examples/sample/audio/report-02.flac"

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


def test_what_is_said_is_transcribed_by_glm_itself(
    voicerag: Voicerag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.write_trees(tmp_path)
    monkeypatch.setenv("VOICERAG_GLM_DIR", str(tmp_path))
    monkeypatch.setenv("VOICERAG_GLM_DEVICE", "cpu")
    heard: list[float] = []

    def transcribe(self: GLMVoice, audio: Audio) -> Transcription:
        heard.append(audio.seconds)
        return Transcription("as GLM-4-Voice heard it")

    monkeypatch.setattr(GLMVoice, "transcribe", transcribe)
    done = voicerag("transcribe", QUESTION, "--stack", "glm")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "as GLM-4-Voice heard it\n"
    assert len(heard) == 1
    monkeypatch.setenv("VOICERAG_TRANSCRIBER", "local")
    assert "criticized" in voicerag("transcribe", QUESTION, "--stack", "glm").stdout
    assert len(heard) == 1
