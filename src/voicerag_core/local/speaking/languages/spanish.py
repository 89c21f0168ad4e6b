"""Spanish as it is said: "3/5/2024" is "3 de mayo de 2024", "Felipe II" is "Felipe segundo"."""

from __future__ import annotations

import re

from voicerag_core.local.speaking.languages.european import Wording, nouns, rules, with_words
from voicerag_core.local.speaking.numerals import ROMAN, roman_value

__all__ = ["with_spanish_words"]

_ORDINALS = (
    "", "primero", "segundo", "tercero", "cuarto", "quinto", "sexto", "séptimo", "octavo",
    "noveno", "décimo", "undécimo", "duodécimo", "decimotercero", "decimocuarto",
    "decimoquinto", "decimosexto", "decimoséptimo", "decimoctavo", "decimonoveno",
)  # fmt: skip
_TENTHS = (
    "", "", "vigésimo", "trigésimo", "cuadragésimo", "quincuagésimo", "sexagésimo",
    "septuagésimo", "octogésimo", "nonagésimo",
)  # fmt: skip
_LAST_ORDINAL = 10
"""Rulers and parts are counted on from here by cardinals: Alfonso XIII."""
_MONTHS = (
    "enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre",
    "octubre", "noviembre", "diciembre",
)  # fmt: skip
_SHORT = {
    "ene": 1, "feb": 2, "mar": 3, "abr": 4, "may": 5, "jun": 6, "jul": 7, "ago": 8, "sept": 9,
    "sep": 9, "oct": 10, "nov": 11, "dic": 12,
}  # fmt: skip
_WEEKDAYS = {
    "lun": "lunes", "mar": "martes", "mié": "miércoles", "jue": "jueves", "vie": "viernes",
    "sáb": "sábado", "dom": "domingo",
}  # fmt: skip
_FEMININE = re.compile(r"(?:hora|tonelada|caloría|libra|milla|corona)\b")
_QUEENS = frozenset(
    {"Isabel", "Catalina", "María", "Juana", "Cristina", "Ana", "Victoria", "Margarita"}
)

_ORDINAL = re.compile(r"(?<![\w.,])(\d{1,2})\.?\s?(er|\u00ba|\u00aa|o|a)s?(?![\w])")
_RULER = re.compile(rf"\b([A-ZÁÉ]\w+) (?=[IVXL])({ROMAN})(?![\w-])")
_KINGS = frozenset(
    "Felipe Alfonso Carlos Fernando Luis Enrique Juan Pedro Sancho Ramiro Jaime Pablo Benedicto "
    "Pío Gregorio León Napoleón Jorge Eduardo Guillermo Isabel Catalina María Juana Cristina Ana "
    "Victoria Margarita Leopoldo Federico Maximiliano Enrique Ricardo Jacobo".split()
)
_CENTURY = re.compile(rf"\b([Ss]iglos?(?: [IVXL]+ (?:y|al|a))?) (?=[IVXL])({ROMAN})(?![\w-])")
_PART = re.compile(
    r"\b([Cc]apítulo|[Pp]arte|[Tt]omo|[Vv]olumen|[Ll]ibro|[Aa]cto|[Ee]scena|[Aa]rtículo|[Aa]nexo|"
    rf"[Ff]ase|[Tt]ipo|[Tt]ítulo|[Nn]ivel) (?=[IVXL])({ROMAN})(?![\w-])"
)
_BEFORE_NOUN = re.compile(
    rf"(?<![\w-])(?=[IVX])({ROMAN}) (?=(Guerra|República|Edición|Internacional|Congreso|Concilio|"
    r"Reich|Imperio|Plan)\b)"
)
_ROMAN_ALONE = re.compile(rf"(?<![\w.-])(?=[IVX]{{3}})({ROMAN})(?![\w-])")
_COUNTED = re.compile(r"(?<![\w.,])(1|21|[3-9]1) (?=([a-záéíóúñü]{3,})\b)")
_NOT_COUNTED = frozenset(
    {"por", "con", "para", "que", "más", "menos", "punto", "elevado", "partido"}
)
_HALF_DAY = re.compile(r"(?<![\w:.,])(\d{1,2})(?::([0-5]\d))?\s?(a|p)\.?\s?m\b\.?", re.IGNORECASE)
_HOURS = re.compile(r"(?<![\w.,:])([01]?\d|2[0-4])[:.]([0-5]\d)\s?(?:h|hs|hrs|horas)\b\.?")


