"""The language model behind vLLM's interface, over a real loopback."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.glm import tiny
from tests.glm.fake_vllm import NAME, AnyIds, Model, completion, serving_vllm
from tests.remote import wire as faults
from tests.remote.wire import Handler, Wire
from tests.waiting import wait_until
from voicerag_core import (
    Answer,
    Cancellation,
    CancelledError,
    ConfigError,
    EndpointError,
    GenerationError,
    Passage,
    Sampling,
    load_settings,
)
from voicerag_core.cli.models import chosen_parts
from voicerag_core.glm.lm.interleave import Interleave, ReplyForm
from voicerag_core.glm.lm.server.server_lm import ServerLM, connected_lm
from voicerag_core.glm.lm.torch_lm import TorchLM
from voicerag_core.glm.text_tokenizer import TextTokenizer
from voicerag_core.glm.voice import GLMVoice
from voicerag_core.remote import client as client_module
from voicerag_core.remote.endpoint import Endpoint
from voicerag_core.stack import open_parts

GREEDY = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=60)
ROWS = tiny.VOCAB_SIZE


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> tiny.Trees:
    return tiny.write_trees(tmp_path_factory.mktemp("glm"))


@pytest.fixture(scope="module")
def lm(trees: tiny.Trees) -> TorchLM:
    """Loaded apart from the server's, as the two run in parallel."""
    return TorchLM.load(trees.lm, max_context=512)


@pytest.fixture(scope="module")
def tokenizer(trees: tiny.Trees) -> TextTokenizer:
    return TextTokenizer.load(trees.lm)


@pytest.fixture(scope="module")
def form(tokenizer: TextTokenizer) -> ReplyForm:
    return ReplyForm(tokenizer, ROWS)


@pytest.fixture(scope="module")
def served_lm(trees: tiny.Trees) -> TorchLM:
    return TorchLM.load(trees.lm, max_context=512)


@pytest.fixture
def model(served_lm: TorchLM, tokenizer: TextTokenizer) -> Model:
    return Model(served_lm, tokenizer, ROWS)


