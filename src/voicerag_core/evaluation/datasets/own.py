"""A user's own questions, and sets in the plain forms that tools exchange: BEIR, SQuTR.

A folder of one's own is

    questions.jsonl    one object a line: "question" or "audio" or both, and "id", "answers" (or
                       "answer"), "sources", "answerable" where they are known
    passages.jsonl     one object a line: "id", "text", "title"; or
    documents/         files of any kind that voicerag reads, split as `voicerag index` does

or, as in GLM-Voice-RAG's "simple" run, ``information.txt``, ``question.wav`` and
``true_answer.txt``. A source is the id of a passage, or the name of a document.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from voicerag_core.chunking import chunk_document
from voicerag_core.errors import DocumentError
from voicerag_core.evaluation.datasets.values import (
    EvalQuestion,
    EvalSet,
    lines_of,
    names_of,
    read_json_lines,
    read_text,
    texts,
    there,
)
from voicerag_core.types import Document, Passage

__all__ = ["load_beir", "load_simple"]

SOUND = (".wav", ".flac", ".ogg", ".mp3")


def load_simple(
    path: Path, *, name: str = "simple", language: str = "en", size: int = 1000, overlap: int = 100
) -> EvalSet:
    """Read a folder of questions, or a ``questions.jsonl`` without passages of its own.

    Questions without words whose sound is missing are left out and named in `EvalSet.problems`.

    Args:
        path: The folder, or the file.
        name: Of the set.
        language: Of questions and documents.
        size: Longest passage of a document, in characters.
        overlap: Characters that consecutive passages share.

    Raises:
        DocumentError: There are no questions, or a line is not as described above.
    """
    folder = path if os.path.isdir(path) else path.parent
    if os.path.isdir(path) and not there(path / "questions.jsonl"):
        return _seed_folder(path, name, language, size, overlap)
    file = path / "questions.jsonl" if os.path.isdir(path) else path
    passages = _passages(folder, size, overlap) if os.path.isdir(path) else ()
    of_source: dict[str, list[str]] = {}
    for one in passages:
        for alias in names_of(one):
            of_source.setdefault(alias, []).append(one.id)
    questions, problems = [], []
    for number, row in enumerate(read_json_lines(file), 1):
        question, problem = _question(row, number, file, folder, of_source)
        problems += [problem] if problem else []
        questions += [question] if question else []
    return EvalSet(name, passages, tuple(questions), language, language, tuple(problems))


def _question(
    one: Mapping[str, Any], number: int, file: Path, folder: Path, of_source: dict[str, list[str]]
) -> tuple[EvalQuestion | None, str]:
    """Return the question of a line, and what is wrong with it, if anything."""
    name = str(number if one.get("id") is None else one["id"])
    words, sound, problem = str(one.get("question") or "").strip(), one.get("audio"), ""
    answerable = one.get("answerable", True)
    if not isinstance(answerable, bool):
        raise DocumentError(
            f"{file}, line {number}: 'answerable' is true or false, not {answerable!r}"
        )
    clip = folder / str(sound) if sound else None
    if clip is not None and not os.path.isfile(clip):
        problem = f"question {name}: its sound {clip.name} is missing" + (
            "; it is asked in words" if words else "; it is left out"
        )
        clip = None
    if not words and clip is None:
        if problem:
            return None, problem
        raise DocumentError(f"{file}, line {number}: a question has 'question' or 'audio'")
    told = texts(one.get("answers", one.get("answer", ())))
    sources: list[str] = []
    for source in texts(one.get("sources", one.get("source", one.get("passage", ())))):
        found = of_source.get(source, [])
        if not found and of_source:
            raise DocumentError(
                f"{file}, line {number}: the source {source!r} is neither a passage nor a document "
                "of the folder"
            )
        sources += found or [source]
    return (
        EvalQuestion(
            name, words, tuple(told), tuple(dict.fromkeys(sources)),
            answerable=answerable, sound=clip,
        ),
        problem,
    )  # fmt: skip


def _passages(folder: Path, size: int, overlap: int) -> tuple[Passage, ...]:
    file = folder / "passages.jsonl"
    if there(file):
        return tuple(
            _passage(one, number, file) for number, one in enumerate(read_json_lines(file), 1)
        )
    if not os.path.isdir(folder / "documents"):
        return ()
    from voicerag_core.documents import read_file

    return tuple(
        passage
        for path in sorted((folder / "documents").rglob("*"))
        if os.path.isfile(path)
        for document in read_file(path).documents
        for passage in chunk_document(document, size=size, overlap=overlap)
    )


def _passage(one: Mapping[str, Any], number: int, file: Path) -> Passage:
    text = one.get("text")
    if not isinstance(text, str) or not text.strip():
        raise DocumentError(f"{file}, line {number}: a passage has a 'text'")
    title = str(one.get("title") or "")
    return Passage(
        str(one.get("id", one.get("_id", number))), text, {"title": title} if title else {}
    )


def _seed_folder(folder: Path, name: str, language: str, size: int, overlap: int) -> EvalSet:
    """Read one question with its text, as GLM-Voice-RAG's first run has them."""
    text = folder / "information.txt"
    if not os.path.isfile(text):
        raise DocumentError(
            f"{folder} has no questions.jsonl, nor information.txt and question.wav; see "
            "docs/evaluation.md for the form of a folder of questions"
        )
    document = Document("information.txt", read_text(text))
    sound = next((f for f in sorted(folder.iterdir()) if f.suffix in SOUND), None)
    gold = folder / "true_answer.txt"
    answers = (read_text(gold).strip(),) if os.path.isfile(gold) else ()
    words = folder / "question.txt"
    question = EvalQuestion(
        "question", read_text(words).strip() if os.path.isfile(words) else "", answers, sound=sound
    )
    if not question.text and sound is None:
        raise DocumentError(f"{folder} has no question: question.wav or question.txt")
    passages = tuple(chunk_document(document, size=size, overlap=overlap))
    return EvalSet(name, passages, (question,), language, language)


