"""Fetch the released weights of GLM-4-Voice from their hub, on request only.

The hub's own client does the transfer: it goes on where an interrupted download stopped, and takes
from its cache what is there. What arrived is compared with the hub's SHA-256, and names and shapes
of its tensors with its configs.
"""

from __future__ import annotations

import fnmatch
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from voicerag_core.errors import CheckpointError, ConfigError
from voicerag_core.fetching import check_room, sha256_of
from voicerag_core.glm.weights.checkpoints import LICENCE, Part, PartKind, open_checkpoint

__all__ = ["REPOSITORIES", "download_checkpoint"]

FAULTS: tuple[type[Exception], ...] = (OSError, ValueError, *HfHubHTTPError.__bases__)
"""What the hub's client raises; among the bases is the base error of its HTTP library."""


FORMER_OWNER = "THUDM"
"""Owner at the time of the release; the hub itself redirects to today's."""


@dataclass(frozen=True, slots=True)
class Repository:
    """Where a network is published.

    Args:
        name: Owner and name on the hub.
        files: Patterns of the files that are used; the code beside them is not.
    """

    name: str
    files: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Name of its folder here."""
        return self.name.rpartition("/")[2]

    @property
    def names(self) -> tuple[str, str]:
        """Its name, and the one under its former owner, which mirrors and caches may have."""
        return self.name, f"{FORMER_OWNER}/{self.folder}"


REPOSITORIES: dict[PartKind, Repository] = {
    "speech_tokenizer": Repository(
        "zai-org/glm-4-voice-tokenizer",
        ("config.json", "preprocessor_config.json", "model*.safetensors*", "LICENSE*"),
    ),
    "lm": Repository(
        "zai-org/glm-4-voice-9b",
        (
            "config.json", "tokenizer.model", "tokenizer_config.json", "model*.safetensors*",
            "LICENSE*",
        ),
    ),
    "decoder": Repository(
        "zai-org/glm-4-voice-decoder", ("config.yaml", "flow.pt", "hift.pt", "LICENSE*")
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Source:
    """Which hub, which version, and where its client keeps copies."""

    revision: str | None
    endpoint: str | None
    cache_dir: Path | None


@dataclass(frozen=True, slots=True)
class _Published:
    """What the hub says of a repository: size and, for large files, SHA-256 by name."""

    name: str
    revision: str
    sizes: dict[str, int]
    digests: dict[str, str]


def download_checkpoint(
    folder: Path,
    kinds: Sequence[PartKind] = tuple(REPOSITORIES),
    *,
    revision: str | None = None,
    endpoint: str | None = None,
    cache_dir: Path | None = None,
    tell: Callable[[str], None] | None = None,
) -> list[Part]:
    """Fetch what is missing of the released weights.

    Without a connection, a whole copy in the hub's cache is used. Progress is shown by the hub's
    client, on a terminal.

    Args:
        folder: Where each repository gets a folder of its own.
        kinds: Which networks.
        revision: Branch, tag or commit of every repository; None is the newest.
        endpoint: Another hub with the same paths; None: the one in ``HF_ENDPOINT``, or
            https://huggingface.co.
        cache_dir: The hub's cache; None: the one in ``HF_HUB_CACHE``, or the user's.
        tell: Called with a line on licence and size before each transfer.

    Returns:
        The networks, verified.

    Raises:
        CheckpointError: The hub cannot be reached and the cache lacks a file, there is no room, or
            what arrived is not what the hub announced.
        ConfigError: A network is unknown.
    """
    if unknown := [kind for kind in kinds if kind not in REPOSITORIES]:
        raise ConfigError(f"no part is called {unknown[0]!r}; there are {', '.join(REPOSITORIES)}")
    source = _Source(revision, endpoint, cache_dir)
    parts = []
    for kind in kinds:
        repository = REPOSITORIES[kind]
        target = folder / repository.folder
        _fetch(repository, target, source, tell or (lambda line: None))
        parts.append(open_checkpoint(target).part(kind))
    return parts


def _fetch(
    repository: Repository,
    target: Path,
    source: _Source,
    tell: Callable[[str], None],
) -> None:
    try:
        published = _published(HfApi(endpoint=source.endpoint), repository, source.revision)
    except FAULTS as error:
        _from_cache(repository, target, source, error)
        tell(f"{repository.name}: from the hub's cache. Licence: {LICENCE}")
        return
    whole = sum(published.sizes.values())
    tell(f"{published.name}: {whole / 1e9:.2f} GB. Licence: {LICENCE}")
    try:
        target.mkdir(parents=True, exist_ok=True)
        needed = (
            size for name, size in published.sizes.items() if not os.path.isfile(target / name)
        )
        check_room(target, sum(needed), repository.name)
        snapshot_download(
            published.name,
            revision=published.revision,
            local_dir=target,
            cache_dir=source.cache_dir,
            endpoint=source.endpoint,
            allow_patterns=list(repository.files),
        )
    except FAULTS as error:
        raise CheckpointError(
            f"{repository.name} could not be fetched: {_reason(error)}; what has arrived is kept, "
            "so run the download again once that is mended"
        ) from error
    _verify(repository, target, published)


def _published(api: HfApi, repository: Repository, revision: str | None) -> _Published:
    name, former = repository.names
    try:
        info = api.model_info(name, revision=revision, files_metadata=True, timeout=30)
    except RepositoryNotFoundError:
        name = former
        info = api.model_info(name, revision=revision, files_metadata=True, timeout=30)
    files = [
        file
        for file in info.siblings or ()
        if any(fnmatch.fnmatchcase(file.rfilename, pattern) for pattern in repository.files)
    ]
    return _Published(
        name,
        info.sha or "main",
        {file.rfilename: file.size or 0 for file in files},
        {file.rfilename: file.lfs.sha256 for file in files if file.lfs is not None},
    )


def _verify(repository: Repository, target: Path, published: _Published) -> None:
    for name, digest in published.digests.items():
        if sha256_of(target / name) != digest:
            (target / name).unlink()
            raise CheckpointError(
                f"{target / name} is not the file that {repository.name} announces, by its "
                f"SHA-256 {digest}; it was deleted, so run the download again"
            )


def _from_cache(repository: Repository, target: Path, source: _Source, reason: Exception) -> None:
    """Take a repository from the hub's cache, linked where that is possible."""
    try:
        snapshot = _cached_snapshot(repository, source)
        target.mkdir(parents=True, exist_ok=True)
        for file in Path(snapshot).iterdir():
            if not any(fnmatch.fnmatchcase(file.name, pattern) for pattern in repository.files):
                continue
            if not os.path.isfile(target / file.name):
                _link(file.resolve(), target / file.name)
    except FAULTS as error:
        raise CheckpointError(
            f"{repository.name} could not be fetched: {_reason(reason)}; and the hub's cache does "
            "not hold it. Check the connection and HF_ENDPOINT, or copy the files to "
            f"{target} yourself"
        ) from error


def _cached_snapshot(repository: Repository, source: _Source) -> str:
    """Return the folder of the hub's cache that holds a repository under either name."""

    def snapshot(name: str) -> str:
        return str(
            snapshot_download(
                name,
                revision=source.revision,
                cache_dir=source.cache_dir,
                local_files_only=True,
                allow_patterns=list(repository.files),
            )
        )

    name, former = repository.names
    try:
        return snapshot(name)
    except LocalEntryNotFoundError:
        return snapshot(former)


def _link(source: Path, target: Path) -> None:
    """Return a file a second name, or copy it to where that cannot be done."""
    unfinished = target.with_name(f"{target.name}.part")
    unfinished.unlink(missing_ok=True)
    try:
        os.link(source, unfinished)
    except OSError:
        shutil.copyfile(source, unfinished)
    unfinished.replace(target)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
