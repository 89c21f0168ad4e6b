"""Mel to sound: pitch, a harmonic source, and a generator that ends in an inverse transform.

Tensor names are those of the released ``hift.pt`` with the weight norm folded.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

from voicerag_core.errors import CheckpointError
from voicerag_core.glm.device_memory import has_triton
from voicerag_core.glm.weights.configs import HiFTConfig

__all__ = ["PITCH_REACH", "HiFT", "load_hift"]

PITCH_REACH = 5
"""Frames on each side that the pitch of a frame depends on: five convolutions of width 3."""
SNAKE_EPS = 1e-9
LOUDEST = 1e2
"""Largest magnitude of a spectral line. Source: cosyvoice/hifigan/generator.py, `_istft`."""


class HiFT(nn.Module):
    """The released vocoder, except the sampling of its source, which `harmonics` does.

    Args:
        config: Sizes.

    Source: Li et al., "HiFTNet" (2023); cosyvoice/hifigan/{generator,f0_predictor}.py of
    THUDM/GLM-4-Voice @ eb00ce9.
    """

    window: Tensor

    def __init__(self, config: HiFTConfig) -> None:
        super().__init__()
        self.config = config
        spectrum = config.istft_size + 2
        self.m_source = nn.ModuleDict({"l_linear": nn.Linear(config.harmonics + 1, 1)})
        self.conv_pre = nn.Conv1d(config.mels, config.channels, 7, padding=3)
        self.ups, self.source_downs = nn.ModuleList(), nn.ModuleList()
        self.source_resblocks, self.resblocks = nn.ModuleList(), nn.ModuleList()
        wide = config.channels
        for i, (rate, kernel) in enumerate(
            zip(config.upsample_rates, config.upsample_kernels, strict=True)
        ):
            out = config.channels // 2 ** (i + 1)
            self.ups.append(
                nn.ConvTranspose1d(wide, out, kernel, stride=rate, padding=(kernel - rate) // 2)
            )
            self.source_downs.append(_source_down(spectrum, out, config.upsample_rates[i + 1 :]))
            self.source_resblocks.append(
                _Residual(out, config.source_kernels[i], config.source_dilations[i])
            )
            for width, dilations in zip(
                config.resblock_kernels, config.resblock_dilations, strict=True
            ):
                self.resblocks.append(_Residual(out, width, dilations))
            wide = out
        self.conv_post = nn.Conv1d(wide, spectrum, 7, padding=3)
        self.f0_predictor = _PitchPredictor(config.mels, config.f0_channels)
        self._exact_predictor: tuple[nn.Module] | None = None  # no part of the state
        self.register_buffer("window", torch.hann_window(config.istft_size), persistent=False)

    @property
    def hop_samples(self) -> int:
        """Samples of one mel frame."""
        return math.prod(self.config.upsample_rates) * self.config.istft_hop

    @property
    def reach(self) -> int:
        """Frames on each side of a sample, of mel or of source, that it can depend on."""
        config = self.config
        columns = 3.0 + config.istft_size / config.istft_hop  # last convolution, both transforms
        source_columns = columns
        for i in reversed(range(len(config.upsample_rates))):
            residual = max(map(_span, config.resblock_kernels, config.resblock_dilations))
            side = _span(config.source_kernels[i], config.source_dilations[i])
            source_columns = max(source_columns, columns + residual + side + 1)
            columns = (columns + residual + 1) / config.upsample_rates[i] + 1
            source_columns = source_columns / config.upsample_rates[i] + 1
        return math.ceil(max(columns + 3, source_columns))

    def pitch(self, mel: Tensor) -> Tensor:
        """Predict the fundamental frequency, shape [B, mels, T] -> [B, T], Hz."""
        hz: Tensor = self.f0_predictor(mel)
        return hz

    def exact_pitch(self, mel: Tensor, mask: Tensor | None = None) -> Tensor:
        """Predict it in float64, so that a phase summed over it does not depend on the pieces.

        Rounding to float32 differs with the length of the input, and a sum of it drifts.

        Args:
            mel: Shape [B, mels, T].
            mask: Shape [B, 1, T], bool, False beyond the end of a row; None: nowhere.
        """
        if self._exact_predictor is None:
            self._exact_predictor = (copy.deepcopy(self.f0_predictor).double(),)
        hz: Tensor = self._exact_predictor[0](mel.double(), mask)
        return hz

    def excitation(self, sines: Tensor) -> Tensor:
        """Merge the harmonics, shape [B, harmonics + 1, L] -> [B, 1, L]."""
        return torch.tanh(self.m_source["l_linear"](sines.transpose(1, 2))).transpose(1, 2)

    def forward(self, mel: Tensor, source: Tensor, frames: Tensor | None = None) -> Tensor:
        """Make sound.

        Args:
            mel: Shape [B, mels, T], float32.
            source: Shape [B, 1, T * hop_samples], float32.
            frames: Shape [B], int64: where each row ends, with zero mel behind; None: at T.

        Returns:
            Shape [B, T * hop_samples], float32; beyond the end of a row it has no meaning.
        """
        config = self.config
        lines = self._spectrum(source[:, 0], frames)
        ends = frames
        x = _ended(self.conv_pre(mel), ends)
        each = len(config.resblock_kernels)
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, config.slope))
            last = i == len(self.ups) - 1
            if last:
                x = F.pad(x, (1, 0), mode="reflect")
            ends = None if ends is None else ends * config.upsample_rates[i] + last
            x = _ended(x, ends)
            side = _ended(self.source_downs[i](lines), ends)
            x = x + self.source_resblocks[i](side, ends)
            blocks = self.resblocks[i * each : (i + 1) * each]
            x = functools.reduce(torch.add, [block(x, ends) for block in blocks]) / each
        x = self.conv_post(F.leaky_relu(x))
        half = config.istft_size // 2 + 1
        magnitude = x[:, :half].exp().clamp(max=LOUDEST)
        samples = self._inverse(torch.polar(magnitude, x[:, half:].sin()), ends)
        return samples.clamp(-config.limit, config.limit)

    def _spectrum(self, wave: Tensor, frames: Tensor | None) -> Tensor:
        """Transform shape [B, L] to [B, istft_size + 2, L / hop + 1]; zero beyond the end."""
        size, hop = self.config.istft_size, self.config.istft_hop
        if frames is not None:  # mirror each row at its own end
            place = torch.arange(wave.shape[-1] + size // 2, device=wave.device)
            end = (frames * self.hop_samples)[:, None]
            place = torch.where(place < end, place, 2 * (end - 1) - place)
            wave = F.pad(wave.gather(1, place.clamp(min=0)), (size // 2, 0), mode="reflect")
        spectrum = torch.stft(
            wave, size, hop, window=self.window, center=frames is None, return_complex=True
        )
        lines = torch.cat((spectrum.real, spectrum.imag), dim=1)
        return _ended(lines, None if frames is None else frames * (self.hop_samples // hop) + 1)

    def _inverse(self, lines: Tensor, ends: Tensor | None) -> Tensor:
        """Overlap-add the inverse transforms, shape [B, F, C] -> [B, (C - 1) * hop].

        `torch.istft` checks its window on the host, which would stall a GPU at every call.
        """
        size, hop = self.config.istft_size, self.config.istft_hop
        columns = lines.shape[-1]
        pieces = torch.fft.irfft(lines, n=size, dim=1) * self.window[:, None]
        weights = self.window.square()[:, None].expand(-1, columns)[None]
        if ends is not None:
            pieces = _ended(pieces, ends)
            weights = _ended(weights.expand(len(lines), -1, -1), ends)
        length = (columns - 1) * hop + size
        added = F.fold(pieces, (1, length), (1, size), stride=(1, hop))[:, 0, 0]
        envelope = F.fold(weights, (1, length), (1, size), stride=(1, hop))[:, 0, 0]
        inside = slice(size // 2, length - size // 2)
        return added[:, inside] / envelope[:, inside]


def _ended(x: Tensor, ends: Tensor | None) -> Tensor:
    """Put zeros beyond the end of each row, as the edge of a convolution has them.

    Args:
        x: Shape [B, C, T].
        ends: Shape [B], int64; None: at T.
    """
    if ends is None:
        return x
    place = torch.arange(x.shape[-1], device=x.device)
    return x.masked_fill((place >= ends[:, None])[:, None], 0.0)


def load_hift(
    config: HiFTConfig, state: Mapping[str, Tensor], *, device: torch.device | str = "cpu"
) -> HiFT:
    """Make a vocoder from weights whose weight norm is folded; it runs in float32.

    Args:
        config: Sizes.
        state: Every tensor by its name, and no other.
        device: Where it runs.

    Raises:
        CheckpointError: A tensor is missing, too much, or of another shape.
    """
    hift = HiFT(config)
    try:
        hift.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights given are not those of a vocoder of these sizes: {error}; load them "
            "with load_decoder, which gives the sizes that belong to them"
        ) from error
    return hift.requires_grad_(False).eval().to(device)


class _Residual(nn.Module):
    """Dilated convolutions after periodic activations, each pair with a residual."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=one, padding=_half(kernel) * one)
            for one in dilations
        )
        self.convs2 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, padding=_half(kernel)) for _ in dilations
        )
        self.activations1 = nn.ModuleList(_Snake(channels) for _ in dilations)
        self.activations2 = nn.ModuleList(_Snake(channels) for _ in dilations)

    def forward(self, x: Tensor, ends: Tensor | None) -> Tensor:
        """Add to shape [B, C, T]; see `_ended`."""
        fused = ends is not None
        for first, second, before, between in zip(
            self.convs1, self.convs2, self.activations1, self.activations2, strict=True
        ):
            inner = _ended(first(before(x, fused)), ends)
            x = x + _ended(second(between(inner, fused)), ends)
        return x


