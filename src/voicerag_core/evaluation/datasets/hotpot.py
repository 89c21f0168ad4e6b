"""HotpotQA, in its own form and in that of the Hugging Face export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from voicerag_core.errors import DocumentError
from voicerag_core.evaluation.datasets.values import EvalQuestion, EvalSet, PassageTable, read_json

__all__ = ["load_hotpotqa"]

CHOSEN_BY = 100
"""Of so many first questions every second one chose the fusion of words and vector."""


def load_hotpotqa(path: Path, *, name: str = "hotpotqa") -> EvalSet:
    """Read HotpotQA in the distractor setting: ten paragraphs a question, two of them needed.

    Args:
        path: ``hotpot_dev_distractor_v1.json`` as published, or with lists by column.
        name: Of the set.

    Raises:
        DocumentError: The file is of another form.
    """
    table = PassageTable("h")
    rows = read_json(path)
    if not isinstance(rows, list):
        raise DocumentError(f"{path} is not a list of questions as HotpotQA's files are")
    questions = []
    for number, one in enumerate(rows):
        try:
            paragraphs = _paragraphs(one["context"])
            ids = {title: table.add(text, title) for title, text in paragraphs}
            needed = tuple(dict.fromkeys(ids[title] for title in _titles(one["supporting_facts"])))
            questions.append(
                EvalQuestion(
                    str(one.get("_id", one.get("id", number))), one["question"],
                    (one["answer"],), needed, all_sources=True,
                    own=tuple(dict.fromkeys(ids.values())),
                    development=number < CHOSEN_BY and number % 2 == 1,
                )
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise DocumentError(
                f"{path}, question {number}: not in HotpotQA's form: {error!r}"
            ) from error
    return EvalSet(
        name, table.passages, tuple(questions),
        seen="of the first 100 questions of the published file every second one chose the fusion "
        "of words and vector; the rest of the full file was not used",
    )  # fmt: skip


def _paragraphs(context: Any) -> Sequence[tuple[str, str]]:  # noqa: ANN401 - two forms
    if isinstance(context, Mapping):
        pairs = list(zip(context["title"], context["sentences"], strict=True))
    else:
        pairs = [(title, sentences) for title, sentences in context]
    return [(title, "".join(sentences).strip()) for title, sentences in pairs]


def _titles(facts: Any) -> Sequence[str]:  # noqa: ANN401 - two forms
    return list(facts["title"]) if isinstance(facts, Mapping) else [title for title, _ in facts]
