"""Money and units of measure as they are said."""

from __future__ import annotations

import re

__all__ = ["with_spoken_amounts"]

_NUMBER = r"\d+(?:[.,]\d+)*"
_LEFT = r"(?<![\w.,])"
_RIGHT = r"(?!\w)"

_COINS = {
    "dollar": ("cent", "cents"), "euro": ("cent", "cents"), "pound": ("penny", "pence"),
    "rupee": ("paisa", "paise"), "franc": ("centime", "centimes"),
}  # fmt: skip
_SIGNS = {
    "$": "dollar", "\u20ac": "euro", "\u00a3": "pound", "\u00a5": "yen", "\u20b9": "rupee",
    "US$": "U.S. dollar", "U.S.$": "U.S. dollar", "A$": "Australian dollar",
    "AU$": "Australian dollar", "C$": "Canadian dollar", "CA$": "Canadian dollar",
    "R$": "real", "\u20a9": "won", "\u20bd": "ruble", "\u20ba": "lira", "Rs.": "rupee",
    "Rs": "rupee",
    "HK$": "Hong Kong dollar", "NZ$": "New Zealand dollar", "S$": "Singapore dollar",
}  # fmt: skip
_CODES = {
    "USD": "U.S. dollar", "EUR": "euro", "GBP": "pound", "JPY": "yen", "CHF": "Swiss franc",
    "CAD": "Canadian dollar", "AUD": "Australian dollar", "INR": "rupee", "CNY": "yuan",
}  # fmt: skip
_SAME_PLURAL = frozenset({"yen", "yuan", "won", "lira"})
_SCALES = {
    "k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million",
    "mio": "million", "Mio": "million", "Mio.": "million", "bn": "billion", "B": "billion",
    "b": "billion", "tn": "trillion", "T": "trillion",
}  # fmt: skip
_SCALE = (
    r"(?:\s?(million|billion|trillion|thousand|hundred)\b"
    r"|\s?(mn|mio|Mio\.?|bn|tn|[kKmMbBT])(?!\w))?"
)
_SIGN = "|".join(re.escape(sign) for sign in sorted(_SIGNS, key=len, reverse=True))
_CODE = "|".join(_CODES)
_SIGN_RANGE = re.compile(
    rf"(?<!\w)({_SIGN})\s?({_NUMBER}){_SCALE}\s?[-\u2013\u2014]\s?(?:\1\s?)?(?=\d)"
)
_SIGN_FIRST = re.compile(
    rf"(-|\u2013)?(?<![\w])({_SIGN}|(?:{_CODE})(?=\s?\d))\s?(-?{_NUMBER}){_SCALE}{_RIGHT}"
)
_SIGN_LAST = re.compile(
    rf"{_LEFT}({_NUMBER}){_SCALE}\s?(\u20ac|\u00a3|\u00a5|\u20b9|\$(?!\d)|(?:{_CODE})\b)"
)
_CENTS = re.compile(rf"{_LEFT}({_NUMBER})\s?\u00a2")
_ADJECTIVE = re.compile(
    r"\s+(?!(?:is|was|are|were|for|per|in|on|to|of|and|or|a|an|the|by|from|at|that|which|will|has|"
    r"had|have|must|may|can|than|but|as|if|when|with|without|not|only|each|every|more|less|plus|"
    r"due|extra|between|along|around|over|under|above|below|away|apart|ahead|back|later|ago|"
    r"we|you|i|it|they|he|she|before|after|until|into|towards?|off|out|once|upfront|monthly|yearly)\b)[a-z]"
)
_DETERMINER = re.compile(r"(?i)\b(?:a|an|the|this|that|your|our|their|his|her|my|another|any)\s+$")

