"""What serves the searches of one collection: its index, how widely that is asked, its words.

All of it is brought up to date when a load is over, not row by row; see `loads`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import psycopg

from voicerag_core.errors import StoreError
from voicerag_core.store import indexes
from voicerag_core.store.ahead import WordsAhead
from voicerag_core.store.collection import Collection, IndexKind
from voicerag_core.store.connection import Connection
from voicerag_core.store.errors import translated
from voicerag_core.store.forks import renewed_in_children
from voicerag_core.store.indexes import INDEX_FROM
from voicerag_core.store.loads import Load, others_wait, sharing
from voicerag_core.store.opened import OpenedCollection
from voicerag_core.store.search_sql import MOST_EF_SEARCH, Query, SearchRow
from voicerag_core.store.searching import asked
from voicerag_core.store.tuning import (
    MORE,
    RECALL_TARGET,
    Tuning,
    keep,
    questions_of,
    sample,
    tuned,
    usual_questions,
)
from voicerag_core.store.writing import count_words

__all__ = ["Upkeep"]

_GROWN_SECONDS = 5.0
"""An index that grew for less is kept in any case."""

_BUILD_SHARE = 0.2
"""Of the time in which an index grows by a vector, what building it of all takes for each; until
the first build has been measured."""

_logger = logging.getLogger(__name__)


class Upkeep:
    """Keeps what serves searches up to date with what one store writes. Thread-safe.

    Args:
        opened: The collection.
        auto_index: Build the index when a load is over that leaves `INDEX_FROM` vectors.
        kind: What an index is over; None: that of the last index.
        memory: Most bytes that building one takes on the server; None: as the server is set up.
    """

    def __init__(
        self,
        opened: OpenedCollection,
        *,
        auto_index: bool,
        kind: IndexKind | None = None,
        memory: int | None = None,
    ) -> None:
        self._opened = opened
        self._auto_index = auto_index
        self._kind = kind
        self._memory = memory
        self.load = Load(self.finish_load)
        self.lock = threading.Lock()
        renewed_in_children(self, Upkeep._renew)

    @contextmanager
    def bulk_load(self) -> Iterator[None]:
        """Hold the upkeep until the block ends; see `PgVectorStore.bulk_load`."""
        opened = self._opened
        before = opened.here
        number = before.number
        with ExitStack() as stack:
            mine = ahead = None
            if opened.database.keeps_sessions:
                with translated(opened.database.dsn):
                    mine = stack.enter_context(sharing(opened.database, number))
                ahead = WordsAhead(opened.database, mine) if before.words else None
            with self.load.hold(first=before.passages == 0, ahead=ahead):
                yield
            if self.load.held:
                return
            # Others may have written in the name of this load, and an earlier one, ended by force,
            # may have left its words uncounted and its index unbuilt.
            self.finish_load(mine)

    def build(
        self,
        *,
        kind: IndexKind | None = None,
        anew: bool = False,
        memory: int | None = None,
        workers: int | None = None,
        tune: bool = True,
    ) -> bool:
        """Build the index; see `PgVectorStore.build_index`."""
        opened = self._opened
        chosen = kind or self._kind or opened.here.index_kind
        with self.lock:
            opened.refresh()
            if anew and indexes.drop(opened.database, opened.here):
                opened.refresh()
            built = indexes.build(
                opened.database,
                opened.here,
                kind=chosen,
                memory=self._memory if memory is None else memory,
                workers=workers,
            )
            opened.database.write(
                lambda connection: connection.execute("SELECT voicerag.refresh_statistics()")
            )
            indexes.vacuum(opened.database)
            self.load.over()
        opened.refresh()
        if built and tune and opened.here.vectors:
            self.tune()
        return built

    def tune(
        self,
        recall: float | None = None,
        *,
        ef_search: int | None = None,
        questions: int | None = None,
    ) -> Tuning | None:
        """Measure how widely to search; see `PgVectorStore.tune`."""
        if recall is not None and not 0 < recall <= 1:
            raise StoreError(f"a recall is above 0 and at most 1, such as 0.97, not {recall}")
        if ef_search is not None and not 1 <= ef_search <= MOST_EF_SEARCH:
            raise StoreError(
                f"ef_search is 1 to {MOST_EF_SEARCH:,} candidates, not {ef_search}; "
                "leave it out to have it measured"
            )
        if questions is not None and questions < 1:
            raise StoreError(f"at least 1 question is asked, not {questions}")
        here = self._opened.refresh()
        if not here.indexed:
            return None

        def ask(
            queries: Sequence[Query], collection: Collection, by_index: bool
        ) -> Sequence[Sequence[SearchRow]]:
            return asked(self._opened, queries, use_index=by_index, collection=collection)

        first = questions or usual_questions(here)
        most = first if questions or ef_search else MORE * first
        tuning = tuned(
            here,
            questions_of(sample(self._opened.database, here, most), ask, here),
            ask,
            target=recall or here.recall_target or RECALL_TARGET,
            ef_search=ef_search,
            at_first=first,
        )
        keep(self._opened.database, here, tuning)
        if not tuning.reached and ef_search is None:
            _logger.warning(
                "the index finds %.3f of the nearest passages with %d candidates, less than %.3f; "
                "build the index over the vectors (VOICERAG_INDEX=halfvec), or aim lower",
                tuning.recall,
                tuning.ef_search,
                tuning.target,
            )
        self._opened.refresh()
        return tuning

    def wrote(self, changed: int, seconds: float) -> None:
        """Note a write that changed so many passages and took so long."""
        if not changed:
            return
        opened = self._opened
        before = opened.here.vectors
        self.load.wrote()
        if not self.load.held:
            self._count_words()
        here = opened.refresh()
        if self._auto_index and here.indexed:
            self._weigh_growth(seconds, max(0, here.vectors - before))

    def _weigh_growth(self, seconds: float, vectors: int) -> None:
        """Drop an index that costs more to grow than to build, if nobody searches by it.

        How much is still to come is not known. Growing it until that has cost as much as building
        it anew would is never worse than twice the better of the two.
        """
        load, here = self.load, self._opened.here
        load.grown += seconds
        load.vectors += vectors
        if load.scans is None:
            load.scans = indexes.scans(self._opened.database, here)
        rate = here.build_rate or _BUILD_SHARE * load.grown / max(1, load.vectors)
        if load.grown < max(_GROWN_SECONDS, rate * here.vectors):
            return
        if indexes.scans(self._opened.database, here) > load.scans:
            load.scans, load.grown, load.vectors = None, 0.0, 0  # it serves; ask again later
            return
        _logger.info("the index is dropped, and built when the load is over")
        indexes.drop(self._opened.database, here)
        self._opened.refresh()

    def finish_own_load(self) -> None:
        """Build the index that was put off, if it was this thread that wrote."""
        if self.load.is_mine():
            self.finish_load()

    def finish_load(self, mine: Connection | None = None) -> None:
        """Bring up to date what serves searches; rows are kept whatever happens here."""
        self.load.over()
        try:
            if not self._opened.database.keeps_sessions:
                self._bring_up_to_date()
                return
            with others_wait(self._opened.database, self._opened.here.number, mine) as alone:
                if alone:  # else the last one that loads does it
                    self._bring_up_to_date()
        except (StoreError, psycopg.Error) as error:
            _logger.warning(
                "all rows are kept, but their words were not counted or their index was not built, "
                "which the next load makes up for: %s",
                error,
            )

    def _bring_up_to_date(self) -> None:
        self._count_words()
        here = self._opened.refresh()
        if not self._auto_index or here.vectors < INDEX_FROM:
            return
        if not here.indexed:
            self.build()
        elif here.vectors >= 2 * here.tuned_vectors:
            self.tune()

    def _count_words(self) -> None:
        opened = self._opened
        if opened.here.words:
            opened.database.write(lambda connection: count_words(connection, opened.here))

    def _renew(self) -> None:
        self.lock = threading.Lock()
        self.load = Load(self.finish_load)
