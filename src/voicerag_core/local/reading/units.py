"""Units of measure and money in five languages, as a dimension and a factor."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final

__all__ = ["COUNT", "SCALES", "UNIT_WORD", "YEAR", "unit_of"]

YEAR: Final = "year"
"""Dimension of a figure that names a year."""
COUNT: Final = ""
"""Dimension of a figure without a unit."""

_TABLE: Final = (
    # dimension, factor, words; a word's plural in s, n or en counts, too
    ("length", 0.001, "mm millimetre millimeter millimètre milímetro 毫米"),
    ("length", 0.01, "cm centimetre centimeter zentimeter centimètre centímetro 厘米"),
    ("length", 1, "m metre meter mètre metro 米"),
    ("length", 1000, "km kilometre kilometer kilomètre kilómetro 公里 千米"),
    ("length", 0.0254, "in inch inches zoll"),
    ("length", 0.3048, "ft foot feet"),
    ("length", 0.9144, "yd yard"),
    ("length", 1609.344, "mi mile meile"),
    ("area", 1, "m² m2 sqm"),
    ("area", 1e6, "km² km2"),
    ("area", 1e4, "ha hectare hektar"),
    ("mass", 0.001, "mg milligram milligramm"),
    ("mass", 1, "g gram gramm gramme gramo 克"),
    ("mass", 1000, "kg kilogram kilogramm kilogramme kilogramo kilo 公斤 千克"),
    ("mass", 1e6, "t ton tonne 吨"),
    ("pound", 1, "lb lbs pound pfund livre libra"),
    ("mass", 28.349523125, "oz ounce unze"),
    ("volume", 0.001, "ml millilitre milliliter"),
    ("volume", 0.01, "cl centilitre"),
    ("volume", 1, "l litre liter litro 升"),
    ("time", 0.001, "ms millisecond"),
    ("time", 1, "s sec second sekunde seconde segundo 秒"),
    ("time", 60, "min minute minuto 分钟"),
    ("time", 3600, "h hr hour stunde heure hora 小时"),
    ("time", 86400, "d day days tag tage jour día 天"),
    ("time", 604800, "wk week woche semaine semana 周 星期"),
    ("months", 1, "month monat monate mois mes meses 个月"),
    ("months", 12, "yr year jahr jahre an ans année año"),
    ("%", 1, "% percent prozent"),
    ("money dollar", 1, "$ usd us$ dollar dólar 美元"),
    ("money euro", 1, "€ eur euro 欧元"),
    ("pound", 1, "£ gbp 英镑"),
    ("money yen", 1, "¥ jpy yen 日元"),
    ("money yuan", 1, "cny rmb yuan 元 人民币"),
    ("money franc", 1, "chf franc franken"),
    ("money krone", 1, "nok sek dkk krone kronor kroner"),
    ("money rupee", 1, "₹ inr rupee"),
    ("money cent", 1, "cent pence penny centime céntimo ¢"),
    ("degrees", 1, "°c °f ° celsius fahrenheit degree grad degré grado 度"),
    ("bytes", 1e3, "kb kilobyte"),
    ("bytes", 1e6, "mb megabyte"),
    ("bytes", 1e9, "gb gigabyte"),
    ("bytes", 1e12, "tb terabyte"),
    ("power", 1, "w watt"),
    ("power", 1e3, "kw kilowatt"),
    ("power", 1e6, "mw megawatt"),
    ("energy", 1, "kwh"),
    ("voltage", 1, "v volt"),
    ("frequency", 1, "hz hertz"),
    ("frequency", 1e6, "mhz"),
    ("frequency", 1e9, "ghz"),
    ("speed", 1, "km/h kmh kph"),
    ("speed", 1.609344, "mph"),
)
_PHRASES: Final = MappingProxyType(
    {
        r"per cent|pour cent|por ciento|vom hundert": "%",
        r"square met(?:re|er)s?|Quadratmetern?|mètres carrés|metros cuadrados|平方米": "m²",
        r"square kilomet(?:re|er)s?|Quadratkilometern?|平方公里": "km²",
        r"kilomet(?:re|er)s (?:per|an) hour": "km/h",
        r"miles (?:per|an) hour": "mph",
        r"degrees? (?:celsius|fahrenheit)|grad celsius": "°",
        r"US dollars?|U\.S\. dollars?": "$",
        r"pounds? sterling": "£",
    }
)
SCALES: Final = MappingProxyType(
    {
        "k": 1e3, "thousand": 1e3, "tausend": 1e3, "mille": 1e3, "mil": 1e3, "千": 1e3,
        "hundred": 1e2, "hundert": 1e2, "百": 1e2, "dozen": 12, "万": 1e4, "萬": 1e4,
        "million": 1e6, "millions": 1e6, "millionen": 1e6, "millones": 1e6, "millón": 1e6,
        "mio": 1e6, "mn": 1e6, "亿": 1e8, "億": 1e8, "billion": 1e9, "billions": 1e9, "bn": 1e9,
        "milliarde": 1e9, "milliarden": 1e9, "milliard": 1e9, "milliards": 1e9, "mrd": 1e9,
        "trillion": 1e12, "trillions": 1e12, "tn": 1e12,
    }
)  # fmt: skip
"""What a figure is multiplied by that such a word follows."""

_UNITS: Final = {word: (what, factor) for what, factor, words in _TABLE for word in words.split()}
UNIT_WORD = re.compile(
    rf"\s?-?\s?(?:(?P<phrase>{'|'.join(_PHRASES)})(?!\w)"
    r"|(?P<sign>km/h|km²|m²|°\s?[CF]?|[%€£¥$₹¢]|[㎞]|[毫厘]?米|公里|千米|公斤|千克|[克吨升秒天周度元]"
    r"|分钟|小时|星期|个月|[美欧日]元|英镑|人民币)"
    r"|(?P<word>[^\W\d_]+[²2]?)(?![\w]))",
    re.IGNORECASE,
)
"""What may stand behind a figure and be its unit."""


def unit_of(word: str) -> tuple[str, float] | None:
    """Return the dimension and factor of a unit, or None for other words.

    Args:
        word: As it is written: "km", "Kilometres", "€".
    """
    plain = word.lower().replace(" ", "")
    for phrase, sign in _PHRASES.items():
        if re.fullmatch(phrase, word, re.IGNORECASE):
            plain = sign
    for ending in ("", "s", "n", "en", "es"):
        stem = plain.removesuffix(ending) if ending else plain
        if stem in _UNITS and (stem == plain or len(stem) > 2):  # noqa: PLR2004 - no plural of "m"
            return _UNITS[stem]
    return None
