from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from voicerag_core import read_audio
from voicerag_core.cancellation import Cancellation
from voicerag_core.errors import CancelledError, CheckpointError, ConfigError, VoiceRAGError
from voicerag_core.local import minilm
from voicerag_core.local.hearing.whisper import WhisperTranscriber
from voicerag_core.local.minilm import MiniLMEmbedder
from voicerag_core.local.weights.files import weight_path
from voicerag_core.testing import EmbedderContract
from voicerag_core.types import Audio, Embeddings

SAMPLE = Path(__file__).parents[2] / "examples" / "sample"


@pytest.fixture(scope="module")
def clip() -> Audio:
    return read_audio(SAMPLE / "audio" / "report-02.flac")


@pytest.fixture(scope="module")
def embedder() -> MiniLMEmbedder:
    return MiniLMEmbedder(WhisperTranscriber(), threads=2)


class TestMiniLM(EmbedderContract):
    """The port's rules, on the real model and the real recogniser."""


def test_known_similarities(embedder: MiniLMEmbedder) -> None:
    # The pair of the model card: sentence-transformers gives 0.6660 for these two in fp32.
    rows = embedder.embed_passages(["This is an example sentence", "Each sentence is converted"])
    near = embedder.embed_passages(
        ["How many people live in Berlin?", "Berlin has 3.5 million inhabitants.", "A bakery."]
    )
    assert 0.3 < float(rows[0] @ rows[1]) < 0.8
    assert float(near[0] @ near[1]) > 0.6
    assert float(near[0] @ near[2]) < 0.3


def test_the_first_256_tokens_count(embedder: MiniLMEmbedder) -> None:
    words = "river " * 254
    at_limit, beyond, shorter = embedder.embed_passages(
        [words, words + "volcano " * 50, "river " * 100 + "volcano " * 50]
    )
    assert np.allclose(at_limit, beyond, atol=1e-6)
    assert not np.allclose(at_limit, shorter, atol=1e-2)


def test_tokens_beyond_128_are_read(embedder: MiniLMEmbedder) -> None:
    plain, late = embedder.embed_passages(["river " * 200, "river " * 180 + "volcano " * 20])
    assert float(plain @ late) < 0.99


def test_batches_are_bounded(embedder: MiniLMEmbedder) -> None:
    lengths = [3] * 40 + [256] * 5 + [100] * 7
    batches = list(minilm._batches_by_length([[0] * length for length in lengths]))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= 16
        assert len(batch) * max(lengths[i] for i in batch) <= 512


def test_a_call_that_is_called_off_ends_after_its_batch(
    embedder: MiniLMEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Cancellation()
    batches: list[int] = []
    embed = minilm._Loaded.embed

    def noted(loaded: minilm._Loaded, tokens: Sequence[Sequence[int]]) -> Embeddings:
        batches.append(len(tokens))
        if len(batches) == 2:
            call.cancel()
        return embed(loaded, tokens)

    monkeypatch.setattr(minilm._Loaded, "embed", noted)
    with call.active(), pytest.raises(CancelledError):
        embedder.embed_passages(["river " * 250] * 20)
    assert len(batches) == 2
    assert sum(batches) < 20


def test_speech_is_embedded_by_its_words(embedder: MiniLMEmbedder, clip: Audio) -> None:
    question = "Which player was criticized for not jumping into the pile to recover the ball?"
    spoken = embedder.embed_speech([clip])[0]
    typed, other = embedder.embed_passages(
        [question, "What limits the Rankine cycle's efficiency?"]
    )
    assert float(spoken @ typed) > 0.8 > float(spoken @ other)


def test_speech_needs_a_transcriber(clip: Audio) -> None:
    with pytest.raises(ConfigError, match="without a transcriber"):
        MiniLMEmbedder().embed_speech([clip])


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_are_positive(threads: int) -> None:
    with pytest.raises(ConfigError, match=str(threads)):
        MiniLMEmbedder(threads=threads)


def test_nothing_is_loaded_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> Path:
        raise CheckpointError(f"asked for {name}")

    monkeypatch.setattr(minilm, "weight_path", refuse)
    idle = MiniLMEmbedder()
    assert idle.embed_passages([]).shape == (0, 384)
    with pytest.raises(CheckpointError, match="minilm-int8"):
        idle.embed_passages(["now"])


def test_a_file_that_is_no_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "model.onnx"
    shutil.copyfile(weight_path("minilm-int8/model.onnx"), broken)
    with broken.open("r+b") as file:
        file.truncate(1000)
    real = weight_path
    monkeypatch.setattr(
        minilm, "weight_path", lambda name: broken if name.endswith(".onnx") else real(name)
    )
    with pytest.raises(CheckpointError, match="cannot be loaded") as caught:
        MiniLMEmbedder().warm()
    assert caught.value.__cause__ is not None
    assert isinstance(caught.value, VoiceRAGError)
