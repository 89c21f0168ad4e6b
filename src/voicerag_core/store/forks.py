"""What has to be made anew in a process that was forked off."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["renewed_in_children"]

_T = TypeVar("_T")

_RENEW: weakref.WeakKeyDictionary[Any, Callable[[Any], None]] = weakref.WeakKeyDictionary()


def renewed_in_children(owner: _T, renew: Callable[[_T], None]) -> None:
    """Call ``renew(owner)`` at the start of every process that is forked off, while it lives.

    A child has one thread, and locks that other threads held stay locked in it. Its copies of
    connections belong to its parent: whoever closes or uses them breaks those of the parent.

    Args:
        owner: Hashable by identity.
        renew: Starts no thread.
    """
    _RENEW[owner] = renew


def _renew_all() -> None:
    for owner, renew in list(_RENEW.items()):
        renew(owner)


os.register_at_fork(after_in_child=_renew_all)
