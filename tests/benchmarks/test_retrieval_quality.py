"""What the benchmark of sentence vectors counts as found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.speech.retrieval_quality import measured, paragraph_scores, recall
from voicerag_core.testing import FakeEmbedder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicerag_core.types import Embeddings


class FirstWord(FakeEmbedder):
    """Every text lies where its first word does."""

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        return super().embed_passages([text.split()[0] for text in texts])


def test_a_paragraph_counts_by_its_nearest_vector_and_a_tie_counts_against() -> None:
    vectors = np.eye(3, dtype=np.float32)
    scores = paragraph_scores(vectors[1:2], vectors, np.array([0, 1, 1]), 3)
    assert scores.tolist() == [[0.0, 1.0, -1.0]]
    assert recall(scores, np.array([1])) == [1.0, 1.0, 1.0]
    tied = np.zeros((1, 3), np.float32)
    assert recall(tied, np.array([1])) == [0.0, 1.0, 1.0]


def test_sentence_vectors_show_in_the_figures(tmp_path: Path) -> None:
    texts = ["Alpha comes first. Herons fish.", "Beta comes first. Owls hunt."]
    asked = [{"question": word, "answers": [{"text": ""}]} for word in ("Herons", "Owls")]
    entries = [{"context": text, "qas": [one]} for text, one in zip(texts, asked, strict=True)]
    file = tmp_path / "squad.json"
    file.write_text(json.dumps({"data": [{"title": "birds", "paragraphs": entries}]}))
    told, found = measured(FirstWord(), file)
    assert "2 typed questions, 2 paragraphs, 4 sentences" in " ".join(told)
    assert found["one a sentence"][0] == found["both"][0] == 1.0
    assert found["one a paragraph"][0] == 0.0  # both are as far: a tie
