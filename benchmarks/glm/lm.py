"""The language model at full size with random weights on one GPU: speed, latency and memory.

    PYTHONPATH=src python -m benchmarks.glm.lm --out DIR [--reference DIR] [--seconds 180]
    PYTHONPATH=src python -m benchmarks.glm.lm --out DIR --from FILE.json [--also FILE.json]

Measures, in one run: the read bandwidth of the GPU; tokens per second of one stream in bfloat16,
int8 and int4, with and without Triton kernels, and the bound set by reading the weights; the time
from the end of a 5 s question with four passages to the first sample of the answer, and its parts;
memory. `--reference` names a folder with upstream's modeling_chatglm.py and
configuration_chatglm.py (not part of this project); its token loop runs in the same process. Parts
that would start after `--seconds` are skipped with a note. `--tiny` tries the script on a CPU.
glm_lm.json is written after every part, the report and its plot at the end; `--from` rewrites
these, `--also` with earlier runs, `--decoder` with upstream's first sample from glm_decoder.json.
"""

from __future__ import annotations

import argparse
import base64
import gc
import importlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.chart import write_json
from benchmarks.glm.lm_report import REALTIME, report
from voicerag_core import Audio, Passage
from voicerag_core.glm.lm.forward import embedding_table, forward
from voicerag_core.glm.lm.interleave import Interleave, ReplyForm
from voicerag_core.glm.lm.loading import empty_lm
from voicerag_core.glm.lm.torch_lm import TorchLM
from voicerag_core.glm.lm.weight_only import WeightOnlyLinear, quantize_linears
from voicerag_core.glm.text_tokenizer import (
    FIRST_AUDIO_ID,
    SPECIAL_TOKENS,
    TextTokenizer,
)
from voicerag_core.glm.voice import GLMVoice
from voicerag_core.glm.weights.configs import DecoderConfig, LMConfig, SpeechTokenizerConfig
from voicerag_core.types import Sampling

RANKS = 151329
AUDIO_TOKENS = 16384
TOKENS = 260
QUESTION_SECONDS = 5.0
RUNS = 15
TINY = LMConfig(hidden_size=256, ffn_size=256, layers=2, heads=8, kv_heads=2, head_dim=32)


class Clock:
    """Tracks the remaining time, and stores figures and failures."""

    def __init__(self, seconds: float, out: Path) -> None:
        self._out = out
        self._end = time.perf_counter() + seconds
        self._start = time.perf_counter()
        self.found: dict[str, Any] = {}

    def part(self, name: str, run: Callable[[], dict[str, Any]]) -> None:
        """Run a part unless time is up; a failure is recorded and the next part still runs."""
        begun = time.perf_counter()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        if begun > self._end:
            self.found[name] = {"left_out": "time was up"}
        else:
            try:
                self.found[name] = run()
            except Exception as error:  # noqa: BLE001 - the other parts are still worth having
                traceback.print_exc()
                self.found[name] = {"failed": f"{type(error).__name__}: {error}"}
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        write_json(self._out, self.found)
        took = time.perf_counter() - begun
        print(f"[{time.perf_counter() - self._start:6.1f} s] {name} ({took:.1f} s):", flush=True)
        print("   ", json.dumps(self.found[name]), flush=True)


def main() -> None:
    options = parsed()
    figures = options.out / "glm_lm.json"
    earlier = options.source
    found = json.loads(earlier.read_text()) if earlier else measure(options, figures)
    others = [json.loads(path.read_text()) for path in options.also]
    decoder = json.loads(options.decoder.read_text()) if options.decoder else None
    report(figures.with_suffix(".md"), found, others, decoder)
    print(figures.with_suffix(".md").read_text())


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--from", dest="source", type=Path, help="figures to report again")
    parser.add_argument("--also", type=Path, nargs="*", default=[], help="figures of earlier runs")
    parser.add_argument("--decoder", type=Path, help="glm_decoder.json")
    return parser.parse_args()


