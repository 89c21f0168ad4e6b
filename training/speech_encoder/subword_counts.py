r"""Estimate the subword n-gram model of the speech encoder's beam search.

    python -m training.speech_encoder.subword_counts --texts texts.txt --pieces pieces.json \
        --shared DIR --out OUT

Writes speech_piece_model.npz, which `voicerag_core.local.hearing.subword_model` reads. Texts that
share a sentence or eight consecutive words with evaluation data are excluded.

Source: interpolated modified Kneser-Ney smoothing, Chen and Goodman, "An empirical study of
smoothing techniques for language modeling" (Harvard TR-10-98, 1998), section 3; discounts of
equation 26. Rare n-grams are pruned after smoothing and their probability goes to the back-off
weight, so every row still adds up to 1.
"""

from __future__ import annotations

import argparse
import json
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from training.speech_encoder.texts import spoken_form, target_of
from voicerag_core.local.hearing.subword_model import STEPS_PER_NAT

ORDER = 4
LEAST_COUNTS = (1, 2, 3, 4)
"""n-grams of each order below this count are pruned; must not decrease from order to order."""
SHARED_WORDS = 8

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Tree(NamedTuple):
    """A subword model as stored in the file; see `SubwordModel`."""

    pieces: int
    word: Ints
    children: Ints
    prob: NDArray[np.uint8]
    backoff: NDArray[np.uint8]


def counted(
    sequences: Iterable[Sequence[int]],
    pieces: int,
    *,
    order: int = ORDER,
    least: Sequence[int] = LEAST_COUNTS,
) -> Tree:
    """Count and smooth the token n-grams of texts.

    Args:
        sequences: Token ids of each text, below `pieces`.
        pieces: Number of tokens.
        order: Length of the longest n-gram, at least 2.
        least: For each order the minimum count of an n-gram that is kept.
    """
    flat = array("q")
    for sequence in sequences:
        flat.append(pieces + 1)
        flat.extend(sequence)
        flat.append(pieces)
    return Tree(pieces, *_smoothed(np.array(flat, np.int64), pieces, order, least))


def save(tree: Tree, path: Path) -> None:
    """Write a model; the tokens of the nodes as differences, which compress better."""
    step = np.diff(tree.word.astype(np.uint16), prepend=np.uint16(0))
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            pieces=np.int64(tree.pieces),
            word=step,
            children=tree.children.astype(np.uint16),
            prob=tree.prob,
            backoff=tree.backoff,
        )


