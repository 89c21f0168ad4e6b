"""The reader's training: answers are found, near misses miss, windows are the reader's."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from training.reader.changes import changed
from training.reader.documents import Asked, Source, cut, found_in, read_sources
from training.reader.examples import Drawing, Examples, Passages, stack
from training.reader.made_documents import made_sources
from training.reader.passages import Book
from training.reader.prepare import DOCUMENTS, Prepared, add_documents, is_kept_back, write_json
from voicerag_core.chunking import chunk_document
from voicerag_core.documents.formats import parse
from voicerag_core.local.reading.features import candidates
from voicerag_core.local.reading.windows import windows

TEXT = """# Alder

| Model | Tank | Price |
|---|---|---|
| A10 | 4 litres | 30 EUR |
| A100 | 4 litres | 300 EUR |

Prices are **net**. See [the list](list.html) for more.

Bring:

- a passport
- your *signed* contract
"""
SOURCE = Source("alder", TEXT, (
    Asked("price of the A10", "table", ("| A10 | 4 litres | 30 EUR |",),
          ("| A100 | 4 litres | 300 EUR |",)),
    Asked("what do I bring", "list", ("Bring:", "a passport", "your *signed* contract")),
    Asked("price of the A20", "absent", (), ("| A10 | 4 litres | 30 EUR |",)),
))  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("| A10 | 4 litres | 30 EUR |", ["Model: A10; Tank: 4 litres; Price: 30 EUR"]),
        ("| A100 | 4 litres | 300 EUR |", ["Model: A100; Tank: 4 litres; Price: 300 EUR"]),
        ("Prices are **net**.", ["Prices are net."]),
        ("See [the list](list.html) for more.", ["See the list for more."]),
        ("your *signed* contract", ["your signed contract"]),
        ("Prices are gross.", []),
        ("| A10 | 5 litres | 30 EUR |", []),
    ],
)
def test_strings_are_found_in_what_the_product_reads(text: str, said: list[str]) -> None:
    held = cut(SOURCE)
    assert [held.sentences[i].text for i in found_in(text, held)] == said


@pytest.mark.parametrize("size", [1200, 300])
def test_every_answer_of_made_documents_is_found(size: int) -> None:
    for source in made_sources(12, seed=3):
        held = cut(source, size)
        for one in source.asked:
            assert all(found_in(text, held) for text in (*one.answers, *one.wrong)), one


def test_made_documents_are_the_same_for_a_seed() -> None:
    assert list(made_sources(3, seed=1)) == list(made_sources(3, seed=1))
    assert list(made_sources(3, seed=1)) != list(made_sources(3, seed=2))


def test_our_documents_answer_what_they_ask() -> None:
    """Of the documents in the repository, those of the smallest folder: all take half a minute."""
    folders = sorted(path for path in DOCUMENTS.iterdir() if path.is_dir())
    assert len(folders) > 3
    sources = list(read_sources(folders[0]))
    missing = [
        (source.name, text)
        for source in sources
        for held in [cut(source)]
        for one in source.asked
        for text in one.answers
        if not found_in(text, held)
    ]
    assert len(missing) <= 0.01 * sum(len(source.asked) for source in sources), missing


def test_a_seventh_of_our_documents_is_kept_back() -> None:
    names = [
        path.relative_to(DOCUMENTS).with_suffix("").as_posix() for path in DOCUMENTS.rglob("*.md")
    ]
    share = sum(map(is_kept_back, names)) / len(names)
    assert 1 / 14 < share < 1 / 4
    assert is_kept_back(names[0]) == is_kept_back(names[0])


@pytest.mark.parametrize(
    ("question", "around", "kept"),
    [
        ("What was sold in 1998?", "In 1998 apples were sold.", "What was sold in"),
        ("What does E04 mean?", "E04: no water. E05: no power.", "mean?"),
        ("Who was the third mayor?", "The third mayor was Ann.", "mayor?"),
        ("How is the filter enabled?", "The filter is on.", ""),
        ("What did Maria Holt buy?", "Maria Holt bought a saw.", "What did"),
    ],
)
def test_a_changed_question_names_what_is_not_there(question: str, around: str, kept: str) -> None:
    for seed in range(20):
        for text in changed(question, around, ["Carl Weiss", "Ida Novak"], random.Random(seed)):
            assert kept
            assert kept in text
            new = set(text.split()) - set(question.split())
            assert new
            assert not any(word.strip("?").lower() in around.lower().split() for word in new)


def test_the_training_reads_the_windows_of_the_reader() -> None:
    """What train.py puts together is token for token what the product gives the network."""
    sources = [*made_sources(4, seed=5), SOURCE]
    book = Book()
    for source in sources:
        parsed = parse(source.text.encode(), "a.md", ".md", text_column=None, encoding=None)
        for passage in chunk_document(parsed.documents[0], size=900):
            number = book.add(passage)
            sentences = candidates([passage])
            held = Passages(book.passages, Drawing({}))
            for room in (60, 250):
                for window in windows(book.tokens, [passage], sentences, room):
                    ids, spans = held.window(number, window.sentences, room)
                    assert ids == window.ids
                    assert tuple(spans) == window.spans
                    order = held.fitting(number, window.sentences[-1], room)
                    assert order[-1] >= window.sentences[-1]


def prepared(folder: Path) -> Examples:
    made = Prepared()
    add_documents(made, "own", [SOURCE, *made_sources(3, seed=9)])
    write_json(
        folder / "training.json.xz", {"passages": made.book.passages, "questions": made.questions}
    )
    write_json(folder / "misheard.json.xz", {"alternatives": {}, "counts": {}})
    drawing = Drawing({"own": 1.0}, noise={"": 0.0}, changed=0.5)
    return Examples(made.book._tokenizer, folder, drawing, random.Random(0))


def test_pairs_answer_only_where_the_document_does(tmp_path: Path) -> None:
    examples = prepared(tmp_path)
    questions = {one["t"]: one for one in examples.groups["own"]}
    told = set()
    decode = examples._tokenizer.decode
    for _ in range(40):
        for pair in examples.draw(questions["price of the A10"]):
            for i in pair.right:
                told.add(decode(pair.ids[pair.spans[i][0] : pair.spans[i][1]]))
        assert not any(pair.right for pair in examples.draw(questions["price of the A20"]))
    assert told == {"model : a10 ; tank : 4 litres ; price : 30 eur"}


def test_batches_mark_what_may_be_chosen_and_what_answers(tmp_path: Path) -> None:
    examples = prepared(tmp_path)
    pairs = next(examples.batches(4))
    batch = stack(pairs)
    assert batch["inside"].any(axis=1).all(), "[CLS] stands for no answer"
    assert (batch["inside"] <= batch["open"]).all()
    assert (batch["open"] <= batch["mask"]).all()
    for row, pair in enumerate(pairs):
        assert batch["inside"][row, 0] == (not pair.right)
        assert not batch["open"][row, 1 : pair.question].any(), "the question is never chosen"
