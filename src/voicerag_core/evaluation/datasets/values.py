"""A set of questions as values, and how its files are read."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from voicerag_core.errors import DocumentError
from voicerag_core.files import parsed_json
from voicerag_core.passages import split_source
from voicerag_core.types import Passage

__all__ = [
    "EvalQuestion",
    "EvalSet",
    "PassageTable",
    "checked",
    "cut",
    "drawn",
    "lines_of",
    "names_of",
    "read_json",
    "read_json_lines",
    "read_text",
    "texts",
    "there",
]

GZIP = b"\x1f\x8b"
"""First bytes of a gzip file."""


@dataclass(frozen=True, slots=True)
class EvalQuestion:
    """A question with what is known of its answer.

    Args:
        id: Unique within its set.
        text: In words; "" if only its sound is known.
        answers: Ways to write the answer; empty if none is known.
        sources: Ids of the passages that answer it; empty if they are not known.
        all_sources: Whether all of them are needed, and not any one.
        answerable: False if no passage of the set answers it.
        sound: A recording of it, if there is one.
        own: Ids of the passages of its own store, for sets that give each question some.
        development: Whether training, thresholds or earlier development saw it.
        fake_answers: What passages that were made false say instead (RGB).
    """

    id: str
    text: str
    answers: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    all_sources: bool = False
    answerable: bool = True
    sound: Path | None = None
    own: tuple[str, ...] = ()
    development: bool = False
    fake_answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EvalSet:
    """Questions over passages.

    Args:
        name: Of the set.
        passages: With unique ids.
        questions: With unique ids.
        language: Code of the questions' language.
        passage_language: Code of the passages' language.
        problems: What could not be used, one sentence each; shown with the figures.
        seen: What training, thresholds and earlier development saw of it.
        forms: In which its questions are asked unless everything is: a set that repeats another's
            questions over other passages is not asked with noise again ("clean"), and words that
            were heard from speech are not spoken ("typed").
    """

    name: str
    passages: tuple[Passage, ...]
    questions: tuple[EvalQuestion, ...]
    language: str = "en"
    passage_language: str = "en"
    problems: tuple[str, ...] = ()
    seen: str = ""
    forms: Literal["all", "clean", "typed"] = "all"

    @property
    def has_answers(self) -> bool:
        """Whether a gold answer is known for any question."""
        return any(one.answers for one in self.questions)

    @property
    def digest(self) -> str:
        """Changes with every question and passage: names the collection that holds them."""
        asked = [(q.id, q.text, q.answers, q.sources, q.own) for q in self.questions]
        told = repr((self.name, [(p.id, p.text) for p in self.passages], asked))
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:12]


@dataclass(slots=True)
class PassageTable:
    """Passages by title and text, each once, with ids in the order of their first use.

    Args:
        prefix: Of the ids.
    """

    prefix: str
    _known: dict[tuple[str, str], Passage] = field(default_factory=dict)

    def add(self, text: str, title: str = "") -> str:
        """Return the id of a passage; make it if it is new."""
        key = (title, text)
        if key not in self._known:
            metadata = {"title": title} if title else {}
            self._known[key] = Passage(f"{self.prefix}{len(self._known)}", text, metadata)
        return self._known[key].id

    @property
    def passages(self) -> tuple[Passage, ...]:
        """All of them."""
        return tuple(self._known.values())


def checked(found: EvalSet) -> EvalSet:
    """Refuse a set that cannot be measured.

    Raises:
        DocumentError: It has no questions, an id stands for two of them or for two passages, or a
            source is not among its passages.
    """
    if not found.questions:
        raise DocumentError(f"the set {found.name!r} has no questions")
    for what, ids in (
        ("questions", [one.id for one in found.questions]),
        ("passages", [one.id for one in found.passages]),
    ):
        twice = [name for name, count in Counter(ids).items() if count > 1]
        if twice:
            raise DocumentError(
                f"the set {found.name!r} has {what} with one id: {', '.join(map(repr, twice[:5]))}"
                f"{' ...' if len(twice) > 5 else ''}; give each its own"  # noqa: PLR2004
            )
    known = {one.id for one in found.passages}
    for one in found.questions:
        lost = [name for name in one.sources if name not in known]
        if lost and known:
            raise DocumentError(
                f"question {one.id!r} of {found.name!r} names the source {lost[0]!r}, which is "
                "not among the passages of the set"
            )
    return found


def drawn(found: EvalSet, limit: int | None, seed: int) -> EvalSet:
    """Keep at most so many questions, the same ones on every machine; all passages stay.

    Those that no training, threshold or earlier development saw come first.
    """
    if limit is None or len(found.questions) <= limit:
        return found

    def place(one: EvalQuestion) -> tuple[bool, bytes]:
        return one.development, hashlib.sha256(f"{seed}:{one.id}".encode()).digest()

    chosen = {one.id for one in sorted(found.questions, key=place)[:limit]}
    return replace(found, questions=tuple(q for q in found.questions if q.id in chosen))


def cut(found: EvalSet, most: int | None, wanted: Iterable[EvalQuestion]) -> EvalSet:
    """Keep at most so many passages: those that some questions need, then the first others."""
    if most is None or len(found.passages) <= most:
        return found
    asked = list(wanted)
    needed = {name for one in asked for name in (*one.sources[:2], *one.own)}
    rest = [one.id for one in found.passages if one.id not in needed]
    kept = needed | set(rest[: max(0, most - len(needed))])
    ids = {one.id for one in asked}
    questions = tuple(
        replace(one, sources=tuple(name for name in one.sources if name in kept))
        for one in found.questions
        if one.id in ids
    )
    passages = tuple(one for one in found.passages if one.id in kept)
    return replace(found, passages=passages, questions=questions)


def names_of(passage: Passage) -> set[str]:
    """Return the names by which a question may state a passage.

    They are its id, its source with and without the fragment of its place, and the name of the
    document's file.
    """
    if not passage.source:
        return {passage.id}
    document = split_source(passage.source)[0]
    return {passage.id, passage.source, document, Path(document).name}


def there(path: Path) -> bool:
    """Return whether a file is there, as it is or as ``FILE.gz``."""
    return os.path.isfile(path) or os.path.isfile(_zipped(path))


def read_text(path: Path) -> str:
    """Read a file in UTF-8, as it is or as ``FILE.gz``.

    Raises:
        DocumentError: It is absent, or in another encoding.
    """
    try:
        data = (path if os.path.isfile(path) or not there(path) else _zipped(path)).read_bytes()
        return (gzip.decompress(data) if data.startswith(GZIP) else data).decode("utf-8-sig")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DocumentError(f"{path} is a damaged gzip file: {error}") from error
    except UnicodeDecodeError as error:
        raise DocumentError(
            f"{path} is not UTF-8: byte {error.start} cannot be decoded; convert it first, as with "
            "iconv -t UTF-8"
        ) from error
    except OSError as error:
        raise DocumentError(f"{path} cannot be read: {error.strerror or error}") from error


def _zipped(path: Path) -> Path:
    return path.with_name(f"{path.name}.gz")


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines of a file that are not empty.

    A line ends with a line feed alone: texts may hold other characters that Unicode breaks at.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield number, line.rstrip("\r")


def read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON
    """Read a JSON file.

    Raises:
        DocumentError: It is absent, not UTF-8, or no JSON.
    """
    text = read_text(path)
    try:
        return parsed_json(text)
    except ValueError as error:
        raise DocumentError(f"{path} is not JSON: {error}") from error


def read_json_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a JSON Lines file; empty lines are skipped.

    Raises:
        DocumentError: The file is absent, not UTF-8, or a line is no JSON object.
    """
    for number, line in lines_of(path):
        try:
            one = parsed_json(line)
        except ValueError as error:
            raise DocumentError(f"{path}, line {number}: not JSON: {error}") from error
        if not isinstance(one, dict):
            raise DocumentError(f"{path}, line {number}: an object is expected, not {one!r:.40}")
        yield one


def texts(nested: object) -> Sequence[str]:
    """Return all strings with words in nested lists, in order, and numbers as they are written."""

    def walk(one: object) -> Iterable[str]:
        if isinstance(one, str):
            if one.strip():
                yield one
        elif isinstance(one, int | float) and not isinstance(one, bool):
            yield str(one)
        elif isinstance(one, list | tuple):
            for part in one:
                yield from walk(part)

    return list(walk(nested))
