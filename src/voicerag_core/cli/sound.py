"""Sound input and output: microphone, loudspeaker and streamed WAV files."""

from __future__ import annotations

import os
import queue
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from voicerag_core.audio import SPEECH_RATE_HZ, LiveResampler
from voicerag_core.errors import AudioError, MissingExtraError
from voicerag_core.local.turns.detector import TurnRules, open_turn_detector
from voicerag_core.types import Audio, Samples

if TYPE_CHECKING:
    import soundfile

__all__ = [
    "Player",
    "Sink",
    "WavFile",
    "devices",
    "find_microphone",
    "microphone",
    "open_player",
    "record",
    "wav_file",
]

BLOCK_SECONDS = 0.05
STOP_SECONDS = 0.8
"""Silence that ends a question after speech, in seconds."""
PADDING = int(0.3 * SPEECH_RATE_HZ)
"""Samples before the first speech that belong to a question."""


class Sink(Protocol):
    """A consumer of an answer's sound, chunk by chunk."""

    def write(self, audio: Audio) -> None:
        """Take the next chunk."""
        ...


def find_microphone() -> int:
    """Return the sample rate of the default microphone, in Hz.

    Raises:
        MissingExtraError: The extra ``audio`` is not installed.
        AudioError: There is no microphone, or PortAudio is not installed.
    """
    sounddevice = _sounddevice("the microphone (--audio FILE and --text need none)")
    try:
        return int(sounddevice.query_devices(kind="input")["default_samplerate"])
    except (sounddevice.PortAudioError, ValueError) as error:
        raise _no_microphone(error) from error