_UNITS = {
    "km": "kilometer", "m": "meter", "cm": "centimeter", "mm": "millimeter", "dm": "decimeter",
    "\u03bcm": "micrometer", "nm": "nanometer", "kg": "kilogram", "g": "gram", "mg": "milligram",
    "\u03bcg": "microgram", "t": "ton", "l": "liter", "L": "liter", "ml": "milliliter",
    "mL": "milliliter", "cl": "centiliter", "dl": "deciliter", "hl": "hectoliter", "ha": "hectare",
    "s": "second", "sec": "second", "ms": "millisecond", "min": "minute", "mins": "minute",
    "h": "hour", "hr": "hour", "hrs": "hour", "W": "watt", "kW": "kilowatt", "MW": "megawatt",
    "GW": "gigawatt", "Wh": "watt-hour", "kWh": "kilowatt-hour", "MWh": "megawatt-hour",
    "GWh": "gigawatt-hour", "V": "volt", "kV": "kilovolt", "mV": "millivolt", "A": "amp",
    "mA": "milliamp", "mAh": "milliamp-hour", "Ah": "amp-hour", "\u03a9": "ohm", "Hz": "hertz",
    "kHz": "kilohertz", "MHz": "megahertz", "GHz": "gigahertz", "kB": "kilobyte", "KB": "kilobyte",
    "MB": "megabyte", "GB": "gigabyte", "TB": "terabyte", "PB": "petabyte", "KiB": "kibibyte",
    "MiB": "mebibyte", "GiB": "gibibyte", "TiB": "tebibyte", "kbit": "kilobit", "Mbit": "megabit",
    "Gbit": "gigabit", "Mb": "megabit", "Gb": "gigabit", "Pa": "pascal", "hPa": "hectopascal",
    "kPa": "kilopascal", "MPa": "megapascal", "mbar": "millibar", "N": "newton",
    "kN": "kilonewton", "Nm": "newton meter", "J": "joule", "kJ": "kilojoule", "MJ": "megajoule",
    "cal": "calorie", "kcal": "kilocalorie", "dB": "decibel", "lm": "lumen", "lx": "lux",
    "ft": "foot", "yd": "yard", "mi": "mile", "lb": "pound", "lbs": "pound", "oz": "ounce",
    "gal": "gallon", "\u00b0": "degree", "yr": "year", "yrs": "year", "wk": "week", "wks": "week",
    "px": "pixel", "pt": "point", "tsp": "teaspoon", "tbsp": "tablespoon",
}  # fmt: skip
_PHRASES = {
    "\u00b0C": "degree Celsius", "\u00b0F": "degree Fahrenheit", "km/h": "kilometer per hour",
    "kmh": "kilometer per hour", "kph": "kilometer per hour", "mph": "mile per hour",
    "Mbps": "megabit per second", "Gbps": "gigabit per second", "kbps": "kilobit per second",
    "rpm": "revolution per minute", "fps": "frame per second", "ppm": "part per million",
    "dpi": "dot per inch", "cu. ft.": "cubic foot", "bpm": "beat per minute",
    "mmHg": "millimeter of mercury", "pp": "percentage point", "sq ft": "square foot",
    "sq. ft.": "square foot",
    "sq m": "square meter", "sqm": "square meter", "cu ft": "cubic foot", "qm": "square meter",
}  # fmt: skip
_PLURALS = {
    "foot": "feet", "hertz": "hertz", "kilohertz": "kilohertz", "megahertz": "megahertz",
    "gigahertz": "gigahertz", "lux": "lux",
}  # fmt: skip
_APART = frozenset({"s", "t", "A", "N", "J", "mi", "V"})
"""Units that need a blank before them: the 90s, 5A and 5N are something else."""
_LENGTHS = frozenset({"km", "m", "cm", "mm", "dm", "\u03bcm", "ft", "yd", "mi"})

_RAISED_TO = {"2": "squared", "\u00b2": "squared", "3": "cubed", "\u00b3": "cubed"}

_UNIT = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
_PHRASE = "|".join(re.escape(unit) for unit in sorted(_PHRASES, key=len, reverse=True))
_POWER = r"(?:\^?([23\u00b2\u00b3])(?!\d))?"
_MEASURE = re.compile(
    rf"(?:{_LEFT}|(?<=\d[x\u00d7]))(-?{_NUMBER})(\s?-?)"
    rf"(?:({_PHRASE})|({_UNIT}){_POWER}(?:\s?/\s?(100 )?({_UNIT}){_POWER})?){_RIGHT}"
)
_RATE_ALONE = re.compile(
    rf"(?<![\w/])({_UNIT})([\u00b2\u00b3])?/({_UNIT})([\u00b2\u00b3])?(?![\w/])"
)
_RATES = frozenset({"m/s", "l/min", "l/h", "mg/l", "g/l", "kg/h"})
_ALONE = re.compile(
    rf"(?<![\w/])(?:({_PHRASE})|(km|m|cm|mm)\^?([\u00b2\u00b3]|(?<=\^)[23]))(?![\w/])"
)
_PER_WHAT = (
    "hour|hr|h|day|week|wk|month|mo|year|yr|night|person|user|seat|kg|km|m|l|kWh|min|minute|second|"
    "s|item|piece|unit|page|m\u00b2|m\u00b3|GB|MB"
)
_PER = re.compile(rf"(?<=[a-z%])\s?/\s?({_PER_WHAT})(?!\w|/(?!(?:{_PER_WHAT})\b))")
_AFTER_PER = {
    "h": "hour", "hr": "hour", "mo": "month", "wk": "week", "yr": "year", "kg": "kilogram",
    "km": "kilometer", "m": "meter", "l": "liter", "kWh": "kilowatt-hour", "min": "minute",
    "s": "second", "m\u00b2": "square meter", "m\u00b3": "cubic meter", "GB": "gigabyte",
    "MB": "megabyte",
}  # fmt: skip


