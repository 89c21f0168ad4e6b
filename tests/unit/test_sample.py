"""The sample: manifests and files agree, the rule picks what is there, the sound is sound."""

from __future__ import annotations

import json
from collections import Counter
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from voicerag_core.documents import read_file

SAMPLE = Path(__file__).parents[2] / "examples" / "sample"
XQUAD = SAMPLE.parents[2] / "shared" / "data" / "xquad" / "xquad.en.json"


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SAMPLE / name).read_text("utf-8").splitlines()]


PASSAGES = {row["id"]: row for row in rows("passages.jsonl")}
TEXT_QUESTIONS = rows("text_questions.jsonl")
QUESTIONS = rows("questions.jsonl")
UNANSWERABLE = rows("unanswerable.jsonl")
SPOKEN = [row for row in QUESTIONS + UNANSWERABLE if row["audio"] is not None]


def script(name: str) -> Any:
    spec = spec_from_file_location(name, SAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_passages_are_read_as_240_titled_documents() -> None:
    content = read_file(SAMPLE / "passages.jsonl")
    assert len(content.documents) == len(PASSAGES) == 240
    assert {document.metadata["id"] for document in content.documents} == set(PASSAGES)
    assert len({document.text for document in content.documents}) == 240
    assert Counter(document.title for document in content.documents).most_common()[-1][1] == 5
    assert "Super Bowl 50" in {document.title for document in content.documents}


def test_every_question_has_its_answer_in_its_passage() -> None:
    assert len(TEXT_QUESTIONS) == len({row["id"] for row in TEXT_QUESTIONS}) == 1190
    for row in TEXT_QUESTIONS:
        assert row["answers"]
        assert all(answer in PASSAGES[row["passage"]]["text"] for answer in row["answers"])


def test_development_and_report_share_no_title() -> None:
    titles = {
        split: {
            PASSAGES[row["passage"]]["title"] for row in TEXT_QUESTIONS if row["split"] == split
        }
        for split in ("dev", "report")
    }
    assert len(titles["dev"]) == len(titles["report"]) == 24
    assert not titles["dev"] & titles["report"]
    for row in UNANSWERABLE:
        assert row["subject"] is None or row["subject"] in titles[row["split"]]


def test_the_spoken_questions_are_those_the_rule_picks() -> None:
    assert script("make_sample").pick_spoken(TEXT_QUESTIONS) == QUESTIONS
    assert Counter(row["split"] for row in QUESTIONS) == {"report": 36, "dev": 12}


@pytest.mark.skipif(not XQUAD.exists(), reason="XQuAD is not beside the project")
def test_the_texts_are_those_of_xquad() -> None:
    passages, questions = script("make_sample").read_xquad(XQUAD)
    assert passages == list(PASSAGES.values())
    assert questions == TEXT_QUESTIONS


def test_unanswerable_questions_are_new_and_half_of_them_near() -> None:
    kinds = Counter((row["split"], row["kind"]) for row in UNANSWERABLE)
    assert kinds == {
        ("report", "near"): 10, ("report", "far"): 10, ("dev", "near"): 5, ("dev", "far"): 5,
    }  # fmt: skip
    texts = {row["question"] for row in UNANSWERABLE}
    assert len(texts) == 30
    assert not texts & {row["question"] for row in TEXT_QUESTIONS}


def test_manifests_and_files_agree() -> None:
    named = [row["audio"] for row in SPOKEN]
    assert len(set(named)) == len(named) == 58
    assert set(named) == {f"audio/{path.name}" for path in (SAMPLE / "audio").iterdir()}


def test_several_voices_speak_and_each_about_as_often() -> None:
    for split in ("report", "dev"):
        voices = Counter(row["voice"] for row in QUESTIONS if row["split"] == split)
        assert len(voices) == 5
        assert max(voices.values()) - min(voices.values()) <= 1
    assert {row["voice"].partition("/")[0] for row in SPOKEN} == {"espeak-ng", "flite"}


@pytest.mark.parametrize("row", SPOKEN, ids=lambda row: Path(row["audio"]).stem)
def test_recordings_are_16_khz_mono_of_good_length_and_level(row: dict[str, Any]) -> None:
    path = SAMPLE / row["audio"]
    info = soundfile.info(path)
    assert (info.format, info.subtype, info.channels) == ("FLAC", "PCM_16", 1)
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 16_000
    assert 1.5 <= len(samples) / rate <= 12
    assert np.abs(samples).max() == pytest.approx(0.25, abs=1e-4)
    level_db = 20 * np.log10(np.sqrt(np.mean(samples**2)))
    assert -36 < level_db < -18
    words = len(row["question"].split())
    assert 1 < words / (len(samples) / rate) < 5


def test_the_sample_is_small_and_licensed() -> None:
    files = [path for path in SAMPLE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in files) < 4_000_000
    licence = (SAMPLE / "LICENSE").read_text("utf-8")
    for word in ("CC BY-SA 4.0", "creativecommons.org/licenses/by-sa/4.0/legalcode",
                 "Wikipedia", "SQuAD", "XQuAD", "Rajpurkar", "Artetxe"):  # fmt: skip
        assert word in licence
