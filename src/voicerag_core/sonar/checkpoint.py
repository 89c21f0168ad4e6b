"""Checkpoints of SONAR: read without executing them, and without holding them twice.

Files are mapped into memory, so weights that need no conversion are never copied. Keys of fairseq
and of transformers' `M2M100Encoder` are mapped to fairseq2's, which are used here.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from voicerag_core.errors import CheckpointError, MissingExtraError, VoiceRAGError
from voicerag_core.files import read_json
from voicerag_core.sonar.speech_encoder import SonarSpeechEncoder, SpeechSizes
from voicerag_core.sonar.text_decoder import TextDecoder
from voicerag_core.sonar.text_encoder import TextEncoder, TextSizes

__all__ = [
    "fingerprint",
    "load_speech_encoder",
    "load_text_decoder",
    "load_text_encoder",
    "text_sizes",
]

HEADS = {1024: 16}
"""Attention heads of the published text encoders and decoders, by width: tensors do not tell.

Source: SONAR v0.5.0, sonar/models/sonar_text/config.py.
"""

GROUP_BYTES = 1 << 26
"""Bytes of weights converted before their pages of the file are released."""

_FAIRSEQ_ROWS = [1, 3, 0, 2]
"""Rows of fairseq's table (start, padding, end, unknown) in the order padding, unknown, start, end.

Source: facebookresearch/SONAR v0.5.0, sonar/models/sonar_text/checkpoint.py.
"""

_TEXT_NAMES = (
    (r"^(model\.)?encoder\.", ""),
    (r"^shared\.", "embed_tokens."),
    (r"^embed_tokens\.", "encoder_frontend.embed."),
    (r"^layers\.", "encoder.layers."),
    (r"\.self_attn\.out_proj\.", ".self_attn.output_proj."),
    (r"\.fc1\.", ".ffn.inner_proj."),
    (r"\.fc2\.", ".ffn.output_proj."),
    (r"\.final_layer_norm\.", ".ffn_layer_norm."),
)
"""Source: facebookresearch/SONAR v0.5.0, sonar/models/sonar_text/checkpoint.py; transformers
5.23.0, models/m2m_100/modeling_m2m_100.py."""

_SPEECH_NAMES = (
    (r"^encoder\.w2v_model\.encoder\.layer_norm\.", "layer_norm."),
    (r"^encoder\.w2v_model\.layer_norm\.", "encoder_frontend.post_extract_layer_norm."),
    (r"^encoder\.w2v_model\.post_extract_proj\.", "encoder_frontend.model_dim_proj."),
    (r"^encoder\.w2v_model\.encoder\.", "encoder."),
    (r"\.conv_module\.layer_norm\.", ".conv_layer_norm."),
    (r"\.conv_module\.", ".conv."),
    (r"\.ffn([12])\.layer_norm\.", r".ffn\1_layer_norm."),
    (r"\.w_1\.", ".inner_proj."),
    (r"\.w_2\.", ".output_proj."),
    (r"\.linear_([qkv])\.", r".\1_proj."),
    (r"\.linear_out\.", ".output_proj."),
    (r"\.linear_pos\.", ".sdpa.r_proj."),
    (r"\.pos_bias_([uv])$", r".sdpa.\1_bias"),
    (r"^(encoder\.layers\.\d+)\.final_layer_norm\.", r"\1.layer_norm."),
    (r"^decoder\.embed_tokens\.", "encoder_pooler.decoder_frontend.embed."),
    (r"^decoder\.embed_out$", "encoder_pooler.projection_out.weight"),
    (r"^decoder\.layers\.", "encoder_pooler.decoder.layers."),
    (r"\.encoder_attn", ".encoder_decoder_attn"),
    (r"attn\.out_proj\.", "attn.output_proj."),
    (r"\.fc1\.", ".ffn.inner_proj."),
    (r"\.fc2\.", ".ffn.output_proj."),
    (r"^(encoder_pooler.*)\.final_layer_norm\.", r"\1.ffn_layer_norm."),
)
"""Source: facebookresearch/SONAR v0.5.0, sonar/models/sonar_speech/checkpoint.py."""

_DECODER_NAMES = (
    (r"^(model\.)?decoder\.", ""),
    (r"^embed_tokens\.", "decoder_frontend.embed."),
    (r"^output_projection\.", "final_proj."),
    (r"^layer_norm\.", "decoder.layer_norm."),
    (r"^layers\.", "decoder.layers."),
    (r"\.encoder_attn", ".encoder_decoder_attn"),
    (r"attn\.out_proj\.", "attn.output_proj."),
    (r"\.fc1\.", ".ffn.inner_proj."),
    (r"\.fc2\.", ".ffn.output_proj."),
    (r"\.final_layer_norm\.", ".ffn_layer_norm."),
)
"""Source: facebookresearch/SONAR v0.5.0, sonar/models/sonar_text/checkpoint.py."""

_UNUSED = re.compile(
    r"(^|\.)(mask_emb|version|_float_tensor|embed_positions\.weights?)$|\.pos_conv\."
)
"""Tensors that only training needs, and position tables that are computed."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors of a checkpoint under our keys, still in the file.

    Args:
        path: The file.
        sources: Name in the file of each of our names.
        reorder: Our name of a token table whose first rows are in fairseq's order, or None.
    """

    path: Path
    sources: Mapping[str, str]
    reorder: str | None = None

    def groups(self, most_bytes: int) -> Iterator[dict[str, Tensor]]:
        """Yield the tensors in groups, each group from a separate mapping of the file."""
        sizes = {name: tensor.nbytes for name, tensor in self.open().items()}
        names: list[str] = []
        held = 0
        for name, size in sizes.items():
            if names and held + size > most_bytes:
                yield self.open(names)
                names, held = [], 0
            names.append(name)
            held += size
        yield self.open(names)

    def open(self, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Map tensors, all by default."""
        tensors = _open(self.path)
        wanted = self.sources if names is None else names
        opened = {name: tensors[self.sources[name]] for name in wanted}
        if self.reorder in opened:
            # the mapping is private: only the pages of these four rows are copied
            table = opened[self.reorder]
            table[:4] = table[_FAIRSEQ_ROWS]
        return opened


