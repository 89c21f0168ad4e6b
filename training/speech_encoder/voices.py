"""The voices to train a speech encoder on, and the held-out ones for evaluation.

Speak one sentence in every voice and print the time it takes::

    python -m training.speech_encoder.voices --root FOLDER
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from voicerag_core.evaluation.speech.engines import (
    ENGINES,
    Engine,
    Library,
    MissingVoiceError,
    SynthesisError,
)

__all__ = [
    "HELD_OUT_SPEAKERS",
    "SAMPLE_RATE_HZ",
    "Speaker",
    "Utterance",
    "Voice",
    "held_out_voices",
    "training_voices",
]

SAMPLE_RATE_HZ = 16_000
Utterance = tuple[npt.NDArray[np.int16], str, int]
"""Samples at that rate, the text, and the number of the voice."""
EDGE_SECONDS = 0.05
"""Silence left on each side of an utterance."""
FRAME_SECONDS = 0.01
SILENCE_RATIO = 0.02
"""A frame is silent below this fraction (-34 dB) of the loudest frame's root mean square."""

HELD_OUT_SPEAKERS = {
    "joe": "Piper: the only neural voice available, used only for testing",
    "rms": "a man who read the CMU ARCTIC sentences; held out from flite's voices",
    "clb": "a woman who read the CMU ARCTIC sentences; held out from RHVoice's voices",
}
"""Speakers held out from the training voices of every engine, with the reason: encoders are
evaluated on voices that they were not trained on."""


@dataclass(frozen=True)
class Voice:
    """A synthetic voice.

    Args:
        engine: Key of `engines.ENGINES`.
        name: The engine's own name of the voice.
        speaker: The recorded speaker; voices of one speaker in two engines share it. For espeak-ng,
            which has no recordings, the accent.
        accent: Region of the pronunciation.
        licence: Of the voice data.
        formants: Factor on the resonances of the vocal tract, pitch and speed unchanged.
        weight: Share of utterances relative to other voices; all voices of one engine and speaker
            together have 1, all accents of espeak-ng together `ESPEAK_WEIGHT`.
    """

    engine: str
    name: str
    speaker: str
    accent: str
    licence: str
    formants: float = 1.0
    weight: float = 1.0

    def __str__(self) -> str:
        """Format for tables: engine/name, and the formant factor if it is not 1."""
        warp = "" if self.formants == 1 else f"*{self.formants:g}"
        return f"{self.engine}/{self.name}{warp}"


