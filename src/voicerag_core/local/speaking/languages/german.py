"""German as it is said: "am 3. Mai" is "am dritten Mai", 12,50 € are "12 Euro 50"."""

from __future__ import annotations

import re

from voicerag_core.local.speaking.languages.european import Wording, nouns, rules, with_words
from voicerag_core.local.speaking.numerals import ROMAN, roman_value

__all__ = ["with_german_words"]

_ONES = (
    "null", "ein", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn",
    "elf", "zwölf", "dreizehn", "vierzehn", "fünfzehn", "sechzehn", "siebzehn", "achtzehn",
    "neunzehn",
)  # fmt: skip
_TENS = (
    "", "", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig",
    "neunzig",
)  # fmt: skip
_IRREGULAR = {1: "erst", 3: "dritt", 7: "siebt", 8: "acht"}
_MONTHS = (
    "Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September",
    "Oktober", "November", "Dezember",
)  # fmt: skip
_SHORT = {
    "Jan": 1, "Feb": 2, "Mär": 3, "Mrz": 3, "Apr": 4, "Jun": 6, "Jul": 7, "Aug": 8, "Sep": 9,
    "Sept": 9, "Okt": 10, "Nov": 11, "Dez": 12,
}  # fmt: skip
_WEEKDAYS = {
    "Mo": "Montag", "Di": "Dienstag", "Mi": "Mittwoch", "Do": "Donnerstag", "Fr": "Freitag",
    "Sa": "Samstag", "So": "Sonntag",
}  # fmt: skip

_WEAK = re.compile(
    r"(?i)\b(?:am|im|vom|zum|beim|(?<!ter )bis|ab|seit|den|dem|des|jeden|zwischen|gegen|"
    r"(?:ihr|sein|mein|unser)(?:em|en)|(?:in|an|auf|aus|bei|mit|nach|seit|von|vor|zu|zwischen|während|wegen|trotz)"
    r" der|\w+ten und)(?: \w+tag,?)?(?:,? dem)?\s*$"
)
_FEMININE = re.compile(r"(?:(?<!yt)e|ion|ung|heit|keit|schaft|tät|ei|ik)$")
_ONE = re.compile(r"(?<![\w.,])1 (?=([A-ZÄÖÜ][a-zäöüß]+)\b)")
_DEFINITE = re.compile(r"(?i)\b(?:der|die|das|zur|jede|diese[rs]?|eine)(?: \w+tag,?)?\s*$")
_DETERMINER = (
    r"(?:der|die|das|den|dem|des|am|im|vom|zum|zur|beim|jede[rnsm]?|diese[rsnm]?|eine?[rnsm]?|"
    r"(?:ihr|sein|mein|unser)(?:e[rnsm]?)?|bis|ins|auf)"
)
_ORDERED = re.compile(rf"\b({_DETERMINER}) (\d{{1,3}})\. (?=[^\W\d_])", re.IGNORECASE)
_BEFORE_NOUN = re.compile(
    r"(?<![\w.,])(\d{1,3})\. (?=(?:Jahrhunderts?|Jahrtausends?|Weltkriegs?|Mal|Geburtstag|Auflage|"
    r"Etage|Stock|Obergescho(?:ss|ß)|Klasse|Platz|Quartals?|Kapitel|Halbjahr)\b)"
)
_PAIR = re.compile(
    rf"(?<![\w.,])(\d{{1,2}})\. (bis|und|oder)"
    rf"(?= (?:zum )?\d{{1,2}}\. (?:{'|'.join((*_MONTHS, *_SHORT))}))"
)
_RULER = re.compile(rf"\b([A-Z]\w+?)(s?) (?=[IVXL])({ROMAN})\.(?!\w)(?! (?:Weltkrieg|Jahrhundert))")
_ROMAN_ORDERED = re.compile(rf"(?<![\w.-])(?=[IVXL])({ROMAN})\.(?= (?:Welt|Jahr|Quart|Etage)\w+)")
_ROMAN_PART = re.compile(
    r"\b(Kapitel|Teil|Band|Buch|Akt|Abschnitt|Artikel|Anhang|Phase|Typ|Klasse|Stufe|Hartz|Abitur|"
    rf"Schicht|Modul|Tabelle) (?=[IVXL])({ROMAN})(?![\w-])"
)
_ROMAN_ALONE = re.compile(rf"(?<![\w.-])(?=[IVX]{{3}})({ROMAN})(?![\w-])")
_BEFORE_YEAR = (
    "Jahr", "Jahre", "Jahren", "Jahres", "seit", "Seit", "bis", "Anfang", "Ende", "Mitte", "von",
    "Von", "um", "vor", "nach", "ab", "Sommer", "Winter", "Herbst", "und",
)  # fmt: skip
_AS_YEAR = re.compile(
    rf"(?<![\w.,-])(?:{'|'.join(f'(?<={word} )' for word in _BEFORE_YEAR)}|(?<=\()|^)"
    r"(1[1-9])(\d\d)(er|ern)?(?![\w%\u20ac]|[.,:]\d| (?!Jahre)[A-Z])"
)
_AS_YEAR_TOO = re.compile(
    r"(?<![\w.,-])(1[1-9])(\d\d)(er|ern)?(?= (?:bis|wurde|war|begann|endete|starb|erschien|kam|"
    r"Jahren?|gegründet|gebaut|erbaut|geboren|eröffnet)\b)"
)
_CLOCK = re.compile(
    r"(?<![\w.,:])([01]?\d|2[0-4])[.:]([0-5]\d)"
    r"(?=(?:\s?(?:[-\u2013]|bis|und)\s?\d{1,2}[.:]\d\d)?\s?Uhr)"
)
_CLOCK_END = re.compile(r"((?<!\d)\d{1,2}:\d\d)\s?Uhr\b")


