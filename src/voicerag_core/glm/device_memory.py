"""The error message when a device has too little memory."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from voicerag_core.errors import ModelError

__all__ = ["current_device", "has_triton", "is_out_of_memory", "nbytes", "telling_what_is_needed"]

CPU_ALLOCATOR = "DefaultCPUAllocator"
"""Named in the RuntimeError that torch raises when the host has no memory left."""


@contextmanager
def telling_what_is_needed(device: torch.device, needed: str, choose: str) -> Iterator[None]:
    """Turn an out-of-memory error into one that says what is needed and what to choose.

    Args:
        device: Where the block allocates.
        needed: What takes how much, for example "the decoder takes 0.5 GB".
        choose: Options that take less.

    Raises:
        ModelError: An allocation failed in the block.
    """
    try:
        yield
    except RuntimeError as e:
        if not is_out_of_memory(e):
            raise
        raise ModelError(
            f"{device} has too little memory: {needed}; {_free(device)}choose {choose}"
        ) from e


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether torch could not allocate."""
    return isinstance(error, torch.OutOfMemoryError) or CPU_ALLOCATOR in str(error)


def nbytes(tensors: Iterable[torch.Tensor]) -> int:
    """Return the bytes of tensors, those without storage left out."""
    return sum(tensor.nbytes for tensor in tensors if not tensor.is_meta)


@functools.cache
def has_triton() -> bool:
    """Return whether Triton is installed; it comes with torch for GPUs."""
    return importlib.util.find_spec("triton") is not None


def current_device(device: str) -> AbstractContextManager[object]:
    """Make a GPU the current device of this thread for a block; a CPU needs no such thing.

    Kernels of Triton and recordings of CUDA graphs go to the current device.
    """
    return torch.cuda.device(device) if device.startswith("cuda") else nullcontext()


def _free(device: torch.device) -> str:
    if device.type != "cuda":
        return ""
    free, total = torch.cuda.mem_get_info(device)
    return f"{free / 1e9:.1f} of {total / 1e9:.1f} GB are free; "
