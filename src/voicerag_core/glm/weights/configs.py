"""The sizes of the three networks of GLM-4-Voice; the defaults are those of the released weights.

Source: config.json of zai-org/glm-4-voice-tokenizer and zai-org/glm-4-voice-9b, config.yaml of
zai-org/glm-4-voice-decoder.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, get_type_hints

from voicerag_core.errors import CheckpointError

__all__ = [
    "CONTEXT_TOKENS",
    "DecoderConfig",
    "FlowConfig",
    "HiFTConfig",
    "LMConfig",
    "SpeechTokenizerConfig",
]

CONTEXT_TOKENS = 8192
"""Context of the released language model, prompt and reply together."""


class _Values:
    """Turns a config into JSON values and back."""

    __slots__ = ()

    def to_values(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_values(cls, values: Mapping[str, Any], where: str) -> Self:
        """Make a config from JSON values that name each field and nothing else.

        Args:
            values: One value per field.
            where: What the values were read from, for errors.

        Raises:
            CheckpointError: A field is missing, unknown or of the wrong kind.
        """
        kinds = get_type_hints(cls)
        if not isinstance(values, Mapping) or set(values) != set(kinds):
            found = sorted(map(str, values)) if isinstance(values, Mapping) else values
            raise CheckpointError(f"{where}: expected the fields {sorted(kinds)}, found {found}")
        made: dict[str, Any] = {}
        for name, kind in kinds.items():
            value = values[name]
            if isinstance(kind, type) and issubclass(kind, _Values):
                made[name] = kind.from_values(value, f"{where}: {name}")
            else:
                made[name] = _checked(value, default=_default(cls, name), where=f"{where}: {name}")
        return cls(**made)


def _default(cls: type, name: str) -> object:
    for one in dataclasses.fields(cls):
        if one.name == name:
            return one.default
    raise KeyError(name)


def _checked(value: Any, *, default: object, where: str) -> Any:  # noqa: ANN401 - any field
    """Compare the kind of a value with that of the default, lists becoming tuples."""
    if isinstance(default, tuple) and isinstance(value, list | tuple) and value:
        return tuple(_checked(one, default=default[0], where=where) for one in value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(default) or (isinstance(value, float) and not math.isfinite(value)):
        raise CheckpointError(
            f"{where}: expected a {type(default).__name__} as in {default!r}, found {value!r}"
        )
    if isinstance(value, int) and value < 0:
        raise CheckpointError(f"{where}: expected a number of at least 0, found {value}")
    return value


@dataclass(frozen=True, slots=True)
class SpeechTokenizerConfig(_Values):
    """The Whisper encoder that ends in a codebook.

    Args:
        hidden_size: Width of the encoder.
        heads: Attention heads.
        ffn_size: Width inside the feed-forward layers.
        layers: Layers up to the quantizer.
        mels: Mel bands of the input.
        positions: Frames of 20 ms with a learned position; 30 s.
        codebook_size: Speech tokens.
        pooling: Frames of 20 ms that are averaged into one token.
        block_frames: Frames of 20 ms that attend to each other both ways.
    """

    hidden_size: int = 1280
    heads: int = 20
    ffn_size: int = 5120
    layers: int = 16
    mels: int = 128
    positions: int = 1500
    codebook_size: int = 16384
    pooling: int = 4
    block_frames: int = 200


@dataclass(frozen=True, slots=True)
class LMConfig(_Values):
    """The 9B language model, as transformers' `GlmConfig` describes it.

    Args:
        vocab_size: Rows of the input and of the output table.
        hidden_size: Width of the residual stream.
        ffn_size: Width inside the gated feed-forward layers.
        layers: Transformer layers.
        heads: Query heads.
        kv_heads: Key and value heads.
        head_dim: Width of one head; the first half of it is rotated.
        norm_eps: Added to the mean square in RMSNorm.
        rope_theta: Base of the rotary frequencies.
        max_positions: Most tokens in training.
        pad_token_id: Id that fills a batch.
        eos_token_ids: Ids that end a reply.
        dtype: Data type of the weights: "bfloat16", "float16" or "float32".
    """

    vocab_size: int = 168960
    hidden_size: int = 4096
    ffn_size: int = 13696
    layers: int = 40
    heads: int = 32
    kv_heads: int = 2
    head_dim: int = 128
    norm_eps: float = 3.90625e-08
    rope_theta: float = 10000.0
    max_positions: int = CONTEXT_TOKENS
    pad_token_id: int = 151329
    eos_token_ids: tuple[int, ...] = (151329, 151336, 151338)
    dtype: str = "bfloat16"


@dataclass(frozen=True, slots=True)
class FlowConfig(_Values):
    """Speech tokens to mel: block-causal encoder and flow-matching U-Net.

    Args:
        vocab_size: Speech tokens.
        token_rate: Speech tokens per second.
        mels: Mel bands of the output.
        embedding_size: Width of a token's embedding.
        speaker_size: Width of the speaker vector; the released model is given zeros.
        encoder_size: Width of the encoder.
        encoder_heads: Its attention heads.
        encoder_ffn_size: Width inside its feed-forward layers.
        encoder_layers: Its layers.
        block_tokens: Tokens that attend to each other both ways.
        regulator_layers: Convolutions after the encoder's output is stretched to mel frames.
        unet_channels: Width of each level of the U-Net.
        unet_heads: Attention heads of its transformer blocks.
        unet_head_dim: Width of one head.
        unet_blocks: Transformer blocks after each residual block.
        unet_mid_blocks: Residual blocks at the bottom.
        guidance: Strength of classifier-free guidance.
        sigma_min: Noise left at the end of the flow.
    """

    vocab_size: int = 16384
    token_rate: float = 12.5
    mels: int = 80
    embedding_size: int = 512
    speaker_size: int = 192
    encoder_size: int = 512
    encoder_heads: int = 8
    encoder_ffn_size: int = 2048
    encoder_layers: int = 6
    block_tokens: int = 10
    regulator_layers: int = 4
    unet_channels: tuple[int, ...] = (256, 256)
    unet_heads: int = 8
    unet_head_dim: int = 64
    unet_blocks: int = 4
    unet_mid_blocks: int = 12
    guidance: float = 0.7
    sigma_min: float = 1e-06


@dataclass(frozen=True, slots=True)
class HiFTConfig(_Values):
    """Mel to sound: a vocoder with a harmonic source and an inverse Fourier transform.

    Args:
        mels: Mel bands of the input.
        channels: Width before the first upsampling; it halves with each.
        harmonics: Overtones of the source.
        sine_amplitude: Of the source, voiced.
        noise_std: Of the source, voiced.
        voiced_hz: Pitch above which a frame is voiced.
        upsample_rates: Factor of each transposed convolution.
        upsample_kernels: Its kernel size.
        istft_size: Samples of the Fourier transform.
        istft_hop: Samples between its frames.
        resblock_kernels: Kernel of each residual block of a level.
        resblock_dilations: Dilations of each.
        source_kernels: Kernel of the source's residual block at each level.
        source_dilations: Dilations of each.
        slope: Of the leaky rectifiers.
        limit: Largest sample.
        f0_channels: Width of the pitch predictor.
    """

    mels: int = 80
    channels: int = 512
    harmonics: int = 8
    sine_amplitude: float = 0.1
    noise_std: float = 0.003
    voiced_hz: float = 10.0
    upsample_rates: tuple[int, ...] = (8, 8)
    upsample_kernels: tuple[int, ...] = (16, 16)
    istft_size: int = 16
    istft_hop: int = 4
    resblock_kernels: tuple[int, ...] = (3, 7, 11)
    resblock_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    source_kernels: tuple[int, ...] = (7, 11)
    source_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5))
    slope: float = 0.1
    limit: float = 0.99
    f0_channels: int = 512


@dataclass(frozen=True, slots=True)
class DecoderConfig(_Values):
    """Speech tokens to sound.

    Args:
        sample_rate: Hz.
        flow: Tokens to mel.
        hift: Mel to samples.
    """

    sample_rate: int = 22050
    flow: FlowConfig = field(default_factory=FlowConfig)
    hift: HiFTConfig = field(default_factory=HiFTConfig)

    @property
    def hop_samples(self) -> int:
        """Samples of one mel frame."""
        return math.prod(self.hift.upsample_rates) * self.hift.istft_hop
