"""Words of passages, made by a second connection while the first one writes the passages before.

Cutting a text into its words and bringing those to their stems takes a server more than a third of
the time of writing a passage, and a process of the server does one thing at a time.
"""

from __future__ import annotations

import threading

import psycopg

from voicerag_core.store.collection import Collection
from voicerag_core.store.connection import Connection, Database, Encoded
from voicerag_core.store.statements import named

__all__ = ["WordsAhead"]


class WordsAhead:
    """Makes words before they are written. Thread-safe; for one caller at a time.

    Args:
        database: Of the collections.
        connection: One of `Database.connect`, which somebody else closes; whatever is done with it
            besides takes no time.
    """

    def __init__(self, database: Database, connection: Connection) -> None:
        self._database = database
        self._connection = connection
        self._busy = threading.Lock()
        self._able: bool | None = None
        """None: not known yet."""

    def words(
        self, collection: Collection, bodies: bytes, metadata: bytes, plain: bytes
    ) -> bytes | None:
        """Return the words of passages that are not written yet, as a tsvector[].

        Args:
            collection: Where they will be.
            bodies: Their texts, as a text[].
            metadata: As a jsonb[].
            plain: Which have no words but those that Postgres finds in their text, as a boolean[].

        Returns:
            None if somebody else waits for words, or if the server does not give them: the
            statement that writes the passages then makes them, or says what is wrong.
        """
        if self._able is False or not self._busy.acquire(blocking=False):
            return None
        try:
            if self._able is None:
                self._database.enter(self._connection)
            values = {
                "bodies": Encoded(bodies),
                "metadata": Encoded(metadata),
                "plain": Encoded(plain),
                "language": collection.language,
            }
            cursor = self._connection.cursor(binary=True)
            result = cursor.execute(*named("words", collection, values)).pgresult
            self._able = True
            return None if result is None else result.get_value(0, 0)
        except psycopg.Error:
            self._able = False
            return None
        finally:
            self._busy.release()
