"""What German, French and Spanish have in common: the signs are the same, the words are not.

espeak-ng reads cardinals and decimals of these languages rightly as they are written, with a comma
before the decimals and points or blanks between thousands, so they stay figures. What it reads
wrongly (ordinals, dates, money, measures, ranges, Roman numerals, telephone numbers) is put into
words here, from the tables of one language.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["DASH", "NUMBER", "Count", "Wording", "nouns", "rules", "with_words", "year_of"]

DASH = r"\s?[-\u2013\u2014]\s?"
NUMBER = r"\d+(?:\.\d{3})+(?:,\d+)?|\d+[.,]\d+|\d+"
_LEFT, _RIGHT = r"(?<![\w.,])", r"(?!\w)"
LAST_CENTURY = 70
"""Two figures from here on are a year of the last century."""
LONGEST_HOUR, MONTHS, DAYS = 24, 12, 31

Count = Callable[[str, str], str]
"""Say a number with the noun that it counts, both as they are written: "1", "Euro"."""


@dataclass(frozen=True, slots=True)
class Wording:
    """The words of one language.

    Args:
        count: Says a number with a noun in the singular.
        date: Says a day: text before it, day, month (1 to 12), and the year as it is said or "".
        clock: Says a time: hour and minute.
        year: Says a year of four figures.
        months: Names of the months, in full, from January on.
        month_of: What stands between day and month, as a pattern: " de " in Spanish.
        short_months: Short forms without their dot, and the number of the month.
        currencies: Sign or code to the noun in the singular.
        coins: Noun of a currency to that of its hundredth.
        cents_after: What stands between the whole and the hundredths: "con " in Spanish.
        scales: Scales as they are written, to their noun in the singular.
        scaled: Says a currency behind a scale: "de dollars".
        units: Symbol to the noun in the singular.
        square: Makes the square measure of a length.
        cubic: Makes its cubic measure.
        weekdays: Short forms of the days of the week, without their dot, to their names.
        to: Between the ends of a range.
        against: Between the two sides of a score or scale.
        minus: Before a negative number.
        plus: Before the code of a country.
        per: Between a measure and what it is measured by.
        point: The dot of versions and addresses.
        over: Between the two figures of a fraction that has no name.
        power: Between base and exponent.
        halves: Fractions by "1/2" and so on.
        mixed: The same behind a whole number.
        version: Before the number of a version that "v" stands before.
        abbreviations: Patterns to words, tried in order, before all else.
        signs: Patterns to words, tried in order, after all else.
        nine_digits: Pattern of numbers of nine figures that are telephone numbers.
        pairs: Whether telephone numbers are said in numbers of two figures.
        dialled: Words that a telephone number follows, as a pattern.
    """

    count: Count
    date: Callable[[str, int, int, str], str]
    clock: Callable[[int, int], str]
    year: Callable[[str], str]
    months: tuple[str, ...]
    month_of: str
    short_months: Mapping[str, int]
    currencies: Mapping[str, str]
    coins: Mapping[str, str]
    cents_after: str
    scales: Mapping[str, str]
    scaled: Callable[[str, str], str]
    units: Mapping[str, str]
    square: Callable[[str], str]
    cubic: Callable[[str], str]
    weekdays: Mapping[str, str]
    to: str
    against: str
    minus: str
    plus: str
    per: str
    point: str
    over: str
    power: str
    halves: Mapping[str, str]
    mixed: Mapping[str, str]
    version: str
    abbreviations: tuple[tuple[re.Pattern[str], str], ...]
    signs: tuple[tuple[re.Pattern[str], str], ...]
    nine_digits: str
    pairs: bool
    dialled: str


def nouns(table: str) -> dict[str, str]:
    """Read a table of "symbol noun" pairs, parted by semicolons."""
    pairs = (pair.split(maxsplit=1) for pair in table.split(";") if pair.strip())
    return {symbol: noun.strip() for symbol, noun in pairs}


def rules(table: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Read a table of "pattern -> words" lines; _ stands for a blank at either end."""
    rows = (line.strip().rpartition(" ->") for line in table.strip().splitlines())
    return tuple((re.compile(row[0]), row[2][1:].replace("_", " ")) for row in rows)


