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
from voicerag_core.types import Answer, Audio, Hit, Retrieved, Transcription, Wording

__all__ = ["OTHER_WORDINGS", "Look", "close_pieces", "looking_again", "looks", "new_hits"]

OTHER_WORDINGS = 5
"""Wordings besides the transcript that are searched for where that leads to no answer."""
SURE_ANSWER, LIKELY_ANSWER = 0.85, 0.7
"""Least probability of an answer to one of them, and to one that fits the sound nearly as well as
the transcript. Source: even-numbered questions on the documents of a firm, spoken
(`benchmarks/results/spoken_documents.md`); at 0.6 for all as many wrong answers came as right ones.
"""
SURE_TRANSCRIPT = 0.8
"""Confidence from which on a transcript gives way only to what fits the sound better: of the clips
whose other wordings brought a right answer hardly one was surer, of those where they brought a
false one all were."""
NEAR = -4.0
"""Lead from which a wording fits nearly as well."""

Answered = Callable[[Retrieved, "Look"], Iterator[Answer]]


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a spoken question.

    Args:
        heard: The wording that it is for.
        other: Whether that is not the transcript but another wording.
        least: Least probability of an answer, if that is more than usual.
        find: Returns what is found.
        joins: Whether all that is found joins the hits, and not only what the answer cites.
    """

    heard: Transcription
    other: bool
    find: Callable[[], Retrieved]
    least: float = 0.0
    joins: bool = True


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

    For another wording the model reads what is shown, and not on: whoever spoke waits meanwhile.

    Args:
        audio: The question.
        heard: Its transcript.
        found: What was found first.
        search: Searches.
        most: Hits to show.
        words_first: Whether the words of a question that was searched by its sound alone are
            searched before what the sound found is read.
    """

    def by_words(wording: Transcription) -> Retrieved:
        got = find_by_words(search, wording, None)
        return replace(got, hits=got.hits[:most], more=got.hits[most:])

    first = Look(heard, other=False, find=lambda: found)
    by_sound_alone = found.transcription is None
    if found.by_sound or by_sound_alone:
        words = Look(heard, other=False, find=lambda: by_words(heard))
        if words_first and by_sound_alone:
            yield from (replace(words, joins=False), first)
        else:
            yield from (first, words)
    else:
        yield first
    sure = heard.confidence is not None and heard.confidence >= SURE_TRANSCRIPT
    for other in search.other_wordings(audio, heard)[:OTHER_WORDINGS]:
        if sure and other.lead < 0:
            continue
        wording = replace(heard, text=other.text)

        def find(wording: Transcription = wording) -> Retrieved:
            return replace(by_words(wording), more=())

        yield Look(wording, other=True, find=find, least=_least(other))


def _least(wording: Wording) -> float:
    """Return the least probability of an answer to a wording that is not the transcript."""
    return LIKELY_ANSWER if wording.lead >= NEAR else SURE_ANSWER


def looking_again(tried: Iterable[Look], shown: Retrieved, answered: Answered) -> Iterator[Answer]:
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
    spent, joining = 0.0, tuple[Hit, ...]()
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
            open_pieces.callback(close_pieces, again)
            said = _until_decided(again)
            does = all(piece.answered for piece in said)
            if does or not look.other:
                pieces, held, joining = again, said, got.hits if look.joins else ()
            if does:
                break
        if spent:
            yield Answer(hits=new_hits(joining, shown), timings={"search_again": spent})
        yield from held
        yield from pieces


def new_hits(found: Iterable[Hit], shown: Retrieved) -> tuple[Hit, ...]:
    """Return the hits that are not shown yet, ranked behind those that are."""
    known = {hit.passage.id for hit in shown.hits}
    new = [hit for hit in found if hit.passage.id not in known]
    return tuple(replace(hit, rank=len(known) + n) for n, hit in enumerate(new, 1))


def _until_decided(pieces: Iterator[Answer]) -> list[Answer]:
    """Return the first pieces, up to the one that shows whether there is an answer."""
    held: list[Answer] = []
    for piece in pieces:
        held.append(piece)
        if piece.text or piece.audio is not None or not piece.answered:
            break
    return held


def close_pieces(pieces: Iterator[Answer]) -> None:
    """Stop what yields an answer, if it is a generator."""
    close = getattr(pieces, "close", None)
    if close is not None:
        close()
