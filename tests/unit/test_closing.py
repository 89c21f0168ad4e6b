"""The ``with`` block of whatever can be closed."""

from __future__ import annotations

import pytest

from voicerag_core.closing import Closing


class Door(Closing):
    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_a_block_gives_the_object_and_closes_it_once() -> None:
    with Door() as door:
        assert isinstance(door, Door)
        assert door.closed == 0
    assert door.closed == 1


def test_a_block_that_fails_closes_too_and_its_error_goes_on() -> None:
    door = Door()
    with pytest.raises(ZeroDivisionError), door:
        _ = 1 // 0
    assert door.closed == 1
