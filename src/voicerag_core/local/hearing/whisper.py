"""Speech recognition: Whisper on CTranslate2, tiny.en unless another model is given.

Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), and
openai/whisper @ c0d2f62: whisper/decoding.py for prompt and average log-probability,
whisper/transcribe.py for the temperature fallback. Differences are noted where they occur.
"""

from __future__ import annotations

import math
import re
import threading
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import (
    AudioError,
    CheckpointError,
    ConfigError,
    MissingExtraError,
    ModelError,
)
from voicerag_core.local.hearing.ctc_recognizer import CTCRecognizer
from voicerag_core.local.hearing.log_mel import log_mel
from voicerag_core.local.hearing.number_words import with_digits
from voicerag_core.local.hearing.windows import (
    FRAME_SAMPLES,
    WINDOW_SECONDS,
    clip_digest,
    windows_of,
)
from voicerag_core.local.hearing.word_spotter import Spotted
from voicerag_core.local.hearing.wordings import ASKING_WORTH, asks, wordings_of
from voicerag_core.local.threads import model_threads
from voicerag_core.local.weights.files import weight_folder
from voicerag_core.local.weights.joining import joined_folder
from voicerag_core.mel import SAMPLE_RATE_HZ
from voicerag_core.types import Audio, Samples, Transcription, Vocabulary, Wording

if TYPE_CHECKING:
    import ctranslate2
    import tokenizers

__all__ = ["Recognition", "WhisperTranscriber"]

WEIGHTS = "whisper-tiny.en"
LANGUAGE = "en"
PADDED_SECONDS = WINDOW_SECONDS
"""Shorter padding is faster and less accurate: figures in benchmarks/results/transcribe.md."""
SHORT_SECONDS = 15.0
"""A clip is heard first with less padding, at a fifth of the encoder's work, and again in full
where that leaves Whisper unsure. With still less it repeats what it heard. Not done for other
models than the packaged English one, on which it was measured."""
_SHORT_PADDING = SAMPLE_RATE_HZ // 2
"""Samples of silence that have to be left behind a clip for that."""
SHORT_LEAD = 1.0
"""Least lead of a text over the next one with other words, as a natural logarithm, at which the
first hearing is sure. Chosen on 363 clips of benchmarks/speech/transcribe.py and of the sample
base: 122 words wrong, with full padding alone 121, with short padding alone 137; on 120 other clips
117, 118 and 122."""
BEAMS = 5
"""As in upstream's command line and faster-whisper; one beam makes more errors."""

NO_SPEECH_PROBABILITY = 0.25
AVERAGE_LOG_PROBABILITY = -0.4
"""Above the first and below the second there is no speech. transcribe.py has 0.6 and -1; these were
chosen on one half of the clips and validated on the other: benchmarks/results/no_speech.md."""

COMPRESSION_RATIO = 2.4
"""Text that zlib shrinks by more than this repeats itself (transcribe.py)."""
FALLBACK_LOG_PROBABILITY = -1.0
"""Average log-probability below which another temperature is tried (transcribe.py)."""
TEMPERATURES = (0.0, 0.4, 0.8)
"""Upstream tries six, 0 to 1 in steps of 0.2; three bound the time that one clip can take."""
HYPOTHESES = 5
"""Texts of a decoding: the beam's, or samples at a temperature above 0; the most likely is kept
(`best_of` in transcribe.py), and the others are looked at where it leads to nothing."""
MOST_OTHERS, MOST_LISTENED = 3, 1
"""Wordings that are kept beside the transcript: Whisper's own, and the listener's, which errs
elsewhere."""

MOST_TOKENS = 224
"""Half of the text context (`sample_len` in decoding.py)."""
TOKENS_AT_LEAST = 20
TOKENS_PER_SECOND = 12
"""Not in upstream: more than the fastest speech, so that repetition in a short clip ends early."""

MOST_EXPECTED = 15
"""Words of a collection that are handed over as the text before the clip. Chosen, with the next, on
spoken questions: benchmarks/results/spoken_documents.md."""
EXPECTED_LEAD = "Glossary:"
MOST_PROMPT_TOKENS = 120
LEAST_EXPECTED_WORTH = 7.0
"""Of a word that is handed over (`Spotted.worth`)."""
SOUND_WEIGHT = 0.25
"""Of the listener's score of a text besides Whisper's own, where the text that expected words and
the one that did not are compared: words that were not said do not fit the sound."""

