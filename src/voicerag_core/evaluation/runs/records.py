"""The folder of a run: its config, its records as JSON lines, and what was found out besides."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from voicerag_core.errors import ConfigError
from voicerag_core.evaluation.runs.config import FORMAT, RunConfig

__all__ = ["Key", "Record", "RunFolder"]

MODELS = ("stack", "embedder", "transcriber", "model")
"""What is noted of a run, and must not change while it goes on."""
CONFIG, RECORDS, SETS = "config.json", "records.jsonl", "sets.json"
PACKED = f"{RECORDS}.gz"
"""The records of a run that is kept; a run does not go on in a folder that has them so."""

Key = tuple[str, str, str, str, str]
"""Set, store, question, form and strategy: one record each."""


@dataclass(frozen=True, slots=True)
class Record:
    """What came of one question asked in one way.

    Args:
        set: Name of the set.
        store: "shared" or "own".
        question: Its id.
        form: "typed", or the condition of its sound.
        strategy: How it was searched; "text" for typed ones.
        text: The question in words, "" if they are not known.
        voice: Who spoke it; "" for typed ones, "recording" for the set's own sound.
        clip: Its sound before it was made harder.
        clip_seconds: Length of the sound.
        answers: Gold answers.
        sources: Ids of the right passages.
        all_sources: Whether all of them are needed.
        answerable: Whether it can be answered.
        development: Whether training or thresholds saw it.
        found: Ids of the hits, best first.
        scores: Their cosines.
        matched: What found each.
        shown: The first hits' texts, cut.
        heard: The transcript, if there was one.
        confidence: Of the transcript.
        refused: Why nothing was searched (no speech was heard), or "".
        seconds: From the end of the sound to the hits; what strategies share counts for each.
        timings: Seconds by stage, of search and answer.
        answer: What was answered; None if it was not asked for.
        answered: Whether it was, and not declined.
        measures: Scores of this record by name: em, f1, contained, rouge_l_recall, rouge_l_f1,
            wrong and spoken words, and so on.
        judged: What the judge said, by aspect.
    """

    set: str
    store: str
    question: str
    form: str
    strategy: str
    text: str = ""
    voice: str = ""
    clip: str = ""
    clip_seconds: float = 0.0
    answers: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    all_sources: bool = False
    answerable: bool = True
    development: bool = False
    found: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    matched: tuple[tuple[str, ...], ...] = ()
    shown: tuple[str, ...] = ()
    heard: str | None = None
    confidence: float | None = None
    refused: str = ""
    seconds: float = 0.0
    timings: Mapping[str, float] = field(default_factory=dict)
    answer: str | None = None
    answered: bool = True
    measures: Mapping[str, float] = field(default_factory=dict)
    judged: Mapping[str, float] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What no two records of a run share."""
        return (self.set, self.store, self.question, self.form, self.strategy)


