"""Choose the thresholds of ``adaptive`` and the speech share of ``hybrid``.

    python -m training.thresholds.adaptive --split dev --out benchmarks/results/adaptive.md

Every spoken question of the sample passes both routes over all of its paragraphs in one embedded
Postgres. For each question the confidence of the speech encoder, the lead of the best passage, the
rank of the right one on every route, and the seconds are recorded; the thresholds are then swept
over these records. The pair printed last is the fastest of those whose recall is at most one
question in a hundred below that of ``hybrid``; `SURE_CONFIDENCE` and `SURE_GAP` in
``voicerag_core.retrieval.strategies`` are set to it by hand. Choose only on development questions:
others are added with ``--questions FILE.jsonl``, in the format of the sample.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from voicerag_core import (
    Audio,
    AudioError,
    Passage,
    Strategy,
    load_settings,
    open_voicerag,
    read_audio,
)
from voicerag_core.local.embedder import HearingEmbedder
from voicerag_core.retrieval import fusion
from voicerag_core.stack import OpenedVoiceRAG

AT = 5
"""A question counts as answered if the right passage is among the first this many."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
CONFIDENCES = tuple(np.round(np.arange(0.0, 1.0, 0.05), 2))
GAPS = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08)
WORSE = 0.01


@dataclass(frozen=True)
class Note:
    """The record of one question.

    Ranks count from 0; a passage that was not found has rank 99.
    """

    confidence: float
    gap: float
    e2e: int
    asr: int
    hybrid: dict[float, int]
    e2e_seconds: float
    asr_seconds: float
    hybrid_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=Path, default=Path("examples/sample"))
    parser.add_argument("--questions", type=Path, action="append")
    parser.add_argument("--split", default=None, help="use only questions of this split")
    parser.add_argument("--limit", type=int, default=None, help="use only this many questions")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    asked = questions([options.sample / "questions.jsonl", *(options.questions or ())])
    asked = [row for row in asked if options.split in (None, row.get("split"))][: options.limit]
    with (
        tempfile.TemporaryDirectory() as folder,
        open_voicerag(load_settings(data_dir=folder, strategy="hybrid", speak=False)) as rag,
    ):
        rag.index(passages(options.sample / "passages.jsonl"))
        rag.warm(speech=False)
        notes = [note(rag, row["sound"], row["passage"]) for row in asked]
    report = "\n".join(report_of(notes))
    print(report)
    if options.out is not None:
        options.out.write_text(report + "\n", encoding="utf-8")


def questions(files: list[Path]) -> list[dict[str, Any]]:
    rows = []
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            row["sound"] = read_audio(file.parent / row["audio"])
            rows.append(row)
    return rows


def passages(file: Path) -> list[Passage]:
    rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [Passage(row["id"], row["text"], {"title": row.get("title", "")}) for row in rows]


def note(rag: OpenedVoiceRAG, sound: Audio, right: str) -> Note:
    """Ask one question on every route."""
    embedder = rag.embedder
    assert isinstance(embedder, HearingEmbedder)
    confidence = float(embedder.embed_speech_scored([sound])[1][0])
    seconds: dict[str, float] = {}

    def place(strategy: Strategy) -> tuple[int, float]:
        start = time.perf_counter()
        try:
            hits = rag.retrieve(sound, strategy=strategy, limit=10).hits
        except AudioError:  # classified as noise: nothing is found
            hits = ()
        seconds[strategy] = time.perf_counter() - start
        ids = [hit.passage.id for hit in hits]
        gap = hits[0].score - hits[1].score if len(hits) > 1 else 1.0
        return (ids.index(right) if right in ids else 99), gap

    e2e, gap = place("e2e")
    asr, _ = place("asr")
    hybrid = {}
    for share in SHARES:
        fusion.SPEECH_SHARE = share
        hybrid[share] = place("hybrid")[0]
    return Note(
        confidence, gap, e2e, asr, hybrid, seconds["e2e"], seconds["asr"], seconds["hybrid"]
    )


def recall(places: list[int], at: int = AT) -> float:
    return float(np.mean([place < at for place in places]))


def report_of(notes: list[Note]) -> list[str]:
    """Return the tables and the choice."""
    share = max(
        SHARES, key=lambda one: (recall([n.hybrid[one] for n in notes], 1), -abs(one - 0.5))
    )
    lines = [f"# Routes on {len(notes)} spoken questions", ""]
    lines += ["| route | R@1 | R@5 | seconds, median |", "|---|---|---|---|"]
    rows = [("e2e", [n.e2e for n in notes], [n.e2e_seconds for n in notes])]
    rows += [("asr", [n.asr for n in notes], [n.asr_seconds for n in notes])]
    rows += [
        (
            f"hybrid, speech share {one}",
            [n.hybrid[one] for n in notes],
            [n.hybrid_seconds for n in notes],
        )
        for one in SHARES
    ]
    for name, places, seconds in rows:
        found = f"{recall(places, 1):.3f} | {recall(places):.3f}"
        lines.append(f"| {name} | {found} | {np.median(seconds):.3f} |")
    lines += ["", f"Best share of the speech vector by R@1: {share}.", ""]
    lines += ["| confidence ≥ | gap ≥ | R@1 | R@5 | transcribed | mean time / hybrid |"]
    lines += ["|---|---|---|---|---|---|"]
    aim = recall([n.hybrid[share] for n in notes], 1) - WORSE
    whole = float(np.mean([n.hybrid_seconds for n in notes]))
    tried = [(*outcome(notes, share, c, g, whole), c, g) for c, g in product(CONFIDENCES, GAPS)]
    good = [one for one in tried if one[0] >= aim] or tried
    for first, fifth, asked, spent, c, g in sorted(tried, key=lambda one: (one[4], one[5])):
        lines.append(f"| {c} | {g} | {first:.3f} | {fifth:.3f} | {asked:.2f} | {spent:.2f} |")
    best = min(good, key=lambda one: (one[3], -one[0]))
    chosen = f"SURE_CONFIDENCE = {best[4]}, SURE_GAP = {best[5]}"
    reached = f"R@1 {best[0]:.3f} against {aim + WORSE:.3f}, {best[3]:.2f} of the time"
    return [*lines, "", f"{chosen}: {reached}."]


def outcome(
    notes: list[Note], share: float, confidence: float, gap: float, whole: float
) -> tuple[float, float, float, float]:
    """Return R@1, R@5, the share transcribed, and the mean time relative to hybrid's."""
    sure = [n.confidence >= confidence and n.gap >= gap for n in notes]
    places = [n.e2e if s else n.hybrid[share] for n, s in zip(notes, sure, strict=True)]
    seconds = [n.e2e_seconds if s else n.hybrid_seconds for n, s in zip(notes, sure, strict=True)]
    asked, spent = 1 - float(np.mean(sure)), float(np.mean(seconds)) / whole
    return recall(places, 1), recall(places), asked, spent


if __name__ == "__main__":
    main()
