"""Stores are leased by tenant and collection, and the least used one makes room."""

from __future__ import annotations

import pytest

from tests.serving.fakes import fake_tenants
from voicerag_core import (
    BusyError,
    CancelledError,
    ForbiddenError,
    NotFoundError,
    StoreError,
)
from voicerag_core.serving import Job, open_tenants
from voicerag_core.settings import load_settings
from voicerag_core.store import list_collections


def test_a_store_stays_open_for_the_next_call() -> None:
    tenants, database = fake_tenants()
    for _ in range(3):
        with tenants.rag(Job(), "default", None) as rag:
            assert rag.store.count() == 2
    assert (database.opened, database.closed, tenants.open_stores) == (1, 0, 1)
    tenants.close()
    assert (database.closed, tenants.open_stores) == (1, 0)


def test_reading_and_writing_are_two_stores() -> None:
    tenants, database = fake_tenants()
    with tenants.rag(Job(), "default", None), tenants.rag(Job(), "default", None, write=True):
        assert database.opened == 2


def test_the_one_that_was_not_used_for_longest_makes_room() -> None:
    tenants, database = fake_tenants(most_open=2)
    for name in ("a", "b"):
        database.fill("default", name, **{"t.txt": "Tea grows in Assam."})
    for name in ("a", "b", "a", "default"):
        with tenants.rag(Job(), "default", name):
            pass
    assert (database.opened, database.closed, tenants.open_stores) == (3, 1, 2)
    with tenants.rag(Job(), "default", "a"):
        assert database.opened == 3, "b made room, not a"


def test_what_is_in_use_makes_no_room() -> None:
    tenants, database = fake_tenants(most_open=1)
    database.fill("default", "a", **{"t.txt": "Tea grows in Assam."})
    with tenants.rag(Job(), "default", None) as rag:
        with (
            pytest.raises(BusyError, match="all of its 1 open collections are in use"),
            tenants.rag(Job(), "default", "a"),
        ):
            pass
        assert rag.store.count() == 2
    with tenants.rag(Job(), "default", "a") as rag:
        assert rag.store.count() == 1


def test_a_tenant_sees_its_own_collections() -> None:
    tenants, database = fake_tenants()
    database.fill("other", "teas", **{"t.txt": "Tea grows in Assam."})
    assert [one.name for one in tenants.collections("default")] == ["default"]
    assert [(one.name, one.passages) for one in tenants.collections("other")] == [("teas", 1)]
    with (
        pytest.raises(NotFoundError, match="there is no collection 'default'; there are: teas"),
        tenants.rag(Job(), "other", None),
    ):
        pass
    with tenants.rag(Job(), "other", "teas") as rag:
        assert rag.store.count() == 1


def test_an_empty_database_says_how_to_ingest() -> None:
    tenants, _ = fake_tenants(how_to_ingest="POST /documents")
    with (
        pytest.raises(NotFoundError, match=r"ingest documents first \(POST /documents\)"),
        tenants.rag(Job(), "nobody", None),
    ):
        pass
    assert tenants.open_stores == 0, "nothing is kept of a store that could not be opened"


@pytest.mark.parametrize("name", ["x" * 601, "\N{PERFORMING ARTS}" * 151])
def test_a_collection_of_a_name_that_no_store_takes_is_absent(name: str) -> None:
    tenants, database = fake_tenants()
    with (
        pytest.raises(NotFoundError, match=r"60[14] bytes, and one has at most 600"),
        tenants.rag(Job(), "default", name),
    ):
        pass
    assert (database.opened, tenants.open_stores) == (0, 0)


def test_an_absent_collection_says_which_there_are_and_how_to_fill_it() -> None:
    tenants, database = fake_tenants(how_to_ingest="POST /documents")
    database.fill("acme", "teas", **{"t.txt": "Tea grows in Assam."})
    with (
        pytest.raises(NotFoundError, match=r"there are: teas;.* into 'wines' .*POST /documents"),
        tenants.rag(Job(), "acme", "wines"),
    ):
        pass


def test_writing_makes_the_collection_and_needs_the_right() -> None:
    tenants, database = fake_tenants()
    with tenants.rag(Job(), "new", "fresh", write=True) as rag:
        assert rag.store.count() == 0
    assert ("new", "fresh") in database.stores
    reading, _ = fake_tenants(read_only=True)
    with (
        pytest.raises(ForbiddenError, match="read-only"),
        reading.rag(Job(), "default", None, write=True),
    ):
        pass


def test_a_stopped_job_opens_nothing() -> None:
    tenants, database = fake_tenants()
    job = Job()
    job.stop()
    with pytest.raises(CancelledError), tenants.rag(job, "default", None):
        pass
    assert database.opened == 0


def test_an_error_of_the_database_is_not_taken_for_an_absent_collection() -> None:
    tenants, database = fake_tenants()

    def broken(*_: object) -> None:
        raise StoreError("out of order")

    tenants._open_store = broken  # type: ignore[assignment] # a database that fails
    with pytest.raises(StoreError, match="out of order"), tenants.rag(Job(), "default", None):
        pass
    assert database.opened == 0


def test_what_a_server_makes_is_as_its_settings_say(dsn: str, tenant: str) -> None:
    with (
        open_tenants(load_settings(database_url=dsn, words=False)) as tenants,
        tenants.rag(Job(), tenant, "made", write=True) as rag,
    ):
        assert rag.store.count() == 0
    (info,) = list_collections(dsn, tenant=tenant)
    assert (info.name, info.words) == ("made", False)
