"""Figures other than dates and amounts, and the signs between them and between words."""

from __future__ import annotations

import re

__all__ = ["with_spoken_figures", "with_spoken_ranges", "with_spoken_symbols"]

MOST_IN_BYTE = 255

_NUMBER = r"\d+(?:[.,]\d+)*"

_ADDRESS = re.compile(r"(?<![\w.])(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?![\w]|\.\d)")
_VERSION = re.compile(r"(?<![\w.])(v(?:ersion )?)?(\d+(?:\.\d+){2,})(?!\.?\d)")
_SHORT_VERSION = re.compile(
    r"(?<![\w.])(?:(v)|(?<=[Vv]ersion )|(?<=[Rr]elease )|(?<=Python ))(\d+)\.(\d+)(?![\w%]|\.\d)"
)
_V = re.compile(r"(?<![\w.])v(?=\d+(?![\w.]))")
_DOTTED = re.compile(r"(?<![\w.,+])\d{1,3}(?:\.\d{3}){2,}(?![\w.,])")

_SUPERSCRIPTS = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b", "0123456789-"
)
_RAISED = re.compile(r"(?<=[\w)])([\u207b]?[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+)")
_POWER = re.compile(r"(?<=[\w)])\s?\^\s?(?:\{(-?\w+)\}|\((-?\w+)\)|(-?\w+))")
_SUBSCRIPTS = str.maketrans(
    "\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089", "0123456789"
)

_PARTS = {
    2: ("half", "halves"), 3: ("third", "thirds"), 4: ("quarter", "quarters"),
    5: ("fifth", "fifths"), 6: ("sixth", "sixths"), 7: ("seventh", "sevenths"),
    8: ("eighth", "eighths"), 9: ("ninth", "ninths"), 10: ("tenth", "tenths"),
    12: ("twelfth", "twelfths"), 16: ("sixteenth", "sixteenths"), 20: ("twentieth", "twentieths"),
    100: ("hundredth", "hundredths"),
}  # fmt: skip
_VULGAR = {
    "\u00bd": "1/2", "\u00bc": "1/4", "\u00be": "3/4", "\u2153": "1/3", "\u2154": "2/3",
    "\u2155": "1/5", "\u2156": "2/5", "\u2157": "3/5", "\u2158": "4/5", "\u2159": "1/6",
    "\u215a": "5/6", "\u215b": "1/8", "\u215c": "3/8", "\u215d": "5/8", "\u215e": "7/8",
    "\u2151": "1/9", "\u2152": "1/10", "\u2150": "1/7",
}  # fmt: skip
_VULGAR_SIGN = re.compile(rf"(?:(\d)\s?)?([{''.join(_VULGAR)}])")
_FRACTION = re.compile(r"(?<![\w./,-])(?:(\d+)\s+)?(\d{1,3})/(\d{1,3})(?![\w/-]|[.,]\d)")
_FIXED = frozenset({"24/7", "9/11", "50/50", "20/20", "80/20", "60/40", "70/30", "90/10"})
_ALWAYS = re.compile(r"(?<![\w/])24/7/365(?![\w/])")

_WITH_SIGN = rf"{_NUMBER}(?:\s?%|\s?\u00b0[CF]?)?"
_RANGE = re.compile(
    rf"(?<![\w./,-])([$\u20ac\u00a3]?{_WITH_SIGN})(\s?[\u2013\u2014]\s?|[-~]|\s-\s)(?=[$\u20ac\u00a3]?{_NUMBER}(?![\w]*-[\dA-Z]))"
)
_ORDINALS = re.compile(r"\b(\d+(?:st|nd|rd|th))\s?[\u2013-]\s?(?=\d+(?:st|nd|rd|th)\b)")
_LETTERS_RANGE = re.compile(r"\b([A-Z])\s?[\u2013-]\s?(?=[A-Z]\b)(?=(?!\1)\w)")
_MINUS = re.compile(r"(?<![\w)])[\u2013-](?=[$\u20ac\u00a3]?\d)")
_BIG_ORDINAL = re.compile(r"(?<![\w.,])([1-9][\d,]*00)th\b")

_SCIENTIFIC = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([+-]?\d{1,3})(?!\w)")
_NETWORK = re.compile(r"(?<![\w.])((?:\d{1,3}\.){3}\d{1,3})/(?=\d{1,2}\b)")
_PERIODS = re.compile(r"\b([QH][1-4])\s?[\u2013-]\s?(?=[QH]?[1-4]\b)")

