"""SONAR's encoders in plain torch compared with transformers' models of the same architecture.

    python -m benchmarks.sonar.encoders --out FOLDER           # one GPU, true sizes, a minute
    python -m benchmarks.sonar.encoders --out FOLDER --tiny    # CPU, small sizes: a smoke test
    python -m benchmarks.sonar.encoders --out FOLDER --from FOLDER/sonar.json    # the report alone

Weights are random, drawn on the device, and shared by both sides. The rival of the text encoder is
`M2M100Encoder`; that of the speech encoder is `SeamlessM4TConformerEncoder` with
`SeamlessM4TFeatureExtractor`, followed by our pooler, which transformers lacks. The rival gets
batches in the order of the input (a loop over a list) and, as its best case, batches sorted by
length with the same budget as ours. Every figure is the median of several runs that alternate
between the sides. The difference of the vectors is reported too and, for scale, that between the
two most similar vectors of different inputs.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.chart import write_json
from benchmarks.sonar.encoders_report import write
from voicerag_core.sonar import encoding
from voicerag_core.sonar.batches import batches_by_length
from voicerag_core.sonar.fbank import stacked_features
from voicerag_core.sonar.speech_encoder import SonarSpeechEncoder, SpeechSizes
from voicerag_core.sonar.text_encoder import TextEncoder, TextSizes

RATE = 16_000
NAIVE_BATCH = 64
"""Texts of a batch of the rival in the order of the input."""
NAIVE_CLIPS = 8

TEXT_NAMES = (
    (r"^encoder_frontend\.embed\.", "embed_tokens."),
    (r"^encoder\.layers\.", "layers."),
    (r"\.self_attn\.output_proj\.", ".self_attn.out_proj."),
    (r"\.ffn\.inner_proj\.", ".fc1."),
    (r"\.ffn\.output_proj\.", ".fc2."),
    (r"\.ffn_layer_norm\.", ".final_layer_norm."),
)
SPEECH_NAMES = (
    (r"^encoder_frontend\.post_extract_layer_norm\.", "feature_projection.layer_norm."),
    (r"^encoder_frontend\.model_dim_proj\.", "feature_projection.projection."),
    (r"^layer_norm\.", "encoder.layer_norm."),
    (r"^(encoder\.layers\.\d+)\.layer_norm\.", r"\1.final_layer_norm."),
    (r"\.conv_layer_norm\.", ".conv_module.layer_norm."),
    (r"\.conv\.", ".conv_module."),
    (r"\.self_attn\.([qkv])_proj\.", r".self_attn.linear_\1."),
    (r"\.self_attn\.output_proj\.", ".self_attn.linear_out."),
    (r"\.sdpa\.r_proj\.", ".linear_pos."),
    (r"\.sdpa\.([uv])_bias$", r".pos_bias_\1"),
    (r"\.inner_proj\.", ".intermediate_dense."),
    (r"\.output_proj\.", ".output_dense."),
)


def drawn(module: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Materialize a module on the meta device with random weights that keep activations near 1."""
    draw = torch.Generator(device).manual_seed(0)
    state = {}
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            state[name] = torch.ones((), dtype=tensor.dtype, device=device)
            continue
        x = torch.randn(tensor.shape, generator=draw, device=device)
        if name.endswith("running_var"):
            x = x.abs() + 0.5
        elif "norm" in name and name.endswith(".weight"):
            x = 1 + 0.1 * x
        elif x.ndim == 1 or name.endswith("_bias"):
            x = 0.1 * x
        else:
            x = x * x[0].numel() ** -0.5
        state[name] = x.to(dtype)
    module.load_state_dict(state, strict=True, assign=True)
    return module.eval().requires_grad_(False)


def renamed(state: dict[str, Tensor], rules: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Rename tensors to transformers' names."""
    made = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)  # noqa: PLW2901
        made[name] = tensor
    return made


