"""Letters beyond ASCII are letters in a database whose own locale knows none."""

from __future__ import annotations

from uuid import uuid4

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from voicerag_core.filters import Like
from voicerag_core.store import PgVectorStore, migrate
from voicerag_core.store.migrations import LATEST, apply_migrations
from voicerag_core.testing.stores import WIDTH
from voicerag_core.types import Passage

AXES = np.eye(WIDTH, dtype=np.float32)

TEXTS = (
    "École de musique, café Élan",
    "ÄRGER im Größen-Büro",
    "МОСКВА",
    "plain words",
    "長江École",
)


@pytest.fixture
def plain(server: str) -> str:
    """A database of locale C."""
    name = f"plain_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' "
            "LOCALE_PROVIDER libc LOCALE 'C'".encode()
        )
    return make_conninfo(server, dbname=name)


def opened(dsn: str, tenant: str = "ada") -> PgVectorStore:
    return PgVectorStore.open(
        dsn, tenant=tenant, model_id="test", dim=WIDTH, language="simple", auto_index=False
    )


def holds(store: PgVectorStore) -> None:
    def found(words: str) -> list[str]:
        return [hit.passage.id for hit in store.search(None, text=words, limit=5)]

    assert set(found("école")) == set(found("ÉCOLE")) == {"0", "4"}
    assert found("ärger büro") == ["1"]
    assert found("Москва") == ["2"]
    assert found("PLAIN") == ["3"]
    assert found("長江") == ["4"]
    words = dict(store.vocabulary().words)
    assert {"café", "École", "Élan", "Größen-Büro", "МОСКВА", "plain"} <= words.keys()
    assert not {"cole", "caf", "lan"} & words.keys()
    assert store.count(where=Like("title", "ÜBER%", ignore_case=True)) == 1


def passages() -> list[Passage]:
    return [
        Passage(str(n), text, {"n": n, **({"title": "über uns"} if n == 1 else {})})
        for n, text in enumerate(TEXTS)
    ]


def test_words_are_found_whatever_the_case_of_their_letters(plain: str) -> None:
    migrate(plain)
    with opened(plain) as store:
        store.add(passages(), AXES[: len(TEXTS)])
        holds(store)


def test_what_was_stored_before_is_mended(plain: str) -> None:
    """Of every tenant; a text that is too long to be indexed whole keeps its words."""
    with psycopg.connect(plain) as connection:
        apply_migrations(connection, "here", until=6)
        connection.execute("SET LOCAL ROLE voicerag_writer")
        for tenant in ("ada", "bob"):
            connection.execute("SELECT set_config('voicerag.tenant', %s, true)", (tenant,))
            connection.execute(
                "INSERT INTO voicerag.collections "
                "(tenant, name, model_id, dim, language, passages) "
                "VALUES (%s, 'default', 'test', %s, 'simple', %s)",
                (tenant, WIDTH, len(TEXTS)),
            )
            for passage in (*passages(), Passage("long", "Été " * 10_000, {})):
                connection.execute(
                    "INSERT INTO voicerag.passages "
                    "(tenant, collection_id, hash, id, body, metadata, words) "
                    "SELECT tenant, c.id, 'hash', %(id)s, %(body)s, %(metadata)s, voicerag."
                    "passage_words('simple', left(%(body)s, 20000), %(metadata)s) "
                    "FROM voicerag.collections c",
                    {"id": passage.id, "body": passage.text, "metadata": Jsonb(passage.metadata)},
                )
        bare = connection.execute("SELECT word FROM voicerag.vocabulary WHERE word = 'caf'")
        assert bare.fetchone() is not None, "or nothing is to be mended"
    assert migrate(plain) == list(range(7, LATEST + 1))
    for tenant in ("ada", "bob"):
        with opened(plain, tenant) as store:
            holds(store)
            assert store.delete(["0"]) == 1
            assert not {"café", "École"} & dict(store.vocabulary().words).keys()
