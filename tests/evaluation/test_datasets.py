"""Loaders, on small files in the true layout of each set, and on bad ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.evaluation.conftest import PASSAGES, tone, write_lines, write_own
from voicerag_core import ConfigError, DocumentError, write_wav
from voicerag_core.evaluation.datasets import SETS, load_set
from voicerag_core.evaluation.datasets.spoken import with_clips
from voicerag_core.evaluation.datasets.values import EvalQuestion, EvalSet, checked, cut, drawn

SHARED = Path(__file__).parents[3] / "shared" / "data"

HOTPOT = {
    "_id": "5a8b57f25542995d1e6f1371",
    "question": "Were both men American?",
    "answer": "yes",
    "type": "comparison",
    "level": "hard",
    "supporting_facts": [["Scott", 0], ["Ed", 0], ["Scott", 1]],
    "context": [
        ["Ed (film)", ["A film.", " It is long."]],
        ["Scott", ["Scott is a director.", " He is American."]],
        ["Ed", ["Ed was American."]],
    ],
}
RGB = {
    "id": 7,
    "query": "Where was it?",
    "answer": ["Tampa", ["Tampa, Florida"]],
    "positive": ["It was in Tampa.", "Tampa was the place."],
    "negative": ["Tickets are sold.", "It rained.", "The team won."],
    "positive_wrong": ["It was in Glendale."],
    "fakeanswer": "Glendale",
}


def test_hotpotqa_in_its_own_form(tmp_path: Path) -> None:
    file = tmp_path / "hotpot_dev_distractor_v1.json"
    file.write_text(json.dumps([HOTPOT]))
    found = load_set(f"hotpotqa-file={file}")
    (one,) = found.questions
    titles = {passage.id: passage.title for passage in found.passages}
    assert [titles[name] for name in one.sources] == ["Scott", "Ed"], "each title once"
    assert len(one.own) == 3
    assert one.all_sources
    assert found.passages[0].text == "A film. It is long."


def test_the_tree_of_glm_voice_rag_brings_its_sound(tmp_path: Path) -> None:
    file = tmp_path / "hotpot_dev_distractor_v1.json"
    file.write_text(json.dumps([HOTPOT, {**HOTPOT, "_id": "other"}]))
    clips = tmp_path / "hotpot_dev_distractor_v1" / "en-US-JennyNeural"
    (clips / HOTPOT["_id"]).mkdir(parents=True)  # type: ignore[operator]
    write_wav(clips / str(HOTPOT["_id"]) / "question.wav", tone(0))
    found = load_set(f"hotpotqa-file={file}@{clips}")
    assert found.questions[0].sound == clips / str(HOTPOT["_id"]) / "question.wav"
    assert found.questions[1].sound is None
    assert found.problems == ("question other: its sound is missing",)
    with pytest.raises(DocumentError, match="no clip"):
        with_clips(found, tmp_path / "nowhere")


def test_rgb_mixes_noise_and_falsifies_and_refuses(tmp_path: Path) -> None:
    file = tmp_path / "zh_fact.json"
    write_lines(file, [RGB])
    found = load_set(f"rgb-file={file}")
    (one,) = found.questions
    assert found.language == "zh"
    assert one.answers == ("Tampa", "Tampa, Florida")
    assert len(one.sources) == 2
    assert set(one.sources) < set(one.own)
    data = tmp_path / "data"
    write_lines(data / "rgb" / "en_fact.json", [RGB])
    false = load_set("rgb-en-counterfactual", data)
    assert [p.text for p in false.passages if p.id in false.questions[0].sources] == [
        "It was in Glendale."
    ]
    assert false.questions[0].fake_answers == ("Glendale",)
    refused = load_set("rgb-en-refusal", data)
    assert not refused.questions[0].answerable
    assert len(refused.passages) == 3, "the right passages are in no store"


def squad(context: str, question: str, answers: list[str], **more: object) -> dict[str, object]:
    told = [{"text": text, "answer_start": 0} for text in answers]
    qas = [{"id": "1", "question": question, "answers": told, **more}]
    return {"data": [{"title": "A_title", "paragraphs": [{"context": context, "qas": qas}]}]}


def test_spoken_squad_and_unanswerable_questions(tmp_path: Path) -> None:
    file = tmp_path / "spoken_test-v1.1.json"
    file.write_text(json.dumps(squad("the norman's were", "Who?", ["norman's", "norman's"])))
    found = load_set(f"spoken-squad={file}")
    assert found.questions[0].answers == ("norman's",)
    assert found.passages[0].title == "A title"
    file.write_text(json.dumps(squad("text", "Who?", [], is_impossible=True)))
    assert not load_set(f"spoken-squad={file}").questions[0].answerable


def test_xquad_across_languages_asks_the_parallel_question(tmp_path: Path) -> None:
    folder = tmp_path / "xquad"
    folder.mkdir()
    (folder / "xquad.en.json").write_text(json.dumps(squad("English text", "Who?", ["text"])))
    (folder / "xquad.zh.json").write_text(json.dumps(squad("中文", "谁？", ["中文"])))
    found = load_set("xquad-en-zh", tmp_path)
    assert (found.language, found.passage_language) == ("en", "zh")
    assert (found.questions[0].text, found.questions[0].answers) == ("Who?", ("中文",))


def test_sd_qa_cuts_articles_by_bytes(tmp_path: Path) -> None:
    text = "Ärzte heilen. Basalt ist häufig."
    start = len("Ärzte heilen. ".encode())
    row = {
        "example_id": -188,
        "language": "english",
        "document_title": "Rock",
        "document_plaintext": text,
        "question_text": "what is common",
        "passage_answer_candidates": [
            {"plaintext_start_byte": 0, "plaintext_end_byte": start - 1},
            {"plaintext_start_byte": start, "plaintext_end_byte": len(text.encode())},
        ],
        "annotations": [
            {
                "annotation_id": 1,
                "minimal_answer": {"plaintext_start_byte": start, "plaintext_end_byte": start + 6},
                "passage_answer": {"candidate_index": 1},
                "yes_no_answer": "NONE",
            },
            {
                "annotation_id": 2,
                "minimal_answer": {"plaintext_start_byte": -1, "plaintext_end_byte": -1},
                "passage_answer": {"candidate_index": -1},
                "yes_no_answer": "NONE",
            },
        ],
    }
    file = tmp_path / "usa" / "english.dev.usa-en-US.jsonl"
    write_lines(file, [row])
    (file.parent / "wav_eng").mkdir()
    write_wav(file.parent / "wav_eng" / "-188.wav", tone(1))
    found = load_set(f"sd-qa={file}")
    (one,) = found.questions
    assert one.answers == ("Basalt",)
    by_id = {passage.id: passage.text for passage in found.passages}
    assert [by_id[name] for name in one.sources] == ["Basalt ist häufig."]
    assert one.sound is not None
    triples = tmp_path / "english.dev.usa-en-US.triples.jsonl"
    told = {"example_id": 5, "question": "who", "answer": "-1", "answers": [], "has_answer": False}
    write_lines(triples, [told])
    bare = load_set(f"sd-qa={triples}")
    assert not bare.questions[0].answerable
    assert bare.problems == ("question 5: its sound is missing",)


def test_svq_takes_one_locale_and_environment(tmp_path: Path) -> None:
    write_lines(
        tmp_path / "passage_retrieval_in_lang_index.jsonl",
        [{"id": "p1", "title": "T", "context": "Text."}],
    )
    row = {"utt_id": "u1", "locale": "en_us", "environment": "clean", "text": "who",
           "passage_id": "p1"}  # fmt: skip
    write_lines(
        tmp_path / "passage_retrieval_in_lang.jsonl",
        [row, {**row, "utt_id": "u2", "locale": "fi_fi"},
         {**row, "utt_id": "u3", "environment": "traffic_noise"}],
    )  # fmt: skip
    (tmp_path / "audio").mkdir()
    write_wav(tmp_path / "audio" / "u1.wav", tone(1))
    found = load_set(f"svq={tmp_path}")
    assert [one.id for one in found.questions] == ["u1"]
    assert found.questions[0].sound is not None
    assert [one.id for one in load_set(f"svq={tmp_path}@fi_fi").questions] == ["u2"]
    with pytest.raises(DocumentError, match="its locales are en_us, fi_fi"):
        load_set(f"svq={tmp_path}@de_de")


@pytest.mark.parametrize("layout", ["tsv", "trec", "flat"])
def test_beir_and_squtr(tmp_path: Path, layout: str) -> None:
    write_lines(
        tmp_path / "corpus.jsonl",
        [{"_id": "d1", "title": "T", "text": "One."}, {"_id": "d2", "title": "", "text": "Two."}],
    )
    write_lines(tmp_path / "queries.jsonl", [{"_id": q, "text": f"who {q}"} for q in ("q1", "q2")])
    rows = {
        "tsv": ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\n"),
        "trec": ("qrels/test.tsv", "q1\t0\td1\t2\n"),
        "flat": ("qrels.tsv", "q1\td1\t1\n"),
    }
    name, text = rows[layout]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    found = load_set(f"beir={tmp_path}")
    assert [(one.id, one.sources) for one in found.questions] == [("q1", ("d1",))]
    clips = tmp_path / "snr_10"
    clips.mkdir()
    write_wav(clips / "q1.wav", tone(1))
    assert load_set(f"squtr={tmp_path}@{clips}").questions[0].sound == clips / "q1.wav"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert load_set(f"squtr={tmp_path}@{empty}").problems == ("query q1: its sound is missing",)


def test_what_a_corpus_lacks_is_listed(tmp_path: Path) -> None:
    rows = [{"_id": 1, "text": "One\u2028line\x85."}, {"_id": 2, "title": "T", "text": ""},
            {"_id": 3, "text": ""}]  # fmt: skip
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "corpus.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    write_lines(tmp_path / "queries.jsonl", [{"_id": "q1", "text": "who"}])
    (tmp_path / "qrels").mkdir()
    judged = "query-id\tcorpus-id\tscore\r\nq1\t1\t1\r\nq1\t77\t1\r\nq9\t1\t1\r\n"
    (tmp_path / "qrels" / "dev.tsv").write_bytes(judged.encode())
    found = load_set(f"beir={tmp_path}")
    assert [one.text for one in found.passages] == ["One\u2028line\x85.", "T"]
    assert [(one.id, one.sources) for one in found.questions] == [("q1", ("1",))]
    assert found.problems == (
        "1 passages have no text",
        "the judged passage 77 is not in the corpus",
        "the judged query q9 is not among the queries, or has no words",
    )
    (tmp_path / "corpus.jsonl.gz").write_bytes(gzip.compress(text.encode())[:-9])
    with pytest.raises(DocumentError, match="damaged gzip"):
        load_set(f"beir={tmp_path}")


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    found = load_set(f"simple={write_own(tmp_path / 'own')}")
    assert [one.sources for one in found.questions] == [("fleming",), ("rhine",), ("oxygen",), ("bakery",)]  # fmt: skip  # noqa: E501
    assert all(one.sound for one in found.questions)
    documents = tmp_path / "docs"
    (documents / "documents").mkdir(parents=True)
    (documents / "documents" / "hours.txt").write_text("The bakery opens at six.")
    write_lines(
        documents / "questions.jsonl",
        [{"id": None, "question": "When?", "answer": [6, "six"], "source": "hours.txt"},
         {"question": "Who?", "answerable": False}],
    )  # fmt: skip
    found = load_set(f"simple={documents}")
    assert found.questions[0].sources == (found.passages[0].id,)
    assert (found.questions[0].id, found.questions[0].answers) == ("1", ("6", "six"))
    assert not found.questions[1].answerable


@pytest.mark.parametrize("folder", ["plain", "c#notes"])
def test_a_document_whose_passages_know_their_place_is_named_by_its_file(
    tmp_path: Path, folder: str
) -> None:
    documents = tmp_path / folder / "documents"
    documents.mkdir(parents=True)
    (documents / "boats.csv").write_text("boat,owner\nPuffin,Margaret\nMoonraker,Tomas\n")
    (documents / "hours.md").write_text("# Hours\n\nThe bakery opens at six.\n")
    write_lines(
        tmp_path / folder / "questions.jsonl",
        [{"question": "Who owns Puffin?", "sources": ["boats.csv"]},
         {"question": "When?", "sources": [str(documents / "hours.md")]}],
    )  # fmt: skip
    found = load_set(f"simple={tmp_path / folder}")
    places = {passage.id: passage.source for passage in found.passages}
    assert [[places[name] for name in one.sources] for one in found.questions] == [
        [f"{documents / 'boats.csv'}#row=2"],
        [f"{documents / 'hours.md'}#hours"],
    ]


def test_the_seeds_own_folder(tmp_path: Path) -> None:
    (tmp_path / "information.txt").write_text("Ada wrote the first program.")
    (tmp_path / "true_answer.txt").write_text("Ada\n")
    write_wav(tmp_path / "question.wav", tone(3))
    (one,) = load_set(f"simple={tmp_path}").questions
    assert one.answers == ("Ada",)
    assert one.sound == tmp_path / "question.wav"


def test_missing_sound_is_counted_and_listed(tmp_path: Path) -> None:
    folder = write_own(tmp_path / "own")
    rows = [{"id": "a", "question": "who", "audio": "gone.wav"}, {"id": "b", "audio": "gone.wav"}]
    write_lines(folder / "questions.jsonl", rows)
    found = load_set(f"simple={folder}")
    assert [one.id for one in found.questions] == ["a"]
    assert len(found.problems) == 2
    assert "question b: its sound gone.wav is missing; it is left out" in found.problems


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b'{"id": 1, "question": "a"}\n{"id": "1", "question": "b"}\n', "questions with one id"),
        ('{"question": "Müll"}\n'.encode("latin-1"), "not UTF-8: byte 15"),
        (b'{"question": "a"', "line 1: not JSON"),
        (b"[1]\n", "an object is expected"),
        (b'{"answers": ["x"]}\n', "'question' or 'audio'"),
        (b'{"question": null, "audio": null}\n', "'question' or 'audio'"),
        (b'{"question": "a", "answerable": "false"}\n', "true or false, not 'false'"),
        (b'{"question": "a", "sources": ["nowhere"]}\n', "'nowhere' is neither"),
        (b"", "no questions"),
    ],
)
def test_bad_questions_are_refused_with_their_place(
    tmp_path: Path, lines: bytes, message: str
) -> None:
    folder = write_own(tmp_path / "own")
    (folder / "questions.jsonl").write_bytes(lines)
    with pytest.raises(DocumentError, match=message):
        load_set(f"simple={folder}")


def test_two_passages_of_one_id_are_refused(tmp_path: Path) -> None:
    folder = write_own(tmp_path / "own")
    write_lines(folder / "passages.jsonl", [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}])
    write_lines(folder / "questions.jsonl", [{"question": "a"}])
    with pytest.raises(DocumentError, match="passages with one id: 'a'"):
        load_set(f"simple={folder}")


@pytest.mark.parametrize("name", ["hotpotqa-file", "rgb-file", "sd-qa", "spoken-squad"])
def test_files_of_another_form_are_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "wrong.json"
    file.write_text('{"something": 1}\n')
    with pytest.raises(DocumentError):
        load_set(f"{name}={file}")


def test_names_are_checked() -> None:
    with pytest.raises(ConfigError, match="no set 'nothing'"):
        load_set("nothing")
    with pytest.raises(ConfigError, match="simple=PATH"):
        load_set("simple")
    with pytest.raises(ConfigError, match="--data"):
        load_set("xquad-en")


def test_questions_are_drawn_the_same_way_everywhere() -> None:
    asked = tuple(EvalQuestion(str(n), f"who {n}") for n in range(50))
    found = EvalSet("s", (), asked)
    some = [one.id for one in drawn(found, 5, 17).questions]
    assert some == [one.id for one in drawn(found, 5, 17).questions]
    assert set(some) < {one.id for one in drawn(found, 9, 17).questions}, "more adds to fewer"
    assert some != [one.id for one in drawn(found, 5, 18).questions]
    assert drawn(found, None, 17) is found


def test_a_cut_set_keeps_what_its_questions_need(tmp_path: Path) -> None:
    found = load_set(f"simple={write_own(tmp_path / 'own')}")
    less = cut(found, 2, found.questions[3:])
    assert len(less.passages) == 2
    assert "bakery" in {one.id for one in less.passages}
    assert checked(less) is less
    assert cut(found, len(PASSAGES), found.questions) is found


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize("name", [name for name, source in SETS.items() if not source.needs_path])
def test_the_published_sets_are_read(name: str) -> None:
    found = load_set(name, SHARED)
    assert found.questions
    assert found.seen, "every set says what training and thresholds saw of it"
    assert not found.problems