class TheirText:
    """transformers' `M2M100Encoder` with the mean over tokens."""

    def __init__(self, ours: TextEncoder, attention: str) -> None:
        from transformers import M2M100Config
        from transformers.models.m2m_100.modeling_m2m_100 import M2M100Encoder

        sizes = ours.sizes
        config = M2M100Config(
            vocab_size=sizes.vocabulary, d_model=sizes.width, encoder_layers=sizes.layers,
            encoder_attention_heads=sizes.heads, encoder_ffn_dim=sizes.inner, dropout=0.0,
            attention_dropout=0.0, activation_function="relu", scale_embedding=True,
            max_position_embeddings=514, pad_token_id=1, attn_implementation=attention,
        )  # fmt: skip
        self.model = M2M100Encoder(config)
        state = renamed(dict(ours.state_dict()), TEXT_NAMES)
        missing = self.model.load_state_dict(state, strict=False, assign=True)
        assert not missing.unexpected_keys, missing
        weight = next(iter(ours.state_dict().values()))
        self.device = weight.device
        self.model.to(weight.device, weight.dtype).eval()  # the positions are not in the state

    def encode(self, ids: Sequence[list[int]]) -> Tensor:
        """Encode one batch."""
        width = max(map(len, ids))
        tokens = torch.tensor([one + [1] * (width - len(one)) for one in ids]).to(self.device)
        mask = torch.tensor([[1] * len(one) + [0] * (width - len(one)) for one in ids])
        mask = mask.to(self.device)
        states = self.model(input_ids=tokens, attention_mask=mask).last_hidden_state
        kept = mask[..., None]
        found: Tensor = (states * kept).float().sum(1) / kept.sum(1)
        return found


class TheirSpeech:
    """transformers' conformer of SeamlessM4T and its feature extractor, with our pooler."""

    def __init__(self, ours: SonarSpeechEncoder) -> None:
        from transformers import SeamlessM4TConfig, SeamlessM4TFeatureExtractor
        from transformers.models.seamless_m4t import modeling_seamless_m4t as seamless

        sizes = ours.sizes
        config = SeamlessM4TConfig(
            hidden_size=sizes.width, speech_encoder_layers=sizes.layers,
            speech_encoder_attention_heads=sizes.heads, speech_encoder_dropout=0.0,
            speech_encoder_intermediate_size=sizes.inner, speech_encoder_hidden_act="swish",
            position_embeddings_type="relative", conv_depthwise_kernel_size=sizes.kernel,
            feature_projection_input_dim=sizes.features, max_source_positions=4096,
            add_adapter=False, attn_implementation="sdpa",
        )  # fmt: skip
        self.projection = seamless.SeamlessM4TConformerFeatureProjection(config)
        self.encoder = seamless.SeamlessM4TConformerEncoder(config)
        both = nn.ModuleDict({"feature_projection": self.projection, "encoder": self.encoder})
        state = renamed(dict(ours.state_dict()), SPEECH_NAMES)
        state = {k: v for k, v in state.items() if not k.startswith("encoder_pooler")}
        both.load_state_dict(state, strict=True, assign=True)
        self.device, self.dtype = ours.layer_norm.weight.device, ours.layer_norm.weight.dtype
        both.to(self.device, self.dtype).eval()
        self.pooler = ours.encoder_pooler
        self.extractor = SeamlessM4TFeatureExtractor()

    def features(self, samples: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """Extract one batch as [N, S, 160] with its mask [N, S]; only on the CPU."""
        made = self.extractor(
            list(samples), sampling_rate=RATE, padding=True, pad_to_multiple_of=2,
            return_tensors="pt",
        )  # fmt: skip
        return made["input_features"], made["attention_mask"]

    def encode(self, features: Tensor, mask: Tensor) -> Tensor:
        """Encode one batch of features."""
        x = features.to(self.device, self.dtype)
        kept = mask.to(self.device)
        states = self.encoder(self.projection(x), attention_mask=kept)
        states = states if isinstance(states, Tensor) else states.last_hidden_state
        found: Tensor = self.pooler(states, kept[:, None, None, :].bool()).float()
        return found


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Time one run, including all its work on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def medians(
    runs: dict[str, Callable[[], object]], times: int, device: torch.device
) -> dict[str, float]:
    """Run each `times` times, alternating, after a warm-up."""
    for run in runs.values():
        run()
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(times):
        order = list(runs) if turn % 2 else list(reversed(runs))
        for name in order:
            taken[name].append(seconds(runs[name], device))
    return {name: statistics.median(values) for name, values in taken.items()}


def largest_difference(found: np.ndarray | Tensor, expected: np.ndarray | Tensor) -> float:
    """Return the largest difference of two sets of L2-normalised vectors."""
    both = [np.asarray(torch.as_tensor(x).cpu(), np.float64) for x in (found, expected)]
    one, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in both)
    return float(np.abs(one - other).max())


