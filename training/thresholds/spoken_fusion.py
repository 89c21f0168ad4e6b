"""How ``hybrid`` makes one ranking of sound, transcript and words, and what else was tried.

    python -m training.thresholds.spoken_fusion --data DATA --out FILE.md

Development questions of four sets are heard once (`training.thresholds.spoken_legs`); every way is
then a few lines over what the legs say of the passages. Nothing that `voicerag eval` reports on is
read. Three tables: what each leg knows among passages on one subject, whether a lead of the best
passage means anything, and every way beside the one in use. Chosen before: `SPEECH_SHARE` by
`training.thresholds.adaptive`, the weight of words by `training.thresholds.word_fusion`.
"""

from __future__ import annotations

import argparse
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np
import platformdirs
from numpy.typing import NDArray

from benchmarks import chart
from training.thresholds.spoken_legs import Heard, Legs, Scores, heard, legs
from voicerag_core.evaluation.speech.degrading import CLEAN

Way: TypeAlias = Callable[[Legs], Scores]
Group: TypeAlias = tuple[str, str, str]
"""Set, store, and "clean" or "hard"."""

USED = "in use"
NEAR = 10
"""Passages of each leg by which scores are made comparable."""
RANK_OFFSET = 60
LEADS = (0.0, 0.02, 0.05, 0.1, 0.15, np.inf)
SAMPLES = 2000


def used(one: Legs) -> Scores:
    """Sum cosine and share, as the store does."""
    return one.both + one.share


def by_sound(one: Legs) -> Scores:
    """Return the cosines of the sound; of the transcript where no speech was heard."""
    return one.transcript if one.sound is None else one.sound


def by_transcript(one: Legs) -> Scores:
    """Rank as ``asr`` does."""
    return one.transcript + one.share


def weighing(weight: float) -> Way:
    """Weigh the words."""
    return lambda one: one.both + weight * one.share


def summed(share: float) -> Way:
    """Take the cosines of sound and transcript apart, and mix these."""
    return lambda one: share * by_sound(one) + (1 - share) * one.transcript + one.share


def rare(one: Legs) -> Scores:
    """Divide the words' part by that of words which stand in one passage each."""
    most = len(one.rarity) * np.log(1 + len(one.right))
    return np.asarray(one.both + one.rarity @ one.filled / max(most, 1e-9))


def without_common(one: Legs) -> Scores:
    """Let words that stand in every passage weigh nothing."""
    rarity = np.log(1 / np.maximum(one.spread, 1e-9))
    return np.asarray(one.both + rarity @ one.filled / max(float(rarity.sum()), 1e-9))


def standardised(weight: float) -> Way:
    """Measure cosine and share by their spread among the best of both."""

    def scores(one: Legs) -> Scores:
        share = one.share
        near = np.union1d(np.argsort(-one.both)[:NEAR], np.argsort(-share)[:NEAR])
        parts = [(part - part[near].mean()) / max(float(part[near].std()), 1e-3)
                 for part in (one.both, share)]  # fmt: skip
        return np.asarray(parts[0] + weight * parts[1])

    return scores


def reciprocal(one: Legs) -> Scores:
    """Sum the reciprocal ranks of sound and ``asr``."""
    total = np.zeros(len(one.right))
    for scores in (by_sound(one), by_transcript(one)):
        best = np.argsort(-scores, kind="stable")[:NEAR]
        total[best] += 1 / (RANK_OFFSET + np.arange(len(best)))
    return total


def of_a_leg(one: Legs) -> Scores:
    """Put only a passage first that a leg has first."""
    scores = used(one)
    firsts = [int(np.argmax(leg(one))) for leg in (by_sound, by_transcript)]
    return promoted(scores, max(firsts, key=lambda place: float(scores[place])))


def keeping(leg: Way, least: float) -> Way:
    """Keep the first place of a leg that leads by so much."""

    def scores(one: Legs) -> Scores:
        own = leg(one)
        return promoted(used(one), int(np.argmax(own))) if lead(own) >= least else used(one)

    return scores


def promoted(scores: Scores, place: int) -> Scores:
    """Return the scores with one passage ahead of all others."""
    changed = scores.copy()
    changed[place] = scores.max() + 1
    return changed