_LETTERS_PLURAL = re.compile(r"\b(?![IVXLCDM]+\b)([A-Z]{2,5})['\u2019]?s\b(?!\s*[A-Z]\b)")
_SAID_AS_WORD = re.compile(r"[^AEIOU][AEIOU]+[^AEIOU]")
_SPELLED = frozenset({"FAQ", "VIP", "SUV", "LED", "PIV", "HIV", "SIG", "GUI"})

_SIGNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?<=\d)\s?(?:[\u00d7\u2715*]|(?<= )x(?= ))\s?(?=\d+ to the power)"), " times "),
    (re.compile(r"(?<=\d)\s?\*\s?(?=\d)"), " times "),
    (re.compile(r"(?<=\d)\s?(?:\u00d7|(?<= )x(?= ))\s?(?=\d)"), " by "),
    (re.compile(r"(?<!\b0)(?<=\d)x(?=\d)"), " by "),
    (re.compile(r"(?<=\d)[\u00d7x](?![\w])"), " times"),
    (re.compile(r"(?<![\w.,])(\d+),(?=\d{1,2}\s?%)"), r"\1."),
    (re.compile(r"\u00d7"), " times "),
    (re.compile(r"\u00f7"), " divided by "),
    (re.compile(r"\u00b1\s?(?=[\d$])"), "plus or minus "),
    (re.compile(r"\u2265\s?(?=[\d$])|>=\s?(?=\d)"), "at least "),
    (re.compile(r"\u2264\s?(?=[\d$])|<=\s?(?=\d)"), "at most "),
    (re.compile(r"\u2248\s?|(?<![\w/])~\s?(?=[\d$])"), "about "),
    (re.compile(r"(?<![\w<-])<\s?(?=\d)"), "less than "),
    (re.compile(r"(?<![\w>=-])>\s?(?=\d)"), "more than "),
    (re.compile(r"\u2260|!="), " is not "),
    (re.compile(r"\u2030"), " per mille"),
    (re.compile(r"\s?(?:\u2192|\u21d2|->|=>|\u203a|\u00bb(?=\s)|(?<=\w )>(?= [A-Z]))\s?"), ", "),
    (re.compile(r"\bAT&T\b"), "A T and T"),
    (re.compile(r"\b([CF])#(?!\w)"), r"\1 sharp"),
    (re.compile(r"\bCO2\b"), "C O 2"),
    (re.compile(r"\s?&\s?"), " and "),
    (re.compile(r"\b([Hh])e/she\b"), r"\1e or she"),
    (re.compile(r"\band/or\b"), "and or"),
    (re.compile(r"(?<=[^\W\d_])/(?=[^\W\d_])"), " "),
    (re.compile(r"\s+/\s+"), ", "),
    (re.compile(r"(?<=\w)_(?=\w)"), " "),
    (re.compile(r"\s*[|\u2022\u00b7\u25aa]\s*"), ", "),
    (re.compile(r"[\u00ae\u00a9\u2122{}\\~`]+|(?<!\w)[*_^#]+(?!\w)"), " "),
    (re.compile(r"(?<!\w)#(?=[A-Za-z])"), ""),
    (re.compile(r"\u2026"), "... "),
    (re.compile(r"(?<=\d)\s?%\s?\u2013\s?(?=\d)"), " percent to "),
    (re.compile(r"(?:,\s*){2,}"), ", "),
    (re.compile(r"^\s*,\s*|\s*,\s*$"), ""),
    (re.compile(r"\s+(?=[,.;:!?)](?:\s|$))"), ""),
)


def with_spoken_ranges(text: str) -> str:
    """Rewrite ranges and minus signs: 5-7 days as 5 to 7 days."""
    text = _ORDINALS.sub(r"\1 to ", text)
    text = _RANGE.sub(_range, text)
    text = _LETTERS_RANGE.sub(r"\1 to ", text)
    text = _PERIODS.sub(r"\1 to ", text)
    return _MINUS.sub("minus ", text)