@contextmanager
def microphone() -> Iterator[Iterator[Samples]]:
    """Yield the sound of the microphone at 16 kHz, block by block, for as long as it is open.

    Raises:
        MissingExtraError: The extra ``audio`` is not installed.
        AudioError: There is no microphone, or it cannot be used.
    """
    rate = find_microphone()
    sounddevice = _sounddevice("the microphone")
    blocks: queue.SimpleQueue[Samples] = queue.SimpleQueue()

    def take(block: Samples, frames: int, times: object, status: object) -> None:
        blocks.put(block[:, 0].copy())

    try:
        stream = sounddevice.InputStream(
            rate, round(BLOCK_SECONDS * rate), channels=1, dtype="float32", callback=take
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise _no_microphone(error) from error

    def converted() -> Iterator[Samples]:
        resampler = LiveResampler(rate, SPEECH_RATE_HZ)
        while True:
            try:
                yield resampler.push(blocks.get(timeout=1.0))
            except queue.Empty as error:
                raise AudioError(
                    "the microphone delivers no sound; check that no other program holds it"
                ) from error

    with stream:
        yield converted()


def record(
    max_seconds: float,
    *,
    paused: Callable[[Audio], object] = lambda _: None,
    resumed: Callable[[], object] = lambda: None,
) -> Audio:
    """Record a question from the microphone, until silence follows speech or Enter is pressed.

    Args:
        max_seconds: Longest question, and longest wait for its first word.
        paused: Called at each pause with all that was said so far; what it starts can be used if
            nothing more is said.
        resumed: Called when the question goes on after a pause.

    Returns:
        The question at 16 kHz, with some of the silence around it.

    Raises:
        MissingExtraError: The extra ``audio`` is not installed.
        AudioError: There is no microphone, it cannot be used, or nobody spoke.
    """
    detector = open_turn_detector(TurnRules(stop_seconds=STOP_SECONDS))
    taken: list[Samples] = []
    begin: int | None = None
    samples = 0

    def so_far() -> Audio:
        sound = np.concatenate(taken)[begin or 0 :]
        return Audio(sound[: int(max_seconds * SPEECH_RATE_HZ)], SPEECH_RATE_HZ)

    with microphone() as blocks:
        for block in blocks:
            taken.append(block)
            samples += len(block)
            for event in detector.push(block):
                if event.kind == "started":
                    begin = max(0, event.sample - PADDING)
                elif event.kind == "paused":
                    paused(so_far())
                elif event.kind == "resumed":
                    resumed()
                else:
                    return so_far()
            if samples - (begin or 0) >= max_seconds * SPEECH_RATE_HZ or _enter_pressed():
                break
    if begin is None:
        raise AudioError(
            f"no speech was heard within {samples / SPEECH_RATE_HZ:.0f} s; speak close to the "
            "microphone, or type the question"
        )
    return so_far()


class Player:
    """Plays chunks of sound in the background, in order.

    Args:
        sounddevice: The library, loaded.
    """

    def __init__(self, sounddevice: Any) -> None:  # noqa: ANN401 - a library without types
        self._sounddevice = sounddevice
        self._pieces: queue.SimpleQueue[Audio | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._error: Exception | None = None
        self.played_seconds = 0.0
        self._thread = threading.Thread(target=self._play, name="player", daemon=True)
        self._thread.start()

    def write(self, audio: Audio) -> None:
        """Queue the next chunk."""
        self._pieces.put(audio)

    def finish(self) -> None:
        """Wait until everything is played.

        Raises:
            AudioError: The loudspeaker failed.
        """
        self._pieces.put(None)
        while self._thread.is_alive():
            self._thread.join(0.1)  # short, so that an interrupt is noticed
        if self._error is not None:
            raise AudioError(f"the sound cannot be played: {self._error}") from self._error

    def stop(self) -> None:
        """Stop playing at once."""
        self._stopped.set()
        self._pieces.put(None)

    def _play(self) -> None:
        stream = None
        try:
            while (piece := self._pieces.get()) is not None and not self._stopped.is_set():
                if stream is None:
                    stream = self._sounddevice.OutputStream(
                        piece.sample_rate, channels=1, dtype="float32"
                    )
                    stream.start()
                step = round(BLOCK_SECONDS * piece.sample_rate)
                for start in range(0, len(piece.samples), step):
                    if self._stopped.is_set():
                        return
                    block = piece.samples[start : start + step, None]
                    stream.write(block)
                    self.played_seconds += len(block) / piece.sample_rate
        except Exception as error:  # noqa: BLE001 - raised again by finish
            self._error = error
        finally:
            if stream is not None:
                with suppress(Exception):
                    stream.abort() if self._stopped.is_set() else stream.stop()
                    stream.close()


@contextmanager
def open_player() -> Iterator[Player | None]:
    """Yield a player, or None if there is no loudspeaker; an error or interrupt stops it."""
    try:
        sounddevice = _sounddevice("playback")
        sounddevice.query_devices(kind="output")
    except Exception:  # noqa: BLE001 - the library, PortAudio or a device is missing
        yield None
        return
    player = Player(sounddevice)
    try:
        yield player
        player.finish()
    finally:
        player.stop()


class WavFile:
    """A 16-bit WAV file being written; it is renamed to its final name when complete.

    Args:
        draft: Temporary path until then.
    """

    def __init__(self, draft: Path) -> None:
        self._draft = draft
        self._file: soundfile.SoundFile | None = None
        self.seconds = 0.0

    def write(self, audio: Audio) -> None:
        """Append a chunk; all chunks have the same sample rate."""
        import soundfile

        if self._file is None:
            self._file = soundfile.SoundFile(
                os.fsencode(self._draft), "w", audio.sample_rate, 1, "PCM_16", format="WAV"
            )
        self._file.write(np.clip(audio.samples, -1, 1))
        self._file.flush()
        self.seconds += audio.seconds

    def close(self) -> None:
        """Close the temporary file."""
        if self._file is not None:
            self._file.close()


@contextmanager
def wav_file(path: Path) -> Iterator[WavFile]:
    """Write a WAV file chunk by chunk; it appears complete at the end, or not at all.

    If nothing is written, an existing file of that name stays.

    Raises:
        AudioError: The file cannot be written.
    """
    from voicerag_core.audio import private_draft

    try:
        with private_draft(path) as draft:
            file = WavFile(draft)
            try:
                yield file
            finally:
                file.close()
                if not file.seconds and draft != path:
                    draft.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:  # libsndfile's errors are RuntimeErrors
        if isinstance(error, BrokenPipeError):
            raise
        said = (error.strerror if isinstance(error, OSError) else None) or error
        raise AudioError(f"cannot write {path}: {said}") from error


def devices() -> dict[str, str]:
    """Return the names of the default microphone and loudspeaker, if present.

    Raises:
        MissingExtraError: The extra ``audio`` is not installed.
        AudioError: PortAudio is not installed.
    """
    sounddevice = _sounddevice("access to microphone and loudspeaker")
    found = {}
    for kind in ("input", "output"):
        with suppress(sounddevice.PortAudioError, ValueError):
            found[kind] = str(sounddevice.query_devices(kind=kind)["name"])
    return found


def _sounddevice(needed_for: str) -> Any:  # noqa: ANN401 - a library without types
    try:
        import sounddevice
    except ImportError as error:
        raise MissingExtraError("audio", needed_for) from error
    except OSError as error:
        raise AudioError(
            f"{needed_for} needs the system library PortAudio ({error}); "
            "install it, on Debian and Ubuntu: apt install libportaudio2"
        ) from error
    return sounddevice


def _no_microphone(error: Exception) -> AudioError:
    return AudioError(
        f"no microphone can be used ({error}); plug one in, or give the question in words or with "
        "--audio FILE"
    )


def _enter_pressed() -> bool:
    """Return whether a line was typed, without waiting."""
    if not sys.stdin.isatty():
        return False
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    if ready:
        sys.stdin.readline()
    return bool(ready)