_ESPEAK_ACCENTS = {
    "en": "British",
    "en-us": "American",
    "en-gb-x-rp": "received pronunciation",
    "en-gb-scotland": "Scottish",
    "en-gb-x-gbclan": "Lancastrian",
    "en-gb-x-gbcwmd": "West Midlands",
    "en-029": "Caribbean",
    "en-us-nyc": "New York",
}
_MEN = ("", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8")
_KLATT = ("klatt", "klatt2", "klatt3", "klatt4", "klatt5", "klatt6")
_WOMEN = ("f1", "f2", "f3", "f5")
_NO_WOMEN = ("en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029")
"""Accents that Whisper tiny.en recognises with a word error rate of 0.4 or more in a female timbre;
f4 is not recognised in British either."""

_GPL = "GPL-3.0-or-later"
_CMU = "BSD-like (CMU)"
_LGPL = "LGPL-2.1-or-later"
_RECORDED = (
    Voice("flite", "slt", "slt", "American", _CMU),
    Voice("flite", "awb", "awb", "Scottish", _CMU),
    Voice("flite", "kal16", "kal", "American", _CMU),
    Voice("flite", "rms", "rms", "American", _CMU),
    Voice("rhvoice", "alan", "awb", "Scottish", _LGPL),
    Voice("rhvoice", "bdl", "bdl", "American", _LGPL),
    Voice("rhvoice", "slt", "slt", "American", _LGPL),
    Voice("rhvoice", "clb", "clb", "American", _LGPL),
    Voice("pico", "en-GB", "kh0", "British", "Apache-2.0"),
    Voice("pico", "en-US", "lh0", "American", "Apache-2.0"),
)


FORMANTS = (0.85, 0.92, 1.0, 1.08, 1.17)
"""Vocal tracts from 17 % longer to 15 % shorter substitute for missing speakers."""
ESPEAK_WEIGHT = 3.0
"""Of a total of 11 with the eight recorded voices: many timbres, but one synthesiser."""


def _espeak_voices() -> list[Voice]:
    names = [
        (language, timbre)
        for language in _ESPEAK_ACCENTS
        for timbre in _MEN + _KLATT + (() if language in _NO_WOMEN else _WOMEN)
    ]
    return [
        Voice(
            engine="espeak",
            name=language + (f"+{timbre}" if timbre else ""),
            speaker=_ESPEAK_ACCENTS[language],
            accent=_ESPEAK_ACCENTS[language],
            licence=_GPL,
            weight=ESPEAK_WEIGHT / len(names),
        )
        for language, timbre in names
    ]


def _warped(voices: Iterable[Voice]) -> list[Voice]:
    return [
        replace(voice, formants=factor, weight=voice.weight / len(FORMANTS))
        for voice in voices
        for factor in FORMANTS
    ]


def _installed(voice: Voice, library: Library) -> bool:
    if voice.engine == "espeak":
        return library.find("libespeak-ng.so.1") is not None
    if voice.engine == "flite":
        return library.find(f"libflite_cmu_us_{voice.name}.so.1") is not None
    if voice.engine == "rhvoice":
        return (library.data("RHVoice", "/usr/share/RHVoice") / "voices" / voice.name).is_dir()
    return (library.data("pico", "/usr/share/pico/lang") / f"{voice.name}_ta.bin").is_file()


def training_voices(root: Path | None = None) -> list[Voice]:
    """Return the installed voices to train on, without held-out speakers.

    Args:
        root: Folder written by bundle_voices.py; None: the system's voices.
    """
    library = Library(root)
    voices = [
        voice
        for voice in (*_espeak_voices(), *_warped(_RECORDED))
        if voice.speaker not in HELD_OUT_SPEAKERS and _installed(voice, library)
    ]
    assert not {voice.speaker for voice in voices} & HELD_OUT_SPEAKERS.keys()
    return voices


def held_out_voices(root: Path | None = None) -> list[Voice]:
    """Return the installed voices of held-out speakers; Piper's is that of the core.

    Args:
        root: Folder written by bundle_voices.py; None: the system's voices.
    """
    library = Library(root)
    return [v for v in _RECORDED if v.speaker in HELD_OUT_SPEAKERS and _installed(v, library)]


@cache
def _engine(name: str, root: Path | None) -> Engine:
    return ENGINES[name](Library(root))


class Speaker:
    """One loaded voice; a process may have any number.

    Args:
        voice: From `training_voices` or `held_out_voices`.
        root: Folder written by bundle_voices.py; None: the system's engines. One folder per
            process: the C libraries are loaded once.

    Raises:
        MissingVoiceError: The engine is unknown or not installed.
    """

    def __init__(self, voice: Voice, root: Path | None = None) -> None:
        if voice.engine not in ENGINES:
            raise MissingVoiceError(f"no engine {voice.engine!r}: one of {', '.join(ENGINES)}")
        self.voice = voice
        self._engine = _engine(voice.engine, root.resolve() if root else None)

    def speak(self, text: str, *, rate: float = 1.0, pitch: float = 1.0) -> npt.NDArray[np.float32]:
        """Synthesize a text.

        Args:
            text: Plain English text.
            rate: Speed as a factor of the voice's own, 0.5 to 2.
            pitch: Fundamental frequency as a factor of the voice's own, 0.5 to 2.

        Returns:
            Shape (n,), float32, 16,000 Hz, largest magnitude 1 or less, with about 0.05 s of
            silence at each end.

        Raises:
            SynthesisError: No sound was produced.
        """
        if not any(character.isalnum() for character in text):
            raise SynthesisError(f"{self.voice} said nothing for {text!r}: give it words")
        warp = Fraction(self.voice.formants).limit_denominator(20)
        sound = self._engine.speak(self.voice.name, text, rate / float(warp), pitch / float(warp))
        # Played faster by the warp, the sound gets back its speed and pitch; only the resonances
        # are moved.
        samples = resample(
            np.divide(sound.samples, 32_768, dtype=np.float32), sound.rate_hz * warp, SAMPLE_RATE_HZ
        )
        samples = trim(samples)
        peak = float(np.abs(samples).max(initial=0.0))
        if peak == 0.0:
            raise SynthesisError(f"{self.voice} said nothing for {text!r}: leave the text out")
        return samples if peak <= 1 else samples / np.float32(peak)


def resample(
    samples: npt.NDArray[np.float32], from_hz: int | Fraction, to_hz: int
) -> npt.NDArray[np.float32]:
    """Change the sampling rate by truncating the spectrum.

    Args:
        samples: Shape (n,).
        from_hz: Their rate.
        to_hz: The target rate.
    """
    ratio = Fraction(to_hz) / Fraction(from_hz)
    if ratio == 1 or not len(samples):
        return samples
    block = ratio.denominator
    blocks = -(-len(samples) // block) + 1
    # Silence after the end keeps it from wrapping round to the start; as many blocks as a small
    # number times a power of two, because transforms of lengths with large prime factors are slow.
    step = 1 << max(blocks.bit_length() - 4, 0)
    blocks = -(-blocks // step) * step
    spectrum = np.fft.rfft(samples, blocks * block)
    length = blocks * ratio.numerator
    bins = min(len(spectrum), length // 2 + 1)
    out = np.fft.irfft(spectrum[:bins], length) * float(ratio)
    return out[: round(len(samples) * ratio)].astype(np.float32)


def trim(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Trim silence at both ends to `EDGE_SECONDS`.

    Args:
        samples: Shape (n,), 16,000 Hz.
    """
    frame = round(FRAME_SECONDS * SAMPLE_RATE_HZ)
    count = len(samples) // frame
    if not count:
        return samples
    level = np.sqrt(np.mean(samples[: count * frame].reshape(count, frame) ** 2, axis=1))
    (loud,) = np.nonzero(level > SILENCE_RATIO * level.max())
    if not len(loud):
        return samples[:0]
    edge = round(EDGE_SECONDS * SAMPLE_RATE_HZ)
    first = max(int(loud[0]) * frame - edge, 0)
    return samples[first : (int(loud[-1]) + 1) * frame + edge]


SENTENCE = "How many points did the defense surrender in the final game of the season?"


def main(arguments: list[str] | None = None) -> None:
    """Speak one sentence in every voice; print the time it takes and which libraries were used."""
    parser = argparse.ArgumentParser(description="Speak one sentence in every voice.")
    parser.add_argument("--root", type=Path, help="folder written by bundle_voices.py")
    parser.add_argument("--repeat", type=int, default=3, help="utterances per voice")
    options = parser.parse_args(arguments)
    voices = training_voices(options.root) + held_out_voices(options.root)
    write = sys.stdout.write
    write("| voice | speech s | ms of CPU time per utterance | utterances/s per core |\n")
    write("|---|---|---|---|\n")
    total = 0.0
    for voice in voices:
        speaker = Speaker(voice, options.root)
        seconds = len(speaker.speak(SENTENCE)) / SAMPLE_RATE_HZ
        start = time.process_time()
        for _ in range(options.repeat):
            speaker.speak(SENTENCE)
        took = (time.process_time() - start) / options.repeat
        total += took * voice.weight
        write(f"| {voice} | {seconds:.2f} | {1000 * took:.1f} | {1 / took:.0f} |\n")
    share = sum(voice.weight for voice in voices)
    write(f"\n{share / total:.1f} utterances/s per core, voices sampled by weight\n")
    used = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    names = ("espeak", "flite", "RHVoice", "pico", "sonic", "asound", "pcaudio")
    write("\nlibraries and data mapped:\n")
    for path in sorted(p for p in used if any(name in p for name in names)):
        write(f"{path}\n")


if __name__ == "__main__":
    main()