def load_text_encoder(
    path: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    heads: int | None = None,
) -> TextEncoder:
    """Load a text encoder for inference; its sizes are read from the checkpoint.

    Args:
        path: A ``.pt`` or ``.safetensors`` file, or a folder of a transformers `M2M100Encoder`.
        device: Where it runs.
        dtype: Data type in which it runs.
        heads: Attention heads; None takes those of the folder's config.json, or those of the
            published encoder, which is 1024 wide. Another width needs the number.

    Raises:
        CheckpointError: The checkpoint is absent, unsafe, incomplete, of other shapes or holds
            numbers that are not finite, or `heads` must be given.
    """
    sizes, weights = text_sizes(path, heads=heads)
    with torch.device("meta"):
        encoder = TextEncoder(sizes)
    _fill(encoder, weights, torch.device(device), dtype)
    return encoder


def load_speech_encoder(
    path: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> SonarSpeechEncoder:
    """Load a speech encoder for inference; its sizes are read from the checkpoint.

    Args:
        path: A ``.pt`` or ``.safetensors`` file with fairseq2's or fairseq's names.
        device: Where it runs.
        dtype: Data type in which it runs.

    Raises:
        CheckpointError: See `load_text_encoder`.
    """
    sizes, weights = speech_sizes(path)
    with torch.device("meta"):
        encoder = SonarSpeechEncoder(sizes)
    _fill(encoder, weights, torch.device(device), dtype)
    return encoder


def speech_sizes(path: str | os.PathLike[str]) -> tuple[SpeechSizes, Weights]:
    """Read the sizes of a speech encoder, and where its weights are.

    Raises:
        CheckpointError: The checkpoint is absent, unsafe or no speech encoder.
    """
    file = Path(path)
    found = _names(_open(file), _SPEECH_NAMES, converted="encoder.w2v_model.")
    weights = Weights(file, found)
    tensors = weights.open()
    first, pooler = "encoder.layers.0", "encoder_pooler.decoder"
    shape = _shapes(file, tensors, "a SONAR speech encoder")
    sizes = SpeechSizes(
        features=shape("encoder_frontend.post_extract_layer_norm.weight", 1)[0],
        width=shape("layer_norm.weight", 1)[0],
        layers=_count(tensors, "encoder.layers."),
        heads=shape(f"{first}.self_attn.sdpa.u_bias", 2)[0],
        inner=shape(f"{first}.ffn1.inner_proj.weight", 2)[0],
        kernel=shape(f"{first}.conv.depthwise_conv.weight", 3)[2],
        pooler_vocabulary=shape("encoder_pooler.decoder_frontend.embed.weight", 2)[0],
        pooler_layers=_count(tensors, f"{pooler}.layers."),
        pooler_inner=shape(f"{pooler}.layers.0.ffn.inner_proj.weight", 2)[0],
    )
    return sizes, weights


def load_text_decoder(
    path: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    heads: int | None = None,
) -> TextDecoder:
    """Load a text decoder for inference; its sizes are read from the checkpoint.

    Args:
        path: A ``.pt`` or ``.safetensors`` file with fairseq2's or fairseq's names.
        device: Where it runs.
        dtype: Data type in which it runs.
        heads: Attention heads; None takes those of the published decoder, which is 1024 wide.

    Raises:
        CheckpointError: See `load_text_encoder`.
    """
    file = Path(path)
    found = _names(_open(file), _DECODER_NAMES, converted="embed_tokens.")
    table, projection = "decoder_frontend.embed.weight", "final_proj.weight"
    _check_tied(file, _open(file), found.get(table), found.pop(projection, None))
    weights = Weights(file, found, table if found.get(table) != table else None)
    tensors = weights.open()
    shape = _shapes(file, tensors, "a SONAR text decoder")
    vocabulary, width = shape(table, 2)
    inner = shape("decoder.layers.0.ffn.inner_proj.weight", 2)[0]
    sizes = TextSizes(
        vocabulary, width, _count(tensors, "decoder.layers."), _heads(file, width, heads), inner
    )
    with torch.device("meta"):
        decoder = TextDecoder(sizes)
    _fill(decoder, weights, torch.device(device), dtype)
    return decoder


def text_sizes(
    path: str | os.PathLike[str], *, heads: int | None = None
) -> tuple[TextSizes, Weights]:
    """Read the sizes of a text encoder, and where its weights are.

    Raises:
        CheckpointError: The checkpoint is absent, unsafe or no text encoder.
    """
    file, config = _text_file(Path(path))
    found = _names(_open(file), _TEXT_NAMES, converted="embed_tokens.", also="shared.")
    table = "encoder_frontend.embed.weight"
    weights = Weights(file, found, table if found.get(table) != table else None)
    tensors = weights.open()
    shape = _shapes(file, tensors, "a SONAR text encoder")
    vocabulary, width = shape(table, 2)
    given = config.get("encoder_attention_heads") if heads is None else heads
    told = _heads(file, width, given)
    inner = shape("encoder.layers.0.ffn.inner_proj.weight", 2)[0]
    layers = _count(tensors, "encoder.layers.")
    return TextSizes(vocabulary, width, layers, told, inner), weights


def _heads(file: Path, width: int, given: int | None) -> int:
    """Return the number of attention heads, which must be known and divide the width."""
    heads = HEADS.get(width) if given is None else given
    if heads is None:
        raise CheckpointError(
            f"{file} is {width} wide, and its tensors do not tell how many attention heads it has "
            f"(SONAR's own are {', '.join(map(str, HEADS))} wide); give the number that it was "
            "trained with as heads=..., or VOICERAG_SONAR_HEADS"
        )
    if heads < 1 or width % heads:
        raise CheckpointError(
            f"{file} is {width} wide, which {heads} attention heads do not divide; "
            "give the number that the model was trained with"
        )
    return heads


def fingerprint(weights: Weights) -> str:
    """Return 12 hexadecimal digits that identify the training of a text encoder.

    Its last normalisation is hashed in bfloat16, so file format and precision do not matter.
    """
    tensors = weights.open(["layer_norm.weight", "layer_norm.bias"])
    rounded = torch.cat(list(tensors.values())).to(torch.bfloat16)
    return hashlib.sha256(rounded.view(torch.int16).numpy().tobytes()).hexdigest()[:12]


def _text_file(path: Path) -> tuple[Path, Mapping[str, Any]]:
    """Return the file of weights, and the configuration where a folder has one."""
    if not os.path.isdir(path):
        return path, {}
    try:
        config = read_json(path / "config.json")
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is a folder without a readable config.json ({error}); expected a folder that "
            "transformers' M2M100Encoder.save_pretrained writes, or the path of a file"
        ) from error
    if config.get("scale_embedding") is False or config.get("activation_function") != "relu":
        raise CheckpointError(
            f"{path / 'config.json'} describes another model than SONAR's text encoder: it scales "
            "its embeddings and uses ReLU"
        )
    for name in ("model.safetensors", "pytorch_model.bin"):
        if os.path.isfile(path / name):
            return path / name, config
    raise CheckpointError(
        f"{path} holds neither model.safetensors nor pytorch_model.bin; weights in several pieces "
        "are not read, so save the model again with max_shard_size='20GB'"
    )


