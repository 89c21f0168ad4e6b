"""How often is a true sentence marked as unsupported, and how often an invented one left unmarked?

    python -m benchmarks.answers.marking FILE.json [FILE.json ...] [--language en] [--show 10]

FILE is in SQuAD's form. Of each paragraph every sentence is true; it is also said in other forms
(figures in words, dates in other forms, behind "According to the source,"). Invented ones are made
of it by rule: another figure, another year, a name one letter off, a name of another paragraph, a
denial put in or taken out. Four paragraphs are the passages, as for a chat model; each sentence
cites its own.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import chart
from benchmarks.answers.shares import share
from voicerag_core import Passage
from voicerag_core.local.reading.support import Support, Verdict
from voicerag_core.sentences import split_sentences

SOURCES = 4
MONTHS = re.split(
    " ",
    "January February March April May June July August September October November December",
)
SPELT = re.split(" ", "zero one two three four five six seven eight nine ten eleven twelve")
Change = Callable[[str, list[str], random.Random], str | None]


def paragraphs(files: list[Path]) -> Iterator[tuple[str, str]]:
    """Yield titles and texts."""
    for file in files:
        for article in json.loads(file.read_text("utf-8"))["data"]:
            for paragraph in article["paragraphs"]:
                yield article["title"], paragraph["context"]


def behind_a_lead(sentence: str, _others: list[str], _draw: random.Random) -> str | None:
    first = sentence.split(" ", 1)[0]
    lowered = sentence[0].lower() + sentence[1:] if first in ("The", "In", "It", "A") else sentence
    return f"According to the source, {lowered}"


def figure_in_words(sentence: str, _others: list[str], _draw: random.Random) -> str | None:
    said = re.sub(
        r"(?<![\w.,$/:-])(\d|1[0-2])(?![\w.,/:%-]\d|\d|%)", lambda m: SPELT[int(m[1])], sentence
    )
    return said if said != sentence else None


def word_in_figures(sentence: str, _others: list[str], _draw: random.Random) -> str | None:
    said = re.sub(
        r"\b(two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b",
        lambda m: str(SPELT.index(m[1])),
        sentence,
    )
    return said if said != sentence else None


def date_in_figures(sentence: str, _others: list[str], _draw: random.Random) -> str | None:
    months = "|".join(MONTHS)
    said = re.sub(
        rf"\b({months}) (\d{{1,2}}), (\d{{4}})",
        lambda m: f"{m[3]}-{MONTHS.index(m[1]) + 1:02}-{int(m[2]):02}",
        sentence,
    )
    said = re.sub(rf"\b(\d{{1,2}}) ({months}) (\d{{4}})", lambda m: f"{m[2]} {m[1]}, {m[3]}", said)
    return said if said != sentence else None


def first_clause(sentence: str, _others: list[str], _draw: random.Random) -> str | None:
    head, comma, _ = sentence.partition(", ")
    return f"{head}." if comma and len(head.split()) > 5 else None


def other_figure(sentence: str, _others: list[str], draw: random.Random) -> str | None:
    found = list(re.finditer(r"(?<![\w.,])\d{1,3}(?![\w.,]*\d)(?!\w)", sentence))
    if not found:
        return None
    match = draw.choice(found)
    changed = str(int(match[0]) + draw.choice((3, 7, 11)))
    return sentence[: match.start()] + changed + sentence[match.end() :]


def other_year(sentence: str, _others: list[str], draw: random.Random) -> str | None:
    found = list(re.finditer(r"(?<![\w.,])(?:1\d{3}|20\d\d)(?![\w.,]*\d)(?!\w)", sentence))
    if not found:
        return None
    match = draw.choice(found)
    changed = str(int(match[0]) + draw.choice((-1, 1, 10)))
    return sentence[: match.start()] + changed + sentence[match.end() :]


def letter_off(sentence: str, _others: list[str], draw: random.Random) -> str | None:
    found = list(re.finditer(r"(?<=[a-z,] )[A-Z][a-z]{4,}\b", sentence))
    if not found:
        return None
    match = draw.choice(found)
    at = draw.randrange(1, len(match[0]) - 1)
    letter = draw.choice([one for one in "aeioustrnl" if one != match[0][at]])
    changed = match[0][:at] + letter + match[0][at + 1 :]
    return sentence[: match.start()] + changed + sentence[match.end() :]


def other_name(sentence: str, others: list[str], draw: random.Random) -> str | None:
    found = list(re.finditer(r"(?<=[a-z,] )[A-Z][a-z]{4,}\b", sentence))
    names = [name for text in others for name in re.findall(r"(?<=[a-z,] )[A-Z][a-z]{4,}\b", text)]
    if not found or not names:
        return None
    match = draw.choice(found)
    return sentence[: match.start()] + str(draw.choice(names)) + sentence[match.end() :]


def denied(sentence: str, _others: list[str], _draw: random.Random) -> str | None:
    if re.search(r"\bnot\b|n't\b", sentence):
        said = re.sub(r"\s+not\b|n't\b", "", sentence, count=1)
    else:
        said = re.sub(r"\b(is|are|was|were|can|will|has|had)\b", r"\1 not", sentence, count=1)
    return said if said != sentence else None


TRUE: dict[str, Change] = {
    "as it stands": lambda sentence, _others, _draw: sentence,
    "behind a lead": behind_a_lead,
    "figure in words": figure_in_words,
    "word in figures": word_in_figures,
    "date in another form": date_in_figures,
    "its first clause": first_clause,
}
INVENTED: dict[str, Change] = {
    "another figure": other_figure,
    "another year": other_year,
    "a name one letter off": letter_off,
    "a name of another passage": other_name,
    "a denial in or out": denied,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", help="sets in SQuAD's form")
    parser.add_argument("--language", default="en", help="of the sentences")
    parser.add_argument("--show", type=int, default=0, help="wrongly judged ones to print, a kind")
    given = parser.parse_args()
    texts = list(paragraphs(given.files))
    marked: dict[str, list[bool]] = defaultdict(list)
    draw = random.Random(0)
    for place, (title, text) in enumerate(texts):
        near = [texts[(place + step) % len(texts)] for step in range(SOURCES)]
        passages = [Passage(str(n), body, {"title": name}) for n, (name, body) in enumerate(near)]
        support = Support.of("What is said about it?", passages)
        support.language = given.language
        others = [body for name, body in near[1:] if name != title] or [near[1][1]]
        for sentence in split_sentences(text):
            for kind, change in {**TRUE, **INVENTED}.items():
                said = change(sentence, others, draw)
                if said is None:
                    continue
                flag = support.verdict(said, [0]) is not Verdict.BORNE
                wrong = flag == (kind in TRUE)
                marked[kind].append(flag)
                if wrong and sum(f == flag for f in marked[kind]) <= given.show:
                    print(f"{kind} | {said}")
    rows = [[kind, str(share(flags))] for kind, flags in marked.items()]
    print("\n".join(chart.table(["sentence", "marked"], rows)))


if __name__ == "__main__":
    main()