@pytest.fixture
def wire(model: Model, socket_enabled: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(client_module, "FIRST_PAUSE_SECONDS", 0.01)
    with serving_vllm(model) as running:
        yield running


@pytest.fixture
def remote(wire: Wire, trees: tiny.Trees) -> Iterator[ServerLM]:
    with connected_lm(endpoint_of(wire), trees.root) as connected:
        wire.requests.clear()
        yield connected


def endpoint_of(wire: Wire, **values: Any) -> Endpoint:
    given = {"model": NAME, "timeout": 20.0, **values}
    return Endpoint(wire.url, "the language model", "VOICERAG_GLM_SERVER", **given)


def prompt_of(length: int, seed: int = 0) -> list[int]:
    return [int(n) for n in np.random.default_rng(seed).integers(0, tiny.TEXT_SIZE, length)]


@pytest.mark.parametrize("length", [1, 40, 460])
def test_greedy_replies_are_those_of_the_local_model(
    remote: ServerLM, lm: TorchLM, form: ReplyForm, length: int
) -> None:
    assert remote.masks_tokens
    assert (remote.table_size, remote.max_context) == (ROWS, 512)
    for seed in range(3):
        prompt = prompt_of(length, seed)
        ours, theirs = (
            list(one.stream(prompt, grammar=Interleave(form), sampling=GREEDY))
            for one in (lm, remote)
        )
        assert ours == theirs
        assert len(ours) > 5


def test_a_seed_is_passed_on(remote: ServerLM, lm: TorchLM, form: ReplyForm) -> None:
    sampling = Sampling(temperature=1.0, top_p=0.9, seed=7, max_new_tokens=40)
    ours, theirs = (
        list(one.stream(prompt_of(20), grammar=Interleave(form), sampling=sampling))
        for one in (lm, remote)
    )
    assert ours == theirs


def test_a_batch_is_the_replies_one_by_one(remote: ServerLM, lm: TorchLM, form: ReplyForm) -> None:
    prompts = [prompt_of(n, n) for n in (5, 30, 17)]
    alone = [list(lm.stream(p, grammar=Interleave(form), sampling=GREEDY)) for p in prompts]
    grammars = [Interleave(form) for _ in prompts]
    assert remote.generate(prompts, grammars=grammars, sampling=GREEDY) == alone
    assert remote.generate([], grammars=[], sampling=GREEDY) == []


def test_a_question_is_answered_as_by_the_local_model(remote: ServerLM, trees: tiny.Trees) -> None:
    question, passages = "the heat", [Passage("p", "the heat is on.")]
    sampling = replace(GREEDY, max_new_tokens=40)
    here = GLMVoice.load(trees.root, device="cpu", max_context=512)
    there = GLMVoice.load(trees.root, device="cpu", lm=remote)
    there.warm()
    one, other = (
        sum(voice.respond(question, passages, sampling=sampling), start=Answer())
        for voice in (here, there)
    )
    assert one.text == other.text
    assert one.audio is not None
    assert other.audio is not None
    assert np.array_equal(one.audio.samples, other.audio.samples)


def test_the_weights_of_the_language_model_need_not_be_here(
    remote: ServerLM, trees: tiny.Trees, tmp_path: Path
) -> None:
    for tree in (trees.speech_tokenizer, trees.lm, trees.decoder):
        place = tmp_path / tree.name
        place.mkdir()
        for file in tree.iterdir():
            if tree is not trees.lm or not file.name.startswith("model"):
                (place / file.name).symlink_to(file)
    voice = GLMVoice.load(tmp_path, device="cpu", lm=remote, speak=False)
    assert "".join(p.text for p in voice.respond("the heat", [], sampling=GREEDY))


def test_without_the_processor_the_first_id_out_of_form_ends_the_reply(
    model: Model, wire: Wire, trees: tiny.Trees, lm: TorchLM, form: ReplyForm
) -> None:
    model.processor = False
    anything = AnyIds(np.ones(ROWS, np.bool_))
    expected = list(lm.stream(prompt_of(9), grammar=anything, sampling=GREEDY))
    with connected_lm(endpoint_of(wire), trees.root) as remote:
        assert not remote.masks_tokens
        stream = remote.stream(prompt_of(9), grammar=anything, sampling=GREEDY)
        assert list(stream) == expected
        with pytest.raises(GenerationError, match="the model gave"):
            list(remote.stream(prompt_of(9), grammar=Interleave(form), sampling=GREEDY))
        assert "vllm_xargs" not in wire.requests[-1].json


def test_closing_the_reply_closes_the_connection(
    model: Model, wire: Wire, remote: ServerLM, form: ReplyForm
) -> None:
    going_on = threading.Event()

    def wait(handler: Handler, number: int) -> None:
        if number >= 3:
            going_on.wait(0.02)

    model.between = wait
    long = replace(GREEDY, max_new_tokens=500)
    with closing(remote.stream(prompt_of(5), grammar=Interleave(form), sampling=long)) as ids:
        assert next(ids) is not None
    wait_until(wire.gone.is_set)
    wait_until(lambda: wire.running == 0)
    assert model.ids_sent < 200


def test_a_cancelled_call_ends_while_it_waits(
    model: Model, wire: Wire, remote: ServerLM, form: ReplyForm
) -> None:
    waiting, go = threading.Event(), threading.Event()

    def wait(handler: Handler, number: int) -> None:
        if number == 3:
            waiting.set()
            go.wait(60)

    model.between = wait
    cancellation = Cancellation()
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            with cancellation.active():
                list(remote.stream(prompt_of(5), grammar=Interleave(form), sampling=GREEDY))
        except CancelledError as error:
            raised.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert waiting.wait(60)
    cancellation.cancel()
    thread.join(60)
    assert len(raised) == 1
    go.set()
    wait_until(wire.gone.is_set)


def test_a_connection_that_breaks_in_mid_reply_is_an_error(
    model: Model, remote: ServerLM, form: ReplyForm
) -> None:
    def drop(handler: Handler, number: int) -> None:
        handler.close_connection = number == 5

    model.between = drop
    stream = remote.stream(prompt_of(5), grammar=Interleave(form), sampling=GREEDY)
    assert len([next(stream) for _ in range(5)]) == 5
    with pytest.raises(EndpointError, match="broke off its response"):
        next(stream)


def test_a_full_server_is_asked_again_and_then_given_up(
    wire: Wire, remote: ServerLM, form: ReplyForm
) -> None:
    wire.faults = [faults.busy(429, Retry_After="0"), faults.busy(503)]
    assert list(remote.stream(prompt_of(5), grammar=Interleave(form), sampling=GREEDY))
    assert len(wire.requests) == 3
    wire.always = faults.busy(429)
    with pytest.raises(EndpointError, match="too busy") as caught:
        list(remote.stream(prompt_of(5), grammar=Interleave(form), sampling=GREEDY))
    assert caught.value.status == 429


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b'data: {"choices": [{"token_ids": [NaN]}]}\n\n', "not numbers from 0 to 1599"),
        (b'data: {"choices": [{"token_ids": [3.0]}]}\n\n', "not numbers from 0 to 1599"),
        (b'data: {"choices": [{"token_ids": ["3"]}]}\n\n', "not numbers from 0 to 1599"),
        (b'data: {"choices": [{"token_ids": [true]}]}\n\n', "not numbers from 0 to 1599"),
        (b'data: {"choices": [{"token_ids": [-1]}]}\n\n', "not numbers from 0 to 1599"),
        (b'data: {"choices": [{"token_ids": [1600]}]}\n\n', "not numbers from 0 to 1599"),
        (b'data: {"choices": [{"token_ids": {"0": 3}}]}\n\n', "not numbers from 0 to 1599"),
        (b'data: {"choices": [{"text": "hello"}]}\n\n', "text without token_ids"),
        (b'data: {"choices": "many"}\n\n', "no completion"),
        (b"data: [1, 2]\n\n", "no completion"),
        (b"data: {\x00\xff\n\n", "no event"),
        (b'{"choices": [{"text": "hello"}]}', "sent no stream"),
        (b'data: {"error": {"message": "CUDA out of memory"}}\n\n', "failed while it answered"),
        (b'data: {"choices": [{"finish_reason": "abort"}]}\n\n', "ended the reply by 'abort'"),
        (b"data: " + b"9" * 300, "no completion"),
        (b"", "stopped before its end"),
    ],
)
def test_what_is_no_id_ends_the_reply_with_an_error(
    wire: Wire, remote: ServerLM, form: ReplyForm, sent: bytes, told: str
) -> None:
    def odd(handler: Handler) -> None:
        handler.begin_stream()
        handler.event(completion([5], None))
        if sent:
            handler.chunk(sent)
        handler.chunk(b"")

    wire.always = odd
    stream = remote.stream(prompt_of(5), grammar=Interleave(form), sampling=GREEDY)
    assert next(stream) == 5
    with pytest.raises(EndpointError, match=told):
        next(stream)


