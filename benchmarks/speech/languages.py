"""Is the right passage among the first, in Chinese, English and across the two?

    python -m benchmarks.speech.languages --data DATA --out FILE.md [--kept FOLDER]

XQuAD's 240 paragraphs and 1,190 questions are the same in both languages. Passages are indexed as
`VoiceRAG` does it, a vector a sentence besides, and asked by the vector alone and, where question
and documents are in one language, by words too. The Chinese paragraphs are indexed without their
titles, which are English in this set.
"""

from __future__ import annotations

import argparse
import platform
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.speech.typed_sets import Asked, load_xquad
from voicerag_core import Passage
from voicerag_core.chunking import split_sentences
from voicerag_core.local.minilm import MiniLMEmbedder
from voicerag_core.local.multilingual.embedder import MultilingualEmbedder
from voicerag_core.passages import searched_text
from voicerag_core.ports import TextEmbedder
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, migrate
from voicerag_core.types import Embeddings

PAIRS = (("zh", "zh"), ("en", "zh"), ("zh", "en"), ("en", "en"))
"""Languages of question and documents."""
CONFIGURATIONS = {"en": "english", "zh": "simple"}
CUTS = (1, 4)
BARS = {("zh", "zh"): (0.85, 0.96)}
BATCH = 128
TIMED = 24
"""Paragraphs that are embedded once more for the rate."""


class _Embeds(Protocol):
    """Makes one kind of vectors."""

    def __call__(self, texts: Sequence[str]) -> Embeddings: ...


@dataclass(frozen=True, slots=True)
class Figures:
    """What one embedder finds.

    Args:
        question: Language of the questions.
        documents: Language of the documents.
        by_vector: R@1 and R@4 by the vector alone.
        by_words: The same by vector and words; None across languages.
    """

    question: str
    documents: str
    by_vector: tuple[float, ...]
    by_words: tuple[float, ...] | None


def kept(path: Path | None, embed: _Embeds, texts: Sequence[str]) -> Embeddings:
    """Embed texts, or read the vectors of an earlier run."""
    if path is not None and path.is_file():
        found: Embeddings = np.load(path)
        return found
    rows = np.concatenate([embed(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)])
    if path is not None:
        np.save(path, rows)
    return rows


def index(
    store: PgVectorStore, passages: Sequence[Passage], path: Path | None, embedder: TextEmbedder
) -> None:
    """Store passages with the vectors of their whole and of their sentences."""
    texts: list[str] = []
    owners: list[int] = []
    for row, passage in enumerate(passages):
        parts = split_sentences(passage.text)
        own = [searched_text(passage), *(parts if len(parts) > 1 else [])]
        texts += own
        owners += [row] * len(own)
    rows = kept(path, embedder.embed_passages, texts)
    store.add(passages, rows, owners=np.array(owners, np.int64))


def recall(
    store: PgVectorStore, asked: Sequence[Asked], rows: Embeddings, *, words: bool
) -> tuple[float, ...]:
    """Return the shares of questions whose passage is among the first."""
    places = []
    for one, row in zip(asked, rows, strict=True):
        hits = store.search(row, text=one.question if words else None, limit=CUTS[-1])
        ids = [hit.passage.id for hit in hits]
        places.append(ids.index(one.right[0]) if one.right[0] in ids else len(ids))
    return tuple(sum(place < cut for place in places) / len(places) for cut in CUTS)


def measure(
    name: str, embedder: TextEmbedder, data: Path, folder: Path | None
) -> tuple[list[Figures], float]:
    """Measure an embedder; return its figures and how many passages a second it embeds."""
    sets = {code: load_xquad(data / "xquad" / f"xquad.{code}.json") for code in CONFIGURATIONS}
    found: list[Figures] = []
    embedder.embed_passages(["warm"])
    started = time.perf_counter()
    embedder.embed_passages([one.text for one in sets["zh"][0][:TIMED]])
    rate = TIMED / (time.perf_counter() - started)

    def file(what: str) -> Path | None:
        return None if folder is None else folder / f"{name}-{what}.npy"

    questions = {
        code: kept(file(f"{code}-q"), embedder.embed_questions, [one.question for one in asked])
        for code, (_, asked) in sets.items()
    }
    with tempfile.TemporaryDirectory() as place, EmbeddedPostgres(Path(place)) as server:
        migrate(server.dsn)
        for code, (titled, _) in sets.items():
            passages = [replace(one, metadata={}) for one in titled] if code == "zh" else titled
            with PgVectorStore.open(
                server.dsn, collection=code, model_id=embedder.model_id, dim=embedder.dim,
                language=CONFIGURATIONS[code],
            ) as store:  # fmt: skip
                index(store, passages, file(f"{code}-p"), embedder)
                for asked_in, documents in PAIRS:
                    if documents != code:
                        continue
                    asked = sets[asked_in][1]
                    rows = questions[asked_in]
                    same = asked_in == documents
                    found.append(
                        Figures(
                            asked_in,
                            documents,
                            recall(store, asked, rows, words=False),
                            recall(store, asked, rows, words=True) if same else None,
                        )
                    )
    return found, rate


def report(name: str, figures: Sequence[Figures], rate: float) -> list[str]:
    """Return the lines of one embedder."""
    lines = [
        f"## {name}", "", f"{rate:.1f} Chinese paragraphs a second on the CPU.", "",
        "| questions | documents | vector: R@1 | R@4 | vector and words: R@1 | R@4 |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for one in figures:
        cells = [f"{share:.3f}" for share in one.by_vector]
        cells += ["–", "–"] if one.by_words is None else [f"{share:.3f}" for share in one.by_words]
        lines.append(f"| {one.question} | {one.documents} | {' | '.join(cells)} |")
    return [*lines, ""]


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with xquad/")
    parser.add_argument("--out", type=Path, required=True, help="the report")
    parser.add_argument("--kept", type=Path, help="folder for vectors, to go on after a break")
    arguments = parser.parse_args()
    if arguments.kept is not None:
        arguments.kept.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Questions and documents in two languages",
        "",
        f"Made by `python -m benchmarks.speech.languages`, Python {platform.python_version()}.",
        "XQuAD, 1,190 questions, 240 paragraphs.",
        "",
    ]
    embedders: dict[str, TextEmbedder] = {
        "multilingual-e5-small (4 bits)": MultilingualEmbedder(),
        "MiniLM": MiniLMEmbedder(),
    }
    for name, embedder in embedders.items():
        figures, rate = measure(name.split()[0], embedder, arguments.data, arguments.kept)
        lines += report(name, figures, rate)
        if name.startswith("multilingual"):
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            lines += [f"Most memory of the process: {peak} MB.", ""]
            for one in figures:
                bar = BARS.get((one.question, one.documents))
                if bar is not None and one.by_vector < bar:
                    lines.append(f"**Below the bar of {bar}.**")
    arguments.out.write_text("\n".join(lines), "utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
