"""Figures in a text with what they count or measure, in digits or in words."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace

from voicerag_core.local.hearing.number_words import (
    ONES_SPOKEN,
    ORDINALS_SPOKEN,
    TENS_SPOKEN,
    TENTHS_SPOKEN,
    with_digits,
)
from voicerag_core.local.reading.features import content_words
from voicerag_core.local.reading.numbers_in_words import SPELT_IN, spelt_numbers
from voicerag_core.local.reading.units import COUNT, SCALES, UNIT_WORD, YEAR, unit_of

__all__ = ["Quantity", "codes", "quantities", "squeezed"]

SPELT = "\ue000"
"""Stands behind a figure that was written as a word."""
SURE_FROM = 11
"""A number in words below it may count what is listed, and is no claim of its own."""

_GROUPED = r"\d{1,3}(?:[,.'\u2019\u00a0\u202f ]\d{3})+(?!\d)(?:[.,]\d+)?"
_FIGURE = re.compile(
    rf"(?<![\w.])(?P<sign>US\$|[$€£¥₹]|(?:USD|EUR|GBP|CHF|NOK)(?=\s?\d))?\s?"
    rf"(?P<number>{_GROUPED}|\d+(?:[.,]\d+)*)"
    rf"(?:(?P<ordinal>st|nd|rd|th|er|e|º|ª)(?!\w))?(?P<spelt>{SPELT})?"
    r"(?P<tens>['\u2019]?s\b)?"
    r"(?:\s?(?P<scale>k|mn|bn|tn|mio|mrd|hundred|thousand|dozen|millions?|billions?|trillions?"
    r"|tausend|hundert|millionen|milliarden?|mille|mil|milliards?|millones|millón)(?!\w)\.?"
    r"|\s?(?P<large>[百千万萬亿億]))?",
    re.IGNORECASE | re.ASCII,
)
_CODE = re.compile(
    r"(?<![\w.])(?=[\w.-]*\d)(?=[\w-]*[a-z])[a-z]*\d\w*(?:[-.]\w+)*", re.IGNORECASE | re.ASCII
)
_ADDRESS = re.compile(
    r"(?:https?://|www\.)(?:www\.)?([\w.-]*\w)|(?<![\w.])[\w.+-]+@([\w-]+(?:\.[\w-]+)+)", re.ASCII
)
_DOTTED = re.compile(r"(?<![\w.])\d+(?:\.\d+){2,}(?![\w.]*\d)", re.ASCII)
_ATTACHED = re.compile(
    r"\d+(?:[.,]\d+)*(?:st|nd|rd|th)?(?-i:(?:-[a-z]{2,})+)|"
    r"\d+(?:[.,]\d+)*(?:st|nd|rd|th|s|er|e|am|pm|k|bn|mn|x|[^\W\d_]{1,4}[²2]?)",
    re.IGNORECASE,
)
_YEAR_BEFORE = re.compile(
    r"(?:\b(?:in|since|from|by|until|till|before|after|of|during|around|circa|ca|to|and|year|im"
    r"|jahr|seit|ab|bis|von|en|depuis|desde|hasta|año|born|died|spring|summer|autumn|winter)\.?"
    r"|[(–-])\s*\Z",
    re.IGNORECASE,
)
_YEAR_AFTER = re.compile(r"\s?(?:年|AD\b|BC\b|CE\b|BCE\b)")
_NO_YEAR_AFTER = re.compile(
    r"[ -](?!(?:was|is|were|are|has|had|the|a|an|it|he|she|they|and|or|to|but|when|where|which|who"
    r"|by|for|with|on|at|in|of|as|until|till|after|before|its|his|her|their|at|edition|season"
    r"|[a-z]+ed)\b)(?P<noun>[a-z]{3,}s|people)\b"
)
_COUNTED = re.compile(r"[ -](?:[a-z]{3,}s|people|men|women|children)\b")
_PARTS_OF_NUMBERS = re.split(" ", "hundred thousand million billion trillion oh point")
_RANKS = (*ORDINALS_SPOKEN[2:], *TENTHS_SPOKEN, "hundredth")
"""Ordinals that are no words of time or order as often as "first" and "second"."""
_TENS_BEFORE = f"(?:{'|'.join(TENS_SPOKEN)})[ -]"
_NUMBER_WORD = "|".join(
    sorted((*ONES_SPOKEN, *TENS_SPOKEN, *_PARTS_OF_NUMBERS, *_RANKS), key=len, reverse=True)
)
_NUMBER_WORD = rf"(?:{_TENS_BEFORE}(?:first|second)|{_NUMBER_WORD})"
_WORDS = re.compile(
    rf"(?<![\w-])(?:an? (?=hundred|thousand|million|billion|dozen))?(?:{_NUMBER_WORD})"
    rf"(?:(?:[ -]| and )(?:{_NUMBER_WORD}))*(?!\w)|(?<![\w-])an? dozen\b",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"^an? ", re.IGNORECASE)
_SMALL = {word: str(value) for value, word in enumerate(ONES_SPOKEN[1:11], 1)} | {
    word: f"{value}{ending}{SPELT}"
    for value, (word, ending) in enumerate(zip(_RANKS, ["rd"] + ["th"] * 7, strict=False), 3)
}
_HAN_DIGITS = {letter: value for value, letter in enumerate("零一二三四五六七八九")} | {
    "〇": 0,
    "两": 2,
}
_HAN_UNITS = {"十": 10, "百": 100, "千": 1000}
_HAN_NUMBER = re.compile(
    r"[零〇一二三四五六七八九两十百千万亿]*[十百千万亿][零〇一二三四五六七八九两十百千万亿]*|[零〇一二三四五六七八九]{2,}"
)
_HAN_WORDS = frozenset(
    ("千万", "万一", "十分", "一一", "十", "百", "千", "万", "亿", "万千", "一千一万")
)
_PARTS = re.compile(r"百分之(?=\d)")
_STOP = re.compile(r"[.,;:!?()\[\]。，；：！？、\n]")
_JOINED = re.compile(r"(?<=\d)\s?[–—-]\s?(?=\d)")
_OTHER_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*(?: et [^\W\d_]+| y [^\W\d_]+)?")
_APPROXIMATE = re.compile(
    r"(?:\b(?:about|around|nearly|almost|roughly|approximately|some|over|under|circa|ca|more than"
    r"|less than|close to|just|rund|etwa|fast|knapp|environ|presque|casi|unos|cerca de)\.?"
    r"|[~≈]|约|大约|近)\s*(?:[$€£]\s?)?\Z",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A figure.

    Args:
        values: What it may say: "1.234" is a decimal or a thousand; already multiplied by a scale.
        dimension: Of its unit; `YEAR`, or `COUNT` without one.
        factor: Of its unit; values times it are comparable within a dimension.
        nouns: Stems of the one or two words behind it, within its clause.
        start: Where it stands.
        weak: Whether it is a small number in words, which counts rather than claims.
        rank: Whether it is an ordinal or a decade.
        near: Whether the text says that it is a rough one.
        counted: Whether a noun in the plural follows, which it counts.
    """

    values: frozenset[float]
    dimension: str = COUNT
    factor: float = 1.0
    nouns: tuple[str, ...] = ()
    start: int = 0
    weak: bool = False
    rank: bool = False
    near: bool = False
    counted: bool = False