def measure(options: argparse.Namespace, figures: Path) -> dict[str, Any]:
    device = torch.device(options.device)
    config = TINY if options.tiny else LMConfig()
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    clock = Clock(options.seconds, figures)
    clock.found["machine"] = machine(device, config)
    tokenizer = text_tokenizer()
    clock.part("read_bandwidth", lambda: bandwidth(device, tiny=options.tiny))
    bound = (clock.found["read_bandwidth"].get("gb_per_s") or 1.0) * 1e9

    unquantized(clock, options, config, tokenizer, (device, dtype))
    for bits in (4, 8):
        clear(device)
        clock.part(
            f"int{bits}",
            lambda bits=bits: decode_speed(  # type: ignore[misc]
                TorchLM(random_lm(config, device, dtype, bits)), tokenizer, bound
            ),
        )
    if options.reference:
        clear(device)
        clock.part(
            "upstream",
            lambda: upstream(options.reference, config, device, dtype, tiny=options.tiny),
        )
    return clock.found


def unquantized(
    clock: Clock,
    options: argparse.Namespace,
    config: LMConfig,
    tokenizer: TextTokenizer,
    place: tuple[torch.device, torch.dtype],
) -> None:
    """Run the parts that share one model, and free it afterwards."""
    device, dtype = place
    bound = (clock.found["read_bandwidth"].get("gb_per_s") or 1.0) * 1e9
    model = random_lm(config, device, dtype)
    lm = TorchLM(model)
    clock.part("bf16", lambda: decode_speed(lm, tokenizer, bound))
    clock.part("agreement", lambda: agreement(lm, config))
    clock.part("first_audio", lambda: first_audio(lm, tokenizer, device, tiny=options.tiny))
    clock.part("prefill", lambda: prefill(lm))
    clock.part(
        "bf16_without_triton",
        lambda: decode_speed(TorchLM(model, kernels=False), tokenizer, bound, tokens=80),
    )


def machine(device: torch.device, config: LMConfig) -> dict[str, Any]:
    import transformers

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "date": datetime.now(tz=UTC).date().isoformat(),
        "device": name,
        "cpus": os.cpu_count(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "layers": config.layers,
        "hidden": config.hidden_size,
    }