def with_spanish_words(text: str) -> str:
    """Return a Spanish text with its figures and signs as they are said."""
    text = _HALF_DAY.sub(_half_day, text)
    text = _HOURS.sub(r"\1:\2", text)
    text = re.sub(r"\bs\.(?= [IVX]+\b)", "siglo", text)
    while (more := _CENTURY.sub(lambda m: f"{m[1]} {roman_value(m[2])}", text)) != text:
        text = more
    text = _PART.sub(lambda m: f"{m[1]} {roman_value(m[2])}", text)
    text = _BEFORE_NOUN.sub(_numbered, text)
    text = _RULER.sub(_ruler, text)
    text = _ROMAN_ALONE.sub(lambda m: str(roman_value(m[1])), text)
    text = _ORDINAL.sub(_ordinal, text)
    return _COUNTED.sub(_counted, with_words(text, _SPANISH))


def _counted(found: re.Match[str]) -> str:
    """Return a number that ends in one as it is said before a noun: "21 días", "1 persona"."""
    number, noun = found.groups()
    if noun in _NOT_COUNTED:
        return found.group()
    feminine = re.search(r"(?:a|as|ión|dad|dades|iones)$", noun) and not re.match(
        r"(?:día|mapa|problema|sistema|tema|programa)s?$", noun
    )
    ending = "una" if feminine else "un"
    if len(number) == 1:
        return f"{ending} "
    tens = f"veinti{'una' if feminine else 'ún'}" if number == "21" else f"{number[0]}0 y {ending}"
    return f"{tens} "


def _ranked(number: int, *, feminine: bool) -> str:
    """Return an ordinal from 1 to 99."""
    tens, ones = divmod(number, 10)
    parts = [_ORDINALS[number]] if number < len(_ORDINALS) else [_TENTHS[tens], _ORDINALS[ones]]
    words = [part for part in parts if part]
    return " ".join(f"{word[:-1]}a" if feminine else word for word in words)


def _ordinal(found: re.Match[str]) -> str:
    number, ending = int(found[1]), found[2]
    if not number or (ending in {"o", "a"} and "." not in found.group()):
        return found.group()
    if ending in {"o", "a"} and " " in found.group():  # "... 3. A ..."
        return found.group()
    word = _ranked(number, feminine=ending in {"\u00aa", "a"})
    if ending == "er":
        word = word.removesuffix("o")
    return f"{word}s" if found.group().endswith("s") else word


def _ruler(found: re.Match[str]) -> str:
    name, numeral = found.groups()
    if name not in _KINGS:
        return f"{name} {roman_value(numeral)}" if len(numeral) > 1 else found.group()
    value = roman_value(numeral)
    if value > _LAST_ORDINAL:
        return f"{name} {value}"
    return f"{name} {_ranked(value, feminine=name in _QUEENS)}"


def _numbered(found: re.Match[str]) -> str:
    feminine = found[2].endswith(("a", "n")) and found[2] != "Plan"
    word = _ranked(
        roman_value(found[1]), feminine=feminine or found[2] == "Internacional"
    ).capitalize()
    return f"{word.removesuffix('o') if word in {'Primero', 'Tercero'} else word} "


