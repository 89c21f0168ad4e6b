"""Near misses: does a passage speak of the very year, number, code or name that is asked about?

A passage about the same subject in another year, of another model or of another person looks like
an answer. Figures and codes of the question that are nowhere in the passage, its headings, its
title or its file's name tell it apart as a rule; names only count as evidence, since they are
shortened and misspelt.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import unquote

from voicerag_core.local.hearing.number_words import ONES_SPOKEN, ORDINALS_SPOKEN
from voicerag_core.local.reading.calendar_words import DAYS
from voicerag_core.local.reading.features import content_words, passage_path
from voicerag_core.types import Passage

__all__ = [
    "MEASURED",
    "QUESTION_WORDS",
    "figures",
    "has_other_last_name",
    "misses_abbreviation",
    "misses_figure",
    "missing_names",
    "ordinal_value",
    "said_around",
    "said_in",
    "said_of_place",
    "written_around",
]

_NUMBER_WORDS = (*ONES_SPOKEN, "twenty")
_ORDINAL_WORDS = ("zeroth", *ORDINALS_SPOKEN, "twentieth")
_WORDS = {word: str(value) for value, word in enumerate(_NUMBER_WORDS)}
_WORDS |= {word: str(value) for value, word in enumerate(_ORDINAL_WORDS)}
_QUARTERS = {"first": "q1", "second": "q2", "third": "q3", "fourth": "q4"}

_CODE = re.compile(
    r"(?<![\w.])(?=[\w.-]*\d)(?=[\w.-]*[a-z])[a-z]*\d[\w]*(?:[-.]\w+)*", re.IGNORECASE
)
_IDENTIFIER = re.compile(r"(?<![\w.-])[a-z][a-z0-9]*(?:_[a-z0-9]+)+(?![\w-])", re.IGNORECASE)
"""Name of a setting or a variable, which is written in one way only."""

_FIGURE = re.compile(
    r"(?<![\w.])\d+(?:[.,:/-]\d+)*(?:st|nd|rd|th|(?<=0)'?s)?(?![\w])", re.IGNORECASE
)
_THOUSANDS = re.compile(r"(?<=\d)[,\u00a0\u202f](?=\d{3}(?!\d))")
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)\Z")
_CENTURY = re.compile(r"\A(\d{2})00s\Z")
_DECADE = re.compile(r"\A(\d\d[1-9])0s\Z")
_SHORT_DECADE = re.compile(r"\A(\d)0s\Z")

_COMPARES = re.compile(
    r"\b(?:(?:more|less|fewer|longer|shorter|older|younger|later|earlier|bigger|higher|lower|larger"
    r"|other) than|over|under|above|below|at least|at most|up to|within|after|before|until|between"
    r"|about|around|order of|orders of|costs?|worth|since|every|from)\W+(?:\w+\W+){0,1}\Z",
    re.IGNORECASE,
)
MEASURED = re.compile(
    r"\W{0,2}(?:%|percent|euros?|eur|usd|nok|dollars?|pounds?|kronor|kroner|[$\u20ac\u00a3]|hours?|days?|weeks?"
    r"|months?|years?|minutes?|seconds?|km|kg|g|cm|mm|m|miles?|met(?:er|re)s?|lit(?:er|re)s?|people"
    r"|persons?|times|gb|mb|tb|bytes?|characters?|degrees?)\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<![\w'])[A-Z][\w'\u2019-]*(?:\.[\w]+)*")
QUESTION_WORDS = frozenset(
    [
        "what",
        "which",
        "who",
        "whom",
        "whose",
        "when",
        "where",
        "why",
        "how",
        "is",
        "are",
        "was",
        "were",
        "do",
        "does",
        "did",
        "can",
        "could",
        "may",
        "might",
        "must",
        "shall",
        "should",
        "will",
        "would",
        "has",
        "have",
        "had",
        "i",
        "i'm",
        "i'd",
        "i'll",
        "in",
        "on",
        "at",
        "by",
        "for",
        "from",
        "of",
        "to",
        "with",
        "until",
        "within",
        "after",
        "before",
        "if",
        "and",
        "or",
        "the",
        "a",
        "an",
        "my",
        "our",
        "your",
        "name",
        "list",
        "tell",
        "give",
        "explain",
        "define",
        "compare",
        "am",
        "as",
        "not",
        "no",
        "this",
        "that",
        "these",
        "those",
    ]
)
_WEEKDAYS = (*DAYS, "weekend", "weekday")
"""One of them may be meant by others: "from Monday to Thursday"."""

_ABBREVIATION = re.compile(r"(?<![\w.-])[A-Z]{3,5}s?(?![\w-]|\.\w)")
LEAST_PREFIX = 3
MOST_NAMES_ALONE = 1
LEAST_MISSPELT = 5
"""Letters of a name that may have one letter wrong: "Bismark"; of a shorter one that is another."""

_RUN = re.compile(
    r"[A-Z\u00c0-\u00de][^\W\d_]+(?:(?: (?:of|the|for|and|on|in|to))* [A-Z\u00c0-\u00de][^\W\d_]+)+"
)
"""Words of one name: "Panel on Climate Change"."""

_SHORT = re.compile(r"(?<![\w.-])(?:(?:[A-Z]\.){2,4}|[A-Z]{2,5}(?![\w-]))")
MOST_INITIALS = 5
_SMALL = frozenset(
    ["of", "on", "for", "and", "the", "in", "to", "a", "an", "at", "by", "from", "with"]
)
"""Words of a long form that its abbreviation leaves out."""

_ROMAN = re.compile(r"\b(?P<before>[A-Z][a-z]+) (?P<roman>(?=[IVX])X{0,2}(?:IX|IV|V?I{0,3}))\b")
_ROMAN_ONES = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")

PATH_PARTS = 3
"""Of a file's path that say what it is about: its name and two folders."""


