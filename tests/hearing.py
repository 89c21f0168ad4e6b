"""Ears that know some clips, for tests of what stands behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from voicerag_core import Audio, Ears
from voicerag_core.local.hearing.beam_search import Hypothesis
from voicerag_core.local.hearing.ctc_recognizer import Heard
from voicerag_core.testing import FakeTranscriber

__all__ = ["KnowsClips", "ears_that_know"]


class KnowsClips:
    """A recogniser that proposes the wordings listed for a clip, and nothing for others."""

    def __init__(self, wordings: Mapping[Audio, Sequence[str]]) -> None:
        self.wordings = dict(wordings)

    def hear(
        self, clips: Sequence[Audio], *, most: int = 1, vocabulary: object = None
    ) -> list[Heard]:
        del vocabulary
        return [self._heard(clip, most) for clip in clips]

    def _heard(self, clip: Audio, most: int) -> Heard:
        texts = self.wordings.get(clip, ())
        if not texts:
            return Heard((Hypothesis("", 0.0),), -math.inf)
        found = [Hypothesis(text, -0.1 * place) for place, text in enumerate(texts[:most])]
        return Heard(tuple(found), -0.05)

    def warm(self) -> None:
        """Have nothing to load."""

    def close(self) -> None:
        """Have nothing to unload."""


def ears_that_know(
    wordings: Mapping[Audio, Sequence[str]], transcripts: Mapping[Audio, str] | None = None
) -> Ears:
    """Make ears that propose these wordings, and transcribe the first or what is given."""
    said = transcripts or {clip: texts[0] for clip, texts in wordings.items()}
    return Ears(KnowsClips(wordings), FakeTranscriber(said))  # type: ignore[arg-type]
