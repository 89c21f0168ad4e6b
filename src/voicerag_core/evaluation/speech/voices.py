"""Voices that speak questions, and the clips that they made, kept in a folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voicerag_core.audio import SPEECH_RATE_HZ, read_audio, resample, write_wav
from voicerag_core.errors import ConfigError, GenerationError
from voicerag_core.evaluation.speech.engines import ENGINES, Engine, Library, MissingVoiceError
from voicerag_core.languages import ENGLISH
from voicerag_core.local.speaking.speaker import PiperSpeaker
from voicerag_core.types import Audio

__all__ = ["Clips", "Voice", "check_voices", "installed_voices", "named_voices", "voice_of"]

PEAK = 0.25
"""Largest sample of a clip: -12 dB, as a careful recording has."""
EDGE_SECONDS = 0.05
"""Silence left on each side of the speech, so that times are from its end."""
SILENCE_RATIO = 0.02
"""A frame of 10 ms is silent below this share (-34 dB) of the loudest one's root mean square."""

Say = Callable[[str], Audio]

ENGLISH_VOICES = ("piper/joe", "flite/rms", "rhvoice/clb", "espeak/en-us")
"""Four unlike voices: neural, two statistical ones, a man's and a woman's, and formants. The
speech encoder was trained on the last one alone."""
MORE_ENGLISH = ("flite/slt", "espeak/en-gb-scotland+f2", "pico/en-GB")
"""Taken where one of those is not installed."""
CHINESE_VOICES = ("espeak/cmn", "espeak/cmn+f2", "espeak/cmn+m3", "espeak/cmn+klatt4")
"""One synthesiser in four timbres: there is no other voice for Chinese in Debian."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice that speaks the questions.

    Args:
        name: engine/name.
        trained: Whether the speech encoder was trained on it.
        open: Context manager that yields a function from text to sound at 16 kHz.
    """

    name: str
    trained: bool
    open: Callable[[], AbstractContextManager[Say]]


class Clips:
    """Speaks texts, and keeps what was spoken; a clip is made once for each voice and text.

    Args:
        folder: Keeps the clips.
        voices: That speak.
    """

    def __init__(self, folder: Path, voices: Sequence[Voice]) -> None:
        self.folder = folder
        self.voices = {voice.name: voice for voice in voices}
        self._opened = ExitStack()
        self._say: dict[str, Say] = {}

    def __enter__(self) -> Clips:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def file(self, text: str, voice: str) -> Path:
        """Return where the clip of a text in a voice is, whether it was made or not."""
        words = speakable(text)
        name = hashlib.sha256(words.encode()).hexdigest()[:16]
        return self.folder / voice.replace("/", "-").replace("+", "-") / f"{name}.wav"

    def spoken(self, text: str, voice: str) -> Path:
        """Return the clip of a text; make it if there is none yet.

        Raises:
            ConfigError: The voice is not installed.
            GenerationError: It said nothing.
        """
        file = self.file(text, voice)
        if file.is_file():
            return file
        if voice not in self._say:
            if voice not in self.voices:
                raise ConfigError(
                    f"the voice {voice!r} is not installed; there are: {', '.join(self.voices)}"
                )
            self._say[voice] = self._opened.enter_context(self.voices[voice].open())
        words = speakable(text)
        audio = trimmed(self._say[voice](words))
        loudest = float(np.abs(audio.samples).max(initial=0.0))
        if not loudest:
            raise GenerationError(f"the voice {voice!r} said nothing for {words!r}")
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part")  # two runs may speak the same text
        write_wav(part, Audio(audio.samples * np.float32(PEAK / loudest), audio.sample_rate))
        part.replace(file)  # an interrupted run leaves no incomplete clip
        return file

    def audio(self, text: str, voice: str) -> Audio:
        """Return the clip of a text as sound."""
        return read_audio(self.spoken(text, voice), max_seconds=120)


def voice_of(question: str, voices: Sequence[str]) -> str:
    """Return the voice that asks a question: by its id, the same on every machine."""
    place = int.from_bytes(hashlib.sha256(question.encode()).digest()[8:12], "big")
    return voices[place % len(voices)]


def installed_voices(language: str = ENGLISH, root: Path | None = None) -> list[Voice]:
    """Return four unlike voices of a language, or as many as are installed.

    Args:
        language: Of the questions.
        root: Folder written by training/speech_encoder/bundle_voices.py; None: those of the system.

    Raises:
        ConfigError: There is none.
    """
    wanted = _voices_of(language)
    library = Library(root)
    found = [voice for name in wanted if (voice := _voice(name, library)) is not None]
    if not found:
        raise ConfigError(
            f"no voice for {language!r} is installed; install espeak-ng "
            "(apt-get install espeak-ng), or give questions with sound"
        )
    return found[: len(ENGLISH_VOICES)]


