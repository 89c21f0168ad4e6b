"""The language model on vLLM itself: `make test-vllm`, in an environment of its own.

`VOICERAG_VLLM` names the program that starts it. Its build for CPUs takes heads of 128, as the
released model has.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.glm import tiny
from voicerag_core import ConfigError, GenerationError, Sampling
from voicerag_core.glm import convert_checkpoint
from voicerag_core.glm.lm.interleave import Interleave, ReplyForm
from voicerag_core.glm.lm.server.server_lm import ServerLM, connected_lm
from voicerag_core.glm.lm.torch_lm import TorchLM
from voicerag_core.glm.text_tokenizer import TextTokenizer
from voicerag_core.remote.endpoint import Endpoint

PROGRAM = os.environ.get("VOICERAG_VLLM", "")
PROCESSOR = "voicerag_core.glm.lm.server.vllm_processor:ReplyFormProcessor"
START_SECONDS = 600
GREEDY = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=64)
NAME = "glm-4-voice-9b"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PROGRAM, reason="VOICERAG_VLLM names no vLLM; see `make test-vllm`"),
]


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `voicerag convert` makes of a tiny checkpoint."""
    source, target = (tmp_path_factory.mktemp(name) for name in ("source", "target"))
    tiny.write_lm(source / NAME, replace(tiny.LM, hidden_size=128, head_dim=128))
    tiny.write_speech_tokenizer(source / "glm-4-voice-tokenizer")
    tiny.write_decoder(source / "glm-4-voice-decoder")
    convert_checkpoint(source, target / "glm")
    return target / "glm"


@pytest.fixture(scope="module")
def url(trees: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """vLLM, serving that with the logits processor."""
    with closing(socket.create_server(("127.0.0.1", 0))) as door:
        port = door.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "log"
    command = [
        PROGRAM, "serve", str(trees / NAME), "--host", "127.0.0.1", "--port", str(port),
        "--served-model-name", NAME, "--max-model-len", "1024", "--max-num-seqs", "8",
        "--enforce-eager", "--dtype", "float32", "--logits-processors", PROCESSOR,
    ]  # fmt: skip
    root = Path(__file__).parents[2]
    environment = os.environ | {
        "PYTHONPATH": str(root / "src"),
        "VLLM_USE_V2_MODEL_RUNNER": "0",
        "VLLM_TARGET_DEVICE": "cpu",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    with log.open("wb") as file:
        server = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    try:
        base = f"http://127.0.0.1:{port}"
        until = time.monotonic() + START_SECONDS
        while not _answers(f"{base}/health"):
            assert server.poll() is None, log.read_text("utf-8", "replace")[-4000:]
            assert time.monotonic() < until, log.read_text("utf-8", "replace")[-4000:]
            time.sleep(1)
        yield f"{base}/v1"
    finally:
        server.terminate()
        server.wait(60)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=5).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture
def remote(url: str, trees: Path, socket_enabled: None) -> Iterator[ServerLM]:
    with connected_lm(endpoint_of(url), trees) as connected:
        yield connected


@pytest.fixture(scope="module")
def lm(trees: Path) -> TorchLM:
    return TorchLM.load(trees / NAME, max_context=1024)


def endpoint_of(url: str) -> Endpoint:
    return Endpoint(url, "the language model", "VOICERAG_GLM_SERVER", timeout=120)


def prompts() -> list[list[int]]:
    draw = np.random.default_rng(8)
    return [draw.integers(0, tiny.TEXT_SIZE, length).tolist() for length in (3, 30, 170, 600)]


def test_greedy_replies_are_those_of_the_local_model(
    remote: ServerLM, lm: TorchLM, trees: Path
) -> None:
    form = ReplyForm(TextTokenizer.load(trees / NAME), remote.table_size)
    assert remote.masks_tokens
    assert remote.max_context == 1024
    alone = [list(lm.stream(p, grammar=Interleave(form), sampling=GREEDY)) for p in prompts()]
    assert max(map(len, alone)) > 39, "the replies are too short to show the form"
    assert [
        list(remote.stream(p, grammar=Interleave(form), sampling=GREEDY)) for p in prompts()
    ] == alone
    grammars = [Interleave(form) for _ in alone]
    assert remote.generate(prompts(), grammars=grammars, sampling=GREEDY) == alone


def test_a_reply_that_is_closed_is_stopped(remote: ServerLM, url: str, trees: Path) -> None:
    form = ReplyForm(TextTokenizer.load(trees / NAME), remote.table_size)
    form.any, form.audio_or_stop = form.text, form.audio  # no end
    long = replace(GREEDY, max_new_tokens=900)
    with closing(remote.stream([5], grammar=Interleave(form), sampling=long)) as ids:
        try:
            next(ids)
        except GenerationError:
            pytest.fail("the first id is text by the form of the server, too")
    until = time.monotonic() + 60
    while _running(url):
        assert time.monotonic() < until, "the server went on without a reader"
        time.sleep(0.2)


def _running(url: str) -> bool:
    text = httpx.get(url.removesuffix("/v1") + "/metrics", trust_env=False).text
    lines = [line for line in text.splitlines() if line.startswith("vllm:num_requests_running")]
    return float(lines[0].split()[-1]) > 0


def test_another_table_of_tokens_is_refused(url: str, trees: Path, socket_enabled: None) -> None:
    tokenizer = TextTokenizer.load(trees / NAME)
    for rows, told in ((tiny.VOCAB_SIZE + 1, "fewer than"), (tiny.VOCAB_SIZE - 1, "more than")):
        with pytest.raises(ConfigError, match=told):
            ServerLM.connect(endpoint_of(url), tokenizer, table_size=rows)
    with pytest.raises(ConfigError, match="--max-model-len 2048"):
        connected_lm(endpoint_of(url), trees, max_context=2048)
