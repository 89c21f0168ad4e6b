"""Allocations that fail: those of the CPU do, of sizes that no machine has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.glm import tiny
from tests.glm.clips import clip
from tests.glm.tiny_decoder import speech, write_voiced_decoder
from voicerag_core.errors import ModelError
from voicerag_core.glm.decoder import SpeechDecoder
from voicerag_core.glm.decoder import networks as networks_module
from voicerag_core.glm.device_memory import nbytes, telling_what_is_needed
from voicerag_core.glm.lm.torch_lm import TorchLM
from voicerag_core.glm.speech_tokenizer import tokenizer as speech_tokenizer
from voicerag_core.glm.speech_tokenizer.tokenizer import SpeechTokenizer
from voicerag_core.glm.speech_tokenizer.whisper_vq import WhisperVQ
from voicerag_core.types import Audio

TOO_MANY = 1 << 50
CPU = torch.device("cpu")


def too_much(*_: object, **__: object) -> torch.Tensor:
    return torch.empty(TOO_MANY)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> SpeechDecoder:
    return SpeechDecoder.load(write_voiced_decoder(tmp_path_factory.mktemp("decoder")))


def test_the_message_says_where_what_and_what_to_choose() -> None:
    said = r"^cpu has too little memory: it takes 2 GB; choose less$"
    with pytest.raises(ModelError, match=said) as caught:  # noqa: SIM117
        with telling_what_is_needed(CPU, "it takes 2 GB", "less"):
            too_much()
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_other_errors_stay_what_they_are() -> None:
    with (
        pytest.raises(RuntimeError, match="shapes cannot be multiplied"),
        telling_what_is_needed(CPU, "it takes 2 GB", "less"),
    ):
        torch.zeros(2, 3) @ torch.zeros(2, 3)


def test_only_what_is_stored_counts() -> None:
    assert nbytes([torch.zeros(3), torch.zeros(5, device="meta")]) == 12


def test_a_language_model_whose_cache_does_not_fit(tmp_path: Path) -> None:
    folder = tiny.write_lm(tmp_path / "glm-4-voice-9b")
    with pytest.raises(ModelError, match=f"cache for {TOO_MANY} tokens; choose quantization"):
        TorchLM.load(folder, max_context=TOO_MANY)


def test_a_decoder_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_voiced_decoder(tmp_path)
    monkeypatch.setattr(networks_module, "FLOW_NOISE_FRAMES", TOO_MANY)
    with pytest.raises(ModelError, match=r"decoder takes up to 5\.3 GB, 0\.0 of them weights"):
        SpeechDecoder.load(folder)


def test_a_reply_whose_memory_runs_out_ends_and_the_next_one_is_right(
    decoder: SpeechDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = speech(12)
    before = decoder.decode(tokens).samples
    stream = decoder.open_stream()
    with monkeypatch.context() as patch:
        patch.setattr(decoder.networks, "sampler", too_much)
        with pytest.raises(ModelError, match="schedule of shorter blocks"):
            stream.push(tokens)
    assert stream.closed
    np.testing.assert_array_equal(decoder.decode(tokens).samples, before)


def test_a_speech_tokenizer_that_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.write_speech_tokenizer(tmp_path / "tokenizer")

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(WhisperVQ, "to", full)
    with pytest.raises(ModelError, match=r"speech tokenizer takes 0\.0 GB; .* 8 or 4 bits"):
        SpeechTokenizer.load(folder)


def test_a_batch_that_does_not_fit_and_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = SpeechTokenizer.load(tiny.write_speech_tokenizer(tmp_path / "tokenizer"))
    clips = [Audio(clip(4000 * number, number), 16_000) for number in (1, 2, 3)]
    before = tokenizer.encode(clips)
    with monkeypatch.context() as patch:
        patch.setattr(speech_tokenizer, "log_mel", too_much)
        with pytest.raises(ModelError, match=r"room for 2 pieces.* a batch_size below 2"):
            tokenizer.encode(clips, batch_size=2)
    assert tokenizer.encode(clips) == before