LEAST_LISTENED = 0.75
"""Confidence of the listener at which its wording stands in for a clip that Whisper finds no words
in: kitchen noise, hum and music reach 0.07, clear questions 0.86 and more."""
LEAST_LISTENED_WORDS = 2

_STATES_BEHIND = 25
"""States of silence that are looked at behind a clip whose text is known: half a second."""

_WORD = re.compile(r"\w+(?:-\w+)*")
_DIGIT = re.compile(r"\d")
_NUMBER = re.compile(r"\d[\d.,]*\d")
_REPETITION = re.compile(r"(.{2,40}?)\1{3,}")


@dataclass(frozen=True, slots=True)
class Recognition:
    """The result of decoding a clip, with the model's confidence.

    Args:
        text: The transcript; hallucinated if there is no speech, see `heard`.
        no_speech_prob: The model's probability, 0..1, that there is no speech.
        avg_logprob: Mean log-probability of the tokens, the end included; 0 is certain.
        compression_ratio: Compression ratio of the text with zlib; above 2.4 it repeats itself.
        tokens: Number of tokens of the text.
        language: Code of its language: that of the model or the one asked for, else detected.
        others: Other texts of the same decoding with their log-probabilities, likeliest first; of
            clips of one window.
    """

    text: str
    no_speech_prob: float
    avg_logprob: float
    compression_ratio: float
    tokens: int
    language: str = LANGUAGE
    others: tuple[tuple[str, float], ...] = ()

    @property
    def log_prob(self) -> float:
        """Log-probability of the whole text."""
        return self.avg_logprob * (self.tokens + 1)

    @property
    def heard(self) -> bool:
        """Whether this is speech: it has text, and is not both unlikely as speech and uncertain."""
        if not any(letter.isalnum() for letter in self.text):
            return False
        return not (
            self.no_speech_prob > NO_SPEECH_PROBABILITY
            and self.avg_logprob < AVERAGE_LOG_PROBABILITY
        )


