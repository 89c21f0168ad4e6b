"""Speech tokens to mel by conditional flow matching."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from voicerag_core.cancellation import check_cancelled
from voicerag_core.errors import CheckpointError
from voicerag_core.glm.decoder.encoder import TokenEncoder
from voicerag_core.glm.decoder.unet import UNet, fused_attention, group_norm
from voicerag_core.glm.device_memory import has_triton
from voicerag_core.glm.weights.configs import FlowConfig

if TYPE_CHECKING:
    from voicerag_core.glm.decoder.fused_unet import FusedUNet

__all__ = ["STEPS", "Flow", "Sampler", "load_flow", "sources"]

STEPS = 10
"""Euler steps. Source: cosyvoice/flow/flow.py of THUDM/GLM-4-Voice @ eb00ce9, `n_timesteps`."""


class Sampler(Protocol):
    """Turns noise into mel; see `Flow.integrate`, which is one."""

    def __call__(self, noise: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """Integrate."""
        ...


class Flow(nn.Module):
    """The released ``flow.pt``: token encoder, length regulator, and a flow with a U-Net.

    The speaker vector of the released model is always zero, so there is one voice.

    Args:
        config: Sizes.
        sample_rate: Hz of the sound that the mel describes.
        hop_samples: Samples of one mel frame.

    Source: cosyvoice/flow/{flow,flow_matching,length_regulator}.py of THUDM/GLM-4-Voice @ eb00ce9.
    """

    def __init__(self, config: FlowConfig, *, sample_rate: int, hop_samples: int) -> None:
        super().__init__()
        self.config = config
        self._rates = (sample_rate, config.token_rate * hop_samples)
        self.input_embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        self.spk_embed_affine_layer = nn.Linear(config.speaker_size, config.mels)
        self.encoder = TokenEncoder(config)
        self.encoder_proj = nn.Linear(config.encoder_size, config.mels)
        self.length_regulator = _Regulator(config)
        self.decoder = nn.ModuleDict({"estimator": UNet(config)})
        self._shifts: tuple[tuple[Tensor, ...], ...] | None = None
        self._sizes: tuple[float, ...] = ()
        self._fused: FusedUNet | None = None

    @property
    def unet(self) -> UNet:
        """The velocity field."""
        unet = self.decoder["estimator"]
        assert isinstance(unet, UNet)
        return unet

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.input_embedding.weight.device

    def frames(self, tokens: int) -> int:
        """Return the number of mel frames of a reply; exact for any number of tokens."""
        samples, divisor = self._rates
        return int(tokens * samples // divisor)

    def tokens(self, frames: int) -> int:
        """Return the most tokens of a window that has so many mel frames."""
        samples, divisor = self._rates
        return int((frames + 1) * divisor / samples)

    def prepare(self) -> None:
        """Compute what depends only on the weights; call it after they were loaded."""
        times, self._sizes = _euler(self.device)
        self._shifts = self.unet.time_shifts(times)
        self._fused = _fused(self.unet)

    @torch.inference_mode()
    def mel(
        self,
        tokens: Tensor,
        noise: Tensor,
        *,
        known: Tensor | None = None,
        token_counts: Sequence[int] | None = None,
        frame_counts: Sequence[int] | None = None,
        known_counts: Sequence[int] | None = None,
        sampler: Sampler | None = None,
    ) -> Tensor:
        """Make the mel of a batch of token sequences.

        Args:
            tokens: Shape [B, N], int64; rows may be padded with any id.
            noise: Shape [B, mels, T], float32, standard normal; T frames are made.
            known: Shape [B, mels, K], float32: mel of the first frames, which the rest continues.
            token_counts: Tokens of each row; None: N for all.
            frame_counts: Frames of each row, T at most; None: T for all.
            known_counts: Frames of each row of `known` that count; None: K for all.
            sampler: Integrates the flow; None is `integrate`.

        Returns:
            Shape [B, mels, T], float32, natural logarithm of the mel spectrum's magnitude; the
            first K frames are made again; zero at padded frames.
        """
        rows, frames = noise.shape[0], noise.shape[-1]
        valid = _lengths_mask(token_counts, rows, tokens.shape[1], tokens.device)
        mask = _lengths_mask(frame_counts, rows, frames, tokens.device)
        mask = None if mask is None else mask[:, None]
        source = sources(
            token_counts or [tokens.shape[1]] * rows, frame_counts or [frames] * rows, frames
        )
        shown = noise.new_zeros(rows, self.config.mels, frames)
        if known is not None:
            shown[:, :, : known.shape[-1]] = known
            counted = _lengths_mask(known_counts, rows, frames, noise.device)
            if counted is not None:
                shown = shown * counted[:, None]
        context = self.condition(tokens, source.to(tokens.device), shown, valid, mask)
        return (sampler or self.integrate)(noise, context, mask)

    def condition(
        self,
        tokens: Tensor,
        source: Tensor,
        known: Tensor,
        valid: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Stack the conditioning and its absence, for classifier-free guidance.

        Args:
            tokens: Shape [B, N], int64.
            source: Shape [B, T], int64: of `sources`.
            known: Shape [B, mels, T], float32: mel that is known; zero where none is.
            valid: Shape [B, N], bool, False where `tokens` is padded; None: nowhere.
            mask: Shape [B, 1, T], bool, False at padded frames; None: nowhere.

        Returns:
            Shape [2 * B, 3 * mels, T]: tokens, speaker, known mel; zeros in the second half.
        """
        encoded = self.encoder_proj(self.encoder(self.input_embedding(tokens), valid))
        mean = self.length_regulator(encoded, source, mask)
        speaker = self.spk_embed_affine_layer.bias[None, :, None].expand_as(mean)
        guided = torch.cat((mean, speaker, known), dim=1)
        return torch.cat((guided, torch.zeros_like(guided)))

    @torch.inference_mode()
    def integrate(
        self,
        noise: Tensor,
        context: Tensor,
        mask: Tensor | None = None,
        *,
        between: Callable[[], None] = check_cancelled,
    ) -> Tensor:
        """Follow the flow from noise to mel with guidance, in one batch of both directions.

        Args:
            noise: Shape [B, mels, T], float32.
            context: Shape [2 * B, 3 * mels, T]; its second half is the unguided input.
            mask: Shape [B, 1, T], bool, or None.
            between: Called before each step.

        Raises:
            CancelledError: Between two steps, when the running call was cancelled.
        """
        context = context.to(self.unet.final_proj.weight.dtype)
        both = None if mask is None else torch.cat((mask, mask))
        x = noise
        for size, shifts in zip(*self.steps(), strict=True):
            between()
            x = self.step(x, context, both, size, shifts)
        return x if mask is None else x.masked_fill(~mask, 0.0)

    def steps(self) -> tuple[tuple[float, ...], tuple[tuple[Tensor, ...], ...]]:
        """Return the size of each Euler step, and what the U-Net adds at its time."""
        if self._shifts is None:
            self.prepare()
        assert self._shifts is not None
        return self._sizes, self._shifts

    def step(
        self,
        x: Tensor,
        context: Tensor,
        both: Tensor | None,
        size: float | Tensor,
        shifts: Sequence[Tensor],
    ) -> Tensor:
        """Take one step with guidance, in one batch of both directions.

        Args:
            x: Shape [B, mels, T], float32.
            context: Shape [2 * B, 3 * mels, T], of the U-Net's dtype.
            both: Shape [2 * B, 1, T], bool, False at padded frames; None: nowhere.
            size: Of the step.
            shifts: Of `UNet.time_shifts`, for one time.
        """
        strength = self.config.guidance
        if self._fused is not None:
            return self._fused.step(x, context, both, size, shifts, strength=strength)
        given = torch.cat((torch.cat((x, x)).to(context.dtype), context), dim=1)
        guided, plain = self.unet(given, shifts, both).float().chunk(2)
        moved: Tensor = x + size * ((1.0 + strength) * guided - strength * plain)
        return moved


