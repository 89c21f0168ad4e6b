"""Keep a knowledge base up to date with folders, file by file, as they change.

The folders are listed again and again rather than watched through the kernel: that works on network
and container mounts, where no events arrive, needs no limit of watches to be raised, and misses
nothing after a pause. Listing takes at most about a tenth of the time: the pause grows with it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from voicerag_core.chunking import CHUNK_OVERLAP, CHUNK_SIZE
from voicerag_core.documents import FoundFiles, find_files, source_of
from voicerag_core.errors import DocumentError, StoreUnavailableError, VoiceRAGError
from voicerag_core.ingest.indexing import index_files
from voicerag_core.ingest.progress import FileReport, OnProgress
from voicerag_core.rag import VoiceRAG

__all__ = ["WatchEvent", "watch_files"]

MOST_FILES = 500
"""Files that are indexed in one round; the others wait for the next."""
MOST_SHARE = 0.5
"""Share of a folder's documents that may vanish at once; of more, none is removed."""
LONGEST_PAUSE_SECONDS = 60.0
"""Between two attempts while the database is away."""
_LISTING_SHARE = 10

_Stat: TypeAlias = tuple[int, int, int]
"""Time of the last change in nanoseconds, size in bytes, inode."""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """What a round of watching came to.

    Args:
        kind: ``ready``: the folders were compared as a whole; ``indexed``: files were indexed or
            removed; ``kept``: so many documents vanished that none was removed; ``waiting``: the
            database is away, or full.
        report: Of ``ready`` and ``indexed``.
        folder: Of ``kept``.
        vanished: Of ``kept``: how many documents of the folder are files no longer.
        known: Of ``kept``: how many documents the folder has.
        error: Of ``waiting``: why.
    """

    kind: Literal["ready", "indexed", "kept", "waiting"]
    report: FileReport | None = None
    folder: Path | None = None
    vanished: int = 0
    known: int = 0
    error: VoiceRAGError | None = None


def watch_files(
    rag: VoiceRAG,
    folders: Sequence[str | os.PathLike[str]],
    *,
    stop: threading.Event,
    interval: float = 2.0,
    settle: float = 2.0,
    chunk_size: int = CHUNK_SIZE,
    chunk_overlap: int = CHUNK_OVERLAP,
    text_column: str | None = None,
    encoding: str | None = None,
    recordings: bool = False,
    prune: bool = True,
    on_progress: OnProgress | None = None,
) -> Iterator[WatchEvent]:
    """Index what is new or changed in folders, and remove what vanished, until stopped.

    First the folders are compared as a whole, as `index_files` does. A file is indexed when it has
    stayed as it is for some time, so that one that is still being written is left alone; each is
    replaced in one transaction, so that an end at any moment leaves whole documents. A folder that
    is missing, was emptied, or lost more than half of its documents at once, such as a mount that
    went away, loses none: it is reported instead. While the database is away or its disk is
    full, it is tried again with growing pauses, and nothing is forgotten.

    Args:
        rag: Its store is a `DocumentStore`.
        folders: Folders; each must be there at the beginning.
        stop: Ends it, after the document in work.
        interval: Seconds between two listings, at least.
        settle: Seconds that a file must have stayed as it is.
        chunk_size: As for `index_files`, and so are the following.
        chunk_overlap: Maximum overlap of passages, in characters.
        text_column: Column of csv and tsv files, key of jsonl files, that holds the text.
        encoding: Encoding of text files.
        recordings: Index sound files too.
        prune: Remove documents whose files vanished.
        on_progress: Called while files are indexed; an exception from it ends the watching.

    Raises:
        DocumentError: A path is not a folder.
        ConfigError: As for `index_files`.
        ModelError: The embedder failed.
        StoreError: The database refused.
    """
    roots = [Path(source_of(folder)) for folder in folders]
    for root in roots:
        if not os.path.isdir(root):
            raise DocumentError(f"{root} is not a folder; name the folders to watch")

    def index(paths: Sequence[Path]) -> FileReport:
        return index_files(
            rag,
            paths,
            chunk_size=chunk_size,
            chunk_overlap=chunk_overlap,
            text_column=text_column,
            encoding=encoding,
            recordings=recordings,
            prune=False,
            on_progress=on_progress,
        )

    watch = _Watch(rag, roots, index, settle=settle, recordings=recordings, prune=prune)
    pause = interval
    while not stop.is_set():
        listed = time.monotonic()
        try:
            found = watch.look()
            spent = time.monotonic() - listed
            yield from watch.bring_up_to_date(found)
        except StoreUnavailableError as error:
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            yield WatchEvent("waiting", error=error)
        else:
            pause = max(interval, _LISTING_SHARE * spent)
        stop.wait(min(pause, threading.TIMEOUT_MAX))


