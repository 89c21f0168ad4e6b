from __future__ import annotations

import json
from pathlib import Path

import pytest

from voicerag_core.local.reading.language import english_probability, is_english

HERE = Path(__file__).parent
SAMPLE = HERE.parents[1] / "examples" / "sample"
SHARED = HERE.parents[2] / "shared" / "data"
FOREIGN = [
    line.split("\t")
    for line in (HERE / "foreign_questions.tsv").read_text(encoding="utf-8").splitlines()
]


def test_english_questions_are_accepted() -> None:
    lines = (SAMPLE / "text_questions.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line)["question"] for line in lines]
    refused = [question for question in questions if not is_english(question)]
    assert len(questions) > 1000
    assert len(refused) <= 0.005 * len(questions), refused


@pytest.mark.parametrize("language", sorted({language for language, _ in FOREIGN}))
def test_foreign_questions_are_refused(language: str) -> None:
    accepted = [text for code, text in FOREIGN if code == language and is_english(text)]
    assert not accepted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "42?",
        "Einstein",
        "São Paulo",
        "who is Владимир Путин?",
        "What does 道 mean?",
        "WHAT IS THE CAPITAL OF FRANCE",
        "What does the French phrase raison d'être mean?",
    ],
)
def test_in_doubt_a_question_is_taken_for_english(text: str) -> None:
    assert is_english(text)


@pytest.mark.parametrize(
    "text",
    [
        "Who provides dental insurance?",
        "Explain VPN setup",
        "Explain dental insurance",
        "reset VPN password",
        "Define personal data",
        "Nordlicht service hotline",
        "Total price Vendo 20",
        "Cancel Metallo contract",
        "postgres default port",
        "Print a visitor badge",
    ],
)
def test_short_english_questions_are_accepted(text: str) -> None:
    assert is_english(text)


@pytest.mark.parametrize(
    "text",
    [
        "Wer bezahlt die Zahnversicherung?",
        "Wo ist mein Passwort?",
        "Garantie pumpe dauer",
        "Resturlaub verfall Datum",
        "Mot de passe perdu",
        "Cuanto cuesta Barista 400?",
        "Quanto costa la Barista?",
        "politica de privacidad",
        "Hvor er kontoret?",
        "Wann starb Martin Luther?",
        "Vem målade Mona Lisa?",
    ],
)
def test_short_foreign_questions_are_refused(text: str) -> None:
    assert not is_english(text)


@pytest.mark.parametrize(
    "text", ["Sky Digital是什么时候推出的？", "The Matrix 是谁导演的？", "法国的首都是哪里", "мир"]
)
def test_another_script_is_refused(text: str) -> None:
    assert not is_english(text)


def test_the_probability_orders_texts() -> None:
    assert english_probability("the height of that tower") > 0.9
    assert english_probability("la hauteur de cette tour") < 0.1


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the evaluation data")
def test_open_questions_and_chinese_ones() -> None:
    lines = (SHARED / "nq_open" / "NQ-open.dev.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line)["question"] for line in lines]
    assert sum(not is_english(question) for question in questions) <= 0.005 * len(questions)
    chinese = json.loads((SHARED / "xquad" / "xquad.zh.json").read_text(encoding="utf-8"))
    asked = [
        entry["question"]
        for article in chinese["data"]
        for paragraph in article["paragraphs"]
        for entry in paragraph["qas"]
    ]
    assert len(asked) == 1190
    assert not any(map(is_english, asked))
