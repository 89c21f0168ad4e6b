"""Ears without a knowledge base: what a clip says, as likely wordings and as a transcript."""

from __future__ import annotations

import math
from dataclasses import dataclass

from voicerag_core.audio import MAX_SECONDS, SPEECH_RATE_HZ, check_audio, resample
from voicerag_core.errors import ConfigError
from voicerag_core.local.hearing.ctc_recognizer import CTCRecognizer
from voicerag_core.local.hearing.number_words import with_digits
from voicerag_core.ports import Transcriber
from voicerag_core.types import Audio, Transcription

__all__ = ["Ears", "Wordings"]

MOST_WORDINGS = 8
"""Wordings that `Ears.hear` returns at most."""


@dataclass(frozen=True, slots=True)
class Wordings:
    """What may have been said in a clip, by one fast pass.

    Args:
        texts: Possible wordings, most likely first; none when no speech was heard.
        confidence: Geometric mean of the tokens' probabilities of the likeliest one, 0..1.
    """

    texts: tuple[str, ...]
    confidence: float

    @property
    def text(self) -> str:
        """The likeliest wording; "" when no speech was heard."""
        return self.texts[0] if self.texts else ""


class Ears:
    """Hear spoken questions; made by `voicerag_core.open_ears`, which touches no database.

    Two ways: `hear` proposes likely wordings in one fast pass, which `HearingEmbedder` turns into a
    vector of any embedding model; `transcribe` gives the words. Thread-safe.

    Args:
        recognizer: Proposes wordings; None: these ears only transcribe.
        transcriber: Transcribes; None: these ears only propose.
        max_question_seconds: Longest clip.
    """

    def __init__(
        self,
        recognizer: CTCRecognizer | None,
        transcriber: Transcriber | None,
        *,
        max_question_seconds: float = MAX_SECONDS,
    ) -> None:
        self.recognizer = recognizer
        self.transcriber = transcriber
        self.max_question_seconds = max_question_seconds

    def checked(self, clip: Audio) -> Audio:
        """Return a clip at 16 kHz.

        Raises:
            AudioError: It is too long, too short, silent or not finite.
        """
        checked = check_audio(clip, max_seconds=self.max_question_seconds, name="the question")
        return resample(checked, SPEECH_RATE_HZ)

    def hear(self, clip: Audio) -> Wordings:
        """Propose wordings of a clip of any rate; nothing is transcribed.

        Raises:
            AudioError: The clip cannot be used.
            ConfigError: There is no recogniser.
            ModelError: The model cannot be loaded or failed.
        """
        if self.recognizer is None:
            raise ConfigError(
                "these ears have no recogniser that proposes wordings; open_ears() makes some that "
                "have"
            )
        (heard,) = self.recognizer.hear([self.checked(clip)], most=MOST_WORDINGS)
        if not math.isfinite(heard.token_log_prob):
            return Wordings((), 0.0)
        texts = tuple(with_digits(one.text) for one in heard.hypotheses if one.text)
        return Wordings(texts, math.exp(heard.token_log_prob) if texts else 0.0)

    def transcribe(self, audio: Audio) -> Transcription:
        """Transcribe a clip of any rate.

        Raises:
            AudioError: The clip cannot be used, or contains no speech.
            ConfigError: There is no transcriber.
            ModelError: The model cannot be loaded or failed.
        """
        if self.transcriber is None:
            raise ConfigError(
                "these ears have no transcriber to turn a spoken question into words; open_ears() "
                "makes some that have"
            )
        return self.transcriber.transcribe(self.checked(audio))
