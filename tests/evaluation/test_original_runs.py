"""GLM-Voice-RAG's runs with its options, on parts that answer at once."""

from __future__ import annotations

import argparse
import json
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.evaluation.conftest import tone
from voicerag_core import Passage, read_audio, write_wav
from voicerag_core.evaluation import original_runs
from voicerag_core.evaluation.datasets import load_set
from voicerag_core.evaluation.datasets.values import EvalQuestion, EvalSet
from voicerag_core.evaluation.runs import RunFolder, running
from voicerag_core.settings import Settings
from voicerag_core.stack import GivenParts, Parts
from voicerag_core.stack.parts import open_parts as real_parts
from voicerag_core.testing import FakeEmbedder, FakeTranscriber, FakeVoiceModel

EXAMPLES = Path(__file__).parents[2] / "examples"
QUESTION = "who discovered penicillin"


@pytest.fixture
def tree(tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """HotpotQA, RGB and the simple folder, as the original keeps them, and parts that hear them."""
    row = {"_id": "abc", "question": QUESTION, "answer": "Fleming",
           "supporting_facts": [["F", 0], ["G", 0]],
           "context": [["F", ["Fleming discovered penicillin."]],
                       ["G", ["He was a Scot."]]]}  # fmt: skip
    (tmp_path / "hotpot.json").write_text(json.dumps([row]))
    rgb = {"id": 0, "query": QUESTION, "answer": "Fleming",
           "positive": ["Fleming discovered penicillin."],
           "negative": ["It rains."] * 2}  # fmt: skip
    (tmp_path / "en.json").write_text(json.dumps(rgb) + "\n")
    simple = tmp_path / "simple"
    simple.mkdir()
    (simple / "information.txt").write_text("Fleming discovered penicillin. It rains.")
    (simple / "true_answer.txt").write_text("Fleming")
    for folder in (tmp_path / "clips" / "abc", tmp_path / "clips" / "0", simple):
        folder.mkdir(parents=True, exist_ok=True)
        write_wav(folder / "question.wav", tone(1))
    clip = read_audio(simple / "question.wav")
    given = GivenParts(
        FakeEmbedder(transcripts={clip: QUESTION}), FakeTranscriber({clip: QUESTION}),
        FakeVoiceModel(speaks=False), None,
    )  # fmt: skip

    @contextmanager
    def parts(settings: Settings, **_: object) -> Iterator[Parts]:
        with real_parts(settings, given=given) as opened:
            yield replace(opened, text_model=given.model)  # type: ignore[arg-type]

    monkeypatch.setattr(running, "open_parts", parts)
    monkeypatch.setattr(original_runs, "open_parts", parts)
    monkeypatch.setenv("VOICERAG_DATABASE_URL", dsn)
    return tmp_path


def run_example(tree: Path, name: str, *words: str) -> list[str]:
    """Run an example here, and return the kinds of its records: store and strategy."""
    out = tree / f"out-{name}-{'-'.join(words[-2:]).strip('-')}".replace("/", "_")
    before, sys.argv = sys.argv, [name, *words, "--data-dir", str(tree / "data"), "--out", str(out)]
    try:
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    finally:
        sys.argv = before
    return [f"{one.store} {one.form} {one.strategy}" for one in RunFolder(out).records()]


@pytest.mark.parametrize(
    ("rag", "kind"),
    [
        ("e2e", "own clean e2e"),
        ("asr", "own clean asr"),
        ("oracle", "own typed text"),
        ("none", "none typed none"),
    ],
)
def test_hotpotqa_takes_each_way(
    tree: Path, rag: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--data-path", str(tree / "hotpot.json"), "--input-path", str(tree / "clips"))
    assert run_example(tree, "glm_voice_hotpot", *words, "--rag", rag) == [kind]
    assert "contained" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["double", "uncertainty"])
def test_the_double_run_searches_twice(tree: Path, mode: str) -> None:
    words = ("--data-path", str(tree / "hotpot.json"), "--input-path", str(tree / "clips"))
    kinds = run_example(tree, "double_glm_voice_hotpot", *words, "--mode", mode)
    assert kinds == ["own clean two_round"]


def test_rgb_and_the_simple_run(tree: Path) -> None:
    words = ("--data-path", str(tree), "--dataset", "en", "--input-path", str(tree / "clips"))
    assert run_example(tree, "glm_voice_rgb", *words) == ["own clean e2e"]
    kinds = run_example(tree, "glm_voice_simple", "--data-path", str(tree / "simple"))
    assert kinds == ["shared clean e2e"]


def test_the_options_are_the_originals() -> None:
    parser = argparse.ArgumentParser()
    original_runs.add_options(parser, data_path=Path("x"), input_path=None)
    given = parser.parse_args([])
    assert (given.rag, given.k, given.chunk_size, given.chunk_overlap) == ("e2e", 4, 1000, 100)


def test_long_passages_are_cut_and_stay_right() -> None:
    long = " ".join(f"Sentence number {n} is here." for n in range(100))
    found = EvalSet(
        "s",
        (Passage("a", long), Passage("b", "Short.")),
        (EvalQuestion("q", "who", sources=("a",), own=("a", "b")),
         EvalQuestion("r", "who", sources=("a", "b"), all_sources=True)),
    )  # fmt: skip
    cut = original_runs.chunked(found, 1000, 100)
    assert all(len(passage.text) <= 1000 for passage in cut.passages)
    assert len(cut.questions[0].sources) == len(cut.passages) - 1
    assert len(cut.questions[0].own) == len(cut.passages)
    assert len(cut.questions[1].sources) == 2


def test_the_set_of_the_double_run_is_hotpotqas(tree: Path) -> None:
    assert load_set(f"hotpotqa-file={tree / 'hotpot.json'}").questions[0].all_sources
