"""Keep a knowledge base in step with files.

Files are compared by digest first; only what is new or changed is read, embedded and written, each
file in one transaction, and what vanished from the given folders goes. A run that is interrupted
leaves whole files, old or new, and the next run does the rest. Recordings are taken on request,
with an embedder that needs no transcript: windows of speech, found by their sound.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from voicerag_core.chunking import CHUNK_OVERLAP, CHUNK_SIZE, chunk_document
from voicerag_core.documents import (
    RECORDING_SUFFIXES,
    FoundFiles,
    file_digest,
    find_files,
    read_file,
    source_of,
)
from voicerag_core.errors import (
    AudioError,
    ConfigError,
    DocumentError,
    MissingExtraError,
    VoiceRAGError,
)
from voicerag_core.rag import VoiceRAG
from voicerag_core.recordings import read_recording, recording_digest
from voicerag_core.types import Audio, Embeddings, Passage

__all__ = ["FileProgress", "FileReport", "index_files"]

GROUP = 48
"""Passages embedded together, of however many files: enough to fill the embedder's batches, few
enough that progress is seen and a stop is quick."""


WINDOWS = 16
"""Windows of a recording embedded together."""


@dataclass(frozen=True, slots=True)
class FileProgress:
    """How far a run over files has come.

    Args:
        step: ``compare``: digests are compared; ``update``: what differs is read and embedded.
        files: Files done with in this step.
        files_total: Files of this step.
        bytes: Bytes of files done with in this step; a file in work counts in part.
        bytes_total: Bytes of all files of this step.
        passages: Passages embedded so far.
        vectors: Vectors computed so far.
    """

    step: Literal["compare", "update"]
    files: int
    files_total: int
    bytes: int
    bytes_total: int
    passages: int = 0
    vectors: int = 0


@dataclass(frozen=True, slots=True)
class FileReport:
    """What a run over files came to.

    Args:
        new: Files that were not known before.
        changed: Known files that differ in content, or in the way they are cut.
        unchanged: Files that cost nothing but their comparison.
        removed: Sources that are files no longer.
        skipped: Files in folders that are of no kind that can be read.
        failures: One error for each file or path that could not be used.
        passages: Passages that were written or deleted; in a dry run, those that would be embedded.
        vectors: Vectors computed.
    """

    new: int
    changed: int
    unchanged: int
    removed: int
    skipped: int
    failures: tuple[VoiceRAGError, ...]
    passages: int
    vectors: int


def index_files(
    rag: VoiceRAG,
    paths: Sequence[str | os.PathLike[str]],
    *,
    chunk_size: int = CHUNK_SIZE,
    chunk_overlap: int = CHUNK_OVERLAP,
    text_column: str | None = None,
    recordings: bool = False,
    prune: bool = True,
    dry_run: bool = False,
    on_progress: Callable[[FileProgress], None] | None = None,
) -> FileReport:
    """Bring what the store holds of files and folders in step with the disk.

    A file that cannot be read is reported, and what is known of it stays. Whatever else fails,
    such as the database, is raised; what was written until then stays. An exception from
    `on_progress` stops the run between two transactions.

    Args:
        rag: Its store keeps documents.
        paths: Files and folders.
        chunk_size: Most characters of a passage.
        chunk_overlap: Most characters repeated between passages.
        text_column: Column of csv and tsv files, key of jsonl files, that holds the text.
        recordings: Take sound files, too; for an embedder of whole speech such as SONAR, not of
            spoken questions alone.
        prune: Remove what lay in the given folders and is there no longer.
        dry_run: Read and cut the files; neither embed nor write.
        on_progress: Called after every file compared, every group embedded and every file written.

    Raises:
        ConfigError: The store keeps no documents, size and overlap do not fit, or the embedder
            cannot take recordings.
        ModelError: The embedder failed.
        StoreError: The database failed.
    """
    if recordings and rag.embedder.needs_transcriber:
        raise ConfigError(
            f"recordings are found by their sound, and the embedder {rag.embedder.model_id!r} "
            "needs a transcript; choose one that does not, such as SonarEmbedder"
        )
    run = _Run(
        rag,
        size=chunk_size,
        overlap=chunk_overlap,
        text_column=text_column,
        dry_run=dry_run,
        on_progress=on_progress,
    )
    found = find_files(paths, recordings=recordings)
    known = rag.document_store.document_digests()
    run.failures.extend(found.problems)
    run.update(run.compare(found, known), known)
    gone = found.vanished(known) if prune else []
    if gone and not dry_run:
        run.written += rag.document_store.remove_documents(gone)
    return FileReport(
        new=run.new,
        changed=run.changed,
        unchanged=run.unchanged,
        removed=len(gone),
        skipped=len(found.skipped),
        failures=tuple(run.failures),
        passages=run.written,
        vectors=run.vectors,
    )


@dataclass(slots=True)
class _File:
    """A file in work: its passages, and the vectors of those that were embedded."""

    source: str
    digest: str
    size: int
    passages: list[Passage]
    embedded: int = 0
    embeddings: list[Embeddings] = field(default_factory=list)
    owners: list[NDArray[np.int64]] = field(default_factory=list)


@dataclass(slots=True)
class _Run:
    """One run over files; the fields without default are those of `index_files`."""

    rag: VoiceRAG
    size: int
    overlap: int
    text_column: str | None
    dry_run: bool
    on_progress: Callable[[FileProgress], None] | None
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    written: int = 0
    embedded: int = 0
    vectors: int = 0
    failures: list[VoiceRAGError] = field(default_factory=list)
    files_done: int = 0
    files_total: int = 0
    bytes_done: float = 0.0
    bytes_total: int = 0
    waiting: list[tuple[_File, Passage]] = field(default_factory=list)

    def compare(self, found: FoundFiles, known: Mapping[str, str]) -> list[tuple[Path, int]]:
        """Return the files that are new or changed, with their size."""
        sizes = {path: _size(path) for path in found.files}
        self._begin(sizes)
        differing = []
        for path, size in sizes.items():
            try:
                digest = self._digest_of(path)
            except (AudioError, DocumentError) as error:
                self.failures.append(error)
            else:
                if known.get(source_of(path)) == digest:
                    self.unchanged += 1
                else:
                    differing.append((path, size))
            self.files_done += 1
            self.bytes_done += size
            self._tell("compare")
        return differing

    def update(self, differing: list[tuple[Path, int]], known: Mapping[str, str]) -> None:
        """Read, embed and write the files, many small ones in one batch of the embedder."""
        self._begin(dict(differing))
        for path, size in differing:
            if _is_recording(path):
                self._take_recording(path, size, known)
        for file in self._read([entry for entry in differing if not _is_recording(entry[0])]):
            if file.source in known:
                self.changed += 1
            else:
                self.new += 1
            if self.dry_run:
                self.written += len(file.passages)
                self._done(file.size)
                continue
            if not file.passages:
                self._write(file)
                self._done(file.size)
            for passage in file.passages:
                self.waiting.append((file, passage))
                if len(self.waiting) == GROUP:
                    self._embed()
        if self.waiting:
            self._embed()

    def _read(self, differing: list[tuple[Path, int]]) -> Iterator[_File]:
        for path, size in differing:
            try:
                content = read_file(path, text_column=self.text_column)
            except (DocumentError, MissingExtraError) as error:
                self.failures.append(error)
                self._done(size)
                continue
            passages = [
                passage
                for document in content.documents
                for passage in chunk_document(document, size=self.size, overlap=self.overlap)
            ]
            yield _File(content.source, self._digest(content.digest), size, passages)

    def _take_recording(self, path: Path, size: int, known: Mapping[str, str]) -> None:
        """Read, embed and write a recording."""
        try:
            passages, clips = read_recording(path)
            digest = self._digest_of(path)
        except AudioError as error:
            self.failures.append(error)
            self._done(size)
            return
        file = _File(source_of(path), digest, size, passages)
        self.new, self.changed = (
            (self.new, self.changed + 1) if file.source in known else (self.new + 1, self.changed)
        )
        if self.dry_run:
            self.written += len(passages)
            self._done(size)
            return
        file.passages, rows = self._heard(file, clips)
        self.written += self.rag.document_store.replace_document(
            file.source, file.digest, file.passages, rows
        )
        self.files_done += 1
        self._tell("update")

    def _heard(self, file: _File, clips: list[Audio]) -> tuple[list[Passage], Embeddings]:
        """Embed the windows of a recording; one in which nothing is heard is left out."""
        kept: list[Passage] = []
        rows = [np.zeros((0, self.rag.embedder.dim), np.float32)]
        for first in range(0, len(clips), WINDOWS):
            part = list(zip(file.passages, clips, strict=True))[first : first + WINDOWS]
            try:
                rows.append(self.rag.embedder.embed_speech([clip for _, clip in part]))
                kept += [passage for passage, _ in part]
            except AudioError:
                for passage, clip in part:
                    with suppress(AudioError):
                        rows.append(self.rag.embedder.embed_speech([clip]))
                        kept.append(passage)
            self.embedded += len(part)
            self.bytes_done += file.size * len(part) / len(clips)
            self._tell("update")
        made = np.concatenate(rows)
        self.vectors += len(made)
        return kept, made

    def _embed(self) -> None:
        """Embed the waiting passages, and write the files that are complete with them."""
        embeddings, owners = self.rag.embed_passages([passage for _, passage in self.waiting])
        self.embedded += len(self.waiting)
        self.vectors += len(embeddings)
        first = 0
        for _, group in groupby(self.waiting, key=lambda entry: entry[0].source):
            file, count = _counted(group)
            rows = slice(*np.searchsorted(owners, [first, first + count]))
            file.embeddings.append(embeddings[rows])
            file.owners.append(owners[rows] - first + file.embedded)
            file.embedded += count
            first += count
            if file.embedded == len(file.passages):
                self._write(file)
                self.files_done += 1
            self.bytes_done += file.size * count / len(file.passages)
            self._tell("update")
        self.waiting.clear()

    def _write(self, file: _File) -> None:
        embeddings, owners = (
            (np.concatenate(file.embeddings), np.concatenate(file.owners))
            if file.passages
            else self.rag.embed_passages([])
        )
        self.written += self.rag.document_store.replace_document(
            file.source, file.digest, file.passages, embeddings, owners=owners
        )
        file.embeddings.clear()

    def _digest_of(self, path: Path) -> str:
        if _is_recording(path):
            return recording_digest(path)
        return self._digest(file_digest(path, text_column=self.text_column))

    def _digest(self, content: str) -> str:
        """Return what is compared: the content, and how it is cut and embedded."""
        how = f"{content} {self.size} {self.overlap} {self.rag.sentence_vectors}"
        return hashlib.sha256(how.encode()).hexdigest()

    def _begin(self, sizes: Mapping[Path, int]) -> None:
        self.files_done, self.files_total = 0, len(sizes)
        self.bytes_done, self.bytes_total = 0.0, sum(sizes.values())

    def _done(self, size: int) -> None:
        self.files_done += 1
        self.bytes_done += size
        self._tell("update")

    def _tell(self, step: Literal["compare", "update"]) -> None:
        if self.on_progress is not None:
            self.on_progress(
                FileProgress(
                    step,
                    self.files_done,
                    self.files_total,
                    round(self.bytes_done),
                    self.bytes_total,
                    self.embedded,
                    self.vectors,
                )
            )


def _is_recording(path: Path) -> bool:
    return path.suffix.lower() in RECORDING_SUFFIXES


def _counted(group: Iterator[tuple[_File, Passage]]) -> tuple[_File, int]:
    entries = list(group)
    return entries[0][0], len(entries)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # its comparison says why
