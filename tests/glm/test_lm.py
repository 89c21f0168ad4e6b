from __future__ import annotations

import contextlib
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.glm import tiny, tiny_lm
from tests.waiting import PATIENCE
from voicerag_core.cancellation import Cancellation
from voicerag_core.errors import CancelledError, ConfigError, GenerationError, ModelError
from voicerag_core.glm.lm import loading, sampler, steps, weight_only
from voicerag_core.glm.lm import torch_lm as lm_module
from voicerag_core.glm.lm.forward import KeyValueCache
from voicerag_core.glm.lm.interleave import Interleave, ReplyForm
from voicerag_core.glm.lm.loading import empty_lm, quantize_to
from voicerag_core.glm.lm.steps import EagerStep, GraphStep, PlainForward
from voicerag_core.glm.lm.torch_lm import TorchLM
from voicerag_core.glm.lm.weight_only import WeightOnlyLinear
from voicerag_core.glm.text_tokenizer import TextTokenizer
from voicerag_core.glm.weights.configs import LMConfig
from voicerag_core.types import Sampling

GOLDEN = Path(__file__).parent / "golden" / "lm.npz"
CONFIG = LMConfig(
    vocab_size=tiny_lm.VOCAB, hidden_size=tiny_lm.HIDDEN, ffn_size=tiny_lm.FFN,
    layers=tiny_lm.LAYERS, heads=tiny_lm.HEADS, kv_heads=tiny_lm.KV_HEADS,
    head_dim=tiny_lm.HEAD_DIM, max_positions=512, pad_token_id=300,
    eos_token_ids=(300, 307, 309), dtype="float32",
)  # fmt: skip
GREEDY = Sampling(temperature=0.0, max_new_tokens=30)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny_model(context: int = 512) -> TorchLM:
    model = empty_lm(CONFIG)
    state = {name: torch.from_numpy(value) for name, value in tiny_lm.glm_weights().items()}
    model.load_state_dict(state, assign=True)
    return TorchLM(model, max_context=context)


@pytest.fixture(scope="module")
def lm() -> TorchLM:
    return tiny_model()


@pytest.fixture(scope="module")
def form(tmp_path_factory: pytest.TempPathFactory) -> ReplyForm:
    folder = tmp_path_factory.mktemp("lm")
    tiny_lm.write_text_files(folder)
    return ReplyForm(TextTokenizer.load(folder), tiny_lm.VOCAB)


def prompt(length: int = 37) -> list[int]:
    return tiny_lm.prompt_ids().tolist()[:length]  # type: ignore[no-any-return]


def reply(lm: TorchLM, form: ReplyForm, ids: list[int], sampling: Sampling = GREEDY) -> list[int]:
    return list(lm.stream(ids, grammar=Interleave(form), sampling=sampling))


def test_scores_are_those_of_the_reference(lm: TorchLM) -> None:
    golden = np.load(GOLDEN)
    logits = lm.logits(torch.from_numpy(tiny_lm.prompt_ids())).numpy()
    assert np.abs(logits - golden["logits"]).max() <= 1e-5
    assert golden["logits"].std() > 0.5
    moved = lm.logits(torch.from_numpy(np.roll(tiny_lm.prompt_ids(), 1))).numpy()
    assert np.abs(moved[-1] - golden["logits"][-1]).max() > 0.1


def test_scores_on_a_cache_are_those_of_the_reference(lm: TorchLM) -> None:
    golden = np.load(GOLDEN)["steps"]
    with torch.inference_mode():
        lm._cached.clear()
        lm._prefill(prompt(30), 0)
        for number, token in enumerate(prompt()[30:]):
            hidden = lm._prefill([token], 30 + number)
            found = lm.model.lm_head(hidden[0, -1]).numpy()
            assert np.abs(found - golden[number]).max() <= 1e-5


