"""Sound that is wanted at once goes before the steps of the language model."""

from __future__ import annotations

import gc
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from tests.glm import tiny_lm
from tests.glm.clips import clip
from tests.glm.test_batched_lm import GREEDY, tiny_model
from tests.glm.test_lm import prompt
from tests.glm.tiny import write_speech_tokenizer
from tests.glm.tiny_decoder import speech, write_voiced_decoder
from tests.waiting import PATIENCE, Gate, wait_until
from voicerag_core.errors import GenerationError
from voicerag_core.glm.decoder import Schedule, SpeechDecoder
from voicerag_core.glm.decoder import blocks as blocks_module
from voicerag_core.glm.decoder import service as service_module
from voicerag_core.glm.decoder.playout import INTERRUPTED
from voicerag_core.glm.lm import scheduler as scheduler_module
from voicerag_core.glm.lm.batched_lm import BatchedLM
from voicerag_core.glm.lm.interleave import Interleave, ReplyForm
from voicerag_core.glm.lm.loading import quantize_to
from voicerag_core.glm.lm.rows import Batch, Reply
from voicerag_core.glm.pace import Pace
from voicerag_core.glm.speech_tokenizer import tokenizer as tokenizer_module
from voicerag_core.glm.speech_tokenizer.tokenizer import SpeechTokenizer
from voicerag_core.glm.text_tokenizer import TextTokenizer
from voicerag_core.glm.turns import Turns, turns_on
from voicerag_core.types import Audio

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def form(tmp_path_factory: pytest.TempPathFactory) -> ReplyForm:
    folder = tmp_path_factory.mktemp("lm")
    tiny_lm.write_text_files(folder)
    return ReplyForm(TextTokenizer.load(folder), tiny_lm.VOCAB)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voiced_decoder(tmp_path_factory.mktemp("decoder"))


@pytest.fixture
def lm() -> Iterator[BatchedLM]:
    made = BatchedLM(tiny_model(), max_context=512)
    yield made
    made.close()


def test_networks_on_one_device_share_their_turns() -> None:
    assert turns_on(CPU) is turns_on(torch.device("cpu"))
    assert turns_on(torch.device("cuda:0")) is not turns_on(torch.device("cuda:1"))


def test_waiting_ends_with_the_last_who_takes_the_turn() -> None:
    turns = Turns()
    turns.wait(PATIENCE)
    passed = threading.Event()

    def waited() -> None:
        turns.wait(PATIENCE)
        passed.set()

    with turns.take():
        with turns.take():
            thread = threading.Thread(target=waited)
            thread.start()
        assert not passed.wait(0.05)
    assert passed.wait(PATIENCE)
    thread.join()
    with turns.take():
        turns.wait(0.01)  # and not forever
        assert turns.taken


def test_ids_are_expected_by_what_steps_took_and_prompts_that_wait() -> None:
    turns = Turns()
    assert turns.seconds_for(10) is None
    turns.stepped(0.03, reading=True)
    assert turns.seconds_for(10) == pytest.approx(0.3)
    turns.stepped(0.01, reading=False)
    assert turns.seconds_for(10) == pytest.approx(0.1)
    turns.reading_steps = 4
    assert turns.seconds_for(10) == pytest.approx(4 * 0.03 + 6 * 0.01)
    assert turns.seconds_for(3) == pytest.approx(3 * 0.03)


