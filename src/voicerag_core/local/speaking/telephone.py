"""Numbers that name something, telephone numbers above all: they are said digit by digit."""

from __future__ import annotations

import re

__all__ = ["with_spoken_numbers"]

ROUND = 50
"""Both ends of "500-1000" are multiples of this, which hardly any telephone number is."""

_GROUPED = re.compile(r"(?<![\w.,+])[1-9]\d{0,2}(?:[ \u00a0\u202f]\d{3})+(?![\w,-]|\.\d| \d)")
_PHONES = (
    re.compile(r"(?<![\w+])\+\d{1,3}(?:[\s.\-/]*(?:\(0?\d*\)|\d)){6,14}(?![\w-]|[./]\d)"),
    re.compile(r"(?<!\w)\(\d{2,5}\)\s?\d{2,4}(?:[\s\-.]?\d{2,5}){0,3}(?![\w-]|[./]\d)"),
    re.compile(r"(?<![\w.,+-])(?:1[-. ])?\d{3}([-. ])\d{3}\1\d{4}(?![\w-]|[./]\d)"),
    re.compile(r"(?<![\w.,+/-])\d{3}-\d{4}(?![\w-]|[./]\d)"),
    re.compile(r"(?<![\w.,+-])0\d{1,4}(?:[\s/-]\d{2,8}){1,4}(?![\w-]|[.,/]\d)"),
    re.compile(r"(?<![\w.,+-])\d+(?:-\d+){2,}(?![\w-]|[./]\d)"),
    re.compile(r"(?<![\w.,+-])\d{4}(?:[ -]\d{4}){2,4}(?![\w-]|[./]\d)"),
    re.compile(r"(?<![\w.,+-])0\d{2,}(?![\w-]|[.,/]\d)"),
    re.compile(r"(?<![\w.,+$\u20ac\u00a3-])\d{9,}(?![\w-]|[.,/]\d)"),
    re.compile(r"(?<![\w.,+-])\d{3,}-0\d+(?![\w-]|[.,/]\d)"),
)
_DIALLED = re.compile(
    r"(?i)\b(call|dial|phone|telephone|tel\.?|mobile|fax|ext\.?|extension|pin|code|zip|postcode|"
    r"account|hotline|helpline)((?:\s(?:no\.?|number|is|at|on))?[.:]?\s)(\d{3,8}(?: \d{2,4}){0,3})"
    r"(?![\w-]|[.,:/]\d|\s(?!(?:or|and|now|if|to|for|in|when|at|from|today)\b)[a-z])"
)
_NAMED = re.compile(
    r"(?i)\b(id|order|ticket|invoice|case|reference|ref\.?|serial|sku|badge|policy|customer|member|"
    r"contract|rfc)((?:\s(?:no\.?|number))?[.:]?\s(?:#|number )?)(?!(?:19|20)\d\d\b)(\d{4,8})"
    r"(?![\w-]|[.,:/]\d|\s(?!(?:or|and|now|if|to|for|in|when|at|from|today|is|was|has|says)\b)[a-z])"
)
_ACCOUNT = re.compile(r"\b[A-Z]{2}\d{2}(?: [A-Z\d]{4}){2,7}(?: [A-Z\d]{1,4})?\b")
_CODE = re.compile(r"(?<![\w-])([A-Z]{1,5})-?(\d{4,})(?![\w-]|\.\d)")


def with_spoken_numbers(text: str) -> str:
    """Part telephone numbers, codes and long numbers into digits, with a pause between groups.

    Thousands parted by blanks are one number.
    """
    text = _GROUPED.sub(lambda m: re.sub(r"\s", "", m.group()), text)
    text = _ACCOUNT.sub(lambda m: _grouped(m.group()), text)
    for phone in _PHONES:
        text = phone.sub(_digit_by_digit, text)
    text = _DIALLED.sub(lambda m: f"{m[1]}{m[2]}{_grouped(m[3])}", text)
    text = _NAMED.sub(lambda m: f"{m[1]}{m[2]}{' '.join(m[3])}", text)
    return _CODE.sub(_code, text)


def _grouped(number: str) -> str:
    return ", ".join(" ".join(group) for group in number.split())


def _digit_by_digit(found: re.Match[str]) -> str:
    number = found.group()
    if number.startswith("+"):
        number = number.replace("(0)", " ")  # not dialled behind the code of a country
    groups = re.findall(r"\d+", number)
    if re.fullmatch(r"\d+-\d+", number) and not any(int(group) % ROUND for group in groups):
        return number
    plus = "plus " if number.startswith("+") else ""
    return plus + ", ".join(" ".join(group) for group in groups)


def _code(found: re.Match[str]) -> str:
    letters, digits = found.groups()
    if re.fullmatch(r"(?:19|20)\d\d", digits):  # a year, as in FY2024
        return f"{letters} {digits}"
    return f"{letters} {' '.join(digits)}"
