"""SONAR's published files: their names, where they lie, and how they are fetched."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from voicerag_core.errors import ConfigError
from voicerag_core.fetching import OnBytes, check_address, fetch_file
from voicerag_core.sonar.languages import SPEECH_FILES, speech_code
from voicerag_core.sonar.licences import licence_of

__all__ = ["ADDRESS", "TEXT_DECODER", "TEXT_ENCODER", "TOKENIZER", "SonarFiles", "fetch", "wanted"]

ADDRESS = "https://dl.fbaipublicfiles.com/SONAR/"
"""Source: facebookresearch/SONAR v0.5.0, sonar/cards."""

TEXT_ENCODER = "sonar_text_encoder.pt"
TEXT_DECODER = "sonar_text_decoder.pt"
TOKENIZER = "sentencepiece.source.256000.model"


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
    return other if os.path.isfile(other) and not os.path.isfile(path) else path


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
    progress: OnBytes | None = None,
    base_url: str = ADDRESS,
) -> Path | None:
    """Fetch one file unless it is there; an interrupted download is resumed.

    SONAR's authors publish no checksums: what arrives is held against the length that the server
    announces, and every tensor is checked when the file is loaded.

    Args:
        name: Of a published file.
        folder: Where it goes.
        progress: Called with name, bytes so far and bytes in all, or None where the server does
            not say.
        base_url: A mirror that has the same names; https, or http on this machine.

    Returns:
        The file's path, or None when it was there.

    Raises:
        CheckpointError: The file cannot be fetched.
        ConfigError: The address is not one that is used.
    """
    target = folder / name
    check_address(base_url)
    if os.path.isfile(target):
        return None
    fetch_file(
        f"{base_url.rstrip('/')}/{name}",
        target,
        advice=f"put the file into {folder} yourself",
        on_progress=progress,
    )
    return target
