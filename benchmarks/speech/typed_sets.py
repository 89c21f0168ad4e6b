"""Questions in words with the passages that answer them, of four sets; and a memory for vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voicerag_core import Audio, Passage
from voicerag_core.evaluation.datasets import EvalSet, load_set, squad
from voicerag_core.evaluation.datasets.squad import load_heysquad
from voicerag_core.ports import Embedder
from voicerag_core.types import Embeddings

__all__ = ["FORMS", "Asked", "CachedEmbedder", "load_mixed", "load_xquad"]

FORMS = {
    "HeySQuAD, as written": "original",
    "HeySQuAD, human transcripts": "human-transcribed",
    "HeySQuAD, a recogniser's words": "machine-transcribed",
}
"""Names of the same questions in three forms, and what their files are called by."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with the passages that answer it.

    Args:
        set: Name of its set.
        question: In words.
        right: Ids of the passages; one of them among the first counts as found.
        development: Whether something may be chosen by it.
        gold: Ways to write the answer.
    """

    set: str
    question: str
    right: tuple[str, ...]
    development: bool
    gold: tuple[str, ...] = ()


class CachedEmbedder:
    """Embeds texts, each once, and keeps their vectors in a file.

    Args:
        embedder: Makes what is not in the file yet.
        path: The file; None keeps nothing.
    """

    needs_transcriber = True

    def __init__(self, embedder: Embedder, path: Path | None) -> None:
        self.model_id, self.dim = embedder.model_id, embedder.dim
        self._embedder, self._path = embedder, path
        self._known: dict[str, np.ndarray[Any, np.dtype[np.float32]]] = {}
        if path is not None and path.exists():
            with np.load(path) as kept:
                self._known = dict(zip(kept["keys"].tolist(), kept["rows"], strict=True))

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts of documents, [N, D]."""
        return self._rows(texts, self.model_id, self._embedder.embed_passages)

    def embed_questions(self, texts: Sequence[str]) -> Embeddings:
        """Embed questions, [N, D]."""
        return self._rows(texts, f"{self.model_id}\0question", self._embedder.embed_questions)

    def _rows(
        self, texts: Sequence[str], side: str, embed: Callable[[Sequence[str]], Embeddings]
    ) -> Embeddings:
        keys = [hashlib.sha256(f"{side}\0{text}".encode()).hexdigest() for text in texts]
        fresh = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        if fresh:
            rows = embed(list(fresh.values()))
            self._known |= dict(zip(fresh, rows, strict=True))
        return (
            np.stack([self._known[key] for key in keys]) if keys else np.zeros((0, self.dim), "f")
        )

    def embed_speech(self, clips: Sequence[Audio]) -> Embeddings:
        """Embed speech, [N, D]; nothing of it is kept."""
        return self._embedder.embed_speech(clips)

    def keep(self) -> None:
        """Write the file."""
        if self._path is not None:
            np.savez(
                self._path, keys=np.array(list(self._known)), rows=np.stack([*self._known.values()])
            )


def load_mixed(data: Path) -> tuple[list[Passage], list[Asked]]:
    """Read HeySQuAD in three forms, HotpotQA and RGB: all their passages, and the questions.

    Of each set the second, fourth, ... question is for development. RGB's passages are the right
    and the wrong ones of its questions, not those that were falsified. HeySQuAD has no titles.
    """
    passages: dict[tuple[str, str], Passage] = {}
    asked: list[Asked] = []

    def known(title: str, text: str) -> str:
        metadata = {"title": title} if title else {}
        fresh = Passage(f"p{len(passages)}", text, metadata)
        return passages.setdefault((title, text), fresh).id

    def take(name: str, found: EvalSet, most: int | None = None) -> None:
        ids = {one.id: known(one.title, one.text) for one in found.passages}
        for one in found.questions:
            right = tuple(dict.fromkeys(ids[source] for source in one.sources))
            asked.append(Asked(name, one.text, right, one.development, one.answers[:most]))

    for name, form in FORMS.items():
        take(name, load_heysquad(data, form), 1)
    take("HotpotQA", load_set("hotpotqa", data))
    take("RGB", load_set("rgb-en", data))
    return list(passages.values()), asked


def load_xquad(path: Path) -> tuple[list[Passage], list[Asked]]:
    """Read XQuAD; the questions of the first 24 titles in sorted order are for development."""
    found = squad.load_xquad(path, name="XQuAD", language="en")
    asked = [
        Asked("XQuAD", one.text, one.sources, one.development, one.answers[:1])
        for one in found.questions
    ]
    return list(found.passages), asked
