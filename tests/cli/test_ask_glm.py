from __future__ import annotations

import json
import shutil
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
    monkeypatch.setenv("VOICERAG_GLM_DIR", str(tmp_path / "absent"))
    done = voicerag("ask", "--collection", sample, "--text", "What is it?", "--stack", "glm")
    assert "no weights of GLM-4-Voice" in done.stderr
    assert "voicerag download glm" in done.stderr


def test_the_doctor_looks_at_the_weights(
    voicerag: Voicerag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> list[str]:
        said = json.loads(voicerag("doctor", "--stack", "glm", "--no-calls", "--json").stdout)
        found = [one for one in said["findings"] if one["area"] in ("glm", "chat", "voice")]
        return [f"{one['state']} {one['text']} {one['cure']}" for one in found]

    monkeypatch.setenv("VOICERAG_GLM_DIR", str(tmp_path / "glm"))
    *itself, missing = told()
    assert itself == 2 * ["ok GLM-4-Voice itself, on this machine "]
    assert missing.startswith("fail there are no weights of GLM-4-Voice in")
    assert "voicerag download glm" in missing
    tiny.write_trees(tmp_path / "glm")
    whole = told()[2:]
    assert len(whole) == 3
    assert all(one.startswith("ok ") and "GLM-4 model licence" in one for one in whole)
    shutil.rmtree(tmp_path / "glm" / "glm-4-voice-decoder")
    assert told()[-1].endswith("holds no decoder voicerag download glm --part decoder")
    monkeypatch.setenv("VOICERAG_SPEAK", "false")
    assert len(told()) == 4, "nothing is spoken"
    monkeypatch.setenv("VOICERAG_GLM_LM", "vllm")
    monkeypatch.setenv("VOICERAG_GLM_SERVER_URL", "http://127.0.0.1:9/v1")
    shutil.rmtree(tmp_path / "glm" / "glm-4-voice-9b")
    assert not any("holds no lm" in one for one in told()), "a server has it"


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