def with_spoken_figures(text: str) -> str:
    """Rewrite versions, addresses, powers and fractions."""
    text = text.translate(_SUBSCRIPTS)
    text = _NETWORK.sub(r"\1 slash ", text)
    text = _ADDRESS.sub(_address, text)
    text = _DOTTED.sub(lambda m: m.group().replace(".", ""), text)
    text = _LETTERS_PLURAL.sub(_letters_plural, text)
    text = _VERSION.sub(
        lambda m: f"{'version ' if m[1] else ''}{m[2].replace('.', ' point ')}", text
    )
    text = _SHORT_VERSION.sub(_short_version, text)
    text = _V.sub("version ", text)
    text = _SCIENTIFIC.sub(lambda m: f"{m[1]} times 10^{int(m[2])}", text)
    text = _RAISED.sub(_raised, text)
    text = _POWER.sub(_power, text)
    text = _VULGAR_SIGN.sub(lambda m: f"{m[1] + ' ' if m[1] else ''}{_VULGAR[m[2]]}", text)
    text = _ALWAYS.sub("24 7 365", text)
    text = _FRACTION.sub(_fraction, text)
    return _BIG_ORDINAL.sub(_big_ordinal, text)


def with_spoken_symbols(text: str) -> str:
    """Rewrite symbols as words, and remove those that are not spoken."""
    for sign, words in _SIGNS:
        text = sign.sub(words, text)
    return text


def _letters_plural(found: re.Match[str]) -> str:
    """Part the letters of PDFs and FAQs: espeak-ng leaves their last s out otherwise."""
    letters = found[1]
    if _SAID_AS_WORD.search(letters) and letters not in _SPELLED:
        return found.group()
    return f"{' '.join(letters)}'s"


def _range(found: re.Match[str]) -> str:
    first, dash = found[1], found[2]
    if re.fullmatch(r"\d+\.\d{3}", first):  # a clause of a code, as in 252.227-7013
        return found.group()
    rest = found.string[found.end() :]
    if first[0] in "$\u20ac\u00a3":  # an amount of money, which is said with its currency last
        return found.group()
    if dash == " - " and first.isdigit() and rest[:1].isdigit():
        second = re.match(r"\d+", rest)
        if second and int(second.group()) <= int(first):
            return found.group()
    return f"{first} to "


def _address(found: re.Match[str]) -> str:
    if any(int(part) > MOST_IN_BYTE for part in found.groups()):
        return found.group()
    return " dot ".join(found.groups())


def _short_version(found: re.Match[str]) -> str:
    return f"{'version ' if found[1] else ''}{found[2]} point {found[3]}"


def _raised(found: re.Match[str]) -> str:
    """Return a power; a figure raised behind a word or a year is the mark of a note."""
    base = re.search(r"\w*\W?$", found.string[: found.start()])
    if re.search(r"[=+*/\u00b7\u00d7]\s*\w{1,3}\Z", found.string[: found.start()]):  # a formula
        return f"^{found[1].translate(_SUPERSCRIPTS)}"
    is_note = base is not None and re.fullmatch(r"[^\W\d]{2,}|(?:1[1-9]|20)\d\d", base.group())
    return "" if is_note else f"^{found[1].translate(_SUPERSCRIPTS)}"


def _power(found: re.Match[str]) -> str:
    exponent = next(group for group in found.groups() if group)
    if exponent in {"2", "3"}:
        return " squared" if exponent == "2" else " cubed"
    return f" to the power of {exponent.replace('-', 'minus ')}"


def _fraction(found: re.Match[str]) -> str:
    whole, over, under = found.groups()
    if f"{over}/{under}" in _FIXED:
        return f"{whole + ' ' if whole else ''}{over} {under}"
    numerator, denominator = int(over), int(under)
    if denominator not in _PARTS or not 0 < numerator < denominator:
        return f"{whole + ' ' if whole else ''}{over} over {under}"
    name = _PARTS[denominator][numerator > 1]
    if not whole:
        return f"{'one' if numerator == 1 else over} {name}"
    return f"{whole} and {'a' if numerator == 1 else over} {name}"


def _big_ordinal(found: re.Match[str]) -> str:
    """Write the end of a round ordinal out, of which espeak-ng makes "hundred th"."""
    number = int(found[1].replace(",", ""))
    thousands, hundreds = divmod(number // 100, 10)
    if not hundreds:
        return f"{thousands:,} thousandth"
    return f"{f'{thousands} thousand ' if thousands else ''}{hundreds} hundredth"
