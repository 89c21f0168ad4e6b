"""One spoken reply: what is given when, how it ends, and what it costs."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.glm.tiny_decoder import speech, write_voiced_decoder
from voicerag_core.cancellation import Cancellation
from voicerag_core.errors import CancelledError, ConfigError, GenerationError
from voicerag_core.glm.decoder import DecoderStream, Schedule, SpeechDecoder
from voicerag_core.types import Samples

SHORT = Schedule(block_tokens=(10, 20), history_tokens=20)
STREAM_TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> SpeechDecoder:
    folder = write_voiced_decoder(tmp_path_factory.mktemp("decoder"))
    return SpeechDecoder.load(folder, schedule=SHORT)


@pytest.fixture
def decoder(loaded: SpeechDecoder) -> Iterator[SpeechDecoder]:
    yield loaded
    loaded.networks.sampler = loaded.networks.flow.integrate


class Counting:
    """Gives noise for mel, at no cost, and keeps the number of frames of each window."""

    def __init__(self) -> None:
        self.frames: list[int] = []

    def __call__(self, noise: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        self.frames.append(noise.shape[-1])
        return noise


def fed(stream: DecoderStream, tokens: list[int], cuts: list[int]) -> list[Samples]:
    """Push tokens cut at places, and finish."""
    pieces = [stream.push(tokens[a:b]) for a, b in pairwise([0, *cuts, len(tokens)])]
    return [piece for piece in (*pieces, stream.finish()) if piece.size]


def test_how_tokens_arrive_does_not_change_the_sound(decoder: SpeechDecoder) -> None:
    tokens = speech(63)
    whole = np.concatenate(fed(decoder.open_stream(), tokens, []))
    single = fed(decoder.open_stream(), tokens, list(range(1, 63)))
    odd = np.concatenate(fed(decoder.open_stream(), tokens, [7, 8, 31, 59]))
    assert len(single) == 4  # blocks of 10, 20, 20, and the rest
    assert np.array_equal(np.concatenate(single), whole)
    assert np.array_equal(odd, whole)
    assert np.array_equal(decoder.decode(tokens).samples, whole)
    assert np.std(whole) > 0.01


def test_a_reply_of_one_block_is_one_pass_through_the_networks(decoder: SpeechDecoder) -> None:
    tokens = speech(10)
    mel = decoder.networks.flow.mel(torch.tensor([tokens]), decoder.networks.flow_noise(0, 68))
    sound = decoder.networks.vocoder_stream().push(mel, last=True).numpy()
    streamed = np.concatenate(fed(decoder.open_stream(), tokens, [3]))
    np.testing.assert_allclose(streamed, sound, rtol=0, atol=STREAM_TOLERANCE)


@pytest.mark.parametrize("cuts", [[100], [1, 2, 3, 20, 21, 60, 61, 150], list(range(1, 172, 4))])
def test_a_streamed_vocoder_equals_one_call(decoder: SpeechDecoder, cuts: list[int]) -> None:
    mel = decoder.networks.flow.mel(torch.tensor([speech(25)]), decoder.networks.flow_noise(0, 172))
    whole = decoder.networks.vocoder_stream().push(mel, last=True)
    vocoder = decoder.networks.vocoder_stream()
    pieces = [vocoder.push(mel[:, :, a:b]) for a, b in pairwise([0, *cuts])]
    pieces.append(vocoder.push(mel[:, :, cuts[-1] :], last=True))
    assert sum(map(len, pieces[:-1])) >= (cuts[-1] - vocoder.delay) * 256
    np.testing.assert_allclose(torch.cat(pieces), whole, rtol=0, atol=STREAM_TOLERANCE)


@pytest.mark.parametrize("less", [1, 2])
def test_the_vocoder_keeps_as_much_context_as_it_says(decoder: SpeechDecoder, less: int) -> None:
    """Mel outside the reach changes nothing; its own frame changes much."""
    with torch.inference_mode():
        mel = torch.zeros(1, 80, 80)
        source = torch.rand(1, 1, 80 * 256, generator=torch.Generator().manual_seed(less))
        other_mel, other_source = mel.clone(), source.clone()
        other_mel[:, :, 40] += 3.0
        other_source[:, :, 40 * 256 : 41 * 256] *= -1
        reach = decoder.networks.hift.reach
        changed = (
            decoder.networks.hift(other_mel, other_source) - decoder.networks.hift(mel, source)
        )[0].abs()
    changed = changed.view(80, 256).amax(1)
    assert changed[: 40 - reach].max() == 0
    assert changed[40 + reach + 1 :].max() == 0
    assert changed[40] > 1e-3


def test_the_first_sound_comes_after_ten_tokens(decoder: SpeechDecoder) -> None:
    with decoder.open_stream() as stream:
        assert stream.push(speech(20)[:9]).size == 0
        first = stream.push(speech(20)[9:10])
    overlap, delay = decoder.networks.overlap_frames, decoder.networks.vocoder_stream().delay
    assert len(first) == (68 - overlap - delay) * 256 > 3000


def test_a_long_reply_costs_a_constant_time_per_block(decoder: SpeechDecoder) -> None:
    counting = Counting()
    decoder.networks.sampler = counting
    with decoder.open_stream() as stream:
        for token in speech(330):
            stream.push((token,))
            assert len(stream._tokens) <= SHORT.history_tokens + 20
            assert stream._past.shape[-1] <= decoder.networks.flow.frames(SHORT.history_tokens) + 1
    most = decoder.networks.flow.frames(SHORT.history_tokens + 20) + 1
    assert max(counting.frames) <= most
    assert len(counting.frames) == 17


def test_closing_the_generator_stops_everything(decoder: SpeechDecoder) -> None:
    counting = Counting()
    decoder.networks.sampler = counting
    taken: list[int] = []
    ended = threading.Event()

    def tokens() -> Iterator[int]:
        try:
            for token in speech(200):
                taken.append(token)
                yield token
        finally:
            ended.set()

    source = tokens()
    pieces = decoder.stream(source)
    assert next(pieces).size
    pieces.close()
    assert len(taken) == 10
    assert len(counting.frames) == 1
    assert ended.is_set()


def test_a_cancelled_call_stops_between_two_steps(
    decoder: SpeechDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancellation = Cancellation()
    calls: list[int] = []
    unet = decoder.networks.flow.unet.forward

    def counted(x: Tensor, shifts: tuple[Tensor, ...], mask: Tensor | None = None) -> Tensor:
        calls.append(1)
        if len(calls) == 3:
            cancellation.cancel()
        return unet(x, shifts, mask)

    monkeypatch.setattr(decoder.networks.flow.unet, "forward", counted)
    stream = decoder.open_stream()
    with cancellation.active(), pytest.raises(CancelledError):
        stream.push(speech(10))
    assert len(calls) == 3
    assert stream.closed
    with pytest.raises(GenerationError, match="closed"):
        stream.push([1])
    assert decoder.decode(speech(1)).samples.size  # the turn was given back


def test_a_finished_stream_takes_nothing_more(decoder: SpeechDecoder) -> None:
    stream = decoder.open_stream()
    stream.push(speech(3))
    stream.finish()
    assert stream.closed
    stream.close()
    with pytest.raises(GenerationError, match="closed"):
        stream.finish()


def test_no_tokens_are_no_sound(decoder: SpeechDecoder) -> None:
    assert decoder.decode([]).samples.shape == (0,)
    assert list(decoder.stream([])) == []


@pytest.mark.parametrize("wrong", [-1, 512, 16384])
def test_a_token_out_of_range_is_refused(decoder: SpeechDecoder, wrong: int) -> None:
    with pytest.raises(GenerationError, match=f"{wrong} is no speech token; expected 0 to 511"):
        decoder.decode([1, wrong])


@pytest.mark.parametrize(
    "schedule",
    [Schedule(()), Schedule((25,)), Schedule((10, 0)), Schedule((10,), history_tokens=5)],
)
def test_a_schedule_that_cuts_blocks_is_refused(decoder: SpeechDecoder, schedule: Schedule) -> None:
    with pytest.raises(ConfigError, match="multiple of 10"):
        decoder.open_stream(schedule)


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_abandoned_streams_leak_nothing(decoder: SpeechDecoder, count: int) -> None:
    decoder.networks.sampler = Counting()
    tokens = speech(12)
    gone: list[weakref.ref[DecoderStream]] = []

    def abandon(count: int) -> None:
        for _ in range(count):
            stream = decoder.open_stream()
            stream.push(tokens[:3] if count > 50 else tokens)
            gone.append(weakref.ref(stream))

    abandon(20)
    gc.collect()
    before = sum(type(thing) is Tensor for thing in gc.get_objects())
    abandon(count)
    gc.collect()
    after = sum(type(thing) is Tensor for thing in gc.get_objects())
    assert all(reference() is None for reference in gone)
    assert after == before