def _half_day(found: re.Match[str]) -> str:
    hour, minute, half = int(found[1]), int(found[2] or 0), found[3].lower()
    end = "" if re.match(r"\s*[a-z,;)]", found.string[found.end() :]) else "."
    end = end if found.group().endswith(".") and not found.string[found.end() :].strip() else ""
    part = "mañana" if half == "a" else "tarde" if hour < 9 or hour == 12 else "noche"  # noqa: PLR2004
    return f"{'una' if hour == 1 else hour}{f' y {minute}' if minute else ''} de la {part}{end}"


def _date(_before: str, day: int, month: int, year: str) -> str:
    said = [str(day), f"de {_MONTHS[month - 1]}" if month else "", f"de {year}" if year else ""]
    return " ".join(part for part in said if part)


def _clock(hour: int, minute: int) -> str:
    if not minute:
        return _count(str(hour), "hora")
    return f"{'una' if hour == 1 else hour} y {minute}"


def _count(number: str, noun: str) -> str:
    ending = "una" if _FEMININE.search(noun) else "un"
    if number == "1":
        return f"{ending} {noun}"
    if number == "21":
        number = f"veinti{'ún' if ending == 'un' else ending}"
    elif re.fullmatch(r"[3-9]1", number):
        number = f"{number[0]}0 y {ending}"
    return f"{number} {_plural(noun)}"


def _plural(noun: str) -> str:
    first, *rest = noun.split()
    if first.endswith(("l", "n", "r")) and first != "mil":
        first = f"{first.replace('millón', 'millon')}es"
    elif first not in {"lux", "mil"}:
        first += "s"
    rest = [{"cuadrado": "cuadrados", "cúbico": "cúbicos", "estadounidense": "estadounidenses",
             "suizo": "suizos"}.get(word, word) for word in rest]  # fmt: skip
    return " ".join([first.replace("-hora", "s-hora"), *rest])


_UNITS = nouns(
    "km kilómetro;m metro;cm centímetro;mm milímetro;\u03bcm micrómetro;nm nanómetro;"
    "kg kilogramo;g gramo;mg miligramo;\u03bcg microgramo;t tonelada;l litro;L litro;ml mililitro;"
    "mL mililitro;cl centilitro;dl decilitro;hl hectolitro;ha hectárea;s segundo;seg segundo;"
    "ms milisegundo;min minuto;h hora;W vatio;kW kilovatio;MW megavatio;GW gigavatio;Wh vatio hora;"
    "kWh kilovatio hora;MWh megavatio hora;V voltio;kV kilovoltio;mV milivoltio;A amperio;"
    "mA miliamperio;mAh miliamperio hora;\u03a9 ohmio;Hz hercio;kHz kilohercio;MHz megahercio;"
    "GHz gigahercio;kB kilobyte;KB kilobyte;MB megabyte;GB gigabyte;TB terabyte;kbit kilobit;"
    "Mbit megabit;Gbit gigabit;Pa pascal;hPa hectopascal;kPa kilopascal;bar bar;mbar milibar;"
    "N newton;kN kilonewton;J julio;kJ kilojulio;cal caloría;kcal kilocaloría;dB decibelio;"
    "lm lumen;lx lux;\u00b0C grado Celsius;\u00b0F grado Fahrenheit;\u00b0 grado;px píxel"
)