def lead(scores: Scores) -> float:
    """Say by how much the best passage leads."""
    best = np.sort(scores)[::-1]
    return float(best[0] - best[1]) if len(best) > 1 else float(best[0])


WAYS: Mapping[str, Way] = {
    USED: used,
    "sound alone (`e2e`)": by_sound,
    "`asr`": by_transcript,
    "vectors alone": weighing(0),
    **{f"words weigh {weight}": weighing(weight) for weight in (0.5, 0.6, 0.75, 0.9, 1.4)},
    **{f"cosines mixed, of the sound {share}": summed(share) for share in (0.5, 0.75)},
    "words over the rarest possible": rare,
    "words of every passage weigh nothing": without_common,
    "by the spread, words 0.5": standardised(0.5),
    "by the spread, words 1": standardised(1.0),
    "reciprocal ranks of the legs": reciprocal,
    "the first is that of a leg": of_a_leg,
    **{f"sound's first kept from a lead of {one}": keeping(by_sound, one)
       for one in (0.05, 0.08, 0.1, 0.11, 0.12, 0.15)},
    "first of `asr` kept from a lead of 0.1": keeping(by_transcript, 0.1),
}  # fmt: skip
"""Every way that was tried, by name."""

LEGS: Mapping[str, Way] = {
    "sound": by_sound,
    "transcript's vector": lambda one: one.transcript,
    "words": lambda one: one.share,
    "`asr`": by_transcript,
    USED: used,
}
"""What the ranking is made of, and itself."""


def group_of(one: Legs) -> Group:
    """Return what a question is counted with."""
    return one.set, one.store, "clean" if one.clip.form == CLEAN else "hard"


def places(asked: Sequence[Legs], way: Way) -> NDArray[np.int64]:
    """Return for each question how many passages stand before the first right one."""
    found = []
    for one in asked:
        order = np.argsort(-way(one), kind="stable")
        found.append(int(np.argmax(one.right[order])))
    return np.array(found)


def told_apart(asked: Sequence[Legs], way: Way) -> float:
    """Return how often a right passage stands before a wrong one, mean over the questions."""
    shares = []
    for one in asked:
        scores = way(one)
        right, wrong = scores[one.right][:, None], scores[~one.right][None]
        if right.size and wrong.size:
            shares.append(float(((right > wrong) + 0.5 * (right == wrong)).mean()))
    return float(np.mean(shares))


