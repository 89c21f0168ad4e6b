"""The application as the doors use it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from starlette.requests import HTTPConnection

from voicerag_core import (
    Answer,
    BusyError,
    NotFoundError,
    Settings,
    TurnDetector,
    TurnRules,
    open_turn_detector,
)
from voicerag_core.serving import Serving, Tenants, Tickets, Visitor, open_serving, visitor_of
from voicerag_web.metrics import Metrics
from voicerag_web.settings import WebSettings

__all__ = ["MODEL", "KeptAnswers", "SessionCount", "WebService", "open_web_service"]

MODEL: Final = "voicerag"
"""Name of the model that answers from the default collection; ``voicerag:NAME`` from another."""

_MOST_ANSWERS: Final = 512


class KeptAnswers:
    """The latest answers by id, without their sound, for their own tenants. Thread-safe."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, str], Answer] = OrderedDict()
        self._lock = Lock()

    def keep(self, tenant: str, name: str, answer: Answer) -> None:
        """Keep an answer; the oldest ones make room."""
        silent = Answer(
            answer.text,
            None,
            answer.hits,
            answer.citations,
            answer.answered,
            answer.asked_back,
            answer.transcript,
            timings=answer.timings,
        )
        with self._lock:
            self._answers[tenant, name] = silent
            while len(self._answers) > _MOST_ANSWERS:
                self._answers.popitem(last=False)

    def get(self, tenant: str, name: str) -> Answer:
        """Return a kept answer.

        Raises:
            NotFoundError: There is none, or no longer.
        """
        with self._lock:
            answer = self._answers.get((tenant, name))
        if answer is None:
            raise NotFoundError(f"there is no answer {name[:64]!r}, or it made room for newer ones")
        return answer


class SessionCount:
    """How many Realtime sessions are open, in all and for each token.

    Args:
        most: In all.
        most_each: For one token.
    """

    def __init__(self, most: int, most_each: int) -> None:
        self._most, self._most_each = most, most_each
        self._open: dict[str, int] = {}

    @property
    def open(self) -> int:
        """Sessions that are open."""
        return sum(self._open.values())

    @contextmanager
    def one_more(self, visitor: Visitor) -> Iterator[None]:
        """Count a session for the time of the block.

        Raises:
            BusyError: There are as many as may be.
        """
        client = visitor.client
        mine = self._open.get(client, 0)
        if self.open >= self._most:
            raise BusyError(f"{self._most} sessions are open; try again later")
        if visitor.named and mine >= self._most_each:
            raise BusyError(f"{mine} sessions are open with this token; close one of them")
        self._open[client] = mine + 1
        try:
            yield
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]


@dataclass(slots=True)
class WebService:
    """A running web server.

    Args:
        serving: The application.
        settings: Settings of the server.
        tickets: Secrets that open a socket.
        answers: The latest answers.
        metrics: What is counted.
        detector: Makes what finds turns in a stream of sound.
        ready: Whether the models are loaded.
    """

    serving: Serving
    settings: WebSettings
    tickets: Tickets = field(default_factory=Tickets)
    answers: KeptAnswers = field(default_factory=KeptAnswers)
    metrics: Metrics = field(default_factory=Metrics)
    detector: Callable[[TurnRules], TurnDetector] = open_turn_detector
    sessions: SessionCount = field(init=False)
    ready: bool = False

    def __post_init__(self) -> None:
        """Count sessions by the settings."""
        self.sessions = SessionCount(self.settings.sessions, self.settings.sessions_per_token)

    @property
    def tenants(self) -> Tenants:
        """Models and collections."""
        return self.serving.tenants

    def tenant(self, connection: HTTPConnection) -> str:
        """Return the tenant in whose name a request or a socket comes."""
        return visitor_of(connection.scope).caller.tenant

    def collection(self, model: str | None) -> str | None:
        """Return the collection that a model's name asks for; None is the default one.

        Clients come with names of other makers' models built in, so an unknown one answers from
        the default collection.
        """
        name, _, collection = (model or "").partition(":")
        return collection if name == MODEL and collection else None

    def model(self, collection: str | None) -> str:
        """Return the model's name of a collection."""
        return MODEL if collection is None else f"{MODEL}:{collection}"

    def how_to_fill(self, collection: str) -> str:
        """Return the words that say how to fill an empty collection."""
        chosen = "" if collection == "default" else f" --collection {collection}"
        words = (
            f"The collection {collection!r} is empty: index documents with `voicerag index{chosen} "
            "PATHS...`"
        )
        if self.settings.allow_ingest:
            return f"{words}, drop files on the page, or send texts to POST /v1/documents."
        return f"{words}, or start the server with --allow-ingest and drop files on the page."

    def voices(self) -> Sequence[str]:
        """Return the names of the voices, the default first."""
        return ("default",) if self.tenants.parts.speaker is not None or self._speaks() else ()

    def _speaks(self) -> bool:
        """Return whether the answering model speaks by itself."""
        return self.tenants.settings.stack == "glm" and self.tenants.settings.speak


@contextmanager
def open_web_service(
    settings: Settings, web_settings: WebSettings, *, tenants: Tenants | None = None
) -> Iterator[WebService]:
    """Assemble the parts of a server; nothing is loaded or connected before its first use.

    Args:
        settings: Settings of models and database.
        web_settings: Settings of the server.
        tenants: Models and collections that are already open; None opens those of the settings.

    Raises:
        ConfigError: The settings contradict each other, or would expose the server.
    """
    web_settings.exposure.check()
    how = "`voicerag index PATHS...` on the server"
    if web_settings.allow_ingest:
        how = f"POST /v1/documents, the page, or {how}"
    with open_serving(
        settings, web_settings.limits(), tenants=tenants, how_to_ingest=how
    ) as serving:
        yield WebService(serving, web_settings)
