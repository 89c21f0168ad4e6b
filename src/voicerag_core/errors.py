"""The exceptions of voicerag.

::

    VoiceRAGError
      ConfigError (ValueError)          a setting is missing, unknown or contradictory
      MissingExtraError (ImportError)   names the extra and the line that installs it
      AudioError (ValueError)           unreadable, empty, silent, not finite, too short or too long
        SilentError                     a clip without any sound; how long it is
      DocumentError (ValueError)        a file that cannot be read as text
      CancelledError                    the caller stopped waiting
      BusyError                         too many calls at once; worth retrying
      ForbiddenError                    the caller may not do that
      NotFoundError (LookupError)       a collection, passage or clip that is not there
      ModelError
        CheckpointError                 a weight file is absent, altered or of the wrong shape
        GenerationError                 a model ran and produced nothing usable
        EndpointError                   a model behind a URL: not reached, refused, late, unreadable
      StoreError                        what the driver refused has its error as the cause
        StoreUnavailableError           no server, connection lost, credentials refused, disk full
        EmptyCollectionError            nothing has been indexed for this collection and tenant
        SchemaError                     extension or migration missing, or schema too new
        EmbeddingMismatchError          the collection was filled by another model or width
        FilterError (ValueError)        a filter that cannot be compiled

Every message says what was given, what was expected and what to do about it; an underlying
exception is kept as ``__cause__``.
"""

from __future__ import annotations

__all__ = [
    "AudioError",
    "BusyError",
    "CancelledError",
    "CheckpointError",
    "ConfigError",
    "DocumentError",
    "EmbeddingMismatchError",
    "EmptyCollectionError",
    "EndpointError",
    "FilterError",
    "ForbiddenError",
    "GenerationError",
    "MissingExtraError",
    "ModelError",
    "NotFoundError",
    "SchemaError",
    "SilentError",
    "StoreError",
    "StoreUnavailableError",
    "VoiceRAGError",
]


class VoiceRAGError(Exception):
    """Base class of the exceptions that voicerag raises."""


class ConfigError(VoiceRAGError, ValueError):
    """A setting is missing, unknown or contradicts another."""


class MissingExtraError(VoiceRAGError, ImportError):
    """A library of one of the package's extras is not installed.

    Args:
        extra: Name of the extra, as in ``pip install 'voicerag-core[extra]'``.
        needed_for: What the caller wanted to do, to complete "… needs".
    """

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the extra {extra!r}: pip install 'voicerag-core[{extra}]'"
        )
        self.extra = extra
        self.needed_for = needed_for

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        """Pickle by the two arguments, not by the message."""
        return type(self), (self.extra, self.needed_for)


class AudioError(VoiceRAGError, ValueError):
    """Sound that cannot be used: unreadable, empty, silent, not finite, too short or too long."""


class SilentError(AudioError):
    """A clip whose samples are next to zero from its start to its end.

    Args:
        message: What was given.
        seconds: How long it is.
    """

    def __init__(self, message: str, seconds: float = 0.0) -> None:
        super().__init__(message, seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        """Return the message."""
        return str(self.args[0])


class DocumentError(VoiceRAGError, ValueError):
    """A document that cannot be read as text."""


class CancelledError(VoiceRAGError):
    """The caller stopped waiting, so the next stage was not started."""


class BusyError(VoiceRAGError):
    """Too many calls run at once; the same call may succeed a little later.

    Args:
        message: What is busy, and what to do.
        retry_after: Seconds after which there is probably room, if that can be estimated.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after)
        self.retry_after = retry_after

    def __str__(self) -> str:
        """Return the message."""
        return str(self.args[0])


class ForbiddenError(VoiceRAGError):
    """The caller lacks the permission, or is not authenticated."""


class NotFoundError(VoiceRAGError, LookupError):
    """A collection, passage or clip that does not exist, or no longer exists."""


class ModelError(VoiceRAGError):
    """A model could not be loaded or did not work."""


class CheckpointError(ModelError):
    """A weight file is absent, altered, or not of the form that the loader expects."""


class GenerationError(ModelError):
    """A model ran, and its output cannot be used."""


class EndpointError(ModelError):
    """A model behind a URL cannot be reached, refused the call, was late or sent rubbish.

    Args:
        message: What happened, where, and what to do.
        status: The HTTP status, if the endpoint refused the call by one.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message, status)
        self.status = status

    def __str__(self) -> str:
        """Return the message."""
        return str(self.args[0])


class StoreError(VoiceRAGError):
    """The passage store rejected a call or failed; the driver's error is the cause."""


class StoreUnavailableError(StoreError):
    """The database cannot be reached or has no room, or the connection was lost for good."""


class EmptyCollectionError(StoreError):
    """Nothing has been indexed for this collection and tenant; the message says how to."""


class SchemaError(StoreError):
    """The pgvector extension or a migration is missing, or the schema is newer than the program."""


class EmbeddingMismatchError(StoreError):
    """The collection holds vectors of another embedding model or another width."""


class FilterError(StoreError, ValueError):
    """An invalid metadata filter."""
