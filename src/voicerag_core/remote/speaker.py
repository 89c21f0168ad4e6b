"""Voices behind ``/audio/speech``."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from voicerag_core.audio import read_audio, resample
from voicerag_core.closing import Closing
from voicerag_core.errors import AudioError, GenerationError
from voicerag_core.remote.client import Client
from voicerag_core.remote.endpoint import Endpoint
from voicerag_core.types import Audio

__all__ = ["SpeechEndpoint"]

PATH = "/audio/speech"
MOST_SECONDS = 600.0
LEAST_RATE_HZ, MOST_RATE_HZ = 8000, 192_000
USUAL_RATE_HZ = 24_000
"""Of most speech models; for sound in a form that is not WAV."""


class SpeechEndpoint(Closing):
    """A `Speaker` of an OpenAI-compatible server. Thread-safe.

    Args:
        endpoint: Where the model is.
        voice: Name of the speaker; "" leaves it out.
        rate: Sample rate of raw PCM (16 bits, mono), which is asked for then; None asks for WAV.
        form: Makes the line that the server is given of a text.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        voice: str = "",
        rate: int | None = None,
        form: Callable[[str], str] = str,
    ) -> None:
        self._form = form
        self._client = Client(endpoint, most_at_once=2)
        self._voice = voice
        self._rate = rate
        self._lock = threading.Lock()
        self._spoken_rate: int | None = None

    def warm(self) -> None:
        """Let the server speak a word, so that what is wrong shows now.

        Raises:
            EndpointError: The server cannot be reached, refused, or sent no sound.
        """
        self.speak("Ready.")

    def speak(self, text: str) -> Audio:
        """Speak a text.

        Raises:
            GenerationError: Nothing in the text can be spoken.
            EndpointError: The server cannot be reached, refused, or sent no sound.
        """
        line = self._form(text)
        if not any(letter.isalnum() for letter in line):
            raise GenerationError(
                f"there is nothing to speak in {text[:40]!r}; give text with letters or digits"
            )
        body: dict[str, object] = {
            "input": line,
            "response_format": "wav" if self._rate is None else "pcm",
        }
        if self._client.endpoint.model:
            body["model"] = self._client.endpoint.model
        if self._voice:
            body["voice"] = self._voice
        raw, kind = self._client.fetch(PATH, body)
        return self._at_one_rate(self._sound(raw, kind))

    def close(self) -> None:
        """Close the connections; what is being spoken ends with an error."""
        self._client.close()

    def _sound(self, raw: bytes, kind: str) -> Audio:
        refusal = self._client.refusal
        if self._rate is not None and not raw.startswith(b"RIFF"):
            if "json" in kind or "text" in kind or not raw:
                sent = raw[:300].decode("utf-8", "replace")
                raise refusal.unusable(PATH, "sent no sound", sent)
            samples = np.frombuffer(raw[: len(raw) // 2 * 2], dtype="<i2")
            return Audio(samples.astype(np.float32) / 32768.0, self._rate)
        try:
            return read_audio(raw, max_seconds=MOST_SECONDS, sample_rate=_rate_of(raw))
        except AudioError as error:
            sent = f"sent no sound that can be read ({kind or 'no content type'})"
            raise refusal.unusable(PATH, sent) from error

    def _at_one_rate(self, audio: Audio) -> Audio:
        with self._lock:
            self._spoken_rate = self._spoken_rate or audio.sample_rate
        return resample(audio, self._spoken_rate)


def _rate_of(raw: bytes) -> int:
    """Return the rate in the header of a WAV file, or the usual one."""
    at = raw.find(b"fmt ", 12, 4096)
    if not raw.startswith(b"RIFF") or at < 0 or len(raw) < at + 16:
        return USUAL_RATE_HZ
    rate = int.from_bytes(raw[at + 12 : at + 16], "little")
    return rate if MOST_RATE_HZ >= rate >= LEAST_RATE_HZ else USUAL_RATE_HZ
