"""Runs against a real Postgres: what is asked, what is kept, and going on after a stop."""

from __future__ import annotations

import gzip
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.conftest import QUESTIONS, write_lines
from voicerag_core import Audio, AudioError, ConfigError
from voicerag_core.evaluation.datasets import EvalQuestion, EvalSet, load_set
from voicerag_core.evaluation.datasets.values import drawn
from voicerag_core.evaluation.report import tables
from voicerag_core.evaluation.report.figures import (
    counted,
    oracle,
    question_scores,
    rows,
    shuffled,
)
from voicerag_core.evaluation.runs import Progress, Record, RunConfig, RunFolder, run
from voicerag_core.evaluation.runs.asking import Asker
from voicerag_core.evaluation.runs.shared import Shared
from voicerag_core.local.caveats import marked
from voicerag_core.settings import Settings
from voicerag_core.stack import GivenParts
from voicerag_core.testing import FakeTranscriber
from voicerag_core.types import Answer, Transcription


def untimed(records: list[Record]) -> list[dict[str, object]]:
    told = [asdict(replace(one, seconds=0.0, timings={})) for one in records]
    return sorted(told, key=lambda one: json.dumps(one, default=str))


def test_marks_of_what_the_passages_do_not_bear_are_no_part_of_an_answer() -> None:
    asked = EvalQuestion("q", "Which year?", answers=("1928",))
    scores = Asker._scored(Answer(f"1928 {marked('not in the documents')}", answered=True), asked)
    assert (scores["em"], scores["f1"]) == (1.0, 1.0)


def test_every_way_of_asking_has_a_record(
    tmp_path: Path, config: RunConfig, settings: Settings, given: GivenParts
) -> None:
    told: list[Progress] = []
    records = run(tmp_path / "run", config, settings, given=given, on_progress=told.append)
    keys = {(one.question, one.form, one.strategy) for one in records}
    assert len(records) == len(keys)
    assert {key for key in keys if key[1] == "typed"} == {(q, "typed", "text") for q in QUESTIONS}
    spoken = ("e2e", "asr", "hybrid", "adaptive")
    clean = {key for key in keys if key[1] == "clean"}
    assert clean == {(q, "clean", s) for q in QUESTIONS for s in spoken}
    assert len({key for key in keys if key[1] == "telephone"}) == 4, "one question, four ways"
    assert (told[-1].done, told[-1].total) == (len(records), len(records))
    by_key = {(one.question, one.form, one.strategy): one for one in records}
    typed = by_key["q1", "typed", "text"]
    assert typed.found[0] == "fleming"
    assert typed.measures["contained"] == 1.0
    assert typed.shown[0].startswith("Alexander Fleming")
    heard = by_key["q4", "clean", "asr"]
    assert heard.heard == "when does the factory open"
    assert (heard.measures["wrong"], heard.measures["units"]) == (3, 7)
    assert Path(heard.clip).name == "q4.wav"