def load_beir(
    folder: Path,
    *,
    name: str = "",
    language: str = "en",
    split: str = "test",
    clips: Path | None = None,
) -> EvalSet:
    """Read a folder in the form of BEIR and MTEB, and SQuTR, which adds a clip for each query.

    Args:
        folder: With ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/SPLIT.tsv`` or ``qrels.tsv``.
        name: Of the set.
        language: Of queries and corpus.
        split: Of the judgements.
        clips: Folder of ``QUERY_ID.wav`` (or flac), such as one noise level of SQuTR. A query may
            name its own file in "audio", "audio_path" or "wav".

    Raises:
        DocumentError: A file is missing or of another form.
    """
    corpus, queries = folder / "corpus.jsonl", folder / "queries.jsonl"
    rows = list(read_json_lines(corpus))
    passages = tuple(
        _passage(one if one.get("text") else {**one, "text": one.get("title")}, number, corpus)
        for number, one in enumerate(rows, 1)
        if one.get("text") or one.get("title")
    )
    problems = [f"{len(rows) - len(passages)} passages have no text"] * (len(passages) < len(rows))
    known = {one.id for one in passages}
    judged = _qrels(folder, split)
    lost = {name for ids in judged.values() for name in ids} - known
    problems += [f"the judged passage {name} is not in the corpus" for name in sorted(lost)]
    judged = {query: tuple(one for one in ids if one in known) for query, ids in judged.items()}
    questions: list[EvalQuestion] = []
    for number, one in enumerate(read_json_lines(queries), 1):
        identity = str(one.get("_id", one.get("id", number)))
        if identity not in judged:
            continue
        sound, problem = _clip(one, identity, folder, clips)
        problems += [problem] if problem else []
        words = str(one.get("text", one.get("query", ""))).strip()
        if words or sound:
            questions.append(EvalQuestion(identity, words, (), judged[identity], sound=sound))
    unasked = sorted(set(judged) - {one.id for one in questions})
    problems += [
        f"the judged query {query} is not among the queries, or has no words" for query in unasked
    ]
    return EvalSet(
        name or folder.name, passages, tuple(questions), language, language, tuple(problems)
    )


def _qrels(folder: Path, split: str) -> dict[str, tuple[str, ...]]:
    tried = [
        folder / "qrels" / f"{split}.tsv",
        folder / "qrels.tsv",
        folder / "qrels" / f"{split}.jsonl",
    ]
    others = sorted((folder / "qrels").glob("*.tsv*"))
    tried += others if len(others) == 1 else []
    file = next((one for one in tried if there(one)), None)
    if file is None:
        raise DocumentError(f"{folder} has no judgements: {', '.join(map(str, tried))}")
    judged: dict[str, list[str]] = {}
    for row in _judgements(file):
        try:
            query, passage, score = row
            if float(score) > 0:
                judged.setdefault(query, []).append(passage)
        except ValueError as error:
            raise DocumentError(f"{file}: not query, passage and score: {row!r}") from error
    return {query: tuple(dict.fromkeys(ids)) for query, ids in judged.items()}


def _judgements(file: Path) -> Sequence[tuple[str, ...]]:
    if file.suffix == ".jsonl":
        keys = (("query-id", "qid"), ("corpus-id", "docid"), ("score", "score"))
        return [
            tuple(str(one.get(first, one.get(other, ""))) for first, other in keys)
            for one in read_json_lines(file)
        ]
    rows = [tuple(line.split("\t")) for _, line in lines_of(file)]
    if rows and not rows[0][-1].lstrip("-").replace(".", "").isdigit():
        rows = rows[1:]  # a head
    # The form of TREC has a second column that says nothing.
    return [(row[0], row[2], row[3]) if len(row) == 4 else row for row in rows]  # noqa: PLR2004


def _clip(
    one: Mapping[str, Any], identity: str, folder: Path, clips: Path | None
) -> tuple[Path | None, str]:
    given = next((one[key] for key in ("audio", "audio_path", "wav") if one.get(key)), None)
    tried = [folder / str(given)] if given else []
    if clips is not None:
        tried += [clips / f"{identity}{suffix}" for suffix in SOUND]
    found = next((path for path in tried if os.path.isfile(path)), None)
    if found is None and tried:
        return None, f"query {identity}: its sound is missing"
    return found, ""
