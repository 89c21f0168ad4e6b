"""The word model: probabilities that add up, and files that are refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from voicerag_core.errors import CheckpointError
from voicerag_core.local.ngram import WordBigrams

SENTENCES = [
    "who discovered penicillin",
    "who discovered oxygen",
    "who painted the ceiling",
    "where does the rhine rise",
    "where does the rhine end",
    "when does the bakery open",
]


def test_what_follows_a_word_adds_up_to_one() -> None:
    model = WordBigrams.from_sentences(SENTENCES, least_word=1, least_pair=1)
    for word in ("<s>", "who", "the", "rhine"):
        first = 0 if word == "<s>" else model.number(word)
        total = sum(math.exp(model.log_prob(first, second)) for second in range(len(model.words)))
        assert total == pytest.approx(1, abs=1e-3)


def test_pairs_that_were_met_are_likelier() -> None:
    model = WordBigrams.from_sentences(SENTENCES, least_word=1, least_pair=1)
    the, rhine, who = (model.number(word) for word in ("the", "rhine", "who"))
    assert model.log_prob(the, rhine) > model.log_prob(the, who)
    assert model.log_prob(model.begin, who) > model.log_prob(model.begin, rhine)
    assert model.log_prob(model.number("open"), model.end) > model.log_prob(the, model.end)


def test_rare_words_and_pairs_are_left_out() -> None:
    model = WordBigrams.from_sentences(SENTENCES, least_word=2, least_pair=2)
    assert model.words[:3] == ["<s>", "</s>", "<unk>"]
    assert set(model.words[3:]) == {"who", "discovered", "where", "does", "the", "rhine"}
    assert model.number("penicillin") == model.number("never heard") == 2
    the, bakery = model.number("the"), model.number("bakery")
    assert model.log_prob(the, bakery) < model.log_prob(the, model.number("rhine"))


def test_a_saved_model_says_the_same(tmp_path: Path) -> None:
    model = WordBigrams.from_sentences(SENTENCES, least_word=1, least_pair=1)
    path = tmp_path / "words.npz"
    model.save(path)
    again = WordBigrams.load(path)
    assert again.words == model.words
    for first in range(len(model.words)):
        for second in range(1, len(model.words)):
            assert again.log_prob(first, second) == pytest.approx(
                model.log_prob(first, second), abs=0.01
            )


def test_files_that_are_no_word_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "words.npz"
    path.write_bytes(b"not a zip")
    with pytest.raises(CheckpointError, match="not a word model"):
        WordBigrams.load(path)
    np.savez(path, words=np.zeros(3, np.uint8))
    with pytest.raises(CheckpointError, match="not a word model") as caught:
        WordBigrams.load(path)
    assert caught.value.__cause__ is not None
    model = WordBigrams.from_sentences(SENTENCES)
    model._unigram = model._unigram[:-1]
    model.save(path)
    with pytest.raises(CheckpointError, match="do not fit"):
        WordBigrams.load(path)