@dataclass(slots=True)
class _Watch:
    """What is known of the folders.

    Args:
        rag: Keeps the documents.
        roots: The folders.
        index: Indexes files.
        settle: Seconds that a file must have stayed as it is.
        recordings: Look at sound files, too.
        prune: Remove documents whose files vanished.
        done: How each file was when it was indexed.
        waiting: How each changed file is, and since when.
        missing: Since when each indexed file is missing.
        kept: Folders of which was said that their documents are kept.
        ready: Whether the folders were compared as a whole.
    """

    rag: VoiceRAG
    roots: Sequence[Path]
    index: Callable[[Sequence[Path]], FileReport]
    settle: float
    recordings: bool
    prune: bool
    done: dict[Path, _Stat] = field(default_factory=dict)
    waiting: dict[Path, tuple[_Stat, float]] = field(default_factory=dict)
    missing: dict[Path, float] = field(default_factory=dict)
    kept: set[Path] = field(default_factory=set)
    ready: bool = False

    def look(self) -> FoundFiles:
        """List the folders, and note what differs."""
        found = find_files(self.roots, recordings=self.recordings)
        now = time.monotonic()
        stats = {path: stat for path in found.files if (stat := _stat(path)) is not None}
        for path, stat in stats.items():
            self.missing.pop(path, None)
            if self.done.get(path) == stat:
                self.waiting.pop(path, None)
            elif self.waiting.get(path, (None,))[0] != stat:
                self.waiting[path] = (stat, now)
        for path in self.done.keys() - stats.keys():
            self.missing.setdefault(path, now)
        for path in self.waiting.keys() - stats.keys():
            del self.waiting[path]
        return found

    def bring_up_to_date(self, found: FoundFiles) -> Iterator[WatchEvent]:
        """Index what has settled, and remove what has vanished."""
        now = time.monotonic()
        if not self.ready:
            stats = {path: stat for path, (stat, _) in self.waiting.items()}
            report = self.index(self.roots)
            self.done.update(stats)
            self.waiting.clear()
            self.ready = True
            yield WatchEvent("ready", report)
            yield from self.remove(found)
            return
        settled = [path for path, (_, since) in self.waiting.items() if now - since >= self.settle]
        if settled:
            chosen = settled[:MOST_FILES]
            stats = {path: self.waiting[path][0] for path in chosen}
            report = self.index(chosen)
            self.done.update(stats)
            for path in chosen:
                self.waiting.pop(path, None)
            yield WatchEvent("indexed", report)
        if not self.missing:
            self.kept.clear()  # the folders are as they were; another loss is told again
        if any(now - since >= self.settle for since in self.missing.values()):
            yield from self.remove(found)

    def remove(self, found: FoundFiles) -> Iterator[WatchEvent]:
        """Remove the documents of the folders whose files are gone, unless that are too many."""
        if not self.prune:
            return
        known = self.rag.document_store.document_digests()
        gone = set(found.vanished(known))
        for root in self.roots:
            mine = root.as_posix().rstrip("/") + "/"
            of_root = [source for source in known if source.startswith(mine)]
            lost = [source for source in of_root if source in gone]
            if os.path.isdir(root) and len(lost) <= MOST_SHARE * len(of_root):
                self.kept.discard(root)
                yield from self._removed(lost)
            elif root not in self.kept:
                self.kept.add(root)
                here = len(lost) if os.path.isdir(root) else len(of_root)
                yield WatchEvent("kept", folder=root, vanished=here, known=len(of_root))

    def _removed(self, sources: Sequence[str]) -> Iterator[WatchEvent]:
        if not sources:
            return
        passages = self.rag.document_store.remove_documents(sources)
        for source in sources:
            self.done.pop(Path(source), None)
            self.missing.pop(Path(source), None)
        yield WatchEvent("indexed", FileReport(0, 0, 0, len(sources), 0, (), passages, 0))


def _stat(path: Path) -> _Stat | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
