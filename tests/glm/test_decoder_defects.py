"""Each defect of the upstream decoder that research found, and that ours has not."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.glm.demo import DemoStream, demo_decode
from tests.glm.tiny_decoder import speech, write_voiced_decoder
from voicerag_core.glm.decoder import Schedule, SpeechDecoder
from voicerag_core.glm.decoder.schedule import cross_fade
from voicerag_core.glm.decoder.source import harmonics
from voicerag_core.glm.weights.configs import HiFTConfig

RATE = 22050


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> SpeechDecoder:
    folder = write_voiced_decoder(tmp_path_factory.mktemp("decoder"))
    return SpeechDecoder.load(folder, schedule=Schedule((10, 20), history_tokens=20))


@pytest.fixture
def counting(decoder: SpeechDecoder, monkeypatch: pytest.MonkeyPatch) -> SpeechDecoder:
    """A decoder whose mel is its noise: for what is counted, not heard."""
    monkeypatch.setattr(decoder.networks, "sampler", _noise)
    monkeypatch.setattr(decoder.networks.flow, "integrate", _noise)
    return decoder


def _noise(noise: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
    return noise


def test_defect_1_dropout_is_off(decoder: SpeechDecoder) -> None:
    assert not any(
        module.training
        for module in (*decoder.networks.flow.modules(), *decoder.networks.hift.modules())
    )
    assert not any(
        isinstance(module, torch.nn.Dropout) for module in decoder.networks.flow.modules()
    )
    noise = decoder.networks.flow_noise(0, 68)
    tokens = torch.tensor([speech(10)])
    assert torch.equal(
        decoder.networks.flow.mel(tokens, noise), decoder.networks.flow.mel(tokens, noise)
    )


def test_defect_2_the_global_generator_is_neither_set_nor_read(decoder: SpeechDecoder) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = decoder.decode(speech(12)).samples
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again = decoder.decode(speech(12)).samples
    assert np.array_equal(first, again)


@pytest.mark.parametrize(
    ("tokens", "lost"), [(75, 0), (175, 1), pytest.param(525, 3, marks=pytest.mark.slow)]
)
def test_defect_3_no_frame_is_lost_at_a_seam(
    counting: SpeechDecoder, tokens: int, lost: int
) -> None:
    reply = speech(tokens)
    frames = tokens * RATE * 2 // (25 * 256)
    assert len(counting.decode(reply).samples) == frames * 256
    demo = demo_decode(counting.networks, reply)
    assert len(demo) == (frames - lost) * 256


@pytest.mark.parametrize("tokens", [1, 4, 5, 9, 10, 11, 30, 50, 64])
def test_defect_4_a_reply_is_whole_wherever_it_ends(counting: SpeechDecoder, tokens: int) -> None:
    sound = counting.decode(speech(tokens)).samples
    assert len(sound) == counting.samples(tokens) == tokens * 441 // 64 * 256


def test_defect_4_the_last_frames_are_spoken_at_a_block_boundary(decoder: SpeechDecoder) -> None:
    stream = decoder.open_stream()
    early = stream.push(speech(30))
    late = stream.finish()
    assert (
        len(late)
        == (decoder.networks.overlap_frames + decoder.networks.vocoder_stream().delay) * 256
    )
    assert np.std(late) > 0.2 * np.std(early) > 0


def test_defect_5_a_cross_fade_keeps_the_level() -> None:
    mel = torch.linspace(-8, 2, 34).expand(1, 80, 34)
    assert torch.equal(cross_fade(mel, mel), mel)
    one, zero = torch.ones(1, 1, 34), torch.zeros(1, 1, 34)
    rise = cross_fade(zero, one)
    torch.testing.assert_close(rise + cross_fade(one, zero), one)
    assert rise[0, 0, 0] < 0.01
    assert rise[0, 0, -1] > 0.99
    hamming = np.hamming(68)
    assert np.all(hamming[:34] + hamming[34:] > 1.05)


def test_defect_6_the_phase_runs_through_the_seams() -> None:
    hz = torch.full((60,), 187.3, dtype=torch.float64)
    hz[20:24] = 0.0
    config = HiFTConfig(noise_std=0.0)
    start = torch.zeros(9, dtype=torch.float64)
    offsets = torch.linspace(-3, 3, 9)

    def source(hz: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.zeros(len(hz), 9, 256)
        return harmonics(hz, phase, offsets, noise, config=config, sample_rate=RATE)

    whole, end = source(hz, start)
    pieces, phase = [], start
    for start_frame, stop_frame in pairwise([0, 7, 8, 28, 60]):
        made, phase = source(hz[start_frame:stop_frame], phase)
        pieces.append(made)
    torch.testing.assert_close(torch.cat(pieces, -1), whole, rtol=0, atol=1e-7)
    assert torch.allclose(phase, end, rtol=0, atol=1e-9)
    restarted, _ = source(hz[28:], start)
    assert (restarted - whole[:, 28 * 256 :]).abs().max() > 0.05


@pytest.mark.parametrize("tone", [1, 9])
def test_defect_6_the_phase_of_a_long_reply_is_exact(tone: int) -> None:
    frames, pitch = 2584, 213.7
    hz = torch.full((frames,), pitch, dtype=torch.float64)
    zero = torch.zeros(9, dtype=torch.float64)
    config = HiFTConfig(noise_std=0.0)
    noise = torch.zeros(frames, 9, 256)
    made, _ = harmonics(hz, zero, torch.zeros(9), noise, config=config, sample_rate=RATE)
    step = torch.arange(1, frames * 256 + 1, dtype=torch.float64)
    exact = 0.1 * torch.sin(2 * torch.pi * ((step * (tone * pitch / RATE)) % 1))
    assert (made[tone - 1] - exact).abs().max() < 1e-6


def test_defect_7_padding_in_a_batch_changes_nothing(decoder: SpeechDecoder) -> None:
    replies = [speech(23), speech(8), speech(15)]
    counts = [len(tokens) for tokens in replies]
    frames = [decoder.networks.flow.frames(count) for count in counts]
    alone = [
        decoder.networks.flow.mel(torch.tensor([tokens]), decoder.networks.flow_noise(0, count))[0]
        for tokens, count in zip(replies, frames, strict=True)
    ]
    for filler in (0, 77):
        tokens = torch.full((3, 23), filler)
        for row, reply in enumerate(replies):
            tokens[row, : len(reply)] = torch.tensor(reply)
        noise = decoder.networks.flow_noise(0, frames[0]).expand(3, -1, -1).clone()
        noise[1, :, frames[1] :] = filler
        mel = decoder.networks.flow.mel(tokens, noise, token_counts=counts, frame_counts=frames)
        for row, count in enumerate(frames):
            torch.testing.assert_close(mel[row, :, :count], alone[row], rtol=0, atol=1e-5)
            assert not mel[row, :, count:].any()


def test_defect_7_prompts_of_several_lengths_fit_one_batch(decoder: SpeechDecoder) -> None:
    counts, known_frames = [14, 20], [30, 55]
    frames = [decoder.networks.flow.frames(count) for count in counts]
    generator = torch.Generator().manual_seed(5)
    known = torch.randn(2, 80, 55, generator=generator)
    tokens = torch.tensor([speech(14) + [0] * 6, speech(20)])
    noise = decoder.networks.flow_noise(0, frames[1]).expand(2, -1, -1)
    together = decoder.networks.flow.mel(
        tokens,
        noise,
        known=known,
        token_counts=counts,
        frame_counts=frames,
        known_counts=known_frames,
    )
    for row in range(2):
        alone = decoder.networks.flow.mel(
            tokens[row : row + 1, : counts[row]],
            noise[row : row + 1, :, : frames[row]],
            known=known[row : row + 1, :, : known_frames[row]],
        )
        torch.testing.assert_close(together[row, :, : frames[row]], alone[0], rtol=0, atol=1e-5)


def test_defect_8_streams_share_no_table(decoder: SpeechDecoder) -> None:
    """Two replies in turn, piece by piece, sound as each does alone."""
    one, other = speech(31), speech(22)
    alone = [decoder.decode(one).samples, decoder.decode(other).samples]
    streams = [decoder.open_stream(), decoder.open_stream()]
    made: list[list[np.ndarray]] = [[], []]
    for start in range(0, 31, 4):
        for which, tokens in enumerate((one, other)):
            made[which].append(streams[which].push(tokens[start : start + 4]))
    for which, stream in enumerate(streams):
        made[which].append(stream.finish())
        assert np.array_equal(np.concatenate(made[which]), alone[which])


def test_the_demo_stream_forgets_what_it_held_when_closed(decoder: SpeechDecoder) -> None:
    with DemoStream(decoder.networks, block_tokens=(10,)) as stream:
        stream.push(speech(11))
        assert stream._mels
    assert not stream._mels
    assert stream.closed