def load_flow(
    config: FlowConfig,
    state: Mapping[str, Tensor],
    *,
    sample_rate: int,
    hop_samples: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Flow:
    """Make a flow from released or converted weights.

    Args:
        config: Sizes.
        state: Every tensor of ``flow.pt`` by its released name, and no other.
        sample_rate: Hz.
        hop_samples: Samples of one mel frame.
        device: Where it runs.
        dtype: Of the U-Net; the small rest stays float32.

    Raises:
        CheckpointError: A tensor is missing, too much, or of another shape.
    """
    with torch.device("meta"):
        flow = Flow(config, sample_rate=sample_rate, hop_samples=hop_samples)
    try:
        floats = {name: tensor.float() for name, tensor in fused_attention(state).items()}
        flow.load_state_dict(floats, strict=True, assign=True)
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(
            f"the weights given are not those of a flow of these sizes: {error}; load them with "
            "load_decoder, which gives the sizes that belong to them"
        ) from error
    flow.requires_grad_(False).eval().to(device)
    flow.unet.to(dtype)
    with torch.inference_mode():
        flow.prepare()
    return flow


class _Regulator(nn.Module):
    """Stretches one vector per token to mel frames and smooths them."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(config.regulator_layers):
            layers += [
                nn.Conv1d(config.mels, config.mels, 3, padding=1),
                nn.GroupNorm(1, config.mels),
                nn.Mish(),
            ]
        layers.append(nn.Conv1d(config.mels, config.mels, 1))
        self.model = nn.Sequential(*layers)

    def forward(self, encoded: Tensor, source: Tensor, mask: Tensor | None) -> Tensor:
        """Stretch shape [B, N, mels] to [B, mels, T]; zero at padded frames."""
        x = encoded.gather(1, source[:, :, None].expand(-1, -1, encoded.shape[-1]))
        x = x.transpose(1, 2)
        for layer in self.model:
            if isinstance(layer, nn.GroupNorm):
                x = group_norm(x, layer, mask)
            else:
                x = layer(x if mask is None else x.masked_fill(~mask, 0.0))
        return x if mask is None else x.masked_fill(~mask, 0.0)


def sources(token_counts: Sequence[int], frame_counts: Sequence[int], frames: int) -> Tensor:
    """Return the token behind each frame of each row, shape [B, frames], int64, on the host."""
    rows = zip(token_counts, frame_counts, strict=True)
    return torch.stack([_nearest(tokens, made, frames) for tokens, made in rows])


@lru_cache(maxsize=1024)
def _nearest(tokens: int, made: int, frames: int) -> Tensor:
    """Return the token behind each frame, as `interpolate` in mode "nearest" rounds in float32."""
    scale = torch.tensor(tokens, dtype=torch.float32) / made
    position = torch.arange(frames, dtype=torch.float32) * scale
    return position.floor().long().clamp(max=tokens - 1)


def _lengths_mask(
    counts: Sequence[int] | None, rows: int, longest: int, device: torch.device
) -> Tensor | None:
    """Return shape [rows, longest], bool, or None when every row is full."""
    if counts is None or all(count == longest for count in counts):
        return None
    lengths = torch.tensor(counts, device=device)
    assert len(lengths) == rows
    return torch.arange(longest, device=device)[None, :] < lengths[:, None]


def _fused(unet: UNet) -> FusedUNet | None:
    """Return a U-Net's faster twin where it can run: on a large GPU with Triton, in bfloat16.

    Large are those from compute capability 9.0 on with enough shared memory. Older ones, which may
    have it too, have not been tried.
    """
    weight = unet.final_proj.weight
    if not (weight.is_cuda and weight.dtype == torch.bfloat16 and has_triton()):
        return None
    from voicerag_core.glm.decoder.fused_unet import FusedUNet, fits
    from voicerag_core.glm.decoder.product_kernels import SHARED_BYTES, shared_bytes

    recent = torch.cuda.get_device_capability(weight.device) >= (9, 0)
    large = recent and shared_bytes(weight.device) >= SHARED_BYTES
    return FusedUNet(unet) if large and fits(unet) else None


def _euler(device: torch.device) -> tuple[Tensor, tuple[float, ...]]:
    """Return the time at which each step starts and its size, from 0 to 1.

    They are summed in float32 as the reference does. Source: cosyvoice/flow/flow_matching.py of
    THUDM/GLM-4-Voice @ eb00ce9, `ConditionalCFM.solve_euler`, cosine schedule.
    """
    span = 1 - torch.cos(torch.linspace(0, 1, STEPS + 1) * 0.5 * torch.pi)
    time, size = span[0], span[1] - span[0]
    times, sizes = [], []
    for step in range(1, STEPS + 1):
        times.append(time)
        sizes.append(float(size))
        time = time + size
        if step < STEPS:
            size = span[step + 1] - time
    return torch.stack(times).to(device), tuple(sizes)
