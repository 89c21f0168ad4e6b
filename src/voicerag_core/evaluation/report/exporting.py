"""Records in the forms that other tools read, as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from voicerag_core.errors import ConfigError
from voicerag_core.evaluation.runs.records import Record

__all__ = ["EXPORTS", "exported"]


def _ragas(one: Record) -> dict[str, Any]:
    """Return a single-turn sample, as Ragas names its columns."""
    return {
        "user_input": one.text or one.heard or "",
        "retrieved_contexts": list(one.shown),
        "response": one.answer or "",
        "reference": one.answers[0] if one.answers else "",
    }


def _langsmith(one: Record) -> dict[str, Any]:
    """Return an example with its run: inputs, outputs, reference outputs, metadata."""
    return {
        "inputs": {"question": one.text or one.heard or ""},
        "outputs": {"answer": one.answer or "", "contexts": list(one.shown)},
        "reference_outputs": {"answers": list(one.answers), "sources": list(one.sources)},
        "metadata": _about(one),
    }


def _phoenix(one: Record) -> dict[str, Any]:
    """Return a row of a dataset, with its documents and their scores."""
    documents = [
        {"id": name, "score": score, "content": text}
        for name, score, text in zip(one.found, one.scores, one.shown, strict=False)
    ]
    return {
        "input": one.text or one.heard or "",
        "output": one.answer or "",
        "expected": list(one.answers),
        "documents": documents,
        "metadata": _about(one),
    }


def _bare(one: Record) -> dict[str, Any]:
    """Return a record without texts and paths: figures can be made of it, and nothing read."""
    values = asdict(one)
    for name in ("text", "answers", "shown", "heard", "clip", "matched", "scores"):
        del values[name]
    values["answer"] = None if one.answer is None else ""
    values["refused"] = "refused" if one.refused else ""
    values["seconds"] = round(one.seconds, 4)
    values["timings"] = {stage: round(spent, 4) for stage, spent in one.timings.items()}
    values["measures"] = {name: round(value, 4) for name, value in one.measures.items()}
    return values


def _about(one: Record) -> dict[str, Any]:
    return {
        "set": one.set, "question": one.question, "asked": one.form, "strategy": one.strategy,
        "store": one.store, "heard": one.heard, "answered": one.answered,
        "seconds": one.seconds, **one.measures,
    }  # fmt: skip


EXPORTS: Mapping[str, Callable[[Record], dict[str, Any]]] = MappingProxyType(
    {"ragas": _ragas, "langsmith": _langsmith, "phoenix": _phoenix, "bare": _bare}
)
"""Forms, by the tool that reads them."""


def exported(records: Sequence[Record], tool: str) -> Iterator[str]:
    """Yield one JSON line for each record.

    Raises:
        ConfigError: There is no form for the tool.
    """
    if tool not in EXPORTS:
        raise ConfigError(f"no export for {tool!r}; choose of {', '.join(EXPORTS)}")
    make = EXPORTS[tool]
    for one in records:
        yield json.dumps(make(one), ensure_ascii=False)