def figures(question: str) -> tuple[str, ...]:
    """Return the years, numbers and codes by which a question names what it asks about.

    A number that measures ("20,000 euro", "five years", "more than 8000") names nothing and is
    left out.
    """
    plain = _plain(question)
    named = [match[0].strip(".-") for match in _CODE.finditer(plain) if not _counts(match[0])]
    named += [match[0] for match in _IDENTIFIER.finditer(plain)]
    for match in _FIGURE.finditer(plain):
        is_year = re.fullmatch(r"[12]\d{3}s?", match[0]) is not None
        measures = MEASURED.match(plain, match.end()) or plain[
            match.start() - 1 : match.start()
        ] in ("$", "\u20ac", "\u00a3", "#")
        if measures or (not is_year and _COMPARES.search(plain, 0, match.start())):
            continue
        named.append(match[0].replace("'", ""))
    return tuple(dict.fromkeys(named))


def misses_figure(wanted: Sequence[str], said: frozenset[str]) -> bool:
    """Tell whether one of the `figures` of a question is not among what is `said_around`."""
    return any(not _has(figure, said) for figure in wanted)


def missing_names(question: str, said: Iterable[str]) -> float:
    """Return the share of the question's names that no word said begins like; 0 without names."""
    names = _names(question)
    if not names:
        return 0.0
    words = list(said)
    some_day = any(word.startswith(_WEEKDAYS) for word in words)
    shortened = _shortened(question, frozenset(words))
    missing = sum(
        name not in shortened
        and not any(_alike(name, word) for word in words)
        and not (some_day and name.startswith(_WEEKDAYS))
        for name in names
    )
    return missing / len(names)


_NAME_OF_TWO = re.compile(r"(?<![\w'])[A-Z][\w'\u2019-]*(?: [A-Z][\w'\u2019-]*)+")


def has_other_last_name(question: str, said: Iterable[str]) -> bool:
    """Tell whether the beginning of a name of two words or more is said, and its last word not.

    "Kestrel Ultra" is not what a passage on the Kestrel Mini and the Kestrel Pro tells of.
    """
    words = frozenset(said)
    for match in _NAME_OF_TWO.finditer(question):
        names = _names(f"a {match[0]}")
        if len(names) <= MOST_NAMES_ALONE or names[-1].startswith(_WEEKDAYS):
            continue
        known = [any(_alike(name, word) for word in words) for name in names]
        if all(known[:-1]) and not known[-1] and not _shortened(match[0], words):
            return True
    return False


