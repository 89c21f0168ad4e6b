"""Speech recognisers behind ``/audio/transcriptions``."""

from __future__ import annotations

import numpy as np

from voicerag_core.audio import to_wav_bytes
from voicerag_core.cancellation import check_cancelled
from voicerag_core.closing import Closing
from voicerag_core.errors import AudioError
from voicerag_core.remote.client import Client
from voicerag_core.remote.endpoint import Endpoint
from voicerag_core.types import Audio, Transcription

__all__ = ["TranscriptionEndpoint"]

PATH = "/audio/transcriptions"
PART_SECONDS = 600
"""Longest sound of one call: 19 MB of WAV; OpenAI takes 25 MB."""
QUIET_SECONDS = 10
"""A longer clip is cut at the quietest moment of so many seconds before the limit."""
FRAME_SECONDS = 0.1


class TranscriptionEndpoint(Closing):
    """A `Transcriber` of an OpenAI-compatible server. Thread-safe.

    It gives no confidence: the common form of the response has none.

    Args:
        endpoint: Where the model is.
        language: Code of the language that is spoken, such as ``de``; None: the model detects it.
    """

    def __init__(self, endpoint: Endpoint, *, language: str | None = None) -> None:
        self._client = Client(endpoint)
        self._language = language

    def transcribe(self, audio: Audio) -> Transcription:
        """Transcribe a clip.

        Raises:
            AudioError: The clip is empty or not finite, or no speech was heard in it.
            EndpointError: The server cannot be reached, refused, or sent no text.
        """
        if not len(audio.samples) or not np.isfinite(audio.samples).all():
            raise AudioError("the clip is empty or holds samples that are not finite")
        texts: list[str] = []
        language = self._language
        for part in _parts(audio):
            check_cancelled()
            text, said = self._text(part)
            texts.append(text)
            language = language or said
        whole = " ".join(filter(None, texts))
        if not any(letter.isalnum() for letter in whole):
            raise AudioError(
                f"no speech was heard in the clip of {audio.seconds:.1f} s; check the microphone, "
                "or speak louder and closer"
            )
        return Transcription(whole, None, language)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _text(self, audio: Audio) -> tuple[str, str | None]:
        """Return the text of a part, and its language if the server says it."""
        fields = {"response_format": "json"}
        if self._client.endpoint.model:
            fields["model"] = self._client.endpoint.model
        if self._language is not None:
            fields["language"] = self._language
        wav = to_wav_bytes(audio)
        response = self._client.upload(PATH, fields, ("speech.wav", wav, "audio/wav"))
        text = response.get("text") if isinstance(response, dict) else None
        if not isinstance(text, str):
            raise self._client.refusal.unusable(PATH, "sent no text", str(response)[:300])
        said = response.get("language")
        return text.strip(), said if isinstance(said, str) and said else None


def _parts(audio: Audio) -> list[Audio]:
    """Cut a long clip at quiet moments."""
    rate, samples = audio.sample_rate, audio.samples
    most, frame = PART_SECONDS * rate, max(1, int(FRAME_SECONDS * rate))
    parts = []
    while len(samples) > most:
        last = samples[most - QUIET_SECONDS * rate : most]
        frames = last[: len(last) // frame * frame].reshape(-1, frame)
        quietest = int((frames.astype(np.float64) ** 2).mean(axis=1).argmin())
        at = most - QUIET_SECONDS * rate + quietest * frame + frame // 2
        parts.append(Audio(samples[:at], rate))
        samples = samples[at:]
    return [*parts, Audio(samples, rate)]