def test_a_language_that_the_models_are_not_set_to_is_told(
    tmp_path: Path,
    config: RunConfig,
    settings: Settings,
    given: GivenParts,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = replace(config, spoken=0, answers=0)
    (name,) = config.sets
    found = replace(load_set(name, None), passage_language="zh")
    run(tmp_path / "run", config, settings, given=given, loaded={name: found})
    (told,) = RunFolder(tmp_path / "run").sets()[found.name]["problems"]
    assert "passages are in 'zh', and VOICERAG_LANGUAGE is 'en'" in told
    assert told in caplog.text
    several = settings.model_copy(update={"language": "auto"})
    run(tmp_path / "other", config, several, given=given, loaded={name: found})
    assert not RunFolder(tmp_path / "other").sets()[found.name]["problems"]


def test_conditions_without_their_recordings_are_left_out_and_told(
    tmp_path: Path,
    own: Path,
    settings: Settings,
    given: GivenParts,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = RunConfig(sets=(f"simple={own}",), hard=2, strategies=("e2e",))
    records = run(tmp_path / "run", config, settings, given=given)
    assert {one.form for one in records} == {"typed", "clean", "telephone"}
    assert not any("recordings" in one.refused for one in records)
    (known,) = RunFolder(tmp_path / "run").sets().values()
    (told,) = known["problems"]
    assert told.startswith("nothing is asked with 20 dB, 10 dB, 5 dB, 0 dB, room: noise and rooms")
    assert told in caplog.text
    assert run(tmp_path / "run", config, settings, given=given) == records, "it goes on"
    quiet = replace(config, hard=0)
    run(tmp_path / "quiet", quiet, settings, given=given)
    assert not next(iter(RunFolder(tmp_path / "quiet").sets().values()))["problems"]


def test_one_transcript_a_clip_is_shared(
    tmp_path: Path, config: RunConfig, settings: Settings, given: GivenParts
) -> None:
    config = replace(config, conditions=(), answers=0)
    ears = given.transcriber
    assert isinstance(ears, FakeTranscriber)
    hear = ears.transcribe

    class Slow:
        def transcribe(self, audio: Audio) -> Transcription:
            time.sleep(0.02)
            return hear(audio)

    slow = replace(given, transcriber=Slow())
    records = run(tmp_path / "run", config, settings, given=slow)
    assert ears.calls == len(QUESTIONS)
    timed = [one.timings["transcribe"] for one in records if "transcribe" in one.timings]
    assert len(timed) > len(QUESTIONS)
    assert min(timed) >= 0.02, "what strategies share counts for each"


def test_a_shared_part_is_asked_once_and_says_what_it_saved() -> None:
    class Ears:
        dim, asked = 3, 0

        def embed_speech(self, clips: list[Audio]) -> int:
            self.asked += 1
            if len(clips[0].samples) == 1:
                raise AudioError("no speech was heard")
            return len(clips[0].samples)

        def expect(self) -> str:
            return "ready"

    ears = Ears()
    shared = Shared(ears, ("embed_speech", "embed_speech_scored"), ("expect",))
    long, short = (Audio(np.zeros(size, np.float32), 16_000) for size in (9, 1))
    told = []
    for clip in (long, long, short, short, long):
        shared.saved = 0.0
        try:
            result = shared.embed_speech([clip])
        except AudioError as error:
            result = str(error)
        told.append((result, shared.saved > 0))
    unheard = "no speech was heard"
    assert told == [(9, False), (9, True), (unheard, False), (unheard, True), (9, False)]
    assert ears.asked == 3
    assert (shared.dim, shared.expect()) == (3, "ready")
    assert not hasattr(shared, "embed_speech_scored")


def test_seen_questions_are_drawn_last_and_not_counted() -> None:
    questions = tuple(EvalQuestion(str(n), "why?", development=n % 2 == 1) for n in range(20))
    chosen = drawn(EvalSet("s", (), questions), 12, 17).questions
    assert sum(not one.development for one in chosen) == 10
    records = [
        Record(name, "shared", str(n), "typed", "text", sources=("p",), found=found,
               development=n % 2 == 1 or name == "old")
        for name in ("mixed", "old") for n, found in enumerate((("p",), ("x",)))
    ]  # fmt: skip
    assert [(one.set, one.question) for one in counted(records)] == [
        ("mixed", "0"), ("old", "0"), ("old", "1"),
    ]  # fmt: skip
    by_set = {line[0]: line[4:6] for line in tables(records)[0].lines}
    assert by_set["mixed"][0] == "1"
    assert tables(records, seen=True)[0].lines[0][4] == "2"


def test_only_what_says_something_is_asked(
    tmp_path: Path, own: Path, settings: Settings, given: GivenParts
) -> None:
    rows = [json.loads(line) for line in (own / "questions.jsonl").read_text().splitlines()]
    write_lines(own / "questions.jsonl", [*rows, {"id": "no", "question": "who did discover the gas oxygen", "answerable": False, "audio": "q3.wav"}])  # fmt: skip  # noqa: E501
    config = RunConfig(sets=(f"simple={own}",), hard=10, conditions=("telephone",))
    records = run(tmp_path / "run", config, settings, given=given)
    ways = {(one.form, one.strategy) for one in records if one.question == "no"}
    assert ways == {("typed", "text"), ("clean", "adaptive")}, "it can be refused, and not found"
    assert all(one.answer is not None for one in records if one.question == "no")
    heard = load_set(f"simple={own}")
    for forms, asked in (("clean", {"typed", "clean"}), ("typed", {"typed"})):
        told = run(tmp_path / forms, config, settings, given=given,
                   loaded={config.sets[0]: replace(heard, forms=forms)})  # type: ignore[arg-type]  # fmt: skip
        assert {one.form for one in told} == asked
    whole = replace(config, whole=True)
    told = run(tmp_path / "whole", whole, settings, given=given,
               loaded={config.sets[0]: replace(heard, forms="typed")})  # fmt: skip
    assert {one.form for one in told if one.question == "no"} == {"typed", "clean", "telephone"}


def test_an_interrupted_run_goes_on_and_ends_alike(
    tmp_path: Path, config: RunConfig, settings: Settings, given: GivenParts
) -> None:
    whole = run(tmp_path / "whole", config, settings, given=given)

    class StopError(Exception):
        pass

    def stop(now: Progress) -> None:
        if now.stage == "questions" and now.done == 7:
            raise StopError

    with pytest.raises(StopError):
        run(tmp_path / "run", config, settings, given=given, on_progress=stop)
    place = RunFolder(tmp_path / "run")
    assert len(place.records()) == 7
    file = tmp_path / "run" / "records.jsonl"
    half = file.read_bytes().splitlines(keepends=True)[-1]
    file.write_bytes(file.read_bytes() + half[: len(half) // 2])  # a write that was cut off
    assert len(place.records()) == 7
    made: list[Progress] = []
    resumed = run(tmp_path / "run", config, settings, given=given, on_progress=made.append)
    assert next(one.done for one in made if one.stage == "questions") == 8
    assert untimed(resumed) == untimed(whole)
    assert all(json.loads(line) for line in file.read_text().splitlines())


def test_a_finished_run_asks_nothing_again(
    tmp_path: Path, config: RunConfig, settings: Settings, given: GivenParts
) -> None:
    first = run(tmp_path / "run", config, settings, given=given)
    told: list[Progress] = []
    assert run(tmp_path / "run", config, settings, given=given, on_progress=told.append) == first
    assert not told


def test_another_config_or_version_or_folder_is_refused(
    tmp_path: Path, config: RunConfig, settings: Settings, given: GivenParts
) -> None:
    config = replace(config, spoken=0)
    run(tmp_path / "run", config, settings, given=given)
    with pytest.raises(ConfigError, match=r"other settings \(read\)"):
        run(tmp_path / "run", replace(config, read=2), settings, given=given)
    told = json.loads((tmp_path / "run" / "config.json").read_text())
    other = {**told, "about": {**told["about"], "embedder": "another"}}
    (tmp_path / "run" / "config.json").write_text(json.dumps(other))
    with pytest.raises(ConfigError, match="embedder is 'another'"):
        run(tmp_path / "run", config, settings, given=given)
    told["format"] = 99
    (tmp_path / "run" / "config.json").write_text(json.dumps(told))
    with pytest.raises(ConfigError, match="another version"):
        RunFolder(tmp_path / "run").records()
    with pytest.raises(ConfigError, match="another version"):
        run(tmp_path / "run", config, settings, given=given)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(ConfigError, match="is no run"):
        run(tmp_path / "mine", config, settings, given=given)
    with pytest.raises(ConfigError, match="holds no run"):
        RunFolder(tmp_path / "mine").records()


def test_a_damaged_line_in_the_middle_is_not_dropped_in_silence(
    tmp_path: Path, config: RunConfig, settings: Settings, given: GivenParts
) -> None:
    run(tmp_path / "run", replace(config, spoken=0), settings, given=given)
    file = tmp_path / "run" / "records.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([lines[0], b"{broken\n", *lines[1:]]))
    with pytest.raises(ConfigError, match="line 2 is damaged"):
        RunFolder(tmp_path / "run").records()


def test_a_packed_run_is_read_and_not_gone_on_with(
    tmp_path: Path, config: RunConfig, settings: Settings, given: GivenParts
) -> None:
    place = tmp_path / "run"
    records = run(place, config, settings, given=given)
    file = place / "records.jsonl"
    packed = place / "records.jsonl.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    file.unlink()
    assert RunFolder(place).records() == records
    with pytest.raises(ConfigError, match="packed: gunzip it to go on"):
        run(place, config, settings, given=given)
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(ConfigError, match="damaged"):
        RunFolder(place).records()


def test_questions_of_their_own_store_see_their_passages_alone(
    tmp_path: Path, settings: Settings, given: GivenParts
) -> None:
    row = {"question": "who discovered penicillin", "answer": "Fleming", "_id": "a",
           "supporting_facts": [["F", 0], ["G", 0]],
           "context": [["F", ["Fleming discovered penicillin."]],
                       ["G", ["He was a Scot."]]]}  # fmt: skip
    other = {**row, "_id": "b", "context": [["F", ["Fleming discovered penicillin, truly."]],
                                             ["G", ["Penicillin is a drug."]]]}  # fmt: skip
    file = tmp_path / "hotpot.json"
    file.write_text(json.dumps([row, other]))
    config = RunConfig(sets=(f"hotpotqa-file={file}",), spoken=0)
    records = run(tmp_path / "run", config, settings, given=given)
    by_key = {(one.store, one.question, one.strategy): one for one in records}
    assert set(by_key["own", "a", "text"].found) == set(by_key["own", "a", "text"].sources)
    assert len(by_key["shared", "a", "text"].found) == 4
    twice = by_key["shared", "a", "two_round"]
    assert "further_query" in twice.timings
    assert any("second_round" in ways for ways in twice.matched)


def test_a_clip_that_cannot_be_used_is_recorded(
    tmp_path: Path, own: Path, settings: Settings, given: GivenParts
) -> None:
    (own / "q1.wav").write_bytes(b"no sound")
    config = RunConfig(sets=(f"simple={own}",), typed=0, strategies=("e2e",))
    records = run(tmp_path / "run", config, settings, given=given)
    lost = next(one for one in records if one.question == "q1" and one.form == "clean")
    assert "cannot be used" in lost.refused
    (row,) = [one for one in rows(records) if one.group[2] == "clean"]
    assert (row.questions, row.refused) == (4, 1)
    assert row.scores["R@1"].mean == 0.75, "it counts as not found"


def test_a_set_without_answers_has_no_scores_of_answers(
    tmp_path: Path, own: Path, settings: Settings, given: GivenParts
) -> None:
    write_lines(own / "questions.jsonl", [{"question": "who discovered penicillin"}])
    config = RunConfig(sets=(f"simple={own}",))
    records = run(tmp_path / "run", config, settings, given=given)
    assert {one.answer for one in records} == {None}
    assert question_scores([one for one in records if one.form == "typed"]) == {}


def test_the_controls_stand_at_chance_and_at_one() -> None:
    names = [f"p{n}" for n in range(40)]
    records = [
        Record("s", "shared", f"q{n}", "typed", "text", sources=(names[n],),
               found=(names[n], *(name for name in names if name != names[n])))
        for n in range(40)
    ]  # fmt: skip
    assert set(question_scores(records)["R@1"].values()) == {1.0}
    for seed in range(5):
        assert set(question_scores(shuffled(records, seed))["R@1"].values()) == {0.0}
    wrong = [replace(one, found=tuple(reversed(one.found))) for one in records]
    assert set(question_scores(wrong)["R@1"].values()) == {0.0}
    for name, scores in question_scores(oracle(wrong)).items():
        assert set(scores.values()) == {1.0}, name


@pytest.mark.parametrize(
    "wrong",
    [
        {"strategies": ("wave",)},
        {"stores": ("mine",)},
        {"conditions": ("loud",)},
        {"spoken": -1},
        {"read": 11},
        {"sets": ("nothing",)},
    ],
)
def test_a_config_is_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        replace(RunConfig(), **wrong).checked()  # type: ignore[arg-type]


def test_a_config_survives_its_file() -> None:
    config = RunConfig(sets=("xquad-en",), voices=("piper/joe",))
    assert RunConfig.from_json(json.loads(json.dumps(config.as_json()))) == config
    with pytest.raises(ConfigError, match="colour"):
        RunConfig.from_json({"colour": "red"})
