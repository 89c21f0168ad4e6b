"""Whose vectors are these? A few texts of a table, embedded again and compared.

Equal width is no protection: vectors of another model of the same width find nothing, and no error
says so. Some models put all texts close together (0.7 and more between any two of E5), so a cosine
means little by itself: it is measured from chance, the cosine to vectors of other rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from voicerag_core.errors import EmbeddingMismatchError
from voicerag_core.types import Embeddings

__all__ = [
    "PROBED",
    "ModelMatch",
    "chosen_texts",
    "compare_vectors",
    "likely_models",
    "refuse_other",
]

PROBED = 8
"""Rows that are embedded again."""
LEAST_CHARACTERS = 20
SAME, AKIN = 0.9, 0.5
"""Agreement from which the model is the same over the same text, and over more or other text."""

_MODELS = {
    384: "all-MiniLM-L6-v2, bge-small, e5-small",
    512: "jina-v2-small",
    768: "all-mpnet-base-v2, bge-base, e5-base, nomic-embed-text",
    1024: "bge-large, bge-m3, e5-large, Cohere embed v3, SONAR",
    1536: "OpenAI text-embedding-3-small and ada-002",
    3072: "OpenAI text-embedding-3-large",
}


@dataclass(frozen=True, slots=True)
class ModelMatch:
    """Whether the vectors of a table are those of an embedder.

    Args:
        verdict: ``same``; ``same, other text``: the table's vectors are of more or other text, such
            as a head of metadata before it; ``another``; or ``unknown``, without rows.
        agreement: 1 where all vectors are equal, 0 where they agree as by chance.
        rows: Rows compared.
    """

    verdict: Literal["same", "same, other text", "another", "unknown"]
    agreement: float
    rows: int


def chosen_texts(texts: Sequence[str]) -> list[int]:
    """Choose rows to embed again: the shortest that say something."""
    order = sorted(
        range(len(texts)), key=lambda row: (len(texts[row]) < LEAST_CHARACTERS, len(texts[row]))
    )
    return order[:PROBED]


def compare_vectors(embedded: Embeddings, stored: Embeddings) -> ModelMatch:
    """Compare the vectors of N texts, [N, D] each, L2-normalised.

    Args:
        embedded: Made by the embedder now.
        stored: Those of the table.
    """
    count = len(embedded)
    if count == 0:
        return ModelMatch("unknown", 0.0, 0)
    cosines = embedded @ stored.T
    own = float(np.median(np.diag(cosines)))
    apart = cosines[~np.eye(count, dtype=bool)]
    chance = float(np.median(apart)) if count > 2 else 0.0  # noqa: PLR2004
    agreement = (own - chance) / max(1 - chance, 1e-6)
    if agreement >= SAME:
        return ModelMatch("same", agreement, count)
    return ModelMatch("same, other text" if agreement >= AKIN else "another", agreement, count)


def refuse_other(match: ModelMatch, model_id: str, table: str) -> None:
    """Refuse an embedder whose vectors a table does not hold.

    Raises:
        EmbeddingMismatchError: The table was filled by another model.
    """
    if match.verdict == "another":
        raise EmbeddingMismatchError(
            f"{table} holds vectors of another model than {model_id}: {match.rows} of its texts, "
            f"embedded again, agree with its vectors by {match.agreement:.2f} (1 is equal, 0 is "
            "chance); give the embedder that filled it, with its prefixes (embedder=, or "
            "VOICERAG_EMBEDDER)"
        )


def likely_models(width: int) -> str:
    """Name models whose vectors have a width; "" when none is known."""
    return _MODELS.get(width, "")
