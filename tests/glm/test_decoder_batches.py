"""Blocks of several replies, decoded together: equal to each alone, and apart when they fail."""

from __future__ import annotations

import gc
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.glm.tiny import eager
from tests.glm.tiny_decoder import speech, write_voiced_decoder
from voicerag_core.cancellation import Cancellation
from voicerag_core.errors import CancelledError, GenerationError, ModelError
from voicerag_core.glm.decoder import DecoderStream, Schedule, SpeechDecoder
from voicerag_core.glm.decoder import blocks as blocks_module
from voicerag_core.glm.decoder import graphs as graphs_module
from voicerag_core.glm.decoder import playout as playout_module
from voicerag_core.glm.decoder import service as service_module
from voicerag_core.glm.decoder import shapes as shapes_module
from voicerag_core.glm.decoder.graphs import FlowGraphs, Window
from voicerag_core.glm.decoder.service import Task
from voicerag_core.glm.decoder.shapes import BATCHES, Shapes, batch_size, spread
from voicerag_core.glm.decoder.vocoder import speak
from voicerag_core.glm.pace import Pace
from voicerag_core.glm.turns import turns_on
from voicerag_core.types import Samples

SHORT = Schedule(block_tokens=(10, 20), history_tokens=20)
MEL_TOLERANCE = 2e-5
SOUND_TOLERANCE = 5e-4
"""Of sound whose pitch was predicted from mel that differs by `MEL_TOLERANCE`, and summed up."""
VOCODER_TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voiced_decoder(tmp_path_factory.mktemp("decoder"))


