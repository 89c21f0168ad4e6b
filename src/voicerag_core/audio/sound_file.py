"""Decoding with libsndfile: wav, flac, ogg, mp3, aiff, au, caf and others."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from voicerag_core.audio.checks import check_form, check_length
from voicerag_core.audio.mixing import BLOCK_VALUES, Decoded, check_amount
from voicerag_core.audio.streams import forgiving
from voicerag_core.errors import AudioError

if TYPE_CHECKING:
    import soundfile

__all__ = ["SoundFileDecoder", "is_foreign"]

_FOREIGN = re.compile(
    r"unimplemented|unsupported|not support|not recognised|unknown", re.IGNORECASE
)

UNKNOWN_FRAMES = 2**62
"""From here on a length means "unknown"; libsndfile says so with the largest int64."""


class SoundFileDecoder:
    """Decodes one file, from its start each time that it is called.

    Args:
        stream: Seekable, at its start.
        name: To speak of the file by.
        max_seconds: A file that announces more is refused before it is decoded.
        samples: How many a channel there are when that is known better than by libsndfile.
    """

    def __init__(
        self, stream: BinaryIO, name: str, max_seconds: float, *, samples: int | None = None
    ) -> None:
        self._stream = stream
        self._name = name
        self._max_seconds = max_seconds
        self._samples = samples

    def __call__(self) -> AbstractContextManager[Decoded]:
        """Begin to decode.

        Raises:
            SoundFileError: libsndfile does not read the file; also while blocks are taken.
        """
        return self._decoded()

    @contextlib.contextmanager
    def _decoded(self) -> Iterator[Decoded]:
        import soundfile

        class Forward(soundfile.SoundFile):  # type: ignore[misc]
            """Does not seek after each block, which fails at the end of a FLAC from a pipe."""

            def seekable(self) -> bool:
                return False

        self._stream.seek(0)
        with Forward(forgiving(self._stream)) as file:
            rate = int(file.samplerate)
            check_form(rate, file.channels, self._name)
            samples = file.frames if self._samples is None else self._samples
            if samples < UNKNOWN_FRAMES:
                check_length(samples / rate, self._max_seconds, self._name)
                check_amount(samples, file.channels, rate, self._max_seconds, self._name)
            yield Decoded(rate, file.channels, self._blocks(file))

    def _blocks(self, file: soundfile.SoundFile) -> Iterator[NDArray[np.float32]]:
        size = max(BLOCK_VALUES // file.channels, 1)
        frames = 0
        while len(block := file.read(size, dtype="float32", always_2d=True)):
            frames += len(block)
            yield block
        # The length of MPEG sound, also within a WAV file, is libsndfile's guess.
        is_known = file.frames < UNKNOWN_FRAMES and not file.subtype.startswith("MPEG")
        if is_known and frames < file.frames:
            raise AudioError(
                f"{self._name} is truncated: its header announces {file.frames} samples a channel, "
                f"{frames} could be read"
            )


def is_foreign(error: soundfile.SoundFileError) -> bool:
    """Return whether libsndfile knows the container, or no format at all, rather than damage."""
    return bool(_FOREIGN.search(str(error)))