def named_voices(language: str, names: Sequence[str], root: Path | None = None) -> list[Voice]:
    """Return those of some voices that speak a language, whether installed or not.

    Args:
        language: Of the questions.
        names: Of the voices.
        root: See `installed_voices`.

    Raises:
        ConfigError: None of them speaks it.
    """
    own = [name for name in names if name in _voices_of(language) or _speaks(name, language)]
    if not own:
        raise ConfigError(
            f"none of the voices {', '.join(names)} speaks {language!r}; there are: "
            f"{', '.join(_voices_of(language))}"
        )
    return [_voice(name, Library(root)) or _absent(name) for name in own]


def check_voices(names: Sequence[str]) -> None:
    """Refuse voices that there are none of.

    Raises:
        ConfigError: One is unknown.
    """
    known = (*ENGLISH_VOICES, *MORE_ENGLISH, *CHINESE_VOICES)
    unknown = [one for one in names if one not in known and not one.startswith("espeak/")]
    if unknown:
        raise ConfigError(
            f"no voice {unknown[0]!r}; choose of {', '.join(known)}, or espeak/LANGUAGE"
        )


def _voices_of(language: str) -> tuple[str, ...]:
    named = {ENGLISH: (*ENGLISH_VOICES, *MORE_ENGLISH), "zh": CHINESE_VOICES}
    return named.get(language, (f"espeak/{language}",))


def _speaks(name: str, language: str) -> bool:
    code = "cmn" if language == "zh" else language
    return name == f"espeak/{code}" or name.startswith((f"espeak/{code}+", f"espeak/{code}-"))


def _absent(name: str) -> Voice:
    """Return a voice whose clips may be there, but which cannot speak."""

    def opened() -> AbstractContextManager[Say]:
        raise MissingVoiceError(f"the voice {name!r} is not installed, and has to speak questions")

    return Voice(name, trained=False, open=opened)


def _voice(name: str, library: Library) -> Voice | None:
    engine, _, own = name.partition("/")
    if engine == "piper":
        return Voice(name, trained=False, open=_piper)
    if not _is_installed(engine, own, library):
        return None
    trained = engine == "espeak" or own in ("slt", "en-GB")

    @contextlib.contextmanager
    def opened() -> Iterator[Say]:
        speaker = _engine(engine, library)
        yield lambda text: _said(speaker, own, text)

    return Voice(name, trained, opened)


def _said(speaker: Engine, voice: str, text: str) -> Audio:
    sound = speaker.speak(voice, text, 1.0, 1.0)
    samples = np.divide(sound.samples, 32_768, dtype=np.float32)
    return (
        resample(Audio(samples, sound.rate_hz), SPEECH_RATE_HZ)
        if len(samples)
        else Audio(samples, SPEECH_RATE_HZ)
    )


def _is_installed(engine: str, voice: str, library: Library) -> bool:
    if engine == "espeak":
        return library.find("libespeak-ng.so.1") is not None
    if engine == "flite":
        return library.find(f"libflite_cmu_us_{voice}.so.1") is not None
    if engine == "rhvoice":
        folder = library.data("RHVoice", "/usr/share/RHVoice") / "voices" / voice
        return library.find("libRHVoice.so.5") is not None and folder.is_dir()
    return (library.data("pico", "/usr/share/pico/lang") / f"{voice}_ta.bin").is_file()


_LOADED: dict[tuple[str, Path | None], Engine] = {}
"""A process loads each C library once."""


def _engine(name: str, library: Library) -> Engine:
    key = (name, library.root)
    if key not in _LOADED:
        if name not in ENGINES:
            raise MissingVoiceError(f"no engine {name!r}: one of {', '.join(ENGINES)}")
        _LOADED[key] = ENGINES[name](library)
    return _LOADED[key]


@contextlib.contextmanager
def _piper() -> Iterator[Say]:
    with PiperSpeaker() as speaker:
        yield lambda text: resample(speaker.speak(text), SPEECH_RATE_HZ)


def speakable(text: str) -> str:
    """Write a question so that every voice can read it: English in ASCII, on one line."""
    if any(ord(character) > 0x2E80 for character in text):  # noqa: PLR2004 - CJK begins here
        return " ".join(text.split())
    dashes = str.maketrans({"\N{EN DASH}": "-", "\N{EM DASH}": "-", "\N{RIGHT SINGLE QUOTATION MARK}": "'"})  # fmt: skip  # noqa: E501
    decomposed = unicodedata.normalize("NFKD", text.translate(dashes))
    return " ".join(decomposed.encode("ascii", "ignore").decode().split())


def trimmed(audio: Audio) -> Audio:
    """Trim silence at both ends to `EDGE_SECONDS`."""
    frame = audio.sample_rate // 100
    count = len(audio.samples) // frame
    if not count:
        return audio
    frames = audio.samples[: count * frame].reshape(count, frame)
    level = np.sqrt(np.mean(np.square(frames), axis=1))
    (loud,) = np.nonzero(level > SILENCE_RATIO * level.max())
    if not len(loud):
        return audio
    edge = round(EDGE_SECONDS * audio.sample_rate)
    first = max(int(loud[0]) * frame - edge, 0)
    return Audio(audio.samples[first : (int(loud[-1]) + 1) * frame + edge], audio.sample_rate)
