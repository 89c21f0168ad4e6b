"""Simulate recognised questions: spoken form, then words replaced by similar-sounding ones."""

from __future__ import annotations

import random
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

MOST_ALTERNATIVES = 6
LEAST_COUNT = 3
"""Minimum frequency in the texts of a word that replaces another."""
SHORTEST_SPLIT = 5
"""Minimum phonemes of a word that may be replaced by two."""

_ONES = re.split(
    " ",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen",
)
_TENS = re.split(
    " ",
    "_ _ twenty thirty forty fifty sixty seventy eighty ninety",
)
_SYMBOLS = {"%": " percent ", "$": " dollars ", "&": " and ", "£": " pounds ", "°": " degrees "}
_SMALL = re.split(
    " ",
    "a the of in and is are was his to for at on an it that this were with by from as or",
)
_FILLERS = re.split(
    " ",
    "but so and well uh um five oh okay what",
)
_VOICED = str.maketrans("bdgvzðʒ", "ptkfsθʃ")
_VOWELS = re.compile(r"[aeiouæɑɒɔəɚɛɜɝɐɪʊʌᵻøyœ]+")
_MARKS = re.compile(r"[ˈˌː‿ʲ̩‍_ ]")


def number_words(number: int) -> str:
    """Write an integer below a million million in words."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        return _TENS[number // 10] + (" " + _ONES[number % 10] if number % 10 else "")
    for size, name in (
        (10**9, "billion"),
        (10**6, "million"),
        (1000, "thousand"),
        (100, "hundred"),
    ):
        if number >= size:
            rest = number % size
            return f"{number_words(number // size)} {name}" + (
                " " + number_words(rest) if rest else ""
            )
    raise AssertionError(number)


def year_words(year: int) -> str:
    """Write a year from 1100 to 2099 as it is spoken."""
    century, rest = divmod(year, 100)
    if century == 20 and rest < 10:
        return number_words(year)
    if rest == 0:
        return f"{number_words(century)} hundred"
    return f"{number_words(century)} {'oh ' if rest < 10 else ''}{number_words(rest)}"


def spoken_form(text: str) -> str:
    """Write a question as spoken: no capitals, punctuation or digits."""
    for symbol, words in _SYMBOLS.items():
        text = text.replace(symbol, words)
    text = re.sub(r"\b([A-Z]{2,4})(s?)\b", lambda m: " ".join(m[1]) + ("'s" if m[2] else ""), text)
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    text = re.sub(
        r"\d+", lambda m: f" {_say(m[0])} " if len(m[0]) < 12 else " number ", text.lower()
    )
    return " ".join(re.sub(r"[^\w' ]|_", " ", text).split())


def _say(digits: str) -> str:
    value = int(digits)
    return year_words(value) if len(digits) == 4 and 1100 <= value < 2100 else number_words(value)


def phonemes(words: Sequence[str]) -> list[str]:
    """Return each word's phonemes by espeak-ng, in IPA without stress and length."""
    spoken = subprocess.run(
        ["espeak-ng", "-q", "--ipa", "-v", "en-us"],
        input="\n\n".join(words),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    lines = [line for line in spoken if line.strip()]
    if len(lines) != len(words):
        raise ValueError(f"espeak-ng gave {len(lines)} lines for {len(words)} words")
    return [_MARKS.sub("", line) for line in lines]


def alternatives(texts: Iterable[str], asked: Iterable[str]) -> dict[str, list[str]]:
    """Find for each word of `asked` the words or pairs of words that sound like it.

    Args:
        texts: Texts that define the vocabulary and its frequencies.
        asked: Questions in spoken form.

    Returns:
        At most six alternatives per word, most similar first.
    """
    plain = re.compile(r"[a-z]+(?:'[a-z]+)?")
    counts = Counter(word for text in texts for word in plain.findall(text.lower()))
    common = sorted(word for word, count in counts.items() if count >= LEAST_COUNT)
    wanted = sorted({word for text in asked for word in plain.findall(text) if len(word) > 2})
    sound = dict(zip(words := sorted({*common, *wanted}), phonemes(words), strict=True))
    by_skeleton = defaultdict(list)
    for word in sorted(common, key=lambda one: -counts[one]):
        if len(word) > 1 or word in "ai":
            by_skeleton[_skeleton(sound[word])].append(word)
    near = _nearest([sound[word] for word in wanted], [sound[word] for word in common])
    table = {}
    for word, rows in zip(wanted, near, strict=True):
        own = sound[word]
        found = [(0.1, one) for one in by_skeleton[_skeleton(own)][:4]]
        found += [
            (distance, common[i])
            for i in rows
            if (distance := _distance(own, sound[common[i]])) < 0.5
        ]
        found += [(0.3, pair) for pair in _pairs(own, by_skeleton)]
        ranked = dict.fromkeys(one for _, one in sorted(found) if one != word)
        if ranked:
            table[word] = list(ranked)[:MOST_ALTERNATIVES]
    return table


def _skeleton(sound: str) -> str:
    return _VOWELS.sub("V", sound.translate(_VOICED))


def _pairs(sound: str, by_skeleton: Mapping[str, Sequence[str]]) -> list[str]:
    """Return pairs of frequent words that together sound like one word."""
    if len(sound) < SHORTEST_SPLIT:
        return []
    return [
        f"{by_skeleton[first][0]} {by_skeleton[second][0]}"
        for at in range(2, len(sound) - 1)
        if (first := _skeleton(sound[:at])) in by_skeleton
        and (second := _skeleton(sound[at:])) in by_skeleton
        and by_skeleton[first]
        and by_skeleton[second]
    ][:3]


def _nearest(rows: Sequence[str], columns: Sequence[str], top: int = 12) -> list[list[int]]:
    """Rank by shared phonemes and pairs of phonemes, [rows, top]."""

    def grams(sound: str) -> list[str]:
        edged = f"<{sound.translate(_VOICED)}>"
        return [*edged[1:-1], *(edged[i : i + 2] for i in range(len(edged) - 1))]

    index: dict[str, int] = {}
    for sound in columns:
        for gram in grams(sound):
            index.setdefault(gram, len(index))

    def matrix(sounds: Sequence[str]) -> np.ndarray:
        table = np.zeros((len(sounds), len(index)), np.float32)
        for row, sound in enumerate(sounds):
            for gram in grams(sound):
                if gram in index:
                    table[row, index[gram]] += 1
        scaled: np.ndarray = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-6)
        return scaled

    right = matrix(columns)
    found: list[list[int]] = []
    for start in range(0, len(rows), 1024):
        likeness = matrix(rows[start : start + 1024]) @ right.T
        found += np.argpartition(-likeness, top, axis=1)[:, :top].tolist()
    return found


