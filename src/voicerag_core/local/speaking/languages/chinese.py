"""Chinese as it is said: 2024-05-03 is 二零二四年五月三日, 5% are 百分之五.

Voices differ in how they read figures of this language (espeak-ng stops at a decimal point and
reads 1889 before a year as a number), so all of them are put into characters.
"""

from __future__ import annotations

import re

__all__ = ["with_chinese_words"]

_DIGITS = "零一二三四五六七八九"
_PLACES = ("", "十", "百", "千")
_LONGEST = 16
"""Digits of the largest number that is read as one."""
MONTHS, DAYS = 12, 31
TEENS = range(10, 20)
LAST_CENTURY = 70

_NUMBER = r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_DASH = r"\s?[-\u2013\u2014~]\s?"
_CJK = r"[\u3400-\u9fff]"
_CURRENCIES = {
    "¥": "元", "\uffe5": "元", "RMB": "元", "CNY": "元", "$": "美元", "US$": "美元", "USD": "美元",
    "€": "欧元", "EUR": "欧元", "£": "英镑", "GBP": "英镑", "JPY": "日元", "HK$": "港元",
}  # fmt: skip
_UNITS = {
    "km": "公里", "m": "米", "cm": "厘米", "mm": "毫米", "μm": "微米", "nm": "纳米", "kg": "公斤",
    "g": "克", "mg": "毫克", "μg": "微克", "t": "吨", "L": "升", "l": "升", "ml": "毫升",
    "mL": "毫升",
    "ha": "公顷", "s": "秒", "ms": "毫秒", "min": "分钟", "h": "小时", "W": "瓦", "kW": "千瓦",
    "MW": "兆瓦", "kWh": "千瓦时", "V": "伏", "kV": "千伏", "A": "安", "mA": "毫安",
    "mAh": "毫安时",
    "Hz": "赫兹", "kHz": "千赫", "MHz": "兆赫", "GHz": "吉赫", "KB": "千字节", "kB": "千字节",
    "MB": "兆字节", "GB": "吉字节", "TB": "太字节", "Pa": "帕", "kPa": "千帕", "hPa": "百帕",
    "N": "牛", "J": "焦", "kJ": "千焦", "cal": "卡", "kcal": "千卡", "dB": "分贝", "°C": "摄氏度",
    "°F": "华氏度", "°": "度", "px": "像素",
}  # fmt: skip
_MEASURED = (
    "个位名人天年月周次种只条本家件台套座间层块张把辆部句页项门杯瓶份岁倍小分秒米公吨升元欧美"
)
_UNIT = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
_CURRENCY = "|".join(sorted(map(re.escape, _CURRENCIES), key=len, reverse=True))