def year_of(figures: str) -> str:
    """Return a year in four figures; two figures are of this century or the last one."""
    if len(figures) != len("24"):
        return figures
    return f"{'20' if int(figures) < LAST_CENTURY else '19'}{figures}"


_GROUPED = re.compile(r"(?<![\w.,+])([1-9]\d{0,2})((?: \d{3})+)(?![\w-]| \d)")
_PHONES = (
    re.compile(r"(?<![\w+])\+\d{1,3}(?:[\s.\-/]*(?:\(0?\d*\)|\d)){6,14}(?![\w-]|[./]\d)"),
    re.compile(r"(?<!\w)\(0\d{1,5}\)\s?\d{2,8}(?:[\s\-.]?\d{2,5}){0,3}(?![\w-]|[./]\d)"),
    re.compile(r"(?<![\w.,+-])0\d{1,5}(?:[ ./-]\d{2,8}){1,5}(?![\w-]|[.,/]\d)"),
    re.compile(r"(?<![\w.,+-])0\d{2,}(?![\w-]|[.,/]\d)"),
    re.compile(r"(?<![\w.,+-])\d{4}(?: \d{4}){2,4}(?![\w-]|[./]\d)"),
    re.compile(r"(?<![\w.,+-])\d{9,}(?![\w-]|[.,/]\d)"),
    re.compile(r"(?<![\w.,+-])\d+(?:-\d+){2,}(?![\w-]|[./]\d)"),
)
_ACCOUNT = re.compile(r"\b[A-Z]{2}\d{2}(?: [A-Z\d]{4}){2,7}(?: [A-Z\d]{1,4})?\b")
_ISO = re.compile(r"(?<![\w.-])(\d{4})-(\d\d)-(\d\d)(?:T(\d\d:\d\d)(?::\d\d)?Z?)?(?![\w-])")
_FIGURES = re.compile(r"(?<![\w./-])(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d\d(?!\d))(?![\w-]|[./]\d)")
_CLOCK = re.compile(r"(?<![\w:.,])([01]?\d|2[0-4]):([0-5]\d)(?::[0-5]\d)?(?![\w:])")
_RATIO = re.compile(r"(?<![\w:.])(\d{1,3}):(\d{1,3}(?:[. ]?\d{3})*)(?![\w:])")
_RANGE = re.compile(
    rf"(?<![\w.,/-])((?:{NUMBER})(?:\s?[%\u20ac\u00b0])?)(?:\s?[\u2013\u2014~]\s?|-| - )"
    rf"(?=(?:{NUMBER})(?![\d-]))"
)
_MINUS = re.compile(r"(?<![\w)])[\u2013-](?=\d)")
_POWER = re.compile(r"(?<=[\w)])\s?\^\s?\{?\(?(-?\w+)\}?\)?")
_NOTE = re.compile(r"(?<=[^\W\d_]{3})[\u00b9\u00b2\u00b3\u2070-\u2079]+")
_RAISED = re.compile(r"(?<=[\w)])(\u207b?[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+)")
_SUPERSCRIPTS = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b", "0123456789-"
)
_VULGAR = {"\u00bd": "1/2", "\u00bc": "1/4", "\u00be": "3/4", "\u2153": "1/3", "\u2154": "2/3"}
_VULGAR_SIGN = re.compile(rf"(?:(\d)\s?)?([{''.join(_VULGAR)}])")
_FRACTION = re.compile(r"(?<![\w./,-])(?:(\d+) )?(\d{1,3})/(\d{1,3})(?![\w/-]|[.,]\d)")
_ADDRESS = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)")
_VERSION = re.compile(
    r"(?<![\w.])(?:[vV](?=\d)|(?<=[vV]ersion )|(?<=[vV]ersi\u00f3n ))(\d+(?:\.\d+)*)"
)
_DOTTED = re.compile(r"(?<![\w.])\d{1,2}(?:\.\d{1,2}){2,}(?![\w.]\d|\d)")
_TIDY = (
    (re.compile(r"\s*[|\u2022\u00b7\u25aa]\s*"), ", "),
    (re.compile(r"[\u00ae\u00a9\u2122{}\\`]+|(?<!\w)[*_^#]+(?!\w)"), " "),
    (re.compile(r"\s?(?:\u2192|\u21d2|->|=>)\s?"), ", "),
    (re.compile(r"(?<=\w)_(?=\w)"), " "),
    (re.compile(r"(?<=[^\W\d_])/(?=[^\W\d_])"), " "),
    (re.compile(r"(?:,\s*){2,}"), ", "),
    (re.compile(r"^\s*,\s*|\s*,\s*$"), ""),
)


