"""Removals that are held back: a folder that lost most of its documents may not be the folder.

A folder that is emptied, not mounted or restored by half looks as if its files had been deleted.
Embedding them again can take hours, so the removal of more than half of a folder's indexed
documents is done on request alone: a request that was not needed costs a word. Of a folder with one
or two indexed documents "more than half" is all of them; there the removal is held back if the
folder holds no readable file any more.
"""

from __future__ import annotations

from collections.abc import Collection, Set

from voicerag_core.documents import FoundFiles
from voicerag_core.errors import DocumentError

__all__ = ["withheld"]

_FEW = 2


def withheld(found: FoundFiles, known: Collection[str]) -> tuple[Set[str], list[DocumentError]]:
    """Return the vanished sources that are kept, and one error for each folder that lost them.

    Args:
        found: The folders that were named, and their files.
        known: All sources of the store.
    """
    kept: set[str] = set()
    errors = []
    for folder in found.folders:
        root = folder.as_posix().rstrip("/") + "/"
        indexed = [source for source in known if source.startswith(root)]
        gone = found.vanished(indexed)
        is_bare = not any(path.is_relative_to(folder) for path in found.files)
        if len(gone) * 2 > len(indexed) and (is_bare or len(indexed) > _FEW):
            kept.update(gone)
            errors.append(
                DocumentError(
                    f"the removal of {len(gone)} of the {len(indexed)} indexed documents of "
                    f"{folder}, whose files are gone: more than half, so they were kept; see "
                    "whether the folder is mounted and whole, and if they were deleted on purpose, "
                    "index it again with --prune-all (prune_all)"
                )
            )
    return kept, errors