def with_german_words(text: str) -> str:
    """Return a German text with its figures and signs as they are said."""
    text = _CLOCK_END.sub(r"\1", _CLOCK.sub(r"\1:\2", text))
    text = _ROMAN_ORDERED.sub(lambda m: f"{roman_value(m[1])}.", text)
    text = _RULER.sub(_ruler, text)
    text = _ROMAN_PART.sub(lambda m: f"{m[1]} {roman_value(m[2])}", text)
    text = _ROMAN_ALONE.sub(lambda m: str(roman_value(m[1])), text)
    text = _PAIR.sub(lambda m: f"{_ranked(m.string[: m.start()], int(m[1]))} {m[2]}", text)
    text = with_words(text, _GERMAN)
    text = _ONE.sub(lambda m: "eine " if _FEMININE.search(m[1]) else "ein ", text)
    text = _ORDERED.sub(lambda m: f"{m[1]} {_ranked(m.string[: m.end(1)], int(m[2]))} ", text)
    text = _BEFORE_NOUN.sub(lambda m: f"{_ranked(m.string[: m.start()], int(m[1]))} ", text)
    for pattern in (_AS_YEAR_TOO, _AS_YEAR):
        text = pattern.sub(lambda m: f"{_year(m[1] + m[2])}{m[3] or ''}", text)
    return text


def _ordinal(number: int) -> str:
    """Return the stem of an ordinal up to 999: "dritt", "zwanzigst"."""
    hundreds, rest = divmod(number, 100)
    head = f"{_ONES[hundreds]}hundert" if hundreds else ""
    if not rest:
        return f"{head}st"
    if rest < len(_ONES):
        return head + _IRREGULAR.get(rest, f"{_ONES[rest]}t")
    tens, ones = divmod(rest, 10)
    return f"{head}{f'{_ONES[ones]}und' if ones else ''}{_TENS[tens]}st"


def _ranked(before: str, number: int) -> str:
    """Return an ordinal with the ending that the words before it ask for."""
    if not number:
        return f"{number}."
    if _WEAK.search(before):
        return f"{_ordinal(number)}en"
    return f"{_ordinal(number)}{'e' if _DEFINITE.search(before) else 'er'}"


def _ruler(found: re.Match[str]) -> str:
    name, genitive, numeral = found.groups()
    value = roman_value(numeral)
    if genitive:
        said = f"{name}s des {_ordinal(value).capitalize()}en"
    else:
        said = f"{name} der {_ordinal(value).capitalize()}e"
    return said + ("." if not found.string[found.end() :].strip() else "")


