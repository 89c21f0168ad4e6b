"""The doors that answer one request, by OpenAI's own client."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from tests.serving.fakes import FakeModels, fake_tenants
from tests.waiting import wait_until
from tests.web.conftest import Running, Serve
from voicerag_core import (
    Audio,
    EmbeddingMismatchError,
    EmptyCollectionError,
    FilterError,
    ModelError,
    StoreError,
    StoreUnavailableError,
    read_audio,
)
from voicerag_core.testing import FakeTranscriber
from voicerag_core.types import Answer as Told
from voicerag_web.doors.chat import _own

pytestmark = pytest.mark.enable_socket

QUESTION = "Where does the Rhine rise?"
ANSWER = "The Rhine rises in the Swiss Alps."


@pytest.fixture
def client(server: Running) -> Iterator[OpenAI]:
    with OpenAI(api_key="none", base_url=f"{server.url}/v1", max_retries=0) as made:
        yield made


def asked(text: str = QUESTION) -> list[Any]:
    return [{"role": "user", "content": text}]


# Chat completions


def test_a_typed_question_is_answered_with_its_sources(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="voicerag", messages=asked())
    message = answer.choices[0].message
    assert message.content == ANSWER
    assert message.annotations is not None
    cited = message.annotations[0].url_citation
    assert (cited.title, cited.start_index, cited.end_index) == ("rhine", 0, len(ANSWER))
    own = answer.model_extra["voicerag"]  # type: ignore[index]
    assert own["sources"][0]["quote"] == ANSWER
    assert own["passages"][0]["title"] == "rhine"
    assert answer.usage is not None


def test_a_spoken_question_is_answered_in_speech(client: OpenAI, wav: bytes) -> None:
    part = {"type": "input_audio", "input_audio": {"data": base64.b64encode(wav).decode(),
            "format": "wav"}}  # fmt: skip
    messages: list[Any] = [{"role": "user", "content": [part]}]
    answer = client.chat.completions.create(
        model="voicerag",
        messages=messages,
        modalities=["text", "audio"],
        audio={"voice": "alloy", "format": "mp3"},
    )
    audio = answer.choices[0].message.audio
    assert audio is not None
    assert audio.transcript == ANSWER
    assert read_audio(base64.b64decode(audio.data)).seconds == pytest.approx(0.35, abs=0.1)
    assert answer.model_extra["voicerag"]["transcript"] == "where does the rhine rise"  # type: ignore[index]
    again = [*messages, {"role": "assistant", "audio": {"id": audio.id}}, *asked("And oxygen?")]
    assert client.chat.completions.create(model="voicerag", messages=again).choices
    lost = [*messages, {"role": "assistant", "audio": {"id": "gone"}}, *asked()]
    with pytest.raises(BadRequestError, match="transcript"):
        client.chat.completions.create(model="voicerag", messages=lost)


def test_a_stream_has_a_chunk_for_each_sentence_and_adds_up_to_the_answer(
    serve: Serve,
) -> None:
    from voicerag_core import Answer

    class TwoSentences:
        def respond(self, *_: object, **__: object) -> Iterator[Answer]:
            yield Answer("One is here. Two is there.")

    models = FakeModels(model=TwoSentences(), text_model=TwoSentences())
    with (
        serve(models) as server,
        OpenAI(api_key="none", base_url=f"{server.url}/v1") as client,
    ):
        chunks = list(
            client.chat.completions.create(
                model="voicerag",
                messages=asked(),
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    texts = [one.choices[0].delta.content for one in chunks if one.choices]
    assert [text for text in texts if text] == ["One is here. ", "Two is there."]
    assert chunks[-1].usage is not None
    assert [one.choices[0].finish_reason for one in chunks if one.choices][-1] == "stop"
    assert len({one.id for one in chunks}) == 1


def test_streamed_speech_is_pcm_of_24_khz(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="voicerag",
        messages=asked(),
        modalities=["text", "audio"],
        audio={"voice": "alloy", "format": "pcm16"},
        stream=True,
    )
    sound, words, extra = b"", "", None
    for chunk in stream:
        delta = chunk.choices[0].delta
        if delta.audio is not None:
            sound += base64.b64decode(delta.audio.data or "")
            words += delta.audio.transcript or ""
        extra = (chunk.model_extra or {}).get("voicerag") or extra
    assert words == ANSWER
    assert len(sound) == pytest.approx(7 * 0.05 * 48_000, abs=48)
    assert extra is not None
    assert extra["sources"][0]["title"] == "rhine"


def test_earlier_messages_are_history_and_the_systems_are_instructions(serve: Serve) -> None:
    seen: list[dict[str, Any]] = []

    class Noting:
        def respond(self, *_: object, **given: Any) -> Iterator[Any]:
            from voicerag_core import Answer

            seen.append(given)
            yield Answer("Yes.")

    models = FakeModels(model=Noting(), text_model=Noting())
    with (
        serve(models) as server,
        OpenAI(api_key="none", base_url=f"{server.url}/v1") as client,
    ):
        client.chat.completions.create(
            model="voicerag",
            temperature=0.5,
            top_p=0.9,
            max_tokens=50,
            messages=[
                {"role": "system", "content": "Speak slowly."},
                {"role": "user", "content": "Who?"},
                {"role": "assistant", "content": "Nobody."},
                {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
            ],
        )
    (given,) = seen
    assert [(turn.question, turn.answer.text) for turn in given["history"]] == [("Who?", "Nobody.")]
    assert given["instructions"] == "Speak slowly."
    assert (given["sampling"].temperature, given["sampling"].max_new_tokens) == (0.5, 50)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "Hi."}]}, "the last message"),
        ({"messages": [{"role": "user", "content": "x" * 5_000_000}]}, "shorten"),
        ({"messages": [{"role": "user", "content": "  "}]}, "empty"),
        ({"messages": [{"role": "user"}], "temperature": 9}, "temperature"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "image_url",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [
                        {"type": "input_audio", "input_audio": {"data": "?"}}]}
                ]
            },
            "base64",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [
                        {"type": "input_audio", "input_audio": {"data": "aGVsbG8="}}]}
                ]
            },
            "cannot be read as audio",
        ),
        (
            {
                "messages": [{"role": "user", "content": "Hi?"}],
                "modalities": ["audio"],
                "audio": {"format": "aac"},
            },
            "aac",
        ),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_answered_is_told_why(
    server: Running, body: dict[str, object], words: str
) -> None:
    for stream in (False, True):
        answer = httpx.post(
            f"{server.url}/v1/chat/completions", json={"stream": stream, **body}, timeout=60
        )
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert words in error["message"]


def test_a_failure_of_a_model_is_an_error_of_the_server(serve: Serve) -> None:
    class Broken:
        def respond(self, *_: object, **__: object) -> Iterator[Any]:
            yield from ()
            raise ModelError("out of memory")

    with serve(FakeModels(model=Broken(), text_model=Broken())) as server:
        url = f"{server.url}/v1/chat/completions"
        whole = httpx.post(url, json={"messages": asked()}, timeout=60)
        assert whole.status_code == 500
        streamed = httpx.post(url, json={"messages": asked(), "stream": True}, timeout=60)
        assert "out of memory" in streamed.text.split("data: ")[-1]  # after the hits


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (EmptyCollectionError("nothing is there"), 400, "empty_collection"),
        (FilterError("a bad filter"), 400, "invalid_value"),
        (StoreError("a bad value"), 400, "invalid_value"),
        (EmbeddingMismatchError("other vectors"), 503, "wrong_embeddings"),
        (StoreUnavailableError("no database could be made"), 503, "database_unavailable"),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, Exception) else None,
)
def test_an_error_of_the_store_is_told_by_its_kind(
    serve: Serve, error: StoreError, status: int, code: str
) -> None:
    class Broken:
        def respond(self, *_: object, **__: object) -> Iterator[Any]:
            yield from ()
            raise error

    with serve(FakeModels(model=Broken(), text_model=Broken())) as server:
        url = f"{server.url}/v1/chat/completions"
        answer = httpx.post(url, json={"messages": asked()}, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_other_collections_are_models_of_their_own(server: Running, client: OpenAI) -> None:
    with pytest.raises(NotFoundError, match="there is no collection"):
        client.chat.completions.create(model="voicerag:absent", messages=asked())
    assert client.chat.completions.create(model="gpt-5", messages=asked()).model == "voicerag"
    del server


def test_the_sources_of_an_answer_can_be_asked_for_later(server: Running, client: OpenAI) -> None:
    answer = client.chat.completions.create(model="voicerag", messages=asked())
    later = httpx.get(f"{server.url}/v1/responses/{answer.id}/sources").json()
    assert later["sources"][0]["quote"] == ANSWER
    assert httpx.get(f"{server.url}/v1/responses/none/sources").status_code == 404


# Audio


def test_a_recording_is_transcribed_in_every_form(client: OpenAI, wav: bytes) -> None:
    words = "where does the rhine rise"

    def given() -> tuple[str, io.BytesIO]:
        return ("recording.webm", io.BytesIO(wav))  # the name says nothing

    plain = client.audio.transcriptions.create(model="whisper-1", file=given())
    assert plain.text == words
    verbose = client.audio.transcriptions.create(
        model="whisper-1", file=given(), response_format="verbose_json"
    )
    assert verbose.duration == pytest.approx(1.0)
    assert verbose.segments is not None
    assert verbose.segments[0].text == words
    for form, start in (("text", words), ("srt", "1\n00:00:00,000 --> "), ("vtt", "WEBVTT\n")):
        got = client.audio.transcriptions.create(
            model="whisper-1",
            file=given(),
            response_format=form,  # type: ignore[call-overload]
        )
        assert str(got).startswith(start)
    events = list(client.audio.transcriptions.create(model="x", file=given(), stream=True))
    assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"]


def test_a_language_that_is_not_heard_is_refused_with_words(client: OpenAI, wav: bytes) -> None:
    with pytest.raises(BadRequestError, match="VOICERAG_LANGUAGE"):
        client.audio.transcriptions.create(
            model="x", file=("a.wav", io.BytesIO(wav)), language="de"
        )


def test_a_file_that_is_no_sound_is_refused_with_words(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="cannot be read as audio"):
        client.audio.transcriptions.create(model="x", file=("a.wav", io.BytesIO(b"hello" * 99)))


def test_a_clip_without_speech_is_refused_with_words(serve: Serve, wav: bytes) -> None:
    from voicerag_core import AudioError

    class Deaf(FakeTranscriber):
        def transcribe(self, audio: Audio) -> Any:
            raise AudioError(f"no speech was heard in the clip of {audio.seconds:.1f} s")

    with (
        serve(FakeModels(transcriber=Deaf())) as server,
        OpenAI(api_key="none", base_url=f"{server.url}/v1") as client,
        pytest.raises(BadRequestError, match="no speech"),
    ):
        client.audio.transcriptions.create(model="x", file=("a.wav", io.BytesIO(wav)))


@pytest.mark.parametrize("form", ["mp3", "wav", "flac", "opus", "ogg"])
def test_a_text_is_spoken_in_every_form(client: OpenAI, form: Any) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="nova", input="Hello there. All is well.", response_format=form
    ) as response:
        data = response.read()
    assert read_audio(data).seconds == pytest.approx(5 * 0.05, abs=0.12)


def test_pcm_is_of_24_khz_and_sse_carries_the_same_sound(client: OpenAI, server: Running) -> None:
    pcm = client.audio.speech.create(
        model="tts-1", voice="nova", input="Hello there.", response_format="pcm"
    ).read()
    assert len(pcm) == pytest.approx(2 * 0.05 * 48_000, abs=2400)
    answer = httpx.post(
        f"{server.url}/v1/audio/speech",
        json={"input": "Hello there.", "response_format": "pcm", "stream_format": "sse"},
    )
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line]
    assert events[-1]["type"] == "speech.audio.done"
    assert b"".join(base64.b64decode(one.get("audio", "")) for one in events) == pcm


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"input": ""}, "nothing that can be said"),
        ({"input": "?!"}, "nothing that can be said"),
        ({"input": "x" * 5000}, "cut it"),
        ({"input": "Hi.", "response_format": "aac"}, "aac"),
        ({"input": "Hi.", "speed": 2.0}, "speed"),
        ({"input": "Hi.", "speed": 9}, "speed"),
        ({}, "input"),
    ],
)
def test_a_text_that_cannot_be_spoken_is_refused(
    server: Running, body: dict[str, object], words: str
) -> None:
    answer = httpx.post(f"{server.url}/v1/audio/speech", json=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_a_server_without_a_voice_says_so(serve: Serve) -> None:
    from dataclasses import replace

    tenants, _ = fake_tenants()
    tenants.parts = replace(tenants.parts, speaker=None)
    with serve(tenants=tenants) as server:
        answer = httpx.post(f"{server.url}/v1/audio/speech", json={"input": "Hi."})
        assert answer.status_code == 400
        assert "VOICERAG_SPEAK" in answer.json()["error"]["message"]
        assert httpx.get(f"{server.url}/v1/audio/voices").json() == {"voices": []}


# Models, embeddings, search


def test_models_voices_and_collections_are_listed(client: OpenAI, server: Running) -> None:
    names = [model.id for model in client.models.list()]
    assert names[:2] == ["voicerag", "voicerag:default"]
    assert client.models.retrieve("voicerag:default").object == "model"
    with pytest.raises(NotFoundError):
        client.models.retrieve("absent")
    assert httpx.get(f"{server.url}/v1/audio/voices").json()["voices"][0]["id"] == "default"


def test_embeddings_are_those_of_the_passages_in_both_encodings(client: OpenAI) -> None:
    texts = ["the Rhine", "oxygen"]
    packed = client.embeddings.create(model="x", input=texts)  # the SDK asks for base64
    plain = client.embeddings.create(model="x", input=texts, encoding_format="float")
    assert len(packed.data) == 2
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding)
        assert sum(number**2 for number in one.embedding) == pytest.approx(1.0, abs=1e-4)
    with pytest.raises(BadRequestError, match="dimensions"):
        client.embeddings.create(model="x", input="a", dimensions=7)
    with pytest.raises(BadRequestError, match="empty"):
        client.embeddings.create(model="x", input=["a", " "])
    for tokens in ([1, 2], [[1, 2], [3]]):
        with pytest.raises(BadRequestError, match="list of texts"):
            client.embeddings.create(model="x", input=tokens)
    with pytest.raises(BadRequestError, match="not 0"):
        client.embeddings.create(model="x", input=[])


def test_a_body_that_is_no_json_is_said_so(server: Running) -> None:
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(f"{server.url}/v1/chat/completions", content=b"{", headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_json"
    assert answer.json()["error"]["message"].startswith("the body is not JSON")


def test_passages_are_found_for_every_kind_of_question(server: Running, wav: bytes) -> None:
    url = f"{server.url}/v1/search"
    encoded = base64.b64encode(wav).decode()
    for answer in (
        httpx.get(url, params={"q": QUESTION, "limit": 1}),
        httpx.post(url, json={"query": QUESTION, "limit": 1}),
        httpx.post(url, json={"audio": encoded, "strategy": "asr", "limit": 1}),
        httpx.post(url, files={"file": wav}, data={"strategy": "asr", "limit": "1"}),
        httpx.post(
            f"{url}?strategy=asr&limit=1", content=wav, headers={"Content-Type": "audio/wav"}
        ),
    ):
        found = answer.json()
        assert answer.status_code == 200, found
        assert [one["title"] for one in found["passages"]] == ["rhine"]
        assert found["collection"] == "default"
    spoken = httpx.post(url, json={"audio": encoded, "strategy": "asr"}).json()
    assert spoken["transcript"] == "where does the rhine rise"
    nothing = httpx.post(url, json={"query": QUESTION, "where": {"title": "no"}})
    assert nothing.json()["passages"] == []


@pytest.mark.parametrize(
    "how",
    [
        {"json": {}},
        {"json": {"query": "a", "audio": "b"}},
        {"json": {"query": "a", "limit": 0}},
        {"json": {"query": "a", "strategy": "guess"}},
        {"json": {"audio": "???"}},
        {"content": b"{"},
        {"json": [1]},
        {"json": {"query": "x" * 5000}},
    ],
)
def test_a_search_that_cannot_be_made_is_refused(server: Running, how: dict[str, Any]) -> None:
    answer = httpx.post(f"{server.url}/v1/search", **how)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["message"]


# State


def test_an_empty_collection_is_served_with_the_words_how_to_fill_it(serve: Serve) -> None:
    tenants, database = fake_tenants()
    database.stores.clear()
    with serve(tenants=tenants) as server:
        state = httpx.get(f"{server.url}/v1/status").json()
        assert state["empty"]
        assert "voicerag index" in state["how_to_fill"]
        answer = httpx.post(f"{server.url}/v1/chat/completions", json={"messages": asked()})
        assert answer.status_code == 404
        assert "voicerag index" in answer.json()["error"]["message"]
    with serve(tenants=fake_tenants(read_only=False)[0], allow_ingest=True) as server:
        added = httpx.post(
            f"{server.url}/v1/documents",
            json={"text": "The Danube ends in the Black Sea.", "source": "danube.txt"},
        )
        assert added.json()["documents"] == 1
        found = httpx.get(f"{server.url}/v1/search", params={"q": "danube"}).json()
        assert found["passages"][0]["source"] == "danube.txt"


def test_documents_are_taken_only_when_the_server_says_so(server: Running) -> None:
    answer = httpx.post(f"{server.url}/v1/documents", json={"text": "a"})
    assert answer.status_code == 404
    assert not httpx.get(f"{server.url}/v1/status").json()["may_ingest"]


def test_health_readiness_and_metrics(serve: Serve) -> None:
    with serve() as server:
        _check_state(server)


def _check_state(server: Running) -> None:

    health = httpx.get(f"{server.url}/health").json()
    assert health["status"] == "ok"
    assert health["load"]["workers"] == 4
    wait_until(lambda: server.service.ready)
    assert httpx.get(f"{server.url}/ready").status_code == 200
    httpx.get(f"{server.url}/v1/search", params={"q": "x"})
    text = httpx.get(f"{server.url}/metrics").text
    assert 'voicerag_requests_total{door="/v1/search",status="200"} 1.0' in text
    assert "voicerag_jobs 0.0" in text
    assert "voicerag_jobs_waiting 0.0" in text
    assert 'voicerag_model_answers{state="capacity"} 1.0' in text
    server.service.ready = False
    assert httpx.get(f"{server.url}/ready").status_code == 503


def test_the_documentation_is_of_this_server_alone(server: Running) -> None:
    spec = httpx.get(f"{server.url}/openapi.json").json()
    assert {"/v1/chat/completions", "/v1/search", "/v1/audio/speech"} <= set(spec["paths"])
    for path in ("/", "/docs"):
        html = httpx.get(server.url + path).text
        assert "http://" not in html.replace("http://www.w3.org", "")
        assert "https://" not in html
        for name in [part.split('"')[0] for part in html.split('src="')[1:]]:
            assert httpx.get(server.url + name).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/v1/chat/completions", 405)]
)
def test_other_paths_and_methods_are_answered_in_openais_shape(
    server: Running, method: str, path: str, status: int
) -> None:
    answer = httpx.request(method, server.url + path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_what_went_otherwise_than_set_is_told_with_a_completion() -> None:
    note = "the chat model failed; the reader answered"
    assert _own(Told("Yes.", notes=(note,)))["notes"] == [note]
