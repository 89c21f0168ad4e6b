"""Which row of a table answers, and which cells of it.

The network reads rows as running text, where the first row, or the one in front of the right one,
often wins. Rows are therefore compared by the words that tell them apart, and the likeliest are
read again one by one, each with the table's headings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from voicerag_core.local.reading.features import Candidate, alike, content_words
from voicerag_core.passages import split_source
from voicerag_core.types import Passage

__all__ = [
    "MOST_REREAD",
    "TableRow",
    "keyed_rows",
    "lacks_attribute",
    "lacks_column",
    "lacks_value",
    "matching_rows",
    "named_rows",
    "only_sums",
    "read_alone",
    "superlative_rows",
    "tables",
]

MOST_REREAD = 4
ABSENT = 0.35
"""Weight of a word that no row has: it may only be said in other words."""

_CELL = re.compile(r";\s+")
_LABEL = re.compile(
    r"\A(?:table|figure|appendix|annex|chapter|section|part|exhibit|schedule)\s+"
    r"(?:[A-Z]|[A-Z]?(?:\.?\d+)+)[.:)]?\s+",
    re.IGNORECASE,
)
"""What only numbers a heading: "Table K.1. Limits" says nothing of tables."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of a table.

    Args:
        sentence: Its index among the sentences.
        overlap: Share of the question's words, weighted by how few rows have them, that the row
            has: 0..1.
    """

    sentence: int
    overlap: float


def tables(
    question: str, passages: Sequence[Passage], sentences: Sequence[Candidate]
) -> list[list[TableRow]]:
    """Return the rows of each table that is at hand, of a table the likeliest rows first."""
    asked = set(content_words(question)) | _letters(question)
    found: dict[tuple[str, str, tuple[str, ...]], list[int]] = {}
    for i, one in enumerate(sentences):
        if one.kind == "row":
            found.setdefault((*_table_of(passages[one.passage]), one.path), []).append(i)
    ranked = []
    for (*_, path), rows in found.items():
        title = passages[sentences[rows[0]].passage].title
        above = set(content_words(" ".join(_LABEL.sub("", name) for name in (title, *path))))
        ranked.append(_ranked(rows, sentences, asked - above))
    return ranked


def _ranked(rows: Sequence[int], sentences: Sequence[Candidate], asked: set[str]) -> list[TableRow]:
    sets = {i: set(sentences[i].words) | _letters(sentences[i].text) for i in rows}
    weights = {}
    for word in asked:
        having = sum(word in words for words in sets.values())
        if having < max(2, len(rows)):
            weights[word] = math.log((len(rows) + 1) / having) if having else ABSENT
    total = sum(weights.values()) or 1.0
    ranked = [
        TableRow(i, sum(w for word, w in weights.items() if word in sets[i]) / total) for i in rows
    ]
    return sorted(ranked, key=lambda row: -row.overlap)


def read_alone(
    passages: Sequence[Passage], sentences: Sequence[Candidate], rows: Sequence[int]
) -> tuple[list[Passage], list[Candidate]]:
    """Return rows as passages of their own, and as the sentences of these."""
    alone, parts = [], []
    for number, row in enumerate(rows):
        sentence = sentences[row]
        title = {"title": passages[sentence.passage].title}
        alone.append(Passage(str(number), sentence.text, title))
        parts.append(replace(sentence, passage=number, start=0, end=len(sentence.text)))
    return alone, parts


def matching_rows(
    question: str, rows: Sequence[TableRow], sentences: Sequence[Candidate], best: int
) -> list[int]:
    """Return all rows with the values by which the question picks the best row, in their order."""
    asked = set(content_words(question))
    cells = [dict(map(_named, _CELL.split(sentences[row.sentence].text))) for row in rows]
    own = dict(map(_named, _CELL.split(sentences[best].text)))
    wanted: dict[str, set[str]] = {}
    for name, value in own.items():
        said = _value_words(value) & (asked | _letters(question))
        others = [_value_words(cell.get(name, "")) for cell in cells]
        telling = {word for word in said if not all(word in other for other in others)}
        if telling:
            wanted[name] = telling
    if not wanted:
        return [best]
    return sorted(
        row.sentence
        for row, cell in zip(rows, cells, strict=True)
        if all(words <= _value_words(cell.get(name, "")) for name, words in wanted.items())
    )


def keyed_rows(
    question: str, wanted: Sequence[str], rows: Sequence[TableRow], sentences: Sequence[Candidate]
) -> set[int]:
    """Return the rows that a code, a figure, an amount or an extreme picks out of a table.

    Args:
        question: In words.
        wanted: `voicerag_core.local.reading.near_misses.figures` of the question.
        rows: Of one table.
        sentences: Theirs.
    """
    texts = {row.sentence: sentences[row.sentence].text for row in rows}
    with_figures = {
        i
        for i, text in texts.items()
        if wanted and set(wanted) <= set(re.findall(r"[\w.-]+", text.lower().replace(",", "")))
    }
    if 0 < len(with_figures) < len(texts):
        return with_figures
    return (
        _rows_by_amount(question, texts)
        or _rows_by_extreme(question, texts)
        or _rows_by_bound(question, texts)
        or _rows_by_reply(question, texts)
    )


def superlative_rows(
    question: str, rows: Sequence[TableRow], sentences: Sequence[Candidate], title: str
) -> set[int]:
    """Return the rows with the extreme that is asked for, in a table that has all other words.

    Args:
        question: In words.
        rows: Of one table.
        sentences: Theirs.
        title: Of the document.
    """
    texts = {row.sentence: sentences[row.sentence].text for row in rows}
    found = _rows_by_extreme(question, texts)
    if not found:
        return found
    rest = _EXTREME_OF.sub(" ", question)
    for asked, _, _ in _EXTREMES:
        rest = asked.sub(" ", rest)
    path = sentences[rows[0].sentence].path
    known = set(content_words(" ".join((title, *path, *texts.values()))))
    return found if set(content_words(rest)) <= known else set()


def named_rows(
    question: str, rows: Sequence[TableRow], sentences: Sequence[Candidate]
) -> list[int]:
    """Return the rows of a table that the question calls by all words of their first cell.

    It says which row of a table is meant, not that the table answers.
    """
    asked = set(content_words(question))
    called = []
    for row in rows:
        name = set(content_words(_named(_CELL.split(sentences[row.sentence].text)[0])[1]))
        if name and name <= asked:
            called.append(row.sentence)
    return sorted(called) if len(called) < len(rows) else []


_AMOUNT = re.compile(
    r"(?P<how>more than|over|above|at least|less than|under|below|at most|up to|fewer than"
    r"|cheaper than|longer than|shorter than)? ?(?P<sign>[$\u20ac\u00a3])? ?"
    r"(?P<number>\d[\d,]*(?:\.\d+)?)(?: (?P<unit>[A-Za-z]+))?",
)
_MORE = ("more than", "over", "above", "at least", "longer than")
_FROM = re.compile(
    r"\b(?:from|min|minimum|over|above|at least|starting|more than)\b", re.IGNORECASE
)
_UP_TO = re.compile(r"\b(?:to|up to|max|maximum|until|below|under|less than)\b", re.IGNORECASE)
_UNITS = {
    "euro": "eur", "euros": "eur", "dollar": "usd", "dollars": "usd", "kroner": "nok",
    "pound": "gbp", "pounds": "gbp", "quid": "gbp",
}  # fmt: skip
_SIGNS = {"$": "usd", "\u20ac": "eur", "\u00a3": "gbp"}
_SIGN = re.compile(r"[$\u20ac\u00a3] ?")


def _rows_by_amount(question: str, texts: Mapping[int, str]) -> set[int]:
    """Return the rows within an amount ("more than 8000 euro"), or the step that holds for it."""
    match = next(
        (m for m in _AMOUNT.finditer(question) if m["how"] or m["sign"] or m["unit"]), None
    )
    if match is None:
        return set()
    amount = float(match["number"].replace(",", ""))
    unit = (match["unit"] or "").lower()
    unit = _SIGNS.get(match["sign"] or "", _UNITS.get(unit, unit))
    if not match["how"] and (within := _rows_by_span(amount, unit, texts)):
        return within
    columns: dict[str, dict[int, float]] = {}
    for row, text in texts.items():
        for name, value in map(_named, _CELL.split(text)):
            number = re.fullmatch(r"\D{0,4}(\d[\d,]*(?:\.\d+)?)(?: \S+)?", value)
            fits = unit and unit in re.findall(r"\w+", f"{name} {value}".lower())
            if number is not None and fits:
                columns.setdefault(name, {})[row] = float(number[1].replace(",", ""))
    for name, values in columns.items():
        if len(values) < 2:  # noqa: PLR2004
            continue
        if match["how"]:
            more = match["how"] in _MORE
            return {row for row, value in values.items() if (value > amount) == more}
        if _FROM.search(name) and (below := [v for v in values.values() if v <= amount]):
            return {row for row, value in values.items() if value == max(below)}
        if _UP_TO.search(name) and (above := [v for v in values.values() if v >= amount]):
            return {row for row, value in values.items() if value == min(above)}
    return set()


_NUMBER = r"(\d[\d,]*(?:\.\d+)?)"
_SPANS = tuple(
    (re.compile(rf"(?:{pattern})(?: \S+)?", re.IGNORECASE), order)
    for pattern, order in (
        (rf"(?:from )?{_NUMBER}(?: \w+)? ?(?:to|-|\u2013|\u2014) ?{_NUMBER}", "low high"),
        (rf"(?:from|over|above|more than|at least) {_NUMBER}", "low"),
        (rf"{_NUMBER}(?: \w+)? (?:and|or) (?:more|over|above)|{_NUMBER}\+", "low"),
        (rf"(?:up to|under|below|less than|at most) {_NUMBER}", "high"),
    )
)
"""Cells that hold for a span of amounts: "30 to 59 minutes", "over 20 kg"."""


def _rows_by_span(amount: float, unit: str, texts: Mapping[int, str]) -> set[int]:
    """Return the rows with a cell in whose span an amount lies."""
    columns: dict[str, dict[int, tuple[float, float]]] = {}
    for row, text in texts.items():
        for name, value in map(_named, _CELL.split(text)):
            span = _span(_SIGN.sub("", value))
            said = re.findall(r"\w+", f"{name} {value}".lower())
            words = {_UNITS.get(word, word.removesuffix("s")) for word in said}
            words |= {code for sign, code in _SIGNS.items() if sign in value}
            if span is not None and unit.removesuffix("s") in words:
                columns.setdefault(name, {})[row] = span
    for spans in columns.values():
        if len(spans) >= LEAST_COMPARED:
            return {row for row, (low, high) in spans.items() if low <= amount <= high}
    return set()


def _span(value: str) -> tuple[float, float] | None:
    """Return the least and the largest amount that a cell holds for, or None for other cells."""
    for pattern, order in _SPANS:
        if match := pattern.fullmatch(value):
            ends = [float(end.replace(",", "")) for end in match.groups() if end]
            if order == "low high":
                return ends[0], ends[1]
            return (ends[0], math.inf) if order == "low" else (0.0, ends[0])
    return None


def lacks_column(
    question: str, rows: Sequence[TableRow], sentences: Sequence[Candidate], chosen: int
) -> bool:
    """Tell whether a row is empty in the column that a question asks for.

    A word of the question stands in the name of a column of other rows, and nowhere in this one.
    """
    own = set(content_words(sentences[chosen].text))
    others: set[str] = set()
    for row in rows:
        for cell in _CELL.split(sentences[row.sentence].text):
            others.update(content_words(_named(cell)[0]))
    return any(word in others and word not in own for word in content_words(question))


_OF_ROW = re.compile(
    r"^what(?:'s|\u2019s| is| are| was| were) the (?:[a-z-]+ ){0,2}?(?P<noun>[a-z-]+)"
    r" (?:of|on|for|in) "
    r"|^(?:what|which) (?P<kind>[a-z-]+) (?:is|are|was|were|does|do|did|has|have) (?:the|an?) ",
    re.IGNORECASE,
)
"""Names what is asked of a row: "what is the guarantee on the ...", "what colour is the ..."."""


_SAID_BY_ANY = frozenset(
    re.split(
        r"\s",
        "size sizes capacity amount number value rating range level class type kind sort model "
        "name dimensions measurements details status limit thing things way",
    )
)
"""What the cell of any name may be."""


def lacks_value(
    question: str, rows: Sequence[TableRow], sentences: Sequence[Candidate], title: str
) -> bool:
    """Tell whether a table has no word for what a question asks of one of its rows.

    "What is the guarantee on the Rill 4000?" is not answered by a table of sizes and prices.

    Args:
        question: In words.
        rows: Of one table.
        sentences: Theirs.
        title: Of the document.
    """
    asked = _OF_ROW.match(question.strip())
    if asked is None or not rows:
        return False
    known = set(content_words(" ".join((title, *sentences[rows[0].sentence].path))))
    for row in rows:
        known.update(sentences[row.sentence].words)
    noun = asked["noun"] or asked["kind"]
    if noun.lower() in _SAID_BY_ANY:
        return False
    return all(alike(word, known).isdisjoint(known) for word in content_words(noun))


_SUM = re.compile(
    r"[$\u20ac\u00a3]\s?\d[\d.,]*|\d[\d.,]*\s?(?:[$\u20ac\u00a3]|euros?|eur|usd|gbp|dollars?|pounds?)\b"
)


def only_sums(text: str) -> bool:
    """Tell whether all figures of a row, but for those of its first cell, are sums of money."""
    figures = [value for _, value in map(_named, _CELL.split(text)[1:]) if re.search(r"\d", value)]
    return bool(figures) and all(not re.search(r"\d", _SUM.sub("", one)) for one in figures)


_ATTRIBUTE = re.compile(
    rf"{_OF_ROW.pattern}|\bhow much is the (?P<sum>[a-z-]+) (?:of|on|for|in) "
    r"|^(?:what|which) (?P<any>[a-z-]+) (?:do|does|did|is|are|must|can|will|have|has) ",
    re.IGNORECASE,
)


def lacks_attribute(
    question: str, rows: Sequence[TableRow], sentences: Sequence[Candidate], chosen: int
) -> bool:
    """Tell whether what a question asks of a row is said in cells of other rows alone.

    "What is the deposit for the ladder?" is not answered by a row without a deposit where others
    have "deposit 150" among their notes.

    Args:
        question: In words.
        rows: Of one table.
        sentences: Theirs.
        chosen: Index of the row.
    """
    asked = _ATTRIBUTE.match(question.strip())
    noun = next(filter(None, asked.groups()), "") if asked else ""
    own = set(sentences[chosen].words)
    words = [word for word in content_words(noun) if alike(word, own).isdisjoint(own)]
    if not words or noun.lower() in _SAID_BY_ANY:
        return False
    others = {word for row in rows for word in sentences[row.sentence].words}
    return any(word in others for word in words)


_BOUND = {word: frozenset(content_words(word)) for word in ("maximum", "minimum")}


def _rows_by_bound(question: str, texts: Mapping[int, str]) -> set[int]:
    """Return the rows that are named after a bound which is asked for ("at most": "Ceiling")."""
    asked = set(content_words(question))
    for bound in _BOUND.values():
        if asked.isdisjoint(bound):
            continue
        named = {}
        for row, text in texts.items():
            name, value = _named(_CELL.split(text)[0])
            named[row] = set(content_words(name or value))
        found = {row for row, words in named.items() if any(alike(b, words) & words for b in bound)}
        if 0 < len(found) < len(texts):
            return found
    return set()


_LACKING = re.compile(
    r"\b(?:no|not|without|lacks?|lacking|don't|doesn't|aren't|isn't|never)\b", re.IGNORECASE
)
_NO = frozenset(("no", "none", "never", "not", "false", "-", "\u2013", "\u2717", "\u2718"))
_YES = frozenset(("yes", "always", "true", "x", "\u2713", "\u2714"))


def _rows_by_reply(question: str, texts: Mapping[int, str]) -> set[int]:
    """Return the rows that say no in the column which a question says to be lacking."""
    if _LACKING.search(question) is None:
        return set()
    asked = set(content_words(question))
    columns: dict[str, dict[int, str]] = {}
    for row, text in texts.items():
        for name, value in map(_named, _CELL.split(text)):
            if len(asked.intersection(content_words(name))) * 2 > len(content_words(name)):
                columns.setdefault(name, {})[row] = value.strip().lower()
    for replies in columns.values():
        if set(replies.values()) <= _NO | _YES:
            return {row for row, reply in replies.items() if reply in _NO}
    return set()


_PRICE = r"price|cost|fee|rent|rate|tariff|\beur\b|\busd\b|\bgbp\b|[$\u20ac\u00a3]"
_LENGTH = r"time|duration|length|warranty|guarantee|weeks|days|months|years|minutes|hours|range"
_EXTREMES = tuple(
    (re.compile(rf"\b(?:{words})\b", re.IGNORECASE), re.compile(column, re.IGNORECASE), largest)
    for words, column, largest in (
        ("cheapest|least expensive|lowest (?:price|cost|fee|rent)", _PRICE, False),
        (
            "dearest|most expensive|highest (?:price|cost|fee|rent)|costs (?:the )?most",
            _PRICE,
            True,
        ),
        ("lightest", r"weight|\bkg\b|\bg\b", False),
        ("heaviest", r"weight|\bkg\b|\bg\b", True),
        ("shortest|quickest", _LENGTH, False),
        ("longest", _LENGTH, True),
        ("oldest", r"year|founded|since|age", False),
        ("newest|youngest", r"year|founded|since", True),
        ("quietest", r"noise|\bdb\b", False),
        ("loudest", r"noise|\bdb\b", True),
        ("strongest|most powerful", r"power|watts?|\bk?w\b|\bhp\b|load|\babv\b|alcohol", True),
        ("weakest|least powerful", r"power|watts?|\bk?w\b|\bhp\b|load|\babv\b|alcohol", False),
        ("fastest", r"speed|km/h|mph", True),
        ("slowest", r"speed|km/h|mph", False),
        ("tallest", r"height|\bm\b|\bcm\b", True),
        (
            r"(?:can|may|to) (?:carry|lift|hold|bear|take) (?:the )?most|carries (?:the )?most",
            "load|capacity",
            True,
        ),
    )
)
LEAST_COMPARED = 2
_EXTREME_OF = re.compile(
    r"\b(?:the )(?:(?P<most>highest|largest|greatest|biggest|most|longest)"
    r"|lowest|smallest|least|fewest|shortest) (?P<column>[a-z]{3,})",
    re.IGNORECASE,
)
"""Names the column of the figure: "the most seats"."""


def _rows_by_extreme(question: str, texts: Mapping[int, str]) -> set[int]:
    """Return the rows with the least or the largest figure where one is asked for ("cheapest")."""
    extremes = list(_EXTREMES)
    if named := _EXTREME_OF.search(question):
        (stem, *_) = content_words(named["column"]) or [named["column"]]
        column = re.compile(rf"\b{re.escape(stem)}", re.IGNORECASE)
        extremes.append((_EXTREME_OF, column, named["most"] is not None))
    for asked, heading, largest in extremes:
        if not asked.search(question):
            continue
        columns: dict[str, dict[int, float]] = {}
        for row, text in texts.items():
            for name, value in map(_named, _CELL.split(text)):
                number = re.match(r"\D{0,4}(\d[\d,]*(?:\.\d+)?)", value)
                if number is not None and heading.search(f"{name} {value}"):
                    columns.setdefault(name, {})[row] = float(number[1].replace(",", ""))
        wide = [values for values in columns.values() if len(values) >= LEAST_COMPARED]
        if len(wide) == 1:
            extreme = (max if largest else min)(wide[0].values())
            return {row for row, value in wide[0].items() if value == extreme}
    return set()


def _table_of(passage: Passage) -> tuple[str, str]:
    return split_source(passage.source)[0], str(passage.metadata.get("sheet") or "")


def _named(cell: str) -> tuple[str, str]:
    name, _, value = cell.partition(": ")
    return (name, value) if value else ("", name)


def _value_words(value: str) -> set[str]:
    return set(content_words(value)) | _letters(value)


def _letters(text: str) -> set[str]:
    """Return the capitals that stand alone: a grade, a class, a size."""
    return set(re.findall(r"(?<![\w'])[A-Z](?![\w'])", text))