_ISO = re.compile(
    r"(?<![\w.-])(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?:T(\d\d:\d\d)(?::\d\d)?Z?)?(?![\d-]|[./]\d)"
)
_YEAR = re.compile(r"(?<![\d.,])(\d{4}|\d\d(?=年代))(?=年)")
_YEARS = re.compile(rf"(?<![\d.,])(\d{{4}}){_DASH}(?=\d{{4}}年)")
_CLOCK = re.compile(r"(?<![\d:.,])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\d:])")
_RATIO = re.compile(r"(?<![\d:.])(\d{1,3}):(\d{1,6})(?![\d:])")
_PHONES = (
    re.compile(r"(?<![\w+])\+\d{1,3}(?:[\s.\-/]*(?:\(0?\d*\)|\d)){6,14}(?![\d-]|[./]\d)"),
    re.compile(r"(?<![\d.,+-])0\d{2,3}[- ]?\d{7,8}(?![\d-])"),
    re.compile(r"(?<![\d.,+-])1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?![\d-])"),
    re.compile(r"(?<![\d.,+-])[48]00-\d{3}-?\d{4}(?![\d-])"),
    re.compile(r"(?<=电话)((?:号码)?(?:是|为|[:：])?\s?)\d{3,12}|(?<=拨打)()\d{3,12}"),
)
_NAMED = re.compile(
    r"((?:编号|订单号?|房间|密码|邮编|验证码|代码|账号|学号|工号)(?:是|为|[:：])?\s?)(\d{3,12})(?!\d)"
)
_PERCENT = re.compile(rf"(-|\u2212)?((?:{_NUMBER}))(?:{_DASH}((?:{_NUMBER})))?\s?([%\u2030])")
_PERCENT_RANGE = re.compile(rf"(?<=\d)\s?%{_DASH}(?=\d[\d.]*\s?%)")
_MONEY_FIRST = re.compile(
    rf"(?<![A-Za-z])({_CURRENCY})\s?((?:{_NUMBER})(?:{_DASH}(?:{_NUMBER}))?)\s?([万亿千百]*)(?:元)?"
)
_MONEY_LAST = re.compile(rf"((?:{_NUMBER}))\s?([万亿千百]*)\s?({_CURRENCY})(?![A-Za-z])")
_POWER = r"(?:\^?([23²³])(?!\d))?"
_MEASURE = re.compile(rf"(?<=\d)\s?({_UNIT}){_POWER}(?:\s?/\s?({_UNIT}){_POWER})?(?![A-Za-z\d/])")
_SQUARED = {"2": "平方", "²": "平方", "3": "立方", "³": "立方"}
_FRACTION = re.compile(r"(?<![\d./-])(?:(\d+) )?(\d{1,3})/(\d{1,3})(?![\d/-])")
_VULGAR = str.maketrans({"½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"})
_ADDRESS = re.compile(r"(?<![\w.])\d+(?:\.\d+){2,}(?![\d.])")
_CENTS = re.compile(r"(?:(?<=\.\d)0|(?<=\d)\.00)(?=[万亿]?(?:元|美元|欧元|英镑|日元|港元))")
_RANGE = re.compile(rf"(?<![\w.-])((?:{_NUMBER})[万亿千百]?){_DASH}(?=(?:{_NUMBER})(?![\d-]))")
_MINUS = re.compile(r"(?<![\w)])[-\u2212](?=\d)")
_RAISED = re.compile(r"(?<=\d)\^(-?\d+)")
_TWO = re.compile(rf"(?<![\d.,第])2(?=[{_MEASURED}])(?![月日号年])")
_ANY = re.compile(rf"(?:{_NUMBER})")
_MODEL = re.compile(r"(?:(?<=[A-Z])|(?<=[A-Z][ -]))\d{3,}(?![\d.])")
_SIGNS = (
    (re.compile(r"(?<=\d)\s?[×*]\s?(?=\d)"), "乘"), (re.compile(r"\s?÷\s?"), "除以"),
    (re.compile(r"\u2265\s?|>=\s?(?=\d)"), "不少于"),
    (re.compile(r"\u2264\s?|<=\s?(?=\d)"), "不多于"),
    (re.compile(r"\u2248\s?"), "约"), (re.compile(r"(?<![\w<-])<\s?(?=\d)"), "小于"),
    (re.compile(r"(?<![\w>=-])>\s?(?=\d)"), "大于"), (re.compile(r"\s?&\s?"), "和"),
    (re.compile(r"\s?(?:\u2192|->|=>)\s?"), ","), (re.compile(r"(?<=\w)\s?=\s?(?=\w)"), "等于"),
    (re.compile(r"(?<=\d)\s?\+\s?(?=\d)"), "加"), (re.compile(r"№\s?"), "第"),
    (re.compile(r"[®©™{}\\`|]+|(?<!\w)[*_^#]+(?!\w)"), " "),
)  # fmt: skip


def with_chinese_words(text: str) -> str:
    """Return a Chinese text with its figures and signs as they are said."""
    text = text.translate(_VULGAR)
    for phone in _PHONES:
        text = phone.sub(_phone, text)
    text = _NAMED.sub(lambda m: m[1] + _one_by_one(m[2]), text)
    text = _ISO.sub(_date, text)
    text = _YEARS.sub(lambda m: f"{_one_by_one(m[1])}到", text)
    text = _YEAR.sub(lambda m: _one_by_one(m[1]) if len(m[1]) > 2 else _number(m[1]), text)  # noqa: PLR2004
    text = re.sub(rf"(\d:\d\d){_DASH}(?=\d\d?:\d\d)", r"\1到", text)
    text = _CLOCK.sub(_clock, text)
    text = _RATIO.sub(r"\1比\2", text)
    text = _ADDRESS.sub(
        lambda m: "点".join(_one_by_one(part) for part in m.group().split(".")), text
    )
    text = re.sub(r"(?<![A-Za-z])[vV](?=\d)", "版本", text)
    text = _PERCENT_RANGE.sub("%到", text)
    text = _PERCENT.sub(_percent, text)
    text = _MONEY_FIRST.sub(lambda m: f"{m[2]}{m[3]}{_CURRENCIES[m[1]]}", text)
    text = _MONEY_LAST.sub(lambda m: f"{m[1]}{m[2]}{_CURRENCIES[m[3]]}", text)
    text = _RANGE.sub(r"\1到", text)
    text = _CENTS.sub("", text)
    text = _FRACTION.sub(_fraction, text)
    text = _MEASURE.sub(_measure, text)
    text = _RAISED.sub(lambda m: f"的{m[1].replace('-', '负')}次方", text)
    text = _MINUS.sub("负", text)
    for sign, words in _SIGNS:
        text = sign.sub(words, text)
    text = _MODEL.sub(lambda m: _one_by_one(m.group()), text)
    text = _TWO.sub("两", text)
    text = _ANY.sub(lambda m: _number(m.group()), text)
    return re.sub(rf"(?<={_CJK}) (?={_CJK})", "", text)


