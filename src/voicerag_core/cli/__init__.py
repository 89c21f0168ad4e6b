"""The ``voicerag`` command.

Nothing heavy is imported before a command needs it, so that help and completion come at once.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line with the arguments of this process, and exit."""
    from voicerag_core.cli.command import exiting_well

    with exiting_well():
        from voicerag_core.cli.app import app

        app(prog_name="voicerag")