def means_by_set(
    asked: Sequence[Legs], values: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return the mean of each question of each set: its clips are not independent."""
    kept: dict[str, dict[str, list[float]]] = {}
    for one, value in zip(asked, values, strict=True):
        kept.setdefault(one.set, {}).setdefault(one.clip.question, []).append(float(value))
    return {
        name: np.array([np.mean(clips) for clips in questions.values()])
        for name, questions in kept.items()
    }


def ahead(asked: Sequence[Legs], values: NDArray[np.float64]) -> str:
    """Return the mean difference over the sets in points, with its bootstrap interval."""
    sets = list(means_by_set(asked, values).values())
    drawn = np.random.default_rng(0)
    means = [
        np.mean([one[drawn.integers(len(one), size=len(one))].mean() for one in sets])
        for _ in range(SAMPLES)
    ]
    low, high = np.percentile(means, (2.5, 97.5))
    mean = float(np.mean([one.mean() for one in sets]))
    return f"{100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def left_out(asked: Sequence[Legs], found: Mapping[str, NDArray[np.int64]]) -> list[list[str]]:
    """Choose a way by three sets each, and say what it changes on the fourth."""
    first = {
        name: {key: float(one.mean()) for key, one in
               means_by_set(asked, (ranks < 1).astype(float)).items()}
        for name, ranks in found.items()
    }  # fmt: skip
    rows = []
    for out in first[USED]:
        best = max(first, key=lambda name: sum(v for key, v in first[name].items() if key != out))
        rows.append([out, best, f"{100 * (first[best][out] - first[USED][out]):+.1f}"])
    return rows


def report(asked: Sequence[Legs], date: str) -> list[str]:
    """Return the lines of the report."""
    groups: dict[Group, list[Legs]] = {}
    for one in asked:
        groups.setdefault(group_of(one), []).append(one)
    named = {key: f"{key[0]}, {key[1]}, {key[2]} ({len(own)})" for key, own in groups.items()}
    lines = ["# How sound, transcript and words make one ranking", ""]
    lines += [f"{date}. Spoken development questions in which words were made out. Command:", ""]
    lines += ["    python -m training.thresholds.spoken_fusion --data DATA", ""]
    lines += ["## What a leg knows among a question's own ten passages", ""]
    lines += ["How often a right passage stands before a wrong one (0.5: chance), and R@1. RGB's"]
    lines += ["passages are all about what is asked; each of HotpotQA's is about another thing."]
    lines += ["", *known_by_legs({key: own for key, own in groups.items() if key[1] == "own"})]
    lines += ["## Does a lead mean anything?", ""]
    lines += ["R@1 by the lead of the best passage over the next, and how many questions have it."]
    lines += ["", *by_lead({named[key]: own for key, own in groups.items()})]
    found = {name: places(asked, way) for name, way in WAYS.items()}
    lines += ["## Ways", "", "R@1 / R@10; ahead of the one in use: mean over the sets, in points,"]
    lines += ["with 95 % bootstrap intervals over questions.", ""]
    lines += compared(asked, found, named)
    lines += ["Chosen by R@1 on three sets and measured on the fourth, in points ahead of the one"]
    lines += ["in use:", ""]
    return lines + chart.table(["set left out", "chosen", "ahead"], left_out(asked, found))


def known_by_legs(groups: Mapping[Group, Sequence[Legs]]) -> list[str]:
    """Return the table of what each leg knows."""
    rows = [["chance", *(f"0.500 / {np.mean([one.right.mean() for one in own]):.3f}"
                         for own in groups.values())]]  # fmt: skip
    for name, way in LEGS.items():
        cells = [f"{told_apart(own, way):.3f} / {(places(own, way) < 1).mean():.3f}"
                 for own in groups.values()]  # fmt: skip
        rows.append([name, *cells])
    return chart.table(["leg", *(f"{key[0]} ({len(own)})" for key, own in groups.items())], rows)


def by_lead(groups: Mapping[str, Sequence[Legs]]) -> list[str]:
    """Return the table of R@1 by lead."""
    bounds = list(pairwise(LEADS))
    rows = []
    for name, asked in groups.items():
        leads = np.array([lead(used(one)) for one in asked])
        right = places(asked, used) < 1
        cells = []
        for low, high in bounds:
            inside = (leads >= low) & (leads < high)
            cells.append(f"{right[inside].mean():.2f} ({inside.sum()})" if inside.any() else "-")
        rows.append([name, *cells])
    heads = [f"from {low}" if high == np.inf else f"{low} to {high}" for low, high in bounds]
    return chart.table(["questions", *heads], rows)


def compared(
    asked: Sequence[Legs], found: Mapping[str, NDArray[np.int64]], named: Mapping[Group, str]
) -> list[str]:
    """Return the table of all ways."""
    keys = np.array([named[group_of(one)] for one in asked])
    rows = []
    for name, ranks in found.items():
        cells = []
        for group in named.values():
            own = ranks[keys == group]
            cells.append(f"{(own < 1).mean():.3f} / {(own < NEAR).mean():.3f}")
        gains = [
            ahead(asked, (ranks < cut).astype(float) - (found[USED] < cut)) for cut in (1, NEAR)
        ]
        rows.append([name, *cells, *(gains if name != USED else ("", ""))])
    return chart.table(["way", *named.values(), "R@1 ahead", "R@10 ahead"], rows)


def main() -> None:
    """Hear, try, and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the published sets")
    parser.add_argument(
        "--data-dir", type=Path, default=platformdirs.user_cache_path("voicerag") / "fusion",
        help="keeps clips and database",
    )  # fmt: skip
    parser.add_argument("--heard", type=Path, help="keep what was heard here, and reuse it")
    parser.add_argument("--out", type=Path, help="Markdown file; remarks in it are kept")
    given = parser.parse_args()
    bases: list[Heard] = []
    if given.heard is not None and given.heard.is_file():
        bases = pickle.loads(given.heard.read_bytes())
    else:
        bases = list(heard(given.data, given.data_dir))
        if given.heard is not None:
            given.heard.write_bytes(pickle.dumps(bases))
    lines = report(list(legs(bases)), time.strftime("%Y-%m-%d"))
    print("\n".join(lines))
    if given.out is not None:
        chart.write_text(given.out, lines)


if __name__ == "__main__":
    main()
