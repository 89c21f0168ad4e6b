"""Rewrite released weights in the formats that this package, transformers and vLLM read.

Tensors are processed one at a time, so memory holds one tensor and, mapped, the shard that it comes
from. A tree is written next to its final place and renamed when complete, so an interruption leaves
nothing that could be taken for a checkpoint.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from voicerag_core.errors import CheckpointError
from voicerag_core.glm.text_tokenizer import TextTokenizer
from voicerag_core.glm.weights.checkpoints import Checkpoint, Part, PartKind, open_checkpoint
from voicerag_core.glm.weights.config_files import write_own_config
from voicerag_core.glm.weights.configs import DecoderConfig, LMConfig, SpeechTokenizerConfig
from voicerag_core.glm.weights.key_mapping import (
    MappedWeights,
    flow_weights,
    hift_weights,
    lm_weights,
    speech_tokenizer_weights,
)
from voicerag_core.glm.weights.tensor_files import ready
from voicerag_core.glm.weights.tensor_writing import planned_shards, write_tensors

__all__ = ["FOLDERS", "convert_checkpoint"]

FOLDERS: dict[PartKind, str] = {
    "speech_tokenizer": "glm-4-voice-tokenizer",
    "lm": "glm-4-voice-9b",
    "decoder": "glm-4-voice-decoder",
}
"""Folder of each converted network."""
SHARD_BYTES = 2_000_000_000
"""Largest shard of the language model, unless one tensor is larger."""
ROOM_BYTES = 50_000_000
"""Disk space kept free besides the weights."""

Progress = Callable[[str, int, int], None]


def convert_checkpoint(
    source: Path,
    target: Path,
    *,
    check_finite: bool = True,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
) -> Checkpoint:
    """Convert every released tree found in a folder.

    Args:
        source: One tree, or the folder of up to three.
        target: Folder to make the converted trees in, under the names of `FOLDERS`.
        check_finite: Refuse NaN and infinity.
        shard_bytes: Largest file of the language model.
        progress: Called with the network, the bytes done and the bytes in total.

    Returns:
        What the target holds now.

    Raises:
        CheckpointError: The source is incomplete or converted already, a tree is in the target
            already, or it has no room.
    """
    parts = list(open_checkpoint(source).parts.values())
    for part in parts:
        if part.form == "converted":
            raise CheckpointError(f"{part.folder} is converted already; copy it instead")
        if os.path.exists(target / FOLDERS[part.kind]):
            raise CheckpointError(
                f"{target / FOLDERS[part.kind]} exists already; remove it, or convert to "
                "another folder"
            )
    try:
        target.mkdir(parents=True, exist_ok=True)
        _make_room(target, sum(part.bytes for part in parts))
        for part in parts:
            with _whole_or_nothing(target / FOLDERS[part.kind]) as folder:
                _Writer(part, folder, check_finite, shard_bytes, progress).write()
    except OSError as error:
        raise CheckpointError(f"{target} cannot be written: {error.strerror or error}") from error
    return open_checkpoint(target)


def _make_room(target: Path, needed: int) -> None:
    free = shutil.disk_usage(target).free
    if free < needed + ROOM_BYTES:
        raise CheckpointError(
            f"the converted weights need {needed / 1e9:.1f} GB, and {target} has "
            f"{free / 1e9:.1f} GB free; make room, or name another folder"
        )


@contextmanager
def _whole_or_nothing(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder, and rename it at the end; remove it on any error."""
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield unfinished
        for file in unfinished.iterdir():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        unfinished.chmod(0o755)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


