"""What does sorting the passages found anew gain, and what does it cost?

    python -m benchmarks.speech.reranking --data DATA --out FILE.md

`VOICERAG_RERANKER=local`: the network of the reader, which reads a question with a passage, so that
the score of a passage is that of its best sentence, less a part that grows with its place. It has
the size of the cross-encoders that people use for this (MiniLM, 22 million weights). Questions of
the report part of HeySQuAD, HotpotQA and RGB, over one collection; each is asked without the
reranker, and with it over the first 4 (the default) and 20 passages found by vector and words.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.speech.retrieval_figures import estimate
from benchmarks.speech.typed_sets import Asked, CachedEmbedder, load_mixed
from voicerag_core import VoiceRAG, load_settings, open_voicerag
from voicerag_core.local.reading.answer_scorer import AnswerScorer
from voicerag_core.local.reading.reranker import ReaderReranker
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, migrate
from voicerag_core.testing import FakeVoiceModel

FIRST = (0, 4, 20)
"""Passages that are sorted; 0 leaves them as they were found."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with heysquad, hotpotqa, rgb"
    )
    parser.add_argument("--limit", type=int, default=100, help="questions of each set")
    parser.add_argument("--vectors", type=Path, help=".npz file that keeps vectors between runs")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    passages, every = load_mixed(given.data)
    asked: list[Asked] = []
    for name in dict.fromkeys(one.set for one in every):
        own = [one for one in every if one.set == name and not one.development]
        asked += own[:: max(1, len(own) // given.limit)][: given.limit]
    with (
        tempfile.TemporaryDirectory() as folder,
        open_voicerag(load_settings(data_dir=Path(folder), speak=False)) as opened,
        EmbeddedPostgres(Path(folder) / "sets") as server,
    ):
        embedder = CachedEmbedder(opened.embedder, given.vectors)
        migrate(server.dsn)
        with PgVectorStore.open(server.dsn, model_id=embedder.model_id, dim=embedder.dim) as store:
            VoiceRAG(embedder, store, FakeVoiceModel(), sentence_vectors=True).index(passages)
            embedder.keep()
            text = "\n".join(report(asked, embedder, store, len(passages))) + "\n"
    print(text)
    if given.out is not None:
        given.out.write_text(text, encoding="utf-8")


def report(
    asked: Sequence[Asked], embedder: CachedEmbedder, store: PgVectorStore, passages: int
) -> list[str]:
    """Ask every question in every way, and return the table."""
    lines = [
        "# Passages sorted anew",
        "",
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} shared x86-64 cores. Command:",
        "",
        "    python -m benchmarks.speech.reranking --data DATA",
        "",
        f"{passages:,} passages in one collection; typed questions, 95 % intervals.",
        "",
        "| set | n | sorted | R@1 | R@4 | seconds, p50 / p95 |",
        "|---|---|---|---|---|---|",
    ]
    reranker = ReaderReranker(AnswerScorer())
    reranker.score("Warm?", ["It is warm."])
    for name in dict.fromkeys(one.set for one in asked):
        own = [one for one in asked if one.set == name]
        for first in FIRST:
            rag = VoiceRAG(
                embedder, store, FakeVoiceModel(), strategy="asr",
                reranker=reranker if first else None, reranked=max(first, 1),
            )  # fmt: skip
            found = [rag.retrieve(one.question, limit=4) for one in own]
            ids = [[hit.passage.id for hit in one.hits] for one in found]
            recalls = [
                str(estimate([float(bool({*hits[:cut]} & {*one.right}))
                              for one, hits in zip(own, ids, strict=True)]))
                for cut in (1, 4)
            ]  # fmt: skip
            spent = [one.timings.get("rerank", 0.0) for one in found]
            times = f"{np.median(spent):.2f} / {np.quantile(spent, 0.95):.2f}" if first else "–"
            sorted_ = f"first {first}" if first else "no"
            lines.append(f"| {name} | {len(own)} | {sorted_} | {' | '.join(recalls)} | {times} |")
    return lines


if __name__ == "__main__":
    main()
