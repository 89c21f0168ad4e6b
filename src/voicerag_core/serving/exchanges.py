"""One question of a longer conversation, and its answer as far as it was heard."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from threading import Lock

from voicerag_core.conversation import Conversation, Speculation
from voicerag_core.rag import VoiceRAG
from voicerag_core.serving.asking import metadata_filter
from voicerag_core.serving.jobs import Job
from voicerag_core.serving.tenants import Tenants
from voicerag_core.serving.values import Query
from voicerag_core.types import Answer, Found, Question, Turn

__all__ = ["Exchange"]


class Exchange:
    """A question and its answer. Thread-safe; prepared at most once, answered once.

    Args:
        tenants: Models and collections.
        tenant: Whose documents are asked.
        question: Spoken or typed.
        query: Its history, and how it is searched and answered; its source is ignored.
        speak: Answer in speech as well.
        on_found: Is told, on the thread of the work, the passages that are known before the
            answer's first piece; see `VoiceRAG.prepare`.
    """

    def __init__(
        self,
        tenants: Tenants,
        tenant: str,
        question: Question,
        query: Query,
        *,
        speak: bool,
        on_found: Callable[[Found], None] | None = None,
    ) -> None:
        self._on_found = on_found
        self._tenants, self._tenant = tenants, tenant
        self._question, self._query, self._speak = question, query, speak
        self._lock = Lock()
        self._conversation: Conversation | None = None
        self._speculation: Speculation | None = None
        self._answering = self._begun = False
        self._seconds = 0.0

    def prepare(self, job: Job) -> None:
        """Search for the question, and transcribe it if needed, before it is known to be over.

        Does nothing when the answer began meanwhile.

        Raises:
            CancelledError: The job was stopped: the result is thrown away.
            VoiceRAGError: What the search raised; answering raises it again.
        """
        with self._tenants.rag(job, self._tenant, self._query.collection, speak=self._speak) as rag:
            with self._lock:
                if self._answering:
                    return
                speculation = self._speculation = self._talk(rag).speculate(
                    self._question, on_found=self._on_found
                )
            try:
                speculation.result()
            finally:
                if job.stopped:
                    speculation.cancel()

    @property
    def prepared(self) -> bool:
        """Whether the search was over when the answer began."""
        return self._speculation is not None and self._speculation.done

    def stream(self, job: Job) -> Generator[Answer, None, None]:
        """Answer in pieces, the first with the hits; see `Conversation.stream`.

        What `prepare` found or is about to find is used.

        Raises:
            VoiceRAGError: The question cannot be used, or a part failed.
        """
        job.report("searching")
        with self._tenants.rag(job, self._tenant, self._query.collection, speak=self._speak) as rag:
            with self._lock:
                self._answering = True
                speculation = self._speculation
                if speculation is not None and speculation.cancelled:
                    speculation = None
                talk = self._conversation = self._talk(rag)
            asked = self._question if speculation is None else speculation
            with closing(talk.stream(asked, on_found=self._on_found)) as pieces:
                for piece in pieces:
                    job.check()
                    self._begun = True
                    if piece.audio is not None:
                        self._seconds += piece.audio.seconds
                    yield piece

    @property
    def turn(self) -> Turn | None:
        """Both, the answer as far as it was heard; None before its first piece."""
        talk = self._conversation
        return talk.turns[-1] if talk is not None and self._begun else None

    def truncate(self, seconds: float) -> Turn | None:
        """Keep of the answer only what was heard: its first seconds of speech.

        Returns:
            The turn as it is kept; None before the answer's first piece.
        """
        talk = self._conversation
        if talk is None or not self._begun:
            return None
        return talk.truncate(min(max(0.0, seconds), self._seconds))

    def _talk(self, rag: VoiceRAG) -> Conversation:
        query = self._query
        return Conversation(
            rag,
            history=query.history,
            instructions=query.instructions,
            sampling=query.sampling,
            where=metadata_filter(query.where),
            limit=query.limit,
            strategy=query.strategy,
        )
