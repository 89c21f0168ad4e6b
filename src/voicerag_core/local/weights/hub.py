"""Models of a hub, fetched on request by revision and checked by their hashes."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from voicerag_core.errors import CheckpointError, ConfigError
from voicerag_core.fetching import OnBytes, check_room, fetch_file
from voicerag_core.files import read_json

__all__ = ["ADDRESS", "Published", "download_model", "downloaded", "look_up", "origin"]

ADDRESS = "https://huggingface.co"
RECORD = "voicerag.json"
COMMIT = re.compile(r"[0-9a-f]{40}")

SMALL = (
    "*.json", "*.txt", "*.model", "*/config.json", "LICENSE*", "README.md",
)  # fmt: skip
"""Configuration, tokenizers, vocabularies."""
NETWORKS = ("onnx/model.onnx", "model.onnx", "onnx/model_quantized.onnx", "model.bin")
"""The network, in order of preference: ONNX, or Whisper for CTranslate2."""
MOST_SMALL_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a model.

    Args:
        name: Path in the model.
        size: Bytes.
        sha256: Its hash, or "" for a small file.
        blob: Git's hash of a small file, or "".
    """

    name: str
    size: int
    sha256: str
    blob: str


@dataclass(frozen=True, slots=True)
class Published:
    """What the hub says of a model.

    Args:
        name: OWNER/NAME.
        revision: Commit.
        licence: As its card says; "not stated" without one.
        files: What is fetched.
    """

    name: str
    revision: str
    licence: str
    files: tuple[HubFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def look_up(
    name: str, *, revision: str | None = None, network: str | None = None, address: str = ADDRESS
) -> Published:
    """Ask the hub for a model.

    Args:
        name: OWNER/NAME.
        revision: Branch, tag or commit; None is the newest.
        network: The network's file; None chooses.
        address: The hub, or a mirror with the same paths.

    Raises:
        CheckpointError: The hub cannot be reached, or has no such model or network.
        ConfigError: The address is not safe.
    """
    path = f"{address}/api/models/{quote(name)}/revision/{quote(revision or 'main', safe='')}"
    try:
        said = _json(f"{path}?blobs=true")
        files = {str(one["rfilename"]): one for one in said["siblings"]}
        commit = str(said["sha"])
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} does not describe a model: {error!r}") from error
    if not COMMIT.fullmatch(commit):
        raise CheckpointError(f"{path} gives the revision {commit!r}, which is no commit")
    chosen = _network(name, files, network)
    wanted = [chosen, *(file for file in files if file.startswith(f"{chosen}_data"))]
    wanted += [
        file
        for file in files
        if any(fnmatch.fnmatchcase(file, pattern) for pattern in SMALL)
        and int(files[file].get("size") or 0) <= MOST_SMALL_BYTES
    ]
    return Published(
        name,
        commit,
        _licence(said),
        tuple(_file(file, files[file]) for file in dict.fromkeys(wanted) if _is_safe(file)),
    )


def download_model(
    model: Published,
    weights: Path,
    *,
    address: str = ADDRESS,
    on_progress: OnBytes | None = None,
    tell: Callable[[str], None] | None = None,
) -> Path:
    """Fetch what is missing of a model, and return its folder.

    An interrupted download goes on where it stopped. The record that makes the folder usable is
    written last.

    Args:
        model: What to fetch.
        weights: The folder of weights.
        address: The hub, or a mirror with the same paths.
        on_progress: See `OnBytes`.
        tell: Called with a line on revision, licence and size before the transfer.

    Raises:
        CheckpointError: A file cannot be fetched, or is not the one that the hub announced.
    """
    folder = _folder(model.name, weights)
    folder.mkdir(parents=True, exist_ok=True)
    if tell is not None:
        tell(
            f"{model.name} at {model.revision[:12]}: {model.size / 1e6:,.1f} MB, licence "
            f"{model.licence}"
        )
    known = _record(folder)
    missing = [file for file in model.files if not _is_here(folder, file, known)]
    check_room(folder, sum(file.size for file in missing), model.name)
    if missing:
        (folder / RECORD).unlink(missing_ok=True)
    for file in missing:
        fetch_file(
            f"{address}/{quote(model.name)}/resolve/{model.revision}/{quote(file.name)}",
            folder / file.name,
            size=file.size,
            sha256=file.sha256 or None,
            on_progress=on_progress,
        )
        if file.blob and _blob_hash(folder / file.name) != file.blob:
            (folder / file.name).unlink()
            raise CheckpointError(
                f"{folder / file.name} is not the file that {model.name} announces; it was "
                "deleted, so run the download again"
            )
    record = {
        "name": model.name,
        "revision": model.revision,
        "licence": model.licence,
        "files": {file.name: [file.size, file.sha256 or file.blob] for file in model.files},
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1), "utf-8")
    return folder