def clear(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def sync(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def gigabytes(device: torch.device, before: int = 0) -> dict[str, float]:
    if device.type != "cuda":
        return {}
    return {
        "allocated_gb": round((torch.cuda.memory_allocated(device) - before) / 1e9, 2),
        "peak_gb": round((torch.cuda.max_memory_allocated(device) - before) / 1e9, 2),
    }


def bandwidth(device: torch.device, *, tiny: bool) -> dict[str, Any]:
    """Read one large tensor by several reductions; the fastest is the bandwidth."""
    size = (1 << 22) if tiny else (1 << 31)
    words = torch.zeros(size, dtype=torch.float32, device=device)
    vector = torch.ones(8192, device=device)
    rows = words.view(-1, 8192)
    found = {}
    runs: dict[str, Callable[[], object]] = {
        "sum": words.sum,
        "amax": words.amax,
        "matvec": lambda: rows @ vector,
    }
    for name, run in runs.items():
        times = []
        for _ in range(6):
            sync(device)
            begun = time.perf_counter()
            run()
            sync(device)
            times.append(time.perf_counter() - begun)
        found[name] = round(words.nbytes / min(times) / 1e9, 1)
    return {"gb_per_s": max(found.values()), "by": found}


def random_lm(
    config: LMConfig, device: torch.device, dtype: torch.dtype, bits: int | None = None
) -> Any:  # noqa: ANN401
    """Create a model with random weights on the device, optionally quantized layer by layer."""
    model = empty_lm(config)
    model.to(dtype)
    generator = torch.Generator(device).manual_seed(0)
    parts = [model.lm_head, *model.model.layers, model.model.embed_tokens, model.model.norm]
    for part in parts:
        part.to_empty(device=device)
        for weight in part.parameters():
            if weight.ndim == 1:
                torch.nn.init.ones_(weight)
            else:
                torch.nn.init.normal_(weight, std=0.02, generator=generator)
        if bits and part is model.lm_head:
            model.lm_head = WeightOnlyLinear(part, 8)
        elif bits:
            quantize_linears(part, bits)
    return model


def text_tokenizer() -> TextTokenizer:
    """Create a tokenizer of the released size from synthetic ranks, in upstream's file format."""
    words = [bytes([a]) for a in range(256)]
    words += [bytes([a, b]) for a in range(256) for b in range(256)]
    letters = b" etaoinsrhldcumfpgwybvk,.ETAOINSRHLDCUMFPGWYBVK-'1234567890"
    words += [bytes([a, b, c]) for a in letters for b in letters for c in letters]
    lines = [base64.b64encode(word) + b" %d" % rank for rank, word in enumerate(words[:RANKS])]
    names = dict(enumerate(SPECIAL_TOKENS, RANKS))
    names |= {FIRST_AUDIO_ID + n: f"<|audio_{n}|>" for n in range(AUDIO_TOKENS)}
    decoder = {str(token): {"content": name} for token, name in names.items()}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "tokenizer.model").write_bytes(b"\n".join(lines))
        (place / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": decoder}))
        return TextTokenizer.load(place)


def strict_form(tokenizer: TextTokenizer, rows: int) -> ReplyForm:
    """Constrain random weights to 13 text and 26 audio tokens, as trained ones produce."""
    form = ReplyForm(tokenizer, rows)
    form.any = form.text
    form.audio_or_stop = form.audio
    return form


def read_bytes(lm: TorchLM) -> int:
    """Return the bytes of the weights read per token: all but the input embedding table."""
    model = lm.model
    table: int = embedding_table(model).nbytes
    weights = [t for t in (*model.parameters(), *model.buffers()) if not t.is_meta]
    return sum(int(t.nbytes) for t in weights) - table


def decode_speed(
    lm: TorchLM, tokenizer: TextTokenizer, bandwidth_bytes: float, tokens: int = TOKENS
) -> dict[str, Any]:
    """Time one stream after a prompt of 700 ids, in the form of a reply."""
    form = strict_form(tokenizer, lm.table_size)
    begun = time.perf_counter()
    lm.warm((form.text, form.audio))
    warm = time.perf_counter() - begun
    prompt = np.random.default_rng(1).integers(0, RANKS, 700).tolist()
    times: list[float] = []
    sampling = Sampling(seed=1, max_new_tokens=tokens)
    with closing(lm.stream(prompt, grammar=Interleave(form), sampling=sampling)) as ids:
        times.extend(time.perf_counter() for _ in ids)
    steps = np.diff(times[10:]) if len(times) > 20 else np.diff(times)
    speed = 1 / float(np.mean(steps))
    weights = read_bytes(lm)
    limit = bandwidth_bytes / weights
    step: Any = lm._step
    return {
        "tokens_per_s": round(speed, 1),
        "bound_tokens_per_s": round(limit, 1),
        "share_of_bound": round(speed / limit, 3),
        "read_gb_per_token": round(weights / 1e9, 2),
        "step_ms_p50": round(1000 * float(np.median(steps)), 3),
        "step_ms_p95": round(1000 * float(np.quantile(steps, 0.95)), 3),
        "times_real_time": round(speed / REALTIME, 2),
        "warm_s": round(warm, 1),
        "tiles": {
            k: list(v) for k, v in getattr(getattr(step, "_run", None), "_tiles", {}).items()
        },
        "kernel_us": kernel_times(lm),
        "graph_ms": graph_times(lm),
        **gigabytes(lm.device),
    }


def kernel_times(lm: TorchLM) -> dict[str, float]:
    """Time each kind of kernel over all layers, as microseconds per layer, in a graph."""
    from voicerag_core.glm.lm.cuda_graphs import seconds_as_graph
    from voicerag_core.glm.lm.fused_forward import FusedForward

    run: Any = getattr(lm._step, "_run", None)
    if not isinstance(run, FusedForward):
        return {}
    found = {}
    kinds = {"qkv": run._project, "out": run._output, "gate_up": run._gate, "down": run._down}
    kinds["attention"] = run._attend
    with torch.inference_mode():
        for name, kind in kinds.items():
            seconds = seconds_as_graph(lambda kind=kind: [kind(layer) for layer in run.layers])  # type: ignore[misc]
            found[name] = round(1e6 * seconds / len(run.layers), 2)
        found["head_all"] = round(1e6 * seconds_as_graph(lambda: run._scores(0)), 2)
        found["head_speech"] = round(1e6 * seconds_as_graph(lambda: run._scores(RANKS)), 2)
    lm._cached.clear()
    return found


def graph_times(lm: TorchLM) -> dict[str, float]:
    """Time the GPU part of a step, including sampling, by the first allowed id."""
    graphs: dict[int, Any] = getattr(lm._step, "_graphs", {})
    found = {}
    for start, graph in graphs.items():
        ends = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
        ends[0].record()
        for _ in range(10):
            graph.replay()
        ends[1].record()
        torch.cuda.synchronize()
        found[f"from_{start}"] = round(ends[0].elapsed_time(ends[1]) / 10, 3)
    lm._cached.clear()
    return found


def agreement(lm: TorchLM, config: LMConfig) -> dict[str, Any]:
    """Compare the scores of the decoding step and of the plain forward pass with float32."""
    run: Any = getattr(lm._step, "_run", None)
    if run is None:
        return {"same_code": True}
    device = lm.device
    prompt = np.random.default_rng(2).integers(0, RANKS, 300).tolist()
    with torch.inference_mode():
        lm._cached.clear()
        lm._prefill(prompt[:-1], 0)
        lm._cached.clear()
        place = torch.tensor([len(prompt) - 1], device=device)
        hidden = forward(
            lm.model, torch.tensor([prompt[-1:]], device=device), positions=place[None],
            slots=place, filled=len(prompt), mask=None, cache=lm._cache, rotary=lm._rotary,
        )  # fmt: skip
        plain = lm.model.lm_head(hidden[:, -1])[0].float()
        step: Any = lm._step
        step._token.fill_(prompt[-1])
        step._position.fill_(len(prompt) - 1)
        fused = run(0)[0].float().clone()
        exact = exact_scores(lm, config, prompt)

    def away(scores: torch.Tensor) -> float:
        return float((scores - exact).norm() / exact.norm())

    return {
        "kernels_from_float32": away(fused),
        "plain_from_float32": away(plain),
        "same_best_id": bool(fused.argmax() == exact.argmax()),
    }


def exact_scores(lm: TorchLM, config: LMConfig, prompt: list[int]) -> torch.Tensor:
    """Return the scores after a prompt with the same weights in float32, [V]."""
    model = empty_lm(config)
    model.load_state_dict(
        {name: weight.float() for name, weight in lm.model.state_dict().items()}, assign=True
    )
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    scores = TorchLM(model, max_context=512, graphs=False).logits(torch.tensor(prompt))[-1]
    torch.set_float32_matmul_precision(precision)
    return scores


def prefill(lm: TorchLM) -> dict[str, Any]:
    """Time prompts of several lengths without cached prefixes."""
    found = {}
    for length in (256, 800, 2000, 7900):
        prompt = np.random.default_rng(length).integers(0, RANKS, length).tolist()
        times = []
        for _ in range(3):
            lm._cached.clear()
            sync(lm.device)
            begun = time.perf_counter()
            with torch.inference_mode():
                lm._prefill(prompt, 0, last_only=True)
            sync(lm.device)
            times.append(time.perf_counter() - begun)
        found[f"{length}_tokens_ms"] = round(1000 * min(times), 1)
    return {**found, **gigabytes(lm.device)}


def first_audio(
    lm: TorchLM, tokenizer: TextTokenizer, device: torch.device, *, tiny: bool
) -> dict[str, Any]:
    """Time a spoken question with four passages up to the first sample of the answer."""
    from voicerag_core.glm.decoder import SpeechDecoder
    from voicerag_core.glm.speech_tokenizer.tokenizer import SpeechTokenizer
    from voicerag_core.glm.weights.tensor_shapes import (
        flow_shapes,
        hift_shapes,
        speech_tokenizer_shapes,
    )

    speech, decoding = SpeechTokenizerConfig(), DecoderConfig()
    if tiny:
        speech = replace(speech, layers=1, hidden_size=128, heads=2, ffn_size=128)
        flow = replace(decoding.flow, unet_channels=(32, 32), unet_mid_blocks=1, unet_blocks=1)
        decoding = replace(decoding, flow=flow, hift=replace(decoding.hift, channels=64))
    encoder = SpeechTokenizer(
        speech, random_state(speech_tokenizer_shapes(speech), device), device=device,
        dtype=torch.float32 if tiny else torch.bfloat16,
    )  # fmt: skip
    decoder = SpeechDecoder.from_state(
        decoding,
        random_state(flow_shapes(decoding.flow), device),
        random_state(hift_shapes(decoding.hift), device),
        device=device,
        dtype=torch.float32 if tiny else torch.bfloat16,
    )
    prepare = getattr(decoder, "warm", None)
    begun = time.perf_counter()
    if callable(prepare):
        prepare()
    warm = time.perf_counter() - begun
    voice = GLMVoice(lm, tokenizer, encoder, decoder)
    voice._form = strict_form(tokenizer, lm.table_size)
    draw = np.random.default_rng(3)
    total: list[float] = []
    encode: list[float] = []
    text: list[float] = []
    prompts: list[int] = []
    for run in range(2 if tiny else RUNS + 2):
        clip = Audio(
            (0.1 * draw.standard_normal(int(16000 * QUESTION_SECONDS))).astype(np.float32), 16000
        )
        passages = [
            Passage(f"p{run}-{n}", f"Run {run}, passage {n}. " + "The voltage is held. " * 16,
                    {"title": f"Manual {n}"})
            for n in range(4)
        ]  # fmt: skip
        sync(device)
        begun = time.perf_counter()
        with closing(
            voice.respond(clip, passages, sampling=Sampling(seed=run, max_new_tokens=64))
        ) as pieces:
            for piece in pieces:
                if piece.text and not text[run:]:
                    text.append(time.perf_counter() - begun)
                    encode.append(piece.timings["encode"])
                if piece.audio is not None:
                    total.append(time.perf_counter() - begun)
                    break
        prompts.append(len(lm._cached))
    kept = slice(0 if tiny else 2, None)  # the first two runs warm up

    def ms(times: list[float]) -> float:
        return round(1000 * statistics.median(times[kept]), 1)

    return {
        "first_audio_ms_p50": ms(total),
        "first_audio_ms_p95": round(1000 * float(np.quantile(total[kept], 0.95)), 1),
        "first_text_ms_p50": ms(text),
        "encode_ms_p50": ms(encode),
        "from_text_to_audio_ms_p50": ms([a - t for a, t in zip(total, text, strict=True)]),
        "tokens_at_first_audio": int(statistics.median(prompts)),
        "runs": len(total[kept]),
        "decoder_warm_s": round(warm, 1),
        **gigabytes(device),
    }


def random_state(shapes: dict[str, tuple[int, ...]], device: torch.device) -> dict[str, Any]:
    generator = torch.Generator(device).manual_seed(4)
    state = {}
    for name, shape in shapes.items():
        wide = float(np.prod(shape[1:])) if len(shape) > 1 else 0.0
        drawn = torch.randn(shape, generator=generator, device=device)
        state[name] = drawn / wide**0.5 if wide else 1 + 0.1 * drawn
    return state


def upstream(
    folder: Path, config: LMConfig, device: torch.device, dtype: torch.dtype, *, tiny: bool
) -> dict[str, Any]:
    """Run the sampling loop of transformers' generate() around upstream's model code.

    As model_server.py of THUDM/GLM-4-Voice @ eb00ce9 runs it: own cache grown by concatenation,
    temperature 0.2, top-p 0.8, each token copied to the CPU for the streamer.
    """
    from transformers import TemperatureLogitsWarper, TopPLogitsWarper

    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    model = upstream_model(folder, config, device, dtype)
    warpers = (TemperatureLogitsWarper(0.2), TopPLogitsWarper(0.8))
    prompt = 60 if tiny else 750

    def run(count: int) -> list[float]:
        ids = torch.randint(0, RANKS, (1, prompt), device=device)
        past, times = None, [time.perf_counter()]
        with torch.inference_mode():
            for number in range(count):
                new = ids if past is None else ids[:, -1:]
                first = 0 if past is None else ids.shape[1] - 1
                out = model(
                    input_ids=new,
                    position_ids=torch.arange(first, ids.shape[1], device=device)[None],
                    attention_mask=torch.ones_like(ids),
                    past_key_values=past,
                    use_cache=True,
                    return_dict=True,
                    return_last_logit=True,
                )
                past = out.past_key_values
                scores = out.logits[:, -1].float()
                for warper in warpers:
                    scores = warper(ids, scores)
                drawn = torch.multinomial(torch.softmax(scores, dim=-1), 1)
                ids = torch.cat((ids, drawn), dim=1)
                drawn.cpu()
                times.append(time.perf_counter())
                del number
        return times

    run(4)
    runs = [run(39) for _ in range(2 if tiny else 5)]
    steps = np.concatenate([np.diff(times[2:]) for times in runs])

    def after(tokens: int) -> float:
        return round(1000 * statistics.median(t[tokens] - t[0] for t in runs), 1)

    return {
        "tokens_per_s": round(1 / float(np.mean(steps)), 1),
        "step_ms_p50": round(1000 * float(np.median(steps)), 2),
        "prompt_tokens": prompt,
        "prompt_to_23_tokens_ms": after(23),
        "prompt_to_38_tokens_ms": after(38),
        **gigabytes(device, before),
    }


def upstream_model(folder: Path, config: LMConfig, device: torch.device, dtype: torch.dtype) -> Any:  # noqa: ANN401
    sys.path.insert(0, str(folder.resolve().parent))
    modeling = importlib.import_module(f"{folder.resolve().name}.modeling_chatglm")
    settings = importlib.import_module(f"{folder.resolve().name}.configuration_chatglm")
    values = settings.ChatGLMConfig(
        num_layers=config.layers, padded_vocab_size=config.vocab_size,
        hidden_size=config.hidden_size, ffn_hidden_size=config.ffn_size,
        kv_channels=config.head_dim, num_attention_heads=config.heads, seq_length=8192,
        layernorm_epsilon=config.norm_eps, add_qkv_bias=True, multi_query_attention=True,
        multi_query_group_num=config.kv_heads, rope_ratio=1, original_rope=True,
        post_layer_norm=True, eos_token_id=list(config.eos_token_ids),
        pad_token_id=config.pad_token_id,
    )  # fmt: skip
    values.torch_dtype = dtype
    values.use_cache, values.num_hidden_layers = True, config.layers
    object.__setattr__(values, "max_length", 8192)
    values._attn_implementation = values._attn_implementation_internal = "sdpa"
    with torch.device(device):
        model = modeling.ChatGLMForConditionalGeneration(values, empty_init=True)
    model = model.to_empty(device=device).to(dtype)  # its constructor creates weights on the CPU
    for name, weight in model.named_parameters():
        if weight.ndim == 1 and "norm" in name:
            torch.nn.init.ones_(weight)
        else:
            torch.nn.init.normal_(weight, std=0.02)
    return model.train(mode=False)


if __name__ == "__main__":
    main()
