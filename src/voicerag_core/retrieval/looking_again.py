"""Further looks at a spoken question where the first leads to no answer.

The words of a question find more than its sound, and another wording of it may find what the
transcript does not. The looks are done one by one until one brings an answer, and none is prepared
before it is its turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

from voicerag_core.cancellation import check_cancelled
from voicerag_core.retrieval.search import Search
from voicerag_core.retrieval.strategies import find_by_words
from voicerag_core.types import Answer, Audio, Retrieved, Transcription

__all__ = ["OTHER_WORDINGS", "SURE_ANSWER", "Look", "looking_again", "looks"]

OTHER_WORDINGS = 5
"""Wordings besides the transcript that are searched for where that leads to no answer."""
SURE_ANSWER = 0.85
"""Least probability of an answer to one of them. Source: even-numbered questions on the documents
of a firm, spoken (`benchmarks/results/spoken_documents.md`); at 0.6 as many wrong answers
came as right ones."""

Answered = Callable[[Retrieved, "Look"], Iterator[Answer]]


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a spoken question.

    Args:
        heard: The wording that it is for.
        other: Whether that is not the transcript but another wording.
        find: Returns what is found.
    """

    heard: Transcription
    other: bool
    find: Callable[[], Retrieved]


def looks(
    audio: Audio,
    heard: Transcription,
    found: Retrieved,
    search: Search,
    most: int,
    *,
    words_first: bool,
) -> Iterator[Look]:
    """Yield the looks at a spoken question, in order.

    Args:
        audio: The question.
        heard: Its transcript.
        found: What was found first.
        search: Searches.
        most: Hits to show.
        words_first: Whether the words of a question that was searched by its sound alone are
            searched before what the sound found is read.
    """

    def by_words(wording: Transcription, *, with_sound: bool = False) -> Retrieved:
        got = find_by_words(search, wording, found.embedding if with_sound else None)
        return replace(got, hits=got.hits[:most], more=got.hits[most:])

    by_sound_alone = found.transcription is None
    if words_first and by_sound_alone:
        yield Look(heard, other=False, find=lambda: by_words(heard, with_sound=True))
    yield Look(heard, other=False, find=lambda: found)
    if found.by_sound or by_sound_alone:
        yield Look(heard, other=False, find=lambda: by_words(heard))
    for text in search.other_wordings(audio, heard)[:OTHER_WORDINGS]:
        wording = replace(heard, text=text)
        yield Look(wording, other=True, find=lambda wording=wording: by_words(wording))


def looking_again(
    tried: Iterable[Look], shown: Retrieved, answered: Answered
) -> Iterator[Answer]:
    """Pass the answer of the first look on that brings one.

    Where none does, what was said last for the transcript stays.

    Args:
        tried: The looks.
        shown: What was found first, whose hits the caller has shown.
        answered: Answers from what a look found.
    """
    rest = iter(tried)
    read: list[list[str]] = []
    pieces: Iterator[Answer] = iter(())
    held: list[Answer] = []
    spent, found = 0.0, shown
    with ExitStack() as open_pieces:
        while True:
            start = time.perf_counter()
            look = next(rest, None)
            if look is None:
                break
            got = look.find()
            spent += time.perf_counter() - start if got is not shown else 0.0
            check_cancelled()
            order = [hit.passage.id for hit in (*got.hits, *got.more)]
            if not look.other and order in read:
                continue  # the model has read these passages in this order
            read.append(order)
            again = answered(got, look)
            open_pieces.callback(_close, again)
            said = _until_decided(again)
            does = all(piece.answered for piece in said)
            if does or not look.other:
                pieces, held, found = again, said, got
            if does:
                break
        if spent:
            known = {hit.passage.id for hit in shown.hits}
            yield Answer(
                hits=tuple(hit for hit in found.hits if hit.passage.id not in known),
                timings={"search_again": spent},
            )
        yield from held
        yield from pieces


def _until_decided(pieces: Iterator[Answer]) -> list[Answer]:
    """Return the first pieces, up to the one that shows whether there is an answer."""
    held: list[Answer] = []
    for piece in pieces:
        held.append(piece)
        if piece.text or piece.audio is not None or not piece.answered:
            break
    return held


def _close(pieces: Iterator[Answer]) -> None:
    close = getattr(pieces, "close", None)
    if close is not None:
        close()
