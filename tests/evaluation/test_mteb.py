"""The model for mteb, on batches as its loaders give them; the package itself is not installed."""

from __future__ import annotations

import enum
import sys

import numpy as np
import pytest

from tests.evaluation.conftest import tone
from voicerag_core import ConfigError
from voicerag_core.testing import FakeEmbedder
from voicerag_integrations.mteb import SpeechEncoder


class PromptType(enum.Enum):
    """As mteb has it."""

    query = "query"
    document = "document"


def test_texts_are_embedded_by_their_side_and_sound_as_speech() -> None:
    clip = tone(1)
    embedder = FakeEmbedder(transcripts={clip: "where is the sea"})
    model = SpeechEncoder(embedder)
    batches = [{"text": ["where is the sea", "a bakery"]}, {"text": ["rain"]}]
    rows = model.encode(batches, task_metadata=None, prompt_type=PromptType.query)
    assert rows.shape == (3, embedder.dim)
    assert np.allclose(rows[:2], embedder.embed_questions(batches[0]["text"]))
    documents = model.encode(batches, prompt_type=PromptType.document)
    assert np.allclose(documents[2], embedder.embed_passages(["rain"])[0])
    sound = {"audio": [{"array": clip.samples.astype(np.float64), "sampling_rate": 16_000}]}
    heard = model.encode([sound])
    assert np.allclose(heard, embedder.embed_speech([clip]))
    stereo = {"audio": [{"array": np.stack([clip.samples] * 2, 1), "sampling_rate": 16_000}]}
    assert np.allclose(model.encode([stereo]), heard)
    assert model.similarity(heard, documents).argmax() == 0
    assert model.similarity_pairwise(rows, rows) == pytest.approx([1.0, 1.0, 1.0], abs=1e-5)
    assert model.encode([]).shape == (0, embedder.dim)
    assert "mteb" not in sys.modules


def test_only_the_name_among_results_needs_the_package() -> None:
    with pytest.raises(ConfigError, match="pip install mteb"):
        _ = SpeechEncoder(FakeEmbedder()).mteb_model_meta


def test_a_batch_without_text_or_sound_is_refused() -> None:
    with pytest.raises(ConfigError, match="'image'"):
        SpeechEncoder(FakeEmbedder()).encode([{"image": [1]}])
