"""The flow in batches of prepared shapes, as CUDA graphs: a thousand small kernels at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from voicerag_core.cancellation import check_cancelled
from voicerag_core.glm.decoder.flow import STEPS, Flow, sources
from voicerag_core.glm.decoder.rows import copied, copy_rows
from voicerag_core.glm.recording import Recorder

__all__ = ["FlowGraphs", "Window"]

TOKENS_ALIGNED = 8


@dataclass(frozen=True, slots=True)
class Window:
    """What the flow makes mel of.

    Args:
        tokens: Speech tokens.
        noise: Shape [1, mels, T], float32; T frames are made.
        known: Shape [1, mels, K], float32: mel of the first frames.
    """

    tokens: Sequence[int]
    noise: Tensor
    known: Tensor


class FlowGraphs:
    """Makes mel by replaying graphs of prepared shapes; for one thread at a time.

    A graph holds one Euler step, so another batch may come between two of them.

    Args:
        flow: Its weights must stay where they are.
        record: Makes the graphs; None: none are made, and other tensors serve each call.
    """

    def __init__(self, flow: Flow, record: Recorder | None) -> None:
        self._flow = flow
        self._record = record
        self._exact: dict[tuple[int, int], _Batch] = {}
        self._padded: dict[tuple[int, int], _Batch] = {}

    def record(self, windows: Iterable[tuple[int, int]], padded: Iterable[tuple[int, int]]) -> None:
        """Record graphs.

        Args:
            windows: Tokens and frames of single windows that are not padded.
            padded: Rows and frames of batches.
        """
        for tokens, frames in sorted(windows, reverse=True):
            if (tokens, frames) not in self._exact:
                batch = _Batch(self._flow, 1, tokens, frames, padded=False)
                self._exact[tokens, frames] = batch.recorded(self._record)
        for rows, frames in sorted(padded, key=lambda shape: shape[0] * shape[1], reverse=True):
            if (rows, frames) not in self._padded:
                self._padded[rows, frames] = self._made(rows, frames).recorded(self._record)

    def mel(
        self,
        windows: Sequence[Window],
        rows: int,
        frames: int,
        *,
        between: Callable[[], None] = check_cancelled,
    ) -> list[Tensor]:
        """Make the mel of windows, of one alone without padding if its length was recorded.

        Args:
            windows: At most `rows`, none longer than `frames`.
            rows: Of the batch; the last window fills it.
            frames: Of the batch.
            between: Called before each Euler step.

        Returns:
            For each window shape [1, mels, T], float32.
        """
        batch = self._padded.get((rows, frames))
        if len(windows) == 1:
            shape = len(windows[0].tokens), windows[0].noise.shape[-1]
            batch = self._exact.get(shape, batch)
        return (batch or self._made(rows, frames)).mel(windows, between)

    def _made(self, rows: int, frames: int) -> _Batch:
        tokens = self._flow.tokens(frames)
        return _Batch(self._flow, rows, -(-tokens // TOKENS_ALIGNED) * TOKENS_ALIGNED, frames)


class _Batch:
    """The tensors of one shape, and what runs on them."""

    def __init__(
        self, flow: Flow, rows: int, tokens: int, frames: int, *, padded: bool = True
    ) -> None:
        self._flow = flow
        device, mels = flow.device, flow.config.mels
        dtype = flow.unet.final_proj.weight.dtype
        sizes, shifts = flow.steps()
        self._sizes = torch.tensor(sizes, device=device)
        self._shifts = torch.stack([torch.cat(one, dim=1) for one in shifts])
        self._channels = [shift.shape[1] for shift in shifts[0]]
        self._padded = padded
        self._tokens = torch.zeros(rows, tokens, dtype=torch.int64, device=device)
        self._source = torch.zeros(rows, frames, dtype=torch.int64, device=device)
        self._counts = torch.ones(2, rows, 1, dtype=torch.int64, device=device)
        self._known = torch.zeros(rows, mels, frames, device=device)
        self._x = torch.zeros(rows, mels, frames, device=device)
        self._context = torch.zeros(2 * rows, 3 * mels, frames, dtype=dtype, device=device)
        self._index = torch.zeros(1, dtype=torch.int64, device=device)
        self._begin: Callable[[], None] = self._condition
        self._next: Callable[[], None] = self._step

    def recorded(self, record: Recorder | None) -> _Batch:
        """Replay from now on what is done to the tensors."""
        if record is not None:
            self._begin = record(self._condition)
            self._index.zero_()
            self._next = record(self._step)
        return self

    @torch.inference_mode()
    def mel(self, windows: Sequence[Window], between: Callable[[], None]) -> list[Tensor]:
        """Make the mel of windows that fit."""
        self._fill(windows)
        self._begin()
        for _ in range(STEPS):
            between()
            self._next()
        return copied(
            [
                self._x[row : row + 1, :, : window.noise.shape[-1]]
                for row, window in enumerate(windows)
            ]
        )

    def _fill(self, windows: Sequence[Window]) -> None:
        rows, tokens = self._tokens.shape
        filled = [*windows, *[windows[-1]] * (rows - len(windows))]
        counts = [len(window.tokens) for window in filled]
        frames = [window.noise.shape[-1] for window in filled]
        ids = torch.zeros(rows, tokens, dtype=torch.int64)
        self._x.zero_()
        self._known.zero_()
        for row, window in enumerate(filled):
            ids[row, : counts[row]] = torch.tensor(window.tokens)
        for held, given in (
            (self._x, [window.noise[0] for window in filled]),
            (self._known, [window.known[0] for window in filled]),
        ):
            places = zip(held.unbind(), given, strict=True)
            copy_rows([row[:, : one.shape[-1]] for row, one in places], given)
        self._tokens.copy_(ids)
        self._source.copy_(sources(counts, frames, self._source.shape[1]))
        self._counts.copy_(torch.tensor([counts, frames])[..., None])
        self._index.zero_()

    def _mask(self) -> Tensor | None:
        if not self._padded:
            return None
        place = torch.arange(self._x.shape[-1], device=self._x.device)
        return (place < self._counts[1])[:, None]

    @torch.inference_mode()
    def _condition(self) -> None:
        valid = None
        if self._padded:
            place = torch.arange(self._tokens.shape[1], device=self._x.device)
            valid = place < self._counts[0]
        self._context.copy_(
            self._flow.condition(self._tokens, self._source, self._known, valid, self._mask())
        )

    @torch.inference_mode()
    def _step(self) -> None:
        mask = self._mask()
        shifts = torch.split(self._shifts.index_select(0, self._index)[0], self._channels, dim=1)
        size = self._sizes.index_select(0, self._index)
        both = None if mask is None else torch.cat((mask, mask))
        self._x.copy_(self._flow.step(self._x, self._context, both, size, shifts))
        self._index += 1
