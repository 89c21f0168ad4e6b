"""Signs of life of a child process, and how long there has been none."""

from __future__ import annotations

import time

__all__ = ["BEAT_SECONDS", "HANG_SECONDS", "PATIENCE", "Quiet"]

BEAT_SECONDS = 0.5
"""How often a child says that it lives, and its parent looks whether it has."""
HANG_SECONDS = 60.0
"""After so many seconds without a sign of life, or of work on its calls, a child hangs: a step of
the language model takes 0.05 s on a GPU, and the first of a new shape some seconds."""
PATIENCE = 10.0
"""So many times longer it may take to load, to warm and to answer for the first time, and so many
times longer a reply may stand still while others go on."""


class Quiet:
    """For how many seconds something has not changed, by the looks that are taken at it.

    A look counts two beats at most, so that time in which the looking process itself was stopped,
    or had no processor, does not pass for silence of the other one.
    """

    def __init__(self) -> None:
        self._seen: object = None
        self._looked = time.monotonic()
        self._seconds = 0.0

    def look(self, seen: object, *, excused: bool = False) -> float:
        """Return the seconds for which it has been as it is now.

        Args:
            seen: What must change.
            excused: Whether it need not; the seconds begin anew.
        """
        now = time.monotonic()
        if excused or seen != self._seen:
            self._seconds = 0.0
        else:
            self._seconds += min(now - self._looked, 2 * BEAT_SECONDS)
        self._seen, self._looked = seen, now
        return self._seconds
