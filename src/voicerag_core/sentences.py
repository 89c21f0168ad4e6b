"""Where sentences end."""

from __future__ import annotations

import itertools
import re
from types import MappingProxyType
from typing import Final

__all__ = ["sentence_spans", "split_sentences"]

_CJK = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_SPACE = re.compile(r"\s")
_BEFORE_FIGURE = re.compile(r"(?<=[\u3002\uff01\uff1f])(?=\d)")
"""A Chinese sentence may begin with a figure, which sentencex does not know."""
_EMPTY_LINE = re.compile(r"\n\s*\n")

_OPEN_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[\"'\u201c/])(?:approx|avg|ca|cf|circa|ed|eds|e\.g|eg|esp|est|excl|fig|figs|i\.e|ie"
    r"|incl|max|min|misc|nr|p|pp|para|resp|sec|sect|tab|tel|temp|vol|vols|vs|viz|mr|mrs|ms|dr|prof"
    r"|st|ch|eq|eqs|ref|refs|ext|dept|abbr|adj|alt|attn|std|opt|qty|ref|rev|ver|no|nos|art)\.$",
    re.IGNORECASE,
)
"""Abbreviations that a sentence goes on behind, at the end of what was taken for a sentence."""

_ALSO_WORDS = frozenset({"no", "ed", "art", "min", "max", "st", "ms", "ref", "ch", "fig", "tab"})
"""Those of them that are words or end sentences, too: a sentence goes on when a figure follows, or
a lower-case letter, or when they are written with a capital."""

_OTHER_ABBREVIATIONS: Final = MappingProxyType(
    {
        code: re.compile(rf"(?:^|[\s(\[\"'\u201c\u201e\u00ab/])(?:{words})\.$", re.IGNORECASE)
        for code, words in (
            (
                "de",
                (
                    r"abs|abt|allg|art|bspw|bzgl|bzw|ca|d\.\s?h|dr|einschl|evtl|exkl|ggf|hr|hrsg"
                    r"|i\.\s?d\.\s?r|inkl|insb|kap|max|mind|nr|prof|rd|s|sog|tab|tel|u\.\s?a|vgl"
                    r"|z\.\s?b|zz|zzgl|zzt"
                ),
            ),
            (
                "fr",
                (
                    r"al|art|av|bd|cf|chap|dr|env|etc|fig|m|max|min|mm|n\u00b0|nb|no|p|p\.\s?ex|pp"
                    r"|qt\u00e9|r\u00e9f|st|ste|t\u00e9l|vol"
                ),
            ),
            (
                "es",
                (
                    r"aprox|art|av|avda|cap|depto|dr|dra|ej|fig|gral|izq|lic|m\u00e1x|m\u00edn|no"
                    r"|n\u00fam|p\.\s?ej|p\u00e1gs?|prof|ref|sr|sra|srta|tel|uds?|vol"
                ),
            ),
        )
    }
)
"""The same for other languages."""

_WORD = re.compile(r"[^\W\d_]+")
_FREQUENT: Final = MappingProxyType(
    {
        code: frozenset(words.split())
        for code, words in (
            ("en", "the of and to is that for with was by are this from which not at you"),
            (
                "de",
                (
                    "der die das und ist nicht mit von den dem ein eine einer auf f\u00fcr sich im "
                    "wird sind bei zum zur auch wie oder wer wann werden kann"
                ),
            ),
            (
                "fr",
                (
                    "le la les et est des du une dans pour pas qui que au aux avec ce cette vous "
                    "sont ou o\u00f9 \u00e0"
                ),
            ),
            (
                "es",
                (
                    "el los las y es del una en para que por su lo como m\u00e1s o son est\u00e1 "
                    "qu\u00e9 cu\u00e1ndo"
                ),
            ),
            ("it", "il lo gli e \u00e8 di che una del della sono nel alla chi"),
            ("nl", "het een en van niet dat voor zijn aan de wordt ook bij"),
            ("pt", "os e \u00e9 n\u00e3o da em um uma para com que na s\u00e3o"),
        )
    }
)
"""Words that tell languages apart whose sentences end in different ways: sentencex knows these."""
_LANGUAGE_LETTERS = 2000
_LEAST_FREQUENT = 2
"""Letters to look at, and different words that decide for another language than English."""

_ORDINAL = re.compile(r"(?:^|[\s(])\d{1,2}\.$")
_GERMAN_START = re.compile(
    r"(?:Der|Die|Das|Den|Dem|Ein|Eine|Es|Er|Sie|Wir|Ich|Ihr|Man|Bei|Im|In|Am|An|Auf|Aus|Mit|Für|Von"
    r"|Wer|Wie|Was|Wo|Wann|Wenn|Dies\w*|Jed\w*|Alle\w*|Bitte|Dann|Danach|Hier|Nach|Vor|Zu|Zum|Zur"
    r"|Ab|Ist|Sind|Und|Oder|Aber|Auch|Nur|Kein\w*)\b"
)
"""What begins a sentence behind a number in German, where "3. Mai" and "2. Stock" go on."""