@pytest.fixture
def decoder(folder: Path) -> SpeechDecoder:
    return SpeechDecoder.load(folder, schedule=SHORT)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Return the fresh tokens of the blocks of every pass through the networks."""
    seen: list[list[int]] = []
    plain = blocks_module.decode

    def decode(networks: Any, blocks: Sequence[Any], **options: Any) -> Any:
        seen.append([block.fresh for block in blocks])
        return plain(networks, blocks, **options)

    monkeypatch.setattr(service_module, "decode", decode)
    return seen


class Held:
    """Keeps the networks busy, so that blocks wait for each other."""

    def __init__(self, decoder: SpeechDecoder) -> None:
        self._decoder = decoder

    def __enter__(self) -> None:
        self._turn = self._decoder.networks.exclusive()
        self._turn.__enter__()

    def __exit__(self, *_: object) -> None:
        self._turn.__exit__(None, None, None)


def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it did not happen within 10 s")


def waiting(decoder: SpeechDecoder) -> int:
    return len(decoder._service._waiting)


def ended(stream: DecoderStream) -> Samples:
    return np.concatenate([np.zeros(0, np.float32), *stream.rest()])


def test_a_padded_batch_makes_the_mel_of_each_alone(decoder: SpeechDecoder) -> None:
    networks = decoder.networks
    counts, known = (20, 3, 11), (40, 0, 68)
    windows = [
        Window(
            speech(count),
            networks.flow_noise(0, networks.flow.frames(count)),
            torch.randn(1, 80, frames, generator=torch.Generator().manual_seed(frames)),
        )
        for count, frames in zip(counts, known, strict=True)
    ]
    together = networks.flow_graphs.mel(windows, 4, 144)
    for window, mel in zip(windows, together, strict=True):
        alone = networks.flow.mel(torch.tensor([window.tokens]), window.noise, known=window.known)
        assert mel.shape == alone.shape
        torch.testing.assert_close(mel, alone, rtol=0, atol=MEL_TOLERANCE)


@pytest.mark.parametrize("cuts", [(60,), (10, 13, 55, 90)])
def test_a_padded_vocoder_pass_makes_the_sound_of_each_alone(
    decoder: SpeechDecoder, cuts: tuple[int, ...]
) -> None:
    networks = decoder.networks
    draw = torch.Generator().manual_seed(len(cuts))
    mels = [torch.randn(1, 80, 95 + 7 * row, generator=draw) for row in range(3)]
    alone = [networks.vocoder_stream().push(mel, last=True) for mel in mels]
    streams = [networks.vocoder_stream() for _ in mels]
    pieces: list[list[Tensor]] = [[], [], []]
    for begin, end in zip((0, *cuts), (*cuts, None), strict=True):
        replies = [
            (stream, mel[:, :, begin:end], end is None)
            for stream, mel in zip(streams, mels, strict=True)
        ]
        batch, run = networks.vocoder_batch(3, 112)
        made = speak(batch, run, replies)
        streams = [stream for _, stream in made]
        for piece, (sound, _) in zip(pieces, made, strict=True):
            piece.append(sound)
    for piece, whole in zip(pieces, alone, strict=True):
        torch.testing.assert_close(torch.cat(piece), whole, rtol=0, atol=VOCODER_TOLERANCE)


@pytest.mark.slow
def test_replies_of_many_threads_sound_as_each_does_alone(
    decoder: SpeechDecoder, batches: list[list[int]]
) -> None:
    replies = [speech(count) for count in (31, 4, 30, 33, 10, 31)]
    alone = [decoder.decode(tokens).samples for tokens in replies]
    batches.clear()
    gate = threading.Barrier(len(replies))

    def together(which: int) -> Samples:
        pieces = []
        with decoder.open_stream() as stream:
            gate.wait()
            for start in range(0, len(replies[which]), 1 + which):
                tokens = replies[which][start : start + 1 + which]
                pieces.append((stream.feed if which % 2 else stream.push)(tokens))
            pieces.append(ended(stream))
        return np.concatenate(pieces)

    with ThreadPoolExecutor(len(replies)) as threads:
        made = list(threads.map(together, range(len(replies))))
    assert max(map(len, batches)) > 2
    for one, other in zip(made, alone, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=SOUND_TOLERANCE)


def test_feeding_waits_for_no_sound(decoder: SpeechDecoder) -> None:
    tokens = speech(35)
    alone = decoder.decode(tokens).samples
    with decoder.open_stream() as stream:
        with Held(decoder):
            assert [stream.feed((token,)).size for token in tokens] == [0] * 35
            assert waiting(decoder) <= 1
        made = [ended(stream)]
        assert stream.closed
    np.testing.assert_allclose(np.concatenate(made), alone, rtol=0, atol=SOUND_TOLERANCE)


def test_the_first_block_of_a_reply_alone_is_given_at_once(
    decoder: SpeechDecoder, batches: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playout_module, "MOST_HELD", 0.0)  # decoding may take longer than its sound
    with decoder.open_stream() as stream:
        assert stream.feed(speech(10)).size
        task = decoder._service
        assert not task._working
    assert batches == [[10]]


def test_the_block_whose_sound_is_wanted_first_is_decoded_first(
    decoder: SpeechDecoder, batches: list[list[int]]
) -> None:
    ahead, new, late = (decoder.open_stream() for _ in range(3))
    ahead.push(speech(10))
    assert ahead._played is not None
    ahead._played += 60
    batches.clear()
    with Held(decoder):
        decoder._service.submit(late._block(last=True), time.monotonic() - 5)
        until(lambda: waiting(decoder) == 0)  # the thread holds this one, and waits for the turn
        ahead.feed(speech(20))
        new.feed(speech(10))
    ended(new)
    ended(ahead)
    assert [batch for batch in batches if batch != [0]][:2] == [[10], [20]]
    late.close()


def test_urgent_blocks_wait_for_those_whose_last_tokens_are_coming(
    decoder: SpeechDecoder, batches: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MOST_GATHERING", "GATHERING_EACH"):
        monkeypatch.setattr(service_module, name, 60.0)
    complete, near, far = (decoder.open_stream() for _ in range(3))
    near.feed(speech(7))
    complete.feed(speech(10))
    assert complete._task is not None
    assert not complete._task.done.wait(0.05)  # more than the moment that others get
    near.feed(speech(3))
    assert complete._task.done.wait(20)
    assert batches == [[10, 10]]
    for stream in (complete, near, far):
        stream.close()


def test_nobody_waits_for_a_reply_that_stopped_coming(
    decoder: SpeechDecoder, batches: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MOST_GATHERING", "GATHERING_EACH"):
        monkeypatch.setattr(service_module, name, 60.0)
    complete, near = decoder.open_stream(), decoder.open_stream()
    near.feed(speech(7))
    near._came -= 60
    assert near.coming() == 0
    complete.feed(speech(10))
    assert complete._task is not None
    assert complete._task.done.wait(20)
    assert batches == [[10]]
    complete.close()
    near.close()


def test_sound_that_would_end_before_the_next_is_held_back(
    decoder: SpeechDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = speech(60)
    with decoder.open_stream(ids_until=lambda tokens: 10**9 if tokens else 0) as stream:
        assert not stream.feed(tokens[:9]).size
        assert not stream.feed(tokens[9:10]).size
        assert stream._held_back
        assert not stream._playout.started
        rest = list(stream.rest())
    np.testing.assert_array_equal(np.concatenate(rest), decoder.decode(tokens[:10]).samples)
    monkeypatch.setattr(playout_module, "MOST_HELD", 0.0)
    with decoder.open_stream(ids_until=lambda tokens: 10**9 if tokens else 0) as stream:
        first = stream.feed(tokens[:10])
        assert first.size
        rest = [stream.feed(tokens[10:]), *stream.rest()]
    sound = np.concatenate([first, *rest])
    np.testing.assert_allclose(sound, decoder.decode(tokens).samples, atol=SOUND_TOLERANCE)


def test_in_a_crowd_the_first_two_blocks_are_decoded_as_one(
    decoder: SpeechDecoder, batches: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "AT_ONCE", 0)
    tokens = speech(60)
    with decoder.open_stream() as stream, decoder.open_stream():
        assert not stream.feed(tokens[:10]).size
        assert stream._task is None
        assert stream.wants == 20
        assert not stream.feed(tokens[10:29]).size
        assert stream._task is None
        stream.feed(tokens[29:30])
        assert stream.wants == decoder.schedule.block(2)
        stream.feed(tokens[30:])
        assert ended(stream).size == decoder.samples(60)
    assert batches[0] == [30]


def test_the_sound_of_a_crowd_is_that_of_a_longer_first_block(
    decoder: SpeechDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = speech(90)
    with decoder.open_stream(Schedule((20, 20, 40), 20)) as longer:
        expected = np.concatenate([longer.push(tokens), longer.finish()])
    monkeypatch.setattr(service_module, "AT_ONCE", 0)
    usual = Schedule((10, 10, 20, 40), 20)
    with decoder.open_stream(usual) as stream, decoder.open_stream():
        stream.feed(tokens)
        sound = ended(stream)
    np.testing.assert_allclose(sound, expected, rtol=0, atol=SOUND_TOLERANCE)


def test_who_came_in_a_crowd_waits_for_the_second_block_when_it_is_over(
    decoder: SpeechDecoder, batches: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "AT_ONCE", 0)
    with decoder.open_stream() as stream, decoder.open_stream():
        stream.feed(speech(10))
        monkeypatch.setattr(service_module, "AT_ONCE", 99)  # the others have their sound by now
        stream.feed(())
        assert stream._task is None
        stream.feed(speech(20))
        until(lambda: stream.feed(()).size > 0)  # `Playout` may hold it back for a while
    assert batches == [[30]]


def test_a_reply_outside_a_crowd_does_not_wait_for_its_second_block(
    decoder: SpeechDecoder, batches: list[list[int]]
) -> None:
    with decoder.open_stream() as stream, decoder.open_stream():
        stream.feed(speech(10))
        assert stream._task is not None
        assert stream._task.done.wait(20)
    assert batches == [[10]]


def test_ids_that_were_not_handed_over_are_coming(decoder: SpeechDecoder) -> None:
    pace = Pace()
    with decoder.open_stream(pace=pace) as near, decoder.open_stream() as far:
        far.feed(speech(7))
        assert near.coming() == 0
        pace.progress = lambda: (7, turns_on(torch.device("cpu")).free())
        assert near.coming() == far.coming() > 0
        pace.progress = lambda: (7, -60.0)  # none has come for long
        assert near.coming() == 0


def test_a_block_that_would_be_late_goes_before_first_sounds(
    decoder: SpeechDecoder, batches: list[list[int]]
) -> None:
    heard, new, busy = (decoder.open_stream() for _ in range(3))
    heard.push(speech(10))
    assert heard._played is not None
    heard._played = time.monotonic() + 60
    batches.clear()
    with Held(decoder):
        decoder._service.submit(busy._block(last=True), time.monotonic() - 5)
        until(lambda: waiting(decoder) == 0)  # the thread holds this one, and waits for the turn
        new.feed(speech(10))
        heard.feed(speech(20))
        assert heard._task is not None
        heard._task.deadline = time.monotonic() + 0.05
        time.sleep(0.02)  # both could begin
    ended(heard)
    ended(new)
    assert [batch for batch in batches if batch != [0]][:2] == [[20], [10]]
    busy.close()


def test_batches_begin_in_time_for_those_that_follow() -> None:
    def task(length: int, deadline: float, *, first: bool = False) -> Task:
        return Task(cast("Any", None), length, deadline, first)

    short, long = [task(144, 1001.0)], [task(280, 1001.01)]
    took = service_module.expected_seconds
    moment, first = service_module._last_moment([long, short])
    assert first is short
    assert moment == pytest.approx(1001.01 - took(280) - took(144))
    moment, first = service_module._last_moment([[task(280, 1009.0)], short])
    assert first is short
    assert moment == pytest.approx(1001 - took(144))
    many = [task(1040, 1009.0) for _ in range(9)]  # 8 of them are decoded at once
    more = service_module.LATEST_FRAME_SECONDS * 1040
    assert service_module._last_moment([many])[0] == pytest.approx(1009 - took(1040) - more)
    assert service_module._ends([task(72, 1000.0, first=True)]) == -math.inf


def test_a_reply_that_ends_in_a_crowd_waits_for_no_second_block(
    decoder: SpeechDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "AT_ONCE", 0)
    with decoder.open_stream() as stream, decoder.open_stream():
        stream.feed(speech(12))
        assert ended(stream).size == decoder.samples(12)


def test_a_closed_stream_drops_its_block(decoder: SpeechDecoder, batches: list[list[int]]) -> None:
    first, second, third = (decoder.open_stream() for _ in range(3))
    with Held(decoder):
        first.feed(speech(10))
        until(lambda: waiting(decoder) == 0)
        second.feed(speech(20))
        third.feed(speech(10))
        first.close()  # its block was taken already
        second.close()
        assert waiting(decoder) == 1
    np.testing.assert_allclose(
        ended(third), decoder.decode(speech(10)).samples, rtol=0, atol=SOUND_TOLERANCE
    )
    assert sum(map(len, batches)) == 4  # of the third reply and of the one to compare with


def test_a_cancelled_call_leaves_its_batch(decoder: SpeechDecoder) -> None:
    cancellation = Cancellation()
    other = decoder.open_stream()
    outcome: list[BaseException] = []

    def cancelled() -> None:
        with cancellation.active(), decoder.open_stream() as stream:
            try:
                stream.push(speech(10))
            except CancelledError as error:
                outcome.append(error)

    with Held(decoder):
        thread = threading.Thread(target=cancelled)
        thread.start()
        other.feed(speech(10))
        cancellation.cancel()
        thread.join(10)
        assert len(outcome) == 1
    assert ended(other).size == decoder.samples(10)


def test_a_bad_token_ends_its_reply_alone(decoder: SpeechDecoder) -> None:
    good, bad = decoder.open_stream(), decoder.open_stream()
    with Held(decoder):
        good.feed(speech(10))
        bad.feed(speech(9))
        with pytest.raises(GenerationError, match="is no speech token"), bad:
            bad.feed([99_999])
    assert bad.closed
    assert len(ended(good)) == decoder.samples(10)


@pytest.mark.parametrize("fitting", [2, 1, 0])
def test_a_batch_without_memory_is_halved(
    decoder: SpeechDecoder, batches: list[list[int]], monkeypatch: pytest.MonkeyPatch, fitting: int
) -> None:
    tokens = speech(10)
    alone = decoder.decode(tokens).samples
    batches.clear()
    plain = FlowGraphs.mel

    def full(self: FlowGraphs, windows: Sequence[Window], *rest: Any, **more: Any) -> Any:
        if len(windows) > fitting:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return plain(self, windows, *rest, **more)

    monkeypatch.setattr(FlowGraphs, "mel", full)
    decoder.networks.prepared = True  # one alone takes the same way
    busy = decoder.open_stream()
    streams = [decoder.open_stream() for _ in range(4)]
    with Held(decoder):
        busy.feed(speech(20))
        until(lambda: waiting(decoder) == 0)
        for stream in streams:
            stream.feed(tokens)
    for stream in streams:
        if fitting:
            np.testing.assert_allclose(ended(stream), alone, rtol=0, atol=SOUND_TOLERANCE)
        else:
            with pytest.raises(ModelError, match="decoder takes up to"):
                ended(stream)
    tried = batches[1:]
    assert tried[:2] == [[10, 10, 10, 10], [10, 10]]
    assert ([10] in tried) == (fitting < 2)


def test_a_short_block_comes_between_two_steps_of_a_long_batch(
    decoder: SpeechDecoder, batches: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    long, short = decoder.open_stream(Schedule((40,), 20)), decoder.open_stream()
    expected = decoder.decode(speech(10)).samples
    order: list[int] = []
    step = decoder.networks.flow.unet.forward

    def counted(x: Tensor, shifts: Any, mask: Tensor | None = None) -> Tensor:
        order.append(x.shape[-1])
        if len(order) == 3:
            short.feed(speech(10))
        return step(x, shifts, mask)

    monkeypatch.setattr(decoder.networks.flow.unet, "forward", counted)
    decoder.networks.prepared = True
    task = decoder._service.submit(_of(long, speech(40)), time.monotonic() + 60)
    assert decoder._service.wait(task).sound.size
    assert order[:3] == [order[0]] * 3
    assert order[3:13] == [order[3]] * 10
    assert order[3] < order[0] / 2
    assert order[13:] == [order[0]] * 7
    np.testing.assert_allclose(ended(short), expected, rtol=0, atol=SOUND_TOLERANCE)


def _of(stream: DecoderStream, tokens: list[int]) -> Any:
    stream._accept(tokens)
    return stream._block(last=False)


@pytest.mark.slow
def test_after_preparing_no_reply_meets_a_new_shape(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes_module, "BATCHES", (1, 2))
    monkeypatch.setattr(blocks_module, "BATCHES", (1, 2))
    monkeypatch.setattr(graphs_module, "STEPS", 1)
    decoder = SpeechDecoder.load(folder, schedule=Schedule((10,), 10))
    seen: set[tuple[str, tuple[int, ...]]] = set()

    def note(name: str) -> Callable[..., None]:
        return lambda _, given: seen.add((name, tuple(given[0].shape)))

    networks = {"flow": decoder.networks.flow, "hift": decoder.networks.hift}
    for part, network in networks.items():
        for name, module in network.named_modules():
            if not list(module.children()):
                module.register_forward_pre_hook(note(f"{part}.{name}"))
    decoder.networks.prepare(eager)
    prepared = set(seen)
    assert len(prepared) > 100
    lengths = np.random.default_rng(4).integers(1, 25, 40).tolist()

    def reply(count: int) -> int:
        return len(decoder.decode(speech(count)).samples)

    with ThreadPoolExecutor(4) as threads:
        sounds = list(threads.map(reply, lengths))
    assert sounds == [decoder.samples(count) for count in lengths]
    assert seen == prepared


@pytest.mark.parametrize("schedule", [SHORT, Schedule(), Schedule((10, 30, 200), 100)])
def test_prepared_lengths_cover_every_reply(schedule: Schedule) -> None:
    def frames(tokens: int) -> int:
        return tokens * 441 // 64

    shapes = Shapes.of(schedule, frames, block=10, overlap=34, reach=15)
    for lengths in (shapes.flow, shapes.vocoder):
        assert all(b - a <= 176 for a, b in pairwise(lengths))
    if schedule == Schedule():
        assert len(shapes.windows) == 6
    for first, stop in schedule.windows(10, 300):
        assert (stop - first, frames(stop) - frames(first)) in shapes.windows
        assert shapes.flow_length(frames(stop) - frames(first)) in shapes.flow


def test_a_batch_is_padded_only_when_it_is_nearly_full() -> None:
    assert [batch_size(count, 16) for count in (1, 2, 3, 4, 5, 6, 8, 11, 12, 40)] == [
        1, 2, 4, 4, 4, 8, 8, 8, 16, 16,
    ]  # fmt: skip
    assert [batch_size(count, 4) for count in (3, 7)] == [4, 4]
    assert spread([40, 100, 400]) == (40, 104, 256, 400)
    assert BATCHES[0] == 1


def used_thread(folder: Path) -> threading.Thread:
    """Let a decoder decode in its own thread, after a pause too; return the thread."""
    decoder = SpeechDecoder.load(folder, schedule=SHORT)
    for _ in range(2):
        stream = decoder.open_stream()
        with Held(decoder):
            stream.feed(speech(10))
        assert ended(stream).size
        until(lambda: not decoder._service._working)
    (thread,) = decoder._service._thread._threads
    assert thread.is_alive()
    return thread


def test_the_thread_ends_with_its_decoder(folder: Path) -> None:
    thread = used_thread(folder)
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_a_block_that_is_not_wanted_yet_waits_for_one_of_another_reply(
    decoder: SpeechDecoder, batches: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "QUIET_SECONDS", 30.0)
    with decoder.open_stream() as one, decoder.open_stream() as other:
        for stream in (one, other):
            stream.push(speech(10))
            stream._played = time.monotonic() + 60
        batches.clear()
        one.feed(speech(20))
        time.sleep(0.2)
        assert not batches
        other.feed(speech(20))
        until(lambda: batches == [[20, 20]])
        one.push(())
        other.close()
        batches.clear()
        one.feed(speech(20))
        until(lambda: batches == [[20]])
