"""French as it is said: "le 1er mai" is "le premier mai", 14h30 are "14 heures 30"."""

from __future__ import annotations

import re

from voicerag_core.local.speaking.languages.european import Wording, nouns, rules, with_words
from voicerag_core.local.speaking.numerals import ROMAN, roman_value

__all__ = ["with_french_words"]

_ONES = (
    "", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix", "onze",
    "douze", "treize", "quatorze", "quinze", "seize", "dix-sept", "dix-huit", "dix-neuf",
)  # fmt: skip
_TENS = {
    20: "vingt",
    30: "trente",
    40: "quarante",
    50: "cinquante",
    60: "soixante",
    80: "quatre-vingt",
}
_MONTHS = (
    "janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre",
    "octobre", "novembre", "décembre",
)  # fmt: skip
_SHORT = {
    "janv": 1, "févr": 2, "fév": 2, "avr": 4, "juil": 7, "sept": 9, "oct": 10, "nov": 11,
    "déc": 12,
}  # fmt: skip
_WEEKDAYS = {
    "lun": "lundi", "mar": "mardi", "mer": "mercredi", "jeu": "jeudi", "ven": "vendredi",
    "sam": "samedi", "dim": "dimanche",
}  # fmt: skip
_FEMININE = re.compile(
    r"(?:^|-)(?:heure|minute|seconde|milliseconde|tonne|calorie|kilocalorie|livre|once)\b"
)

_ORDINAL = re.compile(r"(?<![\w.,])(\d{1,2})(er|re|ère|e|ème|nd|nde)s?\b")
_ROMAN_ORDINAL = re.compile(
    rf"(?<![\w-])(?:(I)(?=er|re|ère)|(?=[IVX])({ROMAN})(?=e))(er|re|ère|e|ème)\b"
)
_RULER = re.compile(
    rf"\b((?!Le |La |Les |Un |Une |En |Au )[A-ZÉ]\w+) (?=[IVXL]{{2}})({ROMAN})(?![\w-])"
)
_RULER_FIFTH = re.compile(
    r"\b(Charles|Henri|Philippe|Paul|Pie|Georges|Jean|Urbain|République) (V|X)(?![\w-])"
)
_PART = re.compile(
    r"\b([Cc]hapitre|[Pp]artie|[Tt]ome|[Vv]olume|[Ll]ivre|[Aa]cte|[Ss]cène|[Aa]rticle|[Aa]nnexe|"
    rf"[Pp]hase|[Tt]ype|[Tt]itre|[Nn]iveau) (?=[IVXL])({ROMAN})(?![\w-])"
)
_HOURS_RANGE = re.compile(r"(?<=\d)(\s?h(?:\d\d)?)\s?[-\u2013\u2014]\s?(?=\d{1,2}\s?[h:])")
_ONE = re.compile(
    r"(?<![\w.,])1 (?=(?:fois|page|personne|partie|semaine|année|journée|étape|pièce|ligne|chambre|"
    r"table|place|clé|carte|nuit|boîte|bouteille|tasse|voiture|\w+(?:tion|sion|té|ette|ance|ence))\b)"
)
_CLOCK = re.compile(r"(?<![\w.,:])([01]?\d|2[0-4])\s?[hH]\s?([0-5]\d)(?![\w:])")


def with_french_words(text: str) -> str:
    """Return a French text with its figures and signs as they are said."""
    text = _HOURS_RANGE.sub(r"\1 à ", text)
    text = _CLOCK.sub(r"\1:\2", text)
    text = _ROMAN_ORDINAL.sub(lambda m: f"{roman_value(m[1] or m[2])}{m[3]}", text)
    text = _PART.sub(lambda m: f"{m[1]} {roman_value(m[2])}", text)
    for pattern in (_RULER_FIFTH, _RULER):
        text = pattern.sub(lambda m: f"{m[1]} {roman_value(m[2])}", text)
    text = with_words(text, _FRENCH)
    return _ORDINAL.sub(_ordinal, _ONE.sub("une ", text))


def _cardinal(number: int) -> str:
    """Return a number from 1 to 99 in words, as an ordinal is made from it."""
    if number < len(_ONES):
        return _ONES[number]
    tens = number // 20 * 20 if number >= 60 else number // 10 * 10  # noqa: PLR2004
    ones = number - tens
    if not ones:
        return _TENS[tens]
    link = " et " if ones in {1, 11} and tens != 80 else "-"  # noqa: PLR2004
    return f"{_TENS[tens]}{link}{_ONES[ones]}"