def test_several_ids_in_an_event_and_more_than_asked_for_are_cut(
    wire: Wire, remote: ServerLM, form: ReplyForm
) -> None:
    def generous(handler: Handler) -> None:
        handler.begin_stream()
        for _ in range(4):
            handler.event(completion([5, 6, 7], None))
        handler.end_stream()

    wire.always = generous
    sampling = replace(GREEDY, max_new_tokens=10)
    stream = remote.stream(prompt_of(5), grammar=Interleave(form), sampling=sampling)
    assert list(stream) == [5, 6, 7, 5, 6, 7, 5, 6, 7, 5]


def test_a_prompt_that_leaves_no_room_is_not_sent(
    wire: Wire, remote: ServerLM, form: ReplyForm
) -> None:
    with pytest.raises(GenerationError, match="the prompt has 512 tokens"):
        next(remote.stream(prompt_of(512), grammar=Interleave(form), sampling=GREEDY))
    with pytest.raises(ConfigError, match="temperature"):
        next(remote.stream([1], grammar=Interleave(form), sampling=Sampling(temperature=-1.0)))
    assert wire.requests == []


def other_tokenizer(model: Model, folder: Path) -> None:
    tiny.write_text_tokenizer(folder)
    file = folder / "tokenizer_config.json"
    file.write_text(
        file.read_text()
        .replace("<|user|>", "<|usher|>")
        .replace("[MASK]", "<|user|>")
        .replace("<|usher|>", "[MASK]")
    )
    model.tokenizer = TextTokenizer.load(folder)


