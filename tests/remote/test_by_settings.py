"""The whole way by settings alone: CLI, Python and MCP take the same server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from mcp import Client
from typer.testing import CliRunner

from tests.remote import wire as faults
from tests.remote.wire import Wire
from voicerag_core import (
    ConfigError,
    EmbeddingMismatchError,
    EndpointError,
    Passage,
    load_settings,
    open_voicerag,
    read_audio,
)
from voicerag_core.cli.app import app
from voicerag_core.local.reading.fallback import NO_MODEL
from voicerag_core.local.speaking.answer_speech import NOT_SPOKEN
from voicerag_core.retrieval.search import NOT_RERANKED
from voicerag_core.stack import open_parts
from voicerag_mcp.server import build_server, open_service
from voicerag_mcp.settings import load_server_settings

SAMPLE = Path(__file__).parents[2] / "examples" / "sample"
ANSWER = "It opens at seven. It shuts on Mondays [\u26a0 there is no source 7]."
PASSAGES = [
    Passage("rhine", "The Rhine rises in the Swiss Alps. It ends in the North Sea."),
    Passage("bakery", "The bakery opens at seven. It is closed on Mondays."),
]


@pytest.fixture
def chat(wire: Wire, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Variables that choose the test server's chat model, and a database."""
    wire.reply = lambda messages: "It opens at seven [1]. It shuts on Mondays [7]."
    wire.key = "sk-hidden"
    key = tmp_path / "key"
    key.write_text("sk-hidden\n")
    variables = {
        "CHAT": "http",
        "CHAT_URL": wire.url,
        "CHAT_MODEL": "tiny",
        "CHAT_KEY_FILE": str(key),
        "DATABASE_URL": dsn,
        "DATA_DIR": str(tmp_path),
        "COLLECTION": "bakery",
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"VOICERAG_{name}", value)
    return wire


@pytest.fixture
def indexed(chat: Wire) -> Wire:
    with open_voicerag() as rag:
        rag.index(PASSAGES)
    return chat


def test_a_question_is_answered_by_the_server_in_text_and_speech(indexed: Wire) -> None:
    with open_voicerag() as rag:
        answer = rag.ask("When does the bakery open?", limit=1)
    assert answer.text == ANSWER
    assert [place.passage_id for place in answer.citations] == ["bakery"]
    assert answer.audio is not None
    asked = indexed.requests[-1].json["messages"][-1]["content"]
    assert "The bakery opens at seven." in asked
    assert "Question: When does the bakery open?" in asked


def test_other_languages_are_left_to_the_model(indexed: Wire) -> None:
    indexed.reply = "Um sieben Uhr [1]."
    with open_voicerag(load_settings(speak=False)) as rag:
        assert rag.ask("Wann öffnet die Bäckerei am Morgen?").text == "Um sieben Uhr."


