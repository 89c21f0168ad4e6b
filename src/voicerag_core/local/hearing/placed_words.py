"""Puts words of a collection in the places of a transcript where they may have been said.

A recogniser that does not know a word writes others that sound like it, often more of them or
fewer: "day schooling" for "descaling", "your big into" for "a bigint". Each word is put in place of
every run of words of the transcript, the text as a whole is laid over the frames of a CTC network,
and the place in which it fits best is kept. Nothing is written out for that: the best paths of all
beginnings and of all ends of the transcript are computed once, and the words run between them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicerag_core.local.hearing.word_spotter import Spotted, lost_in, said_as

__all__ = ["Placed", "placed_words"]

MOST_REPLACED = 4
"""Words of a transcript that one word may stand for."""
ANYTHING = -0.5
"""What a frame loses in a word that is not compared with the sound, such as a number."""

_ANY = -1
_NEVER = np.float32(-1e4)
_EDGES = re.compile(r"^(\W*)(.*?)(\W*)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Placed:
    """A transcript with a word of a collection put in.

    Args:
        text: It.
        word: The word.
        score: What the best path of the text loses against the most likely symbols, at most 0.
        plain: The same of the transcript as it was.
    """

    text: str
    word: Spotted
    score: float
    plain: float


def placed_words(
    text: str, words: Sequence[Spotted], log_probs: NDArray[np.float32], tokens: Sequence[str]
) -> list[Placed]:
    """Return a transcript with each word in the place where it fits the sound best.

    Words that the transcript has are left out.

    Args:
        text: The transcript.
        words: Words that may have been said instead of some of it.
        log_probs: [S, V + 1], natural logarithm, the last column is the blank.
        tokens: The V tokens of the network.
    """
    written = text.split()
    known = {_inner(one).lower() for one in written}
    new = [one for one in words if one.word.lower() not in known]
    lost = lost_in(log_probs)
    if not written or not new or not len(lost):
        return []
    paths = [_path(one, tokens) for one in written]
    before = _ways(paths, lost)
    after = _ways([path[::-1] for path in reversed(paths)], lost[::-1])[::-1, ::-1]
    plain = float(before[-1, -1])
    scores = _between(before, [one.tokens for one in new], lost)  # [W, I, F + 1]
    found = []
    for word, ended in zip(new, scores, strict=True):
        best, first, last = float(_NEVER), 0, 0
        for start in range(len(written)):
            for end in range(start + 1, min(start + MOST_REPLACED, len(written)) + 1):
                total = float((ended[start] + after[end]).max())
                if total > best:
                    best, first, last = total, start, end
        found.append(Placed(_replaced(written, first, last, word.word), word, best, plain))
    return found


def _inner(word: str) -> str:
    match = _EDGES.match(word)
    return match[2] if match else word


def _replaced(written: Sequence[str], first: int, last: int, word: str) -> str:
    """Return the words with one in place of some; marks at either edge stay."""
    opening, closing = _EDGES.match(written[first]), _EDGES.match(written[last - 1])
    new = f"{opening[1] if opening else ''}{word}{closing[3] if closing else ''}"
    return " ".join((*written[:first], new, *written[last:]))


def _path(word: str, tokens: Sequence[str]) -> tuple[int, ...]:
    """Return the tokens of a written word, or that of anything where it is not compared."""
    plain = _inner(word).replace("'", "")
    if not plain:
        return ()
    if any(letter.isdigit() for letter in plain) and not plain[0].isalpha():
        return (_ANY,)
    return said_as(plain, tokens) or (_ANY,)


def _ways(paths: Sequence[tuple[int, ...]], lost: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the best score of the first words over the first frames.

    Args:
        paths: Tokens of I words.
        lost: [F, V + 1].

    Returns:
        [I + 1, F + 1]: of the first i words over exactly the first f frames.
    """
    result = np.full((len(paths) + 1, len(lost) + 1), _NEVER, np.float32)
    silent = np.concatenate(([0.0], np.cumsum(lost[:, -1])))
    result[0] = silent
    flat = np.array([token for path in paths for token in path], np.int64)
    ends = np.cumsum([len(path) for path in paths])
    if not len(flat):
        result[1:] = silent
        return result
    doubled = np.zeros(len(flat), np.bool_)
    doubled[1:] = flat[1:] == flat[:-1]
    loud = np.where(flat == _ANY, ANYTHING, lost[:, flat]).astype(np.float32)
    in_token = np.full(len(flat), _NEVER, np.float32)
    in_blank = np.full(len(flat) + 1, _NEVER, np.float32)  # the first before any token
    in_blank[0] = 0.0
    before = np.empty_like(in_token)
    for number, frame in enumerate(lost):
        before[0], before[1:] = _NEVER, in_token[:-1]
        before[doubled] = _NEVER
        np.maximum(before, in_blank[:-1], out=before)
        np.maximum(in_blank[1:], in_token, out=in_blank[1:])
        in_blank += frame[-1]
        np.maximum(in_token, before, out=in_token)
        in_token += loud[number]
        done = np.concatenate((in_blank[:1], np.maximum(in_token, in_blank[1:])))
        result[1:, number + 1] = done[ends]
    return result


def _between(
    before: NDArray[np.float32], paths: Sequence[tuple[int, ...]], lost: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the best scores of the first words and one word behind them.

    Args:
        before: [I + 1, F + 1], see `_ways`.
        paths: Tokens of W words.
        lost: [F, V + 1].

    Returns:
        [W, I + 1, F + 1]: of the first i words and then word w over exactly the first f frames.
    """
    flat = np.array([token for path in paths for token in path], np.int64)
    lengths = np.array([len(path) for path in paths])
    last = np.cumsum(lengths) - 1
    first = last - lengths + 1
    doubled = np.zeros(len(flat), np.bool_)
    doubled[1:] = flat[1:] == flat[:-1]
    doubled[first] = False
    words = len(before)
    in_token = np.full((words, len(flat)), _NEVER, np.float32)
    in_blank = in_token.copy()
    started, silent = np.empty_like(in_token), np.empty_like(in_token)
    result = np.full((len(paths), words, len(lost) + 1), _NEVER, np.float32)
    for number, frame in enumerate(lost):
        started[:, 1:], silent[:, 1:] = in_token[:, :-1], in_blank[:, :-1]
        started[:, doubled] = _NEVER
        started[:, first] = before[:, number, None]
        silent[:, first] = _NEVER
        np.maximum(in_token, in_blank, out=in_blank)
        in_blank += frame[-1]
        np.maximum(started, silent, out=started)
        np.maximum(in_token, started, out=in_token)
        in_token += frame[flat]
        result[:, :, number + 1] = np.maximum(in_token, in_blank)[:, last].T
    return result
