"""SONAR from settings and from the command line, on a real database."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from tests.sonar import recipe
from voicerag_core import (
    Audio,
    Passage,
    load_settings,
    open_voicerag,
    read_audio,
    write_wav,
)
from voicerag_core.cli.app import app
from voicerag_core.retrieval import strategies
from voicerag_core.retrieval.fusion import SPEECH_SHARE
from voicerag_core.sonar import SonarTranscriber
from voicerag_core.stack import OpenedVoiceRAG
from voicerag_core.store import EmbeddedPostgres, migrate

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("data")
    with EmbeddedPostgres(folder / "postgres") as server:
        migrate(server.dsn)
        yield folder


@pytest.fixture(scope="module")
def rag(data_dir: Path, models: Path) -> Iterator[OpenedVoiceRAG]:
    settings = load_settings(
        data_dir=data_dir, embedder="sonar", sonar_weights=models, sonar_device="cpu",
        sonar_heads=recipe.HEADS, collection="sonar", speak=False,
    )  # fmt: skip
    with open_voicerag(settings) as opened:
        yield opened


@pytest.fixture
def run(data_dir: Path, models: Path) -> Run:
    environment = {
        "VOICERAG_SONAR_WEIGHTS": str(models),
        "VOICERAG_SONAR_DEVICE": "cpu",
        "VOICERAG_SONAR_HEADS": str(recipe.HEADS),
    }

    def voicerag(*words: str | Path) -> Result:
        arguments = ["--data-dir", str(data_dir), "--embedder", "sonar", *map(str, words)]
        return CliRunner().invoke(app, arguments, env=environment, prog_name="voicerag")

    return voicerag


def test_a_spoken_question_is_searched_without_a_transcript(rag: OpenedVoiceRAG) -> None:
    assert rag.strategy == "e2e"
    rag.index([Passage("a", "The Rhine rises in the Alps."), Passage("b", "Bread is baked.")])
    found = rag.retrieve(Audio(recipe.sound(3, 2.0), 16_000))
    assert found.transcription is None
    assert {hit.passage.id for hit in found.hits} == {"a", "b"}
    assert rag.retrieve("Bread is baked.").hits[0].passage.id == "b"


def test_adaptive_asks_for_a_transcript_only_when_unsure(
    rag: OpenedVoiceRAG, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rag.index([Passage("a", "The Rhine rises in the Alps."), Passage("b", "Bread is baked.")])
    clip = Audio(recipe.sound(3, 2.0), 16_000)
    by_sound = rag.retrieve(clip, strategy="e2e")
    transcriber = SonarTranscriber(
        models / "spenc.eng.pt",
        models / "sonar_text_decoder.pt",
        device="cpu",
        heads=recipe.HEADS,
        max_tokens=8,
    )
    monkeypatch.setattr(rag, "transcriber", transcriber)
    monkeypatch.setattr(strategies, "SURE_GAP", 0.0)
    sure = rag.retrieve(clip, strategy="adaptive")
    assert (sure.transcription, sure.hits) == (None, by_sound.hits)
    monkeypatch.setattr(strategies, "SURE_GAP", 2.1)
    unsure = rag.retrieve(clip, strategy="adaptive")
    assert unsure.transcription == transcriber.transcribe(clip)
    assert sure.embedding is not None
    assert unsure.embedding is not None
    said = rag.embedder.embed_passages([unsure.transcription.text])[0]
    share = SPEECH_SHARE
    mixed = share * sure.embedding + (1 - share) * said
    np.testing.assert_allclose(unsure.embedding, mixed / np.linalg.norm(mixed), atol=1e-5)


def test_documents_are_indexed_with_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("The bakery opens at seven. It is closed on Mondays.")
    indexed = run("index", tmp_path, "--collection", "notes")
    assert indexed.exit_code == 0, indexed.output
    question = tmp_path / "question.wav"
    write_wav(question, Audio(recipe.sound(3, 2.0), 16_000))
    found = run("search", "--audio", question, "--collection", "notes", "--json")
    assert found.exit_code == 0, found.output
    assert "bakery opens" in json.loads(found.stdout)["hits"][0]["text"]
    other = CliRunner().invoke(
        app, ["--data-dir", str(tmp_path), "search", "--text", "x", "--embedder", "laser"]
    )
    assert other.exit_code == 1
    assert "VOICERAG_EMBEDDER" in other.output


def test_a_question_finds_the_minute_in_a_recording(run: Run, tmp_path: Path) -> None:
    noise = np.random.default_rng(6).standard_normal(16_000 * 3)
    quiet = (0.001 * noise).astype(np.float32)
    parts = [part for seed in range(5) for part in (quiet, recipe.sound(40 + seed, 2 + seed))]
    (tmp_path / "recordings").mkdir()
    talk = Audio(np.concatenate(parts), 16_000)
    soundfile.write(tmp_path / "recordings" / "talk.flac", talk.samples, 16_000)
    indexed = run("index", tmp_path / "recordings", "--collection", "talks")
    assert indexed.exit_code == 0, indexed.output
    start = sum(len(part) for part in parts[:7]) / 16_000
    asked = tmp_path / "asked.wav"
    around = slice(round((start - 0.05) * 16_000), round((start + 5.05) * 16_000))
    write_wav(asked, Audio(talk.samples[around], 16_000))
    words = ("--collection", "talks", "--clips", tmp_path / "clips", "--json")
    found = json.loads(run("search", "--audio", asked, *words).stdout)
    best = found["hits"][0]
    assert best["source"] == str(tmp_path / "recordings" / "talk.flac")
    assert abs(best["metadata"]["start_seconds"] - start) < 0.2
    assert abs(best["metadata"]["end_seconds"] - start - 5) < 0.2
    clip = read_audio(found["clips"][0])
    assert abs(clip.seconds - 5) < 0.3
    assert len(found["clips"]) == len(found["hits"]) == 4


def test_sonar_may_hear_in_place_of_whisper(data_dir: Path, models: Path) -> None:
    settings = load_settings(
        data_dir=data_dir, embedder="sonar", sonar_weights=models, sonar_device="cpu",
        sonar_heads=recipe.HEADS, transcriber="sonar", collection="sonar", speak=False,
    )  # fmt: skip
    with open_voicerag(settings) as opened:
        assert isinstance(opened.transcriber, SonarTranscriber)
        opened.index([Passage("a", "The Rhine rises in the Alps.")])
        clip = Audio(recipe.sound(3, 2.0), 16_000)
        found = opened.retrieve(clip, strategy="hybrid")
        assert found.transcription == opened.transcriber.transcribe(clip)
        assert "a" in {hit.passage.id for hit in found.hits}


def test_the_doctor_names_files_and_licences(run: Run, tmp_path: Path) -> None:
    said = run("doctor").output
    assert "sonar_text_encoder.pt" in said
    assert "CC-BY-NC-4.0" in said
    assert "strategy e2e" in said
    empty = CliRunner().invoke(
        app,
        ["--data-dir", str(tmp_path), "--embedder", "sonar", "doctor", "--json"],
        env={"VOICERAG_SONAR_LANGUAGE": "deu"},
    )
    findings = [one for one in json.loads(empty.stdout)["findings"] if one["area"] == "sonar"]
    assert [one["state"] for one in findings] == ["fail"] * 3
    assert findings[2]["text"].startswith("spenc.v3ap.deu.pt is not in")
    assert findings[0]["cure"] == "voicerag download sonar --language deu"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Range"]))
        if self.headers["Range"]:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            data = Path(self.translate_path(self.path)).read_bytes()[start:]
            self.send_response(206)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        else:
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def mirror(models: Path) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    asked: list[tuple[str, str | None]] = []
    handler = type("Handler", (_Quiet,), {"asked": asked})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(models))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.enable_socket
def test_files_are_fetched_with_their_licences(
    mirror: tuple[str, list[tuple[str, str | None]]], models: Path, tmp_path: Path
) -> None:
    url, asked = mirror
    folder = tmp_path / "weights" / "sonar"
    folder.mkdir(parents=True)
    whole = (models / "spenc.v3ap.deu.pt").read_bytes()
    (folder / "spenc.v3ap.deu.pt.part").write_bytes(whole[:1000])
    words = ["--data-dir", str(tmp_path), "download", "sonar", "--language", "deu"]
    fetched = CliRunner().invoke(app, [*words, "--base-url", url])
    assert fetched.exit_code == 0, fetched.output
    assert "sonar_text_encoder.pt: licence CC-BY-NC-4.0" in fetched.stdout
    assert "spenc.v3ap.deu.pt: licence MIT" in fetched.stdout
    assert ("/spenc.v3ap.deu.pt", "bytes=1000-") in asked
    for name in ("sonar_text_encoder.pt", "sentencepiece.source.256000.model", "spenc.v3ap.deu.pt"):
        assert (folder / name).read_bytes() == (models / name).read_bytes()
    asked.clear()
    again = CliRunner().invoke(app, [*words, "--base-url", url])
    assert "nothing to fetch" in again.stdout
    assert asked == []
    missing = CliRunner().invoke(app, [*words[:-1], "fra", "--base-url", url])
    assert missing.exit_code == 1
    assert "spenc.v3ap.fra.pt could not be fetched" in missing.output
    assert CliRunner().invoke(app, [*words, "--base-url", "ftp://x"]).exit_code == 1
