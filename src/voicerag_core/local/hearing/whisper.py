"""Speech recognition: Whisper on CTranslate2, tiny.en unless another model is given.

Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022). What is
done with a window is in `whisper_network`.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import AudioError
from voicerag_core.local.asking import asks
from voicerag_core.local.hearing.ctc_recognizer import CTCRecognizer
from voicerag_core.local.hearing.number_words import with_digits
from voicerag_core.local.hearing.whisper_network import (
    LANGUAGE,
    WORD,
    Recognition,
    WhisperNetwork,
    plain,
)
from voicerag_core.local.hearing.windows import WINDOW_SECONDS, windows_of
from voicerag_core.local.hearing.word_spotter import Spotted
from voicerag_core.local.hearing.wordings import ASKING_WORTH, wordings_of
from voicerag_core.local.threads import model_threads
from voicerag_core.local.weights.files import weight_folder
from voicerag_core.local.weights.joining import joined_folder
from voicerag_core.mel import SAMPLE_RATE_HZ
from voicerag_core.types import Audio, Transcription, Vocabulary, Wording

__all__ = ["Recognition", "WhisperTranscriber"]

WEIGHTS = "whisper-tiny.en"
MOST_OTHERS, MOST_LISTENED = 3, 1
"""Wordings that are kept beside the transcript: Whisper's own, and the listener's, which errs
elsewhere."""

MOST_EXPECTED = 15
"""Words of a collection that are handed over as the text before the clip. Chosen, with the next, on
spoken questions: benchmarks/results/spoken_documents.md."""
LEAST_EXPECTED_WORTH = 7.0
"""Of a word that is handed over (`Spotted.worth`)."""
SOUND_WEIGHT = 0.25
"""Of the listener's score of a text besides Whisper's own, where the text that expected words and
the one that did not are compared: words that were not said do not fit the sound."""

LEAST_LISTENED = 0.75
"""Confidence of the listener at which its wording stands in for a clip that Whisper finds no words
in: kitchen noise, hum and music reach 0.07, clear questions 0.86 and more."""
LEAST_LISTENED_WORDS = 2

_DIGIT = re.compile(r"\d")
_NUMBER = re.compile(r"\d[\d.,]*\d")
_REPETITION = re.compile(r"(.{2,40}?)\1{3,}")


class WhisperTranscriber:
    """Transcriber of the local stack: English speech, or that of any Whisper model for CTranslate2.

    The model is loaded by the first clip, or by `warm`. Thread-safe: two
    decodings run at a time, the others wait.

    Args:
        threads: Threads of one call, at least 1; None uses the cores available to this process, at
            most 4.
        data_dir: Folder of downloaded weights; None: the user's data folder.
        listener: Finds the words of a collection in a clip, for `transcribe_with`; where Whisper
            hears nothing and the listener is sure, its wording is the transcript.
        folder: A model of any size (model.bin, config.json, vocabulary and tokenizer.json, as
            faster-whisper and CTranslate2's converter write it); None: a packaged one.
        multilingual: Use the packaged Whisper base, of many languages, in place of tiny.en.
        language: Code of the language that is spoken, for a multilingual model; None detects it in
            each window.

    Raises:
        ConfigError: `threads` is below 1.
    """

    def __init__(
        self,
        *,
        threads: int | None = None,
        data_dir: Path | None = None,
        listener: CTCRecognizer | None = None,
        folder: Path | None = None,
        language: str | None = LANGUAGE,
        multilingual: bool = False,
    ) -> None:
        self._multilingual = multilingual
        self._listener = listener
        self._threads = model_threads(threads)
        self._data_dir = data_dir
        self._folder = folder
        self._language = language
        self._lock = threading.Lock()
        self._loader: ThreadPoolExecutor | None = None
        self._model: WhisperNetwork | None = None

    def warm(self) -> None:
        """Load the model now, so that the first clip does not wait for it.

        Raises:
            CheckpointError: The weights are missing, altered or not loadable.
            MissingExtraError: The extra ``local`` is not installed.
        """
        self._loaded()

    def close(self) -> None:
        """Unload the model and end its thread; a later clip loads it again."""
        with self._lock:
            loader, self._loader, self._model = self._loader, None, None
        if loader is not None:
            loader.shutdown()

    def transcribe(self, audio: Audio) -> Transcription:
        """Transcribe a clip, with a confidence.

        Raises:
            AudioError: The clip is not at 16 kHz, is empty or not finite, or contains no speech.
            ModelError: The model cannot be loaded or failed.
        """
        heard = self.recognise(audio)
        return self._transcription(audio, heard, heard.others)

    def transcribe_with(self, audio: Audio, vocabulary: Vocabulary) -> Transcription:
        """Transcribe a clip, expecting those words of a vocabulary that seem to be said.

        Without a `listener` the words are not known in time, and nothing is expected.

        Raises:
            AudioError: The clip is not at 16 kHz, is empty or not finite, or contains no speech.
            ModelError: The model cannot be loaded or failed.
        """
        listener = self._listener
        if listener is None or audio.seconds > WINDOW_SECONDS:
            return self.transcribe(audio)
        _check(audio)
        (proposed,) = listener.hear([audio], most=MOST_LISTENED, vocabulary=vocabulary)
        words = listener.likely_words(
            audio, vocabulary, most=MOST_EXPECTED, least=LEAST_EXPECTED_WORTH
        )
        heard, other = self._recognise_both(audio, [one.word for one in words])
        wordings, listened = heard.others, list[str]()
        if heard.heard:
            listened = [with_digits(one.text) for one in proposed.hypotheses]
        if heard.heard and other is not None:
            both = ((heard.text, heard.log_prob), (other.text, other.log_prob))
            wordings = (*both, *wordings, *other.others)
            new = _new_in(words, heard.text, other.text)
            gain = other.log_prob - heard.log_prob + sum(one.prior for one in new)
            fits = listener.text_score(audio, other.text) - listener.text_score(audio, heard.text)
            gain += SOUND_WEIGHT * fits
            coded = fits < 0 and any(_DIGIT.search(one.word) for one in new)
            likelier = other.heard and gain >= 0 and not coded
            if likelier and _same_numbers(heard.text, other.text, new):
                heard = other
        found = self._transcription(audio, heard, wordings, listened)
        return self._as_asked(audio, found, vocabulary)

    def _as_asked(
        self, audio: Audio, found: Transcription, vocabulary: Vocabulary
    ) -> Transcription:
        """Return a transcription that begins as a question does, if that is likelier.

        A recogniser that has to choose between "You founded" and "Who founded" does not know that
        it is asked.
        """
        if found.language != LANGUAGE or asks(found.text):
            return found
        others = self.other_wordings(audio, found, vocabulary)
        asked = next((one for one in others if asks(one.text)), None)
        if asked is None or asked.lead + ASKING_WORTH < 0:
            return found
        rest = (found.text, *(one.text for one in others if one is not asked))
        return replace(found, text=asked.text, others=rest[:MOST_OTHERS])

    def other_wordings(
        self, audio: Audio, heard: Transcription, vocabulary: Vocabulary | None = None
    ) -> tuple[Wording, ...]:
        """Return what else a clip may say, likeliest first; see `wordings`.

        Without a `listener`, or for a clip over 30 s, these are the wordings of the transcription.

        Args:
            audio: At 16 kHz.
            heard: Its transcription.
            vocabulary: The words of the collection.

        Raises:
            AudioError: The clip is not at 16 kHz, is empty or not finite.
            ModelError: The model cannot be loaded or failed.
        """
        listener = self._listener
        if listener is None or audio.seconds > WINDOW_SECONDS:
            return tuple(map(Wording, heard.others))
        model = self._loaded()
        return wordings_of(
            audio,
            heard,
            vocabulary or Vocabulary(),
            listener,
            lambda texts: model.text_scores(audio.samples, texts),
        )

    def _transcription(
        self,
        audio: Audio,
        heard: Recognition,
        wordings: Sequence[tuple[str, float]],
        listened: Sequence[str] = (),
    ) -> Transcription:
        """Refuse what is not speech, to Whisper and to the listener."""
        if not heard.heard:
            by_listener = self._listened(audio)
            if by_listener is not None:
                return by_listener
            raise AudioError(
                f"no speech was heard in the clip of {audio.seconds:.1f} s (probability that "
                f"nobody speaks {heard.no_speech_prob:.2f}, mean log-probability of the words "
                f"{heard.avg_logprob:.2f}); check the microphone, or speak louder and closer"
            )
        others = _others(heard.text, wordings, listened)
        return Transcription(heard.text, _confidence(heard), heard.language, others)

    def _listened(self, audio: Audio) -> Transcription | None:
        """Return what the listener heard, if it is sure of it."""
        if self._listener is None:
            return None
        (heard,) = self._listener.hear([audio])
        text = with_digits(heard.hypotheses[0].text)
        confidence = math.exp(heard.token_log_prob)
        if confidence < LEAST_LISTENED or len(text.split()) < LEAST_LISTENED_WORDS:
            return None
        return Transcription(text, confidence, LANGUAGE)

    def recognise(self, audio: Audio) -> Recognition:
        """Transcribe a clip with confidence figures; noise is not rejected here.

        A clip over 30 s is split at quiet points, and the windows that contain speech are joined;
        the no-speech probability is then that of the most certain window, the log-probability the
        mean over all tokens. Uncertain text is sampled at a higher temperature, so it may differ
        between calls.

        Args:
            audio: At 16 kHz.

        Raises:
            AudioError: The clip is not at 16 kHz, is empty or not finite.
            ModelError: The model cannot be loaded or failed.
            CancelledError: The running call was cancelled; the current window ends first.
        """
        _check(audio)
        model = self._loaded()
        windows = []
        for window in windows_of(audio.samples):
            check_cancelled()
            windows.append(model.recognise(window))
        heard = [window for window in windows if window.heard] or windows
        tokens = sum(window.tokens for window in heard)
        return Recognition(
            text=" ".join(window.text for window in heard),
            no_speech_prob=min(window.no_speech_prob for window in heard),
            avg_logprob=sum(window.avg_logprob * window.tokens for window in heard) / tokens
            if tokens
            else min(window.avg_logprob for window in heard),
            compression_ratio=max(window.compression_ratio for window in heard),
            tokens=tokens,
            language=max(heard, key=lambda window: window.tokens).language,
            others=windows[0].others if len(windows) == 1 else (),
        )

    def _recognise_both(
        self, audio: Audio, words: Sequence[str]
    ) -> tuple[Recognition, Recognition | None]:
        """Transcribe a clip of one window, and at the same time expecting words, if there are any.

        Raises:
            ModelError: The model cannot be loaded or failed.
            CancelledError: The running call was cancelled.
        """
        model = self._loaded()
        check_cancelled()
        if not words:
            return model.recognise(audio.samples), None
        return model.recognise_both(audio.samples, words)

    def _packaged(self) -> Path:
        if self._multilingual:
            return joined_folder(self._data_dir)
        return weight_folder(WEIGHTS, data_dir=self._data_dir)

    def _loaded(self) -> WhisperNetwork:
        with self._lock:
            if self._model is None:
                # CTranslate2 4.8.5 takes 2 to 4 times longer once the thread that loaded a model
                # has ended, so the model is loaded by a thread that lives as long as it does.
                folder = self._folder or self._packaged()
                measured = self._folder is None and not self._multilingual
                self._loader = self._loader or ThreadPoolExecutor(1, "voicerag-whisper")
                self._model = self._loader.submit(
                    WhisperNetwork, folder, self._threads, self._language, shortens=measured
                ).result()
            return self._model


def _check(audio: Audio) -> None:
    """Refuse a clip that cannot be recognised.

    Raises:
        AudioError: It is not at 16 kHz, is empty or not finite.
    """
    if audio.sample_rate != SAMPLE_RATE_HZ:
        raise AudioError(
            f"Whisper takes sound at {SAMPLE_RATE_HZ} Hz, not {audio.sample_rate} Hz; "
            "read it with read_audio, or convert it with resample"
        )
    if not len(audio.samples) or not np.isfinite(audio.samples).all():
        raise AudioError("the clip is empty or holds samples that are not finite")


def _others(
    text: str, wordings: Sequence[tuple[str, float]], listened: Sequence[str]
) -> tuple[str, ...]:
    """Return the likeliest wordings that have other words than a text, each once.

    Args:
        text: The transcript.
        wordings: Whisper's, with their log-probabilities.
        listened: The listener's, likeliest first; they come behind the best one of Whisper's.
    """
    known = {plain(text), ""}
    others = []
    ranked = sorted(wordings, key=lambda one: -one[1])
    own = [other for other, _ in ranked if plain(other) not in known]
    for other in (*own[:1], *listened, *own[1:]):
        if plain(other) not in known:
            known.add(plain(other))
            others.append(other)
    return tuple(others[: MOST_OTHERS + len(listened)])


def _new_in(words: Sequence[Spotted], before: str, after: str) -> list[Spotted]:
    """Return the words that stand in the second text and not in the first."""
    old, new = (set(WORD.findall(text.lower())) for text in (before, after))
    return [one for one in words if one.word.lower() in new - old]


def _same_numbers(before: str, after: str, words: Sequence[Spotted]) -> bool:
    """Return whether no long number got lost or changed, but for those in new words ("E04")."""
    if any(_NUMBER.search(one.word) for one in words):
        return True
    return _NUMBER.findall(before) == _NUMBER.findall(after)


def _confidence(heard: Recognition) -> float:
    """Return the geometric mean of the probabilities of the tokens that are no repetition.

    What repeats itself is nearly certain to go on, so for speech in another language a loop of
    made-up words would seem well heard.
    """
    said_once = _REPETITION.sub(r"\1", heard.text)
    return min(1.0, math.exp(heard.avg_logprob * len(heard.text) / len(said_once)))
