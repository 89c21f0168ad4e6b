"""Transactions that the server gave up for the sake of another one are begun again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from psycopg import errors as pg

from voicerag_core.cancellation import check_cancelled

__all__ = ["ATTEMPTS", "given_way"]

_T = TypeVar("_T")

ATTEMPTS: Final = 5
"""Times that a transaction is begun at most."""

_FIRST_PAUSE_SECONDS = 0.02
"""Doubled with each attempt, and varied, so that two do not meet again: at most 0.6 s in all."""


def given_way(run: Callable[[], _T]) -> _T:
    """Call `run`, and again a few times while it ends in a deadlock or a conflict.

    These leave nothing behind: the server rolled the whole transaction back. On a replica a
    conflict is also a query that stood in the way of the changes that arrive.

    Args:
        run: A whole transaction, to be repeated with the same effect.

    Raises:
        psycopg.Error: The last attempt's, or any other at once.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return run()
        except (pg.DeadlockDetected, pg.SerializationFailure):
            check_cancelled()
            pause = _FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
    return run()