_BILLIONS = re.compile(rf"{_LEFT}({_NUMBER})\s?(mn|bn|tn){_RIGHT}")
_SIGN_TO_SIGN = re.compile(
    rf"(?<!\w)({_SIGN})\s?({_NUMBER}) (to|or) \1\s?"
    rf"(?={_NUMBER}\s?(?:million|billion|trillion|thousand))"
)
_FRACTION_INCH = re.compile(r"(?<![\w./])(\d+/\d+)\"(?!\w)")
_UNIT_DOT = re.compile(
    rf"(?<![\w.,])({_NUMBER}\s?(?:ft|lbs?|oz|yd|in|tsp|tbsp|mins?|hrs?|secs?|gal|mi|yrs?|wks?))\."
    r"(?=\s(?!in\s)[a-z(])"
)
_NO_COINS = re.compile(r"(?<=\d)\.(?:\u2013|\u2014|--?)(?![\w-])")
_FEET_INCHES = re.compile(
    rf"{_LEFT}(\d{{1,2}})(?:'|\s?ft\.?)\s?(\d{{1,2}}(?:\.\d+)?)\s?(?:\"|''|in\b\.?(?!\s[a-z]))"
)
_INCHES = re.compile(rf"{_LEFT}(\d+(?:\.\d+)?)\"(?!\w)")
_HOURS_MINUTES = re.compile(rf"{_LEFT}(\d{{1,3}})\s?(?:h|hrs?)\s?(\d{{1,2}})\s?(?:m|mins?){_RIGHT}")
_HOURS_FIGURES = re.compile(rf"{_LEFT}(\d{{1,2}})h([0-5]\d){_RIGHT}")


def with_spoken_amounts(text: str) -> str:
    """Rewrite money and measures: $5 as 5 dollars, 3 m² as 3 square meters."""
    text = _NO_COINS.sub("", text)
    text = _UNIT_DOT.sub(r"\1", text)
    text = _FRACTION_INCH.sub(r"\1 inch", text)
    text = _SIGN_TO_SIGN.sub(r"\2 \3 \1", text)
    text = _FEET_INCHES.sub(
        lambda m: f"{_count(m[1], 'foot', 'feet')} {_count(m[2], 'inch', 'inches')}", text
    )
    text = _INCHES.sub(_inches, text)
    for pattern in (_HOURS_MINUTES, _HOURS_FIGURES):
        text = pattern.sub(
            lambda m: f"{_count(m[1], 'hour', 'hours')} {_count(m[2], 'minute', 'minutes')}", text
        )
    text = _SIGN_RANGE.sub(lambda m: f"{m[2]}{_scaled(m, 3)} to {m[1]}", text)
    text = _SIGN_FIRST.sub(lambda m: _money(m, m[2], f"{'-' if m[1] else ''}{m[3]}", 4), text)
    text = _SIGN_LAST.sub(lambda m: _money(m, m[4], m[1], 2), text)
    text = _BILLIONS.sub(lambda m: f"{m[1]} {_SCALES[m[2]]}", text)
    text = _CENTS.sub(lambda m: f"{m[1]} {'cent' if m[1] == '1' else 'cents'}", text)
    text = _MEASURE.sub(_measure, text)
    text = _RATE_ALONE.sub(_rate_alone, text)
    text = _ALONE.sub(_unit_alone, text)
    return _PER.sub(lambda m: f" per {_AFTER_PER.get(m[1], m[1])}", text)


