"""Speech synthesisers called in this process through ctypes.

Each engine is one class over one C library: it is loaded once per process, from a bundled folder or
from the system, and speaks in any of its voices. Nothing is played: every engine returns samples.

Source: the C headers speak_lib.h (espeak-ng 1.51), flite.h and cst_voice.h (flite 2.2),
RHVoice.h (RHVoice 1.8) and picoapi.h (SVOX Pico 1.0).
"""

from __future__ import annotations

import ctypes as c
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from voicerag_core.errors import ConfigError, GenerationError

__all__ = [
    "ENGINES",
    "Engine",
    "Espeak",
    "Flite",
    "Library",
    "MissingVoiceError",
    "Pico",
    "RHVoice",
    "Sound",
    "SynthesisError",
]


class MissingVoiceError(ConfigError):
    """An engine, its data or a voice is not installed."""


class SynthesisError(GenerationError):
    """An engine did not speak a text."""


@dataclass(frozen=True)
class Sound:
    """The output of an engine.

    Args:
        samples: Shape (n,), int16, mono.
        rate_hz: Samples per second.
    """

    samples: npt.NDArray[np.int16]
    rate_hz: int


class Engine(Protocol):
    """One synthesiser with all its voices."""

    def speak(self, voice: str, text: str, rate: float, pitch: float) -> Sound:
        """Synthesize a text.

        Args:
            voice: Name of a voice of this engine.
            text: Plain text to speak.
            rate: Speed as a factor of the voice's own.
            pitch: Fundamental frequency as a factor of the voice's own.

        Raises:
            MissingVoiceError: The engine has no such voice.
            SynthesisError: The engine failed on this text.
        """


class Library:
    """Finds an engine's shared libraries and data, bundled or of the system.

    Args:
        root: Folder with ``lib/`` and one data folder per engine; None: the system's.
    """

    SYSTEM_FOLDERS: ClassVar[tuple[str, ...]] = ("/usr/lib/x86_64-linux-gnu", "/usr/lib")

    def __init__(self, root: Path | None) -> None:
        self.root = root

    def find(self, name: str) -> Path | None:
        """Path of a shared library (``libflite.so.1``), or None where it is not installed."""
        folders = [self.root / "lib"] if self.root else map(Path, self.SYSTEM_FOLDERS)
        return next((path for folder in folders if (path := folder / name).exists()), None)

    def load(self, *names: str) -> c.CDLL:
        """Open libraries in the order given and return the last.

        A library that a later one needs is opened before it by path: the loader then takes the
        open one by its name, and no search path has to be set.

        Raises:
            MissingVoiceError: One of them is missing.
        """
        library: c.CDLL | None = None
        for name in names:
            path = self.find(name)
            if path is None:
                where = self.root / "lib" if self.root else "the system's library folders"
                raise MissingVoiceError(
                    f"{name} is not in {where}: install the engine's Debian package, or give the "
                    "folder that training/speech_encoder/bundle_voices.py writes"
                )
            library = c.CDLL(str(path.resolve()), mode=c.RTLD_GLOBAL)
        assert library is not None, "load() was called without a name"
        return library

    def data(self, carried: str, system: str) -> Path:
        """Folder of an engine's data."""
        return self.root / carried if self.root else Path(system)


if TYPE_CHECKING:
    ShortPointer = c._Pointer[c.c_short]
    """The pointer to samples that a callback receives."""


def _stubs(library: Library, *names: str) -> tuple[str, ...]:
    """Names of the sound-card stubs, which only a bundled folder has."""
    return names if library.root else ()


def _joined(parts: Sequence[npt.NDArray[np.int16]]) -> npt.NDArray[np.int16]:
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)


