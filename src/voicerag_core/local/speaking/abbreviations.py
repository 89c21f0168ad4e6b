"""Abbreviations that are said as words."""

from __future__ import annotations

import re

__all__ = ["with_words_for_abbreviations"]

_BEFORE_FIGURE = {
    "No": "number", "Nos": "numbers", "Nr": "number", "Fig": "figure", "Figs": "figures",
    "Sec": "section", "Sect": "section", "Ch": "chapter", "Chap": "chapter", "Vol": "volume",
    "Eq": "equation", "Ex": "example", "Art": "article", "Tab": "table", "App": "appendix",
    "pp": "pages", "p": "page", "no": "number", "nos": "numbers", "fig": "figure",
    "vol": "volume", "ver": "version", "Ver": "version", "v": "version", "ca": "about",
    "c": "about", "Ext": "extension", "ext": "extension", "Apt": "apartment", "Rm": "room",
    "Rev": "revision", "Bldg": "building", "Par": "paragraph", "para": "paragraph", "cf": "compare",
}  # fmt: skip
"""With a dot, and before a figure only: "No. 5", but not "No."."""

_WORDS = {
    "approx": "approximately", "incl": "including", "excl": "excluding", "max": "maximum",
    "min": "minimum", "avg": "average", "vs": "versus", "resp": "respectively", "esp": "especially",
    "dept": "department", "mgmt": "management", "govt": "government", "temp": "temperature",
    "tel": "telephone", "ref": "reference", "qty": "quantity", "misc": "miscellaneous",
    "est": "established", "ave": "avenue", "blvd": "boulevard", "corp": "corporation",
    "inc": "incorporated", "ltd": "limited", "bros": "brothers", "encl": "enclosed",
    "mr": "mister", "mrs": "missus", "ms": "miz", "dr": "doctor", "prof": "professor",
    "jr": "junior", "sr": "senior", "gen": "general", "sgt": "sergeant", "capt": "captain",
    "gov": "governor", "sen": "senator", "rep": "representative", "col": "colonel", "maj": "major",
    "mt": "mount", "ft": "fort", "lt": "lieutenant", "hon": "honorable",
    "rev": "reverend", "messrs": "messieurs",
}  # fmt: skip
"""With a dot. A title's dot would be heard as the end of the sentence."""

_NEVER_LAST = frozenset("approx incl excl max min avg vs resp esp tel ref qty temp".split())
"""The sentence goes on behind these, even where a name follows: "excl. VAT"."""
_TITLES = frozenset(
    "mr mrs ms dr prof gen sgt capt lt hon rev messrs gov sen rep col maj mt ft".split()
)
_LATIN = (
    (re.compile(r"\be\.\s?g\.(?:,)?|\beg\.", re.IGNORECASE), "for example"),
    (re.compile(r"\bi\.\s?e\.(?:,)?", re.IGNORECASE), "that is"),
    (re.compile(r"\ba\.\s?k\.\s?a\.", re.IGNORECASE), "also known as"),
    (re.compile(r"\bet al\.", re.IGNORECASE), "and others"),
    (re.compile(r"\bn/a\b", re.IGNORECASE), "not applicable"),
    (re.compile(r"\bw/o\b\.?"), "without"),
    (re.compile(r"\bw/(?=\s|\w)"), "with "),
    (re.compile(r"\bc/o\b"), "care of"),
    (re.compile(r"\bPh\.\s?D\."), "PhD"),
    (re.compile(r"\bRev\.(?= [A-Z]\b(?!\.))"), "Revision"),
    (re.compile(r"(?<=%)\s?p\.\s?m\.(?!\w)"), " per month"),
    (re.compile(r"\bcf\."), "compare"),
    (re.compile(r"\bvs\b(?!\.)"), "versus"),
    (re.compile(r"\bapprox\b(?!\.)"), "approximately"),
    (re.compile(r"\bWW\s?(?=II?\b|[12]\b)"), "World War "),
    (re.compile(r"\bCW\s?(?=\d)"), "calendar week "),
    (re.compile(r"\bp\.\s?a\.(?!\w)"), "per year"),
    (re.compile(r"(?<=[a-z] )Str?\.(?=[,;)])"), "Street"),
    (re.compile(r"(?<=[a-z] )Str?\.(?=\s*$)"), "Street."),
    (re.compile(r"\bSt\.(?=\s[A-Z])"), "Saint"),
    (re.compile(r"(?<=\d )(?:min)\.(?=\s[a-z(])"), "minutes"),
    (re.compile(r"\betc\.\s*(?=[,;)])"), "et cetera"),
)
_FIGURE = re.compile(rf"\b({'|'.join(_BEFORE_FIGURE)})\.\s?(?=\d|[IVXL]+\b)")
_NUMBER_SIGN = re.compile(r"(?:#|\u2116\s?|\bN[o\u00ba\u00b0]\s?\u00ba?\s?)(?=\d)(?<!\w#)")
_SECTIONS = re.compile(r"\u00a7\u00a7?\s?(?=\d)")
_WORD = re.compile(rf"\b({'|'.join(_WORDS)})\.", re.IGNORECASE)


def with_words_for_abbreviations(text: str) -> str:
    """Write out what is read out: "e.g." is "for example", "No. 5" is "number 5"."""
    for pattern, words in _LATIN:
        text = pattern.sub(words, text)
    text = _FIGURE.sub(lambda found: f"{_BEFORE_FIGURE[found[1]]} ", text)
    text = _NUMBER_SIGN.sub("number ", text)
    text = _SECTIONS.sub("section ", text)
    return _WORD.sub(_word, text)


def _word(found: re.Match[str]) -> str:
    """Return the word for an abbreviation, with its dot where that ends the sentence."""
    given, after = found[1], found.string[found.end() :]
    word = _WORDS[given.lower()]
    if given.lower() in _TITLES and not (given[0].isupper() and re.match(r"\s?[A-Z]", after)):
        return found.group()
    if given.lower() in {"max", "min", "temp", "gen", "est", "inc"} and re.match(r"\s*$", after):
        return found.group() if given[0].islower() else f"{given}."
    word = word.capitalize() if given[0].isupper() else word
    if given == "Sr" and re.match(r"\s[A-Z]", after):  # "Sr. Engineer"
        return word
    goes_on = given.lower() in _NEVER_LAST | _TITLES or re.match(r"\s*[a-z\d,;(]", after)
    return word if goes_on and after.strip() else f"{word}."
