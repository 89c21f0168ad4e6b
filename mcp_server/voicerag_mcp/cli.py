"""The command ``voicerag-mcp``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from types import FrameType
from typing import TYPE_CHECKING

from voicerag_core import MissingExtraError, VoiceRAGError, load_settings
from voicerag_core.ending import close_in_peace, leave, leave_late, leave_threads
from voicerag_core.logs import is_structured, set_up_logs
from voicerag_core.telemetry import flush_telemetry, set_up_telemetry

if TYPE_CHECKING:
    from voicerag_core import Settings
    from voicerag_mcp.settings import ServerSettings

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    given = _parser().parse_args(arguments)
    form = os.environ.get("VOICERAG_LOG_FORMAT", "text")
    set_up_logs("json" if form == "json" else "text", given.log_level)
    try:
        if given.command == "token":  # of use to `voicerag serve` without the extra, too
            return _token(given)
        if find_spec("mcp") is None:
            raise MissingExtraError("mcp", "the MCP server")
        return _serve(given)
    except VoiceRAGError as error:
        if is_structured():
            logging.getLogger(__name__).error(
                "%s", error, extra={"error_type": type(error).__name__}
            )
        else:
            sys.stderr.write(f"voicerag-mcp: {error}\n")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "voicerag-mcp",
        description="Serve your documents to MCP clients: ask them by voice or text.",
        epilog="Every option, and more, is also a VOICERAG_MCP_* variable; the database and the "
        "models are set by VOICERAG_* variables. See docs/settings.md.",
    )
    parser.add_argument("--version", action="version", version=version("voicerag-core"))
    parser.add_argument("--transport", choices=("stdio", "http"), default="stdio")
    parser.add_argument("--host", help="address to listen on (http; default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (http; default 8000)")
    parser.add_argument(
        "--sessions",
        action="store_true",
        default=None,
        help="keep sessions, for older clients (http)",
    )
    parser.add_argument(
        "--read-only", action="store_true", default=None, help="offer no tool that writes"
    )
    parser.add_argument(
        "--allow-path",
        action="append",
        metavar="FOLDER",
        help="folder whose files calls may name; may be repeated",
    )
    parser.add_argument("--token-file", help="TOML file of accepted tokens (http)")
    parser.add_argument("--collection", help="default collection")
    parser.add_argument(
        "--table",
        help="Postgres table that another program fills, to ask in place of a collection "
        "(implies --read-only)",
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default=os.environ.get(
            "VOICERAG_MCP_LOG_LEVEL", os.environ.get("VOICERAG_LOG_LEVEL", "warning")
        ).lower(),
    )
    commands = parser.add_subparsers(dest="command", metavar="")
    token = commands.add_parser("token", help="create a token and its entry for the token file")
    token.add_argument("name", help="name of the client")
    token.add_argument("--tenant", required=True, help="tenant whose documents it opens")
    token.add_argument("--write", action="store_true", help="allow it to ingest documents")
    return parser


def _token(given: argparse.Namespace) -> int:
    from voicerag_core.serving.auth import new_entry

    token, entry = new_entry(given.name, given.tenant, write=given.write)
    sys.stderr.write(f"pass this token to {given.name}; it is not stored anywhere:\n{token}\n")
    sys.stderr.write("and append these lines to the token file:\n")
    sys.stderr.flush()
    sys.stdout.write(f"{entry}\n")
    return 0


def _serve(given: argparse.Namespace) -> int:
    from voicerag_mcp.settings import load_server_settings

    settings = load_settings(collection=given.collection, table=given.table)
    server_settings = load_server_settings(
        host=given.host,
        port=given.port,
        sessions=given.sessions,
        read_only=given.read_only,
        allowed_paths=tuple(given.allow_path) if given.allow_path else None,
        token_file=given.token_file,
    )
    set_up_telemetry(settings.telemetry, service="voicerag-mcp")
    if given.transport == "http":
        server_settings.check_exposure()
    else:  # the user who started the program is the caller
        server_settings = server_settings.model_copy(update={"token_file": None, "issuer": None})
    return _run(given.transport, settings, server_settings)


def _run(transport: str, settings: Settings, server_settings: ServerSettings) -> int:
    from voicerag_mcp.server import build_server, open_service

    stack, closing, code = ExitStack(), threading.Lock(), 0
    stack.callback(flush_telemetry)
    try:
        service = stack.enter_context(open_service(settings, server_settings))
        server = build_server(service)
        if transport == "http":
            from voicerag_mcp.http import http_app
            from voicerag_mcp.listening import serve

            app = http_app(service, server)
            code = asyncio.run(serve(app, server_settings))
            close_in_peace(code)
        else:
            ended = _close_on_signals(stack, closing)
            server.run("stdio")
            code = ended.code
    finally:
        with closing:
            stack.close()
    leave_threads(code)  # a stage still runs, such as the loading of a model: nobody waits for it
    return code


@dataclass(slots=True)
class _Ended:
    """The exit code: that of the first signal, or 0 when the client has left."""

    code: int = 0


def _close_on_signals(stack: ExitStack, closing: threading.Lock) -> _Ended:
    """Exit on a signal even while a thread waits for the next line of standard input."""
    ended = _Ended()

    def close(number: int, _: FrameType | None) -> None:
        ended.code = ended.code or 128 + number

        def end() -> None:
            leave_late(ended.code)
            with closing:
                stack.close()
            leave(ended.code)

        threading.Thread(target=end, daemon=True).start()

    signal.signal(signal.SIGTERM, close)
    signal.signal(signal.SIGINT, close)
    return ended