class Heard:
    """Replies that are heard, and what they can spare."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def spare(self, step: float) -> float:
        assert step > 0
        return self.seconds


def test_a_step_reads_what_replies_that_are_heard_can_spare() -> None:
    turns, heard, other = Turns(), Heard(0.01), Heard(10.0)
    assert turns.readable() == turns.spare() == math.inf
    turns.heard(other)
    turns.heard(heard)
    assert turns.readable() == math.inf  # what a token takes is not known
    turns.stepped(0.005, reading=False)
    turns.stepped(0.025, reading=True, tokens=1000)
    assert turns.spare() == 0.01
    assert turns.readable() == pytest.approx(500)
    heard.seconds = -1.0
    assert turns.readable() == 0
    del heard, other
    gc.collect()
    assert turns.readable() == math.inf


def test_prompts_wait_for_replies_that_are_heard(
    lm: BatchedLM, form: ReplyForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "FEW_TOKENS", 4)
    monkeypatch.setattr(scheduler_module, "MOST_PAUSED", PATIENCE)
    read: list[int] = []
    readable, asked = [3.0], threading.Event()
    plain = lm._runner.launch

    def launch(batch: Batch) -> object:
        read.extend(part.stop - part.start for part in batch.parts)
        return plain(batch)

    def spared() -> float:
        asked.set()
        return readable[0]

    monkeypatch.setattr(lm._runner, "launch", launch)
    monkeypatch.setattr(turns_on(CPU), "readable", spared)
    lm._scheduler._part_tokens = 12
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(
            lambda: list(lm.stream(prompt(20), grammar=Interleave(form), sampling=GREEDY))
        )
        assert asked.wait(PATIENCE)
        time.sleep(0.05)
        assert (read, lm.running) == ([], 0)
        assert turns_on(CPU).reading  # so that clips still gather
        readable[0] = 8.0
        assert future.result(PATIENCE)
    assert read == [8, 8, 4]


@pytest.mark.parametrize(
    ("bits", "parts"),
    [(16, [11, 11, 8, 8, 8, 4]), (8, [8, 8, 8, 8, 8, 8, 2])],  # below 32 tokens a step reads 8
)
def test_a_step_reads_more_where_many_prompts_wait(
    form: ReplyForm, monkeypatch: pytest.MonkeyPatch, bits: int, parts: list[int]
) -> None:
    read: list[int] = []
    steps: list[int] = []
    model = tiny_model()
    if bits < 16:
        quantize_to(model, bits, CPU)
    lm = BatchedLM(model, max_context=512)
    plain = lm._runner.launch

    def launch(batch: Batch) -> object:
        read.extend(part.stop - part.start for part in batch.parts)
        steps.append(turns_on(CPU).reading_steps)
        return plain(batch)

    monkeypatch.setattr(lm._runner, "launch", launch)
    lm._scheduler._part_tokens = 8
    ids = (3 * prompt(20))[:50]
    with lm:
        list(lm.stream(ids, grammar=Interleave(form), sampling=GREEDY))
    assert read == parts
    assert steps[: len(read) + 1] == list(range(len(parts), -1, -1))


def test_prompts_that_no_row_is_free_for_are_not_about_to_be_read(
    lm: BatchedLM, form: ReplyForm
) -> None:
    scheduler = lm._scheduler
    scheduler._waiting.extend(
        Reply(prompt(10), Interleave(form), GREEDY, torch.zeros(1), 1)
        for _ in range(lm.capacity + 2)
    )
    assert scheduler._unread() == 10 * lm.capacity
    scheduler._rows[0].reply = scheduler._waiting[0]
    assert scheduler._unread() == 10 * (lm.capacity - 1)
    scheduler._held_back = True  # until one ends, for want of memory
    assert scheduler._unread() == scheduler._steps_to_read() == 0
    scheduler._waiting.clear()
    scheduler._rows[0].reply = None


def test_a_prompt_does_not_wait_for_long(
    lm: BatchedLM, form: ReplyForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "MOST_PAUSED", 0.01)
    monkeypatch.setattr(turns_on(CPU), "readable", lambda: 0.0)
    assert list(lm.stream(prompt(20), grammar=Interleave(form), sampling=GREEDY))


def test_time_in_which_the_turn_is_taken_is_no_pause(
    lm: BatchedLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler, turns = lm._scheduler, turns_on(CPU)
    monkeypatch.setattr(turns, "readable", lambda: 0.0)
    monkeypatch.setattr(scheduler, "_unread", lambda: 100)
    free = [10.0]
    monkeypatch.setattr(turns, "free", lambda: free[0])
    assert scheduler._room() == 0
    assert scheduler._room() == 0  # the clock stands still: sound is made
    assert scheduler._paused == 0
    free[0] += 0.9 * scheduler_module.MOST_PAUSED
    assert scheduler._room() == 0
    free[0] += 0.2 * scheduler_module.MOST_PAUSED
    assert scheduler._room() == scheduler._part_tokens


def test_prompts_that_were_cached_let_others_wait_longer(
    lm: BatchedLM, form: ReplyForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler, turns = lm._scheduler, turns_on(CPU)
    monkeypatch.setattr(turns, "reads", lambda tokens: 0.01 * tokens)
    saved: list[float] = []
    plain = lm._runner.launch

    def launch(batch: Batch) -> object:
        saved.append(scheduler._saved())
        return plain(batch)

    monkeypatch.setattr(lm._runner, "launch", launch)

    def most_saved(ids: list[int]) -> float:
        saved.clear()
        list(lm.stream(ids, grammar=Interleave(form), sampling=GREEDY))
        return max(saved)

    text = prompt(20)
    assert most_saved(text) == 0
    assert most_saved(text) == pytest.approx(0.19)  # all but its last id
    long = (3 * prompt(20))[:50]
    assert most_saved(long) == 0  # its first 20 ids were found, as of the system prompt
    most_saved(long)
    assert most_saved(long) == scheduler_module.MOST_PAUSED_MORE
    assert scheduler._saved() == 0  # nobody is left


def test_what_a_reply_that_is_heard_can_spare(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, pace = SpeechDecoder.load(folder), Pace()
    with decoder.open_stream(pace=pace) as stream:
        assert stream.spare(1.0) == math.inf
        stream.push(speech(10))
        stream._played = time.monotonic() + 600
        stream._playout.decoding = 100.0
        assert stream.spare(1.0) == pytest.approx(600 - 150 - 10 * INTERRUPTED, abs=0.9)
        stream.feed(speech(4))
        assert stream.spare(1.0) == pytest.approx(600 - 150 - 6 * INTERRUPTED, abs=0.9)
        pace.progress = lambda: (5, 0.0)  # written, and not handed over
        assert stream.spare(1.0) == pytest.approx(600 - 150 - INTERRUPTED, abs=0.9)
        assert decoder._service.spare(1.0) == pytest.approx(600 - 150 - INTERRUPTED, abs=0.9)
        monkeypatch.setattr(service_module, "LATEST_SECONDS", 300.0)  # a longer block than any yet
        assert stream.spare(1.0) == pytest.approx(600 - 300 - INTERRUPTED, abs=0.9)
    assert decoder._service.spare(1.0) == math.inf


def test_no_step_begins_while_the_turn_is_taken(
    lm: BatchedLM, form: ReplyForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "MOST_WAITING", 20.0)
    alone = list(lm.stream(prompt(20), grammar=Interleave(form), sampling=GREEDY))
    came: list[int] = []

    def follow() -> None:
        came.extend(lm.stream(prompt(20), grammar=Interleave(form), sampling=GREEDY))

    with ThreadPoolExecutor(1) as pool:
        with turns_on(CPU).take():
            future = pool.submit(follow)
            wait_until(lambda: lm.running == 1)
            time.sleep(0.1)
            assert not came
        future.result(PATIENCE)
    assert came == alone


def test_a_turn_that_is_never_given_back_only_slows_the_language_model_down(
    lm: BatchedLM, form: ReplyForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "MOST_WAITING", 0.001)
    with turns_on(CPU).take():
        assert list(lm.stream(prompt(20), grammar=Interleave(form), sampling=GREEDY))


def test_urgent_blocks_take_the_turn_and_others_do_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = SpeechDecoder.load(folder, schedule=Schedule((10, 10)))
    taken: list[bool] = []
    plain = blocks_module.decode

    def noting(*given: object, **options: object) -> object:
        taken.append(turns_on(CPU).taken)
        return plain(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(service_module, "decode", noting)
    with decoder.open_stream() as stream, decoder.open_stream():
        stream.push(speech(10))
        assert taken == [True]  # its first sound
        assert stream._played is not None
        stream._played += 60
        stream.push(speech(10))
    assert taken == [True, False]


def test_a_batch_that_urgent_blocks_wait_for_takes_the_turn(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = SpeechDecoder.load(folder, schedule=Schedule((10, 10)))
    calm, urgent, _ = (decoder.open_stream() for _ in range(3))
    turns = turns_on(CPU)
    taken: list[bool] = []
    step = decoder.networks.flow.unet.forward

    def noting(*given: object, **options: object) -> object:
        taken.append(turns.taken)
        if len(taken) == 3:
            urgent.feed(speech(10))  # as long as what is decoded: it does not come between
        return step(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(decoder.networks.flow.unet, "forward", noting)
    decoder.networks.prepared = True
    calm._accept(speech(10))
    task = decoder._service.submit(calm._block(last=False), time.monotonic() + 60)
    assert decoder._service.wait(task).sound.size
    assert taken[:10] == [False] * 3 + [True] * 7
    assert urgent.finish().size
    assert not turns.taken


@pytest.mark.parametrize(
    ("name", "busy", "free"),
    [("reading", True, False), ("spare", lambda: 0.0, lambda: math.inf)],
    ids=["prompts are read", "another needs the decoder soon"],
)
def test_blocks_that_are_not_urgent_wait(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, busy: object, free: object
) -> None:
    decoder = SpeechDecoder.load(folder, schedule=Schedule((10, 10)))
    turns = turns_on(CPU)
    stream, other = decoder.open_stream(), decoder.open_stream()
    stream.push(speech(10))
    assert stream._played is not None
    stream._played += 60
    monkeypatch.setattr(turns, name, busy)
    stream.feed(speech(10))
    other.push(speech(10))  # is urgent, and goes first
    assert stream._task is not None
    assert not stream._task.done.wait(0.1)
    monkeypatch.setattr(turns, name, free)
    assert stream.finish().size + other.finish().size


def test_prompts_that_are_read_are_noted(lm: BatchedLM, form: ReplyForm) -> None:
    seen: list[bool] = []
    left: list[int] = []
    lm._scheduler._part_tokens = 8
    runner = lm._runner
    plain = runner.launch

    def launch(batch: object) -> object:
        seen.append(turns_on(CPU).reading)
        left.append(turns_on(CPU).reading_steps)
        return plain(batch)  # type: ignore[arg-type]

    runner.launch = launch  # type: ignore[method-assign,assignment]
    list(lm.stream(prompt(20), grammar=Interleave(form), sampling=GREEDY))
    assert seen[:3] == [True] * 3
    assert not any(seen[3:])
    assert left[:4] == [3, 2, 1, 0]
    assert turns_on(CPU).seconds_for(1)


def test_nothing_is_read_any_more_once_a_language_model_has_ended(
    lm: BatchedLM, form: ReplyForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, gate = turns_on(CPU), Gate()

    def failing(batch: object) -> object:
        gate.wait()
        raise RuntimeError("a bug")

    monkeypatch.setattr(lm._runner, "launch", failing)
    lm._scheduler._part_tokens = 8
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(list, lm.stream(prompt(20), grammar=Interleave(form), sampling=GREEDY))
        assert gate.entered.wait(PATIENCE)
        assert (turns.reading, turns.reading_steps) == (True, 3)
        gate.open.set()
        with pytest.raises(GenerationError, match="a bug"):
            asked.result(PATIENCE)
    wait_until(lambda: (turns.reading, turns.reading_steps) == (False, 0))


def test_clips_wait_longer_behind_prompts_that_are_read_before_theirs(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = SpeechTokenizer.load(write_speech_tokenizer(tmp_path_factory.mktemp("whisper")))
    for queue, expected in ((None, 0.02), (0.01, 0.02), (0.1, 0.06), (3.0, 0.3)):
        monkeypatch.setattr(turns_on(CPU), "seconds_for", lambda _, queue=queue: queue)
        assert tokenizer._gathering() == pytest.approx(expected)


def test_clips_that_come_while_prompts_are_read_are_encoded_together(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = SpeechTokenizer.load(write_speech_tokenizer(tmp_path_factory.mktemp("whisper")))
    clips = [Audio(clip(16_000, number), 16_000) for number in range(3)]
    alone = [tokenizer.encode([one])[0] for one in clips]
    batches: list[int] = []
    plain = tokenizer._fill

    def noting(waiting: list[object], batch_size: int) -> None:
        batches.append(len(waiting))
        plain(waiting, batch_size)  # type: ignore[arg-type]

    monkeypatch.setattr(tokenizer, "_fill", noting)
    monkeypatch.setattr(tokenizer_module, "GATHERING_SECONDS", PATIENCE)
    monkeypatch.setattr(turns_on(CPU), "reading", True)
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(tokenizer.encode, [one]) for one in clips[:2]]
        wait_until(lambda: turns_on(CPU).asking == 2)  # who waits for sound knows of them
        wait_until(lambda: len(tokenizer._waiting) == 2)
        monkeypatch.setattr(turns_on(CPU), "reading", False)
        assert tokenizer.encode([clips[2]]) == [alone[2]]  # takes the others along
        assert [future.result(PATIENCE) for future in futures] == [[alone[0]], [alone[1]]]
    assert batches == [3]
    assert turns_on(CPU).asking == 0
