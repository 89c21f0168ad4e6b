"""RGB: passages with noise, with falsified facts, and without the answer."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, TypeAlias

from voicerag_core.errors import DocumentError
from voicerag_core.evaluation.datasets.values import (
    EvalQuestion,
    EvalSet,
    PassageTable,
    read_json_lines,
    texts,
)

__all__ = ["RGBCase", "load_rgb"]

RGBCase: TypeAlias = Literal["noise", "counterfactual", "refusal"]
"""Right passages among noise; falsified ones in their place; noise alone."""

MOST = 10
"""Passages of one question's own store."""


def load_rgb(
    path: Path,
    *,
    name: str,
    language: str,
    case: RGBCase = "noise",
    noise_ratio: float = 0.6,
) -> EvalSet:
    """Read RGB.

    Args:
        path: ``en_fact.json``, ``zh_refine.json`` and so on, one object a line.
        name: Of the set.
        language: "en" or "zh".
        case: What stands in the question's own store.
        noise_ratio: Share of passages in it that do not answer, 0..1.

    Raises:
        DocumentError: The file is of another form, or the case needs falsified passages and it has
            none.
    """
    if not 0 <= noise_ratio <= 1:
        raise DocumentError(f"a noise ratio lies in 0..1, not {noise_ratio}")
    table = PassageTable("r")
    questions = []
    for number, one in enumerate(read_json_lines(path)):
        try:
            key = "positive_wrong" if case == "counterfactual" else "positive"
            # Unanswerable means in the shared store too: the right passages are in none.
            right = [] if case == "refusal" else [table.add(text) for text in texts(one[key])]
            wrong = [table.add(text) for text in texts(one["negative"])]
            told, asked = tuple(texts(one["answer"])), one["query"]
        except (KeyError, TypeError) as error:
            raise DocumentError(
                f"{path}, question {number}: not in RGB's form, or without {case} passages: "
                f"{error!r}"
            ) from error
        refused = case == "refusal"
        wanted = 0 if refused else round(MOST * (1 - noise_ratio))
        own = tuple(dict.fromkeys((*right[:wanted], *wrong[: MOST - wanted])))
        questions.append(
            EvalQuestion(
                str(one.get("id", number)), asked, told, tuple(dict.fromkeys(right)),
                answerable=not refused, own=tuple(sorted(own, key=_mixed)),
                development=language == "en" and number % 2 == 1,
                fake_answers=tuple(texts(one.get("fakeanswer"))) * (case == "counterfactual"),
            )
        )  # fmt: skip
    return EvalSet(
        name, table.passages, tuple(questions), language, language,
        seen="en_fact: every second question chose the fusion of words and vector; Chinese files: "
        "the thresholds of the Chinese reader were chosen on XQuAD, not here",
        forms="all" if case == "noise" else "clean",
    )  # fmt: skip


def _mixed(name: str) -> bytes:
    """Order passages so that their place tells nothing, the same way on every machine."""
    return hashlib.sha256(name.encode()).digest()
