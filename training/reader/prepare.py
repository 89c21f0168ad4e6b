"""Create the input folder of train.py: passages, questions, negatives, misheard words, weights.

    python -m training.reader.prepare OUT --squad FILE... --handbook FOLDER
        --validation xquad.en.json --never FILE...

The questions are those on our own documents (`documents/`), on documents made by rule
(`made_documents.py`), on a handbook (`handbook.py`) and on Wikipedia (`wikipedia.py`). A paragraph
that shares text with one of `--never` is left out. Followed is the training on a seventh of our
own documents, and of `--validation` on the first 24 titles in sorted order. Needs espeak-ng, the
extras "local" and "documents", and the package onnx.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from training.reader.changes import changed, names_in
from training.reader.documents import Asked, Cut, Source, cut, found_in, read_sources
from training.reader.handbook import asked_of_headings, read_handbook
from training.reader.made_documents import made_sources
from training.reader.made_words import SMALL_TALK
from training.reader.mishearing import alternatives, spoken_form
from training.reader.passages import Book
from training.reader.ranking import hard_negatives, nearest_by_words
from training.reader.starts import packaged_weights
from training.reader.validation import own_cases, wikipedia_cases
from training.reader.wikipedia import paragraphs, read_training, shingles
from voicerag_core.local.weights.files import weight_path
from voicerag_core.types import Passage

DOCUMENTS = Path(__file__).with_name("documents")
SIZES = (1200, 600)
"""Characters of the passages that documents are cut into: the default, and shorter ones."""
KEPT_BACK = 7
MADE = 500
NEAR_DOCUMENTS = 4


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the training is given.

    Args:
        book: All passages.
        questions: As train.py reads them.
        texts: Passages, whose words may replace others.
    """

    book: Book = field(default_factory=Book)
    questions: list[dict[str, Any]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


def is_kept_back(name: str) -> bool:
    """Whether a document of ours is never trained on, but followed."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % KEPT_BACK == 0


def with_small_talk(sources: Sequence[Source]) -> list[Source]:
    """Return the documents, each asked two things besides that no document answers."""
    chance = random.Random(0)
    return [
        replace(
            source,
            asked=source.asked
            + tuple(Asked(text, "absent") for text in chance.sample(SMALL_TALK, 2)),
        )
        for source in sources
    ]


def add_wikipedia(
    prepared: Prepared, paths: list[Path], never: set[tuple[str, ...]], kept: Path
) -> None:
    """Add questions on Wikipedia, with passages that are alike as negatives."""
    passages, questions = read_training(paths, never)
    texts = [text for _, text in passages]
    places = [
        prepared.book.add(Passage(str(i), text, {"title": title} if title else {}))
        for i, (title, text) in enumerate(passages)
    ]
    near = hard_negatives(texts, questions, kept)
    chance = random.Random(0)
    names = [name for one in questions for name in names_in(one.text)]
    for one, wrong in zip(questions, near, strict=True):
        own = []
        others: list[str] = []
        if one.start >= 0:
            place = places[one.passage]
            sentences, exact = prepared.book.located(place, one.start, one.end)
            if not sentences:
                continue
            own = [[place, sentences, exact if one.exact else None]]
            title, text = passages[one.passage]
            others = changed(one.text, f"{title} {text}", names, chance)
        prepared.questions.append(
            _question("wikipedia", one.text, own, [[places[i], -1] for i in wrong], others)
        )
        if one.start < 0:
            prepared.questions[-1]["hard"] = [[places[one.passage], -1]]
    prepared.texts.extend(texts)


def add_documents(prepared: Prepared, group: str, sources: Sequence[Source]) -> None:
    """Add questions on documents; their other passages are the negatives."""
    chance = random.Random(group)
    names = [name for source in sources for one in source.asked for name in names_in(one.text)]
    added: list[tuple[int, Source, dict[str, Any]]] = []
    texts: list[str] = []
    owners: list[tuple[int, int]] = []
    for number, source in enumerate(sources):
        cuts = [cut(source, size) for size in SIZES]
        places = [[prepared.book.add(p) for p in held.passages] for held in cuts]
        whole = " ".join((source.name, source.text))
        made = [_question(group, one.text, [], [], changed(one.text, whole, names, chance))
                for one in source.asked]  # fmt: skip
        for held, own in zip(cuts, places, strict=True):
            for one, question in zip(source.asked, made, strict=True):
                add_places(question, held, own, one.answers, one.wrong)
        for one, question in zip(source.asked, made, strict=True):
            if one.answers and not question["own"]:
                print(f"{source.name}: no sentence found for {one.text!r}")
                continue
            question["changed"] = question["changed"] if one.answers else []
            added.append((number, source, question))
        texts += [passage.text for passage in cuts[0].passages]
        owners += [(number, place) for place in places[0]]
    ranked = nearest_by_words(texts, [question["t"] for _, _, question in added])
    for (number, _, question), rows in zip(added, ranked, strict=True):
        other = [owners[i] for i in rows if owners[i][0] != number][:NEAR_DOCUMENTS]
        question["far"] = [[place, -1] for _, place in other]
        prepared.questions.append(question)
    prepared.texts.extend(texts)
    print(f"{group}: {len(added)} questions, {len(sources)} documents")


def add_places(
    question: dict[str, Any],
    held: Cut,
    places: Sequence[int],
    answers: Sequence[str],
    wrong: Sequence[str],
) -> None:
    """Add to a question where it is answered in a document, and where it is not."""
    first = {i: min(n for n, s in enumerate(held.sentences) if s.passage == i)
             for i in {s.passage for s in held.sentences}}  # fmt: skip
    right = sorted({i for text in answers for i in found_in(text, held)})
    tempting = {i for text in wrong for i in found_in(text, held)} - set(right)
    answering = {held.sentences[i].passage for i in right}
    for index in sorted(answering):
        own = [i - first[index] for i in right if held.sentences[i].passage == index]
        question["own"].append([places[index], own, None])
    for i in sorted(tempting):
        index = held.sentences[i].passage
        if index not in answering:
            question["hard"].append([places[index], i - first[index]])
        else:
            question["beside"].append([places[index], i - first[index]])
    question["near"] += [[place, -1] for i, place in enumerate(places) if i not in answering]


def add_handbook(prepared: Prepared, folder: Path) -> None:
    """Add questions made from a handbook's headings."""
    pages = list(read_handbook(folder))
    texts = [passage.text for _, held in pages for passage in held.passages]
    words = Counter(word for text in texts for word in re.findall(r"[a-z]+", text.lower()))
    count = 0
    for _, held in pages:
        places = [prepared.book.add(passage) for passage in held.passages]
        first = {i: min(n for n, s in enumerate(held.sentences) if s.passage == i)
                 for i in {s.passage for s in held.sentences}}  # fmt: skip
        for text, told in asked_of_headings(held, words):
            index = held.sentences[told[0]].passage
            own = [[places[index], [i - first[index] for i in told], None]]
            near = [[place, -1] for i, place in enumerate(places) if i != index]
            prepared.questions.append(_question("handbook", text, own, near, []))
            count += 1
    prepared.texts.extend(texts)
    print(f"handbook: {count} questions, {len(pages)} pages")


def _question(
    group: str, text: str, own: list[Any], near: list[list[int]], others: list[str]
) -> dict[str, Any]:
    return {"g": group, "t": text, "s": spoken_form(text), "own": own, "near": near, "hard": [],
            "beside": [], "far": [], "changed": others}  # fmt: skip


def misheard(prepared: Prepared, asked: Sequence[str]) -> dict[str, Any]:
    """Return the words that sound alike, and how often words occur."""
    spoken = [question["s"] for question in prepared.questions]
    texts = [*prepared.texts, *(question["t"] for question in prepared.questions)]
    counts = Counter(word for text in texts for word in re.findall(r"[a-z']+", text.lower()))
    return {"alternatives": alternatives(texts, [*spoken, *asked]),
            "counts": {w: n for w, n in counts.items() if n >= 20}}  # fmt: skip


def write_json(path: Path, content: object) -> None:
    """Write compressed JSON."""
    whole = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    path.write_bytes(lzma.compress(whole.encode(), preset=6))


def main() -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--squad", type=Path, nargs="+", required=True)
    parser.add_argument("--documents", type=Path, default=DOCUMENTS)
    parser.add_argument("--made", type=int, default=MADE, help="documents made by rule")
    parser.add_argument("--handbook", type=Path, help="folder of HTML pages")
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--never", type=Path, nargs="*", default=[])
    parser.add_argument("--kept", type=Path, help="cache folder for vectors; default: OUT")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.kept or options.out
    kept.mkdir(parents=True, exist_ok=True)
    never: set[tuple[str, ...]] = set()
    for path in (options.validation, *options.never):
        never.update(*(shingles(paragraph["context"]) for paragraph in paragraphs(path)))
    prepared = Prepared()
    add_wikipedia(prepared, options.squad, never, kept)
    sources = list(read_sources(options.documents))
    trained = [one for one in sources if not is_kept_back(one.name)]
    add_documents(prepared, "own", with_small_talk(trained))
    add_documents(prepared, "made", list(made_sources(options.made)))
    if options.handbook:
        add_handbook(prepared, options.handbook)
    held = json.loads(options.validation.read_text(encoding="utf-8"))["data"]
    asked = [spoken_form(q["question"]) for a in held for p in a["paragraphs"] for q in p["qas"]]
    words = misheard(prepared, asked)
    write_json(options.out / "misheard.json.xz", words)
    write_json(options.out / "training.json.xz",
               {"passages": prepared.book.passages, "questions": prepared.questions})  # fmt: skip
    followed = Book()
    cases = wikipedia_cases(followed, options.validation, words, kept)
    cases += own_cases(followed, sources, [one.name for one in sources if is_kept_back(one.name)])
    write_json(options.out / "validation.json.xz", {"passages": followed.passages, "cases": cases})
    weights: dict[str, Any] = {**packaged_weights(weight_path("minilm-int8/model.onnx"))}
    np.savez_compressed(options.out / "base.npz", **weights)


if __name__ == "__main__":
    main()