def _shortened(question: str, said: frozenset[str]) -> frozenset[str]:
    """Return the question's names that are said by their initials, or in full for initials."""
    found = {match[0].replace(".", "") for match in _SHORT.finditer(question)} & said
    names = [name.lower() for name in found]
    for run in _RUN.finditer(question):
        words = [w for w in run[0].split() if w[0].isupper() and w.lower() not in QUESTION_WORDS]
        if len(words) > 1 and "".join(word[0] for word in words) in said:
            names += words
    return frozenset(content_words(" ".join(names)))


def _initials(text: str) -> Iterator[str]:
    """Yield abbreviations of a text, and those by which its names of several words are known."""
    for short in _SHORT.finditer(text):
        yield short[0].replace(".", "")
    for run in _RUN.finditer(text):
        letters = "".join(word[0] for word in run[0].split() if word[0].isupper())
        for start in range(len(letters)):
            for end in range(start + 2, min(len(letters), start + MOST_INITIALS) + 1):
                yield letters[start:end]


def _numerals(text: str) -> Iterator[str]:
    """Yield the numbers that stand behind a name or a kind in Roman numerals: "Type I"."""
    for match in _ROMAN.finditer(text):
        if match["before"].lower() not in QUESTION_WORDS:
            tens = len(match["roman"]) - len(match["roman"].lstrip("X"))
            yield str(10 * tens + _ROMAN_ONES.index(match["roman"][tens:]))


def misses_abbreviation(question: str, text: str) -> bool:
    """Tell whether a name in capitals of a question stands nowhere in a text, nor its long form.

    "NTS" or "VAT" is never written in another way but in full. A question all in capitals names
    nothing so.
    """
    if not any(map(str.islower, question)):
        return False
    names = {match[0].removesuffix("s") for match in _ABBREVIATION.finditer(question)}
    if not names:
        return False
    written = set(re.findall(r"[A-Z0-9]{2,}", text.upper()))
    runs = [""]
    for match in re.finditer(r"([^\W\d_])[\w'\u2019]*|[.,;:!?()]", text.lower()):
        if match[1] and match[0] not in QUESTION_WORDS:
            # A number at the end of a name stays whole: "WWII".
            runs[-1] += match[0] if match[0].upper() in _ROMAN_ONES else match[1]
        elif match[0] not in _SMALL:
            runs.append("")
    return any(
        not any(word.startswith(name) for word in written)
        and not any(name.lower() in initials for initials in runs)
        for name in names
    )


def said_around(passage: Passage) -> frozenset[str]:
    """Return the words and figures of a passage, its headings, its title and its file's name."""
    return said_in(written_around(passage))


def written_around(passage: Passage) -> str:
    """Return the text of a passage with its title, headings, lead-in and its file's name."""
    lead = str(passage.metadata.get("lead") or "")
    place = _place(passage)
    return " ".join((passage.title, *passage_path(passage), place, lead, passage.text))


def _place(passage: Passage) -> str:
    """Return the words of a passage's file, folders and sheet."""
    folders = unquote(passage.source.partition("#")[0]).split("/")[-PATH_PARTS:]
    words = filter(str.isalnum, re.split(r"(\W|_)", " ".join(folders)))
    return " ".join((*words, str(passage.metadata.get("sheet") or "")))


def said_of_place(passage: Passage) -> frozenset[str]:
    """Return the words and figures of a passage's title, file, folders and sheet."""
    return said_in(f"{passage.title} {_place(passage)}")


def ordinal_value(word: str) -> str:
    """Return the number of "fourth" or "4th"; "" of other words."""
    if match := _ORDINAL.match(word):
        return match[1]
    return str(_ORDINAL_WORDS.index(word)) if word in _ORDINAL_WORDS else ""


def said_in(said: str) -> frozenset[str]:
    """Return the words and figures of a text, and the abbreviations of its names in capitals."""
    text = _plain(said)
    words = set(re.findall(r"(?<!\d\.)\b\w+\b(?!\.\d)", text))
    words.update(match[0].strip(".-") for match in _CODE.finditer(text))
    for match in _FIGURE.finditer(text):
        words.add(match[0])
        words.update(re.split(r"[:/-]", match[0]))
        if ordinal := _ORDINAL.search(match[0]):
            words.add(ordinal[1])
    words.update(_WORDS[word] for word in words & _WORDS.keys())
    words.update(_numerals(said))
    words.update(_initials(said))
    words.update(
        _QUARTERS[m[1]] for m in re.finditer(r"\b(first|second|third|fourth)[ -]quarter", text)
    )
    return frozenset(words)