_ABBREVIATIONS = rules(
    r"""
    \bp\.\s?ej\. -> por ejemplo
    \bEE\.\s?UU\. -> Estados Unidos
    \ba\.\s?C\. -> antes de Cristo
    \bd\.\s?C\. -> después de Cristo
    \betc\.(?=\s*$) -> etcétera.
    \betc\. -> etcétera
    \baprox\. -> aproximadamente
    \b[Nn](?:\.\s?\u00ba|\u00ba|úm\.|ro\.|\u00b0)\s?(?=\d)|\u2116\s? -> número_
    \bSres\. -> señores
    \bSra\. -> señora
    \bSrta\. -> señorita
    \bSr\. -> señor
    \bDra\. -> doctora
    \bDr\. -> doctor
    \bProf\. -> profesor
    \bUds\. -> ustedes
    \bUd\. -> usted
    \bpágs\.\s?(?=\d) -> páginas_
    \bpág\.\s?(?=\d)|\bp\.\s?(?=\d) -> página_
    \bfig\.\s?(?=\d) -> figura_
    \bart\.\s?(?=\d) -> artículo_
    \bcap\.\s?(?=\d) -> capítulo_
    \bvol\.\s?(?=\d) -> volumen_
    \b[Tt]el\. -> teléfono
    \b[Aa]vda\. -> avenida
    \bAv\. -> avenida
    \bmáx\. -> máximo
    \bmín\. -> mínimo
    \u00a7\u00a7?\s?(?=\d) -> sección_
    """
)

_SIGNS = rules(
    r"""
    (?<=\d)\s?(?:[\u00d7*]| x )\s?(?=\d) -> _por_
    \u00f7 -> _entre_
    \u2265\s?|>=\s?(?=\d) -> al_menos_
    \u2264\s?|<=\s?(?=\d) -> como_máximo_
    \u2248\s?|(?<!\w)~\s?(?=\d) -> unos_
    (?<![\w<-])<\s?(?=\d) -> menos_de_
    (?<![\w>=-])>\s?(?=\d) -> más_de_
    (?<=\d)\s?% -> _por_ciento
    (?<=\d)\s?\u2030 -> _por_mil
    \s?&\s? -> _y_
    (?<=\w) \+ (?=\w) -> _más_
    (?<=\w) = (?=\w) -> _igual_a_
    \u00ab\s?|\s?\u00bb -> "
    """
)

_SPANISH = Wording(
    count=_count,
    date=_date,
    clock=_clock,
    year=str,
    months=_MONTHS,
    month_of=r"(?: de)? ",
    short_months=_SHORT,
    weekdays=_WEEKDAYS,
    currencies=nouns(
        "\u20ac euro;EUR euro;$ dólar;US$ dólar estadounidense;USD dólar estadounidense;"
        "\u00a3 libra;GBP libra;\u00a5 yen;JPY yen;CHF franco suizo;CNY yuan"
    ),
    coins={
        "euro": "céntimo",
        "dólar": "centavo",
        "dólar estadounidense": "centavo",
        "franco suizo": "céntimo",
        "libra": "penique",
    },
    cents_after="con ",
    scales={
        "M": "millón",
        "mill.": "millón",
        "mil": "mil",
        "millón": "millón",
        "millones": "millón",
    },
    scaled=lambda scale, noun: f"{'' if scale == 'mil' else 'de '}{_plural(noun)}",
    units=_UNITS,
    square=lambda noun: f"{noun} cuadrado",
    cubic=lambda noun: f"{noun} cúbico",
    to="a",
    against="a",
    minus="menos",
    plus="más",
    per="por",
    point="punto",
    over="partido por",
    power="elevado a",
    halves={
        "1/2": "medio",
        "1/3": "un tercio",
        "2/3": "dos tercios",
        "1/4": "un cuarto",
        "3/4": "tres cuartos",
        "1/5": "un quinto",
        "1/8": "un octavo",
        "1/10": "un décimo",
        "24/7": "24 7",
    },
    mixed={
        "1/2": "y medio",
        "1/4": "y cuarto",
        "3/4": "y tres cuartos",
        "1/3": "y un tercio",
        "2/3": "y dos tercios",
    },
    version="versión",
    abbreviations=_ABBREVIATIONS,
    signs=_SIGNS,
    nine_digits=r"[6-9]\d{8}",
    pairs=False,
    dialled=r"(?:[Tt]eléfono|[Tt]el|[Ff]ax|[Mm]óvil|[Ll]lame al|[Mm]arque el|[Cc]ódigo postal|"
    r"[Cc]ódigo|PIN|[Ee]xtensión)(?: es)?(?: el)?",
)
