"""Weight files: their contents, read from headers, and their tensors, one at a time."""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open

from voicerag_core.errors import CheckpointError
from voicerag_core.files import parsed_json, read_json, regular_file

__all__ = [
    "Shape",
    "TensorInfo",
    "WeightReader",
    "check_names",
    "load_state",
    "open_weights",
]

Shape = tuple[int, ...]

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
"""Source: the safetensors format, README of huggingface/safetensors @ v0.5.3."""
LONGEST_HEADER = 100_000_000
CHECKED_AT_ONCE = 1 << 20
NAMED = 5
"""How many tensors a message names."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What a file's header says of a tensor.

    Args:
        file: Where it is.
        shape: Its shape.
        dtype: Its type in the file.
    """

    file: Path
    shape: Shape
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        """Its size."""
        return math.prod(self.shape) * self.dtype.itemsize


class WeightReader(Protocol):
    """Files of weights that are open: an inventory, and tensors on demand."""

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """The tensors by name, in the order of the files."""
        ...

    def tensor(self, name: str) -> torch.Tensor:
        """Read one tensor.

        Raises:
            CheckpointError: The file cannot be read.
        """
        ...


def load_state(
    path: Path,
    expected: Mapping[str, Shape],
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    check_finite: bool = False,
) -> dict[str, torch.Tensor]:
    """Load weights that have exactly the expected names and shapes.

    Args:
        path: A ``.safetensors`` or ``.pt`` file, or a folder of ``model*.safetensors``.
        expected: Shape by name.
        dtype: To which floating tensors are converted; None keeps the file's.
        device: Where the tensors go.
        check_finite: Refuse NaN and infinity.

    Raises:
        CheckpointError: A file is missing or damaged, a tensor missing, too much, of another
            shape, or not finite; the message names file and tensor.
    """
    with open_weights(path) as weights:
        check_names(weights.infos, expected, path)
        return {
            name: ready(weights, name, dtype=dtype, device=device, check_finite=check_finite)
            for name in weights.infos
        }


def ready(
    weights: WeightReader,
    name: str,
    *,
    dtype: torch.dtype | None,
    device: torch.device | str = "cpu",
    check_finite: bool,
) -> torch.Tensor:
    """Read one tensor, check it if asked to, convert and move it."""
    tensor = weights.tensor(name)
    if check_finite and (bad := _not_finite(tensor)):
        raise CheckpointError(
            f"{weights.infos[name].file}: {name} has {bad} of {tensor.numel()} values that are "
            "NaN or infinite; fetch the file again, or convert the weights anew"
        )
    return tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)


def _not_finite(tensor: torch.Tensor) -> int:
    """Count NaN and infinities in chunks: the check takes several bytes per value."""
    if not tensor.is_floating_point():
        return 0
    pieces = torch.split(tensor.reshape(-1), CHECKED_AT_ONCE)
    return sum(piece.numel() - int(torch.isfinite(piece).sum()) for piece in pieces)


