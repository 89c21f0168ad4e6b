"""Questions in words with the passages that answer them, of four sets; and a memory for vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voicerag_core import Audio, Passage
from voicerag_core.ports import Embedder
from voicerag_core.types import Embeddings

__all__ = ["FORMS", "Asked", "CachedEmbedder", "load_mixed", "load_xquad"]

FORMS = {
    "HeySQuAD, as written": "original",
    "HeySQuAD, human transcripts": "human-transcribed",
    "HeySQuAD, a recogniser's words": "machine-transcribed",
}
"""Names of the same questions in three forms, and what their files are called by."""

DEVELOPMENT_TITLES = 24


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

    for name, form in FORMS.items():
        entries = list(_squad(data / "heysquad" / f"dev-common-{form}-1002.json"))
        for number, (_, context, question, answer) in enumerate(entries):
            own = (known("", context),)
            asked.append(Asked(name, question, own, number % 2 == 1, (answer,)))
    hotpot = json.loads((data / "hotpotqa" / "hotpot_dev_distractor_100.json").read_text("utf-8"))
    for number, one in enumerate(hotpot):
        titles, texts = one["context"]["title"], map("".join, one["context"]["sentences"])
        ids = {title: known(title, text.strip()) for title, text in zip(titles, texts, strict=True)}
        right = tuple(ids[title] for title in dict.fromkeys(one["supporting_facts"]["title"]))
        asked.append(Asked("HotpotQA", one["question"], right, number % 2 == 1, (one["answer"],)))
    lines = (data / "rgb" / "en_fact.json").read_text("utf-8").splitlines()
    for number, one in enumerate(map(json.loads, lines)):
        right = tuple(dict.fromkeys(known("", text) for text in _texts(one["positive"])))
        for text in _texts(one["negative"]):
            known("", text)
        gold = tuple(_texts([one["answer"]]))
        asked.append(Asked("RGB", one["query"], right, number % 2 == 1, gold))
    return list(passages.values()), asked


def load_xquad(path: Path) -> tuple[list[Passage], list[Asked]]:
    """Read XQuAD; the questions of the first 24 titles in sorted order are for development."""
    entries = list(_squad(path))
    chosen = set(sorted({title for title, *_ in entries})[:DEVELOPMENT_TITLES])
    passages: dict[str, Passage] = {}
    asked = []
    for title, context, question, answer in entries:
        fresh = Passage(f"x{len(passages)}", context, {"title": title.replace("_", " ")})
        own = passages.setdefault(context, fresh)
        asked.append(Asked("XQuAD", question, (own.id,), title in chosen, (answer,)))
    return list(passages.values()), asked


def _squad(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield title, paragraph, question and answer of a file in SQuAD's form."""
    for article in json.loads(path.read_text("utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for entry in paragraph["qas"]:
                answer = entry["answers"][0]["text"]
                yield article["title"], paragraph["context"], entry["question"], answer


def _texts(nested: Iterable[Any]) -> Iterator[str]:
    for one in nested:
        if isinstance(one, str):
            if one.strip():
                yield one
        else:
            yield from _texts(one)