class _Snake(nn.Module):
    """A periodic activation. Source: Ziyin et al., "Neural Networks Fail to Learn Periodic
    Functions" (2020), equation 3."""  # noqa: D205, D209

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor, fused: bool) -> Tensor:
        if fused and x.is_cuda and has_triton():
            from voicerag_core.glm.decoder.kernels import snake

            return snake(x, self.alpha, SNAKE_EPS)
        alpha = self.alpha[:, None]
        return x + (1.0 / (alpha + SNAKE_EPS)) * torch.sin(x * alpha).square()


class _PitchPredictor(nn.Module):
    """Fundamental frequency of each frame."""

    def __init__(self, mels: int, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for given in (mels, *[channels] * (PITCH_REACH - 1)):
            layers += [nn.Conv1d(given, channels, 3, padding=1), nn.ELU()]
        self.condnet = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, 1)

    def forward(self, mel: Tensor, mask: Tensor | None = None) -> Tensor:
        x = mel
        for layer in self.condnet:
            x = layer(x)
            if mask is not None and isinstance(layer, nn.ELU):
                x = x.masked_fill(~mask, 0.0)
        hz: Tensor = self.classifier(x.transpose(1, 2))
        return hz.squeeze(-1).abs()


def _source_down(spectrum: int, out: int, later_rates: tuple[int, ...]) -> nn.Conv1d:
    """Bring the spectrum of the source to the rate of a level."""
    rate = math.prod(later_rates)
    if rate == 1:
        return nn.Conv1d(spectrum, out, 1)
    return nn.Conv1d(spectrum, out, 2 * rate, stride=rate, padding=rate // 2)


def _half(kernel: int) -> int:
    return (kernel - 1) // 2


def _span(kernel: int, dilations: tuple[int, ...]) -> int:
    """Return the columns on each side that a residual block reaches."""
    return sum(_half(kernel) * (one + 1) for one in dilations)
