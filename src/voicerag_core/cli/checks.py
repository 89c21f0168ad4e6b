"""The checks of ``voicerag doctor``; each yields findings, even when something is broken."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from voicerag_core.errors import CheckpointError, VoiceRAGError

if TYPE_CHECKING:
    from voicerag_core.glm.weights.checkpoints import PartKind
    from voicerag_core.settings import Settings

__all__ = [
    "Finding",
    "audio_devices",
    "disk",
    "glm",
    "licences",
    "packages",
    "program",
    "sonar",
    "weights",
]

LEAST_FREE_BYTES = 100_000_000
GOOD_FREE_BYTES = 1_000_000_000
"""Space for the embedded database, its log and an index of about ten thousand passages."""

_OPTIONAL = {
    "documents": "to read web pages, PDF, office files, books and mails",
    "audio": "for microphone and playback",
    "multilingual": "for languages besides English",
    "glm": "to answer with GLM-4-Voice",
    "sonar": "to search by SONAR's vectors",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Args:
        area: What was checked, in one word.
        state: "ok"; "warn": something optional is missing; "fail".
        text: What was found.
        cure: What to do about it; "" if nothing.
    """

    area: str
    state: Literal["ok", "warn", "fail"]
    text: str
    cure: str = ""


def program(settings: Settings) -> Iterator[Finding]:
    """Yield the versions of voicerag and Python, and the selected stack."""
    from importlib.metadata import version

    name = f"voicerag {version('voicerag-core')}"
    yield Finding(
        "program", "ok", f"{name}, Python {platform.python_version()} on "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    )  # fmt: skip
    yield Finding(
        "stack", "ok", f"{settings.stack}; spoken questions are searched by strategy "
        f"{settings.question_strategy}",
    )  # fmt: skip
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        yield Finding(
            "program", "warn", "this platform is untested",
            "on macOS and Windows, use your own Postgres server with --database-url",
        )  # fmt: skip


def packages() -> Iterator[Finding]:
    """Yield the versions of the required distributions, by extra."""
    from importlib.metadata import PackageNotFoundError, version

    for extra in ("", "local", *_OPTIONAL):
        found, absent = [], []
        for name in _required(extra):
            try:
                found.append(f"{name} {version(name)}")
            except PackageNotFoundError:
                absent.append(name)
        area = f"extra {extra}" if extra else "packages"
        target = f"voicerag-core[{extra}]" if extra else "voicerag-core"
        if absent:
            purpose = f", needed {_OPTIONAL[extra]}" if extra in _OPTIONAL else ""
            yield Finding(
                area, "warn" if extra in _OPTIONAL else "fail",
                f"not installed: {', '.join(absent)}{purpose}", f"pip install '{target}'",
            )  # fmt: skip
        else:
            yield Finding(area, "ok", ", ".join(found))


def weights(settings: Settings) -> Iterator[Finding]:
    """Report the origin, licence and integrity of every weight file."""
    from voicerag_core.local.weights.files import describe

    for file in describe(data_dir=settings.data_dir / "weights"):
        said = f"{file.name}: {file.purpose}, {file.licence}, SHA-256 {file.sha256[:12]}…"
        if file.state == "verified":
            yield Finding("weights", "ok", f"{said} verified, in {_folder(file.path)}")
        else:
            place = "" if file.path is None else f" in {_folder(file.path)}"
            yield Finding("weights", "fail", f"{said} {file.state}{place}", file.cure)


def glm(settings: Settings) -> Iterator[Finding]:
    """Report whether each network of GLM-4-Voice is present and whole, and its licence."""
    if settings.stack != "glm":
        return
    from voicerag_core.cli.download import part_line
    from voicerag_core.glm import open_checkpoint
    from voicerag_core.stack import glm_folder

    elsewhere: list[PartKind] = ["lm"] if settings.glm_lm == "vllm" else []
    needed: list[PartKind] = ["speech_tokenizer"] if elsewhere else ["speech_tokenizer", "lm"]
    needed += ["decoder"] if settings.speak else []
    try:
        found = open_checkpoint(glm_folder(settings), without=elsewhere)
    except CheckpointError as error:
        yield Finding("glm", "fail", str(error))  # it says what to do
        return
    for part in found.parts.values():
        yield Finding("glm", "ok", f"{part_line(part)}, licence: {part.licence}")
    for kind in needed:
        if kind not in found.parts:
            yield Finding(
                "glm", "fail", f"{found.folder} holds no {kind.replace('_', ' ')}",
                f"voicerag download glm --part {kind}",
            )  # fmt: skip


