"""The weights of GLM-4-Voice on disk: which networks there are, and their tensors by name.

A checkpoint is a folder of up to three trees, or one of them: speech tokenizer, language model,
decoder, each as released or as ``voicerag convert`` wrote it. In each case the loaders return the
names and shapes of `tensor_shapes`: the encoder without prefix, `GlmForCausalLM`, and the vocoder
with its weight norm folded.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from voicerag_core.errors import CheckpointError
from voicerag_core.glm.weights.config_files import (
    check_preprocessor,
    read_chatglm_config,
    read_decoder_yaml,
    read_glm_config,
    read_json,
    read_own_config,
    read_whisper_config,
)
from voicerag_core.glm.weights.configs import (
    DecoderConfig,
    FlowConfig,
    HiFTConfig,
    LMConfig,
    SpeechTokenizerConfig,
)
from voicerag_core.glm.weights.key_mapping import (
    MappedWeights,
    flow_weights,
    hift_weights,
    lm_weights,
    speech_tokenizer_weights,
)
from voicerag_core.glm.weights.tensor_files import load_state, ready

__all__ = [
    "LICENCE",
    "Checkpoint",
    "DecoderConfig",
    "DecoderWeights",
    "FlowConfig",
    "HiFTConfig",
    "LMConfig",
    "Part",
    "PartKind",
    "SpeechTokenizerConfig",
    "find_lm",
    "load_decoder",
    "load_lm",
    "load_speech_tokenizer",
    "load_state",
    "open_checkpoint",
]

PartKind = Literal["speech_tokenizer", "lm", "decoder"]
Form = Literal["original", "converted"]
State = dict[str, torch.Tensor]

LICENCE = (
    "GLM-4 model licence, https://huggingface.co/zai-org/glm-4-voice-9b/blob/main/LICENSE "
    "(commercial use only after registration)"
)


@dataclass(frozen=True, slots=True)
class Part:
    """One network's tree.

    Args:
        kind: Which network.
        folder: Where.
        form: As released, or as converted here.
        config: Its sizes.
        files: Its weight files.
        parameters: Number of values in them.
        bytes: Size of their tensors.
        dtypes: Their data types, such as "float32", the one with most bytes first.
        licence: Of the weights.
    """

    kind: PartKind
    folder: Path
    form: Form
    config: SpeechTokenizerConfig | LMConfig | DecoderConfig
    files: tuple[Path, ...]
    parameters: int
    bytes: int
    dtypes: tuple[str, ...]
    licence: str = LICENCE


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The trees found below a folder.

    Args:
        folder: The folder that was searched.
        parts: By kind.
    """

    folder: Path
    parts: Mapping[PartKind, Part]

    def part(self, kind: PartKind) -> Part:
        """Return a part.

        Raises:
            CheckpointError: It is not there.
        """
        if kind not in self.parts:
            raise CheckpointError(
                f"{self.folder} holds no {kind.replace('_', ' ')}, only "
                f"{', '.join(self.parts)}; fetch it with: voicerag download glm"
            )
        return self.parts[kind]


@dataclass(frozen=True, slots=True)
class DecoderWeights:
    """The decoder's two networks.

    Args:
        config: Their sizes.
        flow: Tensors by name, as in `flow_shapes`.
        hift: Tensors by name, as in `hift_shapes`.
    """

    config: DecoderConfig
    flow: State
    hift: State


def open_checkpoint(folder: Path, *, without: Collection[PartKind] = ()) -> Checkpoint:
    """Find the trees in a folder and its direct subfolders, and verify their names and shapes.

    No tensor is loaded; the files' headers are read.

    Args:
        folder: One tree, or the folder of up to three.
        without: Kinds that are left out; their weights need not be there.

    Raises:
        CheckpointError: There is none, there are two of a kind, or one is damaged.
    """
    places = [folder, *sorted(_subfolders(folder))]
    parts: dict[PartKind, Part] = {}
    for place in places:
        kind = kind_of(place)
        if kind is None or kind[0] in without:
            continue
        if kind[0] in parts:
            raise CheckpointError(
                f"{folder} holds two trees of the {kind[0].replace('_', ' ')}: "
                f"{parts[kind[0]].folder} and {place}; name the one you mean"
            )
        parts[kind[0]] = _part(place, *kind)
    if not parts:
        raise CheckpointError(
            f"{folder} holds no weights of GLM-4-Voice: expected its config.json, config.yaml or "
            "what voicerag convert writes, there or one folder below; fetch them with: "
            "voicerag download glm"
        )
    return Checkpoint(folder, parts)


def find_lm(folder: Path) -> tuple[Path, LMConfig]:
    """Find the language model's tree in a folder or a direct subfolder; its weights are not read.

    Raises:
        CheckpointError: It is not there, or its config cannot be read.
    """
    for place in (folder, *sorted(_subfolders(folder))):
        found = kind_of(place)
        if found is not None and found[0] == "lm":
            config = _config(place, "lm")
            assert isinstance(config, LMConfig)
            return place, config
    raise CheckpointError(
        f"{folder} holds no language model of GLM-4-Voice: expected its config.json and tokenizer "
        "there or one folder below; fetch them with: voicerag download glm"
    )