def _open(path: Path) -> dict[str, Tensor]:
    """Map the tensors of a file, by the names in it."""
    if not os.path.isfile(path):
        raise CheckpointError(
            f"there is no checkpoint at {path}; fetch one with: voicerag download sonar"
        )
    try:
        content = _open_safetensors(path) if path.suffix == ".safetensors" else _open_torch(path)
    except UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors and was not run: {str(error).splitlines()[0]}; "
            "expected a file of weights only"
        ) from error
    except VoiceRAGError:
        raise
    except Exception as error:  # a damaged file may raise any in the parsers of zip and pickle
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {said}") from error
    for level in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(level), Mapping):
            content = content[level]
    tensors = {}
    if isinstance(content, Mapping):
        tensors = {
            name: value
            for name, value in content.items()
            if isinstance(name, str) and isinstance(value, Tensor)
        }
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors by name; expected a state dictionary")
    return tensors


def _open_torch(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap can only be used" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)  # torch before 1.6


def _open_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingExtraError("sonar", "reading .safetensors files") from error
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {error}") from error


def _names(
    tensors: Mapping[str, Tensor],
    rules: Sequence[tuple[str, str]],
    *,
    converted: str,
    also: str | None = None,
) -> dict[str, str]:
    """Return the file's name for each of ours.

    Args:
        tensors: By the file's names.
        rules: Pattern and replacement, applied one after another.
        converted: A part of names that only files with other names than ours have.
        also: Another such part.
    """
    foreign = any(converted in name or (also and also in name) for name in tensors)
    found = {}
    for name in tensors:
        if _UNUSED.search(name):
            continue
        ours = name
        for pattern, replacement in rules if foreign else ():
            ours = re.sub(pattern, replacement, ours)
        found[ours] = name
    return found


def _shapes(
    path: Path, tensors: Mapping[str, Tensor], expected: str
) -> Callable[[str, int], tuple[int, ...]]:
    """Return a function that looks up the shape of a tensor and raises if it is missing."""

    def shape(name: str, dimensions: int) -> tuple[int, ...]:
        if name not in tensors or tensors[name].ndim != dimensions:
            had = ", ".join(list(tensors)[:3])
            raise CheckpointError(
                f"{path} is not {expected}: it has no {name!r} of {dimensions} dimensions; "
                f"it has {len(tensors)} tensors, such as {had}"
            )
        return tuple(tensors[name].shape)

    return shape


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Count the layers with names of a prefix and a number."""
    numbers = {name[len(prefix) :].split(".", 1)[0] for name in tensors if name.startswith(prefix)}
    return len(numbers)


def _check_tied(
    path: Path, tensors: Mapping[str, Tensor], table: str | None, projection: str | None
) -> None:
    """Refuse a decoder with an output projection that is not its token table."""
    if table is None or projection is None:
        return
    one, other = tensors[table], tensors[projection]
    if one.shape != other.shape or not torch.equal(one[4::997], other[4::997]):
        raise CheckpointError(
            f"{path} has a separate output projection, {projection}; in SONAR's text decoder it "
            f"is the token table, {table}"
        )


def _fill(module: nn.Module, weights: Weights, device: torch.device, dtype: torch.dtype) -> None:
    """Give a module on the meta device its weights, all of them and no others."""
    expected = module.state_dict()
    _compare(weights.path, expected, weights.open())
    filled: dict[str, Tensor] = {}
    for group in weights.groups(GROUP_BYTES):
        for name, tensor in group.items():
            _check_finite(weights.path, name, tensor)
            kept = dtype if tensor.is_floating_point() else tensor.dtype
            filled[name] = tensor.to(device=device, dtype=kept)
    module.load_state_dict(filled, strict=True, assign=True)
    module.eval().requires_grad_(False)


def _compare(path: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    problems = [f"{name} is missing" for name in expected.keys() - found.keys()]
    problems += [f"{name} is not known" for name in found.keys() - expected.keys()]
    problems += [
        f"{name} has shape {list(found[name].shape)}, expected {list(expected[name].shape)}"
        for name in expected.keys() & found.keys()
        if found[name].shape != expected[name].shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""  # noqa: PLR2004
        raise CheckpointError(
            f"{path} does not fit the model: {'; '.join(sorted(problems)[:5])}{more}"
        )


def _check_finite(path: Path, name: str, tensor: Tensor) -> None:
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return
    lowest, highest = torch.aminmax(tensor)
    if not (bool(torch.isfinite(lowest)) and bool(torch.isfinite(highest))):
        raise CheckpointError(
            f"{path} holds numbers that are not finite, in {name}; the file is damaged or its "
            "training failed, so fetch it again"
        )