class RunFolder:
    """Reads and writes the folder of a run.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, config: RunConfig, about: Mapping[str, Any]) -> RunConfig:
        """Write the config, or check that a run which stopped here had the same one.

        An unfinished last line, of an interrupted write, is removed.

        Args:
            config: Of this run.
            about: Models, hardware and date, for the report.

        Raises:
            ConfigError: The folder holds a run of another version or with another config, or
                something else.
        """
        file = self.path / CONFIG
        if os.path.isfile(file):
            if os.path.isfile(self.path / PACKED):
                raise ConfigError(f"{self.path / PACKED} is packed: gunzip it to go on")
            before = self.config()
            if before != config:
                changed = [
                    name
                    for name, value in config.values().items()
                    if getattr(before, name) != value
                ]
                raise ConfigError(
                    f"{self.path} holds a run with other settings ({', '.join(changed)}); go on "
                    "with the same ones, or give another folder"
                )
            known = self.about()
            for name in MODELS:
                if known.get(name) != about.get(name):
                    raise ConfigError(
                        f"{self.path} holds a run whose {name} is {known.get(name)!r}, not "
                        f"{about.get(name)!r}; go on with the same one, or give another folder"
                    )
            self._mend()
            return before
        with _refused(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            if any(self.path.iterdir()):
                raise ConfigError(f"{self.path} is not empty, and is no run; give another folder")
        told = {"format": FORMAT, "config": config.as_json(), "about": dict(about)}
        _write(file, json.dumps(told, indent=2, ensure_ascii=False) + "\n")
        return config

    def voices(self) -> tuple[str, ...]:
        """Return the voices of the run that begun here, or nothing."""
        return self.config().voices if os.path.isfile(self.path / CONFIG) else ()

    def config(self) -> RunConfig:
        """Return the config of the run.

        Raises:
            ConfigError: There is no run, or one of another version.
        """
        return RunConfig.from_json(self._told()["config"])

    def about(self) -> dict[str, Any]:
        """Return what was noted of models, hardware and date."""
        return dict(self._told().get("about", {}))

    def records(self) -> list[Record]:
        """Return all records, in the order in which they were made; the last of a key counts.

        Raises:
            ConfigError: There is no run, or one of another version; or a line is damaged.
        """
        self._told()
        found = {record.key: record for record in self._lines()}
        return list(found.values())

    def add(self, record: Record) -> None:
        """Append a record; it is on the disk when this returns."""
        line = json.dumps(asdict(record), ensure_ascii=False) + "\n"
        with (self.path / RECORDS).open("ab") as out:
            out.write(line.encode("utf-8", "surrogatepass"))
            out.flush()
            os.fsync(out.fileno())

    def note_set(self, name: str, told: Mapping[str, Any]) -> None:
        """Keep what the report says of a set."""
        known = self.sets()
        known[name] = dict(told)
        _write(self.path / SETS, json.dumps(known, indent=2, ensure_ascii=False) + "\n")

    def sets(self) -> dict[str, dict[str, Any]]:
        """Return what is known of the sets: sizes, problems, and what training saw."""
        file = self.path / SETS
        return self._json(file) if os.path.isfile(file) else {}

    def _told(self) -> dict[str, Any]:
        file = self.path / CONFIG
        if not os.path.isfile(file):
            raise ConfigError(f"{self.path} holds no run: there is no {CONFIG} in it")
        told = self._json(file)
        if told.get("format") != FORMAT:
            found = told.get("format")
            raise ConfigError(
                f"{self.path} was written by another version (format {found!r}, this one reads "
                f"{FORMAT}); run it again into a new folder"
            )
        return told

    def _json(self, file: Path) -> dict[str, Any]:
        try:
            told = json.loads(_bytes_of(file))
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise ConfigError(f"{file} is damaged: {error}") from error
        if not isinstance(told, dict):
            raise ConfigError(f"{file} is damaged: it holds no object")
        return told

    def _mend(self) -> None:
        """Cut an unfinished last line off."""
        file = self.path / RECORDS
        if not os.path.isfile(file):
            return
        data = _bytes_of(file)
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            file.write_bytes(whole)

    def _kept(self) -> tuple[Path, bytes]:
        """Return the file of the records and what is in it, b"" if there are none yet."""
        file, packed = self.path / RECORDS, self.path / PACKED
        if os.path.isfile(file):
            return file, _bytes_of(file)
        if not os.path.isfile(packed):
            return file, b""
        try:
            return packed, gzip.decompress(_bytes_of(packed))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ConfigError(f"{packed} is damaged: {error}") from error

    def _lines(self) -> Iterator[Record]:
        file, data = self._kept()
        names = {one.name for one in fields(Record)}
        lines = data.split(b"\n")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                values = json.loads(line.decode("utf-8", "surrogatepass"))
                yield Record(
                    **{name: _plain(name, value) for name, value in values.items() if name in names}
                )
            except (ValueError, RecursionError, TypeError, AttributeError) as error:
                if number == len(lines):  # it was being written when the run stopped
                    return
                raise ConfigError(f"{file}, line {number} is damaged: {error}") from error


def _bytes_of(file: Path) -> bytes:
    with _refused(file):
        return file.read_bytes()


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Put what the file system refuses in the words of a `ConfigError`."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path} cannot be used: {error.strerror or error}") from error


def _plain(name: str, value: Any) -> Any:  # noqa: ANN401 - any JSON
    if name == "matched":
        return tuple(tuple(ways) for ways in value)
    return tuple(value) if isinstance(value, list) else value


def _write(file: Path, text: str) -> None:
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)