def _plain(text: str) -> str:
    flat = unicodedata.normalize("NFKC", text).lower()
    if not flat.isascii():
        parts = unicodedata.normalize("NFKD", flat)
        flat = "".join(letter for letter in parts if not unicodedata.combining(letter))
    return _THOUSANDS.sub("", flat)


def _counts(code: str) -> bool:
    """Whether what looks like a code is an ordinal, decade or measure: "5th", "1990s", "4kg"."""
    return (
        re.fullmatch(r"\d+(?:st|nd|rd|th|s|am|pm|h|kg|km|cm|mm|m|g|gb|mb|tb|x)", code) is not None
    )


def _has(figure: str, said: frozenset[str]) -> bool:
    """Whether a figure is said, in any of the ways in which people write it."""
    if figure in said or figure.replace("-", "") in said:
        return True
    return _has_time(figure, said) or _has_part(figure, said)


def _has_time(figure: str, said: frozenset[str]) -> bool:
    """Whether a rank, century or decade is said, or a year of it."""
    if ordinal := _ORDINAL.search(figure):
        value = int(ordinal[1])
        spelt = _ORDINAL_WORDS[value] if value < len(_ORDINAL_WORDS) else ""
        in_century = any(_is_year(word) and int(word[:2]) == value - 1 for word in said)
        return ordinal[1] in said or spelt in said or in_century
    if decade := _DECADE.search(figure):
        return any(word.startswith(decade[1]) for word in said)
    if century := _CENTURY.search(figure):
        years = any(_is_year(word[:4]) and word.startswith(century[1]) for word in said)
        return years or f"{int(century[1]) + 1}th" in said
    if short := _SHORT_DECADE.search(figure):
        return any(_is_year(word[:4]) and word[2] == short[1] for word in said)
    return False


def _has_part(figure: str, said: frozenset[str]) -> bool:
    """Whether a figure is said with a unit or more exactly, or one that it begins with."""
    if figure.isdigit() and any(
        word.startswith(figure) and word[len(figure) :] in _SUFFIXES for word in said
    ):
        return True
    # A version is named by its beginning, too: "2.32" stands for "2.32.5", and "2.0" for "2.0.0".
    if "." in figure:
        return any(word.startswith(figure + ".") or figure == word + ".0" for word in said)
    if "-" in figure or "/" in figure:
        return re.split(r"[-/]", figure)[0] in said
    return any(figure in re.split(r"[-_.]", word) for word in said)


def _is_year(word: str) -> bool:
    return re.fullmatch(r"[12]\d{3}", word) is not None


_SUFFIXES = frozenset(
    {"th", "st", "nd", "rd", "s", "m", "km", "kg", "k", "am", "pm", "h", "hrs", "gb", "mb"}
)


def _names(question: str) -> list[str]:
    names = []
    for number, match in enumerate(_NAME.finditer(question)):
        word = match[0]
        plain = word.lower().replace("\u2019", "'").removesuffix("'s")
        is_first = number == 0 and match.start() == 0
        if (
            plain in QUESTION_WORDS
            or any(map(str.isdigit, plain))
            or (is_first and word[1:].islower())
        ):
            continue
        names += content_words(plain)
    return names


def _alike(name: str, word: str) -> bool:
    short, long = sorted((name, word), key=len)
    if long.startswith(short) and len(short) >= min(LEAST_PREFIX, len(name)):
        return True
    near = short[:1] == long[:1] and len(short) >= LEAST_MISSPELT and len(long) - len(short) <= 1
    return near and _one_letter_off(short, long)


def _one_letter_off(short: str, long: str) -> bool:
    """Whether one letter of a word is left out, replaced or swapped with the next."""
    at = next((i for i, letter in enumerate(short) if letter != long[i]), len(short))
    if len(short) < len(long):
        return short[at:] == long[at + 1 :]
    swapped = long[at + 1 : at + 2] + long[at : at + 1] + long[at + 2 :]
    return short[at + 1 :] == long[at + 1 :] or short[at:] == swapped