def quantities(text: str, language: str) -> list[Quantity]:
    """Find the figures of a text, without its dates and times.

    Args:
        text: With blanks in the place of dates and times.
        language: Code of its language, for numbers in words.
    """
    plain = _in_digits(unicodedata.normalize("NFKC", text), language)
    plain = _JOINED.sub(" – ", plain)
    found = []
    for match in _FIGURE.finditer(plain):
        after = plain[match.end() :]
        is_code = (
            match["ordinal"] is None and match["tens"] is None and re.match(r"[A-Za-z_]", after)
        )
        if is_code and not UNIT_WORD.match(after):
            continue
        found.append(_quantity(match, plain))
    # "5-7 days": the unit of the last figure is that of the first, too.
    for place in range(len(found) - 2, -1, -1):
        one, following = found[place], found[place + 1]
        between = plain[one.start : following.start]
        if one.dimension == COUNT and re.search(
            r"\d[%\ue000]?\s?(?:–|to|bis|à|a|and|or)\s\Z", between
        ):
            found[place] = replace(
                following, values=one.values, start=one.start, rank=one.rank, near=one.near
            )
    return found


def codes(text: str) -> list[str]:
    """Return what is told apart letter by letter: "AB-12", "2.32.5", "5G", sites, addresses."""
    plain = unicodedata.normalize("NFKC", text)
    named = [match[0] for match in _CODE.finditer(plain) if not _ATTACHED.fullmatch(match[0])]
    sites = [match[1] or match[0] for match in _ADDRESS.finditer(plain)]
    versions = [match[0] for match in _DOTTED.finditer(plain)]
    return [squeezed(one) for one in (*named, *sites, *versions)]


