"""Subtitles: what is said, as paragraphs that know their second."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from voicerag_core.blocks import Place
from voicerag_core.documents.decoding import decode
from voicerag_core.documents.elements import Draft, Element, Notice, Paragraph
from voicerag_core.errors import DocumentError

__all__ = ["read_subtitles"]

_TIMES = re.compile(
    r"\s*(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})\s*-->\s*"
    r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})(?:\s.*)?"
)
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]*)>")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<\d[\d:.]*>|\{\\[^{}]*\}")
_SOUND = re.compile(r"\[[^\[\]\n]*\]|\([A-Z][A-Z .']*\)|[\u266a\u266b#]+")
_SPEAKER = re.compile(r"(?:-\s*)?([A-Z][\w .'-]{0,30}):\s+(?=\S)")
_ENDS = re.compile(r"[.!?\u3002\uff01\uff1f\u2026][\"'\u201d\u2019]*$")
_PAUSE_SECONDS = 2.5
_LONGEST = 500
_ROLLS_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _Cue:
    start: float
    end: float
    speaker: str
    text: str


def read_subtitles(data: bytes, source: str, encoding: str | None = None) -> list[Draft]:
    """Read SubRip (srt) or WebVTT (vtt).

    Cues are joined to paragraphs up to a pause, a change of speaker, or a sentence's end once the
    paragraph is long. Marks of sounds and styles are left out.

    Raises:
        DocumentError: No cue is in the file.
    """
    text, notices = decode(data, source, encoding=encoding)
    if not text.strip():
        return []
    found, bad = _cues(text)
    if not found and not text.lstrip().startswith("WEBVTT"):
        raise DocumentError(f"{source} cannot be read as subtitles: no line has times (-->)")
    if bad:
        notices.append(Notice(f"{bad} cues have times that cannot be read; they are left out"))
    return [Draft([*notices, *_paragraphs(found)])]


def _cues(text: str) -> tuple[list[_Cue], int]:
    """Return the cues, and how many have bad times."""
    cues: list[_Cue] = []
    bad = 0
    shown: list[str] = []
    until = 0.0
    for block in re.split(r"\n[^\S\n]*\n", text):
        lines = block.split("\n")
        at = next((i for i, line in enumerate(lines) if "-->" in line), None)
        if at is None:
            continue
        times = _TIMES.fullmatch(lines[at])
        if times is None:
            bad += 1
            continue
        start, end = _seconds(times, 1), _seconds(times, 5)
        fresh = [line.strip() for line in lines[at + 1 :] if _TAG.sub("", line).strip()]
        fresh, shown = _rolled(fresh, shown if start - until < _ROLLS_SECONDS else [])
        until = end
        words = "\n".join(fresh)
        voice = _VOICE.search(words)
        words = html.unescape(_SOUND.sub("", _TAG.sub("", words))).strip()
        speaker = voice[1].strip() if voice else ""
        if not voice and (named := _SPEAKER.match(words)):
            speaker, words = named[1], words[named.end() :]
        words = " ".join(re.sub(r"(?m)^-\s*", "", words).split())
        if words and (not cues or cues[-1].text != words):
            cues.append(_Cue(start, end, speaker, words))
        elif cues and not words:
            cues[-1] = replace(cues[-1], end=max(end, cues[-1].end))
    return cues, bad


def _rolled(lines: list[str], shown: list[str]) -> tuple[list[str], list[str]]:
    """Return the lines of a cue that were not on the screen before, and all its lines' words.

    Captions made by machines roll: the last lines of a cue stand above the new one in the next.
    """
    plain = [" ".join(_TAG.sub("", line).split()) for line in lines]
    for count in range(min(len(plain), len(shown)), 0, -1):
        if plain[:count] == shown[-count:]:
            return lines[count:], plain
    return lines, plain


def _seconds(match: re.Match[str], first: int) -> float:
    hours, minutes, seconds, parts = match.group(first, first + 1, first + 2, first + 3)
    return (
        int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(parts.ljust(3, "0")) / 1000
    )


def _paragraphs(cues: list[_Cue]) -> Iterator[Element]:
    said: list[str] = []
    begun = before = None
    for cue in cues:
        if before is not None and begun is not None and _ends(before, cue, said):
            yield _paragraph(said, begun)
            said, begun = [], None
        begun = begun or cue
        said.append(cue.text)
        before = cue
    if begun is not None:
        yield _paragraph(said, begun)


def _ends(before: _Cue, cue: _Cue, said: list[str]) -> bool:
    if cue.speaker and cue.speaker != before.speaker:
        return True
    length = sum(map(len, said))
    if not _ENDS.search(before.text):  # captions of machines have no full stops at all
        return cue.start - before.end > 4 * _PAUSE_SECONDS or length > 2 * _LONGEST
    return cue.start - before.end > _PAUSE_SECONDS or length > _LONGEST


def _paragraph(said: list[str], cue: _Cue) -> Paragraph:
    text = " ".join(said)
    return Paragraph(f"{cue.speaker}: {text}" if cue.speaker else text, Place("second", cue.start))
