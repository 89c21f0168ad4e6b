"""The reading of CTC frames: against all paths on small cases, and for its work on a large one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tests.local import tones
from voicerag_core.local.hearing import beam_search as ctc
from voicerag_core.local.hearing.beam_search import Hypothesis, beam_search, greedy, spelled
from voicerag_core.local.hearing.ctc_recognizer import CTCRecognizer

PIECES = ["▁a", "b", "▁c"]


def frames_of(*rows: list[float]) -> np.ndarray:
    """Make log-probabilities [S, V + 1] of probabilities."""
    table = np.array(rows, np.float64)
    logs: np.ndarray = np.log(table / table.sum(axis=1, keepdims=True) + 1e-30)
    return logs.astype(np.float32)


def random_frames(seed: int, length: int, pieces: int = len(PIECES)) -> np.ndarray:
    logits = 2.0 * np.random.default_rng(seed).standard_normal((length, pieces + 1))
    return (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)


def every_text(log_probs: np.ndarray, pieces: list[str]) -> dict[str, float]:
    """Return the natural-log probability of every text, summed over all of its paths."""
    found: dict[str, float] = {}
    for path in itertools.product(range(len(pieces) + 1), repeat=len(log_probs)):
        symbols = [symbol for symbol, _ in itertools.groupby(path) if symbol != len(pieces)]
        text = spelled(pieces[symbol] for symbol in symbols)
        score = float(log_probs[np.arange(len(path)), path].sum())
        found[text] = float(np.logaddexp(found.get(text, -math.inf), score))
    return found


def test_the_best_path_loses_repeats_and_blanks() -> None:
    a, b, c, blank = np.eye(4).tolist()
    best = greedy(frames_of(blank, a, a, blank, a, b, b, blank, c, blank), PIECES)
    assert best.text == "a ab c"
    assert best.token_log_prob == pytest.approx(0, abs=1e-6)
    assert best.log_prob == pytest.approx(0, abs=1e-5)


def test_the_judgement_is_the_mean_over_the_peaks_of_the_pieces() -> None:
    best = greedy(
        frames_of([0.6, 0, 0, 0.4], [0.9, 0, 0, 0.1], [0, 0, 0, 1], [0, 0.5, 0.1, 0.4]), PIECES
    )
    assert best.text == "ab"
    assert best.token_log_prob == pytest.approx((math.log(0.9) + math.log(0.5)) / 2, abs=1e-5)


def test_silence_has_no_words() -> None:
    silent = frames_of(*[[0.0, 0.0, 0.0, 1.0]] * 5)
    best = greedy(silent, PIECES)
    assert best == Hypothesis("", best.log_prob, -math.inf)
    assert best.log_prob == pytest.approx(0)
    assert [one.text for one in beam_search(silent, PIECES, most=3)] == [""]
    nothing = np.zeros((0, 4), np.float32)
    assert greedy(nothing, PIECES).text == ""
    assert [one.text for one in beam_search(nothing, PIECES)] == [""]


@pytest.mark.parametrize("seed", range(8))
def test_a_wide_search_finds_the_likeliest_texts(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctc, "LEAST_PROBABILITY", 1e-12)
    log_probs = random_frames(seed, 6)
    right = every_text(log_probs, PIECES)
    found = beam_search(log_probs, PIECES, beams=2000, most=10)
    assert {one.text: one.log_prob for one in found} == pytest.approx(
        {text: right[text] for text in sorted(right, key=lambda t: -right[t])[:10]}, abs=1e-4
    )
    assert [one.log_prob for one in found] == sorted([one.log_prob for one in found], reverse=True)


@pytest.mark.parametrize("seed", range(8))
def test_a_narrow_search_is_no_worse_than_the_best_path(seed: int) -> None:
    log_probs = random_frames(seed, 7)
    right = every_text(log_probs, PIECES)
    best = beam_search(log_probs, PIECES, beams=4)[0].text
    assert right[best] >= right[greedy(log_probs, PIECES).text] - 1e-5


def test_many_paths_outweigh_the_best_one() -> None:
    # Graves' example: the likeliest path is silence, the likeliest text is not.
    log_probs = frames_of([0.4, 0, 0, 0.6], [0.4, 0, 0, 0.6])
    assert greedy(log_probs, PIECES).text == ""
    assert beam_search(log_probs, PIECES)[0].text == "a"


def test_a_language_model_decides_between_words_that_sound_alike() -> None:
    pieces = ["▁the", "▁river", "▁reever", "▁rises", "▁a"]
    texts = [["▁the", "▁river", "▁rises"]] * 5 + [["▁a", "▁reever"]] * 5
    model = tones.piece_model(texts, pieces)
    the, river_or_reever, rises = (
        [1, 0, 0, 0, 0, 0.0],
        [0, 0.4, 0.5, 0, 0, 0.1],
        [0, 0, 0, 1, 0, 0.0],
    )
    log_probs = frames_of(the, river_or_reever, rises)
    assert beam_search(log_probs, pieces)[0].text == "the reever rises"
    assert beam_search(log_probs, pieces, model=model)[0].text == "the river rises"


def test_how_a_text_ends_counts_too() -> None:
    pieces = ["▁the", "▁river", "▁reever"]
    texts = [["▁the", "▁river", "▁the", "▁reever"]] * 9
    model = tones.piece_model(texts, pieces)
    log_probs = frames_of([1, 0, 0, 0.0], [0, 0.55, 0.45, 0])
    assert beam_search(log_probs, pieces)[0].text == "the river"
    assert beam_search(log_probs, pieces, model=model)[0].text == "the reever"


def test_the_score_is_that_of_sound_model_and_bonus() -> None:
    pieces = ["▁a", "b"]
    model = tones.piece_model([["▁a", "b"], ["▁a"]], pieces)
    (one,) = beam_search(frames_of([1, 0, 0.0], [0, 1, 0.0]), pieces, model=model)
    first, after = model.log_prob(model.begin, 0)
    second, after = model.log_prob(after, 1)
    end, _ = model.log_prob(after, model.end)
    own = model.unigrams[0] + model.unigrams[1]
    expected = ctc.MODEL_WEIGHT * (first + second + end - ctc.PRIOR_SHARE * own)
    assert one.log_prob == pytest.approx(expected + 2 * ctc.TOKEN_BONUS, abs=1e-3)


def speech_like(seconds: float, pieces: int) -> np.ndarray:
    """Make frames as a trained network gives: mostly blank, peaks that are now and then unsure."""
    draw = np.random.default_rng(5)
    length = round(50 * seconds)
    logits = draw.standard_normal((length, pieces + 1))
    logits[:, pieces] += 12
    for frame in range(3, length, 6):
        logits[frame, draw.integers(pieces)] += 17
        if draw.random() < 0.5:
            logits[frame, draw.integers(pieces, size=4)] += 15
    return (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def grown(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The pieces that a search tried to go on with: what its time goes by."""
    tried: list[int] = []
    grow = ctc._Prefixes.grown

    def noted(self: ctc._Prefixes, node: int, piece: int) -> int:
        tried.append(piece)
        return grow(self, node, piece)

    monkeypatch.setattr(ctc._Prefixes, "grown", noted)
    return tried