def downloaded(name: str, weights: Path, *, revision: str | None = None) -> Path:
    """Return the folder of a model that was downloaded.

    Args:
        name: OWNER/NAME.
        weights: The folder of weights.
        revision: The commit that it must be of, or its beginning; None takes any.

    Raises:
        CheckpointError: It is not there, or of another revision.
    """
    folder = _folder(name, weights)
    record = _record(folder)
    wanted = f" --revision {revision}" if revision else ""
    if not record:
        raise CheckpointError(
            f"the model {name} was not downloaded; run: voicerag download model {name}{wanted}"
        )
    if revision and not str(record["revision"]).startswith(revision):
        raise CheckpointError(
            f"the model {name} is here at revision {record['revision']}, and {revision} is wanted; "
            f"run: voicerag download model {name}{wanted}"
        )
    return folder


def origin(name: str, weights: Path) -> str:
    """Return name, revision and licence of a model that was downloaded; "" if it was not."""
    try:
        record = _record(_folder(name, weights))
    except ConfigError:
        return ""
    if not record:
        return ""
    return f"{name} at {record['revision'][:12]}, licence {record.get('licence', 'not stated')}"


def _folder(name: str, weights: Path) -> Path:
    owner, _, model = name.partition("/")
    if not owner or not model or "/" in model or ".." in name:
        raise ConfigError(f"a model on the hub is called OWNER/NAME, not {name!r}")
    return weights / "hub" / f"{owner}--{model}"


def _record(folder: Path) -> Mapping[str, Any]:
    try:
        record = read_json(folder / RECORD)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and "revision" in record else {}


def _is_here(folder: Path, file: HubFile, known: Mapping[str, Any]) -> bool:
    """Whether a file is as announced: it was checked when the record was written."""
    path = folder / file.name
    same = known.get("files", {}).get(file.name) == [file.size, file.sha256 or file.blob]
    return same and os.path.isfile(path) and path.stat().st_size == file.size


def _network(name: str, files: Mapping[str, object], wanted: str | None) -> str:
    if wanted is not None:
        if wanted in files:
            return wanted
        raise CheckpointError(f"{name} has no file {wanted}; it has {', '.join(sorted(files))}")
    found = next((file for file in NETWORKS if file in files), None)
    if found is None:
        onnx = sorted(file for file in files if file.endswith(".onnx"))
        raise CheckpointError(
            f"{name} has neither model.onnx nor model.bin (CTranslate2); "
            + (f"choose with --file: {', '.join(onnx)}" if onnx else "look for a converted copy")
        )
    return found


def _licence(said: Mapping[str, Any]) -> str:
    card = said.get("cardData")
    licence = card.get("license") if isinstance(card, dict) else None
    return licence if isinstance(licence, str) else "not stated"


def _file(name: str, said: Mapping[str, Any]) -> HubFile:
    lfs = said.get("lfs") or {}
    sha256 = str(lfs.get("sha256") or "")
    return HubFile(
        name, int(said.get("size") or 0), sha256, "" if sha256 else str(said.get("blobId") or "")
    )


def _is_safe(name: str) -> bool:
    parts: Sequence[str] = name.split("/")
    return not name.startswith("/") and "\\" not in name and not {"..", ""} & set(parts)


def _blob_hash(path: Path) -> str:
    """Return Git's hash of a file."""
    content = path.read_bytes()
    head = f"blob {len(content)}\0".encode()
    return hashlib.sha1(head + content, usedforsecurity=False).hexdigest()


def _json(address: str) -> Any:  # noqa: ANN401 - JSON
    with tempfile.TemporaryDirectory(prefix="voicerag-hub-") as folder:
        target = Path(folder) / "model.json"
        fetch_file(address, target)
        try:
            return read_json(target)
        except ValueError as error:
            raise CheckpointError(f"{address} sent something that is no JSON") from error
