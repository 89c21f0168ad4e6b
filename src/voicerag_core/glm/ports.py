"""What GLM-4-Voice's voice model needs of its parts for speech."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from voicerag_core.glm.pace import Pace
from voicerag_core.types import Audio, Samples

__all__ = ["SpeechStream", "SpeechTokenDecoder", "SpeechTokenEncoder"]


class SpeechTokenEncoder(Protocol):
    """Turns clips into speech tokens."""

    def warm(self) -> None:
        """Prepare now what the first clip would prepare; may do nothing."""
        ...

    def encode(self, clips: Sequence[Audio]) -> list[list[int]]:
        """Return the tokens of each clip."""
        ...


class SpeechStream(Protocol):
    """Turns the speech tokens of one reply into samples."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    @property
    def wants(self) -> int:
        """Speech tokens after which `feed` has something to do; 0 when any id may be enough."""
        ...

    def feed(self, tokens: Iterable[int], *, ids: int = 1) -> Samples:
        """Take tokens, or none; return the samples that may be played by now.

        Called when the model has written ids, and waits for nothing.

        Args:
            tokens: The speech tokens among the ids.
            ids: How many the model has written since the last call.
        """
        ...

    def rest(self) -> Iterator[Samples]:
        """Yield the remaining samples, as they become final."""
        ...


class SpeechTokenDecoder(Protocol):
    """Turns speech tokens into samples, one stream per reply."""

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz."""
        ...

    def warm(self) -> None:
        """Prepare now what the first reply would prepare; may do nothing."""
        ...

    def open_stream(
        self,
        *,
        ids_until: Callable[[int], int] | None = None,
        pace: Pace | None = None,
    ) -> SpeechStream:
        """Start a reply.

        Args:
            ids_until: Says how many more ids the model has to write until so many more speech
                tokens come; a stream that knows can tell whether its first sound is early enough
                for the next.
            pace: Of the reply; woken when sound was made that `feed` would return.
        """
        ...
