"""Numbers below a hundred as German, French and Spanish write them."""

from __future__ import annotations

import functools

__all__ = ["SPELT_IN", "spelt_numbers"]

SPELT_IN = ("de", "fr", "es")
_LOW = {
    "de": (
        "null ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn "
        "fünfzehn sechzehn siebzehn achtzehn neunzehn"
    ),
    "fr": (
        "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze "
        "seize dix-sept dix-huit dix-neuf"
    ),
    "es": (
        "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince "
        "dieciséis diecisiete dieciocho diecinueve veinte veintiuno veintidós veintitrés "
        "veinticuatro veinticinco veintiséis veintisiete veintiocho veintinueve"
    ),
}
_TENS = {
    "de": "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig",
    "fr": "vingt trente quarante cinquante soixante soixante quatre-vingt quatre-vingt",
    "es": "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
}


@functools.cache
def spelt_numbers(language: str) -> dict[str, int]:
    """Return the numbers from 2 to 99 by their words; "one" is an article, too.

    Args:
        language: One of `SPELT_IN`.
    """
    found = {_spelt(number, language): number for number in range(2, 100)}
    if language == "fr":
        found |= {"quatre-vingts": 80, "vingt-et-un": 21}
        found |= {word.replace("-et-", " et "): value for word, value in found.items()}
    if language == "es":
        short = {
            word.removesuffix("o"): value for word, value in found.items() if word[-3:] == "uno"
        }
        found |= (
            short | {f"{word}a": value for word, value in short.items()} | {"veinti\u00fan": 21}
        )
    return found


def _spelt(number: int, language: str) -> str:
    low = _LOW[language].split()
    if number < len(low):
        return low[number]
    tens, ones = divmod(number, 10)
    name = _TENS[language].split()[tens - 2]
    if language == "fr" and tens in (7, 9):  # soixante-dix, quatre-vingt-dix
        ones += 10
    if not ones:
        return name
    if language == "de":
        return f"{low[ones]}und{name}"
    if language == "es":
        return f"{name} y {low[ones]}"
    return f"{name}-et-{low[ones]}" if ones in (1, 11) and tens < 8 else f"{name}-{low[ones]}"  # noqa: PLR2004
