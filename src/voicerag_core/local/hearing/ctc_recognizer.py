"""A CTC recogniser of English speech: one pass of a network, and a beam search over its frames.

Whisper tiny.en's encoder over the length of the clip, not over 30 s, and a small head that predicts
a probability of every subword per frame. A prefix beam search with a small n-gram model over
subwords (`beam_search`, `subword_model`) proposes several hypotheses; no autoregressive decoder
runs. The hypotheses are less accurate than a transcript, but several times faster to compute.

Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), for
the encoder and its features.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import AudioError, CheckpointError, ModelError
from voicerag_core.files import read_json
from voicerag_core.local.hearing.beam_search import BEAMS, Hypothesis, beam_search, greedy
from voicerag_core.local.hearing.english_words import english_ranks
from voicerag_core.local.hearing.hint_trie import HintTrie
from voicerag_core.local.hearing.log_mel import log_mel
from voicerag_core.local.hearing.placed_words import Placed, placed_words
from voicerag_core.local.hearing.subword_model import SubwordModel
from voicerag_core.local.hearing.windows import FRAME_SAMPLES, clip_digest, windows_of
from voicerag_core.local.hearing.word_spotter import Spotted, WordSpotter, text_score
from voicerag_core.local.onnx_session import open_session
from voicerag_core.local.threads import model_threads
from voicerag_core.local.weights.files import weight_folder
from voicerag_core.mel import SAMPLE_RATE_HZ
from voicerag_core.types import Audio, Samples, Vocabulary

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["WEIGHTS", "CTCRecognizer", "Heard"]

WEIGHTS = "speech-encoder"
NETWORK, TOKENS, LANGUAGE = "speech_encoder.onnx", "speech_pieces.json", "speech_piece_model.npz"
INPUTS, OUTPUT = {"log_mel", "lengths"}, "log_probs"

LEAST_SAMPLES = 5 * FRAME_SAMPLES
"""A shorter clip is padded to 0.1 s."""
TAIL_SAMPLES = 8000
"""Zeros appended to every clip, as in training: the states near its end are then closer to those of
Whisper's 30 s windows."""
MOST_SAMPLES = 480_000
"""The network's positions end at 30 s: a window longer than 29.5 s has a shorter tail."""


MOST_PLACED, LEAST_PLACED_SCORE = 100, -45.0
"""Words that are put in the places of a transcript, and the least score of one by itself: what is
heard as something else fits badly."""
MOST_HINTS = 20
"""Words that a beam search expects."""
RECENT_CLIPS = 2
"""Clips whose frames are kept: the search and the transcript ask for the same ones."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The recognition result of a clip.

    Args:
        hypotheses: Possible transcripts, most likely first, at least one.
        token_log_prob: Mean natural-log probability of the tokens of the best path; 0 is certain,
            minus infinity means no speech.
    """

    hypotheses: tuple[Hypothesis, ...]
    token_log_prob: float


