"""GLM-4-Voice with random weights, in this process or in that of a replica."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

from benchmarks.glm.lm import TINY, random_lm, random_state, strict_form, text_tokenizer
from voicerag_core.glm.decoder import SpeechDecoder
from voicerag_core.glm.lm.batched_lm import BatchedLM
from voicerag_core.glm.speech_tokenizer.tokenizer import SpeechTokenizer
from voicerag_core.glm.voice import GLMVoice
from voicerag_core.glm.weights.configs import DecoderConfig, LMConfig, SpeechTokenizerConfig
from voicerag_core.glm.weights.tensor_shapes import (
    flow_shapes,
    hift_shapes,
    speech_tokenizer_shapes,
)

__all__ = ["random_voice"]


def random_voice(
    device: str,
    stack: ExitStack | None = None,
    *,
    tiny: bool,
    context: int,
    rows: int,
    lm: Callable[[Any], Any] | None = None,
) -> GLMVoice:
    """Create a voice whose replies have 13 text and 26 speech ids in turn and never stop.

    Args:
        device: Where.
        stack: Not used; see `Loader`.
        tiny: Small networks, to try a script on a CPU.
        context: Most tokens of prompt and reply.
        rows: Replies at a time.
        lm: What makes the language model of the network, if not `BatchedLM`.
    """
    del stack
    place = torch.device(device)
    dtype = torch.float32 if place.type == "cpu" else torch.bfloat16
    network = random_lm(TINY if tiny else LMConfig(), place, dtype)
    model = BatchedLM(network, max_context=context, rows=rows) if lm is None else lm(network)
    tokenizer = text_tokenizer()
    voice = GLMVoice(model, tokenizer, *_speech_parts(place, dtype, tiny=tiny))
    voice._form = strict_form(tokenizer, model.table_size)
    return voice


def _speech_parts(
    device: torch.device, dtype: torch.dtype, *, tiny: bool
) -> tuple[SpeechTokenizer, SpeechDecoder]:
    speech, decoding = SpeechTokenizerConfig(), DecoderConfig()
    if tiny:
        speech = replace(speech, layers=1, hidden_size=128, heads=2, ffn_size=128)
        flow = replace(decoding.flow, unet_channels=(32, 32), unet_mid_blocks=1, unet_blocks=1)
        decoding = replace(decoding, flow=flow, hift=replace(decoding.hift, channels=64))
    encoder = SpeechTokenizer(
        speech,
        random_state(speech_tokenizer_shapes(speech), device),
        device=device,
        dtype=dtype,
    )
    decoder = SpeechDecoder.from_state(
        decoding,
        random_state(flow_shapes(decoding.flow), device),
        random_state(hift_shapes(decoding.hift), device),
        device=device,
        dtype=dtype,
    )
    return encoder, decoder