def _year(figures: str) -> str:
    """Return a year before 2000 by its century: "neunzehnhundert 84"."""
    century, rest = int(figures[:2]), int(figures[2:])
    if len(figures) != len("1984") or not 10 < century < 20:  # noqa: PLR2004
        return figures
    return f"{_ONES[century]}hundert{f' {rest}' if rest else ''}"


def _date(before: str, day: int, month: int, year: str) -> str:
    said = [_ranked(before, day), _MONTHS[month - 1] if month else "", _year(year) if year else ""]
    return " ".join(part for part in said if part)


def _clock(hour: int, minute: int) -> str:
    return f"{'ein' if hour == 1 else hour} Uhr{f' {minute}' if minute else ''}"


def _count(number: str, noun: str) -> str:
    feminine = _FEMININE.search(noun.split(maxsplit=1)[0]) is not None
    if number == "1":
        return f"{'eine' if feminine else 'ein'} {noun}"
    first, *rest = noun.split()
    if feminine:
        first += "en" if first.endswith("n") else "n"
    return " ".join([number, first, *rest])


_UNITS = nouns(
    "km Kilometer;m Meter;cm Zentimeter;mm Millimeter;\u03bcm Mikrometer;nm Nanometer;kg Kilogramm;"
    "g Gramm;mg Milligramm;\u03bcg Mikrogramm;t Tonne;l Liter;L Liter;ml Milliliter;cl Zentiliter;"
    "dl Deziliter;hl Hektoliter;ha Hektar;s Sekunde;sec Sekunde;Sek. Sekunde;ms Millisekunde;"
    "min Minute;Min. Minute;h Stunde;Std. Stunde;W Watt;kW Kilowatt;MW Megawatt;GW Gigawatt;"
    "Wh Wattstunde;kWh Kilowattstunde;MWh Megawattstunde;GWh Gigawattstunde;V Volt;kV Kilovolt;"
    "mV Millivolt;A Ampere;mA Milliampere;mAh Milliamperestunde;Ah Amperestunde;\u03a9 Ohm;"
    "Hz Hertz;"
    "kHz Kilohertz;MHz Megahertz;GHz Gigahertz;kB Kilobyte;KB Kilobyte;MB Megabyte;GB Gigabyte;"
    "TB Terabyte;PB Petabyte;kbit Kilobit;Mbit Megabit;Gbit Gigabit;Pa Pascal;hPa Hektopascal;"
    "kPa Kilopascal;bar Bar;mbar Millibar;N Newton;kN Kilonewton;Nm Newtonmeter;J Joule;"
    "kJ Kilojoule;cal Kalorie;kcal Kilokalorie;dB Dezibel;lm Lumen;lx Lux;\u00b0C Grad Celsius;"
    "\u00b0F Grad Fahrenheit;\u00b0 Grad;PS PS;px Pixel;qm Quadratmeter;ccm Kubikzentimeter;"
    "\u2030 Promille"
)

_ABBREVIATIONS = rules(
    r"""
    \bz\.\s?B\. -> zum Beispiel
    \bd\.\s?h\. -> das heißt
    \bu\.\s?a\. -> unter anderem
    \bz\.\s?T\. -> zum Teil
    \bi\.\s?d\.\s?R\. -> in der Regel
    \bo\.\s?Ä\. -> oder Ähnliches
    \bu\.\s?Ä\. -> und Ähnliches
    \bv\.\s?Chr\. -> vor Christus
    \bn\.\s?Chr\. -> nach Christus
    \bzz\.?gl\.|\bzzgl\. -> zuzüglich
    \bbzw\. -> beziehungsweise
    \bca\. -> circa
    \bggf\. -> gegebenenfalls
    \bevtl\. -> eventuell
    \binkl\. -> inklusive
    \bexkl\. -> exklusive
    \bvgl\. -> vergleiche
    \bVgl\. -> Vergleiche
    \bsog\. -> sogenannt
    \bmax\. -> maximal
    \bmind\.|\bmin\.(?= \d) -> mindestens
    \bMin\.(?=\s?$) -> Minuten.
    \busw\.(?=\s*$) -> und so weiter.
    \busw\. -> und so weiter
    \betc\.(?=\s*$) -> et cetera.
    \betc\. -> et cetera
    \bbspw\. -> beispielsweise
    \bTel\. -> Telefon
    \bStr\.(?= \d) -> Straße
    (?<=[a-z])str\.(?= \d) -> straße
    \bDr\. -> Doktor
    \bProf\. -> Professor
    \bHr\. -> Herr
    \bFr\.(?= [A-Z][a-z]) -> Frau
    \bSt\.(?= [A-Z]) -> Sankt
    \bNr\.|\bNo\.(?= \d)|\u2116 -> Nummer
    \bAbb\. -> Abbildung
    \bTab\. -> Tabelle
    \bKap\. -> Kapitel
    \bBd\. -> Band
    \bAbs\. -> Absatz
    \bArt\.(?= \d) -> Artikel
    \bS\.(?= \d) -> Seite
    \u00a7\u00a7\s?(?=\d) -> Paragrafen_
    \u00a7\s?(?=\d) -> Paragraf_
    \bKW\s?(?=\d) -> Kalenderwoche_
    \bp\.\s?a\. -> pro Jahr
    \bMwSt\. -> Mehrwertsteuer
    """
)