class CTCRecognizer:
    """Proposes transcripts of English speech, fast and approximate, with a confidence.

    The network is loaded by the first clip, or by `warm`. Thread-safe.

    Args:
        threads: Threads of one call, at least 1; None uses the cores available to this process, at
            most 4.
        data_dir: Folder of downloaded weights; None: the user's data folder.
        beams: Beam width, in prefixes; 1 decodes the best path.

    Raises:
        ConfigError: `threads` is below 1.
    """

    def __init__(
        self, *, threads: int | None = None, data_dir: Path | None = None, beams: int = BEAMS
    ) -> None:
        self._threads = model_threads(threads)
        self._data_dir = data_dir
        self._beams = beams
        self._lock = threading.Lock()
        self._network: _Network | None = None
        self._recent: deque[tuple[bytes, NDArray[np.float32]]] = deque(maxlen=RECENT_CLIPS)
        self._spotters: WeakKeyDictionary[Vocabulary, WordSpotter] = WeakKeyDictionary()

    def warm(self) -> None:
        """Load the network now, so that the first clip does not wait for it.

        Raises:
            CheckpointError: The weights are missing, altered or of another form.
            MissingExtraError: The extra ``local`` is not installed.
        """
        self._loaded()

    def close(self) -> None:
        """Unload the network; a later clip loads it again."""
        with self._lock:
            self._network = None
            self._recent.clear()

    def hear(
        self, clips: Sequence[Audio], *, most: int = 1, vocabulary: Vocabulary | None = None
    ) -> list[Heard]:
        """Return the most likely transcripts of N clips at 16 kHz, of any length.

        Args:
            clips: A clip over 30 s is cut at quiet points.
            most: Maximum hypotheses per clip.
            vocabulary: Words to expect.

        Raises:
            AudioError: A clip is not at 16 kHz, is empty or not finite.
            ModelError: The network cannot be loaded or failed.
        """
        heard = []
        for clip in clips:
            check_cancelled()
            network = self._loaded()
            frames = self._frames_of(network, clip)
            words = self._spot(network, frames, vocabulary, MOST_HINTS)
            hints = HintTrie([one.tokens for one in words], network.tokens) if words else None
            heard.append(self._read(network, frames, most, hints))
        return heard

    def likely_words(
        self, clip: Audio, vocabulary: Vocabulary, *, most: int, least: float
    ) -> list[Spotted]:
        """Return words of a vocabulary that may have been said, likeliest first.

        Args:
            clip: At 16 kHz.
            vocabulary: The words.
            most: Maximum number of words.
            least: Least `Spotted.worth` of a word.

        Raises:
            AudioError: The clip is not at 16 kHz, is empty or not finite.
            ModelError: The network cannot be loaded or failed.
        """
        network = self._loaded()
        frames = self._frames_of(network, clip)
        found = self._spot(network, frames, vocabulary, most)
        return [one for one in found if one.worth >= least]

    def placed(self, clip: Audio, text: str, vocabulary: Vocabulary) -> list[Placed]:
        """Return a transcript with words of a vocabulary where each fits the sound best.

        Raises:
            AudioError: The clip is not at 16 kHz, is empty or not finite.
            ModelError: The network cannot be loaded or failed.
        """
        network = self._loaded()
        frames = self._frames_of(network, clip)
        if not vocabulary.words:
            return []
        spotter = self._spotter(network, vocabulary)
        words = spotter.spot(frames, MOST_PLACED, least_score=LEAST_PLACED_SCORE)
        return placed_words(text, words, frames, network.tokens)

    def text_score(self, clip: Audio, text: str) -> float:
        """Return how well a text fits a clip: natural-log probability against the best path.

        Raises:
            AudioError: The clip is not at 16 kHz, is empty or not finite.
            ModelError: The network cannot be loaded or failed.
        """
        network = self._loaded()
        return text_score(text, self._frames_of(network, clip), network.tokens)

    def expect(self, vocabulary: Vocabulary) -> None:
        """Prepare for a vocabulary now, so that the first clip does not wait for it."""
        self._spotter(self._loaded(), vocabulary)

    def log_probs(self, clips: Sequence[Audio]) -> list[NDArray[np.float32]]:
        """Return the natural-log probability of every token in every frame of N clips at 16 kHz.

        Returns:
            For each clip [S, V + 1] for its S frames; the last column is the blank.

        Raises:
            AudioError: A clip is not at 16 kHz, is empty or not finite.
            ModelError: The network cannot be loaded or failed.
        """
        return list(_frames(self._loaded(), clips)) if clips else []

    def _frames_of(self, network: _Network, clip: Audio) -> NDArray[np.float32]:
        """Return the frames of a clip; those of the last clips are kept."""
        key = clip_digest(_checked(clip).samples)
        with self._lock:
            for known, frames in self._recent:
                if known == key:
                    return frames
        (frames,) = _frames(network, [clip])
        with self._lock:
            self._recent.append((key, frames))
        return frames

    def _spot(
        self,
        network: _Network,
        frames: NDArray[np.float32],
        vocabulary: Vocabulary | None,
        most: int,
    ) -> list[Spotted]:
        if vocabulary is None or not vocabulary.words:
            return []
        return self._spotter(network, vocabulary).spot(frames, most)

    def _spotter(self, network: _Network, vocabulary: Vocabulary) -> WordSpotter:
        with self._lock:
            known = self._spotters.get(vocabulary)
        if known is None:
            known = WordSpotter(vocabulary, network.tokens, english_ranks())
            with self._lock:
                self._spotters[vocabulary] = known
        return known

    def _read(
        self,
        network: _Network,
        frames: NDArray[np.float32],
        most: int,
        hints: HintTrie | None,
    ) -> Heard:
        best = greedy(frames, network.tokens)
        if self._beams == 1 or not best.text:  # a language model finds words in silence
            return Heard((best,), best.token_log_prob)
        found = beam_search(
            frames,
            network.tokens,
            beams=self._beams,
            most=most,
            model=network.language,
            hints=hints,
        )
        return Heard(tuple(found), best.token_log_prob)

    def _loaded(self) -> _Network:
        with self._lock:
            if self._network is None:
                folder = weight_folder(WEIGHTS, data_dir=self._data_dir)
                self._network = _load(folder, self._threads)
            return self._network