def _smoothed(
    flat: Ints, pieces: int, order: int, least: Sequence[int]
) -> tuple[Ints, Ints, NDArray[np.uint8], NDArray[np.uint8]]:
    """Return word, children, prob and backoff of the tree."""
    base = pieces + 2
    keys, counts = zip(*(_counted(flat, k, base, pieces) for k in range(1, order + 1)), strict=True)
    adjusted = [
        _continuations(keys[k], counts[k], keys[k + 1], base ** (k + 1)) for k in range(order - 1)
    ] + [counts[-1].astype(np.float64)]
    lower = np.full(base, 1 / (pieces + 1))
    lower[pieces + 1] = 0
    # The empty context has every token; the one that begins a text follows nothing.
    dense = np.zeros(base)
    dense[keys[0]] = adjusted[0]
    dense[pieces + 1] = 0
    total, discount = dense.sum(), _discounts(adjusted[0], dense)
    chance = np.maximum(dense - discount, 0) / total
    chance = chance + (1 - chance.sum()) * lower
    kept_keys, kept_chance = [np.arange(base, dtype=np.int64)], [chance]
    weights: list[Floats] = []
    for k in range(1, order):
        discounted = adjusted[k] - _discounts(adjusted[k], adjusted[k])
        context = keys[k] // base
        known, at = np.unique(context, return_inverse=True)
        total = np.bincount(at, weights=adjusted[k])
        keep = counts[k] >= least[k]
        share = discounted / total[at]
        left = 1 - np.bincount(at, weights=np.where(keep, share, 0))
        parents = kept_keys[-1]
        weight = np.ones(len(parents))
        place = np.searchsorted(known, parents)
        place[place == len(known)] = 0
        seen = known[place] == parents
        weight[seen] = left[place[seen]]
        weights.append(weight)
        inside, share = keys[k][keep], share[keep]
        shorter = np.searchsorted(kept_keys[-1], inside % base**k)
        from_context = np.searchsorted(parents, inside // base)
        chance = share + weight[from_context] * kept_chance[-1][shorter]
        kept_keys.append(inside)
        kept_chance.append(chance)
    weights.append(np.ones(len(kept_keys[-1])))
    words = [np.zeros(1, np.int64), *(level % base for level in kept_keys)]
    children = [np.array([base])]
    for level, above in zip(kept_keys, [*kept_keys[1:], None], strict=True):
        children.append(
            np.zeros(len(level), np.int64)
            if above is None
            else np.diff(np.searchsorted(above, np.append(level, level[-1] + 1) * base))
        )
    chances, backs = np.concatenate([[1.0], *kept_chance]), np.concatenate([[1.0], *weights])
    return np.concatenate(words), np.concatenate(children), _coded(chances), _coded(backs)


def _counted(flat: Ints, k: int, base: int, end: int) -> tuple[Ints, Ints]:
    """Return the n-grams of order k, as numbers in base `base`, and their counts."""
    size = len(flat) - k + 1
    key = np.zeros(size, np.int64)
    whole = np.ones(size, bool)
    for place in range(k):
        piece = flat[place : place + size]
        key = key * base + piece
        if place < k - 1:
            whole &= piece != end
    found, counts = np.unique(key[whole], return_counts=True)
    return found, counts


def _continuations(keys: Ints, counts: Ints, longer: Ints, size: int) -> Floats:
    """Return how many tokens precede each n-gram; for one that begins a text, its count."""
    after, kinds = np.unique(longer % size, return_counts=True)
    result = counts.astype(np.float64)
    place = np.searchsorted(after, keys)
    place[place == len(after)] = 0
    found = after[place] == keys
    result[found] = kinds[place[found]]
    return result


def _discounts(counts: Floats, of: Floats) -> Floats:
    """Return the discount of each count: D1, D2 or D3."""
    met = [float((counts == n).sum()) for n in range(1, 5)]
    fallback = (0.5, 0.75, 0.9)
    if min(met) > 0:
        y = met[0] / (met[0] + 2 * met[1])
        taken = [n - (n + 1) * y * met[n] / met[n - 1] for n in (1, 2, 3)]
        taken = [t if 0 < t < n else d for t, n, d in zip(taken, (1, 2, 3), fallback, strict=True)]
    else:
        taken = list(fallback)
    return np.array([0.0, *taken])[np.minimum(of, 3).astype(np.int64)]


def _coded(chance: Floats) -> NDArray[np.uint8]:
    with np.errstate(divide="ignore"):
        return np.clip(np.round(-np.log(chance) * STEPS_PER_NAT), 0, 255).astype(np.uint8)


def reported(shared: Path) -> tuple[set[str], set[str]]:
    """Return the sentences and questions of the evaluation data, and their runs of words."""
    files = ("xquad/xquad.en.json", "heysquad/dev-common-original-1002.json")
    texts: set[str] = set()
    runs: set[str] = set()
    for file in files:
        for article in json.loads((shared / file).read_text())["data"]:
            for paragraph in article["paragraphs"]:
                for sentence in re.split(r"(?<=[.?!]) ", paragraph["context"]):
                    read = target_of(spoken_form(sentence, limit=False) or sentence)
                    texts.add(read)
                    runs.update(runs_of(read))
                for question in (qa["question"] for qa in paragraph["qas"]):
                    texts.add(target_of(spoken_form(question, limit=False) or question))
    return texts, runs


def runs_of(text: str) -> Iterator[str]:
    """Yield every eight consecutive words."""
    words = text.split()
    for first in range(len(words) - SHARED_WORDS + 1):
        yield " ".join(words[first : first + SHARED_WORDS])


def main() -> None:
    """Write the model and print its size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=Path, required=True, help="output of `texts.py`")
    parser.add_argument("--pieces", type=Path, required=True, help="output of `subwords.py`")
    parser.add_argument("--shared", type=Path, required=True, help="evaluation data")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    texts, runs = reported(arguments.shared)
    read = [target_of(line) for line in arguments.texts.read_text().splitlines()]
    kept = [one for one in read if one not in texts and runs.isdisjoint(runs_of(one))]
    tokenizer = Tokenizer.from_file(str(arguments.pieces))
    tree = counted(
        (encoding.ids for encoding in tokenizer.encode_batch(kept)), tokenizer.get_vocab_size()
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "speech_piece_model.npz"
    save(tree, path)
    print(
        f"{len(kept)} of {len(read)} texts, {len(tree.word)} n-grams, {path.stat().st_size} bytes"
    )


if __name__ == "__main__":
    main()