def least_gap(found: np.ndarray) -> float:
    """Return the largest difference of the two closest vectors: near 0 if all inputs agree."""
    rows = found / np.linalg.norm(found, axis=1, keepdims=True)
    return min(
        float(np.abs(rows[:place] - rows[place]).max(axis=1).min()) for place in range(1, len(rows))
    )


def text_figures(device: torch.device, dtype: torch.dtype, *, tiny: bool) -> dict[str, Any]:
    """Measure the text encoders."""
    sizes = TextSizes(606, 128, 3, 2, 256) if tiny else TextSizes(256_206, 1024, 24, 16, 8192)
    with torch.device("meta"):
        ours = TextEncoder(sizes)
    drawn(ours, device, dtype)
    theirs = TheirText(ours, "sdpa")
    draw = np.random.default_rng(0)
    count = 96 if tiny else 2048
    lengths = np.clip(draw.lognormal(3.4, 0.6, count), 4, 400).astype(int)
    texts = [draw.integers(4, sizes.vocabulary, length).tolist() for length in lengths]
    question = texts[0][:14] + [5] * (14 - len(texts[0][:14]))
    naive = [list(range(at, min(at + NAIVE_BATCH, count))) for at in range(0, count, NAIVE_BATCH)]
    budgets = {"most": encoding.DEVICE_BATCH, "budget": encoding.DEVICE_TOKENS}
    ordered = list(batches_by_length([len(one) for one in texts], **budgets))

    def rival(batches: Sequence[list[int]]) -> np.ndarray:
        rows = np.empty((count, sizes.width), np.float32)
        for batch in batches:
            rows[batch] = theirs.encode([texts[place] for place in batch]).cpu().numpy()
        return rows

    found = encoding.encode_ids(ours, texts, device)
    own = {"most": encoding.CPU_BATCH, "budget": encoding.CPU_TOKENS} if tiny else budgets
    same = list(batches_by_length([len(one) for one in texts], **own))
    bulk = medians(
        {
            "ours": lambda: encoding.encode_ids(ours, texts, device),
            "transformers, in order": lambda: rival(naive),
            "transformers, sorted": lambda: rival(ordered),
        },
        3 if tiny else 5,
        device,
    )
    single = medians(
        {
            "ours": lambda: encoding.encode_ids(ours, [question], device),
            "transformers": lambda: theirs.encode([question]).cpu().numpy(),
        },
        5 if tiny else 40,
        device,
    )
    return {
        "parameters": sum(tensor.numel() for tensor in ours.parameters()),
        "texts": count,
        "tokens": int(sum(map(len, texts))),
        "difference": largest_difference(found, rival(naive)),
        "difference, same batches": largest_difference(found, rival(same)),
        "least gap": least_gap(found),
        "texts per second": {name: count / taken for name, taken in bulk.items()},
        "ms for one text of 14 tokens": {name: 1000 * taken for name, taken in single.items()},
    }