def load_speech_tokenizer(
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    check_finite: bool = False,
) -> tuple[SpeechTokenizerConfig, State]:
    """Load the speech tokenizer, without the tensors that only training needs.

    Args:
        folder: Its tree.
        dtype: To convert to; None keeps the file's.
        device: Where the tensors go.
        check_finite: Refuse NaN and infinity.

    Raises:
        CheckpointError: A file is missing, damaged, or of another network.
    """
    config = _config(folder, "speech_tokenizer")
    assert isinstance(config, SpeechTokenizerConfig)
    with speech_tokenizer_weights(folder, config) as weights:
        return config, _loaded(weights, dtype, device, check_finite)


def load_lm(
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    check_finite: bool = False,
) -> tuple[LMConfig, State]:
    """Load the language model, one tensor at a time, under the names of `GlmForCausalLM`.

    Args:
        folder: Its tree.
        dtype: To convert to; None keeps the file's.
        device: Where the tensors go.
        check_finite: Refuse NaN and infinity.

    Raises:
        CheckpointError: A file is missing, damaged, or of another network.
    """
    config = _config(folder, "lm")
    assert isinstance(config, LMConfig)
    with lm_weights(folder, config) as weights:
        return config, _loaded(weights, dtype, device, check_finite)


def load_decoder(
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    check_finite: bool = False,
) -> DecoderWeights:
    """Load the decoder's two networks.

    Args:
        folder: Its tree.
        dtype: To convert to; None keeps the file's.
        device: Where the tensors go.
        check_finite: Refuse NaN and infinity.

    Raises:
        CheckpointError: A file is missing, damaged, or of another network.
    """
    config = _config(folder, "decoder")
    assert isinstance(config, DecoderConfig)
    with flow_weights(folder, config.flow) as weights:
        flow = _loaded(weights, dtype, device, check_finite)
    with hift_weights(folder, config.hift) as weights:
        hift = _loaded(weights, dtype, device, check_finite)
    return DecoderWeights(config, flow, hift)


def kind_of(folder: Path) -> tuple[PartKind, Form] | None:
    """Return which network's tree a folder is, from the names of its files and its config."""
    if os.path.isfile(folder / "decoder.json"):
        return "decoder", "converted"
    if os.path.isfile(folder / "speech_tokenizer.json"):
        return "speech_tokenizer", "converted"
    if os.path.isfile(folder / "config.yaml") and not os.path.isfile(folder / "config.json"):
        return "decoder", "original"
    if not os.path.isfile(folder / "config.json"):
        return None
    model_type = read_json(folder / "config.json").get("model_type")
    kinds: dict[object, tuple[PartKind, Form]] = {
        "whisper": ("speech_tokenizer", "original"),
        "chatglm": ("lm", "original"),
        "glm": ("lm", "converted"),
    }
    if model_type not in kinds:
        raise CheckpointError(
            f"{folder / 'config.json'} is of model_type {model_type!r}; GLM-4-Voice has "
            "'whisper' (tokenizer) and 'chatglm' (language model), 'glm' once converted"
        )
    return kinds[model_type]


def _subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, hidden ones left out: an interruption can leave such."""
    try:
        return [
            one for one in folder.iterdir() if os.path.isdir(one) and not one.name.startswith(".")
        ]
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be read: {error.strerror or error}") from error


def _part(folder: Path, kind: PartKind, form: Form) -> Part:
    config = _config(folder, kind)
    infos = []
    if isinstance(config, SpeechTokenizerConfig):
        with speech_tokenizer_weights(folder, config) as weights:
            infos += weights.source
    elif isinstance(config, LMConfig):
        with lm_weights(folder, config) as weights:
            infos += weights.source
    else:
        with flow_weights(folder, config.flow) as weights:
            infos += weights.source
        with hift_weights(folder, config.hift) as weights:
            infos += weights.source
    sizes: dict[str, int] = {}
    for info in infos:
        name = str(info.dtype).removeprefix("torch.")
        sizes[name] = sizes.get(name, 0) + info.bytes
    return Part(
        kind,
        folder,
        form,
        config,
        files=tuple(dict.fromkeys(info.file for info in infos)),
        parameters=sum(math.prod(info.shape) for info in infos),
        bytes=sum(sizes.values()),
        dtypes=tuple(sorted(sizes, key=lambda name: -sizes[name])),
    )


def _config(folder: Path, kind: PartKind) -> SpeechTokenizerConfig | LMConfig | DecoderConfig:
    """Read the config of a tree that must be of a kind."""
    found = kind_of(folder)
    if found is None or found[0] != kind:
        what = "no weights" if found is None else f"the {found[0].replace('_', ' ')}"
        raise CheckpointError(
            f"{folder} holds {what}; expected the {kind.replace('_', ' ')} of GLM-4-Voice"
        )
    match found:
        case ("speech_tokenizer", "converted"):
            path = folder / "speech_tokenizer.json"
            return read_own_config(path, "speech tokenizer", SpeechTokenizerConfig)
        case ("speech_tokenizer", _):
            config = read_whisper_config(folder / "config.json")
            check_preprocessor(folder, config)
            return config
        case ("lm", "converted"):
            return read_glm_config(folder / "config.json")
        case ("lm", _):
            return read_chatglm_config(folder / "config.json")
        case (_, "converted"):
            return read_own_config(folder / "decoder.json", "decoder", DecoderConfig)
        case _:
            return read_decoder_yaml(folder / "config.yaml")


def _loaded(
    weights: MappedWeights,
    dtype: torch.dtype | None,
    device: torch.device | str,
    check_finite: bool,
) -> State:
    return {
        name: ready(weights, name, dtype=dtype, device=device, check_finite=check_finite)
        for name in weights.infos
    }