_SIGNS = rules(
    r"""
    (?<=\d)\s?(?:[\u00d7*]| x )\s?(?=\d) -> _mal_
    \u00f7 -> _durch_
    \u2265\s?|>=\s?(?=\d) -> mindestens_
    \u2264\s?|<=\s?(?=\d) -> höchstens_
    \u2248\s?|(?<!\w)~\s?(?=\d) -> ungefähr_
    (?<![\w<-])<\s?(?=\d) -> weniger_als_
    (?<![\w>=-])>\s?(?=\d) -> mehr_als_
    (?<=\d)\s?% -> _Prozent
    \s?&\s? -> _und_
    (?<=\w) \+ (?=\w) -> _plus_
    (?<=\w) = (?=\w) -> _gleich_
    """
)

_GERMAN = Wording(
    count=_count,
    date=_date,
    clock=_clock,
    year=_year,
    months=_MONTHS,
    month_of=" ",
    short_months=_SHORT,
    weekdays=_WEEKDAYS,
    currencies=nouns(
        "\u20ac Euro;EUR Euro;$ Dollar;US$ US-Dollar;USD US-Dollar;\u00a3 Pfund;GBP Pfund;"
        "\u00a5 Yen;JPY Yen;CHF Franken;Fr. Franken;CNY Yuan"
    ),
    coins={
        "Euro": "Cent",
        "Dollar": "Cent",
        "US-Dollar": "Cent",
        "Franken": "Rappen",
        "Pfund": "Penny",
    },
    cents_after="",
    scales={
        "Mio.": "Million",
        "Mio": "Million",
        "Mrd.": "Milliarde",
        "Mrd": "Milliarde",
        "Tsd.": "Tausend",
        "Million": "Million",
        "Millionen": "Million",
        "Milliarde": "Milliarde",
        "Milliarden": "Milliarde",
    },
    scaled=lambda _scale, noun: noun,
    units=_UNITS,
    square=lambda noun: f"Quadrat{noun.lower()}",
    cubic=lambda noun: f"Kubik{noun.lower()}",
    to="bis",
    against="zu",
    minus="minus",
    plus="plus",
    per="pro",
    point="Punkt",
    over="durch",
    power="hoch",
    halves={
        "1/2": "ein halb",
        "1/3": "ein Drittel",
        "2/3": "zwei Drittel",
        "1/4": "ein Viertel",
        "3/4": "drei Viertel",
        "1/5": "ein Fünftel",
        "1/8": "ein Achtel",
        "1/10": "ein Zehntel",
        "24/7": "24 7",
    },
    mixed={
        "1/2": "einhalb",
        "1/4": "ein Viertel",
        "3/4": "drei Viertel",
        "1/3": "ein Drittel",
        "2/3": "zwei Drittel",
    },
    version="Version",
    abbreviations=_ABBREVIATIONS,
    signs=_SIGNS,
    nine_digits=r"(?!)",
    pairs=False,
    dialled=r"(?:Telefon|Tel|Fax|Mobil|Hotline|Notruf|Durchwahl|PIN|Code|PLZ|"
    r"Kontonummer|Rufnummer|[Ww]ählen Sie)"
    r"(?:nummer)?(?: (?:ist|lautet))?",
)