class Espeak:
    """espeak-ng: formant synthesis; a voice is ``LANGUAGE`` or ``LANGUAGE+VARIANT``.

    Args:
        library: Where the library and its data are.
    """

    SYNCHRONOUS = 2
    RATE, PITCH = 1, 3
    WORDS_A_MINUTE = 175
    MIDDLE_PITCH = 50
    UTF8 = 1
    POSITION_CHARACTER = 1

    def __init__(self, library: Library) -> None:
        self._lib = library.load(
            *_stubs(library, "libpcaudio.so.0", "libsonic.so.0"), "libespeak-ng.so.1"
        )
        path = str(library.root).encode() if library.root else None
        self._rate_hz: int = self._lib.espeak_Initialize(self.SYNCHRONOUS, 0, path, 0)
        if self._rate_hz <= 0:
            raise MissingVoiceError(
                f"espeak-ng cannot read its data in {library.root or 'the system'}"
            )
        self._parts: list[npt.NDArray[np.int16]] = []
        take = c.CFUNCTYPE(c.c_int, c.POINTER(c.c_short), c.c_int, c.c_void_p)
        self._callback = take(self._take)
        self._lib.espeak_SetSynthCallback(self._callback)
        self._voice = ""

    def _take(self, samples: ShortPointer, count: int, _events: object) -> int:
        if count > 0:
            self._parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def speak(self, voice: str, text: str, rate: float, pitch: float) -> Sound:
        """See `Engine.speak`."""
        if voice != self._voice:
            if self._lib.espeak_SetVoiceByName(voice.encode()) != 0:
                raise MissingVoiceError(f"espeak-ng has no voice {voice!r}")
            self._voice = voice
        self._lib.espeak_SetParameter(self.RATE, round(self.WORDS_A_MINUTE * rate), 0)
        # One step of 50 is an octave (pitch_adjust_tab in espeak-ng's setlengths.c).
        level = round(self.MIDDLE_PITCH * (1 + math.log2(pitch)))
        self._lib.espeak_SetParameter(self.PITCH, min(max(level, 0), 99), 0)
        data = text.encode() + b"\0"
        self._parts.clear()
        self._lib.espeak_Synth(
            data, c.c_size_t(len(data)), 0, self.POSITION_CHARACTER, 0, self.UTF8, None, None
        )
        self._lib.espeak_Synchronize()
        return Sound(_joined(self._parts), self._rate_hz)


class _FliteVoice(c.Structure):
    _fields_ = [("name", c.c_char_p), ("features", c.c_void_p)]


class _FliteWave(c.Structure):
    _fields_ = [
        ("type", c.c_char_p),
        ("sample_rate", c.c_int),
        ("num_samples", c.c_int),
        ("num_channels", c.c_int),
        ("samples", c.POINTER(c.c_short)),
    ]