def sonar(settings: Settings) -> Iterator[Finding]:
    """Report whether each SONAR file is present, and its licence."""
    if settings.embedder != "sonar":
        return
    from voicerag_core.sonar.files import SonarFiles
    from voicerag_core.sonar.licences import licence_of
    from voicerag_core.stack import sonar_folder

    folder = sonar_folder(settings)
    language = settings.sonar_speech_language or settings.sonar_language
    files = SonarFiles.in_folder(folder, language)
    cure = f"voicerag download sonar --language {language}"
    for path in (files.text, files.tokenizer, files.speech):
        if path is None:
            yield Finding(
                "sonar", "warn", f"no speech encoder was published for {language}",
                "ask in another language: VOICERAG_SONAR_SPEECH_LANGUAGE",
            )  # fmt: skip
        elif os.path.isfile(path):
            size = path.stat().st_size / 1e9
            yield Finding(
                "sonar", "ok", f"{path.name}: {size:.2f} GB, licence {licence_of(path.name)}, "
                f"in {folder}",
            )  # fmt: skip
        else:
            yield Finding("sonar", "fail", f"{path.name} is not in {folder}", cure)


def licences() -> Iterator[Finding]:
    """State the licence of the speech synthesis program and what it means."""
    from importlib.metadata import version
    from importlib.util import find_spec

    if find_spec("piper") is None:
        return  # the packages say so
    yield Finding(
        "licences", "ok", f"piper-tts {version('piper-tts')} is GPL-3.0-or-later: it runs as a "
        "separate process and is never imported; voicerag itself is Apache-2.0",
    )  # fmt: skip


def disk(settings: Settings) -> Iterator[Finding]:
    """Check the free space in the data folder."""
    folder = settings.data_dir.expanduser().absolute()
    place = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    cure = "free some space, or choose another folder with --data-dir"
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        yield Finding("disk", "fail", f"{place} cannot be checked: {error}", cure)
        return
    text = f"{free / 1e9:.1f} GB free for {folder}"
    if free < LEAST_FREE_BYTES:
        yield Finding("disk", "fail", text, cure)
    elif free < GOOD_FREE_BYTES:
        yield Finding("disk", "warn", text, cure)
    else:
        yield Finding("disk", "ok", text)
    if not os.access(place, os.W_OK):
        yield Finding("disk", "fail", f"{place} is not writable", cure)


def audio_devices() -> Iterator[Finding]:
    """Check for a microphone and a loudspeaker."""
    from voicerag_core.cli.sound import devices

    try:
        found = devices()
    except VoiceRAGError as error:
        yield Finding("audio", "warn", str(error), "or use --audio FILE and --out FILE")
        return
    for kind, name, instead in (
        ("input", "microphone", "ask with --audio FILE or --text"),
        ("output", "loudspeaker", "write answers with --out FILE"),
    ):
        if kind in found:
            yield Finding("audio", "ok", f"{name}: {found[kind]}")
        else:
            yield Finding("audio", "warn", f"no {name}", instead)


def _required(extra: str) -> list[str]:
    """Return the distributions that an extra requires on this platform."""
    from importlib.metadata import requires

    names = []
    for requirement in requires("voicerag-core") or ():
        specifier, _, marker = requirement.partition(";")
        wanted = re.search(r"""extra\s*==\s*['"]([\w-]+)['"]""", marker)
        elsewhere = re.search(r"""sys_platform\s*==\s*['"](\w+)['"]""", marker)
        if (wanted[1] if wanted else "") != extra:
            continue
        if elsewhere and elsewhere[1] != sys.platform:
            continue
        name = re.match(r"[\w.-]+", specifier.strip())
        if name:
            names.append(name[0])
    return sorted(names)


def _folder(path: Path | None) -> str:
    return "" if path is None else str(path.parent)
