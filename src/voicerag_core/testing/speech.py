"""Fakes of the transcriber and the speaker, and the contract suites of both ports.

The suites need nothing but their fixtures: subclass one under a name that starts with ``Test``,
define the fixtures that its docstring lists, and pytest checks your implementation.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from voicerag_core.errors import AudioError, GenerationError, ModelError
from voicerag_core.ports import Speaker, Transcriber
from voicerag_core.types import Audio, Transcription

__all__ = ["FakeSpeaker", "FakeTranscriber", "SpeakerContract", "TranscriberContract"]

SPEECH_RATE = 16_000
VOICE_RATE = 22_050
SILENCE_PEAK = 1e-3


class FakeTranscriber:
    """Returns the known transcripts of clips; deterministic and instant.

    Args:
        transcripts: Transcripts of clips, alone or with a confidence and a language.
        otherwise: Transcript of a clip that is not listed; None: it has no speech.
    """

    def __init__(
        self,
        transcripts: Mapping[Audio, str | Transcription] | None = None,
        *,
        otherwise: str | None = "where does the river reach the sea",
    ) -> None:
        self.calls = 0
        self._transcripts = dict(transcripts or {})
        self._otherwise = otherwise

    def transcribe(self, audio: Audio) -> Transcription:
        """Return the transcript of a clip; `calls` counts the calls.

        Raises:
            AudioError: The clip is not at 16 kHz, is silent, or has no known transcript.
        """
        self.calls += 1
        if audio.sample_rate != SPEECH_RATE:
            raise AudioError(f"speech is transcribed at 16000 Hz, not {audio.sample_rate} Hz")
        if not len(audio.samples) or not float(np.abs(audio.samples).max()) > SILENCE_PEAK:
            raise AudioError("no speech was heard in the clip: it is silent")
        words = self._transcripts.get(audio, self._otherwise)
        if words is None:
            raise AudioError("no speech was heard in the clip: its words are not listed")
        return Transcription(words) if isinstance(words, str) else words


class FakeSpeaker:
    """Speaks each text as a distinct tone, longer for longer texts; instant.

    Args:
        sample_rate: Rate of the sound, in Hz.
    """

    def __init__(self, *, sample_rate: int = VOICE_RATE) -> None:
        self.sample_rate = sample_rate
        self.spoken: list[str] = []
        self.closed = False

    def warm(self) -> None:
        """Do nothing."""

    def speak(self, text: str) -> Audio:
        """Return a tone of 0.05 s per word; `spoken` lists the spoken texts.

        Raises:
            GenerationError: The text contains neither letter nor digit.
            ModelError: The speaker is closed.
        """
        if self.closed:
            raise ModelError("the speaker is closed; make a new FakeSpeaker to speak again")
        if not any(letter.isalnum() for letter in text):
            raise GenerationError(f"there is nothing to speak in {text[:40]!r}")
        self.spoken.append(text)
        pitch = 200 + hashlib.sha256(text.encode("utf-8", "replace")).digest()[0]
        time = np.arange(int(self.sample_rate * 0.05 * len(text.split()))) / self.sample_rate
        return Audio(
            (0.1 * np.sin(2 * math.pi * pitch * time)).astype(np.float32), self.sample_rate
        )

    def stream(self, sentences: Iterable[str]) -> Iterator[Audio]:
        """Speak sentences one by one, each when its sound is requested."""
        for sentence in sentences:
            if any(letter.isalnum() for letter in sentence):
                yield self.speak(sentence)

    def close(self) -> None:
        """Set `closed`."""
        self.closed = True


class TranscriberContract:
    """The rules of `voicerag_core.ports.Transcriber`.

    Fixtures to define: ``transcriber``, the object under test; ``clip``, an `Audio` of speech at
    16 kHz; and ``words``, a word or two that must be among its transcript, in lower case.
    """

    def test_words_are_heard(self, transcriber: Transcriber, clip: Audio, words: str) -> None:
        heard = transcriber.transcribe(clip)
        assert words in heard.text.lower()
        assert heard.text == heard.text.strip()

    def test_a_confidence_is_a_probability(self, transcriber: Transcriber, clip: Audio) -> None:
        heard = transcriber.transcribe(clip)
        assert heard.confidence is None or 0 <= heard.confidence <= 1
        assert heard.language != ""

    def test_the_same_clip_gives_the_same_words(
        self, transcriber: Transcriber, clip: Audio
    ) -> None:
        before = clip.samples.copy()
        assert transcriber.transcribe(clip) == transcriber.transcribe(clip)
        assert np.array_equal(clip.samples, before)

    def test_another_rate_is_refused(self, transcriber: Transcriber, clip: Audio) -> None:
        _refuses(transcriber, Audio(clip.samples, 8000), "8000")

    def test_silence_holds_no_speech(self, transcriber: Transcriber) -> None:
        _refuses(transcriber, Audio(np.zeros(2 * SPEECH_RATE, np.float32), SPEECH_RATE), "speech")

    def test_a_clip_without_samples_is_refused(self, transcriber: Transcriber) -> None:
        _refuses(transcriber, Audio(np.zeros(0, np.float32), SPEECH_RATE), "")

    def test_threads_may_share_it(self, transcriber: Transcriber, clip: Audio) -> None:
        expected = transcriber.transcribe(clip)
        with ThreadPoolExecutor(3) as threads:
            assert list(threads.map(transcriber.transcribe, [clip] * 3)) == [expected] * 3


class SpeakerContract:
    """The rules of `voicerag_core.ports.Speaker`.

    Fixtures to define: ``speaker``, the object under test, which no test closes; and
    ``open_speaker``, a function that makes another one.
    """

    def test_sound_is_finite_and_of_one_rate(self, speaker: Speaker) -> None:
        clips = [speaker.speak(text) for text in ("Good morning.", "The tea is ready, Mr. 42!")]
        assert len({clip.sample_rate for clip in clips}) == 1
        for clip in clips:
            assert clip.seconds > 0
            assert np.isfinite(clip.samples).all()
            assert float(np.abs(clip.samples).max()) > SILENCE_PEAK

    def test_a_longer_text_takes_longer(self, speaker: Speaker) -> None:
        short = speaker.speak("Tea is ready.")
        assert speaker.speak("Tea is ready, and the cake is on the table.").seconds > short.seconds

    def test_what_cannot_be_spoken_is_refused(self, speaker: Speaker) -> None:
        for text in ("", " ", "?!", "\n"):
            message = None
            try:
                speaker.speak(text)
            except GenerationError as error:
                message = str(error)
            assert message, f"{text!r} was spoken"

    def test_odd_text_is_spoken(self, speaker: Speaker) -> None:
        for text in ("one\ntwo", "a\0b", "lone \ud800 surrogate", "word " * 150):
            assert speaker.speak(text).seconds > 0

    def test_warming_changes_nothing(self, speaker: Speaker) -> None:
        speaker.warm()
        speaker.warm()
        assert speaker.speak("Good morning.").seconds > 0

    def test_threads_may_share_it(self, speaker: Speaker) -> None:
        texts = ["One.", "Two and three.", "Four."]
        with ThreadPoolExecutor(3) as threads:
            clips = list(threads.map(speaker.speak, texts))
        assert {clip.sample_rate for clip in clips} == {speaker.speak("Five.").sample_rate}
        assert clips[1].seconds > max(clips[0].seconds, clips[2].seconds)

    def test_a_closed_speaker_says_so(self, open_speaker: Callable[[], Speaker]) -> None:
        speaker = open_speaker()
        speaker.speak("Good morning.")
        speaker.close()
        speaker.close()
        message = None
        try:
            speaker.speak("Good evening.")
        except ModelError as error:
            message = str(error)
        assert message is not None, "a closed speaker spoke"
        assert "closed" in message


def _refuses(transcriber: Transcriber, clip: Audio, expected: str) -> None:
    message = None
    try:
        words = transcriber.transcribe(clip)
    except AudioError as error:
        message = str(error)
    assert message is not None, f"{clip} was transcribed as {words.text!r}"
    assert expected in message
