"""``voicerag convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voicerag_core.cli.command import GlobalOptions
from voicerag_core.cli.download import part_line
from voicerag_core.cli.progress import byte_bars

__all__ = ["convert"]


def convert(
    given: GlobalOptions,
    *,
    source: Annotated[
        Path,
        typer.Argument(metavar="SRC", help="Released weights: folder of one network or all three."),
    ],
    target: Annotated[
        Path, typer.Argument(metavar="DST", help="Folder for the converted weights.")
    ],
    finite: Annotated[bool, typer.Option(help="Reject weights that are NaN or infinite.")] = True,
) -> None:
    """Rewrite released weights of GLM-4-Voice for this program, transformers and vLLM.

    The language model becomes a GlmForCausalLM directory with its tokenizer.json; speech tokenizer
    and decoder become safetensors and json. Needs memory for one shard, and disk space for a second
    copy.
    """
    from voicerag_core.glm import convert_checkpoint

    with byte_bars() as show:
        converted = convert_checkpoint(source, target, check_finite=finite, progress=show)
    for part in converted.parts.values():
        typer.echo(part_line(part))
    typer.echo(f"licence           {part.licence}")