def _ordinal(found: re.Match[str]) -> str:
    number, ending = int(found[1]), found[2]
    many = "s" if found.group().endswith("s") else ""
    if not number or (number == 1) != (ending in {"er", "re", "ère"}):
        return found.group()
    if number == 1:
        return f"premi{'er' if ending == 'er' else 'ère'}{many}"
    if ending in {"nd", "nde"}:
        return f"second{ending[2:]}{many}" if number == 2 else found.group()  # noqa: PLR2004
    stem = _cardinal(number)
    stem = {"q": f"{stem}u", "f": f"{stem[:-1]}v"}.get(stem[-1], stem.removesuffix("e"))
    return f"{stem}ième{many}"


def _date(_before: str, day: int, month: int, year: str) -> str:
    said = ["premier" if day == 1 else str(day), _MONTHS[month - 1] if month else "", year]
    return " ".join(part for part in said if part)


def _clock(hour: int, minute: int) -> str:
    return _count(str(hour), "heure") + (f" {minute}" if minute else "")


def _count(number: str, noun: str) -> str:
    feminine = _FEMININE.search(noun) is not None
    if number == "1":
        return f"{'une' if feminine else 'un'} {noun}"
    if feminine and number in {"21", "31", "41", "51", "61"}:
        number = f"{number[0]}0 et une"
    if float(number.replace(".", "").replace(",", ".").split()[0]) < 2:  # noqa: PLR2004
        return f"{number} {noun}"
    return f"{number} {_plural(noun)}"


def _plural(noun: str) -> str:
    first, *rest = noun.split()
    if first in {"hertz", "kilohertz", "mégahertz", "gigahertz", "lux", "yen", "yuan", "mille"}:
        return noun
    rest = [
        f"{word}s" if word in {"carré", "cube", "américain", "suisse"} else word for word in rest
    ]
    return " ".join([f"{first.replace('-heure', 's-heure')}s", *rest])


def _scaled(scale: str, noun: str) -> str:
    many = _plural(noun)
    if scale == "mille":
        return many
    return f"d'{many}" if many[0] in "aeiou" else f"de {many}"


_UNITS = nouns(
    "km kilomètre;m mètre;cm centimètre;mm millimètre;\u03bcm micromètre;nm nanomètre;"
    "kg kilogramme;g gramme;mg milligramme;\u03bcg microgramme;t tonne;l litre;L litre;"
    "ml millilitre;mL millilitre;"
    "cl centilitre;dl décilitre;hl hectolitre;ha hectare;s seconde;ms milliseconde;"
    "min minute;mn minute;h heure;W watt;kW kilowatt;MW mégawatt;GW gigawatt;Wh watt-heure;"
    "kWh kilowatt-heure;MWh mégawatt-heure;GWh gigawatt-heure;V volt;kV kilovolt;mV millivolt;"
    "A ampère;mA milliampère;mAh milliampère-heure;\u03a9 ohm;Hz hertz;kHz kilohertz;"
    "MHz mégahertz;GHz gigahertz;ko kilo-octet;Ko kilo-octet;Mo mégaoctet;Go gigaoctet;"
    "To téraoctet;kB kilo-octet;MB mégaoctet;GB gigaoctet;TB téraoctet;kbit kilobit;"
    "Mbit mégabit;Gbit gigabit;Pa pascal;hPa hectopascal;kPa kilopascal;bar bar;mbar millibar;"
    "N newton;kN kilonewton;J joule;kJ kilojoule;cal calorie;kcal kilocalorie;dB décibel;lm lumen;"
    "lx lux;\u00b0C degré Celsius;\u00b0F degré Fahrenheit;\u00b0 degré;px pixel"
)