def _distance(one: str, other: str) -> float:
    """Edit distance of phonemes over the longer length; vowels among themselves cost half."""
    row = list(range(len(other) + 1))
    costs = [float(value) for value in row]
    for i, a in enumerate(one, 1):
        diagonal, costs[0] = costs[0], float(i)
        for j, b in enumerate(other, 1):
            if a == b:
                swap = 0.0
            elif a.translate(_VOICED) == b.translate(_VOICED):
                swap = 0.3
            elif _VOWELS.fullmatch(a) and _VOWELS.fullmatch(b):
                swap = 0.5
            else:
                swap = 1.0
            diagonal, costs[j] = (
                costs[j],
                min(diagonal + swap, costs[j] + 1, costs[j - 1] + 1),
            )
    return costs[-1] / max(len(one), len(other), 1)


def mishear(
    text: str,
    table: Mapping[str, Sequence[str]],
    counts: Mapping[str, int],
    chance: random.Random,
    level: float,
) -> str:
    """Replace, drop and add words of a question in spoken form.

    Args:
        text: In spoken form.
        table: `alternatives`.
        counts: Word frequencies; rare words are replaced more often.
        chance: Source of randomness.
        level: 0 changes nothing; 1 about one word in three.
    """
    heard: list[str] = []
    for word in text.split():
        draw = chance.random()
        if word in _SMALL:
            if draw < 0.05 * level:
                continue
            heard.append(chance.choice(_SMALL) if draw < 0.16 * level else word)
            continue
        risk = 0.55 if counts.get(word, 0) < 20 else 0.3 if counts.get(word, 0) < 200 else 0.12
        options = table.get(word)
        if draw >= risk * level:
            heard.append(word)
        elif options and chance.random() < 0.85:
            heard.append(options[min(int(chance.expovariate(0.7)), len(options) - 1)])
        elif chance.random() < 0.8:
            heard.append(_misspell(word, chance))
    if chance.random() < 0.08 * level:
        heard.insert(0, chance.choice(_FILLERS))
    return " ".join(heard) or text


def _misspell(word: str, chance: random.Random) -> str:
    """Change one letter."""
    at = chance.randrange(len(word))
    letter = chance.choice("aeiourstlnmpbdkc")
    return (
        chance.choice(
            (
                word[:at] + letter + word[at + 1 :],
                word[:at] + word[at + 1 :],
                word[:at] + letter + word[at:],
            )
        )
        or word
    )