def test_pieces_are_tried_only_where_something_is_said(grown: list[int]) -> None:
    log_probs = speech_like(5.0, 1500)
    pieces = [f"▁{i}" if i % 2 else str(i) for i in range(1500)]
    model = CTCRecognizer(threads=2)._loaded().language
    assert model is not None
    found = beam_search(log_probs, pieces, model=model, most=4)
    assert len({one.text for one in found}) == 4
    spoken = int((log_probs[:, 1500] < math.log(0.5)).sum())
    assert spoken < len(log_probs) / 4
    assert len(grown) <= 5 * ctc.BEAMS * spoken, "five pieces at most stand out in a peak"


def test_a_frame_in_which_nothing_is_likely_is_passed_over() -> None:
    flat = np.full((3, 3001), -math.log(3000), np.float32)
    flat[:, 3000] = -1000  # no silence either
    flat[1, :] = -1000
    flat[1, 7] = 0
    assert [one.text for one in beam_search(flat, [f"▁{i}" for i in range(3000)])] == ["7"]


def test_a_flat_network_takes_no_more_than_its_share(grown: list[int]) -> None:
    log_probs = random_frames(1, 250, 1500)
    pieces = [f"▁{i}" for i in range(1500)]
    beam_search(log_probs, pieces, most=4)
    assert len(grown) <= 250 * ctc.BEAMS * ctc.MOST_TOKENS