def speech_figures(device: torch.device, dtype: torch.dtype, *, tiny: bool) -> dict[str, Any]:
    """Measure the speech encoders."""
    sizes = (
        SpeechSizes(160, 128, 3, 2, 256, 31, 128, 3, 256)
        if tiny
        else SpeechSizes(160, 1024, 24, 16, 4096, 31, 1024, 3, 4096)
    )
    with torch.device("meta"):
        ours = SonarSpeechEncoder(sizes)
    drawn(ours, device, dtype)
    theirs = TheirSpeech(ours)
    draw = np.random.default_rng(1)
    count = 12 if tiny else 64
    lasts = draw.uniform(1, 4 if tiny else 20, count)
    clips = [draw.standard_normal(int(s * RATE)).astype(np.float32) * 0.1 for s in lasts]
    question = draw.standard_normal(5 * RATE).astype(np.float32) * 0.1
    naive = [list(range(at, min(at + NAIVE_CLIPS, count))) for at in range(0, count, NAIVE_CLIPS)]
    extracted = [theirs.features([clips[place] for place in batch]) for batch in naive]
    ordered = list(batches_by_length([len(clip) for clip in clips], most=NAIVE_CLIPS, budget=10**9))
    extracted_sorted = [theirs.features([clips[place] for place in batch]) for batch in ordered]

    def rival(made: Sequence[tuple[Tensor, Tensor]], batches: Sequence[list[int]]) -> np.ndarray:
        rows = np.empty((count, sizes.width), np.float32)
        for (features, mask), batch in zip(made, batches, strict=True):
            rows[batch] = theirs.encode(features, mask).cpu().numpy()
        return rows

    def rival_from_sound() -> np.ndarray:
        made = [theirs.features([clips[place] for place in batch]) for batch in naive]
        return rival(made, naive)

    stacked = stacked_features(clips, device)
    lengths = [len(one) for one in stacked]

    def ours_from_features(most: int, budget: int) -> None:
        for batch in batches_by_length(lengths, most=most, budget=budget):
            chosen = [stacked[place] for place in batch]
            padded = nn.utils.rnn.pad_sequence(chosen, batch_first=True).to(device, dtype)
            ours(padded, torch.tensor([len(one) for one in chosen], device=device)).cpu()

    question_features = theirs.features([question])
    question_stacked = stacked_features([question], device)[0][None].to(dtype)
    found = encoding.encode_samples(ours, clips, device, dtype)
    bulk = medians(
        {
            "ours": lambda: encoding.encode_samples(ours, clips, device, dtype),
            "ours, from features": lambda: ours_from_features(
                encoding.DEVICE_BATCH, encoding.DEVICE_POSITIONS
            ),
            "ours, from features, by 8": lambda: ours_from_features(NAIVE_CLIPS, 10**9),
            "transformers, from features, in order": lambda: rival(extracted, naive),
            "transformers, from features, sorted": lambda: rival(extracted_sorted, ordered),
        },
        3,
        device,
    )
    bulk["transformers"] = seconds(rival_from_sound, device)  # most of it is features on the CPU
    single = medians(
        {
            "ours": lambda: encoding.encode_samples(ours, [question], device, dtype),
            "ours, from features": lambda: ours(question_stacked, None).cpu(),
            "transformers": lambda: theirs.encode(*theirs.features([question])).cpu(),
            "transformers, from features": lambda: theirs.encode(*question_features).cpu(),
        },
        5 if tiny else 30,
        device,
    )
    return {
        "parameters": sum(tensor.numel() for tensor in ours.parameters()),
        "clips": count,
        "seconds of speech": float(lasts.sum()),
        "difference": largest_difference(found, rival(extracted, naive)),
        "least gap": least_gap(found),
        "seconds of speech per second": {k: float(lasts.sum()) / v for k, v in bulk.items()},
        "ms for one question of 5 s": {name: 1000 * taken for name, taken in single.items()},
    }


def measured(*, tiny: bool, dtype: str) -> dict[str, Any]:
    """Run both parts on the available device."""
    import transformers

    device = torch.device("cpu" if tiny else "cuda")
    kept = encoding.chosen_dtype(dtype)
    start = time.perf_counter()
    with torch.inference_mode():
        figures: dict[str, Any] = {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "device": "CPU" if tiny else torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "dtype": dtype,
            "text": text_figures(device, kept, tiny=tiny),
            "speech": speech_figures(device, kept, tiny=tiny),
        }
    return {**figures, "seconds in all": time.perf_counter() - start}


def main() -> None:
    """Measure, or read earlier figures, and write ``sonar.json``, ``.md`` and ``.svg``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true", help="small sizes on the CPU")
    parser.add_argument("--dtype", default="bfloat16", help="of weights and activations")
    parser.add_argument(
        "--from", dest="files", type=Path, nargs="+", metavar="FILE",
        help="figures of an earlier run; those of further files are added to its vectors",
    )  # fmt: skip
    given = parser.parse_args()
    if given.files:
        figures, *controls = (json.loads(file.read_text()) for file in given.files)
        figures["controls"] = [*figures.get("controls", []), *controls]
    else:
        figures = measured(tiny=given.tiny, dtype=given.dtype)
    write_json(given.out / "sonar.json", figures)
    write(figures, given.out / "sonar.md")
    print((given.out / "sonar.md").read_text())


if __name__ == "__main__":
    main()
