"""Convert numbers written as words back to digits, as in documents.

A speech recogniser writes "nineteen twenty eight" where a document has 1928, and the text
embeddings of the two are not close.
"""

from __future__ import annotations

__all__ = ["ONES_SPOKEN", "ORDINALS_SPOKEN", "TENS_SPOKEN", "TENTHS_SPOKEN", "with_digits"]

ONES_SPOKEN = tuple(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen".split()
)
"""Numbers from 0 to 19."""
TENS_SPOKEN = tuple("twenty thirty forty fifty sixty seventy eighty ninety".split())
ORDINALS_SPOKEN = tuple(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth".split()
)
"""Ordinals from 1 to 19."""
TENTHS_SPOKEN = tuple(f"{word[:-1]}ieth" for word in TENS_SPOKEN)
"""Ordinals of the tens."""
_ONES = {word: value for value, word in enumerate(ONES_SPOKEN)}
_TENS = {word: 10 * value for value, word in enumerate(TENS_SPOKEN, start=2)}
_ORDINALS = {word: value for value, word in enumerate(ORDINALS_SPOKEN, start=1)}
_TENTHS = dict(zip(TENTHS_SPOKEN, _TENS.values(), strict=True))
_DECADES = {f"{word[:-1]}ies": value for word, value in _TENS.items()}
_LARGE = {"million", "billion", "trillion"}
_OH = {"oh", "o"}
SMALL = 10
"""Single numbers up to this one stay words, as in print."""
SEPARATED_FROM = 10_000
"""From here on thousands are separated by commas, as in print; years are smaller."""


def with_digits(text: str) -> str:
    """Convert numbers of several words, and those above ten, to digits.

    Years ("nineteen oh five": 1905), decades, ordinals, decimals, digits read one by one and
    millions are understood; "one", "first" and their like stay words.

    Args:
        text: Lower-case words with blanks between.
    """
    words = text.split()
    given: list[str] = []
    at = 0
    while at < len(words):
        number, after = _number(words, at)
        given.append(words[at] if after == at else number)
        at = max(after, at + 1)
    return " ".join(given)


def _number(words: list[str], at: int) -> tuple[str, int]:
    """Return the number that begins here and the index after it; the same index if none does."""
    for read in (_year, _digit_by_digit, _ordinal, _decimal, _cardinal):
        number, after = read(words, at)
        if after > at:
            return number, after
    return "", at


def _year(words: list[str], at: int) -> tuple[str, int]:
    """Read two numbers of two digits in a row: a year, or a decade."""
    century, after = _below_hundred(words, at)
    if after == at or century < SMALL:
        return "", at
    if _word(words, after) in _DECADES:
        return f"{century}{_DECADES[words[after]]}s", after + 1
    if _word(words, after) in _OH and 0 < _ONES.get(_word(words, after + 1), 0) < SMALL:
        return f"{century}0{_ONES[words[after + 1]]}", after + 2
    rest, end = _below_hundred(words, after)
    if end == after or rest < SMALL or _word(words, end) in {"hundred", "thousand"} | _LARGE:
        return "", at
    return f"{century}{rest}", end


def _digit_by_digit(words: list[str], at: int) -> tuple[str, int]:
    """Read three or more single digits."""
    digits = ""
    after = at
    while True:
        value = 0 if digits and _word(words, after) in _OH else _ONES.get(_word(words, after), 10)
        if value >= SMALL:
            break
        digits += str(value)
        after += 1
    return (digits, after) if len(digits) > 2 else ("", at)  # noqa: PLR2004 - see above


def _ordinal(words: list[str], at: int) -> tuple[str, int]:
    """Read an ordinal above tenth."""
    value, after = _below_thousand(words, at)
    if after > at and _word(words, after) == "thousand":
        low, end = _below_thousand(words, _past_and(words, after + 1))
        value, after = 1000 * value + low, end if end > after + 1 else after + 1
    last = _word(words, after)
    if last in _TENTHS and not value % 100:
        value, after = value + _TENTHS[last], after + 1
    elif last in _ORDINALS and _goes_before(value, _ORDINALS[last]):
        value, after = value + _ORDINALS[last], after + 1
    elif last in {"hundredth", "thousandth"} and value < 1000:  # noqa: PLR2004
        value, after = max(value, 1) * (100 if last == "hundredth" else 1000), after + 1
    else:
        return "", at
    if value <= SMALL:
        return "", at
    tens = value % 100 // 10
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th") if tens != 1 else "th"
    return f"{value}{suffix}", after


def _decimal(words: list[str], at: int) -> tuple[str, int]:
    """Read "three point one four", also of millions."""
    value, point = _below_million(words, at)
    if point == at or _word(words, point) != "point":
        return "", at
    digits, after = "", point + 1
    while (digit := _ONES.get(_word(words, after), 10)) < SMALL:
        digits += str(digit)
        after += 1
    if not digits:
        return "", at
    large = _word(words, after)
    return (f"{value}.{digits} {large}", after + 1) if large in _LARGE else (
        f"{value}.{digits}", after
    )  # fmt: skip


def _cardinal(words: list[str], at: int) -> tuple[str, int]:
    value, after = _below_million(words, at)
    if after == at:
        return "", at
    if _word(words, after) in _LARGE:
        return f"{_printed(value)} {words[after]}", after + 1
    if value <= SMALL:
        return "", at
    return _printed(value), after


def _below_million(words: list[str], at: int) -> tuple[int, int]:
    value, after = _below_thousand(words, at)
    if after == at or _word(words, after) != "thousand":
        return value, after
    low, end = _below_thousand(words, _past_and(words, after + 1))
    if end == _past_and(words, after + 1):
        return 1000 * value, after + 1
    return 1000 * value + low, end


def _below_thousand(words: list[str], at: int) -> tuple[int, int]:
    value, after = _below_hundred(words, at)
    if after == at or _word(words, after) != "hundred":
        return value, after
    begin = _past_and(words, after + 1)
    low, end = _below_hundred(words, begin)
    return (100 * value, after + 1) if end == begin else (100 * value + low, end)


def _below_hundred(words: list[str], at: int) -> tuple[int, int]:
    word = _word(words, at)
    if word in _ONES:
        return _ONES[word], at + 1
    if word not in _TENS:
        return 0, at
    unit = _ONES.get(_word(words, at + 1), 0)
    if 0 < unit < SMALL:
        return _TENS[word] + unit, at + 2
    return _TENS[word], at + 1


def _goes_before(value: int, ordinal: int) -> bool:
    """Return whether an ordinal below twentieth may end this number: "twenty second", not "ten"."""
    tens = value % 100
    return tens == 0 or (ordinal < SMALL and tens > SMALL and tens % 10 == 0)


def _past_and(words: list[str], at: int) -> int:
    """Step over an "and" that a number follows."""
    follows = _below_hundred(words, at + 1)[1] > at + 1
    return at + 1 if _word(words, at) == "and" and follows else at


def _printed(value: int) -> str:
    return f"{value:,}" if value >= SEPARATED_FROM else str(value)


def _word(words: list[str], at: int) -> str:
    return words[at] if at < len(words) else ""