def with_words(text: str, said: Wording) -> str:
    """Return a text with its figures and signs as they are said."""
    for pattern, words in said.abbreviations:
        text = pattern.sub(words, text)
    text = _ACCOUNT.sub(lambda m: ", ".join(" ".join(group) for group in m.group().split()), text)
    text = _with_dates(text, said)
    text = _GROUPED.sub(lambda m: _grouped(m[1] + m[2], said), text)
    for phone in _PHONES[:4]:
        text = phone.sub(lambda m: _digits(m.group(), said), text)
    text = re.sub(
        rf"\b({said.dialled})([.:]?\s)(\d{{2,9}}(?: \d{{2,4}}){{0,4}})"
        r"(?![\w-]|[.,:/]\d| [%\u20ac])",
        lambda m: f"{m[1]}{m[2]}{_digits(m[3], said)}",
        text,
    )
    for phone in _PHONES[4:]:
        text = phone.sub(lambda m: _digits(m.group(), said), text)
    text = _ADDRESS.sub(lambda m: m.group().replace(".", f" {said.point} "), text)
    text = _DOTTED.sub(lambda m: m.group().replace(".", f" {said.point} "), text)
    text = _VERSION.sub(lambda m: _version(m, said), text)
    text = _with_scales(text, said)
    text = _RANGE.sub(rf"\1 {said.to} ", text)
    text = _MINUS.sub(f"{said.minus} ", text)
    text = _with_money(text, said)
    text = _with_measures(text, said)
    text = _VULGAR_SIGN.sub(lambda m: f"{m[1] + ' ' if m[1] else ''}{_VULGAR[m[2]]}", text)
    text = _FRACTION.sub(lambda m: _fraction(m, said), text)
    text = _NOTE.sub("", text)
    text = _RAISED.sub(lambda m: f"^{m[1].translate(_SUPERSCRIPTS)}", text)
    text = _POWER.sub(lambda m: f" {said.power} {m[1].replace('-', said.minus + ' ')}", text)
    for pattern, words in (*said.signs, *_TIDY):
        text = pattern.sub(words, text)
    return text


def _digits(number: str, said: Wording) -> str:
    """Return a number digit by digit, with a pause between its groups."""
    plus = f"{said.plus} " if number.startswith("+") else ""
    groups = re.findall(r"\d+", number.replace("(0)", " ") if plus else number)
    if said.pairs:
        return plus + ", ".join(
            group if len(group) == len("23") and group[0] != "0" else " ".join(group)
            for group in groups
        )
    return plus + ", ".join(" ".join(group) for group in groups)


def _grouped(number: str, said: Wording) -> str:
    """Return a number whose thousands blanks part, so that it is read as one."""
    if re.fullmatch(said.nine_digits, number.replace(" ", "")):
        return number.replace(" ", "")
    return number.replace(" ", "." if len(number) > len("100 000 0") else "")


