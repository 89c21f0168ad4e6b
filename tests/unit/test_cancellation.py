"""Calling off a call that runs in another thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from tests.waiting import wait_until
from voicerag_core import Answer, CancelledError, Passage, VoiceRAG
from voicerag_core.cancellation import Cancellation, check_cancelled, interruptible
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel
from voicerag_core.testing.stores import InMemoryStore
from voicerag_core.types import Embeddings


def test_outside_of_a_cancellation_nothing_is_called_off() -> None:
    check_cancelled()
    with interruptible(lambda: pytest.fail("interrupted without a cancellation")):
        pass


def test_a_cancelled_call_goes_no_further() -> None:
    cancellation = Cancellation()
    with cancellation.active():
        check_cancelled()
        cancellation.cancel()
        with pytest.raises(CancelledError):
            check_cancelled()
        with pytest.raises(CancelledError), interruptible(lambda: None):
            pytest.fail("a block began after the cancellation")
    check_cancelled()


def test_what_runs_is_interrupted_and_what_ended_is_not() -> None:
    cancellation = Cancellation()
    interrupted: list[str] = []
    with cancellation.active():
        with interruptible(lambda: interrupted.append("ended")):
            pass
        with interruptible(lambda: interrupted.append("running")):
            cancellation.cancel()
            cancellation.cancel()
            wait_until(lambda: bool(interrupted))
    assert interrupted == ["running"]


def test_an_interrupt_that_fails_hurts_nobody() -> None:
    cancellation = Cancellation()
    with cancellation.active(), interruptible(lambda: 1 / 0):  # type: ignore[arg-type]
        cancellation.cancel()
        wait_until(lambda: not any(t.name == "voicerag-cancel" for t in threading.enumerate()))


def test_no_search_follows_an_embedding_that_was_called_off() -> None:
    cancellation = Cancellation()

    class Slow(FakeEmbedder):
        def embed_passages(self, texts: Sequence[str]) -> Embeddings:
            cancellation.cancel()
            return super().embed_passages(texts)

    class Searched(InMemoryStore):
        searches = 0

        def search(self, *args: object, **kwargs: object) -> tuple[()]:
            Searched.searches += 1
            return ()

    rag = VoiceRAG(Slow(8), Searched(8), FakeVoiceModel())
    with cancellation.active(), pytest.raises(CancelledError):
        rag.retrieve("where is the river")
    assert Searched.searches == 0


def test_no_answer_follows_hits_that_nobody_waits_for() -> None:
    embedder = FakeEmbedder(8)
    store = InMemoryStore(8)
    store.add([Passage("a", "The river ends here.")], embedder.embed_passages(["river"]))
    rag = VoiceRAG(embedder, store, FakeVoiceModel())
    cancellation = Cancellation()
    with cancellation.active():
        pieces = rag.respond("where", rag.retrieve("where"))
        first = next(pieces)
        assert isinstance(first, Answer)
        assert np.isfinite(first.hits[0].score)
        cancellation.cancel()
        with pytest.raises(CancelledError):
            next(pieces)