class _Writer:
    """Writes one tree."""

    def __init__(
        self,
        part: Part,
        folder: Path,
        check_finite: bool,
        shard_bytes: int,
        progress: Progress | None,
    ) -> None:
        self._part = part
        self._folder = folder
        self._check_finite = check_finite
        self._shard_bytes = shard_bytes
        self._progress = progress
        self._done = 0

    def write(self) -> None:
        config = self._part.config
        if isinstance(config, SpeechTokenizerConfig):
            with speech_tokenizer_weights(self._part.folder, config) as weights:
                self._one_file(weights, "speech_tokenizer.safetensors")
            write_own_config(self._folder / "speech_tokenizer.json", "speech tokenizer", config)
        elif isinstance(config, DecoderConfig):
            with flow_weights(self._part.folder, config.flow) as weights:
                self._one_file(weights, "flow.safetensors")
            with hift_weights(self._part.folder, config.hift) as weights:
                self._one_file(weights, "hift.safetensors")
            write_own_config(self._folder / "decoder.json", "decoder", config)
        else:
            self._language_model(config)
        self._copy_licence()

    def _language_model(self, config: LMConfig) -> None:
        tokenizer = TextTokenizer.load(self._part.folder)
        if tokenizer.vocabulary.size > config.vocab_size:
            raise CheckpointError(
                f"{self._part.folder}: the tokenizer has ids up to "
                f"{tokenizer.vocabulary.size - 1}, and the model {config.vocab_size} rows; the "
                "files are not of one model"
            )
        with lm_weights(self._part.folder, config) as weights:
            self._shards(weights)
        tokenizer.save(self._folder / "tokenizer.json")
        for name, values in glm_files(config).items():
            (self._folder / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    def _one_file(self, weights: MappedWeights, file: str) -> None:
        self._save(weights, list(weights.infos), file)

    def _shards(self, weights: MappedWeights) -> None:
        shards = planned_shards(weights.infos, self._shard_bytes)
        placed: dict[str, str] = {}
        for number, names in enumerate(shards, 1):
            file = f"model-{number:05}-of-{len(shards):05}.safetensors"
            self._save(weights, names, file)
            placed |= dict.fromkeys(names, file)
        index = {"metadata": {"total_size": self._done}, "weight_map": placed}
        (self._folder / "model.safetensors.index.json").write_text(
            json.dumps(index, indent=2) + "\n", encoding="utf-8"
        )

    def _save(self, weights: MappedWeights, names: list[str], file: str) -> None:
        write_tensors(
            self._folder / file, weights.infos, names, lambda name: self._ready(weights, name)
        )

    def _ready(self, weights: MappedWeights, name: str) -> torch.Tensor:
        tensor = ready(weights, name, dtype=None, check_finite=self._check_finite)
        self._done += tensor.nbytes
        if self._progress is not None:
            self._progress(self._part.kind, self._done, max(self._done, self._part.bytes))
        return tensor

    def _copy_licence(self) -> None:
        licence = self._part.folder / "LICENSE"
        if os.path.isfile(licence):
            shutil.copyfile(licence, self._folder / "LICENSE")


def glm_files(config: LMConfig) -> dict[str, dict[str, Any]]:
    """Return the json files of a `GlmForCausalLM` directory, the weights and tokenizer apart.

    The values that transformers 5 reads from ``rope_parameters`` and ``dtype`` are repeated under
    the names that older versions read.
    """
    rope = {"partial_rotary_factor": 0.5, "rope_theta": config.rope_theta}
    ends = {"eos_token_id": list(config.eos_token_ids), "pad_token_id": config.pad_token_id}
    return {
        "config.json": {
            "architectures": ["GlmForCausalLM"],
            "attention_bias": True,
            "attention_dropout": 0.0,
            "dtype": config.dtype,
            "head_dim": config.head_dim,
            "hidden_act": "silu",
            "hidden_size": config.hidden_size,
            "intermediate_size": config.ffn_size,
            "max_position_embeddings": config.max_positions,
            "model_type": "glm",
            "num_attention_heads": config.heads,
            "num_hidden_layers": config.layers,
            "num_key_value_heads": config.kv_heads,
            "rms_norm_eps": config.norm_eps,
            "rope_parameters": {"rope_type": "default", **rope},
            "tie_word_embeddings": False,
            "torch_dtype": config.dtype,
            "use_cache": True,
            "vocab_size": config.vocab_size,
            **rope,
            **ends,
        },
        "generation_config.json": {
            # as the reference's demo samples; source: web_demo.py of THUDM/GLM-4-Voice @ eb00ce9
            "do_sample": True,
            "max_new_tokens": 2000,
            "temperature": 0.2,
            "top_p": 0.8,
            **ends,
        },
        "tokenizer_config.json": {
            "eos_token": "<|endoftext|>",
            "model_max_length": config.max_positions,
            "pad_token": "<|endoftext|>",
            "padding_side": "left",
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    }
