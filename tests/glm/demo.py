"""The arithmetic of the upstream demo over our networks: what it computes, defects included.

Only dropout, which the demo leaves on, is off, and the noise comes from a separate generator.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import GenerationError
from voicerag_core.glm.decoder import DecoderNetworks
from voicerag_core.glm.decoder.schedule import checked_tokens
from voicerag_core.glm.decoder.source import noise_level
from voicerag_core.glm.weights.configs import HiFTConfig
from voicerag_core.types import Samples

__all__ = [
    "DEMO_BLOCKS",
    "DEMO_SEED",
    "DemoStream",
    "demo_decode",
    "demo_vocoder",
    "frames_float32",
    "harmonics_float32",
]

DEMO_BLOCKS = (25, 50, 100, 150, 200)
"""Source: web_demo.py of THUDM/GLM-4-Voice @ eb00ce9, `block_size_list`."""
DEMO_SEED = 42
"""Source: cosyvoice/flow/flow_matching.py of the same, `ConditionalCFM.forward`."""


class DemoStream:
    """Decodes one reply as the demo does: all tokens again with all mel so far, for every block.

    Each block is faded into the last with a Hamming window over 34 frames, whose halves do not
    sum to one; a frame that is cached for the vocoder is counted twice, so that the reply becomes
    shorter; and the phase starts anew in every block.

    Args:
        networks: Shared.
        block_tokens: Tokens of the first, second, ... block; the last number goes on for ever.

    Source: flow_inference.py, `AudioDecoder.token2wav`, and web_demo.py of
    THUDM/GLM-4-Voice @ eb00ce9.
    """

    def __init__(
        self, networks: DecoderNetworks, block_tokens: tuple[int, ...] = DEMO_BLOCKS
    ) -> None:
        self._networks = networks
        self._sizes = block_tokens
        self._blocks = 0
        self._past: list[int] = []
        self._pending: list[int] = []
        self._mels: list[Tensor] = []
        self._held: Tensor | None = None
        self._frame: Tensor | None = None
        self._source: Tensor | None = None
        self._closed = False

    def __enter__(self) -> Self:
        """Return the stream itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed or finished."""
        return self._closed

    def close(self) -> None:
        """Stop, and let go of what is held."""
        self._closed = True
        self._mels.clear()
        self._held = self._frame = self._source = None

    def push(self, tokens: Iterable[int]) -> Samples:
        """Take more speech tokens; a block is decoded when the token after it comes.

        See `DecoderStream.push`.
        """
        made = [np.zeros(0, np.float32)]
        self._check_open()
        for token in checked_tokens(tokens, self._networks.config.flow.vocab_size):
            if len(self._pending) >= self._sizes[min(self._blocks, len(self._sizes) - 1)]:
                made.append(self._decode(last=False))
            self._pending.append(token)
        return np.concatenate(made)

    def finish(self) -> Samples:
        """Decode the tokens that are left, if any, and close."""
        self._check_open()
        try:
            return self._decode(last=True) if self._pending else np.zeros(0, np.float32)
        finally:
            self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise GenerationError("this stream is closed; open one for each reply")

    @torch.inference_mode()
    def _decode(self, *, last: bool) -> Samples:
        check_cancelled()
        with self._networks.exclusive():
            generator = torch.Generator().manual_seed(DEMO_SEED)
            mel = self._mel(generator)
            if self._frame is not None:
                mel = torch.cat((self._frame, mel), dim=-1)
            overlap, hop = self._networks.overlap_frames, self._networks.config.hop_samples
            if not last:
                self._held = mel[:, :, -overlap:]
                mel = mel[:, :, :-overlap]
            sound, source = demo_vocoder(self._networks, mel, generator, self._source)
            if not last:
                self._frame, self._source = mel[:, :, -1:], source[:, :, -hop:]
                sound = sound[:, :-hop]
        self._mels.append(mel)
        self._past += self._pending
        self._pending = []
        self._blocks += 1
        made: Samples = sound[0].cpu().numpy()
        return made

    def _mel(self, generator: torch.Generator) -> Tensor:
        """Make the mel after the prompt, faded from what the last block held back."""
        networks = self._networks
        tokens = self._past + self._pending
        frames = frames_float32(networks, len(tokens))
        noise = torch.randn(1, networks.config.flow.mels, frames, generator=generator)
        known = torch.cat(self._mels, dim=-1) if self._mels else None
        mel = networks.flow.mel(
            torch.tensor([tokens], device=networks.device), noise.to(networks.device), known=known
        )
        mel = mel if known is None else mel[:, :, known.shape[-1] :].clone()
        if self._held is not None:
            size = networks.overlap_frames
            window = torch.from_numpy(np.hamming(2 * size)).to(mel.device)
            rise, fall = window[:size], window[size:]
            mel[:, :, :size] = mel[:, :, :size] * rise + self._held * fall
        return mel


def demo_vocoder(
    networks: DecoderNetworks,
    mel: Tensor,
    generator: torch.Generator,
    cached_source: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Make sound from mel with a source that begins at phase zero.

    Args:
        networks: Whose vocoder.
        mel: Shape [B, mels, T], float32.
        generator: Of the phases and the noise, drawn as the demo draws them.
        cached_source: Shape [B, 1, S], put in the place of the first S samples of the source.

    Returns:
        Sound of shape [B, T * hop_samples] and its source, shape [B, 1, T * hop_samples].
    """
    hift, config = networks.hift, networks.config
    sines = harmonics_float32(
        hift.pitch(mel), config.hop_samples, config.hift, config.sample_rate, generator
    )
    source = hift.excitation(sines)
    if cached_source is not None:
        source[:, :, : cached_source.shape[-1]] = cached_source
    return hift(mel, source), source


def demo_decode(networks: DecoderNetworks, tokens: list[int]) -> Samples:
    """Decode a whole reply as the demo does, one token after another."""
    with DemoStream(networks) as stream:
        pieces = [stream.push((token,)) for token in tokens]
        return np.concatenate([*pieces, stream.finish()])


def frames_float32(networks: DecoderNetworks, tokens: int) -> int:
    """Count mel frames as the demo does; one short for some replies above 271 s."""
    config = networks.config
    seconds = torch.tensor([tokens], dtype=torch.int32) / config.flow.token_rate
    return int((seconds * config.sample_rate / config.hop_samples).int())


def harmonics_float32(
    hz: Tensor, samples: int, config: HiFTConfig, sample_rate: int, generator: torch.Generator
) -> Tensor:
    """Make the source as the upstream demo does: phase from zero, summed in float32 by sample.

    Args:
        hz: Pitch, shape [B, T], float32.
        samples: Of one frame.
        config: Amplitudes.
        sample_rate: Hz.
        generator: Draws the offsets, then the noise.

    Returns:
        Shape [B, harmonics + 1, T * samples], float32.
    """
    rows, tones = hz.shape[0], config.harmonics + 1
    by_sample = hz.repeat_interleave(samples, dim=1)
    cycles = torch.stack([by_sample * (i + 1) / sample_rate for i in range(tones)], dim=1)
    angle = 2 * math.pi * (cycles.cumsum(-1) % 1)
    uniform = torch.rand(rows, tones, 1, generator=generator, device=generator.device)
    offsets = (-math.pi + uniform * (2 * math.pi)).to(hz.device)
    offsets[:, 0] = 0.0
    voiced = (by_sample > config.voiced_hz).float()[:, None]
    noise = torch.randn(angle.shape, generator=generator, device=generator.device).to(hz.device)
    waves = config.sine_amplitude * torch.sin(angle + offsets)
    return waves * voiced + noise_level(voiced, config) * noise
