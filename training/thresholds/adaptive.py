"""Choose the thresholds of ``adaptive`` and the speech share of ``hybrid``.

    python -m training.thresholds.adaptive --data DATA --out benchmarks/results/adaptive.md

Development questions of XQuAD are spoken by voices that the encoder was never trained on, clean,
through a telephone and in noise, and in accents that it hears badly; the clips of people look for
their own text. Every clip is searched over all paragraphs in one embedded Postgres, with and
without its transcript. For each the confidence of the speech encoder, the lead of the best passage,
the rank of the right one on every route, and the seconds are recorded; the thresholds are then
swept over these records. Chosen is the fastest pair whose recall is hardly below that of
``hybrid`` (`WORSE` says how far), among clean speech and among all other speech. `SURE_CONFIDENCE`
and `SURE_GAP` in ``voicerag_core.retrieval.strategies`` and `SPEECH_SHARE` in
``voicerag_core.retrieval.fusion`` are set to it by hand.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import pickle
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import platformdirs

from benchmarks.sample import read_rows
from benchmarks.speech.spoken_sets import (
    CLEAN,
    TELEPHONE,
    Clip,
    Item,
    Voice,
    installed_voices,
    people,
    speak,
    spoiled,
)
from voicerag_core import Passage, load_settings, open_voicerag
from voicerag_core.errors import AudioError
from voicerag_core.retrieval import Search, fusion
from voicerag_core.retrieval.strategies import find_by_words
from voicerag_core.stack import OpenedVoiceRAG
from voicerag_core.types import Audio

ACCENTS = ("en-gb-scotland", "en-029", "en-gb-x-gbclan", "en-us-nyc")
"""espeak-ng's Scottish, Caribbean, Lancastrian and New York English; a timbre
of another synthesiser makes them harder to hear."""
NOISY = ("10 dB", "5 dB")
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
CONFIDENCES = tuple(float(one) for one in np.round(np.arange(0.0, 1.0, 0.05), 2))
GAPS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12)
WORSE, WORSE_FIRST, WORSE_ELSEWHERE = 0.01, 0.02, 0.005
"""How far below ``hybrid`` recall may be: R@10 and R@1 of clean speech, and both elsewhere."""
MOST_TIME = 0.6
"""Of the mean time of ``hybrid``, on clean speech."""
MISSED = 99


@dataclass(frozen=True)
class Note:
    """The record of one clip.

    Ranks count from 0; a passage that was not found has rank `MISSED`.
    """

    group: str
    confidence: float
    gap: float
    e2e: int
    asr: int
    hybrid: dict[float, int]
    e2e_seconds: float
    hybrid_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with human/ and noise/")
    parser.add_argument("--voices", type=Path, help="folder written by bundle_voices")
    parser.add_argument("--limit", type=int, default=30, help="questions in every voice")
    parser.add_argument(
        "--clips", type=Path, default=platformdirs.user_cache_path("voicerag") / "adaptive"
    )
    parser.add_argument("--records", type=Path, help="keep what was measured here, and reuse it")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.records is not None and options.records.is_file():
        notes = pickle.loads(options.records.read_bytes())
    else:
        notes = measured(options)
        if options.records is not None:
            options.records.write_bytes(pickle.dumps(notes))
    report = "\n".join(report_of(notes)) + "\n"
    print(report)
    if options.out is not None:
        options.out.write_text(report, encoding="utf-8")


def measured(options: argparse.Namespace) -> list[Note]:
    """Search for every clip on every route."""
    items = development_questions(options.limit)
    groups = groups_of(items, options)
    spoken_by_people = people(options.data) if options.data is not None else []
    with (
        tempfile.TemporaryDirectory() as folder,
        open_voicerag(load_settings(data_dir=folder, speak=False)) as rag,
    ):
        rag.index(
            Passage(row["id"], row["text"], {"title": row["title"]})
            for row in read_rows("passages.jsonl")
        )
        rag.index(Passage(clip.item.id, clip.item.text) for clip in spoken_by_people)
        rag.warm(speech=False)
        note(rag, groups[0][1][0].audio, "", CLEAN)  # the first clip makes the list of words
        return [
            note(rag, clip.audio, clip.item.right, group)
            for group, clips in groups
            for clip in clips
        ]


def development_questions(limit: int) -> list[Item]:
    """Draw XQuAD questions of the development half, the same ones on every machine."""
    items = [
        Item(row["id"], row["question"], row["passage"])
        for row in read_rows("text_questions.jsonl")
        if row["split"] == "dev"
    ]
    return sorted(items, key=lambda item: hashlib.sha256(item.id.encode()).digest())[:limit]


def groups_of(items: Sequence[Item], options: argparse.Namespace) -> list[tuple[str, list[Clip]]]:
    """Return the clips of each group, clean speech first."""
    clean, accents = [], []
    for voice in installed_voices(options.voices):
        if not voice.trained:
            clean += speak(items, voice, options.clips)
    for accent in ACCENTS:
        accents += speak(items[: options.limit // 2], accented(accent), options.clips)
    degraded = spoiled(clean[:: 2 if options.limit > 1 else 1], options.data)
    groups = [(CLEAN, clean), ("accents", accents)]
    groups += [(TELEPHONE, [clip for clip in degraded if clip.condition == TELEPHONE])]
    noisy = [clip for clip in degraded if clip.condition in NOISY]
    if noisy:
        groups.append(("noise", noisy))
    if options.data is not None:
        spoken = people(options.data)
        narrow = [clip for clip in spoiled(spoken, None) if clip.condition == TELEPHONE]
        groups += [("people", spoken), ("people, telephone", narrow)]
    return groups


def accented(accent: str) -> Voice:
    """Return a voice of espeak-ng."""

    @contextlib.contextmanager
    def opened() -> Iterator[object]:
        from training.speech_encoder import voices

        name = f"{accent}+klatt4"
        found = voices.Speaker(voices.Voice("espeak", name, accent, accent, "GPL-3.0-or-later"))
        yield lambda text: Audio(found.speak(text), voices.SAMPLE_RATE_HZ)

    return Voice(f"espeak/{accent}+klatt4", trained=True, open=opened)  # type: ignore[arg-type]


def note(rag: OpenedVoiceRAG, sound: Audio, right: str, group: str) -> Note:
    """Search for one clip on every route."""
    search = Search(rag.embedder, rag.store, rag.transcriber, limit=10)

    def place(hits: Sequence[object]) -> int:
        ids = [hit.passage.id for hit in hits]  # type: ignore[attr-defined]
        return ids.index(right) if right in ids else MISSED

    vector, confidence = search.judge_speech(sound)
    near = () if vector is None else search.candidates(vector, least=2)
    gap = near[0].score - near[1].score if len(near) > 1 else 0.0
    spent = sum(search.timings.values())
    start = time.perf_counter()
    try:
        heard = search.transcribe(sound)
    except AudioError:  # taken for noise: nothing is found
        nothing = dict.fromkeys(SHARES, MISSED)
        more = time.perf_counter() - start
        return Note(group, confidence, gap, place(near), MISSED, nothing, spent, spent + more)
    hybrid = {}
    shares = [*SHARES, fusion.SPEECH_SHARE]  # the last one is timed
    kept = fusion.SPEECH_SHARE
    transcribed = time.perf_counter() - start
    for share in shares:
        fusion.SPEECH_SHARE = share
        start = time.perf_counter()
        hybrid[share] = place(find_by_words(search, heard, vector).hits)
        last = time.perf_counter() - start
    fusion.SPEECH_SHARE = kept
    asr = place(find_by_words(search, heard, None).hits)
    return Note(group, confidence, gap, place(near), asr, hybrid, spent, spent + transcribed + last)


def recall(places: Sequence[int], at: int) -> float:
    return float(np.mean([place < at for place in places]))


def report_of(notes: list[Note]) -> list[str]:
    """Return the tables and the choice."""
    groups = list(dict.fromkeys(one.group for one in notes))
    by_group = {group: [one for one in notes if one.group == group] for group in groups}
    found = {one: recall([n.hybrid[one] for n in notes], 1) for one in SHARES}
    near = [one for one in SHARES if found[one] >= max(found.values()) - WORSE_ELSEWHERE]
    share = min(near, key=lambda one: abs(one - 0.5))
    lines = [f"# Routes on {len(notes)} spoken questions", ""]
    head = ["speech", "n", "e2e", "asr", *(f"hybrid, share {one}" for one in SHARES)]
    lines += ["R@1 / R@10:", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for group, kept in by_group.items():
        routes = [[n.e2e for n in kept], [n.asr for n in kept]]
        routes += [[n.hybrid[one] for n in kept] for one in SHARES]
        cells = [f"{recall(one, 1):.3f} / {recall(one, 10):.3f}" for one in routes]
        lines.append(f"| {group} | {len(kept)} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"Share of the speech vector, the most even of those with the best R@1: {share}.",
        "",
    ]
    lines += [
        "| speech | confidence, right first / wrong | lead, right first / wrong |",
        "|---|---|---|",
    ]
    for group, kept in by_group.items():
        lines.append(f"| {group} | {medians(kept, 'confidence')} | {medians(kept, 'gap')} |")
    clean = by_group[CLEAN]
    rest = [one for one in notes if one.group != CLEAN]
    good = []
    for confidence, gap in product(CONFIDENCES, GAPS):
        first = outcome(clean, share, confidence, gap)
        other = outcome(rest, share, confidence, gap)
        checks = (
            (clean, 1, first[0], WORSE_FIRST),
            (clean, 10, first[1], WORSE),
            (rest, 1, other[0], WORSE_ELSEWHERE),
            (rest, 10, other[1], WORSE_ELSEWHERE),
        )
        enough = all(
            reached >= recall([n.hybrid[share] for n in kept], at) - worse
            for kept, at, reached, worse in checks
        )
        if enough and first[3] <= MOST_TIME:
            good.append((first[3], confidence, gap))
    if not good:
        return [*lines, "", f"No pair is near hybrid in {MOST_TIME} of its time."]
    _, confidence, gap = min(good)
    lines += ["", f"SURE_CONFIDENCE = {confidence}, SURE_GAP = {gap}:", ""]
    lines += ["| speech | R@1 (hybrid) | R@10 (hybrid) | transcribed | mean time / hybrid |"]
    lines += ["|---|---|---|---|---|"]
    for group, kept in by_group.items():
        r1, r10, asked, spent = outcome(kept, share, confidence, gap)
        whole = [n.hybrid[share] for n in kept]
        lines.append(
            f"| {group} | {r1:.3f} ({recall(whole, 1):.3f}) | {r10:.3f} ({recall(whole, 10):.3f}) "
            f"| {asked:.2f} | {spent:.2f} |"
        )
    return lines


def medians(notes: Sequence[Note], field: str) -> str:
    """Return the medians of a field where e2e has the right passage first, and elsewhere."""
    halves = [
        [getattr(n, field) for n in notes if (n.e2e == 0) is right] for right in (True, False)
    ]
    return " / ".join(f"{np.median(half):.3f}" if half else "-" for half in halves)


def outcome(
    notes: Sequence[Note], share: float, confidence: float, gap: float
) -> tuple[float, float, float, float]:
    """Return R@1, R@10, the share transcribed, and the mean time relative to hybrid's."""
    sure = [n.confidence >= confidence and n.gap >= gap for n in notes]
    places = [n.e2e if s else n.hybrid[share] for n, s in zip(notes, sure, strict=True)]
    seconds = [n.e2e_seconds if s else n.hybrid_seconds for n, s in zip(notes, sure, strict=True)]
    whole = float(np.mean([n.hybrid_seconds for n in notes]))
    asked, spent = 1 - float(np.mean(sure)), float(np.mean(seconds)) / whole
    return recall(places, 1), recall(places, 10), asked, spent


if __name__ == "__main__":
    main()
