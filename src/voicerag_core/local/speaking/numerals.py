"""Roman numerals as they are said: Henry VIII, World War II, Chapter IV."""

from __future__ import annotations

import re

__all__ = ["ROMAN", "ordinal", "roman_value", "with_spoken_numerals"]

ROMAN = r"(?:XC|XL|L?X{1,3}|L)?(?:IX|IV|V?I{1,3}|V)?"
"""Pattern of the numerals from 1 to 99, and of nothing."""
_RULERS = (
    "Henry|Edward|George|William|Richard|James|Charles|Elizabeth|Mary|Louis|Philip|Ferdinand|"
    "Frederick|Friedrich|Wilhelm|Ludwig|Karl|Otto|Rudolf|Leopold|Maximilian|Joseph|Francis|Franz|"
    "Alexander|Nicholas|Ivan|Peter|Paul|Catherine|Christian|Gustav|Olaf|Harald|Haakon|Carl|Oscar|"
    "Napoleon|Pius|John Paul|Benedict|Gregory|Innocent|Leo|Clement|Urban|Boniface|Sixtus|Julius|"
    "Ramses|Ramesses|Thutmose|Amenhotep|Cleopatra|Ptolemy|Darius|Xerxes|Constantine|Theodosius|"
    "Justinian|Mehmed|Murad|Selim|Suleiman|Edmund|Alfonso|Juan Carlos|Felipe|Pedro|Manuel|Vittorio|"
    "Victor Emmanuel|Umberto|Albert|Baudouin|Beatrix|Margaret|Margrethe|Robert|David|Kenneth|"
    "Malcolm|Stephen|Ethelred|Harold|Sigismund|Casimir|Boris|Carol|Michael|Mohammed|Hassan|"
    "Abdullah|Hussein|Rama|Menelik"
)
_PARTS = (
    "Chapter|Part|Volume|Vol|Book|Act|Scene|Section|Article|Annex|Appendix|Phase|Type|Class|Level|"
    "Grade|Stage|War|Schedule|Title|Table|Figure|Tier|Category|Group|Module|Unit|Lesson|Round|"
    "Formula|Rule|Clause|Amendment|Protocol|Pillar|Mark|Generation|Factor|Bowl|Olympiad|Step|Item|Plan|"
    "chapter|part|volume|book|act|scene|section|article|annex|appendix|phase|type|class|level|"
    "grade|stage|schedule|table|figure|tier|category|group|module|unit|number|page|pages"
)
_RULER = re.compile(rf"\b({_RULERS}) (?=[IVXL])({ROMAN})(?![\w-])")
_PART = re.compile(rf"\b({_PARTS}) (?=[IVXL])({ROMAN})(?![\w-])")
_ORDERED = re.compile(
    rf"(?<![\w-])(?=[IVXL])({ROMAN})"
    r"(?= (?:[Cc]entur(?:y|ies)|[Dd]ynasty|[Ee]dition|[Cc]ongress)\b)"
)
_RANGE = re.compile(
    rf"(?<=\d)(?:\s?[-\u2013]\s?| (?=and |or |to ))(and |or |to )?(?=[IVXL])({ROMAN})(?![\w-])"
)
_ALONE = re.compile(rf"(?<![\w.-])(?=[IVXL]{{2}})({ROMAN})(?![\w-])")
_PART_SMALL = re.compile(
    rf"\b({_PARTS}) (?=[ivxl]{{2}})((?:xc|xl|l?x{{1,3}}|l)?(?:ix|iv|v?i{{1,3}}|v)?)(?![\w-])"
)
_ENUMERATED = re.compile(r"\((ii|iii|iv|vi|vii|viii|ix|xi|xii)\)")
_YEAR = re.compile(
    r"\b(?=\w{4})(M{1,2}(?:CM|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))(?![\w-])"
)
_LETTERS = frozenset({"IV", "VI", "XI", "XL", "LI", "LV", "XX"})
"""Also written for other things (IV drip, XL shirt): letters, unless a name stands before them."""
_NAME_BEFORE = re.compile(
    r"\b(?!(?:The|An?|In|On|Use|This|That|Sizes?|And|Is|At|To|Or|For|With|Via)\b)[A-Z]\w+ $"
)
_CLAUSE = re.compile(
    r"[.,;:!?)'\u2019]|\s+(?:of|was|is|died|ruled|reigned|became|and|had|in|from)\b|$"
)
_ENDINGS = {1: "st", 2: "nd", 3: "rd"}
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def with_spoken_numerals(text: str) -> str:
    """Rewrite Roman numerals as figures: Henry the 8th, World War 2, Chapter 4."""
    text = _RULER.sub(_ruler, text)
    text = _ORDERED.sub(lambda m: ordinal(roman_value(m[1])), text)
    text = _PART.sub(lambda m: f"{m[1]} {roman_value(m[2])}", text)
    text = _PART_SMALL.sub(lambda m: f"{m[1]} {roman_value(m[2].upper())}", text)
    text = _ENUMERATED.sub(lambda m: f"({roman_value(m[1].upper())})", text)
    text = _YEAR.sub(lambda m: str(roman_value(m[1])), text)
    text = _RANGE.sub(lambda m: f" {m[1] or 'to '}{roman_value(m[2])}", text)
    return _ALONE.sub(_alone, text)


def roman_value(numeral: str) -> int:
    """Return what a Roman numeral in capitals is worth."""
    values = [_VALUES[letter] for letter in numeral]
    return sum(-v if v < max(values[i:]) else v for i, v in enumerate(values))


def _ruler(found: re.Match[str]) -> str:
    name, numeral = found.groups()
    if numeral == "I" and not _CLAUSE.match(found.string[found.end() :]):
        return found.group()  # "... said Henry I think"
    return f"{name} the {ordinal(roman_value(numeral))}"


def ordinal(number: int) -> str:
    """Return 1st, 2nd, 3rd, 4th, ..."""
    if number % 100 in {11, 12, 13}:
        return f"{number}th"
    return f"{number}{_ENDINGS.get(number % 10, 'th')}"


def _alone(found: re.Match[str]) -> str:
    numeral = found[1]
    if numeral in _LETTERS and not _NAME_BEFORE.search(found.string[: found.start()]):
        return " ".join(numeral)
    return str(roman_value(numeral))