class Flite:
    """flite: CLUSTERGEN statistical voices and one of diphones.

    Args:
        library: Where the libraries are.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._lib = library.load(*_stubs(library, "libasound.so.2"), "libflite.so.1")
        library.load("libflite_usenglish.so.1", "libflite_cmulex.so.1")
        self._lib.flite_init()
        self._lib.flite_text_to_wave.restype = c.POINTER(_FliteWave)
        self._lib.flite_text_to_wave.argtypes = [c.c_char_p, c.POINTER(_FliteVoice)]
        self._lib.delete_wave.argtypes = [c.POINTER(_FliteWave)]
        self._lib.flite_feat_set_float.argtypes = [c.c_void_p, c.c_char_p, c.c_float]
        self._lib.flite_get_param_float.argtypes = [c.c_void_p, c.c_char_p, c.c_float]
        self._lib.flite_get_param_float.restype = c.c_float
        self._voices: dict[str, tuple[Any, float]] = {}

    def _voice(self, name: str) -> tuple[Any, float]:
        if name not in self._voices:
            library = self._library.load(f"libflite_cmu_us_{name}.so.1")
            register = getattr(library, f"register_cmu_us_{name}")
            register.restype = c.POINTER(_FliteVoice)
            voice = register(None)
            stretch = self._lib.flite_get_param_float(
                voice.contents.features, b"duration_stretch", 1.0
            )
            self._voices[name] = voice, stretch
        return self._voices[name]

    def speak(self, voice: str, text: str, rate: float, pitch: float) -> Sound:
        """See `Engine.speak`."""
        pointer, stretch = self._voice(voice)
        features = pointer.contents.features
        self._lib.flite_feat_set_float(features, b"duration_stretch", stretch / rate)
        self._lib.flite_feat_set_float(features, b"f0_shift", pitch)
        wave = self._lib.flite_text_to_wave(text.encode(), pointer)
        if not wave:
            return Sound(np.zeros(0, np.int16), 16_000)
        try:
            said = wave.contents
            count = said.num_samples * said.num_channels
            samples = np.ctypeslib.as_array(said.samples, (count,)).copy()
            return Sound(samples, said.sample_rate)
        finally:
            self._lib.delete_wave(wave)


_OnRate = c.CFUNCTYPE(c.c_int, c.c_int, c.c_void_p)
_OnSpeech = c.CFUNCTYPE(c.c_int, c.POINTER(c.c_short), c.c_uint, c.c_void_p)


class _RHVoiceCallbacks(c.Structure):
    _fields_ = [
        ("set_sample_rate", _OnRate),
        ("play_speech", _OnSpeech),
        ("process_mark", c.c_void_p),
        ("word_starts", c.c_void_p),
        ("word_ends", c.c_void_p),
        ("sentence_starts", c.c_void_p),
        ("sentence_ends", c.c_void_p),
        ("play_audio", c.c_void_p),
        ("done", c.c_void_p),
    ]


class _RHVoiceInit(c.Structure):
    _fields_ = [
        ("data_path", c.c_char_p),
        ("config_path", c.c_char_p),
        ("resource_paths", c.POINTER(c.c_char_p)),
        ("callbacks", _RHVoiceCallbacks),
        ("options", c.c_uint),
    ]


class _RHVoiceParams(c.Structure):
    _fields_ = [
        ("voice_profile", c.c_char_p),
        ("absolute_rate", c.c_double),
        ("absolute_pitch", c.c_double),
        ("absolute_volume", c.c_double),
        ("relative_rate", c.c_double),
        ("relative_pitch", c.c_double),
        ("relative_volume", c.c_double),
        ("punctuation_mode", c.c_int),
        ("punctuation_list", c.c_char_p),
        ("capitals_mode", c.c_int),
        ("flags", c.c_int),
    ]


class RHVoice:
    """RHVoice: statistical voices on hts_engine.

    Args:
        library: Where the library, ``RHVoice/languages`` and ``RHVoice/voices`` are.
    """

    def __init__(self, library: Library) -> None:
        self._lib = library.load(
            *_stubs(library, "libsonic.so.0"), "libRHVoice_core.so.7", "libRHVoice.so.5"
        )
        self._rate_hz = 0
        self._parts: list[npt.NDArray[np.int16]] = []
        self._on_rate, self._on_speech = _OnRate(self._set_rate), _OnSpeech(self._take)
        self._lib.RHVoice_new_tts_engine.restype = c.c_void_p
        self._lib.RHVoice_new_message.restype = c.c_void_p
        self._lib.RHVoice_new_message.argtypes = [
            c.c_void_p,
            c.c_char_p,
            c.c_uint,
            c.c_int,
            c.POINTER(_RHVoiceParams),
            c.c_void_p,
        ]
        self._lib.RHVoice_speak.argtypes = [c.c_void_p]
        self._lib.RHVoice_delete_message.argtypes = [c.c_void_p]
        data = library.data("RHVoice", "/usr/share/RHVoice")
        config = library.data("RHVoice", "/etc/RHVoice")
        start = _RHVoiceInit(
            data_path=str(data).encode(),
            config_path=str(config).encode(),
            callbacks=_RHVoiceCallbacks(self._on_rate, self._on_speech),
        )
        self._engine = self._lib.RHVoice_new_tts_engine(c.byref(start))
        if not self._engine:
            raise MissingVoiceError(f"RHVoice cannot read its data in {data}")

    def _set_rate(self, rate_hz: int, _user: object) -> int:
        self._rate_hz = rate_hz
        return 1

    def _take(self, samples: ShortPointer, count: int, _user: object) -> int:
        self._parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 1

    def speak(self, voice: str, text: str, rate: float, pitch: float) -> Sound:
        """See `Engine.speak`."""
        params = _RHVoiceParams(
            voice_profile=voice.encode(),
            relative_rate=rate,
            relative_pitch=pitch,
            relative_volume=1.0,
        )
        data = text.encode()
        self._parts.clear()
        message = self._lib.RHVoice_new_message(
            self._engine, data, len(data), 0, c.byref(params), None
        )
        if not message:
            raise SynthesisError(f"RHVoice has no voice {voice!r} or refused the text {text!r}")
        self._lib.RHVoice_speak(message)
        self._lib.RHVoice_delete_message(message)
        return Sound(_joined(self._parts), self._rate_hz)


@dataclass
class _PicoVoice:
    memory: Any
    system: c.c_void_p
    engine: c.c_void_p = field(default_factory=c.c_void_p)


class Pico:
    """SVOX Pico: small parametric voices, one per language.

    Args:
        library: Where the library and the lingware files are.
    """

    RATE_HZ = 16_000
    MEMORY_BYTES = 2_500_000
    FILES: ClassVar = {
        "en-GB": ("en-GB_ta.bin", "en-GB_kh0_sg.bin"),
        "en-US": ("en-US_ta.bin", "en-US_lh0_sg.bin"),
    }
    BUSY, IDLE = 201, 200
    RESOURCE_NAME_BYTES = 32
    BUFFER_BYTES = 4096

    def __init__(self, library: Library) -> None:
        self._lib = library.load("libttspico.so.0")
        self._data = library.data("pico", "/usr/share/pico/lang")
        self._voices: dict[str, _PicoVoice] = {}

    def _must(self, status: int, what: str) -> None:
        if status != 0:
            raise MissingVoiceError(
                f"Pico: {what} failed with status {status} (files in {self._data})"
            )

    def _voice(self, name: str) -> _PicoVoice:
        if name in self._voices:
            return self._voices[name]
        if name not in self.FILES:
            raise MissingVoiceError(f"Pico has no voice {name!r}; it has {', '.join(self.FILES)}")
        memory = c.create_string_buffer(self.MEMORY_BYTES)
        voice = _PicoVoice(memory, c.c_void_p())
        status = self._lib.pico_initialize(
            memory, c.c_uint(self.MEMORY_BYTES), c.byref(voice.system)
        )
        self._must(status, "starting")
        self._must(self._lib.pico_createVoiceDefinition(voice.system, b"voice"), "naming a voice")
        for file in self.FILES[name]:
            resource = c.c_void_p()
            path = str(self._data / file).encode()
            status = self._lib.pico_loadResource(voice.system, path, c.byref(resource))
            self._must(status, f"loading {file}")
            label = c.create_string_buffer(self.RESOURCE_NAME_BYTES)
            self._must(self._lib.pico_getResourceName(voice.system, resource, label), "naming")
            status = self._lib.pico_addResourceToVoiceDefinition(voice.system, b"voice", label)
            self._must(status, f"adding {file}")
        self._must(self._lib.pico_newEngine(voice.system, b"voice", c.byref(voice.engine)), "voice")
        self._voices[name] = voice
        return voice

    def speak(self, voice: str, text: str, rate: float, pitch: float) -> Sound:
        """See `Engine.speak`."""
        engine = self._voice(voice).engine
        plain = text.replace("<", " ").replace(">", " ")
        tagged = (
            f'<speed level="{round(100 * rate)}"><pitch level="{round(100 * pitch)}">'
            f"{plain}</pitch></speed>"
        )
        left = tagged.encode() + b"\0"
        parts: list[npt.NDArray[np.int16]] = []
        buffer = c.create_string_buffer(self.BUFFER_BYTES)
        sent, received, kind = c.c_int16(), c.c_int16(), c.c_int16()
        while left:
            status = self._lib.pico_putTextUtf8(
                engine, left, c.c_int16(min(len(left), 32_767)), c.byref(sent)
            )
            self._must(status, "taking text")
            left = left[sent.value :]
            status = self.BUSY
            while status == self.BUSY:
                status = self._lib.pico_getData(
                    engine, buffer, c.c_int16(self.BUFFER_BYTES), c.byref(received), c.byref(kind)
                )
                if received.value:
                    parts.append(np.frombuffer(buffer.raw[: received.value], np.int16))
            if status != self.IDLE:
                self._lib.pico_resetEngine(engine, 0)
                raise SynthesisError(f"Pico: speaking failed with status {status}")
        return Sound(_joined(parts), self.RATE_HZ)


ENGINES: dict[str, Callable[[Library], Engine]] = {
    "espeak": Espeak,
    "flite": Flite,
    "rhvoice": RHVoice,
    "pico": Pico,
}