@pytest.mark.parametrize(
    "other",
    [
        (lambda model, _: setattr(model, "rows", ROWS - 1), "fewer than 1600 rows"),
        (lambda model, _: setattr(model, "rows", ROWS + 1), "more than 1600 rows"),
        (other_tokenizer, "divides a text into other tokens"),
        (lambda model, _: setattr(model, "names", ("llama", "qwen")), "has no model"),
    ],
)
def test_another_model_is_refused_at_once(
    model: Model,
    wire: Wire,
    trees: tiny.Trees,
    tmp_path: Path,
    other: tuple[Callable[[Model, Path], None], str],
) -> None:
    change, told = other
    change(model, tmp_path)
    with pytest.raises(ConfigError, match=told):
        connected_lm(endpoint_of(wire), trees.root)
    assert threads_of_clients() == []


def test_a_shorter_model_is_refused_if_more_is_asked_for(
    model: Model, wire: Wire, trees: tiny.Trees
) -> None:
    with pytest.raises(ConfigError, match="--max-model-len 1024"):
        connected_lm(endpoint_of(wire), trees.root, max_context=1024)
    with connected_lm(endpoint_of(wire), trees.root, max_context=300) as remote:
        assert remote.max_context == 300
    model.length = 32_768
    with connected_lm(endpoint_of(wire), trees.root) as remote:
        assert remote.max_context == 8192
    model.length = None
    with pytest.raises(EndpointError, match="max_model_len"):
        connected_lm(endpoint_of(wire), trees.root)


def test_the_only_model_of_a_server_needs_no_name(
    model: Model, wire: Wire, trees: tiny.Trees
) -> None:
    with connected_lm(endpoint_of(wire, model=""), trees.root):
        assert wire.requests[-1].json["model"] == NAME
    model.names = ("a", "b")
    with pytest.raises(ConfigError, match="a, b; choose one by VOICERAG_GLM_SERVER_MODEL"):
        connected_lm(endpoint_of(wire, model=""), trees.root)


def test_the_settings_choose_the_server_and_hide_its_key(
    wire: Wire,
    trees: tiny.Trees,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    key = tmp_path / "key"
    key.write_text("sk-hidden\n")
    wire.key = "sk-hidden"
    variables = {
        "STACK": "glm", "GLM_DIR": trees.root, "GLM_DEVICE": "cpu", "GLM_LM": "vllm",
        "GLM_SERVER_URL": wire.url, "GLM_SERVER_KEY_FILE": key, "DATA_DIR": tmp_path,
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(f"VOICERAG_{name}", str(value))
    with open_parts(load_settings()) as parts:
        answer = sum(parts.model.respond("the heat", [], sampling=GREEDY), start=Answer())
        assert answer.text
        assert wire.requests[-1].headers["Authorization"] == "Bearer sk-hidden"
    wait_until(lambda: threads_of_clients() == [])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # in the processes of the replicas
    with open_parts(load_settings(glm_device="cpu,cpu", speak=False)) as parts:
        pieces = parts.model.respond("the heat", [], sampling=GREEDY)
        assert "".join(piece.text for piece in pieces) == answer.text
    key.write_text("sk-other")
    with open_parts(load_settings()) as parts, pytest.raises(EndpointError) as caught:
        list(parts.model.respond("the heat", [], sampling=GREEDY))
    assert "VOICERAG_GLM_SERVER_KEY" in str(caught.value)
    assert "sk-" not in str(caught.value) + caplog.text
    monkeypatch.delenv("VOICERAG_GLM_SERVER_URL")
    with (
        pytest.raises(ConfigError, match="VOICERAG_GLM_LM=vllm needs VOICERAG_GLM_SERVER_URL"),
        open_parts(load_settings()),
    ):
        pass


def threads_of_clients() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == client_module.THREAD]


@pytest.mark.parametrize(("host", "leaves"), [("gpu.example.com", True), ("127.0.0.1", False)])
def test_the_doctor_says_what_leaves_the_machine(host: str, leaves: bool) -> None:
    settings = load_settings(stack="glm", glm_lm="vllm", glm_server_url=f"http://{host}:8000/v1")
    found = {one.area: one.text for one in chosen_parts(settings)}
    assert ("it receives questions as speech tokens" in found["glm_server"]) == leaves
    assert ("privacy" not in found) == leaves