def squeezed(text: str) -> str:
    """Return the letters and figures of a text alone, in lower case."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).lower()))


def _quantity(match: re.Match[str], plain: str) -> Quantity:
    scale = match["scale"] or match["large"]
    factor = SCALES[scale.lower()] if scale else 1.0
    values = frozenset(value * factor for value in _values(match["number"]))
    after, before = plain[match.end() :], plain[: match.start()]
    rank = bool(match["ordinal"] or match["tens"])
    unit, nouns = (None, ()) if rank else _behind(after, match)
    if match["sign"]:
        unit = unit_of(match["sign"])
    elif before.endswith("百分之"):
        unit = unit_of("%")
    dimension, measure = unit or (COUNT, 1.0)
    if not rank and not scale and _names_year(match["number"], before, after, dimension):
        dimension, measure, nouns = YEAR, 1.0, ()
    counted = dimension == COUNT and bool(nouns) and _COUNTED.match(after) is not None
    weak = bool(match["spelt"]) and dimension == COUNT and max(values) < SURE_FROM
    return Quantity(
        values, dimension, measure, nouns, match.start(), weak, rank,
        _APPROXIMATE.search(before) is not None, counted,
    )  # fmt: skip


def _values(number: str) -> set[float]:
    """Return what digits with dots, commas and blanks between them may say."""
    figures = re.sub(r"['\u2019\u00a0\u202f ]", "", number)
    found = set()
    marks = [letter for letter in figures if letter in ".,"]
    if not marks:
        return {float(figures)}
    last = max(figures.rfind("."), figures.rfind(","))
    whole, part = re.sub("[.,]", "", figures[:last]), figures[last + 1 :]
    if len(set(marks)) == 2 or len(marks) == 1:  # noqa: PLR2004 - both marks: the last is decimal
        found.add(float(f"{whole}.{part}"))
    if len(set(marks)) == 1 and all(len(group) == 3 for group in re.split("[.,]", figures)[1:]):  # noqa: PLR2004
        found.add(float(whole + part))
    return found or {float(whole + part)}


def _behind(after: str, match: re.Match[str]) -> tuple[tuple[str, float] | None, tuple[str, ...]]:
    """Return the unit behind a figure, and the stems of the words there."""
    clause = _STOP.split(after, maxsplit=1)[0]
    first = UNIT_WORD.match(clause)
    word = "" if first is None else next(filter(None, first.groups()))
    unit = unit_of(word) if word else None
    if (
        unit is not None
        and word.lower() in ("in", "d", "an")
        and first is not None
        and first[0][0].isspace()
    ):
        unit = None
    following = clause.split()[:2]
    if unit is None and len(following) > 1 and not match["large"]:
        second = unit_of(following[1]) if len(following[1]) > 2 else None  # noqa: PLR2004
        unit = second if following[0].isalpha() and content_words(following[0]) else None
    return unit, tuple(content_words(" ".join(following)))


def _names_year(number: str, before: str, after: str, dimension: str) -> bool:
    if not re.fullmatch(r"1\d{3}|20\d\d", number):
        return False
    if _YEAR_AFTER.match(after):
        return True
    if dimension != COUNT or _NO_YEAR_AFTER.match(after):
        return False
    return _YEAR_BEFORE.search(before) is not None


def _in_digits(text: str, language: str) -> str:
    """Write numbers in words as digits, with a mark behind."""
    text = _HAN_NUMBER.sub(_from_han, text)
    if language in SPELT_IN:
        return _OTHER_WORD.sub(lambda found: _from_table(found, language), text)
    return _WORDS.sub(_from_words, text)


def _from_words(found: re.Match[str]) -> str:
    plain = _ARTICLE.sub("one ", found[0].lower()).replace("-", " ").replace("dozen", "twelve")
    plain = plain.replace("one twelve", "twelve")
    said = with_digits(plain)
    digits = " ".join(_SMALL.get(word, word) for word in said.split())
    return re.sub(r"(\d)(?=\s|\Z)", rf"\1{SPELT}", digits)


def _from_table(found: re.Match[str], language: str) -> str:
    value = spelt_numbers(language).get(found[0].lower())
    return found[0] if value is None else f"{value}{SPELT}"


def _from_han(found: re.Match[str]) -> str:
    if found[0] in _HAN_WORDS:
        return found[0]
    letters = found[0]
    if not any(letter in "十百千万亿" for letter in letters):
        return "".join(str(_HAN_DIGITS[letter]) for letter in letters)
    whole = section = digit = 0
    for letter in letters:
        if letter in _HAN_DIGITS:
            digit = _HAN_DIGITS[letter]
        elif letter in _HAN_UNITS:
            section += (digit or 1) * _HAN_UNITS[letter]
            digit = 0
        else:
            scale = 10_000 if letter == "万" else 100_000_000
            if not section + digit:
                return letters  # the scale of a figure in digits: 3万
            whole += (section + digit) * scale
            section = digit = 0
    return f"{whole + section + digit}"
