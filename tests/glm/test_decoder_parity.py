"""The decoder against vectors that the upstream implementation wrote; see golden/README.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.glm.demo import DEMO_SEED, DemoStream, demo_decode, demo_vocoder, harmonics_float32
from tests.glm.tiny_decoder import speech, write_voiced_decoder
from voicerag_core.glm.decoder import SpeechDecoder

GOLDEN = Path(__file__).parent / "golden"
MEL_TOLERANCE = 5e-6
WAVE_TOLERANCE = 1e-6
CHAIN_TOLERANCE = 2e-4
"""Of sound whose pitch was predicted from mel that differs by `MEL_TOLERANCE`, and summed up."""


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> SpeechDecoder:
    return SpeechDecoder.load(write_voiced_decoder(tmp_path_factory.mktemp("decoder")))


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.float32]]:
    arrays: dict[str, NDArray[np.float32]] = {}
    for name in ("decoder_mel.npz", "decoder_wave.npz"):
        with np.load(GOLDEN / name) as file:
            arrays |= dict(file)
    return arrays


def reference_noise(decoder: SpeechDecoder, tokens: int) -> tuple[torch.Tensor, torch.Generator]:
    """Draw the flow's noise as the reference does, and return the generator after it."""
    generator = torch.Generator().manual_seed(DEMO_SEED)
    return torch.randn(1, 80, decoder.networks.flow.frames(tokens), generator=generator), generator


@pytest.mark.parametrize("count", [1, 10, 37])
def test_mel_is_that_of_the_reference(
    decoder: SpeechDecoder, golden: dict[str, NDArray[np.float32]], count: int
) -> None:
    noise, _ = reference_noise(decoder, count)
    mel = decoder.networks.flow.mel(torch.tensor([speech(count)]), noise)[0].numpy()
    assert np.ptp(golden[f"mel_{count}"]) > 5
    np.testing.assert_allclose(mel, golden[f"mel_{count}"], rtol=0, atol=MEL_TOLERANCE)


def test_mel_after_a_prompt_is_that_of_the_reference(
    decoder: SpeechDecoder, golden: dict[str, NDArray[np.float32]]
) -> None:
    noise, _ = reference_noise(decoder, 37)
    known = torch.from_numpy(golden["mel_10"])[None]
    mel = decoder.networks.flow.mel(torch.tensor([speech(37)]), noise, known=known)[
        0, :, 68:
    ].numpy()
    np.testing.assert_allclose(mel, golden["mel_after_prompt"], rtol=0, atol=MEL_TOLERANCE)
    without = decoder.networks.flow.mel(torch.tensor([speech(37)]), noise)[0, :, 68:].numpy()
    assert np.abs(without - mel).max() > 0.1


def test_pitch_source_and_wave_are_those_of_the_reference(
    decoder: SpeechDecoder, golden: dict[str, NDArray[np.float32]]
) -> None:
    mel, pitch = torch.from_numpy(golden["mel_10"])[None], torch.from_numpy(golden["pitch_10"])
    source = torch.from_numpy(golden["source_10"])[None, None]
    _, generator = reference_noise(decoder, 10)
    assert 0.2 < (golden["pitch_10"] > 10).mean() < 0.9  # voiced and unvoiced frames
    with torch.inference_mode():
        assert torch.allclose(decoder.networks.hift.pitch(mel)[0], pitch, rtol=1e-6, atol=1e-4)
        assert torch.allclose(
            decoder.networks.hift.exact_pitch(mel)[0].float(), pitch, rtol=1e-6, atol=1e-4
        )
        sines = harmonics_float32(pitch[None], 256, decoder.networks.config.hift, 22050, generator)
        made = decoder.networks.hift.excitation(sines)
        wave = decoder.networks.hift(mel, source)[0].numpy()
    np.testing.assert_allclose(made, source, rtol=0, atol=WAVE_TOLERANCE)
    np.testing.assert_allclose(wave[::3], golden["wave_10"], rtol=0, atol=WAVE_TOLERANCE)


def test_the_whole_vocoder_is_that_of_the_reference(
    decoder: SpeechDecoder, golden: dict[str, NDArray[np.float32]]
) -> None:
    _, generator = reference_noise(decoder, 1)
    with torch.inference_mode():
        wave, _ = demo_vocoder(decoder.networks, torch.from_numpy(golden["mel_1"])[None], generator)
    np.testing.assert_allclose(wave[0], golden["wave_1"], rtol=0, atol=WAVE_TOLERANCE)


def test_the_demo_in_our_networks_is_that_of_the_reference(
    decoder: SpeechDecoder, golden: dict[str, NDArray[np.float32]]
) -> None:
    with DemoStream(decoder.networks, block_tokens=(10, 20)) as stream:
        made = [stream.push([token]) for token in speech(35)]
        made.append(stream.finish())
    assert [len(piece) for piece in made if piece.size] == list(golden["demo_pieces"])
    wave = np.concatenate(made)[::3]
    np.testing.assert_allclose(wave, golden["demo_wave"], rtol=0, atol=CHAIN_TOLERANCE)


def test_a_reply_of_one_block_as_the_demo_decodes_it_is_that_of_the_reference(
    decoder: SpeechDecoder, golden: dict[str, NDArray[np.float32]]
) -> None:
    wave = demo_decode(decoder.networks, speech(10))
    np.testing.assert_allclose(wave[::3], golden["wave_10"], rtol=0, atol=CHAIN_TOLERANCE)


def test_the_seed_of_the_reference_matters(
    decoder: SpeechDecoder, golden: dict[str, NDArray[np.float32]]
) -> None:
    other = torch.randn(1, 80, 68, generator=torch.Generator().manual_seed(DEMO_SEED + 1))
    mel = decoder.networks.flow.mel(torch.tensor([speech(10)]), other)[0].numpy()
    assert np.abs(mel - golden["mel_10"]).max() > 0.1
