"""Shares of the sources, for several runs beside each other that any scheduler starts.

Which run takes a source follows from its name alone, so that each is taken by exactly one, now and
in the next run with as many shares. That holds for what was deleted, too: the run whose share a
source was in removes it. Runs with another number of shares are right as well; they only share out
anew.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from voicerag_core.errors import ConfigError

__all__ = ["Shard"]


@dataclass(frozen=True, slots=True)
class Shard:
    """One share.

    Args:
        number: Which one, from 1.
        of: How many there are.

    Raises:
        ConfigError: There is no such share.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        """Refuse a share that is not there."""
        if not 1 <= self.number <= self.of:
            raise ConfigError(
                f"there is no share {self.number} of {self.of}; shares are 1/{max(1, self.of)} to "
                f"{max(1, self.of)}/{max(1, self.of)}"
            )

    @classmethod
    def parsed(cls, text: str) -> Shard:
        """Read "2/5", the second of five.

        Raises:
            ConfigError: The text is none.
        """
        found = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text, re.ASCII)
        if found is None:
            raise ConfigError(f"a share is written as 2/5, the second of five; not {text!r}")
        return cls(int(found[1]), int(found[2]))

    def has(self, source: str) -> bool:
        """Return whether a source belongs to this share."""
        digest = hashlib.sha256(source.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.number - 1