@dataclass(frozen=True, slots=True)
class _Network:
    """The loaded network.

    Args:
        session: Computes log-probabilities of log-mel frames.
        tokens: Names of its columns except the last.
        stride: Mel frames per output frame.
        language: Subword language model, if there is one.
    """

    session: onnxruntime.InferenceSession
    tokens: tuple[str, ...]
    stride: int
    language: SubwordModel | None

    def run(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run a single window: activations are quantised over the range of the whole batch.

        Args:
            window: [80, T], T even.

        Returns:
            [ceil(T / stride), V + 1].
        """
        length = window.shape[1]
        given = {"log_mel": window[None], "lengths": np.array([length], np.int64)}
        try:
            output = self.session.run([OUTPUT], given)[0]
        except Exception as error:
            raise ModelError(
                f"the speech encoder failed on a window of {length} mel frames: {error}"
            ) from error
        expected = (1, -(-length // self.stride), len(self.tokens) + 1)
        if output.shape != expected:
            raise CheckpointError(
                f"the speech encoder gave frames of shape {list(output.shape)} where its list of "
                f"tokens makes {list(expected)}; network and list are not of one training"
            )
        if np.isnan(output).any():
            raise ModelError("the speech encoder gave values that are not numbers")
        frames: NDArray[np.float32] = output[0]
        return frames


def _frames(network: _Network, clips: Sequence[Audio]) -> Iterator[NDArray[np.float32]]:
    """Yield the frames of each clip, [S, V + 1]."""
    for windows in [windows_of(_checked(clip).samples) for clip in clips]:
        parts = []
        for window in windows:
            check_cancelled()
            parts.append(network.run(_features(window)))
        yield parts[0] if len(parts) == 1 else np.concatenate(parts)


def _checked(clip: Audio) -> Audio:
    if clip.sample_rate != SAMPLE_RATE_HZ:
        raise AudioError(
            f"the speech encoder takes sound at {SAMPLE_RATE_HZ} Hz, not {clip.sample_rate} Hz; "
            "read it with read_audio, or convert it with resample"
        )
    if not len(clip.samples) or not np.isfinite(clip.samples).all():
        raise AudioError("the clip is empty or holds samples that are not finite")
    return clip


def _features(samples: Samples) -> NDArray[np.float32]:
    """Return the log-mel frames [80, T] of a window of at most 30 s, T even and at least 10."""
    least = max(LEAST_SAMPLES, min(len(samples) + TAIL_SAMPLES, MOST_SAMPLES))
    whole = -(-least // FRAME_SAMPLES) * FRAME_SAMPLES
    return log_mel(np.pad(samples, (0, whole - len(samples))))


def _load(folder: Path, threads: int) -> _Network:
    """Read the network, its list of tokens and, if present, its language model."""
    tokens, stride = _read_tokens(folder / TOKENS)
    language = SubwordModel.load(folder / LANGUAGE) if os.path.isfile(folder / LANGUAGE) else None
    if language is not None and language.end != len(tokens):
        raise CheckpointError(
            f"{folder / LANGUAGE} knows {language.end} tokens, and {TOKENS} lists {len(tokens)}; "
            "language model and tokens are not of one training"
        )
    session = open_session(folder / NETWORK, "the speech encoder", threads=threads)
    inputs = {entry.name for entry in session.get_inputs()}
    outputs = {entry.name for entry in session.get_outputs()}
    if inputs != INPUTS or OUTPUT not in outputs:
        raise CheckpointError(
            f"{folder / NETWORK} takes {sorted(inputs)} and gives {sorted(outputs)}, but a speech "
            f"encoder takes {sorted(INPUTS)} and gives ['{OUTPUT}']"
        )
    return _Network(session, tokens, stride, language)


def _read_tokens(path: Path) -> tuple[tuple[str, ...], int]:
    """Return the tokens and the mel frames per output frame."""
    try:
        listed = read_json(path)
        tokens, stride = tuple(listed["pieces"]), int(listed["stride"])
        blank = int(listed["blank"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is not the speech encoder's list of tokens: {error!r}; expected is a JSON "
            "object with 'pieces', 'blank' and 'stride'"
        ) from error
    if not tokens or not all(isinstance(token, str) for token in tokens):
        raise CheckpointError(f"'pieces' of {path} is not a list of texts")
    if blank != len(tokens) or stride < 1:
        raise CheckpointError(
            f"{path}: the blank is the number after the last token, {len(tokens)}, not {blank}, "
            f"and the stride at least 1, not {stride}"
        )
    return tokens, stride
