"""Parts of the decoder's networks, each against a plain form of what it computes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

from tests.glm.demo import frames_float32
from tests.glm.tiny import eager
from tests.glm.tiny_decoder import DECODER, speech, write_voiced_decoder
from voicerag_core.errors import CheckpointError
from voicerag_core.glm.decoder import SpeechDecoder
from voicerag_core.glm.decoder.encoder import block_causal_mask
from voicerag_core.glm.decoder.flow import Flow, _nearest
from voicerag_core.glm.decoder.graphs import FlowGraphs, Window
from voicerag_core.glm.decoder.source import NoiseTable, draw_offsets
from voicerag_core.glm.weights.checkpoints import load_decoder
from voicerag_core.glm.weights.conversion import convert_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voiced_decoder(tmp_path_factory.mktemp("decoder"))


@pytest.fixture(scope="module")
def decoder(folder: Path) -> SpeechDecoder:
    return SpeechDecoder.load(folder)


def test_a_finished_block_never_changes(decoder: SpeechDecoder) -> None:
    flow = decoder.networks.flow
    tokens = torch.tensor([speech(40)])
    with torch.inference_mode():
        whole = flow.encoder(flow.input_embedding(tokens))
        for count in (10, 20, 30):
            part = flow.encoder(flow.input_embedding(tokens[:, :count]))
            torch.testing.assert_close(part, whole[:, :count], rtol=0, atol=1e-5)
        broken = flow.encoder(flow.input_embedding(tokens[:, :25]))
    assert (broken[:, 20:] - whole[:, 20:25]).abs().max() > 1e-3


def test_who_sees_whom() -> None:
    seen = block_causal_mask(7, 3, torch.device("cpu")).int().tolist()
    assert seen == [[1] * 3 + [0] * 4] * 3 + [[1] * 6 + [0]] * 3 + [[1] * 7]


@pytest.mark.parametrize("tokens", [1, 3, 10, 35, 64, 149, 150])
def test_tokens_are_stretched_as_interpolate_does(tokens: int) -> None:
    for frames in {tokens * 441 // 64, tokens * 441 // 64 + 1}:
        plain = F.interpolate(torch.arange(tokens)[None, None].float(), size=frames)
        assert torch.equal(_nearest(tokens, frames, frames), plain[0, 0].long())


def test_frames_are_counted_exactly(decoder: SpeechDecoder) -> None:
    counts = [0, 1, 10, 25, 64, 375, 3391, 3392, 99_999]
    assert [decoder.networks.flow.frames(count) for count in counts] == [
        n * 441 // 64 for n in counts
    ]
    assert frames_float32(decoder.networks, 3391) == decoder.networks.flow.frames(3391)
    assert frames_float32(decoder.networks, 3392) == decoder.networks.flow.frames(3392) - 1


def test_guidance_pushes_away_from_the_unguided_flow(decoder: SpeechDecoder) -> None:
    """Ten steps of two calls, written out."""
    flow = decoder.networks.flow
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(1, 80, 31, generator=generator)
    context = torch.randn(1, 240, 31, generator=generator)
    both = torch.cat((context, torch.zeros_like(context)))
    span = 1 - torch.cos(torch.linspace(0, 1, 11) * 0.5 * torch.pi)
    x = noise
    with torch.inference_mode():
        for start, stop, shifts in zip(
            span[:-1], span[1:], flow.unet.time_shifts(span[:-1]), strict=True
        ):
            guided = flow.unet(torch.cat((x, context), 1), shifts)
            plain = flow.unet(torch.cat((x, torch.zeros_like(context)), 1), shifts)
            x = x + (stop - start) * (1.7 * guided - 0.7 * plain)
        made = flow.integrate(noise, both)
    torch.testing.assert_close(made, x, rtol=0, atol=2e-5)
    assert (x - noise).abs().max() > 0.1


def window(flow: Flow, tokens: int) -> Window:
    generator = torch.Generator().manual_seed(tokens)
    noise = torch.randn(1, flow.config.mels, flow.frames(tokens), generator=generator)
    return Window(speech(tokens), noise, noise[:, :, : tokens // 2].neg())


def test_a_recorded_flow_is_the_flow(decoder: SpeechDecoder) -> None:
    flow = decoder.networks.flow
    graphs = FlowGraphs(flow, eager)
    graphs.record([(20, 137)], [(1, 144)])
    for tokens in (20, 6, 20, 1, 30):  # nothing of an earlier call may matter
        one = window(flow, tokens)
        plain = flow.mel(torch.tensor([one.tokens]), one.noise, known=one.known)
        (made,) = graphs.mel([one], 1, 144 if tokens <= 20 else 216)
        if tokens == 20:
            assert torch.equal(made, plain)
        torch.testing.assert_close(made, plain, rtol=0, atol=2e-5)
    assert set(graphs._exact) == {(20, 137)}
    assert set(graphs._padded) == {(1, 144)}


def test_noise_belongs_to_frames_not_to_calls() -> None:
    table = NoiseTable(6, 100, seed=1)
    whole = table.rows(0, 250)
    assert torch.equal(table.rows(90, 117), whole[90:117])
    assert torch.equal(whole[:100], whole[100:200])
    assert not torch.equal(table.rows(0, 50), NoiseTable(6, 100, seed=2).rows(0, 50))
    assert abs(float(NoiseTable(80, 4096, seed=3).rows(0, 4096).std()) - 1) < 0.01


def test_overtones_start_anywhere_and_the_voice_at_zero() -> None:
    offsets = draw_offsets(DECODER.hift, torch.Generator().manual_seed(1))
    assert offsets[0] == 0
    assert offsets[1:].abs().max() <= torch.pi
    assert len(set(offsets.tolist())) == 9


def test_bfloat16_changes_the_unet_alone(folder: Path, decoder: SpeechDecoder) -> None:
    half = SpeechDecoder.load(folder, dtype=torch.bfloat16)
    kinds = {name: one.dtype for name, one in half.networks.flow.named_parameters()}
    assert {kind for name, kind in kinds.items() if "estimator" in name} == {torch.bfloat16}
    assert {kind for name, kind in kinds.items() if "estimator" not in name} == {torch.float32}
    noise, tokens = decoder.networks.flow_noise(0, 68), torch.tensor([speech(10)])
    exact, rounded = decoder.networks.flow.mel(tokens, noise), half.networks.flow.mel(tokens, noise)
    assert 0 < (exact - rounded).norm() / exact.norm() < 0.03


def test_warming_changes_no_sound(folder: Path, decoder: SpeechDecoder) -> None:
    warm = SpeechDecoder.load(folder)
    warm.warm()
    assert np.array_equal(warm.decode(speech(14)).samples, decoder.decode(speech(14)).samples)


@pytest.mark.parametrize(
    "name", ["encoder_proj.bias", "decoder.estimator.mid_blocks.0.1.0.attn1.to_k.weight"]
)
def test_a_missing_tensor_is_named(folder: Path, name: str) -> None:
    weights = load_decoder(folder)
    del weights.flow[name]
    with pytest.raises(CheckpointError, match=re.escape(name)):
        SpeechDecoder.from_state(weights.config, weights.flow, weights.hift)


def test_weights_must_fit_the_config(folder: Path) -> None:
    weights = load_decoder(folder)
    wide = replace(DECODER, hift=replace(DECODER.hift, channels=64))
    with pytest.raises(CheckpointError, match="size mismatch"):
        SpeechDecoder.from_state(wide, weights.flow, weights.hift)
    weights.hift["more"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match="more"):
        SpeechDecoder.from_state(DECODER, weights.flow, weights.hift)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no weights"):
        SpeechDecoder.load(tmp_path)


def test_converted_weights_sound_the_same(
    folder: Path, decoder: SpeechDecoder, tmp_path: Path
) -> None:
    convert_checkpoint(folder, tmp_path / "converted")
    tree = next((tmp_path / "converted").rglob("decoder.json")).parent
    converted = SpeechDecoder.load(tree)
    assert np.array_equal(converted.decode(speech(11)).samples, decoder.decode(speech(11)).samples)
