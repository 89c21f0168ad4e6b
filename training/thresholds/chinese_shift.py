"""How far Chinese texts lie from English ones of the same content in the multilingual embedder.

    python -m training.thresholds.chinese_shift --data DATA --out FILE.npy

The mean difference over XQuAD's first 24 titles, of passages with their sentences and of questions,
in equal parts. `voicerag_core.local.multilingual.embedder.moved` adds it to Chinese texts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.speech.typed_sets import load_xquad
from voicerag_core.chunking import split_sentences
from voicerag_core.local.multilingual.embedder import WEIGHTS, MultilingualEmbedder
from voicerag_core.local.weights.files import weight_path
from voicerag_core.types import Embedding


def mean_vectors(path: Path, embedder: MultilingualEmbedder) -> tuple[Embedding, Embedding]:
    """Return the mean vectors of passages and of questions of one language."""
    passages, asked = load_xquad(path)
    questions = [one for one in asked if one.development]
    wanted = {one.right[0] for one in questions}
    texts: list[str] = []
    for passage in passages:
        if passage.id in wanted:
            parts = split_sentences(passage.text)
            texts += [passage.text, *(parts if len(parts) > 1 else [])]
    return (
        embedder.embed_passages(texts).mean(axis=0),
        embedder.embed_questions([one.question for one in questions]).mean(axis=0),
    )


def main() -> None:
    """Write the shift."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with xquad/")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    embedder = MultilingualEmbedder(weights=weight_path(WEIGHTS))  # vectors that are not moved
    english, chinese = (
        mean_vectors(arguments.data / "xquad" / f"xquad.{code}.json", embedder)
        for code in ("en", "zh")
    )
    shift = sum(one - other for one, other in zip(english, chinese, strict=True)) / 2
    np.save(arguments.out, np.asarray(shift, np.float32))


if __name__ == "__main__":
    main()
