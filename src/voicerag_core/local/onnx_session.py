"""Open ONNX networks with few threads, and without memory kept between calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from voicerag_core.errors import CheckpointError, MissingExtraError
from voicerag_core.heaps import share_heaps

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["open_session"]


def open_session(network: Path | bytes, what: str, *, threads: int) -> onnxruntime.InferenceSession:
    """Open an ONNX network on the CPU.

    Args:
        network: The file, or its contents.
        what: Name of the network for messages, such as "the reader".
        threads: Threads of one call.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        CheckpointError: The file is not a network that can be run.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("local", what) from error
    share_heaps()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The arena would never free the largest input's memory, and waiting threads would spin on
    # cores that the recogniser and the speaker need.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        given = network if isinstance(network, bytes) else str(network)
        return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        origin = "" if isinstance(network, bytes) else f" from {network}"
        said = " ".join(str(error).split())
        raise CheckpointError(
            f"{what} cannot be loaded{origin}: {said}; reinstall the extra 'local'"
        ) from error