def _count(number: str, one: str, many: str) -> str:
    number = number.lstrip("0") or "0"
    return f"{number} {one if number == '1' else many}"


def _inches(found: re.Match[str]) -> str:
    """Return a length, unless the mark behind the figure closes a quotation."""
    if found.string.count('"', 0, found.start()) % 2:
        return found.group()
    one = found[1] == "1" or _describes(found)
    return f"{found[1]} {'inch' if one else 'inches'}"


def _describes(found: re.Match[str]) -> bool:
    """Whether an amount stands between an article and a noun, as in "a 5 km run"."""
    before, after = found.string[: found.start()], found.string[found.end() :]
    return _DETERMINER.search(before) is not None and _ADJECTIVE.match(after) is not None


def _scaled(found: re.Match[str], group: int) -> str:
    scale = found[group] or _SCALES.get(found[group + 1] or "", "")
    return f" {scale}" if scale else ""


def _plain(number: str) -> str:
    """Return a number in English writing: 1.234,50 and 12,50 have a comma for the point."""
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})*,\d{1,2}", number):
        return number.replace(".", "").replace(",", ".")
    if re.fullmatch(r"\d{1,3}(?:\.\d{3}){2,}", number):
        return number.replace(".", "")
    return number


def _money(found: re.Match[str], sign: str, number: str, scale_group: int) -> str:
    currency = _SIGNS.get(sign) or _CODES[sign]
    minus = "minus " if number.startswith("-") else ""
    number = _plain(number.lstrip("-"))
    if sign == "\u20ac" and re.fullmatch(r"\d{1,3}\.\d{3}", number):  # thousands, on the Continent
        number = number.replace(".", "")
    scale = _scaled(found, scale_group)
    describes = _describes(found)
    coin = _COINS.get(currency.split()[-1])
    parts = re.fullmatch(r"([\d,]+)\.(\d\d)", number)
    if scale or coin is None or parts is None:
        return f"{minus}{number}{scale} {_currency(currency, number + scale, one=describes)}"
    whole, cents = parts.groups()
    small = f"{int(cents)} {coin[0] if int(cents) == 1 else coin[1]}"
    if not int(cents):
        return f"{minus}{whole} {_currency(currency, whole, one=describes)}"
    if whole == "0":
        return f"{minus}{small}"
    return f"{minus}{whole} {_currency(currency, whole, one=False)} and {small}"


def _currency(name: str, number: str, *, one: bool) -> str:
    return name if one or number == "1" or name in _SAME_PLURAL else f"{name}s"


def _measure(found: re.Match[str]) -> str:
    number, gap, phrase, unit, power, hundred, per, per_power = found.groups()
    if unit in _APART and not gap:
        return found.group()
    if power in {"2", "3"} and unit not in _LENGTHS:
        return found.group()
    name = _PHRASES[phrase] if phrase else _powered(unit, power)
    one = number.lstrip("-") == "1" or gap == "-" or _describes(found)
    said = name if one else _plural(name)
    if per:
        said += f" per {hundred or ''}{_plural(_UNITS[per]) if hundred else _per(per, per_power)}"
    return f"{_plain(number)} {said}"


def _powered(unit: str, power: str | None) -> str:
    kind = {"2": "square ", "\u00b2": "square ", "3": "cubic ", "\u00b3": "cubic "}
    return f"{kind.get(power or '', '')}{_UNITS[unit]}"


def _per(unit: str, power: str | None) -> str:
    if power and unit not in _LENGTHS:
        return f"{_UNITS[unit]} {_RAISED_TO[power]}"
    return _powered(unit, power)


def _plural(name: str) -> str:
    """Return the plural of a unit, whose first noun changes: degrees Celsius, feet per second."""
    words = name.split()
    at = 1 if words[0] in {"square", "cubic", "newton", "percentage"} else 0
    words[at] = _PLURALS.get(words[at], f"{words[at]}s")
    return " ".join(words)


def _unit_alone(found: re.Match[str]) -> str:
    phrase, unit, power = found.groups()
    return _plural(_PHRASES[phrase] if phrase else _powered(unit, power))


def _rate_alone(found: re.Match[str]) -> str:
    unit, power, per, per_power = found.groups()
    if not (power or per_power or f"{unit}/{per}" in _RATES):
        return found.group()
    return f"{_plural(_powered(unit, power))} per {_per(per, per_power)}"
