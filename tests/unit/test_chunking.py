"""Sentences and passages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicerag_core import ConfigError, Document, chunk_document, sentence_spans, split_sentences

ENGLISH = (
    "Dr. Smith went to Washington D.C. on Jan. 5. He paid $3.50 for it!  "
    '"Why?" she asked.\nA line break ends nothing\nby itself.\n\nAn empty line does'
)
CHINESE = "第一句话在这里。第二句呢？第三句！他说：“你好。”然后走了。"


def test_english_sentences() -> None:
    assert split_sentences(ENGLISH) == [
        "Dr. Smith went to Washington D.C. on Jan. 5.",
        "He paid $3.50 for it!",
        '"Why?" she asked.',
        "A line break ends nothing by itself.",
        "An empty line does",
    ]


def test_chinese_sentences() -> None:
    assert split_sentences(CHINESE) == [
        "第一句话在这里。", "第二句呢？", "第三句！", "他说：“你好。”", "然后走了。",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "sentence",
    [
        "The fee is approx. 40 euros.",
        "Max. load is 40 kg incl. packaging.",
        "The price is 5 euros excl. VAT.",
        "It was built approx. Three hundred people came.",
        "See fig. 4 and sec. 2 of vol. 3.",
        "A :exc:`~requests.exceptions.Timeout` is raised by version 2.32.5 of it.",
        "Call tel. 555 1234, ext. 42.",
        "The qty. ordered by the dept. of works is open.",
        "3. Press the start button.",
        "b) Close the lid.",
        "Send it to a.berg@example.org today.",
    ],
)
def test_a_dot_inside_a_sentence_ends_none(sentence: str) -> None:
    assert split_sentences(f"{sentence} Then go.") == [sentence, "Then go."]


@pytest.mark.parametrize(
    "sentence",
    [
        "Der Antrag, z. B. per E-Mail, gilt bis zum 3. Mai 2024.",
        "Das Büro liegt im 2. Obergeschoss der Hauptstr. 5 bzw. im Anbau.",
        "Die max. Höhe der Regale beträgt ca. 3 Meter.",
        "Siehe Abs. 2 Nr. 4 der Satzung, vgl. S. 12.",
        "Le Dr. Petit et M. Dupont habitent bd. Voltaire.",
        "Le prix est d'env. 20 euros pour les membres, cf. art. 5 al. 2.",
        "El Sr. López y el Dr. Pérez llegan en enero.",
        "El núm. 4 cuesta aprox. 20 euros para los socios, p. ej. en la pág. 12.",
    ],
)
def test_a_dot_inside_a_sentence_of_another_language_ends_none(sentence: str) -> None:
    last = {"L": "Elle est partie avec le train.", "E": "El socio del club está en casa."}.get(
        sentence[0], "Der Verein ist für die Kinder."
    )
    assert split_sentences(f"{sentence} {last}") == [sentence, last]


@pytest.mark.parametrize(
    "text",
    [
        "Der Zug fährt um 12. Die Gruppe wartet.",
        "Das ist nicht Nr. Vier. Wir gehen.",
        "« Il paie. » Elle part avec les autres.",
        "¿Quién paga? El socio del club.",
        "EN 342 and EN 343 are norms, EN 388 is of class 2. Gloves have one size.",
    ],
)
def test_a_dot_that_ends_a_sentence_of_another_language_does(text: str) -> None:
    assert len(split_sentences(text)) == 2


@pytest.mark.parametrize(
    "text",
    [
        "The answer is no. We go.",
        "Set it to the max. Then go.",
        "See pg_dump. psql reads it.",
        "Use a phone. iPhone users wait.",
        "We met at 5 p.m. The door was open.",
        "It is large. 40 people fit.",
    ],
)
def test_a_dot_that_ends_a_sentence_does(text: str) -> None:
    assert len(split_sentences(text)) == 2


@pytest.mark.parametrize("text", ["", " \n\n\t "])
def test_nothing_has_no_sentence_and_no_passage(text: str) -> None:
    assert split_sentences(text) == []
    assert chunk_document(Document("a", text)) == []


prose = st.text(st.sampled_from("ab. !?\n\t。？你Ünd"), max_size=200) | st.text(max_size=80)


@given(prose)
def test_sentences_cover_every_character_once(text: str) -> None:
    spans = sentence_spans(text)
    inside = {i for start, end in spans for i in range(start, end)}
    assert sum(end - start for start, end in spans) == len(inside)
    assert spans == sorted(spans)
    assert all(text[i].isspace() for i in range(len(text)) if i not in inside)


@given(prose, st.integers(1, 60), st.integers(0, 59))
def test_passages_respect_size_and_lose_nothing(text: str, size: int, overlap: int) -> None:
    overlap = min(overlap, size - 1)
    passages = chunk_document(Document("a", text), size=size, overlap=overlap)
    covered: set[int] = set()
    for position, passage in enumerate(passages):
        start, end = passage.metadata["start"], passage.metadata["end"]
        assert isinstance(start, int)
        assert isinstance(end, int)
        assert passage.text == text[start:end]
        assert 0 < len(passage.text) <= size
        assert passage.metadata["position"] == position
        covered |= set(range(start, end))
    assert all(text[i].isspace() for i in range(len(text)) if i not in covered)
    assert len({passage.id for passage in passages}) == len(passages)


def test_overlap_repeats_whole_sentences() -> None:
    document = Document("a", "One is here. Two is here. Three is here. Four is here.")
    texts = [p.text for p in chunk_document(document, size=28, overlap=14)]
    assert texts == [
        "One is here. Two is here.",
        "Two is here. Three is here.",
        "Three is here. Four is here.",
    ]


def test_a_long_sentence_is_cut_at_a_space() -> None:
    texts = [p.text for p in chunk_document(Document("a", "abcd efgh ijkl"), size=9)]
    assert texts == ["abcd efgh", "ijkl"]
    assert [p.text for p in chunk_document(Document("a", "x" * 25), size=10)] == [
        "x" * 10, "x" * 10, "x" * 5,
    ]  # fmt: skip


def test_metadata_tells_where_a_passage_is_from() -> None:
    document = Document("kb/a.md", "One. Two.", "The title", {"team": "blue", "page": 3})
    (passage,) = chunk_document(document)
    assert passage.metadata == {
        "team": "blue", "page": 3, "source": "kb/a.md", "title": "The title",
        "position": 0, "start": 0, "end": 9,
    }  # fmt: skip
    assert "title" not in chunk_document(Document("a", "One."))[0].metadata


def test_equal_texts_at_two_places_keep_two_ids_that_stay_the_same() -> None:
    text = "The same. " * 2
    first = chunk_document(Document("a", text), size=10)
    assert [p.text for p in first] == ["The same.", "The same."]
    other = chunk_document(Document("b", text), size=10)
    ids = [p.id for p in (*first, *other)]
    assert len(set(ids)) == 4
    assert [p.id for p in chunk_document(Document("a", text), size=10)] == ids[:2]


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (10, 10), (10, -1)])
def test_impossible_sizes_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(ConfigError, match="size"):
        chunk_document(Document("a", "text"), size=size, overlap=overlap)


def test_a_large_text_takes_linear_time() -> None:
    text = "\n" * 100_000 + "A sentence of words. " * 20_000 + " " * 100_000
    assert len(split_sentences(text)) == 20_000
