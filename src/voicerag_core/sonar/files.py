"""SONAR's published files: their names, where they lie, and how they are fetched."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from voicerag_core.errors import CheckpointError, ConfigError
from voicerag_core.sonar.languages import SPEECH_FILES, speech_code
from voicerag_core.sonar.licences import licence_of

__all__ = ["ADDRESS", "TEXT_DECODER", "TEXT_ENCODER", "TOKENIZER", "SonarFiles", "fetch", "wanted"]

ADDRESS = "https://dl.fbaipublicfiles.com/SONAR/"
"""Source: facebookresearch/SONAR v0.5.0, sonar/cards."""

TEXT_ENCODER = "sonar_text_encoder.pt"
TEXT_DECODER = "sonar_text_decoder.pt"
TOKENIZER = "sentencepiece.source.256000.model"

TIMEOUT_SECONDS = 30.0
READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SonarFiles:
    """Where the files of a language lie in a folder; whether they are there is not asked.

    Args:
        text: Text encoder.
        tokenizer: sentencepiece model.
        speech: Speech encoder; None where none was published for the language.
        decoder: Text decoder.
    """

    text: Path
    tokenizer: Path
    speech: Path | None
    decoder: Path

    @classmethod
    def in_folder(cls, folder: Path, language: str) -> SonarFiles:
        """Name the files of a language, by either code."""
        try:
            speech = _either(folder / SPEECH_FILES[speech_code(language)])
        except ConfigError:
            speech = None
        return cls(
            _either(folder / TEXT_ENCODER),
            folder / TOKENIZER,
            speech,
            _either(folder / TEXT_DECODER),
        )


def _either(path: Path) -> Path:
    """Return the same file as ``.safetensors`` where that is there and the other is not."""
    other = path.with_suffix(".safetensors")
    return other if other.is_file() and not path.is_file() else path


def wanted(language: str, *, decoder: bool = False) -> tuple[tuple[str, str], ...]:
    """Name the files that a language needs, each with its licence.

    Raises:
        ConfigError: No speech encoder was published for the language.
    """
    names = [TEXT_ENCODER, TOKENIZER, SPEECH_FILES[speech_code(language)]]
    names += [TEXT_DECODER] if decoder else []
    return tuple((name, licence_of(name)) for name in names)


def fetch(
    name: str,
    folder: Path,
    *,
    progress: Callable[[str, int, int], None] | None = None,
    base_url: str = ADDRESS,
) -> Path | None:
    """Fetch one file unless it is there; an interrupted download goes on where it stopped.

    SONAR's authors publish no checksums: what arrives is held against the length that the server
    announces, and every tensor is checked when the file is loaded.

    Args:
        name: Of a published file.
        folder: Where it goes; as ``NAME.part`` until it is whole.
        progress: Called with name, bytes so far and bytes in all.
        base_url: A mirror that has the same names; https, or http on this machine.

    Returns:
        The file's path, or None when it was there.

    Raises:
        CheckpointError: The file cannot be fetched.
        ConfigError: The address is not one that is used.
    """
    local = ("http://127.0.0.1", "http://localhost")
    if not base_url.startswith(("https://", *local)):
        raise ConfigError(f"{base_url!r} is no https address")
    target = folder / name
    if target.is_file():
        return None
    part = folder / f"{name}.part"
    address = base_url.rstrip("/") + "/" + name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as output:
            _transfer(address, output, name, progress)
        part.replace(target)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise CheckpointError(
            f"{name} could not be fetched from {address}: {error}; what has arrived is kept, so "
            "run the download again once that is mended, or put the file into "
            f"{folder} yourself"
        ) from error
    return target


def _transfer(
    address: str,
    output: IO[bytes],
    name: str,
    progress: Callable[[str, int, int], None] | None,
) -> None:
    have = output.tell()
    request = urllib.request.Request(  # noqa: S310 - the scheme was checked
        address, headers={"User-Agent": "voicerag", **({"Range": f"bytes={have}-"} if have else {})}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
        if have and answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            output.truncate(0)
            have = 0
        total = have + int(answer.headers["Content-Length"])
        while block := answer.read(READ_BYTES):
            output.write(block)
            have += len(block)
            if progress is not None:
                progress(name, have, total)
    if have < total:
        raise http.client.IncompleteRead(b"", total - have)