def test_the_prompt_can_be_ones_own(
    indexed: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Answer like a pirate.")
    monkeypatch.setenv("VOICERAG_CHAT_PROMPT", str(prompt))
    with open_voicerag(load_settings(speak=False)) as rag:
        rag.ask("When does the bakery open?")
    assert indexed.requests[-1].json["messages"][0]["content"] == "Answer like a pirate."
    prompt.write_text("")
    with pytest.raises(ConfigError, match="VOICERAG_CHAT_PROMPT"), open_voicerag():
        pass


def test_the_reader_takes_over_or_the_question_fails(
    indexed: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed.always = faults.refusing(500, {"error": {"message": "no memory"}})
    with open_voicerag(load_settings(speak=False)) as rag:
        answer = rag.ask("When does the bakery open?")
    assert answer.text.startswith(NO_MODEL)
    assert "seven" in answer.text
    monkeypatch.setenv("VOICERAG_CHAT_FALLBACK", "false")
    result = CliRunner().invoke(app, ["ask", "--text", "When does the bakery open?", "--no-speech"])
    assert result.exit_code == 1
    assert "no memory" in result.stderr


QUESTION = "When does the bakery open?"


@pytest.fixture
def reranked(indexed: Wire, monkeypatch: pytest.MonkeyPatch) -> Wire:
    base = {"CHAT": "none", "RERANKER": "http", "RERANKER_URL": indexed.url}
    for name, value in {**base, "RERANKER_TIMEOUT": "0.2", "SPEAK": "false"}.items():
        monkeypatch.setenv(f"VOICERAG_{name}", value)
    return indexed


@pytest.mark.parametrize("fault", [faults.refusing(401), faults.html, faults.silent])
def test_the_order_found_stays_without_the_reranker(
    reranked: Wire, fault: faults.Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    reranked.always = fault
    with open_voicerag() as rag:
        answer = rag.ask(QUESTION)
    assert "seven" in answer.text
    assert answer.notes == (NOT_RERANKED,)
    monkeypatch.setenv("VOICERAG_RERANKER_FALLBACK", "false")
    with open_voicerag() as rag, pytest.raises(EndpointError, match="the reranker"):
        rag.ask(QUESTION)


async def test_every_way_in_tells_that_the_reranker_failed(reranked: Wire) -> None:
    reranked.always = faults.refusing(500)
    result = CliRunner().invoke(app, ["ask", QUESTION, "--json"])
    assert json.loads(result.stdout)["notes"] == [NOT_RERANKED]
    assert NOT_RERANKED in CliRunner().invoke(app, ["search", QUESTION]).stderr
    with open_service(load_settings(), load_server_settings()) as service:
        async with Client(build_server(service)) as client:
            for tool in ("voice_ask", "voice_search"):
                called = await client.call_tool(tool, {"text": QUESTION})
                text = "".join(part.text for part in called.content if part.type == "text")
                assert NOT_RERANKED in text
                assert "seven" in text


@pytest.fixture
def voiced(indexed: Wire, monkeypatch: pytest.MonkeyPatch) -> Wire:
    speech = {"VOICE": "http", "VOICE_URL": indexed.url, "VOICE_MODEL": "tiny"}
    for name, value in {**speech, "VOICE_KEY": indexed.key, "VOICE_TIMEOUT": "5"}.items():
        monkeypatch.setenv(f"VOICERAG_{name}", value)
    return indexed


@pytest.mark.parametrize("fault", [faults.refusing(401), faults.html, faults.silent])
def test_the_answer_goes_on_as_text_without_the_voice(
    voiced: Wire, fault: faults.Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"CHAT": "none", "VOICE_TIMEOUT": "0.2"}.items():
        monkeypatch.setenv(f"VOICERAG_{name}", value)
    voiced.always = fault
    with open_voicerag() as rag:
        rag.warm()
        answer = rag.ask(QUESTION)
    assert "seven" in answer.text
    assert answer.audio is None
    assert answer.notes == (NOT_SPOKEN,)
    monkeypatch.setenv("VOICERAG_VOICE_FALLBACK", "false")
    with open_voicerag() as rag, pytest.raises(EndpointError, match="the voice"):
        rag.ask(QUESTION)


@pytest.mark.parametrize(
    ("in_words", "said"),
    [
        ("false", "It costs $5 on 2024-05-03, see example.org or the guide: run it."),
        ("true", "It costs 5 dollars on May 3rd, 2024, see example.org or the guide: run it."),
    ],
)
def test_what_a_voice_behind_a_server_is_given(
    voiced: Wire, in_words: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOICERAG_VOICE_IN_WORDS", in_words)
    voiced.reply = (
        "It costs **$5** on 2024-05-03, see https://example.org/prices?x=1 or "
        "[the guide](https://example.org/guide): `run it` [1].\n```sh\nrm -rf build\n```\n"
    )
    with open_voicerag() as rag:
        answer = rag.ask(QUESTION, limit=1)
        assert rag.speaker is not None
        rag.speaker.speak("**Bold** [text](https://example.org)")
    given = [one.json["input"] for one in voiced.requests if one.path.endswith("/speech")]
    assert " ".join(given[:-1]) == said
    assert given[-1] == "Bold text"
    assert "rm -rf" in answer.text


def test_the_voice_may_break_off_in_the_middle(voiced: Wire) -> None:
    voiced.reply = "The bakery opens at seven [1]. It is closed on Mondays [1]."
    spoken: list[str] = []

    def once(handler: faults.Handler) -> None:
        if handler.path.endswith("/speech"):
            spoken.append(handler.request_seen.json["input"])
            if len(spoken) > 1:
                handler.send_json(500, {"error": {"message": "no memory"}})
                return
        handler.answer()

    voiced.always = once
    with open_voicerag() as rag:
        answer = rag.ask("When does the bakery open?", limit=1)
    assert answer.text == "The bakery opens at seven. It is closed on Mondays."
    assert answer.spoken.strip() == spoken[0]
    assert answer.audio is not None
    assert answer.notes == (NOT_SPOKEN,)


def test_the_command_line_asks_the_server(indexed: Wire, tmp_path: Path) -> None:
    clip, out = tmp_path / "q.wav", tmp_path / "a.wav"
    runner = CliRunner()
    made = runner.invoke(app, ["speak", "When does the bakery open?", "--out", str(clip)])
    assert made.exit_code == 0, made.output
    result = runner.invoke(app, ["ask", "--audio", str(clip), "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert shown["answer"] == ANSWER
    assert "bakery" in json.dumps(shown)
    assert read_audio(out).seconds > 1
    assert indexed.requests[-1].headers["Authorization"] == "Bearer sk-hidden"


async def test_an_mcp_client_asks_the_server(indexed: Wire) -> None:
    with open_service(load_settings(), load_server_settings()) as service:
        async with Client(build_server(service)) as client:
            result = await client.call_tool("voice_ask", {"text": "When does the bakery open?"})
            text = "".join(part.text for part in result.content if part.type == "text")
            assert "It opens at seven." in text
            indexed.always = faults.refusing(401)
            result = await client.call_tool("voice_ask", {"text": "When does the bakery open?"})
            text = "".join(part.text for part in result.content if part.type == "text")
    assert NO_MODEL in text
    assert indexed.url not in text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"chat_url": None}, "VOICERAG_CHAT=http needs VOICERAG_CHAT_URL"),
        ({"chat_url": "localhost"}, "VOICERAG_CHAT_URL is an address"),
        ({"chat_key": "x", "chat_key_file": "y"}, "not both"),
        ({"chat_key_file": "/no/such/file"}, "VOICERAG_CHAT_KEY_FILE"),
        ({"stack": "glm"}, "stack 'local', not of 'glm'"),
    ],
)
def test_wrong_settings_say_which(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    given = {"chat": "http", "chat_url": "http://127.0.0.1:9/v1", "data_dir": tmp_path, **values}
    with pytest.raises(ConfigError, match=message), open_parts(load_settings(**given)):
        pass


def test_nothing_is_sent_before_the_first_question(chat: Wire) -> None:
    with open_voicerag() as rag:
        rag.warm(models=False)
    assert chat.requests == []


@pytest.fixture
def everything(chat: Wire, monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Variables that put every part behind the test server."""
    root = chat.url.removesuffix("/v1")
    chat.transcript = "When does the bakery open?"
    for part in ("EMBEDDER", "TRANSCRIBER", "RERANKER", "VOICE"):
        monkeypatch.setenv(f"VOICERAG_{part}", "http")
        monkeypatch.setenv(f"VOICERAG_{part}_URL", root if part == "RERANKER" else chat.url)
        monkeypatch.setenv(f"VOICERAG_{part}_MODEL", "tiny")
        monkeypatch.setenv(f"VOICERAG_{part}_KEY", "sk-hidden")
    monkeypatch.setenv("VOICERAG_COLLECTION", f"all-{uuid4().hex[:8]}")
    return chat


def test_every_part_may_be_behind_a_url(everything: Wire) -> None:
    clip = read_audio(SAMPLE / "audio" / "dev-01.flac")
    with open_voicerag(load_settings(strategy="asr", limit=1)) as rag:
        rag.index(PASSAGES)
        answer = rag.ask(clip)
    assert answer.transcript == everything.transcript
    assert [hit.passage.id for hit in answer.hits] == ["bakery"]
    assert answer.text == ANSWER
    assert answer.audio is not None
    assert answer.audio.sample_rate == 24_000
    assert "rerank" in answer.timings
    assert {path.removeprefix("/v1") for path in everything.paths} == {
        "/embeddings",
        "/audio/transcriptions",
        "/rerank",
        "/chat/completions",
        "/audio/speech",
    }


def test_questions_and_passages_have_prefixes_of_their_own(
    everything: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOICERAG_EMBEDDER_QUERY_PREFIX", "query: ")
    monkeypatch.setenv("VOICERAG_EMBEDDER_PASSAGE_PREFIX", "passage: ")
    clip = read_audio(SAMPLE / "audio" / "dev-01.flac")

    def sent(begin: int) -> set[str]:
        requests = [one for one in everything.requests[begin:] if one.path == "/v1/embeddings"]
        texts = [text for one in requests for text in one.json["input"]]
        return {text.split(" ")[0] for text in texts if not text.endswith("width")}

    with open_voicerag(load_settings(speak=False)) as rag:
        rag.index(PASSAGES)
        assert sent(0) == {"passage:"}
        for question, strategy in (("When?", "asr"), (clip, "e2e"), (clip, "hybrid")):
            before = len(everything.requests)
            rag.retrieve(question, strategy=strategy)  # type: ignore[arg-type]
            assert sent(before) == {"query:"}


def test_speech_is_searched_in_the_space_of_any_embedder(everything: Wire) -> None:
    clip = read_audio(SAMPLE / "audio" / "dev-01.flac")
    with open_voicerag(load_settings(strategy="e2e", speak=False)) as rag:
        rag.index(PASSAGES)
        before = len(everything.paths)
        assert rag.retrieve(clip).hits
        assert set(everything.paths[before:]) == {"/v1/embeddings"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EMBEDDER_PASSAGE_PREFIX", "passage: "),
        ("EMBEDDER_QUERY_PREFIX", "query: "),
        ("EMBEDDER_MODEL", "other"),
        ("EMBEDDER_DIM", "8"),
        ("EMBEDDER", "local"),
    ],
)
def test_another_space_than_that_of_the_collection_is_refused(
    everything: Wire, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    everything.models = ("tiny", "other")
    with open_voicerag() as rag:
        rag.index(PASSAGES)
    monkeypatch.setenv(f"VOICERAG_{name}", value)
    with open_voicerag() as rag, pytest.raises(EmbeddingMismatchError, match="was filled by"):
        rag.retrieve("When does the bakery open?")


def test_a_collection_can_be_moved_to_another_embedder(
    everything: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_voicerag() as rag:
        rag.index(PASSAGES)
    runner = CliRunner()
    result = runner.invoke(app, ["db", "reembed", "--to", "local"])
    assert result.exit_code == 0, result.output
    assert "2 passages have vectors of all-MiniLM" in result.output
    monkeypatch.setenv("VOICERAG_EMBEDDER", "local")
    with open_voicerag(load_settings(speak=False)) as rag:
        assert rag.retrieve("When does the bakery open?").hits[0].passage.id == "bakery"
    assert "nothing to do" in runner.invoke(app, ["db", "reembed", "--to", "local"]).output
    wrong = runner.invoke(app, ["db", "reembed", "--to", "locale"])
    assert wrong.exit_code == 1
    assert "VOICERAG_EMBEDDER is" in wrong.output


def test_the_doctor_says_where_each_part_is_and_calls_it(everything: Wire) -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    found = json.loads(result.stdout)["findings"]
    for part in ("chat", "embedder", "transcriber", "reranker", "voice"):
        texts = [one["text"] for one in found if one["area"] == part]
        assert any("'tiny' on this machine, at http://127.0.0.1" in text for text in texts), part
        assert any(text.startswith("one call") for text in texts), (part, texts)
    assert "sk-hidden" not in result.stdout
    everything.models = ("other",)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 1
    assert "correct VOICERAG_CHAT_MODEL" in result.stdout


def test_the_doctor_says_what_leaves_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VOICERAG_DATA_DIR", str(tmp_path))
    words = ["doctor", "--no-calls", "--json"]
    quiet = CliRunner().invoke(app, words).stdout
    assert "no text and no sound leaves this machine" in quiet
    monkeypatch.setenv("VOICERAG_CHAT", "http")
    monkeypatch.setenv("VOICERAG_CHAT_URL", "http://ada:hunter2@models.example.com/v1?key=hush")
    monkeypatch.setenv("VOICERAG_CHAT_KEY", "sk-hidden")
    monkeypatch.setenv("VOICERAG_EMBEDDER_URL", "http://127.0.0.1:9/v1")
    loud = CliRunner().invoke(app, words).stdout
    assert "it receives the question in words, earlier turns and the passages found" in loud
    assert "travel without encryption" in loud
    assert "VOICERAG_EMBEDDER_URL is set and not used" in loud
    for secret in ("sk-hidden", "hunter2", "hush"):
        assert secret not in loud


def test_settings_show_no_secret() -> None:
    settings = load_settings(
        chat="http", chat_url="http://ada:hunter2@host/v1?key=hush", chat_key="sk-hidden"
    )
    shown = f"{settings!r} {settings} {settings.remote('chat')!r} {settings.model_dump_json()}"
    for secret in ("sk-hidden", "hunter2", "hush"):
        assert secret not in shown


def test_models_are_listed_with_what_they_receive(everything: Wire) -> None:
    result = CliRunner().invoke(app, ["models"])
    assert result.exit_code == 0
    for variable in ("CHAT", "TRANSCRIBER", "EMBEDDER", "RERANKER", "VOICE"):
        assert f"VOICERAG_{variable}=http" in result.stdout
    listed = json.loads(CliRunner().invoke(app, ["models", "--json"]).stdout)
    assert {one["chosen"] for one in listed["parts"]} == {"http"}
    assert everything.requests == []
