"""Sound as it arrives and leaves: 16-bit PCM, rates converted piece by piece, files as a stream."""

from __future__ import annotations

import io
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from voicerag_core.audio.resampling import LiveResampler, resample
from voicerag_core.errors import AudioError
from voicerag_core.types import Audio, Samples

__all__ = [
    "SOUND_FORMATS",
    "PcmReader",
    "SoundEncoder",
    "SoundFormat",
    "pcm16",
    "samples_of_pcm16",
]

SoundFormat: TypeAlias = Literal["wav", "mp3", "flac", "ogg", "opus", "pcm"]
SOUND_FORMATS: Final[tuple[SoundFormat, ...]] = get_args(SoundFormat)

PCM_RATE_HZ: Final = 24_000
"""Rate of raw PCM in OpenAI's speech API, and one of those that Opus has."""

_FULL_SCALE: Final = 32_768.0
_UNKNOWN: Final = (0xFFFFFFFF).to_bytes(4, "little")
"""Size in the header of a WAV file whose length is not known yet."""

_LIBSNDFILE: Final[dict[str, tuple[str, str]]] = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
}


def pcm16(samples: Samples) -> bytes:
    """Encode samples [T] as 16-bit little-endian PCM; what is beyond full scale is clipped."""
    scaled = np.clip(np.rint(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
    data: bytes = scaled.astype("<i2").tobytes()
    return data


def samples_of_pcm16(data: bytes) -> Samples:
    """Decode 16-bit little-endian PCM of an even number of bytes as samples [T]."""
    return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(_FULL_SCALE)


class PcmReader:
    """Reads a stream of 16-bit PCM whose pieces may end in the middle of a sample.

    Args:
        rate: Of the stream, in Hz.
        sample_rate: Of what is wanted, in Hz.
    """

    def __init__(self, rate: int, sample_rate: int) -> None:
        self._odd = b""
        self._resampler = LiveResampler(rate, sample_rate)

    def add(self, data: bytes) -> NDArray[np.float32]:
        """Return the samples of the next bytes, shape [N]; an odd byte waits for the next ones."""
        whole = self._odd + data
        even = len(whole) & ~1
        self._odd = whole[even:]
        return self._resampler.push(samples_of_pcm16(whole[:even]))

    def end(self) -> NDArray[np.float32]:
        """Return what the filter still holds; nothing can be added after it."""
        self._odd = b""
        return self._resampler.push(np.zeros(0, np.float32), last=True)


class _Pipe(io.RawIOBase):
    """A file that libsndfile writes, and whose finished bytes are taken away.

    What is written at a place that was taken away already (lengths in a header, at the end) is
    dropped: a stream cannot be changed behind its reader.
    """

    def __init__(self) -> None:
        self._kept = bytearray()
        self._taken = self._at = 0

    def seekable(self) -> bool:
        """Return True: libsndfile asks for it."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at}
        self._at = start.get(whence, self._taken + len(self._kept)) + offset
        return self._at

    def readinto(self, buffer: object, /) -> int:
        """Give nothing back."""
        return 0

    def write(self, data: object, /) -> int:
        """Take bytes at the position."""
        given = bytes(data)  # type: ignore[call-overload] # a buffer
        begin = self._at - self._taken
        self._at += len(given)
        if begin < 0:
            return len(given)
        self._kept[begin : begin + len(given)] = given
        return len(given)

    def take(self) -> bytes:
        """Return what is finished."""
        taken, self._kept = bytes(self._kept), bytearray()
        self._taken += len(taken)
        return taken


class SoundEncoder:
    """Encodes sound of one rate as a file that can be sent while it is made.

    WAV announces an unknown length, as streams do; PCM is 16-bit at 24 kHz without a header.

    Args:
        form: The format.

    Raises:
        AudioError: There is no such format here.
    """

    def __init__(self, form: SoundFormat) -> None:
        if form not in SOUND_FORMATS:
            raise AudioError(
                f"sound is not written as {form!r}; choose one of {', '.join(SOUND_FORMATS)}"
            )
        self._form = form
        self._pipe = _Pipe()
        self._file: object = None
        self._resampler: LiveResampler | None = None
        self._given = self._rate = 0

    def add(self, audio: Audio) -> bytes:
        """Return the bytes that the next sound completes."""
        first = self._resampler is None
        if self._resampler is None:
            self._given = audio.sample_rate
            self._rate = PCM_RATE_HZ if self._form in {"pcm", "opus"} else self._given
            self._resampler = LiveResampler(self._given, self._rate)
        samples = self._resampler.push(resample(audio, self._given).samples)
        if self._form == "pcm":
            return pcm16(samples)
        if self._form == "wav":
            head = _wav_header(self._rate) if first else b""
            return head + pcm16(samples)
        return self._written(samples)

    def end(self) -> bytes:
        """Return the last bytes."""
        if self._resampler is None:
            return b""
        rest = self._resampler.push(np.zeros(0, np.float32), last=True)
        if self._form in {"pcm", "wav"}:
            return pcm16(rest)
        data = self._written(rest)
        self._file.close()  # type: ignore[attr-defined]
        return data + self._pipe.take()

    def _written(self, samples: NDArray[np.float32]) -> bytes:
        import soundfile

        if self._file is None:
            name, subtype = _LIBSNDFILE[self._form]
            self._file = soundfile.SoundFile(self._pipe, "w", self._rate, 1, subtype, format=name)
        if len(samples):
            self._file.write(np.clip(samples, -1, 1))  # type: ignore[attr-defined]
        return self._pipe.take()


def _wav_header(rate: int) -> bytes:
    """Return the header of a 16-bit mono WAV file of unknown length."""
    form = b"".join(
        (
            (16).to_bytes(4, "little"),
            (1).to_bytes(2, "little"),
            (1).to_bytes(2, "little"),
            rate.to_bytes(4, "little"),
            (rate * 2).to_bytes(4, "little"),
            (2).to_bytes(2, "little"),
            (16).to_bytes(2, "little"),
        )
    )
    return b"RIFF" + _UNKNOWN + b"WAVEfmt " + form + b"data" + _UNKNOWN
