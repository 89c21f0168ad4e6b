"""The ``voicerag`` command.

Heavy modules are imported only when a command needs them, so help and completion are fast.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line with the arguments of this process, and exit."""
    from voicerag_core.cli.app import app
    from voicerag_core.cli.command import exiting_well

    with exiting_well():
        app(prog_name="voicerag")
