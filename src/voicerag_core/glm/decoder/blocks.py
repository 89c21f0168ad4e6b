"""Blocks of one reply or several, from speech tokens to sound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from voicerag_core.cancellation import check_cancelled
from voicerag_core.glm.decoder.graphs import Window
from voicerag_core.glm.decoder.networks import DecoderNetworks
from voicerag_core.glm.decoder.schedule import cross_fade
from voicerag_core.glm.decoder.shapes import BATCHES, VOCODER_FRAMES, batch_size, largest_batch
from voicerag_core.glm.decoder.vocoder import VocoderStream, speak
from voicerag_core.types import Samples

__all__ = ["Block", "Decoded", "decode", "flow_length"]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """What is decoded at once of a reply.

    Args:
        tokens: Speech tokens of the window: history, then the block; of a block without tokens,
            with which a reply may end, they are not looked at.
        first: Place of the first one in the reply.
        fresh: Tokens of the block.
        past: Shape [1, mels, K]: final mel of the window's first frames.
        held: Shape [1, mels, H]: mel after it, which the block makes again.
        vocoder: Of the reply.
        last: No more follows.
        forget: Frames, from the first of `past` on, that no later block needs.
    """

    tokens: Sequence[int]
    first: int
    fresh: int
    past: Tensor
    held: Tensor
    vocoder: VocoderStream
    last: bool
    forget: int


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """What became of a block.

    Args:
        sound: Shape [L], float32.
        past: Shape [1, mels, K]: final mel that the next block needs.
        held: Shape [1, mels, H]: mel that the next block makes again.
        vocoder: Continues the reply.
    """

    sound: Samples
    past: Tensor
    held: Tensor
    vocoder: VocoderStream


def flow_length(networks: DecoderNetworks, block: Block) -> int:
    """Return the padded mel frames of a block's window; 0 when it needs no mel."""
    return networks.shapes.flow_length(_frames(networks, block)) if block.fresh else 0


@torch.inference_mode()
def decode(
    networks: DecoderNetworks,
    blocks: Sequence[Block],
    *,
    between: Callable[[], None] = check_cancelled,
) -> list[Decoded]:
    """Decode blocks of different replies together; take `networks.exclusive` for it.

    A block alone takes its exact length, unless the networks were prepared for other lengths.

    Args:
        networks: Shared.
        blocks: All of one `flow_length`, and no more than fit in one batch.
        between: Called before each Euler step.

    Raises:
        CancelledError: `between` raised it.
    """
    if len(blocks) == 1 and not networks.prepared:
        return [_alone(networks, blocks[0])]
    mels = _mels(networks, blocks, between)
    cuts = [_cut(networks, block, mel) for block, mel in zip(blocks, mels, strict=True)]
    replies = [
        (block.vocoder, final, block.last) for block, (final, _) in zip(blocks, cuts, strict=True)
    ]
    spoken = _spoken(networks, replies)
    lengths = [len(sound) for sound, _ in spoken]
    sounds = torch.split(torch.cat([sound for sound, _ in spoken]).cpu(), lengths)
    return [
        Decoded(sound.numpy(), _past(block, final), held, vocoder)
        for block, sound, (final, held), (_, vocoder) in zip(
            blocks, sounds, cuts, spoken, strict=True
        )
    ]


def _alone(networks: DecoderNetworks, block: Block) -> Decoded:
    mel = block.held
    if block.fresh:
        window = _window(networks, block)
        made = networks.flow.mel(
            torch.tensor([block.tokens], device=networks.device),
            window.noise,
            known=window.known,
            sampler=networks.sampler,
        )
        mel = _joined(block, made)
    final, held = _cut(networks, block, mel)
    sound = block.vocoder.push(final, last=block.last)
    return Decoded(sound.cpu().numpy(), _past(block, final), held, block.vocoder)


def _mels(
    networks: DecoderNetworks, blocks: Sequence[Block], between: Callable[[], None]
) -> list[Tensor]:
    """Return held and new mel of each block, joined."""
    frames = flow_length(networks, blocks[0])
    if not frames:
        return [block.held for block in blocks]
    windows = [_window(networks, block) for block in blocks]
    rows = next(size for size in BATCHES if size >= len(blocks))
    made = networks.flow_graphs.mel(windows, rows, frames, between=between)
    return [_joined(block, mel) for block, mel in zip(blocks, made, strict=True)]


def _spoken(
    networks: DecoderNetworks, replies: Sequence[tuple[VocoderStream, Tensor, bool]]
) -> list[tuple[Tensor, VocoderStream]]:
    """Make the sound of replies, in as many passes as their lengths need."""
    lengths = [
        networks.shapes.vocoder_length(stream.frames(mel.shape[-1])) for stream, mel, _ in replies
    ]
    longest = max(lengths)
    made: list[tuple[Tensor, VocoderStream]] = []
    while len(made) < len(replies):
        left = replies[len(made) :]
        rows = batch_size(len(left), largest_batch(longest, VOCODER_FRAMES), longest)
        batch, run = networks.vocoder_batch(rows, longest)
        made += speak(batch, run, left[:rows])
    return made


def _frames(networks: DecoderNetworks, block: Block) -> int:
    frames = networks.flow.frames
    return frames(block.first + len(block.tokens)) - frames(block.first)


def _window(networks: DecoderNetworks, block: Block) -> Window:
    begin = networks.flow.frames(block.first)
    noise = networks.flow_noise(begin, begin + _frames(networks, block))
    return Window(block.tokens, noise, block.past)


def _joined(block: Block, mel: Tensor) -> Tensor:
    """Take the new mel of a window and fade the held frames into it."""
    made = mel[:, :, block.past.shape[-1] :]
    overlap = block.held.shape[-1]
    return torch.cat((cross_fade(block.held, made[:, :, :overlap]), made[:, :, overlap:]), -1)


def _cut(networks: DecoderNetworks, block: Block, mel: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mel that is final, and what the next block makes again."""
    keep = 0 if block.last else min(networks.overlap_frames, mel.shape[-1])
    cut = mel.shape[-1] - keep
    return mel[:, :, :cut], mel[:, :, cut:]


def _past(block: Block, final: Tensor) -> Tensor:
    """Return the final mel that the next block needs, apart from what it is a part of."""
    gone = max(0, block.forget - block.past.shape[-1])
    return torch.cat((block.past[:, :, block.forget :], final[:, :, gone:]), dim=-1)
