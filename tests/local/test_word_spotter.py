"""Words of a collection in frames that are made by hand, and in speech."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from voicerag_core.local.hearing.beam_search import beam_search
from voicerag_core.local.hearing.hint_trie import NO_HINT, HintTrie
from voicerag_core.local.hearing.word_spotter import WordSpotter, text_score
from voicerag_core.types import Vocabulary

TOKENS = ("\u2581", *"abcdefghijklmnopqrstuvwxyz", "\u2581t", "\u2581to", "ck")
IDS = {token: number for number, token in enumerate(TOKENS)}
BLANK = len(TOKENS)
RANKS: dict[str, int] = {"the": 0, "lock": 3000}


def frames(
    said: list[str], instead: dict[int, tuple[str, float]] | None = None
) -> NDArray[np.float32]:
    """Frames in which tokens are certain, but for some that may be another one."""
    rows = []
    for place, token in enumerate(said):
        row = np.full(BLANK + 1, 1e-6)
        row[IDS[token] if token else BLANK] = 1.0
        if instead is not None and place in instead:
            other, share = instead[place]
            row[IDS[token]] = 1 - share
            row[IDS[other]] = share
        rows += [row, np.eye(BLANK + 1)[BLANK] * 0.9 + 1e-6]
    table = np.array(rows)
    return np.asarray(np.log(table / table.sum(axis=1, keepdims=True)), np.float32)


def spotter(*words: tuple[str, int]) -> WordSpotter:
    return WordSpotter(Vocabulary(words), TOKENS, RANKS)


def test_a_word_is_found_anywhere_and_how_well() -> None:
    sound = frames(["\u2581", "a", "\u2581to", "ck", "\u2581", "b"])
    found = spotter(("Tock", 1), ("zebra", 1)).spot(sound, 5)
    assert [one.word for one in found] == ["Tock"]
    assert found[0].tokens == (IDS["\u2581to"], IDS["ck"])
    less = spotter(("Tock", 1)).spot(frames(["\u2581to", "ck"], {1: ("a", 0.99)}), 5)
    assert less[0].worth == pytest.approx(found[0].worth + np.log(0.01 / 0.99), abs=0.2)


def test_a_doubled_letter_needs_a_blank_between() -> None:
    said = frames(["\u2581", "z", "o", "o", "e"])
    together = np.delete(said, 5, axis=0)
    assert spotter(("zooe", 1)).spot(said, 1)
    assert not spotter(("zooe", 1)).spot(together, 1)


def test_of_two_that_sound_alike_the_commoner_in_the_collection_comes_first() -> None:
    sound = frames(["\u2581to", "ck"])
    found = spotter(("TOCK", 1), ("Tock", 9)).spot(sound, 5)
    assert [one.word for one in found] == ["Tock"], "one spelling of each, the commonest"
    either = frames(["\u2581", "b", "o", "x"], {1: ("f", 0.5)})
    assert spotter(("box", 1), ("fox", 9)).spot(either, 5)[0].word == "fox"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("EAP", ["\u2581", "e", "\u2581", "a", "\u2581", "p"]),
        ("psf", ["\u2581", "p", "\u2581", "s", "\u2581", "f"]),
        ("E2", ["\u2581", "e", "\u2581t", "w", "o"]),
        ("MiBox", ["\u2581", "m", "i", "\u2581", "b", "o", "x"]),
        ("MiBox", ["\u2581", "m", "i", "b", "o", "x"]),
    ],
)
def test_codes_and_capitals_are_heard_as_they_are_said(word: str, said: list[str]) -> None:
    assert [one.word for one in spotter((word, 1)).spot(frames(said), 5)] == [word]


def test_plain_words_and_other_scripts_are_left_out() -> None:
    assert not spotter(("the", 9), ("\u54ea\u6761", 9)).spot(frames(["\u2581t", "h", "e"]), 5)
    assert not spotter().spot(frames(["\u2581t"]), 5)
    assert not spotter(("Zoe2", 9)).spot(frames(["\u2581", "z", "o", "e", "\u2581t", "w", "o"]), 5)


def test_a_text_fits_the_sound_it_was_said_in_best() -> None:
    sound = frames(["\u2581", "a", "\u2581to", "ck"])
    right, longer, shorter = (
        text_score(text, sound, TOKENS) for text in ("A Tock.", "a tock b", "a")
    )
    assert right == pytest.approx(0.0, abs=0.2)
    assert max(longer, shorter) < right - 5


def test_hints_are_lent_until_the_word_is_finished() -> None:
    to, ck, a = IDS["\u2581to"], IDS["ck"], IDS["a"]
    trie = HintTrie([(to, ck)], TOKENS, bonus=2.0)
    added, begun = trie.after(NO_HINT, to)
    assert (added, begun.lent) == (2.0, 2.0)
    assert trie.after(begun, a) == (-2.0, NO_HINT)
    added, ended = trie.after(begun, ck)
    assert (added, ended.lent) == (2.0, 0.0)
    assert trie.after(ended, a)[0] == 0.0, "what was finished is kept"
    assert trie.after(NO_HINT, ck) == (0.0, NO_HINT), "a word begins at a word's start"


def test_a_hint_decides_between_two_wordings() -> None:
    sound = frames(["\u2581to", "ck"], {1: ("a", 0.8)})
    hints = HintTrie([(IDS["\u2581to"], IDS["ck"])], TOKENS)
    assert beam_search(sound, TOKENS)[0].text == "toa"
    assert beam_search(sound, TOKENS, hints=hints)[0].text == "tock"