class WhisperTranscriber:
    """Transcriber of the local stack: English speech, or that of any Whisper model for CTranslate2.

    The model is loaded by the first clip, or by `warm`. Thread-safe: clips of several threads are
    processed one after another.

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
        self._model: _Model | None = None

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
        heard = self.recognise(audio)
        wordings, listened = heard.others, list[str]()
        listener = self._listener
        if listener is not None and heard.heard and audio.seconds <= WINDOW_SECONDS:
            (proposed,) = listener.hear([audio], most=MOST_LISTENED, vocabulary=vocabulary)
            listened = [with_digits(one.text) for one in proposed.hypotheses]
            words = listener.likely_words(
                audio, vocabulary, most=MOST_EXPECTED, least=LEAST_EXPECTED_WORTH
            )
            if words:
                other = self.recognise(audio, [one.word for one in words])
                both = ((heard.text, heard.log_prob), (other.text, other.log_prob))
                wordings = (*both, *wordings, *other.others)
                new = _new_in(words, heard.text, other.text)
                gain = other.log_prob - heard.log_prob + sum(one.prior for one in new)
                fits = listener.text_score(audio, other.text) - listener.text_score(
                    audio, heard.text
                )
                gain += SOUND_WEIGHT * fits
                coded = fits < 0 and any(map(_DIGIT.search, (one.word for one in new)))
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
        if self._listener is None or found.language != LANGUAGE or asks(found.text):
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

    def recognise(self, audio: Audio, words: Sequence[str] = ()) -> Recognition:
        """Transcribe a clip with confidence figures; noise is not rejected here.

        A clip over 30 s is split at quiet points, and the windows that contain speech are joined;
        the no-speech probability is then that of the most certain window, the log-probability the
        mean over all tokens. Uncertain text is sampled at a higher temperature, so it may differ
        between calls.

        Args:
            audio: At 16 kHz.
            words: Words that may have been said, likeliest first.

        Raises:
            AudioError: The clip is not at 16 kHz, is empty or not finite.
            ModelError: The model cannot be loaded or failed.
            CancelledError: The running call was cancelled; the current window ends first.
        """
        if audio.sample_rate != SAMPLE_RATE_HZ:
            raise AudioError(
                f"Whisper takes sound at {SAMPLE_RATE_HZ} Hz, not {audio.sample_rate} Hz; "
                "read it with read_audio, or convert it with resample"
            )
        if not len(audio.samples) or not np.isfinite(audio.samples).all():
            raise AudioError("the clip is empty or holds samples that are not finite")
        model = self._loaded()
        windows = []
        for window in windows_of(audio.samples):
            check_cancelled()
            windows.append(model.recognise(window, words))
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

    def _packaged(self) -> Path:
        if self._multilingual:
            return joined_folder(self._data_dir)
        return weight_folder(WEIGHTS, data_dir=self._data_dir)

    def _loaded(self) -> _Model:
        with self._lock:
            if self._model is None:
                # CTranslate2 4.8.5 takes 2 to 4 times longer once the thread that loaded a model
                # has ended, so the model is loaded by a thread that lives as long as it does.
                folder = self._folder or self._packaged()
                measured = self._folder is None and not self._multilingual
                self._loader = self._loader or ThreadPoolExecutor(1, "voicerag-whisper")
                self._model = self._loader.submit(
                    _Model, folder, self._threads, self._language, shortens=measured
                ).result()
            return self._model


class _Model:
    """The loaded network with its tokenizer.

    Args:
        folder: The weights.
        threads: Threads of one call.
        language: Code of the language for a multilingual model; None detects it.
        shortens: Hear clips first with less padding.
    """

    def __init__(
        self, folder: Path, threads: int, language: str | None, *, shortens: bool = False
    ) -> None:
        self._shortens = shortens
        try:
            import ctranslate2
            import tokenizers
        except ImportError as error:
            raise MissingExtraError("local", "speech recognition") from error
        self._array = ctranslate2.StorageView.from_array
        try:
            self._network: ctranslate2.models.Whisper = ctranslate2.models.Whisper(
                str(folder), device="cpu", compute_type="int8", intra_threads=threads
            )
            tokenizer_file = folder / "tokenizer.json"
            self._tokenizer: tokenizers.Tokenizer = tokenizers.Tokenizer.from_file(
                str(tokenizer_file)
            )
        except Exception as error:  # both libraries raise bare exceptions of several kinds
            raise CheckpointError(f"Whisper cannot be loaded from {folder}: {error}") from error
        self._encoded: tuple[bytes, int, ctranslate2.StorageView] | None = None
        # An English-only model is prompted with neither language nor task (decoding.py).
        self._multilingual: bool = self._network.is_multilingual
        self._language = language if self._multilingual else LANGUAGE
        self._before: int = self._tokenizer.token_to_id("<|startofprev|>") or 0
        if self._language is not None:
            self._prompt(self._language)

    def recognise(self, samples: Samples, words: Sequence[str] = ()) -> Recognition:
        """Recognise one window: with little padding, and in full where that is not sure.

        With `words`, a window that was the last one heard is heard with the padding of that time.

        Args:
            samples: Shape [T], float32, 16 kHz, 30 s at most.
            words: Words that may have been said, likeliest first.
        """
        try:
            known = self._known_length(samples) if words else None
            if known is None and self._shortens and short_length() - len(samples) >= _SHORT_PADDING:
                outcome = self._hear(samples, short_length(), TEMPERATURES[:1], words)
                if _is_sure(outcome):
                    return outcome
            return self._hear(samples, known or padded_length(len(samples)), TEMPERATURES, words)
        except RuntimeError as error:
            seconds = len(samples) / SAMPLE_RATE_HZ
            raise ModelError(f"Whisper failed on a clip of {seconds:.1f} s: {error}") from error

    def _hear(
        self, samples: Samples, length: int, temperatures: Sequence[float], words: Sequence[str]
    ) -> Recognition:
        """Recognise a window that is padded to a length, hotter while the result looks bad."""
        seconds = len(samples) / SAMPLE_RATE_HZ
        limit = int(min(MOST_TOKENS, TOKENS_AT_LEAST + TOKENS_PER_SECOND * seconds))
        encoded = self._encode(samples, length)
        language = self._spoken(encoded)
        prompt = [*self._expected(words), *self._prompt(language)]
        tries: list[Recognition] = []
        for temperature in temperatures:
            outcome = self._decode(encoded, temperature, limit, prompt)
            tries.append(replace(outcome, language=language))
            if not _looks_bad(outcome):
                return tries[-1]
        sound = [one for one in tries if one.compression_ratio <= COMPRESSION_RATIO]
        return max(sound or tries, key=lambda one: one.avg_logprob)

    def text_scores(self, samples: Samples, texts: Sequence[str]) -> list[float]:
        """Return the natural-log probability of texts, given a window of at most 30 s.

        Only the states of the sound are looked at, not those of the silence behind it: that is
        several times faster, and only serves to compare.
        """
        if not texts:
            return []
        try:
            length = self._known_length(samples) or padded_length(len(samples))
            states = np.asarray(self._encode(samples, length))
            states = states[:, : len(samples) // FRAME_SAMPLES + _STATES_BEHIND]
            sound = self._array(np.ascontiguousarray(np.repeat(states, len(texts), 0)))
            encoded = [self._tokenizer.encode(f" {t}", add_special_tokens=False) for t in texts]
            aligned = self._network.align(
                sound,
                self._prompt(self._language or LANGUAGE),
                [one.ids for one in encoded],
                [2 * states.shape[1]] * len(texts),
            )
        except RuntimeError as error:
            raise ModelError(f"Whisper failed to compare {len(texts)} texts: {error}") from error
        return [float(np.log(np.maximum(one.text_token_probs, 1e-12)).sum()) for one in aligned]

    def _known_length(self, samples: Samples) -> int | None:
        """Return the padded length of a window whose states are kept, else None."""
        known = self._encoded
        return known[1] if known is not None and known[0] == clip_digest(samples) else None

    def _encode(self, samples: Samples, length: int) -> ctranslate2.StorageView:
        """Return the encoder's states of a window; those of the last one are kept.

        Args:
            samples: Shape [T].
            length: Samples with the padding.
        """
        key = clip_digest(samples)
        known = self._encoded
        if known is not None and known[:2] == (key, length):
            return known[2]
        features = log_mel(samples, bands=self._network.n_mels, length=length)
        states = self._network.encode(self._array(np.ascontiguousarray(features[None])))
        self._encoded = (key, length, states)
        return states

    def _expected(self, words: Sequence[str]) -> list[int]:
        """Return the tokens of the text before, which has the words, the likeliest nearest."""
        if not words:
            return []
        text = f" {EXPECTED_LEAD} {', '.join(reversed(words))}."
        before: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return [self._before, *before[-MOST_PROMPT_TOKENS:]]

    def _spoken(self, encoded: ctranslate2.StorageView) -> str:
        """Return the code of the language of a window: the one given, or the likeliest."""
        if self._language is not None:
            return self._language
        ((token, _), *_) = self._network.detect_language(encoded)[0]
        return str(token).strip("<|>")

    def _prompt(self, language: str) -> list[int]:
        """Return the tokens before the text (decoding.py).

        Raises:
            ConfigError: The model does not know the language.
        """
        names = ["<|startoftranscript|>"]
        if self._multilingual:
            names += [f"<|{language}|>", "<|transcribe|>"]
        tokens = [self._tokenizer.token_to_id(name) for name in (*names, "<|notimestamps|>")]
        known = [token for token in tokens if token is not None]
        if len(known) < len(tokens):
            raise ConfigError(
                f"this Whisper model does not know the language {language!r}; set "
                "VOICERAG_LANGUAGE to a code such as de, or to auto"
            )
        return known

    def _decode(
        self,
        encoded: ctranslate2.StorageView,
        temperature: float,
        limit: int,
        prompt: list[int],
    ) -> Recognition:
        sampling = {"sampling_topk": 0, "sampling_temperature": temperature} if temperature else {}
        result = self._network.generate(
            encoded,
            [prompt],
            beam_size=1 if temperature else BEAMS,
            max_length=len(prompt) + limit,
            num_hypotheses=HYPOTHESES,
            return_scores=True,
            return_no_speech_prob=True,
            **sampling,
        )[0]
        texts = [
            self._tokenizer.decode(tokens, skip_special_tokens=True).strip()
            for tokens in result.sequences_ids
        ]
        lengths = [len(tokens) for tokens in result.sequences_ids]
        tokens, text = lengths[0], texts[0]
        encoded_text = text.encode()
        return Recognition(
            text=text,
            no_speech_prob=float(result.no_speech_prob),
            # The score is a mean over the tokens; upstream counts the end of text too.
            avg_logprob=float(result.scores[0]) * tokens / (tokens + 1),
            compression_ratio=len(encoded_text) / len(zlib.compress(encoded_text)),
            tokens=tokens,
            others=tuple(
                (other, float(score) * length)
                for other, score, length in zip(texts, result.scores, lengths, strict=True)
            )[1:],
        )


def _others(
    text: str, wordings: Sequence[tuple[str, float]], listened: Sequence[str]
) -> tuple[str, ...]:
    """Return the likeliest wordings that have other words than a text, each once.

    Args:
        text: The transcript.
        wordings: Whisper's, with their log-probabilities.
        listened: The listener's, likeliest first; they come behind the best one of Whisper's.
    """
    known = {_plain(text), ""}
    others = []
    ranked = sorted(wordings, key=lambda one: -one[1])
    own = [other for other, _ in ranked if _plain(other) not in known]
    for other in (*own[:1], *listened, *own[1:]):
        if _plain(other) not in known:
            known.add(_plain(other))
            others.append(other)
    return tuple(others[: MOST_OTHERS + len(listened)])


def _plain(text: str) -> str:
    return " ".join(_WORD.findall(text.lower()))


def _new_in(words: Sequence[Spotted], before: str, after: str) -> list[Spotted]:
    """Return the words that stand in the second text and not in the first."""
    old, new = (set(_WORD.findall(text.lower())) for text in (before, after))
    return [one for one in words if one.word.lower() in new - old]


def _same_numbers(before: str, after: str, words: Sequence[Spotted]) -> bool:
    """Return whether no long number got lost or changed, but for those in new words ("E04")."""
    if any(_NUMBER.search(one.word) for one in words):
        return True
    return _NUMBER.findall(before) == _NUMBER.findall(after)


def padded_length(samples: int) -> int:
    """Return the padded length of a window in samples, a whole number of encoder states."""
    wanted = max(samples, int(PADDED_SECONDS * SAMPLE_RATE_HZ))
    return -(-wanted // FRAME_SAMPLES) * FRAME_SAMPLES


def short_length() -> int:
    """Return the length of a window with little padding, in samples."""
    return int(SHORT_SECONDS * SAMPLE_RATE_HZ)


def _is_sure(heard: Recognition) -> bool:
    """Return whether a first hearing is surely speech, and surely of these words."""
    known = _plain(heard.text)
    rivals = [score for text, score in heard.others if _plain(text) != known]
    return (
        heard.heard
        and heard.no_speech_prob <= NO_SPEECH_PROBABILITY
        and heard.avg_logprob >= AVERAGE_LOG_PROBABILITY
        and heard.compression_ratio <= COMPRESSION_RATIO
        and heard.log_prob - max(rivals, default=-math.inf) >= SHORT_LEAD
    )


def _confidence(heard: Recognition) -> float:
    """Return the geometric mean of the probabilities of the tokens that are no repetition.

    What repeats itself is nearly certain to go on, so for speech in another language a loop of
    made-up words would seem well heard.
    """
    said_once = _REPETITION.sub(r"\1", heard.text)
    return min(1.0, math.exp(heard.avg_logprob * len(heard.text) / len(said_once)))


def _looks_bad(outcome: Recognition) -> bool:
    """Return whether another temperature may do better; silence is not retried."""
    if not outcome.heard:
        return False
    return (
        outcome.compression_ratio > COMPRESSION_RATIO
        or outcome.avg_logprob < FALLBACK_LOG_PROBABILITY
    )