def test_scores_under_left_padding_are_those_of_the_reference(
    lm: TorchLM, form: ReplyForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []

    def spy(logits: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        seen.append(logits)
        return sample(logits, *others)

    sample = sampler.sample
    monkeypatch.setattr(lm_module, "sample", spy)
    grammars = [Interleave(form), Interleave(form)]
    lm.generate([prompt(21), prompt(9)], grammars=grammars, sampling=Sampling(max_new_tokens=1))
    assert np.abs(seen[0].numpy() - np.load(GOLDEN)["padded"]).max() <= 1e-5


def test_a_batch_gives_what_each_prompt_gives_alone(lm: TorchLM, form: ReplyForm) -> None:
    prompts = [prompt(21), prompt(9), prompt(30)]
    batch = lm.generate(prompts, grammars=[Interleave(form) for _ in prompts], sampling=GREEDY)
    assert batch == [reply(lm, form, ids) for ids in prompts]
    assert len({tuple(ids) for ids in batch}) == 3
    assert lm.generate([], grammars=[], sampling=GREEDY) == []


def test_a_kept_prefix_changes_nothing_and_is_not_computed_again(
    form: ReplyForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = tiny_model()
    first = reply(lm, form, prompt(20))
    longer = prompt(20) + first + prompt(5)
    expected = reply(tiny_model(), form, longer)
    computed: list[int] = []
    prefill = lm._prefill

    def counted(tokens: list[int], start: int, *, last_only: bool = False) -> torch.Tensor:
        computed.append(len(tokens))
        return prefill(tokens, start, last_only=last_only)

    monkeypatch.setattr(lm, "_prefill", counted)
    assert reply(lm, form, longer) == expected
    assert computed == [6]  # the five new ids, and the last of the reply, which was never run
    assert reply(lm, form, longer) == expected
    assert computed[1] == 1


def test_the_fixed_shapes_of_a_cuda_graph_give_the_same_scores(lm: TorchLM) -> None:
    golden = np.load(GOLDEN)["logits"]
    token, position = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    run = PlainForward(lm.model, lm._cache, lm._rotary, token, position)
    with torch.inference_mode():
        lm._cached.clear()
        lm._prefill(prompt(20), 0)
        for place in range(20, 37):
            token[0, 0], position[0] = prompt()[place], place
            assert np.abs(run(0)[0].numpy() - golden[place]).max() <= 1e-5
            assert np.abs(run(300)[0].numpy() - golden[place, 300:]).max() <= 1e-5
        lm._cached.clear()


class Replayed:
    """In place of a CUDA graph: runs three times when captured, once when replayed."""

    def __init__(self, run: Callable[[], object]) -> None:
        self.replay = run
        for _ in range(3):
            run()


@pytest.mark.parametrize("warmed", [False, True])
def test_steps_as_graphs_give_the_same_reply_warmed_or_not(
    form: ReplyForm, monkeypatch: pytest.MonkeyPatch, warmed: bool
) -> None:
    expected = reply(tiny_model(), form, prompt())
    again = reply(tiny_model(), form, prompt(30))
    monkeypatch.setattr(steps, "warmed_and_captured", Replayed)
    lm = tiny_model()
    step = GraphStep(lm.model, lm._cache, lm._rotary, lm._masks, kernels=False)
    monkeypatch.setattr(lm, "_step", step)
    if warmed:
        lm.warm((form.text, form.audio_or_stop))
    assert reply(lm, form, prompt()) == expected
    assert reply(lm, form, prompt(30)) == again  # the cache holds what the prompt left there
    assert sorted(step._graphs) == [0, form.vocabulary.text_size]


def test_a_long_prompt_goes_through_in_pieces(
    form: ReplyForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = reply(tiny_model(), form, prompt())
    monkeypatch.setattr(lm_module, "PREFILL_TOKENS", 10)
    assert reply(tiny_model(), form, prompt()) == whole


def test_defect_2_a_reply_neither_reads_nor_seeds_the_global_generator(
    lm: TorchLM, form: ReplyForm
) -> None:
    sampling = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=20, seed=4)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = reply(lm, form, prompt(), sampling)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert reply(lm, form, prompt(), sampling) == one
    other = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=20, seed=5)
    assert reply(lm, form, prompt(), other) != one


def test_a_reply_has_its_form_and_ends_at_the_limit(lm: TorchLM, form: ReplyForm) -> None:
    for seed in range(5):
        sampling = Sampling(temperature=2.0, top_p=1.0, max_new_tokens=60, seed=seed)
        ids = reply(lm, form, prompt(), sampling)
        check = Interleave(form)
        for token in ids:
            check.push(token)
        assert len(ids) == 60 or ids[-1] in form.vocabulary.stop_ids


def test_a_reply_ends_where_the_context_does(form: ReplyForm) -> None:
    lm = tiny_model(context=48)
    ids = reply(lm, form, prompt(37), Sampling(temperature=0.0, max_new_tokens=500))
    assert len(ids) == 11 or ids[-1] in form.vocabulary.stop_ids
    with pytest.raises(GenerationError, match="48"):
        reply(lm, form, [1] * 48)


@pytest.mark.parametrize(("ids", "says"), [([], "no token"), ([1, 480], "480"), ([-1], "-1")])
def test_prompts_that_cannot_be_read_are_refused(
    lm: TorchLM, form: ReplyForm, ids: list[int], says: str
) -> None:
    with pytest.raises(GenerationError, match=says):
        reply(lm, form, ids)


def test_damaged_weights_are_reported(form: ReplyForm) -> None:
    lm = tiny_model()
    lm.model.model.layers[1].mlp.down_proj.weight.data[3] = torch.nan
    with pytest.raises(GenerationError, match="not numbers"):
        reply(lm, form, prompt())


def test_a_cancelled_call_stops_and_the_next_is_served(lm: TorchLM, form: ReplyForm) -> None:
    call = Cancellation()
    with (
        call.active(),
        closing(lm.stream(prompt(), grammar=Interleave(form), sampling=GREEDY)) as ids,
    ):
        got = [next(ids) for _ in range(3)]
        call.cancel()
        with pytest.raises(CancelledError):
            next(ids)
    assert reply(lm, form, prompt())[:3] == got


def test_a_second_reply_in_a_thread_with_an_open_one_is_an_error_not_a_deadlock(
    lm: TorchLM, form: ReplyForm
) -> None:
    with closing(lm.stream(prompt(), grammar=Interleave(form), sampling=GREEDY)) as ids:
        next(ids)
        with pytest.raises(GenerationError, match="close it"):
            reply(lm, form, prompt())
    assert reply(lm, form, prompt())


def test_a_waiting_call_can_be_cancelled(lm: TorchLM, form: ReplyForm) -> None:
    call = Cancellation()
    raised: list[BaseException] = []

    def wait() -> None:
        with call.active():
            try:
                reply(lm, form, prompt())
            except CancelledError as e:
                raised.append(e)

    with closing(lm.stream(prompt(), grammar=Interleave(form), sampling=GREEDY)) as ids:
        next(ids)
        thread = threading.Thread(target=wait)
        thread.start()
        call.cancel()
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert len(raised) == 1
    assert reply(lm, form, prompt())


def test_20_threads_at_once_are_served_one_after_another(lm: TorchLM, form: ReplyForm) -> None:
    expected = {n: reply(lm, form, prompt(10 + n)) for n in range(20)}
    found: dict[int, list[int]] = {}
    running: list[int] = []
    start = threading.Barrier(20)

    def ask(number: int) -> None:
        start.wait()
        ids = []
        for token in lm.stream(prompt(10 + number), grammar=Interleave(form), sampling=GREEDY):
            running.append(number)
            ids.append(token)
        found[number] = ids

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert found == expected
    changes = sum(a != b for a, b in pairwise(running))
    assert changes == 19


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_abandoned_streams_leak_nothing(lm: TorchLM, form: ReplyForm, count: int) -> None:
    expected = reply(lm, form, prompt())
    threads = threading.active_count()

    def abandon(count: int) -> None:
        for number in range(count):
            stream = lm.stream(prompt(), grammar=Interleave(form), sampling=GREEDY)
            for _ in range(number % 3):
                next(stream)
            if number % 2:
                stream.close()
            del stream

    abandon(20)
    gc.collect()
    before = len(gc.get_objects())
    abandon(count)
    gc.collect()
    assert len(gc.get_objects()) - before < min(200, count)
    assert threading.active_count() <= threads  # one of a test before may end meanwhile
    assert reply(lm, form, prompt()) == expected


def test_a_model_is_freed_with_its_last_reference(form: ReplyForm) -> None:
    lm = tiny_model()
    reply(lm, form, prompt())
    cache = weakref.ref(lm._cache.keys)
    del lm
    gc.collect()
    assert cache() is None


@contextlib.contextmanager
def full_memory(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> Iterator[None]:
    def refuse(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, refuse)
        yield


def test_too_little_memory_says_how_much_is_needed_and_what_to_choose(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tiny.write_lm(tmp_path / "glm-4-voice-9b")
    with (
        full_memory(monkeypatch, loading, "load_lm"),
        pytest.raises(ModelError, match=r"takes 0\.0 GB.*'int8' or 'int4'.*device 'cpu'") as caught,
    ):
        TorchLM.load(folder)
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    with (
        full_memory(monkeypatch, KeyValueCache, "allocate"),
        pytest.raises(ModelError, match="cache for 512 tokens"),
    ):
        tiny_model()


def test_after_memory_ran_out_the_next_reply_is_right(
    form: ReplyForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = prompt() + reply(tiny_model(), form, prompt())[:1] + prompt(5)
    lm = tiny_model()
    with (
        full_memory(monkeypatch, EagerStep, "__call__"),
        pytest.raises(ModelError, match="too little"),
    ):
        reply(lm, form, prompt())
    assert lm._cached == []  # the last token's keys were never written
    assert reply(lm, form, longer) == reply(tiny_model(), form, longer)


def test_quantized_weights_stay_close() -> None:
    config = LMConfig(
        vocab_size=64, hidden_size=128, ffn_size=256, layers=2, heads=4, kv_heads=2, head_dim=32,
        max_positions=64, pad_token_id=0, eos_token_ids=(0,), dtype="float32",
    )  # fmt: skip
    ids = torch.arange(20)

    def scores(bits: int | None) -> torch.Tensor:
        model = empty_lm(config).to_empty(device="cpu")
        torch.manual_seed(0)
        for weight in model.parameters():
            torch.nn.init.normal_(weight, mean=float(weight.ndim == 1), std=0.08)
        if bits:
            quantize_to(model, bits, torch.device("cpu"))
            held = sum(buffer.nbytes for buffer in model.model.layers.buffers())
            assert held < (0.2 if bits == 4 else 0.3) * 4 * 2 * 180_000
        return TorchLM(model).logits(ids)

    exact = scores(None)
    errors = {bits: ((scores(bits) - exact).norm() / exact.norm()).item() for bits in (8, 4)}
    assert 0 < errors[8] < 0.02
    assert errors[8] < errors[4] < 0.2


@pytest.mark.parametrize("bits", [8, 4])
def test_quantized_rows_that_come_back_in_parts_give_the_same(
    bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    layer = WeightOnlyLinear(torch.nn.Linear(128, 50), bits)
    x = torch.randn(3, 128)
    whole = layer(x)
    monkeypatch.setattr(weight_only, "ROWS_AT_ONCE", 16)
    assert torch.allclose(layer(x), whole, atol=1e-5)
    expected = torch.nn.functional.linear(x, layer.dequantized(), layer.bias)
    assert torch.allclose(whole, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("seen", "given", "expected"),
    [(512, None, 512), (131_072, None, 8192), (131_072, 9000, 9000), (512, 600, 600)],
)
def test_the_cache_is_bounded_unless_more_is_asked_for(
    tmp_path: Path, seen: int, given: int | None, expected: int
) -> None:
    folder = tiny.write_lm(tmp_path, replace(tiny.LM, max_positions=seen))
    lm = TorchLM.load(folder, max_context=given)
    assert lm.max_context == lm._cache.slots == expected


def test_a_context_of_no_token_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_context is at least 1 token, not 0"):
        TorchLM.load(tiny.write_lm(tmp_path), max_context=0)


def test_4_bits_say_which_widths_they_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="multiple of 128, and this one has 96; 8 bits take any"):
        WeightOnlyLinear(torch.nn.Linear(96, 5), 4)
    folder = tiny.write_lm(tmp_path)
    monkeypatch.setattr(loading, "load_lm", None)  # the weights are not read
    with pytest.raises(ConfigError, match=r"multiples of 128.* hidden size 64, .*size 96.*'int8'"):
        TorchLM.load(folder, quantization="int4")


def test_a_model_of_fitting_widths_is_quantized_to_4_bits(tmp_path: Path) -> None:
    config = replace(tiny.LM, hidden_size=128, ffn_size=256, heads=4, head_dim=32)
    folder = tiny.write_lm(tmp_path, config)
    ids = torch.arange(30)
    exact = TorchLM.load(folder, max_context=64).logits(ids)
    four = TorchLM.load(folder, max_context=64, quantization="int4").logits(ids)
    assert 0 < (four - exact).norm() < 0.5 * exact.norm()


def test_a_folder_loads_as_released_and_quantized(tmp_path: Path) -> None:
    folder = tiny.write_lm(tmp_path / "glm-4-voice-9b")
    ids = torch.arange(30)
    exact = TorchLM.load(folder, max_context=64).logits(ids)
    eight = TorchLM.load(folder, quantization="int8", max_context=64).logits(ids)
    assert 0 < (eight - exact).abs().max() < 0.1 * exact.abs().max()
    with pytest.raises(ConfigError, match="int2"):
        TorchLM.load(folder, quantization="int2")  # type: ignore[arg-type]
