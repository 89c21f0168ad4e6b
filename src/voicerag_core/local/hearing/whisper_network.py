"""The network of Whisper on CTranslate2: windows of sound to words, with how sure it is of them.

Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), and
openai/whisper @ c0d2f62: whisper/decoding.py for prompt and average log-probability,
whisper/transcribe.py for the temperature fallback. Differences are noted where they occur.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from voicerag_core.errors import (
    CheckpointError,
    ConfigError,
    MissingExtraError,
    ModelError,
    VoiceRAGError,
)
from voicerag_core.local.hearing.log_mel import log_mel
from voicerag_core.local.hearing.windows import FRAME_SAMPLES, WINDOW_SECONDS, clip_digest
from voicerag_core.mel import SAMPLE_RATE_HZ
from voicerag_core.types import Samples

if TYPE_CHECKING:
    import ctranslate2
    import tokenizers

__all__ = ["LANGUAGE", "WORD", "Recognition", "WhisperNetwork", "plain"]

LANGUAGE = "en"
PADDED_SECONDS = WINDOW_SECONDS
"""Shorter padding is faster and less accurate: figures in benchmarks/results/transcribe.md."""
SHORT_SECONDS = 15.0
"""A clip is heard first with less padding, at a fifth of the encoder's work, and again in full
only where that leaves no speech or a loop. With still less it repeats what it heard. Where two
texts are close, or the words are unsure, a second hearing mends as many words as it spoils:
benchmarks/results/transcribe.md. Not done for other models than the packaged English one."""
_SHORT_PADDING = SAMPLE_RATE_HZ // 2
"""Samples of silence that have to be left behind a clip for that."""
WORKERS = 2
"""Decodings that run side by side. A decoding uses one core, whatever its threads."""
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
MOST_TOKENS = 224
"""Half of the text context (`sample_len` in decoding.py)."""
TOKENS_AT_LEAST = 20
TOKENS_PER_SECOND = 12
"""Not in upstream: more than the fastest speech, so that repetition in a short clip ends early."""

EXPECTED_LEAD = "Glossary:"
MOST_PROMPT_TOKENS = 120
_STATES_BEHIND = 25
"""States of silence that are looked at behind a clip whose text is known: half a second."""
WORD = re.compile(r"\w+(?:-\w+)*")


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


class _Decoding(Protocol):
    """A decoding that was begun."""

    def result(self) -> ctranslate2.models.WhisperGenerationResult:
        """Wait for it."""
        ...


class WhisperNetwork:
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
        for path in sorted(folder.iterdir()) if os.path.isdir(folder) else ():
            if not os.path.isfile(path) and not os.path.isdir(path):  # one would wait for a pipe
                raise CheckpointError(
                    f"Whisper cannot be loaded from {folder}: {path.name} is no file"
                )
        try:
            self._network: ctranslate2.models.Whisper = ctranslate2.models.Whisper(
                str(folder),
                device="cpu",
                compute_type="int8",
                inter_threads=WORKERS,
                intra_threads=threads,
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

    def recognise(self, samples: Samples) -> Recognition:
        """Recognise one window: with little padding, and in full where that leads to nothing.

        Args:
            samples: Shape [T], float32, 16 kHz, 30 s at most.
        """
        with _told(samples):
            if self._shortens_for(samples):
                encoded = self._encode(samples, short_length())
                outcome = self._hear(samples, encoded, TEMPERATURES[:1])
                if _is_usable(outcome):
                    return outcome
            encoded = self._encode(samples, padded_length(len(samples)))
            return self._hear(samples, encoded, TEMPERATURES)

    def recognise_both(
        self, samples: Samples, words: Sequence[str]
    ) -> tuple[Recognition, Recognition]:
        """Recognise one window as it is, and expecting words; the decoders run side by side.

        Args:
            samples: Shape [T], float32, 16 kHz, 30 s at most.
            words: Words that may have been said, likeliest first.
        """
        with _told(samples):
            if self._shortens_for(samples):
                encoded = self._encode(samples, short_length())
                begun = self._begin(samples, encoded, words)
                heard = self._hear(samples, encoded, TEMPERATURES[:1])
                if _is_usable(heard):
                    return heard, self._hear(samples, encoded, TEMPERATURES, words, begun)
            encoded = self._encode(samples, padded_length(len(samples)))
            begun = self._begin(samples, encoded, words)
            heard = self._hear(samples, encoded, TEMPERATURES)
            return heard, self._hear(samples, encoded, TEMPERATURES, words, begun)

    def text_scores(self, samples: Samples, texts: Sequence[str]) -> list[float]:
        """Return the natural-log probability of texts, given a window of at most 30 s.

        Only the states of the sound are looked at, not those of the silence behind it: that is
        several times faster, and only serves to compare.
        """
        if not texts:
            return []
        with _told(samples):
            encoded = self._states(samples)
            sound = np.asarray(encoded)[:, : len(samples) // FRAME_SAMPLES + _STATES_BEHIND]
            given = [self._tokenizer.encode(f" {t}", add_special_tokens=False).ids for t in texts]
            aligned = self._network.align(
                self._array(np.ascontiguousarray(np.repeat(sound, len(texts), 0))),
                self._prompt(self._spoken(encoded)),
                given,
                [2 * sound.shape[1]] * len(texts),
            )
        return [float(np.log(np.maximum(one.text_token_probs, 1e-12)).sum()) for one in aligned]

    def _states(self, samples: Samples) -> ctranslate2.StorageView:
        """Return the states of a window as it was heard last, or in full."""
        known = self._encoded
        if known is not None and known[0] == clip_digest(samples):
            return known[2]
        return self._encode(samples, padded_length(len(samples)))

    def _shortens_for(self, samples: Samples) -> bool:
        """Return whether a window is heard with little padding first."""
        return self._shortens and short_length() - len(samples) >= _SHORT_PADDING

    def _begin(
        self, samples: Samples, encoded: ctranslate2.StorageView, words: Sequence[str]
    ) -> _Decoding:
        """Begin to decode a window, and do not wait for it."""
        prompt = [*self._expected(words), *self._prompt(self._spoken(encoded))]
        return self._decoding(encoded, TEMPERATURES[0], _most_tokens(samples), prompt)

    def _hear(
        self,
        samples: Samples,
        encoded: ctranslate2.StorageView,
        temperatures: Sequence[float],
        words: Sequence[str] = (),
        begun: _Decoding | None = None,
    ) -> Recognition:
        """Recognise an encoded window, hotter while the result looks bad.

        Args:
            samples: Shape [T].
            encoded: Its states.
            temperatures: Tried one after the other.
            words: Words that may have been said, likeliest first.
            begun: The decoding at the first temperature, if it runs already.
        """
        limit = _most_tokens(samples)
        language = self._spoken(encoded)
        prompt = [*self._expected(words), *self._prompt(language)]
        tries: list[Recognition] = []
        for temperature in temperatures:
            if begun is not None:
                outcome, begun = self._decoded(begun), None
            else:
                outcome = self._decode(encoded, temperature, limit, prompt)
            tries.append(replace(outcome, language=language))
            if not _looks_bad(outcome):
                return tries[-1]
        sound = [one for one in tries if one.compression_ratio <= COMPRESSION_RATIO]
        return max(sound or tries, key=lambda one: one.avg_logprob)

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
        return self._decoded(self._decoding(encoded, temperature, limit, prompt))

    def _decoding(
        self,
        encoded: ctranslate2.StorageView,
        temperature: float,
        limit: int,
        prompt: list[int],
    ) -> _Decoding:
        """Begin to decode; a second one runs beside it."""
        sampling = {"sampling_topk": 0, "sampling_temperature": temperature} if temperature else {}
        decoding: _Decoding
        (decoding,) = self._network.generate(
            encoded,
            [prompt],
            asynchronous=True,
            beam_size=1 if temperature else BEAMS,
            max_length=len(prompt) + limit,
            num_hypotheses=HYPOTHESES,
            return_scores=True,
            return_no_speech_prob=True,
            **sampling,
        )
        return decoding

    def _decoded(self, decoding: _Decoding) -> Recognition:
        """Wait for a decoding, and return its result."""
        result = decoding.result()
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


@contextmanager
def _told(samples: Samples) -> Iterator[None]:
    """Tell a failure of the network in our own words.

    Raises:
        ModelError: It failed.
    """
    try:
        yield
    except VoiceRAGError:
        raise
    except (RuntimeError, ValueError, IndexError) as error:  # the latter: another vocabulary
        seconds = len(samples) / SAMPLE_RATE_HZ
        raise ModelError(f"Whisper failed on a clip of {seconds:.1f} s: {error}") from error


def _most_tokens(samples: Samples) -> int:
    """Return how many tokens the text of a window has at most."""
    seconds = len(samples) / SAMPLE_RATE_HZ
    return int(min(MOST_TOKENS, TOKENS_AT_LEAST + TOKENS_PER_SECOND * seconds))


def plain(text: str) -> str:
    """Return the words of a text in lower case, without punctuation."""
    return " ".join(WORD.findall(text.lower()))


def padded_length(samples: int) -> int:
    """Return the padded length of a window in samples, a whole number of encoder states."""
    wanted = max(samples, int(PADDED_SECONDS * SAMPLE_RATE_HZ))
    return -(-wanted // FRAME_SAMPLES) * FRAME_SAMPLES


def short_length() -> int:
    """Return the length of a window with little padding, in samples."""
    return int(SHORT_SECONDS * SAMPLE_RATE_HZ)


def _is_usable(heard: Recognition) -> bool:
    """Return whether a first hearing is speech without a loop."""
    return (
        heard.heard
        and heard.no_speech_prob <= NO_SPEECH_PROBABILITY
        and heard.compression_ratio <= COMPRESSION_RATIO
    )


def _looks_bad(outcome: Recognition) -> bool:
    """Return whether another temperature may do better; silence is not retried."""
    if not outcome.heard:
        return False
    return (
        outcome.compression_ratio > COMPRESSION_RATIO
        or outcome.avg_logprob < FALLBACK_LOG_PROBABILITY
    )
