"""Callers are told what they can act on; what concerns the server goes to its log."""

from __future__ import annotations

import pytest

from tests.serving.fakes import FakeModels, fake_serving, fake_tenants
from voicerag_core import (
    BusyError,
    CancelledError,
    EmbeddingMismatchError,
    NotFoundError,
    SchemaError,
    StoreError,
    StoreUnavailableError,
    VoiceRAGError,
)
from voicerag_core.serving import message_for_caller
from voicerag_core.serving.status import status_of


def caused(error: VoiceRAGError) -> VoiceRAGError:
    """Give an error the driver's error as its cause."""
    error.__cause__ = OSError("db.internal:5432 refused")
    return error


@pytest.mark.parametrize(
    "error",
    [
        BusyError("come back"),
        NotFoundError("no such clip"),
        EmbeddingMismatchError("another model filled it"),
        StoreError("nothing has been indexed"),
    ],
)
def test_what_a_caller_can_act_on_is_told(
    error: VoiceRAGError, caplog: pytest.LogCaptureFixture
) -> None:
    assert message_for_caller(error) == str(error)
    assert not caplog.records


@pytest.mark.parametrize(
    "error",
    [
        SchemaError("migrate db.internal:5432"),
        caused(StoreUnavailableError("db.internal:5432 cannot be reached")),
        caused(StoreError("db.internal:5432 failed")),
    ],
)
def test_the_database_is_for_the_log(
    error: VoiceRAGError, caplog: pytest.LogCaptureFixture
) -> None:
    said = message_for_caller(error)
    assert "cannot be used at the moment" in said
    assert "internal" not in said
    assert "db.internal" in caplog.text


def test_a_stopped_call_says_so() -> None:
    assert message_for_caller(CancelledError("any stage")) == "the call was stopped"


def test_the_status_is_that_of_the_tenant() -> None:
    with fake_serving() as serving:
        mine = status_of(serving.tenants, "default")
        assert (mine.database, mine.passages, mine.collection) == ("ok", 2, "default")
        assert (mine.speaks, mine.read_only, mine.stack) == (True, False, "local")
        assert status_of(serving.tenants, "other").passages == 0
    with fake_serving(FakeModels(speaker=None)) as serving:
        assert not status_of(serving.tenants, "default").speaks


def test_the_status_tells_of_a_database_that_failed() -> None:
    tenants, _ = fake_tenants()

    def broken(_: object) -> None:
        raise SchemaError("migrate db.internal:5432")

    tenants._list_collections = broken  # type: ignore[assignment] # a database that fails
    state = status_of(tenants, "default")
    assert "cannot be used at the moment" in state.database
    assert state.passages is None
