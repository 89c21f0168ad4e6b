"""Released weights under the keys of our networks, tensor by tensor.

Each function opens a tree, verifies every name and shape in it against the config, and yields a
reader with the names of `tensor_shapes`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from voicerag_core.glm.weights.configs import (
    FlowConfig,
    HiFTConfig,
    LMConfig,
    SpeechTokenizerConfig,
)
from voicerag_core.glm.weights.tensor_files import (
    Shape,
    TensorInfo,
    WeightReader,
    check_names,
    open_weights,
)
from voicerag_core.glm.weights.tensor_shapes import (
    TRAINING_ONLY,
    flow_shapes,
    hift_original,
    hift_shapes,
    lm_original,
    lm_shapes,
    speech_tokenizer_original,
    speech_tokenizer_shapes,
    weight_normed,
)

__all__ = [
    "MappedWeights",
    "flow_weights",
    "hift_weights",
    "lm_weights",
    "speech_tokenizer_weights",
]

OLD_PREFIX = "model.encoder."


@dataclass(frozen=True, slots=True)
class TensorMapping:
    """How one of our tensors is made of tensors in the files.

    Args:
        sources: Keys in the files.
        make: Makes our tensor of theirs.
    """

    sources: tuple[str, ...]
    make: Callable[[list[torch.Tensor]], torch.Tensor]


class MappedWeights:
    """Weights under our keys, made of tensors in the files when they are read.

    Args:
        weights: The open files.
        mappings: By our key, in the order of the files.
        shapes: By our key.
    """

    def __init__(
        self,
        weights: WeightReader,
        mappings: Mapping[str, TensorMapping],
        shapes: Mapping[str, Shape],
    ) -> None:
        self._weights = weights
        self._mappings = mappings
        self.source: list[TensorInfo] = list(weights.infos.values())
        self.infos: dict[str, TensorInfo] = {}
        for name, mapping in mappings.items():
            first = weights.infos[mapping.sources[0]]
            self.infos[name] = TensorInfo(first.file, tuple(shapes[name]), first.dtype)

    def tensor(self, name: str) -> torch.Tensor:
        """See `WeightReader.tensor`."""
        mapping = self._mappings[name]
        return mapping.make([self._weights.tensor(source) for source in mapping.sources])


@contextmanager
def speech_tokenizer_weights(
    folder: Path, config: SpeechTokenizerConfig
) -> Iterator[MappedWeights]:
    """Open the speech tokenizer.

    Raises:
        CheckpointError: A file is missing or damaged, or a tensor is not as the config asks.
    """
    shapes = speech_tokenizer_shapes(config)
    converted = folder / "speech_tokenizer.safetensors"
    if os.path.isfile(converted) or os.path.isfile(folder / "speech_tokenizer.json"):
        with _same(converted, shapes) as weights:
            yield weights
        return
    with open_weights(folder) as weights:
        names = _encoder_names(weights.infos, config)
        found = {ours: weights.infos[theirs] for ours, theirs in names.items()}
        optional = {name for name in TRAINING_ONLY if name not in found}
        original = speech_tokenizer_original(config)
        check_names(
            found, {name: original[name] for name in original if name not in optional}, folder
        )
        mappings = {ours: TensorMapping((names[ours],), _alone) for ours in found if ours in shapes}
        yield MappedWeights(weights, mappings, shapes)


def _encoder_names(
    infos: Mapping[str, TensorInfo], config: SpeechTokenizerConfig
) -> dict[str, str]:
    """Return the encoder's names without the prefix and the layers that an older layout has.

    Source: load_quantize_encoder of THUDM/GLM-4-Voice @ eb00ce9, speech_tokenizer/utils.py.
    """
    if not any(name.startswith(OLD_PREFIX) for name in infos):
        return {name: name for name in infos}
    names = {}
    for name in infos:
        ours = name.removeprefix(OLD_PREFIX)
        if ours == name or ours.startswith("layer_norm."):
            continue
        found = re.match(r"layers\.(\d+)\.", ours)
        if found is not None and int(found[1]) >= config.layers:
            continue
        names[ours] = name
    return names


@contextmanager
def lm_weights(folder: Path, config: LMConfig) -> Iterator[MappedWeights]:
    """Open the language model.

    Raises:
        CheckpointError: A file is missing or damaged, or a tensor is not as the config asks.
    """
    with open_weights(folder) as weights:
        if any(name.startswith("model.") for name in weights.infos):
            check_names(weights.infos, lm_shapes(config), folder)
            mappings = {name: TensorMapping((name,), _alone) for name in weights.infos}
        else:
            original = lm_original(config)
            if _FREQUENCIES not in weights.infos:
                del original[_FREQUENCIES]
            check_names(weights.infos, original, folder)
            mappings = _lm_mappings(weights.infos, config)
        yield MappedWeights(weights, mappings, lm_shapes(config))


_FREQUENCIES = "transformer.rotary_pos_emb.inv_freq"
_LM_TOP = {
    "transformer.embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "transformer.encoder.final_layernorm.weight": "model.norm.weight",
    "transformer.output_layer.weight": "lm_head.weight",
}
_LM_LAYER = {
    "input_layernorm.weight": "input_layernorm.weight",
    "post_attention_layernorm.weight": "post_attention_layernorm.weight",
    "self_attention.dense.weight": "self_attn.o_proj.weight",
    "mlp.dense_h_to_4h.weight": "mlp.gate_up_proj.weight",
    "mlp.dense_4h_to_h.weight": "mlp.down_proj.weight",
}


def _lm_mappings(infos: Mapping[str, TensorInfo], config: LMConfig) -> dict[str, TensorMapping]:
    """Return the mapping of each of our keys, in the order of the files."""
    mappings: dict[str, TensorMapping] = {}
    for name in infos:
        if name == _FREQUENCIES:
            continue
        if name in _LM_TOP:
            mappings[_LM_TOP[name]] = TensorMapping((name,), _alone)
            continue
        number, _, rest = name.removeprefix("transformer.encoder.layers.").partition(".")
        layer = f"model.layers.{number}"
        if rest in _LM_LAYER:
            mappings[f"{layer}.{_LM_LAYER[rest]}"] = TensorMapping((name,), _alone)
            continue
        kind = rest.rpartition(".")[2]
        start = 0
        for part, heads in (
            ("q_proj", config.heads), ("k_proj", config.kv_heads), ("v_proj", config.kv_heads),
        ):  # fmt: skip
            end = start + heads * config.head_dim
            mappings[f"{layer}.self_attn.{part}.{kind}"] = TensorMapping((name,), _rows(start, end))
            start = end
    return mappings


def _rows(start: int, end: int) -> Callable[[list[torch.Tensor]], torch.Tensor]:
    return lambda tensors: tensors[0][start:end].clone()


@contextmanager
def flow_weights(folder: Path, config: FlowConfig) -> Iterator[MappedWeights]:
    """Open the flow network.

    Raises:
        CheckpointError: A file is missing or damaged, or a tensor is not as the config asks.
    """
    file = "flow.safetensors" if os.path.isfile(folder / "decoder.json") else "flow.pt"
    with _same(folder / file, flow_shapes(config)) as weights:
        yield weights


@contextmanager
def hift_weights(folder: Path, config: HiFTConfig) -> Iterator[MappedWeights]:
    """Open the vocoder, its weight norm folded.

    Raises:
        CheckpointError: A file is missing or damaged, or a tensor is not as the config asks.
    """
    shapes = hift_shapes(config)
    if os.path.isfile(folder / "decoder.json"):
        with _same(folder / "hift.safetensors", shapes) as weights:
            yield weights
        return
    file = folder / "hift.pt"
    with open_weights(file) as weights:
        check_names(weights.infos, hift_original(config), file)
        normed = set(weight_normed(config))
        mappings = {
            name: TensorMapping((f"{name}_g", f"{name}_v"), _folded)
            if name in normed
            else TensorMapping((name,), _alone)
            for name in shapes
        }
        yield MappedWeights(weights, mappings, shapes)


@contextmanager
def _same(path: Path, shapes: Mapping[str, Shape]) -> Iterator[MappedWeights]:
    with open_weights(path) as weights:
        check_names(weights.infos, shapes, path)
        yield MappedWeights(
            weights, {name: TensorMapping((name,), _alone) for name in weights.infos}, shapes
        )


def _alone(tensors: list[torch.Tensor]) -> torch.Tensor:
    (tensor,) = tensors
    return tensor


def _folded(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Multiply direction and length.

    Source: Salimans and Kingma, "Weight Normalization" (2016), equation 2; every dimension but
    the first is normalised, for transposed convolutions too, as torch.nn.utils.weight_norm does.
    """
    length, direction = tensors
    norm = direction.flatten(1).norm(dim=1).reshape(-1, *[1] * (direction.dim() - 1))
    folded: torch.Tensor = direction * (length / norm)
    return folded