_LAST_WORD = re.compile(r"([\w.]+)\.$")
_SHORT_WORD = re.compile(r"(?:^|[^\w-])[^\W\d_]{1,6}\.$")
"""What may be an abbreviation that the list does not know."""

_NAME = re.compile(r"[\"'(\[\u201c]*\w*(?:[A-Z_\d]|\.\w)")
"""A word with a capital, a figure or a dot in it, such as pg_dump or iPhone: it may begin a
sentence though its first letter is small."""

_MARKER = re.compile(r"\(?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,4})[.)]")
"""The number of a step or an item."""

_GOES_ON = re.compile(r"[\"'(\[\u201c]*[a-z\u00df-\u00f6\u00f8-\u00ff,;:)]")
_FIGURE = re.compile(r"[\"'(\[\u201c]*[\d\u20ac$\u00a3#\u00a7]")
_ENDS_SURELY = re.compile(r"[!?\u3002\uff01\uff1f][\"'\u201d\u2019)\]]*$|[.][\"'\u201d\u2019)\]]+$")


def sentence_spans(text: str, language: str | None = None) -> list[tuple[int, int]]:
    """Find the sentences of a text, whatever its language.

    A line break inside a paragraph does not end a sentence, an empty line does. Sentences are
    found with sentencex, by default in the language of the text's frequent words; a dot behind an
    abbreviation that a sentence goes on behind ("approx.", "bzw."), in a German ordinal
    ("3. Mai"), or inside a name or a number ("requests.Timeout", "2.32.5"), ends none.

    Args:
        text: The text.
        language: Code of its language, for a text that may be too short to tell it by its words.

    Returns:
        Start and end of each sentence in characters, without surrounding white space, in order.
    """
    import sentencex

    spans: list[tuple[int, int]] = []
    language = language or _language_of(text)
    borders = [0, *(border.end() for border in _EMPTY_LINE.finditer(text)), len(text)]
    for block_start, block_end in itertools.pairwise(borders):
        flat = _SPACE.sub(" ", text[block_start:block_end])
        position = 0
        found: list[tuple[int, int]] = []
        sentences = (
            part
            for sentence in sentencex.segment(language, flat)
            for part in _BEFORE_FIGURE.split(sentence)
        )
        for sentence in sentences:
            words = sentence.strip()
            if not words:
                continue
            start = flat.index(words, position)
            position = start + len(words)
            if found and _is_one(flat, found[-1], start, language):
                found[-1] = found[-1][0], position
            else:
                found.append((start, position))
        spans += [(block_start + start, block_start + end) for start, end in found]
    return spans


def split_sentences(text: str, language: str | None = None) -> list[str]:
    """Return the sentences of a text, as `sentence_spans` finds them, each on one line."""
    return [_SPACE.sub(" ", text[start:end]) for start, end in sentence_spans(text, language)]


def _language_of(text: str) -> str:
    """Return the code of the language by whose rules sentences end; English in doubt."""
    if _CJK.search(text):
        return "zh"
    words = {word.lower() for word in _WORD.findall(text[:_LANGUAGE_LETTERS])}
    found = {code: len(words & frequent) for code, frequent in _FREQUENT.items()}
    best = max(found, key=lambda code: found[code])  # English is the first
    return best if found[best] >= _LEAST_FREQUENT else "en"


def _is_one(flat: str, before: tuple[int, int], start: int, language: str) -> bool:
    """Whether what begins at `start` goes on with the sentence that was found before it."""
    end = before[1]
    tail = flat[max(before[0], end - 40) : end]
    if _MARKER.fullmatch(flat, *before):
        return True
    if start == end:  # no space between them: a name, a version, an address
        is_word = flat[start].isalnum() and not _CJK.match(flat[start])
        return not _ENDS_SURELY.search(tail) and is_word and not _CJK.search(flat[end - 1])
    if not tail.endswith("."):
        return False
    if _GOES_ON.match(flat, start):
        return _SHORT_WORD.search(tail) is not None and not _NAME.match(flat, start)
    if language in _OTHER_ABBREVIATIONS:
        return _goes_on_elsewhere(tail, flat, start, language)
    return _OPEN_ABBREVIATION.search(tail) is not None and _is_open(tail, flat, start)


def _goes_on_elsewhere(tail: str, flat: str, start: int, language: str) -> bool:
    """Whether a sentence in German, French or Spanish goes on behind the dot that ends `tail`."""
    if _OTHER_ABBREVIATIONS[language].search(tail):
        return True
    ordinal = language == "de" and _ORDINAL.search(tail) is not None
    return ordinal and flat[start].isupper() and not _GERMAN_START.match(flat, start)


def _is_open(tail: str, flat: str, start: int) -> bool:
    """Whether an abbreviation that may end a sentence goes on with what begins at `start`."""
    last = _LAST_WORD.search(tail)
    word = last[1] if last else ""
    if word.lower() in _ALSO_WORDS and not word[:1].isupper():
        return _FIGURE.match(flat, start) is not None
    return word.lower() != "no" or _FIGURE.match(flat, start) is not None