def check_names(found: Mapping[str, TensorInfo], expected: Mapping[str, Shape], path: Path) -> None:
    """Compare names and shapes.

    Raises:
        CheckpointError: They differ; the message names tensors.
    """
    problems = []
    if missing := [name for name in expected if name not in found]:
        problems.append(f"{len(missing)} missing: {_some(missing)}")
    if extra := [name for name in found if name not in expected]:
        problems.append(f"{len(extra)} that do not belong there: {_some(extra)}")
    if wrong := [
        f"{name} {list(found[name].shape)} instead of {list(shape)} in {found[name].file.name}"
        for name, shape in expected.items()
        if name in found and found[name].shape != tuple(shape)
    ]:
        problems.append(f"{len(wrong)} of another shape: {_some(wrong)}")
    if problems:
        raise CheckpointError(
            f"{path} does not hold the {len(expected)} tensors that its config asks for; "
            f"{'; '.join(problems)}. Is it the checkpoint you meant, and complete?"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


@contextmanager
def open_weights(path: Path) -> Iterator[WeightReader]:
    """Open a weight file, or the ``model*.safetensors`` of a folder.

    Raises:
        CheckpointError: A file is missing, damaged or of an unknown kind.
    """
    if path.suffix in {".pt", ".pth", ".bin"} and not os.path.isdir(path):
        yield _PickledWeights(path)
        return
    reader = _SafetensorsFiles(weight_files(path))
    try:
        yield reader
    finally:
        reader.close()


def weight_files(path: Path) -> tuple[Path, ...]:
    """Return the safetensors files of a path, with every shard of an index.

    Raises:
        CheckpointError: There is none, or a shard is missing.
    """
    if path.suffix == ".safetensors":
        return (path,)
    index = path / "model.safetensors.index.json"
    if os.path.isfile(index):
        names = _index(index)
    else:
        names = sorted(file.name for file in path.glob("model*.safetensors"))
    if not names:
        raise CheckpointError(
            f"{path} holds no weights: expected model.safetensors, or shards and their "
            "model.safetensors.index.json; fetch them with: voicerag download glm"
        )
    for name in names:
        if not os.path.isfile(path / name):
            raise CheckpointError(
                f"{path / name} is missing, one of the {len(names)} shards that {index.name} "
                "lists; fetch it with: voicerag download glm"
            )
    return tuple(path / name for name in names)


def _index(index: Path) -> list[str]:
    try:
        placed = read_json(index)["weight_map"]
        names = sorted(set(placed.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{index} is no index of shards: {type(error).__name__}: {error}"
        ) from error
    if not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise CheckpointError(f"{index} names shards outside its folder: {_some(names)}")
    return names


class _SafetensorsFiles:
    """Open safetensors files; each is mapped into memory when a tensor of it is first read."""

    def __init__(self, files: tuple[Path, ...]) -> None:
        self.infos: dict[str, TensorInfo] = {}
        self._open: dict[Path, object] = {}
        for file in files:
            for name, info in read_header(file).items():
                if name in self.infos:
                    raise CheckpointError(
                        f"{file}: {name} is in {self.infos[name].file.name} already"
                    )
                self.infos[name] = info

    def tensor(self, name: str) -> torch.Tensor:
        """See `WeightReader.tensor`."""
        file = self.infos[name].file
        try:
            if file not in self._open:
                self.close()  # one mapping at a time bounds the resident memory
                self._open[file] = safe_open(file, framework="pt")
            tensor: torch.Tensor = self._open[file].get_tensor(name)  # type: ignore[attr-defined]
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file}: {name} cannot be read: {error}") from error
        return tensor

    def close(self) -> None:
        """Release the mappings."""
        self._open.clear()


def read_header(file: Path) -> dict[str, TensorInfo]:
    """Read the header of a safetensors file, and check that the file is complete.

    Raises:
        CheckpointError: The file is missing, cut short, or no safetensors file.
    """
    try:
        with regular_file(file) as stream:
            size = os.fstat(stream.fileno()).st_size
            start = stream.read(8)
            (length,) = struct.unpack("<Q", start)
            if length > min(LONGEST_HEADER, size):
                raise ValueError(f"a header of {length} bytes in a file of {size}")
            header = parsed_json(stream.read(length))
            header.pop("__metadata__", None)
            infos = {
                name: TensorInfo(file, tuple(one["shape"]), DTYPES[one["dtype"]])
                for name, one in header.items()
            }
            end = 8 + length + max((one["data_offsets"][1] for one in header.values()), default=0)
    except FileNotFoundError as error:
        raise CheckpointError(f"{file} is missing") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise CheckpointError(
            f"{file} is no safetensors file, or it is damaged: {type(error).__name__}: {error}; "
            "fetch it again"
        ) from error
    if end != size:
        raise CheckpointError(
            f"{file} has {size} bytes, and its header speaks of {end}: it was cut short or "
            "altered; fetch it again"
        )
    return infos


class _PickledWeights:
    """A file of ``torch.save`` that holds tensors by name and nothing that could run."""

    def __init__(self, file: Path) -> None:
        self._state = _unpickled(file)
        self.infos = {
            name: TensorInfo(file, tuple(tensor.shape), tensor.dtype)
            for name, tensor in self._state.items()
        }

    def tensor(self, name: str) -> torch.Tensor:
        """See `WeightReader.tensor`."""
        return self._state[name]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _unpickled(file: Path) -> dict[str, torch.Tensor]:
    if not os.path.isfile(file):
        raise CheckpointError(f"{file} is missing; fetch it with: voicerag download glm")
    try:
        state = torch.load(
            file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file)
        )
    except Exception as error:  # a damaged file may raise any in the parsers of zip and pickle
        raise CheckpointError(
            f"{file} is no file of tensors that torch.save wrote, or it is damaged: "
            f"{_first_line(error)}"
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in state.items()
    ):
        raise CheckpointError(f"{file} holds a {type(state).__name__}, not tensors by name")
    return state
