"""Parts that all strategies of a run share, so that nothing is computed twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from voicerag_core.errors import AudioError
from voicerag_core.ports import Embedder, Transcriber
from voicerag_core.types import Embeddings

__all__ = ["RememberedTexts", "Shared", "shared_embedder", "shared_transcriber"]


class Shared:
    """A part of which some functions are called once for the same sound.

    What such a function gave last, or the `AudioError` that it raised, is given again to everybody
    who asks for the same.

    Args:
        part: The part.
        once: Names of these functions; those that the part lacks are left out.
        kept: Names of functions that a protocol asks for, and that stay as they are.
    """

    def __init__(self, part: object, once: Sequence[str], kept: Sequence[str] = ()) -> None:
        self._part = part
        self.saved = 0.0
        """Seconds that were not spent again; who measures sets it to zero first."""
        # Protocols are checked by the attributes of this object, so that they have to be its own.
        for name in (*once, *kept):
            if hasattr(part, name):
                function = getattr(part, name)
                setattr(self, name, self._once(function) if name in once else function)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the part has
        return getattr(self._part, name)

    def _once(self, function: Callable[..., Any]) -> Callable[..., Any]:
        known: tuple[tuple[Any, ...], Any, float] | None = None

        def called(*given: Any) -> Any:  # noqa: ANN401 - whatever the part takes
            nonlocal known
            asked = tuple(tuple(one) if isinstance(one, list) else one for one in given)
            if known is not None and known[0] == asked:
                self.saved += known[2]
            else:
                start = time.perf_counter()
                try:
                    result = function(*given)
                except AudioError as error:
                    result = error
                known = (asked, result, time.perf_counter() - start)
            if isinstance(known[1], AudioError):
                raise known[1].with_traceback(None)
            return known[1]

        return called


def shared_transcriber(transcriber: Transcriber) -> Transcriber:
    """Return a transcriber that transcribes each clip once for all strategies."""
    return cast("Transcriber", Shared(transcriber, ("transcribe", "transcribe_with")))


def shared_embedder(embedder: Embedder) -> Embedder:
    """Return an embedder that embeds each clip once for all strategies."""
    names = ("embed_speech", "embed_speech_scored", "embed_speech_with")
    kept = ("expect", "embed_passages", "embed_questions")
    return cast("Embedder", Shared(embedder, names, kept))


class RememberedTexts:
    """Embeds texts, each once: a question's own store has passages of other stores.

    Args:
        embedder: Makes what is not known yet.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._rows: dict[str, np.ndarray[tuple[int], np.dtype[np.float32]]] = {}

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        """See `TextEmbedder.embed_passages`."""
        fresh = list(dict.fromkeys(text for text in texts if text not in self._rows))
        if fresh:
            rows = self._embedder.embed_passages(fresh)
            self._rows.update(zip(fresh, rows, strict=True))
        if not texts:
            empty: Embeddings = np.zeros((0, self._embedder.dim), np.float32)
            return empty
        return np.stack([self._rows[text] for text in texts])
