"""Asking, searching and listening, with real models, and every way in which it can go wrong."""

from __future__ import annotations

import io
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import psycopg
import pytest
import soundfile
import soxr

from tests.local import tones
from tests.waiting import PATIENCE
from voicerag_core import rag
from voicerag_core.audio import mixing
from voicerag_core.local.hearing.whisper import WhisperTranscriber
from voicerag_core.local.weights import files as weights
from voicerag_core.store import EmbeddedPostgres, PgVectorStore
from voicerag_core.types import Transcription

Voicerag = Callable[..., "subprocess.CompletedProcess[str]"]
Spawn = Callable[..., "subprocess.Popen[str]"]

ROOT = Path(__file__).parents[2]
QUESTION = ROOT / "examples/sample/audio/report-02.flac"
ANSWER = "Newton did not"


def wav(samples: np.ndarray, rate: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def spoken() -> np.ndarray:
    samples, rate = soundfile.read(QUESTION, dtype="float32")
    assert rate == 16_000
    return np.asarray(samples)


def test_the_demo_answers_aloud_and_the_second_time_only_asks(
    spawn: Spawn, voicerag: Voicerag, small_sample: Path, tmp_path: Path
) -> None:
    words = ("demo", "--sample", small_sample, "--collection", "demo", "--out")
    first = spawn(*words, tmp_path / "first.wav")
    shown, said = first.communicate(timeout=PATIENCE)
    assert first.returncode == 0, said
    assert re.search(r"^sample .*1 new", shown, re.M)
    assert re.search(r"^question +Which player was criticized", shown, re.M)
    assert re.search(r"^heard +\w+", shown, re.M)
    assert re.search(rf"^answer .*{ANSWER}", shown, re.M)
    assert re.search(r"^\*1  0\.\d+  Super Bowl 50 \(https://en.wikipedia.org", shown, re.M)
    for stage in ("load", "transcribe", "embed", "search", "read", "first sound", "total"):
        assert re.search(rf"^time .*{stage} \d+ ms", shown, re.M), stage
    info = soundfile.info(tmp_path / "first.wav")
    assert info.duration > 2
    second = voicerag(*words, tmp_path / "second.wav")
    assert re.search(r"^sample .*1 unchanged", second.stdout, re.M)
    assert (tmp_path / "second.wav").stat().st_size > 100_000


@pytest.fixture
def tone_encoder(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the stack have a speech encoder, one that hears tones."""
    manifest = tones.with_encoder(tones.write_encoder(data_dir / "weights"))
    monkeypatch.setattr(weights, "manifest", lambda: manifest)


@pytest.mark.usefixtures("tone_encoder")
def test_by_sound_alone_nothing_is_transcribed_before_the_answer(
    voicerag: Voicerag, sample: str
) -> None:
    words = ("--audio", QUESTION, "--strategy", "e2e", "--collection", sample)
    found = json.loads(voicerag("search", *words, "--json").stdout)
    assert len(found["hits"]) == 4
    assert set(found["timings_ms"]) == {"load", "embed", "search"}
    assert found["question"] is None
    shown = voicerag("ask", *words, "--no-speech")
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"^heard +which player was criticized.*\nanswer", shown.stdout, re.M | re.I)
    assert re.search(r"^time .*transcribe \d+ ms, embed", shown.stdout, re.M)


def note_calls(
    monkeypatch: pytest.MonkeyPatch, owner: type[object], name: str, noted: list[str]
) -> None:
    """Write down the name of a method whenever it is called."""
    method = getattr(owner, name)

    def call(*arguments: object, **options: object) -> object:
        noted.append(name)
        return method(*arguments, **options)

    monkeypatch.setattr(owner, name, call)


@pytest.mark.usefixtures("tone_encoder")
def test_the_demo_compares_both_routes(
    voicerag: Voicerag, small_sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages: list[str] = []
    for owner, name in ((WhisperTranscriber, "transcribe_with"), (PgVectorStore, "search")):
        note_calls(monkeypatch, owner, name, stages)
    result = voicerag(
        "demo", "--sample", small_sample, "--collection", "routes", "--out", tmp_path / "a.wav",
        "--no-speech", "--strategy", "hybrid",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    routes = re.findall(r"^(e2e|asr) +\d+ ms to the passages; the best: \w+", result.stdout, re.M)
    assert routes == ["e2e", "asr"]
    heard = "transcribe_with"
    assert stages[:6] == ["search", "search", heard, "search", heard, "search"]
    assert re.search(rf"^answer .*{ANSWER}", result.stdout, re.M)


def test_an_unknown_strategy_is_refused(voicerag: Voicerag) -> None:
    result = voicerag("search", "--text", "a", "--strategy", "magic")
    assert result.returncode == 1
    assert "'adaptive'" in result.stderr


def test_an_answer_as_json(voicerag: Voicerag, sample: str, tmp_path: Path) -> None:
    out = tmp_path / "answer.wav"
    result = voicerag("ask", "--audio", QUESTION, "--json", "--out", out, "--collection", sample)
    assert result.returncode == 0, result.stderr
    value = json.loads(result.stdout)
    assert value["answered"] is True
    assert ANSWER in value["answer"]
    assert "criticized" in value["question"]
    assert value["citations"][0]["quote"] in value["answer"]
    assert value["citations"][0]["source"].endswith("passages.jsonl#line=1")
    assert [hit["rank"] for hit in value["hits"]] == [1, 2, 3, 4]
    assert value["hits"][0]["score"] == max(hit["score"] for hit in value["hits"])
    timings = value["timings_ms"]
    assert 0 < timings["search"] < timings["first_text"] < timings["total"]
    assert soundfile.info(out).samplerate == 22_050
    assert not list(tmp_path.glob(".*"))


def test_a_question_is_checked_at_the_edge_and_by_the_conductor_alone(
    voicerag: Voicerag, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []

    def counted(module: ModuleType, name: str) -> None:
        real = getattr(module, name)

        def call(*given: Any, **named: Any) -> Any:
            checked.append(module.__name__)
            return real(*given, **named)

        monkeypatch.setattr(module, name, call)

    counted(mixing, "check_measures")
    counted(rag, "check_audio")
    result = voicerag("ask", "--audio", QUESTION, "--no-speech", "--collection", sample)
    assert result.returncode == 0, result.stderr
    assert checked == ["voicerag_core.audio.mixing", "voicerag_core.rag"]


def test_typed_questions_and_limits(voicerag: Voicerag, sample: str) -> None:
    words = (
        "Who stripped the ball away from Newton?",
        "--collection",
        sample,
        "--no-speech",
    )
    streamed = voicerag("ask", *words, "--limit", "2")
    whole = voicerag("ask", "--text", *words, "--limit", "2", "--no-stream")
    assert "Miller stripped the ball away from Newton" in streamed.stdout
    for way in (("--text", "-"), ("-",)):
        piped = voicerag("ask", *way, *words[1:], "--limit", "2", given=f"{words[0]}\n".encode())
        assert piped.stdout.split("time")[0] == streamed.stdout.split("time")[0]
    assert "heard" not in streamed.stdout
    assert streamed.stdout.split("time")[0] == whole.stdout.split("time")[0]
    assert len(re.findall(r"^[* ]\d  0\.\d{3}", streamed.stdout, re.M)) == 2


def test_what_the_documents_do_not_answer_is_declined(voicerag: Voicerag, sample: str) -> None:
    question = "How do I bake sourdough bread at home?"
    result = voicerag("ask", "--text", question, "--json", "--no-speech", "--collection", sample)
    assert result.returncode == 0
    assert json.loads(result.stdout)["answered"] is False


def test_search_filters_and_scores(voicerag: Voicerag, sample: str) -> None:
    words = ("search", "--text", "parliament", "--collection", sample, "--json")
    value = json.loads(voicerag(*words, "--limit", "10").stdout)
    titles = {hit["title"] for hit in value["hits"]}
    assert len(titles) > 1
    title = value["hits"][-1]["title"]
    chosen = json.loads(voicerag(*words, "--where", f"title={title}").stdout)
    assert {hit["title"] for hit in chosen["hits"]} == {title}
    by_number = json.loads(voicerag(*words, "--where", "position=0").stdout)
    assert by_number["hits"]
    assert all(hit["metadata"]["position"] == 0 for hit in by_number["hits"])
    assert json.loads(voicerag(*words, "--min-score", "0.99").stdout)["hits"] == []
    varied = json.loads(voicerag(*words, "--diversity", "0.9").stdout)
    assert [hit["id"] for hit in varied["hits"]] != [hit["id"] for hit in value["hits"][:4]]


def test_stereo_sound_of_another_rate_from_standard_input(
    voicerag: Voicerag, sample: str, spoken: np.ndarray
) -> None:
    louder = soxr.resample(spoken, 16_000, 44_100)
    data = wav(np.stack((louder, 0.5 * louder), axis=1), 44_100)
    result = voicerag("search", "--audio", "-", "--json", "--collection", sample, given=data)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["hits"][0]["title"] == "Super Bowl 50"


def test_transcribing_goes_on_after_a_bad_file(voicerag: Voicerag, tmp_path: Path) -> None:
    bad = tmp_path / "notes.txt"
    bad.write_text("not a sound")
    result = voicerag("transcribe", bad, QUESTION, "--json")
    assert result.returncode == 1
    assert "criticized" in json.loads(result.stdout)["text"]
    assert result.stderr.startswith(f"skipped {bad}: ")


@pytest.mark.parametrize(
    ("heard", "doubted"),
    [
        (Transcription("We are now at the Normandy", 0.3, "en"), True),
        (Transcription("Who provides dental insurance?", 0.9, "en"), False),
        (Transcription("今天天气很好", None, None), False),
    ],
    ids=["guessed", "sure", "of another recogniser"],
)
def test_doubtful_words_are_marked(
    voicerag: Voicerag, monkeypatch: pytest.MonkeyPatch, heard: Transcription, doubted: bool
) -> None:
    monkeypatch.setattr(WhisperTranscriber, "transcribe", lambda self, audio: heard)
    result = voicerag("transcribe", QUESTION, "--json")
    shown = json.loads(result.stdout)
    assert (shown["text"], shown["doubtful"]) == (heard.text, doubted)
    assert result.returncode == int(doubted)
    assert ("little more than guessed" in result.stderr) is doubted


def test_speaking_into_a_file(voicerag: Voicerag, tmp_path: Path) -> None:
    out = tmp_path / "said.wav"
    result = voicerag("speak", "-", "--out", out, given=b"Good morning. The tea is ready.")
    assert result.returncode == 0, result.stderr
    assert 1 < soundfile.info(out).duration < 6


def bad_sounds() -> dict[str, tuple[bytes, str]]:
    rate = 16_000
    noise = np.random.default_rng(8).normal(0, 0.1, 8 * rate).astype(np.float32)
    tone = 0.1 * np.sin(np.arange(600 * rate, dtype=np.float32) / 20)
    speech, _ = soundfile.read(QUESTION, dtype="float32")
    return {
        "text": (b"This is a text file, not a recording.\n" * 9, "cannot be read as audio"),
        "nothing": (b"", "no bytes were given"),
        "silence": (wav(np.zeros(2 * rate, np.float32)), "is silent"),
        "noise": (wav(noise), "no speech was heard"),
        "ten minutes": (wav(tone), "a question may last 30 s"),
        "truncated": (wav(speech)[:40_000], "truncated"),
        "a click": (wav(np.full(100, 0.5, np.float32)), "25 ms"),
    }


@pytest.mark.parametrize("kind", list(bad_sounds()))
def test_sound_that_is_no_question_is_refused_in_one_line(
    voicerag: Voicerag, sample: str, kind: str, tmp_path: Path
) -> None:
    data, reason = bad_sounds()[kind]
    out = tmp_path / "answer.wav"
    result = voicerag("ask", "--audio", "-", "--collection", sample, "--out", out, given=data)
    assert result.returncode == 1
    assert reason in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_verbose_shows_where(voicerag: Voicerag) -> None:
    result = voicerag("ask", "--audio", "absent.wav", "--verbose")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: absent.wav cannot be read")


def test_an_empty_knowledge_base_says_to_index(
    voicerag: Voicerag, sample: str, tmp_path: Path
) -> None:
    never = voicerag("ask", "--text", "Who?", "--collection", "never", "--no-speech")
    assert never.returncode == 1
    assert "index" in never.stderr
    (tmp_path / "empty").mkdir()
    assert voicerag("index", tmp_path / "empty", "--collection", "empty").returncode == 0
    empty = voicerag("ask", "--text", "Who?", "--collection", "empty", "--no-speech")
    assert empty.returncode == 1
    assert "the knowledge base is empty" in empty.stderr
    assert "voicerag index" in empty.stderr


def test_a_database_that_is_not_there(spawn: Spawn) -> None:
    dsn = "postgresql://someone:secret@127.0.0.1:9/kb"
    process = spawn("search", "--text", "x", "--database-url", dsn)
    shown, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert shown == ""
    assert said.startswith("error: ")
    assert "cannot be reached" in said
    assert "secret" not in said
    assert "Traceback" not in said


def test_a_wrong_password(voicerag: Voicerag, data_dir: Path) -> None:
    rules = data_dir / "postgres/pgdata/pg_hba.conf"
    before = rules.read_text()
    with (
        EmbeddedPostgres(data_dir / "postgres") as server,
        psycopg.connect(server.dsn, autocommit=True) as connection,
    ):
        connection.execute("DROP ROLE IF EXISTS guarded")
        connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
        try:
            rules.write_text(f"local all guarded scram-sha-256\n{before}")
            connection.execute("SELECT pg_reload_conf()")
            dsn = server.dsn.replace("postgres@", "guarded:wrong@")
            result = voicerag("search", "--text", "x", "--database-url", dsn)
        finally:
            rules.write_text(before)
            connection.execute("SELECT pg_reload_conf()")
    assert result.returncode == 1
    assert "password authentication failed" in result.stderr
    assert "wrong" not in result.stderr


def test_another_embedding_model(voicerag: Voicerag, data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir / "postgres") as server:
        PgVectorStore.open(server.dsn, collection="other", model_id="other", dim=3).close()
    result = voicerag("search", "--text", "x", "--collection", "other")
    assert result.returncode == 1
    assert "other" in result.stderr
    assert "MiniLM" in result.stderr


def test_output_that_nobody_reads_ends_quietly(spawn: Spawn, sample: str) -> None:
    process = spawn("search", "--text", "parliament", "--limit", "20", "--collection", sample)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    assert process.wait(timeout=PATIENCE) == 141
    assert said == ""


@pytest.mark.parametrize("confidence", [0.2, 0.99])
def test_a_question_that_was_not_heard_well_is_asked_back(
    voicerag: Voicerag, sample: str, monkeypatch: pytest.MonkeyPatch, confidence: float
) -> None:
    heard = Transcription("Which player was criticized for not jumping?", confidence, "en")
    monkeypatch.setattr(WhisperTranscriber, "transcribe_with", lambda self, audio, words: heard)
    words = ("ask", "--audio", QUESTION, "--collection", sample, "--no-speech", "--json")
    result = voicerag(*words)
    shown = json.loads(result.stdout)
    doubted = confidence < 0.5
    assert (result.returncode, shown["asked_back"]) == ((3, True) if doubted else (0, False))
    assert (f'did you mean "{heard.text}"?' in shown["answer"]) is doubted
    assert not (doubted and shown["answered"])
