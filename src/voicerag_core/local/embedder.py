"""Speech in the vector space of any text embedding model, by way of a CTC recogniser.

Speech is embedded through text hypotheses, but not through a transcript: one fast CTC pass with a
beam search and a small subword n-gram model proposes up to eight hypotheses, and the vector of the
clip is the mean of their text vectors. No autoregressive decoder runs and no single transcript is
chosen. (Only SONAR maps sound to a vector without text.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voicerag_core.errors import AudioError, ConfigError
from voicerag_core.languages import ANY, ENGLISH
from voicerag_core.local.hearing.ctc_recognizer import CTCRecognizer, Heard
from voicerag_core.local.hearing.ears import Ears
from voicerag_core.local.hearing.number_words import with_digits
from voicerag_core.ports import TextEmbedder
from voicerag_core.types import Audio, Embeddings, Vocabulary

__all__ = ["HearingEmbedder"]

HYPOTHESES = 8
"""Hypotheses per clip, embedded together and averaged."""
WORTH_EMBEDDING = 0.02
"""Minimum weight of a hypothesis in the mean vector."""


class HearingEmbedder:
    """Embeds English speech in the space of a text embedding model, and texts as that model does.

    A clip's vector is the weighted mean of the question vectors of its most likely hypotheses, so
    it reflects ambiguous sounds; the model is called once for all of them. An index that the model
    made is searched by sound as it is. Thread-safe if the model is.

    Args:
        texts: Embeds texts: MiniLM in the local stack, or any model.
        ears: Propose hypotheses for clips: those of `open_ears`, or a recogniser.
        hypotheses: Maximum hypotheses per clip, at least 1.
        language: Code of the language of spoken questions: "en", or "auto" where some of them are
            in others; then a clip is searched by its sound only if that is surely English.

    Raises:
        ConfigError: The ears have no recogniser.
    """

    ears_language = ENGLISH
    """The language of the recogniser."""

    def __init__(
        self,
        texts: TextEmbedder,
        ears: Ears | CTCRecognizer,
        *,
        hypotheses: int = HYPOTHESES,
        language: str = ENGLISH,
    ) -> None:
        recognizer = ears.recognizer if isinstance(ears, Ears) else ears
        if recognizer is None:
            raise ConfigError(
                "these ears only transcribe; HearingEmbedder needs those of open_ears()"
            )
        self.texts = texts
        self._speech = recognizer
        self._hypotheses = hypotheses
        self._language = language

    @property
    def model_id(self) -> str:
        """The id of the text model: all vectors are in its space."""
        return self.texts.model_id

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.texts.dim

    @property
    def needs_transcriber(self) -> bool:
        """False: the hypotheses come from the CTC recogniser, and none of them is chosen."""
        return False

    @property
    def why_not_by_sound(self) -> str | None:
        """Why spoken questions are not searched by their sound alone; None if they are."""
        if self._language != ANY:
            return None
        return (
            "the speech encoder knows English alone, while with VOICERAG_LANGUAGE=auto questions "
            "may be in any language; use the strategy 'adaptive', which transcribes what is not "
            "surely English"
        )

    @property
    def sure_gap(self) -> float | None:
        """Lead in cosine similarity that makes the best passage sure; None where it is as usual."""
        gap: float | None = getattr(self.texts, "sure_gap", None)
        return gap

    def warm(self) -> None:
        """Load now what texts need.

        Raises:
            MissingExtraError: The extra ``local`` is not installed.
            CheckpointError: A weight file is absent, altered or of another form.
        """
        warm = getattr(self.texts, "warm", None)
        if warm is not None:
            warm()

    def warm_speech(self) -> None:
        """Load now what speech needs in addition.

        Raises:
            MissingExtraError: The extra ``local`` is not installed.
            CheckpointError: A weight file is absent, altered or of another form.
        """
        self._speech.warm()

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        """Embed N texts of documents as [N, D].

        Raises:
            ModelError: The model cannot be loaded or failed.
        """
        return self.texts.embed_passages(texts)

    def embed_questions(self, texts: Sequence[str]) -> Embeddings:
        """Embed N questions as [N, D].

        Raises:
            ModelError: The model cannot be loaded or failed.
        """
        return self.texts.embed_questions(texts)

    def embed_speech(self, clips: Sequence[Audio]) -> Embeddings:
        """Embed N clips at 16 kHz as [N, D], L2-normalised.

        Raises:
            AudioError: A clip is not at 16 kHz, or contains no speech.
            ModelError: A model cannot be loaded or failed.
        """
        return self.embed_speech_scored(clips)[0]

    def embed_speech_scored(self, clips: Sequence[Audio]) -> tuple[Embeddings, NDArray[np.float32]]:
        """Embed N clips at 16 kHz, and return the confidence of each vector.

        The confidence is the geometric mean of the tokens' probabilities times the agreement of the
        hypotheses, which is the length of the mean of their unit vectors.

        Returns:
            Vectors [N, D], and confidences [N], 0..1.

        Raises:
            AudioError: A clip is not at 16 kHz, or contains no speech.
            ModelError: A model cannot be loaded or failed.
        """
        return self._embedded(clips, self._speech.hear(clips, most=self._hypotheses))

    def embed_speech_with(
        self, clips: Sequence[Audio], vocabulary: Vocabulary
    ) -> tuple[Embeddings, NDArray[np.float32]]:
        """Embed N clips as `embed_speech_scored` does, expecting the words of a collection.

        Raises:
            AudioError: A clip is not at 16 kHz, or contains no speech.
            ModelError: A model cannot be loaded or failed.
        """
        heard = self._speech.hear(clips, most=self._hypotheses, vocabulary=vocabulary)
        return self._embedded(clips, heard)

    def expect(self, vocabulary: Vocabulary) -> None:
        """Prepare for the words of a collection, so that the first clip does not wait for it.

        Raises:
            ModelError: The recogniser cannot be loaded.
        """
        self._speech.expect(vocabulary)

    def _embedded(
        self, clips: Sequence[Audio], heard: Sequence[Heard]
    ) -> tuple[Embeddings, NDArray[np.float32]]:
        texts: list[str] = []
        shares: list[NDArray[np.float32]] = []
        for clip, one in zip(clips, heard, strict=True):
            words, share = _worth_embedding(one)
            if not words:
                raise AudioError(
                    f"no speech was heard in the clip of {clip.seconds:.1f} s; check the "
                    "microphone, or speak louder and closer"
                )
            texts += [with_digits(text) for text in words]
            shares.append(share)
        rows = self.texts.embed_questions(texts)
        vectors = np.zeros((len(clips), self.dim), np.float32)
        confidences = np.zeros(len(clips), np.float32)
        at = 0
        for number, share in enumerate(shares):
            mean = share @ rows[at : at + len(share)]
            at += len(share)
            agreement = float(np.linalg.norm(mean))
            vectors[number] = mean / max(agreement, 1e-12)
            confidences[number] = math.exp(heard[number].token_log_prob) * agreement
        return vectors, np.clip(confidences, 0.0, 1.0)


def _worth_embedding(heard: Heard) -> tuple[list[str], NDArray[np.float32]]:
    """Return the hypotheses to embed, and their weights, which add up to 1."""
    spoken = [one for one in heard.hypotheses if one.text]
    if not spoken or not math.isfinite(heard.token_log_prob):
        return [], np.zeros(0, np.float32)
    scores = np.array([one.log_prob for one in spoken])
    share = np.exp(scores - scores.max())
    share /= share.sum()
    kept = share >= min(WORTH_EMBEDDING, share.max())
    share = share[kept] / share[kept].sum()
    return [one.text for one, keep in zip(spoken, kept, strict=True) if keep], share.astype(
        np.float32
    )
