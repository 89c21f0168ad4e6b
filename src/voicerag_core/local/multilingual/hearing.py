"""The multilingual embedder where speech is embedded by its transcript."""

from __future__ import annotations

from collections.abc import Sequence

from voicerag_core.errors import ConfigError
from voicerag_core.languages import language_name
from voicerag_core.ports import TextEmbedder
from voicerag_core.types import Audio, Embeddings

__all__ = ["TranscriptEmbedder"]


class TranscriptEmbedder:
    """An `Embedder` of a text model for languages that no speech encoder knows.

    Spoken questions are searched by their transcript (strategy ``asr``). Thread-safe if the model
    is.

    Args:
        texts: Embeds texts.
        language: Code of the language of spoken questions.
    """

    def __init__(self, texts: TextEmbedder, language: str) -> None:
        self.texts = texts
        self._language = language

    @property
    def model_id(self) -> str:
        """The id of the text model."""
        return self.texts.model_id

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.texts.dim

    @property
    def needs_transcriber(self) -> bool:
        """True: speech is embedded by its transcript."""
        return True

    @property
    def why_not_by_sound(self) -> str:
        """Why spoken questions are not searched by their sound."""
        return (
            f"the speech encoder knows English alone, and not {language_name(self._language)} "
            f"(VOICERAG_LANGUAGE={self._language}); use the strategy 'asr'"
        )

    def warm(self) -> None:
        """Load the model now, if it can be.

        Raises:
            MissingExtraError: An extra is not installed.
            CheckpointError: A weight file is absent, altered or of another form.
        """
        warm = getattr(self.texts, "warm", None)
        if warm is not None:
            warm()

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
        """Refuse clips: nothing here embeds sound.

        Raises:
            ConfigError: There are clips.
        """
        if clips:
            raise ConfigError(self.why_not_by_sound)
        return self.embed_passages([])
