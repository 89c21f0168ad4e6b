"""Sets that come with sound: Llama Questions, SD-QA, SVQ, GLM-Voice-RAG's own; and NQ-open."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from voicerag_core.errors import DocumentError
from voicerag_core.evaluation.datasets.values import (
    EvalQuestion,
    EvalSet,
    PassageTable,
    read_json_lines,
    read_text,
)
from voicerag_core.types import Passage

__all__ = ["load_llama_questions", "load_nq_open", "load_sdqa", "load_svq", "with_clips"]


def load_llama_questions(data: Path) -> EvalSet:
    """Read the Llama Questions; each is searched for among the texts of all of them.

    The set has no passages, so the figures are those of hearing: word errors, and whether the
    nearest text is the spoken one. Nothing could be answered from texts of questions, so their
    answers are left out.
    """
    folder = data / "llama_questions"
    table = csv.DictReader(
        io.StringIO(read_text(folder / "llama_questions_300.tsv")), delimiter="\t"
    )
    passages, questions, problems = [], [], []
    for row in table:
        name = Path(row["Wav Filename"]).stem
        sound = next(
            (f for end in ("flac", "wav") if os.path.isfile(f := folder / f"{name}.{end}")), None
        )
        if sound is None:
            problems.append(f"question {name}: its sound is missing")
        passages.append(Passage(name, row["Questions"]))
        questions.append(EvalQuestion(name, row["Questions"], sources=(name,), sound=sound))
    return EvalSet(
        "llama-questions", tuple(passages), tuple(questions), problems=tuple(problems),
        seen="nothing was chosen by it",
    )  # fmt: skip


def load_nq_open(data: Path, passages: tuple[Passage, ...]) -> EvalSet:
    """Read NQ-open, whose questions the passages of another set do not answer.

    A few of them may be answered by chance; the report counts every refusal as right.
    """
    rows = read_json_lines(data / "nq_open" / "NQ-open.dev.jsonl")
    questions = tuple(
        EvalQuestion(str(number), f"{one['question']}?", answerable=False)
        for number, one in enumerate(rows)
    )
    return EvalSet(
        "nq-open", passages, questions,
        seen="the reader's threshold was chosen on other unanswerable questions",
    )  # fmt: skip


def load_sdqa(path: Path) -> EvalSet:
    """Read one file of SD-QA: people of eleven English accents, and others.

    Args:
        path: ``english.dev.usa-en-US.jsonl`` with the articles, as TyDi QA has them; or
            ``*.triples.jsonl``, which has the answers alone: then nothing is searched. Clips are
            in a folder ``wav_*`` beside it.

    Raises:
        DocumentError: The file is of another form.
    """
    table = PassageTable("d")
    questions, problems = [], []
    for number, one in enumerate(read_json_lines(path), 1):
        try:
            identity = str(one["example_id"])
            sound = next(path.parent.glob(f"wav_*/{identity}.wav"), None)
            if sound is None:
                problems.append(f"question {identity}: its sound is missing")
            if "document_plaintext" in one:
                questions.append(_tydi(one, identity, sound, table))
            else:
                answers = tuple(one["answers"])
                questions.append(
                    EvalQuestion(
                        identity, one["question"], answers,
                        answerable=bool(one.get("has_answer", answers)), sound=sound,
                    )
                )  # fmt: skip
        except (KeyError, TypeError, IndexError) as error:
            raise DocumentError(f"{path}, line {number}: not in SD-QA's form: {error!r}") from error
    return EvalSet(
        "sd-qa", table.passages, tuple(questions), problems=tuple(problems),
        seen="nothing was chosen by it",
    )  # fmt: skip


def _tydi(
    one: Mapping[str, Any], identity: str, sound: Path | None, table: PassageTable
) -> EvalQuestion:
    """Cut an article into its passages; offsets are bytes of UTF-8."""
    raw = str(one["document_plaintext"]).encode("utf-8")

    def cut(span: Mapping[str, int]) -> str:
        return raw[span["plaintext_start_byte"] : span["plaintext_end_byte"]].decode(
            "utf-8", "replace"
        )

    title = str(one.get("document_title", ""))
    ids = [table.add(cut(span), title) for span in one["passage_answer_candidates"]]
    answers, sources = [], []
    for told in one["annotations"]:
        if told["minimal_answer"]["plaintext_start_byte"] >= 0:
            answers.append(cut(told["minimal_answer"]))
        if told["passage_answer"]["candidate_index"] >= 0:
            sources.append(ids[told["passage_answer"]["candidate_index"]])
    return EvalQuestion(
        identity, one["question_text"], tuple(dict.fromkeys(answers)),
        tuple(dict.fromkeys(sources)), answerable=bool(answers or sources), sound=sound,
    )  # fmt: skip


def load_svq(folder: Path, *, locale: str = "en_us", environment: str = "clean") -> EvalSet:
    """Read Simple Voice Questions' passage retrieval within one language.

    Args:
        folder: With ``passage_retrieval_in_lang.jsonl``, ``passage_retrieval_in_lang_index.jsonl``
            and the clips as ``audio/UTT_ID.wav``. The published sound is in Parquet files, which
            voicerag does not read: write column "waveform" of each row to such a file first.
        locale: Such as "en_us".
        environment: "clean", "media_noise", "traffic_noise" or "background_speech".
    """
    index = folder / "passage_retrieval_in_lang_index.jsonl"
    asked = folder / "passage_retrieval_in_lang.jsonl"
    try:
        passages = tuple(
            Passage(str(one["id"]), one["context"], {"title": str(one.get("title", ""))})
            for one in read_json_lines(index)
        )
        questions, problems, locales = [], [], set[str]()
        for one in read_json_lines(asked):
            locales.add(str(one["locale"]))
            if one["locale"] != locale or one.get("environment", environment) != environment:
                continue
            sound = folder / "audio" / f"{one['utt_id']}.wav"
            if not os.path.isfile(sound):
                problems.append(f"question {one['utt_id']}: its sound is missing")
            questions.append(
                EvalQuestion(
                    str(one["utt_id"]), str(one.get("text", "")), (), (str(one["passage_id"]),),
                    sound=sound if os.path.isfile(sound) else None,
                )
            )  # fmt: skip
    except (KeyError, TypeError) as error:
        raise DocumentError(f"{folder} is not in SVQ's form: {error!r}") from error
    if not questions:
        raise DocumentError(
            f"{asked} has no question in {locale!r} and {environment!r}; its locales are "
            f"{', '.join(sorted(locales)) or 'none'}"
        )
    language = locale.split("_", maxsplit=1)[0]
    return EvalSet(
        f"svq-{locale}", passages, tuple(questions), language, language, tuple(problems),
        seen="nothing was chosen by it",
    )  # fmt: skip


def with_clips(found: EvalSet, folder: Path) -> EvalSet:
    """Add the clips of a tree ``FOLDER/QUESTION_ID/question.wav``, as GLM-Voice-RAG keeps them.

    Its data set HotpotQA_RGBzh_speech has one such folder for each voice, such as
    ``hotpot_dev_distractor_v1/en-US-JennyNeural`` and ``RGB_zh/zh-CN-XiaoxiaoNeural``. Questions
    without a clip keep their words, and are named in `EvalSet.problems`.
    """
    questions, problems = [], []
    for one in found.questions:
        sound = folder / one.id / "question.wav"
        if os.path.isfile(sound):
            questions.append(replace(one, sound=sound))
        else:
            questions.append(one)
            problems.append(f"question {one.id}: its sound is missing")
    if len(problems) == len(questions):
        raise DocumentError(f"{folder} has no clip QUESTION_ID/question.wav for {found.name!r}")
    return replace(found, questions=tuple(questions), problems=(*found.problems, *problems))