_ABBREVIATIONS = rules(
    r"""
    \bp\.\s?ex\. -> par exemple
    \bc\.-à-d\.|\bc\.\s?-\s?à\s?-\s?d\. -> c'est-à-dire
    \bav\. J\.-C\. -> avant Jésus-Christ
    \bapr?\. J\.-C\. -> après Jésus-Christ
    \betc\.(?=\s*$) -> et cetera.
    \betc\. -> et cetera
    \benv\. -> environ
    \b[Nn](?:\u00b0|\u00ba|o\.)\s?(?=\d)|\u2116\s? -> numéro_
    \bMM\. -> messieurs
    \bM\.(?= [A-ZÉ]) -> monsieur
    \bMme\b\.? -> madame
    \bMlle\b\.? -> mademoiselle
    \bDr\b\.?(?= [A-Z]) -> docteur
    \bPr\b\.?(?= [A-Z]) -> professeur
    \bpp\.\s?(?=\d) -> pages_
    \bp\.\s?(?=\d) -> page_
    \bfig\.\s?(?=\d) -> figure_
    \bart\.\s?(?=\d) -> article_
    \bchap\.\s?(?=\d) -> chapitre_
    \bvol\.\s?(?=\d) -> volume_
    \b[Tt]él\. -> téléphone
    \bcf\. -> voir
    \bmax\. -> maximum
    \bmin\.(?= \d) -> minimum
    \bSt(?=-[A-Z]) -> Saint
    \bSte(?=-[A-Z]) -> Sainte
    \bbd\b\.?(?= [A-Z]) -> boulevard
    \u00a7\u00a7?\s?(?=\d) -> paragraphe_
    \bHT\b -> hors taxes
    \bTTC\b -> toutes taxes comprises
    """
)

_SIGNS = rules(
    r"""
    (?<=\d)\s?(?:[\u00d7*]| x )\s?(?=\d) -> _fois_
    \u00f7 -> _divisé_par_
    \u2265\s?|>=\s?(?=\d) -> au_moins_
    \u2264\s?|<=\s?(?=\d) -> au_plus_
    \u2248\s?|(?<!\w)~\s?(?=\d) -> environ_
    (?<![\w<-])<\s?(?=\d) -> moins_de_
    (?<![\w>=-])>\s?(?=\d) -> plus_de_
    (?<=\d)\s?% -> _pour_cent
    (?<=\d)\s?\u2030 -> _pour_mille
    \s?&\s? -> _et_
    (?<=\w) \+ (?=\w) -> _plus_
    (?<=\w) = (?=\w) -> _égale_
    \u00ab\s?|\s?\u00bb -> "
    """
)

_FRENCH = Wording(
    count=_count,
    date=_date,
    clock=_clock,
    year=str,
    months=_MONTHS,
    month_of=" ",
    short_months=_SHORT,
    weekdays=_WEEKDAYS,
    currencies=nouns(
        "\u20ac euro;EUR euro;$ dollar;US$ dollar américain;USD dollar américain;\u00a3 livre;"
        "GBP livre;\u00a5 yen;JPY yen;CHF franc suisse;CNY yuan"
    ),
    coins={
        "euro": "centime",
        "dollar": "cent",
        "dollar américain": "cent",
        "franc suisse": "centime",
    },
    cents_after="",
    scales={
        "M": "million",
        "Md": "milliard",
        "Mds": "milliard",
        "k": "mille",
        "million": "million",
        "millions": "million",
        "milliard": "milliard",
        "milliards": "milliard",
    },
    scaled=_scaled,
    units=_UNITS,
    square=lambda noun: f"{noun} carré",
    cubic=lambda noun: f"{noun} cube",
    to="à",
    against="à",
    minus="moins",
    plus="plus",
    per="par",
    point="point",
    over="sur",
    power="puissance",
    halves={
        "1/2": "un demi",
        "1/3": "un tiers",
        "2/3": "deux tiers",
        "1/4": "un quart",
        "3/4": "trois quarts",
        "1/5": "un cinquième",
        "1/8": "un huitième",
        "1/10": "un dixième",
        "24/7": "24 7",
    },
    mixed={
        "1/2": "et demi",
        "1/4": "un quart",
        "3/4": "trois quarts",
        "1/3": "un tiers",
        "2/3": "deux tiers",
    },
    version="version",
    abbreviations=_ABBREVIATIONS,
    signs=_SIGNS,
    nine_digits=r"(?!)",
    pairs=True,
    dialled=r"(?:[Tt]éléphone|[Tt]él|[Ff]ax|[Mm]obile|[Cc]omposez le|[Aa]ppelez le|"
    r"[Cc]ode postal|[Cc]ode|[Pp]oste|PIN)(?: est)?(?: le)?",
)