def _number(figures: str) -> str:
    """Return a number in characters: 10,250.5 is 一万零二百五十点五."""
    whole, _, decimals = figures.replace(",", "").partition(".")
    tail = f"点{_one_by_one(decimals)}" if decimals else ""
    if len(whole) > _LONGEST or (len(whole) > 1 and whole[0] == "0"):
        return _one_by_one(whole) + tail
    return _cardinal(int(whole)) + tail


def _cardinal(number: int) -> str:
    said = _counted(number) or "零"
    return said.removeprefix("一") if said.startswith("一十") else said


def _counted(number: int) -> str:
    """Return a number in characters, nothing for zero; one at the head of ten is written."""
    for size, name in ((10**8, "亿"), (10**4, "万")):
        high, low = divmod(number, size)
        if high:
            gap = "零" if 0 < low < size // 10 else ""
            return f"{_counted(high)}{name}{gap}{_counted(low)}"
    return _thousands(number)


def _thousands(group: int) -> str:
    """Return a number below ten thousand."""
    said = "".join(
        _DIGITS[int(digit)] + (_PLACES[place] if digit != "0" else "")
        for place, digit in zip(range(len(str(group)) - 1, -1, -1), str(group), strict=True)
    )
    return re.sub("零+", "零", said).rstrip("零")


def _one_by_one(figures: str) -> str:
    return "".join(_DIGITS[int(digit)] for digit in figures)


def _phone(found: re.Match[str]) -> str:
    """Return a telephone number digit by digit, where one is said yao."""
    number = found.group()
    before = "".join(group for group in found.groups() if group)
    groups = re.findall(r"\d+", number.replace("(0)", " "))
    said = ",".join(_one_by_one(group) for group in groups).replace("一", "幺")
    return f"{before}{'加' if number.startswith('+') else ''}{said}"


def _date(found: re.Match[str]) -> str:
    year, _, month, day, clock = found.groups()
    if not (1 <= int(month) <= MONTHS and 1 <= int(day) <= DAYS):
        return found.group()
    date = f"{_one_by_one(year)}年{_number(str(int(month)))}月{_number(str(int(day)))}日"
    return f"{date}{clock or ''}"


def _clock(found: re.Match[str]) -> str:
    hour, minute = int(found[1]), int(found[2])
    said = "两点" if hour == 2 else f"{_cardinal(hour)}点"  # noqa: PLR2004
    if minute:
        said += f"{'零' if minute < TEENS.start else ''}{_cardinal(minute)}分"
    return said + (f"{_cardinal(int(found[3]))}秒" if found[3] and int(found[3]) else "")


def _percent(found: re.Match[str]) -> str:
    minus, first, last, sign = found.groups()
    said = f"{'百' if sign == '%' else '千'}分之{_number(first)}"
    return ("负" if minus else "") + said + (f"到{_number(last)}" if last else "")


def _fraction(found: re.Match[str]) -> str:
    whole, over, under = found.groups()
    return f"{f'{_number(whole)}又' if whole else ''}{_number(under)}分之{_number(over)}"


def _measure(found: re.Match[str]) -> str:
    unit, raised, per, per_raised = found.groups()
    said = _SQUARED.get(raised or "", "") + _UNITS[unit]
    return f"{said}每{_SQUARED.get(per_raised or '', '')}{_UNITS[per]}" if per else said
