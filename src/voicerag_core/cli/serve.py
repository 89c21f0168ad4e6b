"""``voicerag serve``: the page and the doors of a web server on a collection."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from voicerag_core.cli.command import GlobalOptions
from voicerag_core.errors import MissingExtraError

__all__ = ["serve"]

_SERVER = "voicerag_web"
"""The package of the server; it lies above the core, so it is found when the command runs."""


def serve(
    given: GlobalOptions,
    *,
    host: Annotated[
        str | None,
        typer.Option("--host", help="Address to listen on; default: 127.0.0.1."),
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", help="Port to listen on; default: 8090.")
    ] = None,
    allow_ingest: Annotated[
        bool, typer.Option("--allow-ingest", help="Let callers add documents.")
    ] = False,
    mcp: Annotated[
        bool, typer.Option("--mcp", help="Offer the MCP server at /mcp as well.")
    ] = False,
    wyoming: Annotated[
        int | None,
        typer.Option(
            "--wyoming",
            metavar="PORT",
            show_default=False,
            help="Offer Home Assistant's protocol on this port of this machine.",
        ),
    ] = None,
    wyoming_open: Annotated[
        bool,
        typer.Option(
            "--wyoming-open",
            help="Offer it to other machines too; whoever reaches it reads the documents.",
        ),
    ] = False,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file", metavar="FILE", show_default=False, help="TOML file of accepted tokens."
        ),
    ] = None,
) -> None:
    """Serve a page to speak with the documents, and the protocols of OpenAI and MCP.

    Everything else is set by VOICERAG_SERVE_* variables.
    """
    settings = given.settings()
    try:
        server = import_module(_SERVER)
    except ModuleNotFoundError as error:
        raise MissingExtraError("serve", "the web server") from error
    web_settings = server.load_web_settings(
        host=host,
        port=port,
        allow_ingest=allow_ingest or None,
        mcp=mcp or None,
        wyoming=wyoming,
        wyoming_open=wyoming_open or None,
        token_file=token_file,
    )
    code = server.run(settings, web_settings, typer.echo)
    raise typer.Exit(code)
