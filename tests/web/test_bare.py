"""GLM-4-Voice's own model server, with tiny weights in the true file formats."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.glm import tiny
from tests.serving.fakes import FakeModels, fake_tenants
from tests.web.conftest import Serve
from voicerag_core import Sampling
from voicerag_core.glm.voice import GLMVoice

pytestmark = pytest.mark.enable_socket

PROMPT = (
    "<|system|>\nUser will provide you with a text instruction."
    "<|user|>\nthe heat is on.<|audio_3|><|assistant|>streaming_transcription\n"
)


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> GLMVoice:
    return GLMVoice.load(tiny.write_trees(tmp_path_factory.mktemp("glm")).root, device="cpu")


def test_names_of_special_tokens_are_those_tokens(voice: GLMVoice) -> None:
    tokenizer = voice._tokenizer
    specials = tokenizer.vocabulary.specials
    ids = tokenizer.encode_prompt(PROMPT)
    assert ids[:3] == [specials["[gMASK]"], specials["<sop>"], specials["<|system|>"]]
    assert ids.count(specials["<|user|>"]) == 1
    assert tokenizer.vocabulary.audio_start + 3 in ids
    plain = tokenizer.encode_prompt("<|nobody|> <|audio_999999|>")
    assert all(token < tokenizer.vocabulary.text_size for token in plain[2:])


def test_tokens_come_as_lines_of_json(serve: Serve, voice: GLMVoice) -> None:
    tenants, _ = fake_tenants(FakeModels(model=voice, text_model=voice.silent()))
    tenants.settings = tenants.settings.model_copy(update={"stack": "glm"})
    body = {"prompt": PROMPT, "temperature": 0, "top_p": 1, "max_new_tokens": 20}
    with serve(tenants=tenants) as server:
        answer = httpx.post(f"{server.url}/generate_stream", json=body, timeout=300)
        too_long = httpx.post(
            f"{server.url}/generate_stream", json={**body, "prompt": "x " * 50_000}, timeout=300
        )
        assert httpx.post(f"{server.url}/generate_stream", json={}).status_code == 400
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert all(line["error_code"] == 0 for line in lines)
    sampling = Sampling(temperature=0, top_p=1, max_new_tokens=20)
    assert [line["token_id"] for line in lines] == list(voice.tokens(PROMPT, sampling=sampling))
    (problem,) = [json.loads(line) for line in too_long.text.splitlines()]
    assert problem["error_code"] == 1
    assert problem["token_id"] == voice.end_token
    assert problem["text"]


def test_only_the_stack_glm_on_this_machine_has_it(serve: Serve) -> None:
    with serve() as server:
        assert httpx.post(f"{server.url}/generate_stream", json={}).status_code == 404
    tenants, _ = fake_tenants()
    tenants.settings = tenants.settings.model_copy(update={"stack": "glm"})
    with serve(tenants=tenants) as server:
        answer = httpx.post(f"{server.url}/generate_stream", json={"prompt": "a"})
        assert answer.status_code == 400  # a fake is no GLM-4-Voice
        assert "VOICERAG_STACK" in answer.json()["error"]["message"]
