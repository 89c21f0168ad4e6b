"""Speech to the tokens that GLM-4-Voice reads: 12.5 per second, 14 bits each."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from voicerag_core.audio import resample
from voicerag_core.errors import AudioError, ConfigError
from voicerag_core.glm.device_memory import nbytes, telling_what_is_needed
from voicerag_core.glm.recording import FIRST, Recorder, record_cuda
from voicerag_core.glm.speech_tokenizer.batches import (
    Piece,
    PreparedBatches,
    length_of,
)
from voicerag_core.glm.speech_tokenizer.log_mel import log_mel, mirrored
from voicerag_core.glm.speech_tokenizer.whisper_vq import WhisperVQ
from voicerag_core.glm.turns import turns_on
from voicerag_core.glm.weights.checkpoints import load_speech_tokenizer
from voicerag_core.glm.weights.configs import SpeechTokenizerConfig
from voicerag_core.mel import HOP_SAMPLES, SAMPLE_RATE_HZ
from voicerag_core.types import Audio, Samples

__all__ = ["SpeechTokenizer"]

STRIDE = 2
"""Features of 10 ms in one frame of the encoder."""
BATCH = 16
"""Pieces of up to 30 s per batch."""
GATHERING_SECONDS = 0.02
"""While the language model reads prompts, a clip waits this long for others: each batch of clips
holds up the reading, a step of which takes 30 ms on an H200."""
MOST_GATHERING_SECONDS = 0.3
QUEUE_SHARE = 0.6
"""It waits longer behind prompts that have come before: for this part of the time in which they are
read, since its own is read after them."""
PIECE = 480_000
"""Samples of a piece: 30 s."""


class SpeechTokenizer:
    """Turns clips of any length into speech tokens; safe to share between threads.

    The ids of a clip equal those of the reference for the clip alone, and do not depend on the
    other clips of the batch. Sound at other rates than 16 kHz is resampled by soxr, the
    reference's by another filter: there a few ids may differ.

    Args:
        config: Sizes of the network.
        state: Its tensors, of `load_speech_tokenizer`.
        device: Where it runs.
        dtype: Of the encoder, float32 or bfloat16; codes are compared in float32 either way.

    Raises:
        ConfigError: Another dtype.
        ModelError: The device has too little memory.
    """

    def __init__(
        self,
        config: SpeechTokenizerConfig,
        state: dict[str, torch.Tensor],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if dtype not in {torch.float32, torch.bfloat16}:
            raise ConfigError(
                f"the speech tokenizer runs in torch.float32 or torch.bfloat16, not {dtype}"
            )
        self.config = config
        self.device = torch.device(device)
        self.dtype = dtype
        self._token_samples = HOP_SAMPLES * STRIDE * config.pooling
        with torch.device("meta"):
            network = WhisperVQ(config)
        network.load_state_dict(state, strict=True, assign=True)
        self._network = network
        self._prepared: PreparedBatches | None = None
        self._stream: torch.cuda.Stream | None = None
        self._waiting: list[_Request] = []
        self._turn = threading.Lock()
        self._turns = turns_on(self.device)
        with self._memory("a larger GPU, or device 'cpu'"):
            network.to(self.device, dtype).requires_grad_(requires_grad=False).eval()
            network.codebook.weight = torch.nn.Parameter(
                state["codebook.weight"].to(self.device, torch.float32), requires_grad=False
            )

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        check_finite: bool = False,
    ) -> SpeechTokenizer:
        """Load a released or converted speech tokenizer.

        Args:
            folder: Its tree.
            device: Where it runs.
            dtype: Of the encoder, float32 or bfloat16.
            check_finite: Refuse weights that are NaN or infinite.

        Raises:
            CheckpointError: A file is missing, damaged, or of another network.
            ConfigError: Another dtype.
            ModelError: The device has too little memory.
        """
        config, state = load_speech_tokenizer(folder, check_finite=check_finite)
        return cls(config, state, device=device, dtype=dtype)

    def warm(self) -> None:
        """On a CUDA device, record graphs of all lengths up to 30 s in batches; takes seconds.

        Afterwards no clip meets a shape that was not prepared.

        Raises:
            ModelError: The device has too little memory.
        """
        if self.device.type == "cuda":
            self._stream = torch.cuda.Stream(self.device, priority=FIRST)  # type: ignore[no-untyped-call]
            self._stream.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(self._stream):
                self.prepare(record_cuda(self.device))
            torch.cuda.empty_cache()  # what the runs before the recordings took

    def prepare(self, record: Recorder) -> None:
        """Prepare all lengths up to 30 s in batches.

        Args:
            record: Makes graphs of them.

        Raises:
            ModelError: The device has too little memory.
        """
        with self._turn, self._memory("a larger GPU, or device 'cpu'", pieces=BATCH):
            self._prepared = PreparedBatches(
                self._network,
                record,
                token_samples=self._token_samples,
                frame_samples=HOP_SAMPLES * STRIDE,
            )

    def encode(self, clips: Sequence[Audio], *, batch_size: int = BATCH) -> list[list[int]]:
        """Return the tokens of each clip: one per started 80 ms, in pieces of 30 s.

        Calls of several threads at the same time share batches; calls with few pieces go first.

        Args:
            clips: Of any length and rate; one without samples has no tokens.
            batch_size: Most pieces per batch.

        Returns:
            For each clip, ids of 0 up to the size of the codebook.

        Raises:
            AudioError: A sample is NaN or infinite.
            ModelError: The device has too little memory.
        """
        pieces = [
            _Waiting(number, Piece(part, reflect, self._wave(part, reflect)))
            for number, samples in enumerate(map(self._samples, clips))
            for start in range(0, len(samples), PIECE)
            for part in [samples[start : start + PIECE]]
            for reflect in [not (start and len(part) < PIECE)]
        ]
        request = _Request(pieces, batch_size)
        self._waiting.append(request)
        try:
            with self._turns.asked():
                if self._turns.reading:
                    request.over.wait(self._gathering())
                while not request.done:
                    with self._turn:
                        if not request.done:
                            self._encode_batch()
        finally:
            self._waiting.remove(request)
        if request.error is not None:
            raise request.error
        tokens: list[list[int]] = [[] for _ in clips]
        for piece in pieces:
            tokens[piece.clip] += piece.ids or ()
        return tokens

    def _wave(self, samples: Samples, reflect: bool) -> Samples | None:
        """Return what a prepared batch takes, made by the caller's thread: others wait for it."""
        if self._prepared is None:
            return None
        return mirrored(samples, multiple=self._token_samples, reflect=reflect)

    def _gathering(self) -> float:
        """Return the seconds for which a clip waits for others while prompts are read."""
        queue = self._turns.seconds_for(self._turns.reading_steps) or 0.0
        return max(GATHERING_SECONDS, min(MOST_GATHERING_SECONDS, QUEUE_SHARE * queue))

    def _encode_batch(self) -> None:
        """Encode the pieces that go first, of all calls that wait."""
        requests = [one for one in tuple(self._waiting) if not one.done]
        try:
            self._encode_of(requests)
        finally:
            for request in requests:
                if request.done:
                    request.over.set()

    def _encode_of(self, requests: list[_Request]) -> None:
        requests.sort(key=lambda one: len(one.left))
        first = min(requests[0].left, key=lambda piece: len(piece.piece.samples))
        length = self._length(first)
        largest = min(one.batch_size for one in requests)
        if self._prepared is not None:
            largest = min(largest, self._prepared.largest(length))
        taken = [
            (request, piece)
            for request in requests
            for piece in sorted(request.left, key=lambda one: len(one.piece.samples))
            if self._length(piece) == length
        ][:largest]
        try:
            self._fill([piece for _, piece in taken], requests[0].batch_size)
        except Exception as error:  # noqa: BLE001 - given to the call that it belongs to
            if all(request is requests[0] for request, _ in taken):
                requests[0].error = error
                return
        else:
            return
        for request in dict.fromkeys(request for request, _ in taken):
            try:
                self._fill([piece for one, piece in taken if one is request], request.batch_size)
            except Exception as error:  # noqa: BLE001 - given to the call that it belongs to
                request.error = error

    def _fill(self, waiting: list[_Waiting], batch_size: int) -> None:
        """Find the tokens of pieces of one length."""
        with (
            self._memory(f"a batch_size below {batch_size}", pieces=len(waiting)),
            self._turns.take(),
        ):
            pieces = [one.piece for one in waiting]
            if self._prepared is None:
                ids = self._encode(pieces)
            else:
                with self._on_stream():
                    ids = self._prepared.encode(pieces, self._length(waiting[0]))
        for one, row in zip(waiting, ids, strict=True):
            one.ids = row[: self._tokens(one)]

    def _tokens(self, waiting: _Waiting) -> int:
        return -(-len(waiting.piece.samples) // self._token_samples)

    def _length(self, waiting: _Waiting) -> int:
        return length_of(self._tokens(waiting))

    def _on_stream(self) -> AbstractContextManager[object]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def _memory(self, choose: str, *, pieces: int = 0) -> AbstractContextManager[None]:
        room = f" plus room for {pieces} pieces of up to 30 s" if pieces else ""
        weights = nbytes(self._network.parameters())
        return telling_what_is_needed(
            self.device,
            f"the speech tokenizer takes {weights / 1e9:.1f} GB{room}",
            f"{choose}, dtype torch.bfloat16, or 8 or 4 bits for the language model",
        )

    @staticmethod
    def _samples(clip: Audio) -> Samples:
        samples = resample(clip, SAMPLE_RATE_HZ).samples if len(clip.samples) else clip.samples
        if not np.isfinite(samples).all():
            raise AudioError(
                "a clip has samples that are NaN or infinite; speech tokens are made of finite "
                "ones, as voicerag_core.read_audio gives them"
            )
        return samples

    @torch.inference_mode()
    def _encode(self, pieces: list[Piece]) -> list[list[int]]:
        """Encode pieces together, padded to the longest.

        The reference fills a later piece with zeros up to the length of the first, so that its
        last windows see zeros, and not the end mirrored.
        """
        features = [
            log_mel(
                piece.samples,
                bands=self.config.mels,
                multiple=self._token_samples,
                reflect=piece.reflect,
                device=self.device,
            )
            for piece in pieces
        ]
        longest = max(one.shape[1] for one in features)
        batch = torch.zeros(len(pieces), self.config.mels, longest, device=self.device)
        for row, one in zip(batch, features, strict=True):
            row[:, : one.shape[1]] = one
        lengths = [-(-len(piece.samples) // (HOP_SAMPLES * STRIDE)) for piece in pieces]
        ids: list[list[int]] = self._network(
            batch.to(self.dtype), torch.tensor(lengths, device=self.device)
        ).tolist()
        return ids


@dataclass(slots=True, eq=False)
class _Waiting:
    """A piece of a clip, and its tokens once they are found."""

    clip: int
    piece: Piece
    ids: list[int] | None = None


@dataclass(slots=True, eq=False)
class _Request:
    """One call of `SpeechTokenizer.encode`."""

    pieces: list[_Waiting]
    batch_size: int
    error: BaseException | None = None
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def left(self) -> list[_Waiting]:
        """Pieces without tokens."""
        return [piece for piece in self.pieces if piece.ids is None]

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.error is not None or not self.left
