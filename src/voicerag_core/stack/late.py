"""Parts that are opened by the first call that needs them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from voicerag_core.errors import StoreError
from voicerag_core.ports import (
    BulkStore,
    CalibratedStore,
    DocumentStore,
    PassageStore,
    WordStore,
)
from voicerag_core.types import Answer, Audio, Passage, Question, Sampling, Transcription, Turn

if TYPE_CHECKING:
    from voicerag_core.glm.replicas import ReplicatedGLMVoice
    from voicerag_core.glm.voice import GLMVoice
    from voicerag_core.store import PgVectorStore, ReplicatedStore

__all__ = ["LateStore", "LateVoice"]

_T = TypeVar("_T")
_P = ParamSpec("_P")


class _Late(Generic[_T]):
    """Calls an opener once, and again only if it raised; thread-safe."""

    def __init__(self, opener: Callable[[], _T]) -> None:
        self._opener = opener
        self._lock = threading.Lock()
        self._part: _T | None = None
        self._closed = False

    def opened(self) -> _T:
        """Return the part.

        Raises:
            StoreError: It was closed.
        """
        with self._lock:
            if self._closed:
                raise StoreError("the stack of this store was closed; open it again")
            if self._part is None:
                self._part = self._opener()
            return self._part

    @property
    def part(self) -> _T | None:
        """The part if it is open; does not wait."""
        return self._part

    def close(self) -> None:
        """Prevent later calls from opening or using the part; waits for an opening in progress."""
        with self._lock:
            self._closed = True


def _passed_on(
    method: Callable[Concatenate[Any, _P], _T],
) -> Callable[Concatenate[LateStore, _P], _T]:
    """Create a method that opens the store and delegates to it."""

    @functools.wraps(method)
    def call(self: LateStore, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        result: _T = getattr(self.opened(), method.__name__)(*args, **kwargs)
        return result

    return call


class LateStore:
    """A `PassageStore` and `DocumentStore` that is opened by the first call that needs it.

    A lazy connection pool inside `PgVectorStore` would not be enough: not even the driver is
    imported before that call. Thread-safe.

    Args:
        opener: Opens the store; called once, and again only if it raised. The caller closes what it
            opened.
    """

    def __init__(self, opener: Callable[[], PgVectorStore | ReplicatedStore]) -> None:
        self._late = _Late(opener)

    def opened(self) -> PgVectorStore | ReplicatedStore:
        """Return the opened store.

        Raises:
            StoreError: This one was closed, or the store cannot be opened.
        """
        return self._late.opened()

    def warm(self) -> None:
        """Open the store now."""
        self.opened()

    def close(self) -> None:
        """Prevent later calls from opening or using the store."""
        self._late.close()

    add = _passed_on(PassageStore.add)
    search = _passed_on(PassageStore.search)
    search_many = _passed_on(PassageStore.search_many)
    get = _passed_on(PassageStore.get)
    delete = _passed_on(PassageStore.delete)
    count = _passed_on(PassageStore.count)
    document_digests = _passed_on(DocumentStore.document_digests)
    replace_document = _passed_on(DocumentStore.replace_document)
    remove_documents = _passed_on(DocumentStore.remove_documents)
    vocabulary = _passed_on(WordStore.vocabulary)
    bulk_load = _passed_on(BulkStore.bulk_load)
    thresholds = _passed_on(CalibratedStore.thresholds)
    set_thresholds = _passed_on(CalibratedStore.set_thresholds)


class LateVoice:
    """GLM-4-Voice as `VoiceModel` and `Transcriber`, loaded by the first call that needs it.

    Thread-safe.

    Args:
        opener: Loads it; called once, and again only if it raised.
    """

    def __init__(self, opener: Callable[[], GLMVoice | ReplicatedGLMVoice]) -> None:
        self._late = _Late(opener)

    def opened(self) -> GLMVoice | ReplicatedGLMVoice:
        """Return the loaded voice."""
        return self._late.opened()

    @property
    def capacity(self) -> int:
        """See `ServesMany.capacity`; 1 until it is loaded."""
        voice = self._late.part
        return 1 if voice is None else voice.capacity

    @property
    def running(self) -> int:
        """See `ServesMany.running`."""
        voice = self._late.part
        return 0 if voice is None else voice.running

    @property
    def waiting(self) -> int:
        """See `ServesMany.waiting`."""
        voice = self._late.part
        return 0 if voice is None else voice.waiting

    @property
    def out_of_service(self) -> tuple[str, ...]:
        """See `ServesMany.out_of_service`."""
        voice = self._late.part
        return () if voice is None else voice.out_of_service

    def warm(self) -> None:
        """Load it now."""
        self.opened().warm()

    def tokens(self, prompt: str, *, sampling: Sampling) -> Generator[int, None, None]:
        """See `GLMVoice.tokens`."""
        yield from self.opened().tokens(prompt, sampling=sampling)

    @property
    def end_token(self) -> int:
        """See `GLMVoice.end_token`."""
        return self.opened().end_token

    def respond(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        sampling: Sampling,
        transcript: Transcription | None = None,
        history: Sequence[Turn] = (),
        instructions: str = "",
    ) -> Generator[Answer, None, None]:
        """See `VoiceModel.respond`."""
        yield from self.opened().respond(
            question,
            passages,
            sampling=sampling,
            transcript=transcript,
            history=history,
            instructions=instructions,
        )

    def further_query(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        transcript: Transcription | None = None,
        only_unsure: bool = False,
    ) -> str | None:
        """See `AsksFurther.further_query`."""
        return self.opened().further_query(
            question, passages, transcript=transcript, only_unsure=only_unsure
        )

    def cut(self, turn: Turn, heard: Turn, *, seconds: float) -> None:
        """See `RemembersReplies.cut`."""
        self.opened().cut(turn, heard, seconds=seconds)

    def transcribe(self, audio: Audio) -> Transcription:
        """See `Transcriber.transcribe`."""
        return self.opened().transcribe(audio)