def _with_dates(text: str, said: Wording) -> str:
    names = {name.casefold(): at for at, name in enumerate(said.months, 1)}
    names |= {name.casefold(): at for name, at in said.short_months.items()}
    month = "|".join(sorted((re.escape(name) for name in names), key=len, reverse=True))
    day = (
        rf"(\d{{1,2}})(?:\.|er|\.?\u00ba)?{said.month_of}(?i:({month}))\b\.?"
        r"(?:(?:,? | del? )(\d{4})\b)?"
    )

    def figures(found: re.Match[str]) -> str:
        first, second = int(found[1]), int(found[3])
        if not (1 <= first <= DAYS and 1 <= second <= MONTHS):
            return found.group()
        return said.date(found.string[: found.start()], first, second, year_of(found[4]))

    def iso(found: re.Match[str]) -> str:
        if not (1 <= int(found[2]) <= MONTHS and 1 <= int(found[3]) <= DAYS):
            return found.group()
        date = said.date(found.string[: found.start()], int(found[3]), int(found[2]), found[1])
        return f"{date}, {found[4]}" if found[4] else date

    def named(found: re.Match[str]) -> str:
        if not 1 <= int(found[1]) <= DAYS:
            return found.group()
        before = found.string[: found.start()]
        ends = found.group().endswith(".") and not re.match(
            r"\s*[a-z\d,;]", found.string[found.end() :]
        )
        return said.date(before, int(found[1]), names[found[2].casefold()], found[3] or "") + (
            "." if ends else ""
        )

    text = _with_weekdays(text, said)
    text = _ISO.sub(iso, text)
    text = _FIGURES.sub(figures, text)
    text = re.sub(
        rf"(?<![\w.,/-])(\d{{1,2}})(?:\.|er)?{DASH}(?=\d{{1,2}}\.?{said.month_of}(?i:{month})\b)",
        lambda m: f"{said.date(m.string[: m.start()], int(m[1]), 0, '')} {said.to} ",
        text,
    )
    text = re.sub(rf"(?<![\w.,/-]){day}", named, text)
    text = re.sub(
        rf"(?<![\w:.,])(\d{{1,2}}:\d\d|\d{{1,2}}){DASH}(?=\d{{1,2}}:\d\d)", rf"\1 {said.to} ", text
    )
    text = _CLOCK.sub(lambda m: said.clock(int(m[1]), int(m[2])), text)
    return _RATIO.sub(rf"\1 {said.against} \2", text)


def _with_weekdays(text: str, said: Wording) -> str:
    """Write out short days of the week, where another one, a date or a time follows."""
    day = "|".join(said.weekdays)
    text = re.sub(
        rf"\b({day})\.?{DASH}({day})\b(?:\.(?=:? ?\d)|\.(?=:|,| [a-z]))?",
        lambda m: f"{said.weekdays[m[1]]} {said.to} {said.weekdays[m[2]]}",
        text,
    )
    return re.sub(rf"\b({day})\.?(?=[:,]? \d)", lambda m: said.weekdays[m[1]], text)


def _version(found: re.Match[str], said: Wording) -> str:
    number = found[1].replace(".", f" {said.point} ")
    return f"{said.version} {number}" if found.group()[0] in "vV" else number


def _with_scales(text: str, said: Wording) -> str:
    scale = "|".join(sorted((re.escape(name) for name in said.scales), key=len, reverse=True))
    return re.sub(
        rf"{_LEFT}({NUMBER})\s?({scale})(?=\s?[\u20ac$\u00a3]|[\s,;:.!?)]|$)",
        lambda m: said.count(m[1], said.scales[m[2]]),
        text,
    )


