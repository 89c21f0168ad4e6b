"""Print answers, hits and timings, as text or as JSON."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal

import typer

from voicerag_core.passages import cited_place
from voicerag_core.types import Answer, Citation, Hit, JSONValue, Passage

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "answer_values",
    "counted",
    "hit_values",
    "milliseconds",
    "report",
    "say",
    "set_up_reports",
    "show_hits",
    "show_json",
    "show_timings",
    "status_line",
    "stderr",
]

QUOTE_CHARACTERS = 200
LABEL_CHARACTERS = 10
STAGES = (
    "load", "index", "transcribe", "embed", "search", "search_again", "read", "first_text",
    "first_sound", "total",
)  # fmt: skip
"""The timings that are shown: loading and indexing, the stages, and, measured from the end of the
question, the first words, the first sound and the complete answer."""


def counted(number: int, thing: str) -> str:
    """Return a number with what it counts: "1 passage", "1,200 passages"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def set_up_reports() -> None:
    """Give what is reported on standard error the form of ``VOICERAG_LOG_FORMAT``.

    Read here already, so that a fault of another setting is reported in it, too.
    """
    form = os.environ.get("VOICERAG_LOG_FORMAT", "")
    level = os.environ.get("VOICERAG_LOG_LEVEL", "") or "warning"
    if (form and form != "json") or (not form and level == "warning"):
        return  # as ever; a wrong value is refused with the settings
    if level not in ("debug", "info", "warning", "error"):
        return
    from voicerag_core.logs import set_up_logs

    set_up_logs("json" if form else "text", level)


def report(
    message: str, *, level: Literal["info", "warning", "error"], error: Exception | None = None
) -> None:
    """Say on standard error what is not a result: as it is, or as a structured line."""
    if "voicerag_core.logs" in sys.modules:
        from voicerag_core.logs import is_structured

        if is_structured():
            number = logging.getLevelNamesMapping()[level.upper()]
            kind = {} if error is None else {"error_type": type(error).__name__}
            logging.getLogger("voicerag").log(number, "%s", message, extra=kind)
            return
    typer.echo(message, err=True)


def stderr() -> Console:
    """Return the console for everything that is not a result."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def status_line(text: str) -> AbstractContextManager[object]:
    """Show a status line on a terminal."""
    console = stderr()
    return console.status(text) if console.is_terminal else nullcontext()


def say(label: str, text: str) -> None:
    """Print one labelled line of a result."""
    shown = typer.style(f"{label:<{LABEL_CHARACTERS - 1}} ", bold=True)
    typer.echo(f"{shown}{text}")


def show_json(value: object) -> None:
    """Print one JSON object on one line."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def show_hits(hits: Sequence[Hit], citations: Iterable[Citation] = ()) -> None:
    """Print hits with score, source, and the sentences that the answer quotes."""
    quotes: dict[str, list[Citation]] = {}
    for citation in citations:
        quotes.setdefault(citation.passage_id, []).append(citation)
    for number, hit in enumerate(hits, 1):
        passage = hit.passage
        mark = "*" if passage.id in quotes else " "
        typer.echo(f"{mark}{number}  {hit.score:.3f}  {_named(passage)}")
        if passage.id in quotes:
            for place in quotes[passage.id]:
                cited = cited_place(passage, place)
                typer.echo(f'            "{_shortened(cited.quote)}"')
                where = " > ".join(cited.path)
                if where or cited.link:
                    typer.echo(f"            {'  '.join(filter(None, (where, cited.link)))}")
        elif not quotes:
            typer.echo(f"            {_shortened(passage.text)}")


def show_timings(seconds: Mapping[str, float]) -> None:
    """Print the time of each stage, in pipeline order."""
    stages = (
        f"{name.replace('_', ' ')} {1000 * seconds[name]:.0f} ms"
        for name in STAGES
        if name in seconds
    )
    say("time", ", ".join(stages))


def milliseconds(seconds: Mapping[str, float]) -> dict[str, float]:
    """Convert timings from seconds to milliseconds."""
    return {name: round(1000 * value, 1) for name, value in seconds.items()}


def hit_values(hit: Hit) -> dict[str, JSONValue]:
    """Return a hit as JSON values."""
    passage = hit.passage
    return {
        "id": passage.id,
        "score": round(hit.score, 6),
        "rank": hit.rank,
        "matched_by": list(hit.matched_by),
        "title": passage.title,
        "source": passage.source,
        "text": passage.text,
        "metadata": dict(passage.metadata),
    }


def answer_values(
    question: str | None, answer: Answer, timings: Mapping[str, float]
) -> dict[str, object]:
    """Return an answer as JSON values, without its sound."""
    passages = {hit.passage.id: hit.passage for hit in answer.hits}
    citations = []
    for place in answer.citations:
        passage = passages.get(place.passage_id)
        cited = cited_place(passage, place) if passage else None
        citations.append(
            {
                "passage_id": place.passage_id,
                "start": place.start,
                "end": place.end,
                "quote": cited.quote if cited else None,
                "source": cited.source if cited else None,
                "path": list(cited.path) if cited else None,
                "link": cited.link or None if cited else None,
                "title": passage.title if passage else None,
            }
        )
    return {
        "question": question,
        "answer": answer.text,
        "answered": answer.answered,
        "asked_back": answer.asked_back,
        **({"notes": list(answer.notes)} if answer.notes else {}),
        "citations": citations,
        "hits": [hit_values(hit) for hit in answer.hits],
        "timings_ms": milliseconds(timings),
    }


def _named(passage: Passage) -> str:
    """Return title and source: the original source of the text, if known."""
    origin = passage.metadata.get("origin")
    source = str(origin or passage.source or passage.id)
    return source if passage.title in ("", passage.source) else f"{passage.title} ({source})"


def _shortened(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= QUOTE_CHARACTERS else words[: QUOTE_CHARACTERS - 1] + "…"