def _with_money(text: str, said: Wording) -> str:
    sign = "|".join(sorted(map(re.escape, said.currencies), key=len, reverse=True))
    names = {
        said.count(number, noun).split(maxsplit=1)[1]: noun
        for noun in said.currencies.values()
        for number in ("1", "2")
    }
    name = "|".join(sorted(names, key=len, reverse=True))
    scales = {said.count(number, noun) for noun in said.scales.values() for number in ("1", "2")}
    scale = "|".join(sorted({words.split(maxsplit=1)[1] for words in scales}, reverse=True))

    def money(sign: str, number: str, scale: str | None) -> str:
        noun = said.currencies.get(sign) or names[sign]
        if scale:
            return f"{number} {scale} {said.scaled(scale, noun)}"
        parts = re.fullmatch(r"([\d.]+),(\d\d)|(\d+)\.(\d\d)", number)
        whole, cents = (parts[1] or parts[3], parts[2] or parts[4]) if parts else (number, "00")
        if parts is None or noun not in said.coins:
            return said.count(number, noun)
        if not int(cents):
            return said.count(whole, noun)
        if not int(whole.replace(".", "")):
            return said.count(str(int(cents)), said.coins[noun])
        return f"{said.count(whole, noun)} {said.cents_after}{int(cents)}"

    text = re.sub(r"(?<=\d),(?:\u2013|--?)(?=\s?\u20ac|\s|$)", "", text)
    text = re.sub(
        rf"(?<!\w)({sign})\s?({NUMBER})(?: ({scale})\b)?{_RIGHT}",
        lambda m: money(m[1], m[2], m[3]),
        text,
    )
    one = "|".join({said.count("1", noun).split()[0] for noun in said.scales.values()})
    return re.sub(
        rf"{_LEFT}({NUMBER}|(?:{one})(?= (?:{scale})\b))(?: ({scale}))?\s?({sign}|{name})"
        rf"(?![A-Za-z])",
        lambda m: money(m[3], m[1], m[2]),
        text,
    )


def _with_measures(text: str, said: Wording) -> str:
    unit = "|".join(sorted((re.escape(name) for name in said.units), key=len, reverse=True))
    power = r"(?:\^?([23\u00b2\u00b3])(?!\d))?"

    def noun(name: str, raised: str | None) -> str:
        form = {"2": said.square, "\u00b2": said.square, "3": said.cubic, "\u00b3": said.cubic}
        return form[raised](said.units[name]) if raised else said.units[name]

    def measure(found: re.Match[str]) -> str:
        number, gap, name, raised, hundred, per, per_raised = found.groups()
        if not gap and len(name) == 1 and name in "stAVNJ":
            return found.group()
        measured = said.count(number, noun(name, raised))
        if not per:
            return measured
        each = noun(per, per_raised)
        return f"{measured} {said.per} {said.count('100', each) if hundred else each}"

    def alone(found: re.Match[str]) -> str:
        many = said.count("2", noun(found[1], found[2])).removeprefix("2 ")
        return f"{many} {said.per} {noun(found[3], found[4])}" if found[3] else many

    text = re.sub(
        rf"{_LEFT}({NUMBER})(\s?)({unit}){power}(?:\s?/\s?(100 )?({unit}){power})?{_RIGHT}(?!/)",
        measure,
        text,
    )
    text = re.sub(
        rf"(?<![\w/])(k?m|cm|mm)([\u00b2\u00b3])(?:/({unit})([\u00b2\u00b3])?)?(?![\w/])",
        alone,
        text,
    )
    text = re.sub(r"(?<![\w/])(k?m)()/(h|s)()(?![\w/])", alone, text)
    return re.sub(
        rf"(?<=[^\W\d_])\s?/\s?({unit})(?![\w/])", lambda m: f" {said.per} {said.units[m[1]]}", text
    )


def _fraction(found: re.Match[str], said: Wording) -> str:
    whole, over, under = found.groups()
    name = f"{over}/{under}"
    if whole:
        return f"{whole} {said.mixed.get(name, f'{over} {said.over} {under}')}"
    return said.halves.get(name, f"{over} {said.over} {under}")
